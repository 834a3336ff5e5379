//! Kept connections to upstreams, in three pools that never mix.
//!
//! ```text
//! exact     HTTP/1.1, letter case kept: for clients that speak it
//! framed    HTTP/2 where the upstream grants it over TLS: for clients that speak it
//! guarded   HTTP/1.1 to addresses that came with a request
//! ```
//! A client that speaks HTTP/1.1 gets what the upstream would have said to it in HTTP/1.1.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::Incoming;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tower_service::Service;

use crate::body::{BodyError, OutBody};
use crate::config::ProxyConfig;
use crate::dial::{DialError, Dialer, Link, Reach};

/// Which pool a request takes its connection from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pool {
    Exact,
    Framed,
    Guarded,
}

/// See the module.
pub(crate) struct Pools {
    exact: Client<Connector, OutBody>,
    framed: Client<Connector, OutBody>,
    guarded: Client<Connector, OutBody>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendError {
    /// No connection.
    Dial(DialError),
    /// The request's body ended badly, on the client's side.
    Body(BodyError),
    /// The connection broke before an answer, or what came was none.
    Broken,
}

impl Pools {
    pub(crate) fn new(config: &ProxyConfig, dialer: &Arc<Dialer>) -> Self {
        let make = |reach, offer_h2| {
            let connector = Connector {
                dialer: Arc::clone(dialer),
                reach,
                offer_h2,
            };
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .timer(TokioTimer::new())
                .pool_idle_timeout(config.timeouts.idle_upstream)
                .http1_preserve_header_case(true)
                .http1_max_headers(config.limits.headers.saturating_mul(4))
                .http1_max_buf_size(config.limits.head_bytes.saturating_mul(4).max(8 * 1024))
                .set_host(false)
                .build(connector)
        };
        Self {
            exact: make(Reach::Configured, false),
            framed: make(Reach::Configured, true),
            guarded: make(Reach::Guarded, false),
        }
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(
        &self,
        pool: Pool,
        request: Request<OutBody>,
    ) -> Result<Response<Incoming>, SendError> {
        let client = match pool {
            Pool::Exact => &self.exact,
            Pool::Framed => &self.framed,
            Pool::Guarded => &self.guarded,
        };
        client
            .request(request)
            .await
            .map_err(|error| reason(&error))
    }
}

fn reason(error: &ClientError) -> SendError {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(at) = source {
        if let Some(error) = at.downcast_ref::<DialError>() {
            return SendError::Dial(*error);
        }
        if let Some(error) = at.downcast_ref::<BodyError>() {
            return SendError::Body(*error);
        }
        source = at.source();
    }
    SendError::Broken
}

#[derive(Clone)]
struct Connector {
    dialer: Arc<Dialer>,
    reach: Reach,
    offer_h2: bool,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Link>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Link>, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self {
            dialer,
            reach,
            offer_h2,
        } = self.clone();
        Box::pin(async move {
            let link = dialer.open(&uri, reach, offer_h2).await?;
            Ok(TokioIo::new(link))
        })
    }
}
