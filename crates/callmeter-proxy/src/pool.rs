//! Who asks an upstream, by three ways that never mix.
//!
//! ```text
//! exact     HTTP/1.1, letter case kept: for clients that speak it
//! framed    HTTP/2 where the upstream grants it over TLS: for clients that speak it
//! guarded   HTTP/1.1 to addresses that came with a request
//! ```
//! A client that speaks HTTP/1.1 gets what the upstream would have said to it in HTTP/1.1, on a connection of
//! [`Keep`]. Requests of HTTP/2 share connections, which hyper's pool keeps.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::client::conn::http1;
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tower_service::Service;

use crate::body::{BodyError, OutBody};
use crate::config::ProxyConfig;
use crate::dial::{DialError, Dialer, Link, Reach};
use crate::kept::{Keep, UpstreamBody};
use crate::url::UpstreamUrl;

/// Which pool a request takes its connection from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pool {
    Exact,
    Framed,
    Guarded,
}

/// See the module.
pub(crate) struct Pools {
    exact: Keep,
    framed: Client<Connector, OutBody>,
    guarded: Keep,
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
        let idle_for = config.timeouts.idle_upstream;
        let head_bytes = config.limits.head_bytes.saturating_mul(4).max(8 * 1024);
        let keep = |reach| {
            let mut builder = http1::Builder::new();
            builder
                .preserve_header_case(true)
                .max_headers(config.limits.headers.saturating_mul(2))
                .max_buf_size(head_bytes);
            Keep::new(builder, dialer, reach, idle_for)
        };
        let connector = Connector {
            dialer: Arc::clone(dialer),
        };
        Self {
            exact: keep(Reach::Configured),
            framed: Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .timer(TokioTimer::new())
                .pool_idle_timeout(idle_for)
                .http1_preserve_header_case(true)
                .http1_max_headers(config.limits.headers.saturating_mul(2))
                .http1_max_buf_size(head_bytes)
                .set_host(false)
                .build(connector),
            guarded: keep(Reach::Guarded),
        }
    }

    /// Sends a request, its target a path, and waits for the head of its answer.
    pub(crate) async fn send(
        &self,
        pool: Pool,
        upstream: &UpstreamUrl,
        mut request: Request<OutBody>,
    ) -> Result<Response<UpstreamBody>, SendError> {
        match pool {
            Pool::Exact => self.exact.send(upstream, request).await,
            Pool::Guarded => self.guarded.send(upstream, request).await,
            Pool::Framed => {
                *request.uri_mut() = absolute(upstream, request.uri().path_and_query())?;
                let sent = self.framed.request(request).await;
                let answer = sent.map_err(|error| reason(&error))?;
                Ok(answer.map(UpstreamBody::driven))
            }
        }
    }
}

/// A target that names the upstream as well.
pub(crate) fn absolute(
    upstream: &UpstreamUrl,
    path: Option<&PathAndQuery>,
) -> Result<Uri, SendError> {
    let path = path.cloned();
    Uri::builder()
        .scheme(upstream.scheme.clone())
        .authority(upstream.authority.clone())
        .path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
        .build()
        .map_err(|_| SendError::Broken)
}

/// Why a request failed, of an error that was made of the cause.
pub(crate) fn reason(error: &(dyn Error + 'static)) -> SendError {
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

/// Dials for hyper's pool.
#[derive(Clone)]
struct Connector {
    dialer: Arc<Dialer>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Link>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Link>, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = Arc::clone(&self.dialer);
        Box::pin(async move {
            let link = dialer.open(&uri, Reach::Configured, true).await?;
            Ok(TokioIo::new(link))
        })
    }
}
