//! A proxy from its first connection to its last: binding, accepting, draining.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use callmeter::Callmeter;
use tokio::net::TcpListener;

use crate::admin::Admin;
use crate::config::ProxyConfig;
use crate::error::ProxyError;
use crate::observe::CallObserver;
use crate::tally::{Figures, Tally};

/// A proxy that listens; [`serve`](Self::serve) lets it work.
#[must_use = "a proxy does nothing until it serves"]
pub struct Proxy {
    listener: TcpListener,
    local_addr: SocketAddr,
    config: ProxyConfig,
    recorder: Option<Arc<Callmeter>>,
    admin: Option<Arc<dyn Admin>>,
    observer: Option<Arc<dyn CallObserver>>,
    tally: Tally,
}

/// What a proxy did until it stopped.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// Its figures at the end.
    pub figures: Figures,
    /// Whether every request in flight came to its end within the time for draining.
    pub is_drained: bool,
}

impl Proxy {
    /// Listens. Without a recorder it forwards and records nothing.
    ///
    /// # Errors
    /// When the address is not loopback or not free, a route has no upstream, or certificates cannot be read.
    pub async fn bind(
        config: ProxyConfig,
        recorder: impl Into<Option<Arc<Callmeter>>>,
    ) -> Result<Self, ProxyError> {
        if !config.listen.ip().is_loopback() {
            return Err(ProxyError::NotLoopback(config.listen));
        }
        let failed = |source| ProxyError::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            local_addr,
            config,
            recorder: recorder.into(),
            admin: None,
            observer: None,
            tally: Tally::default(),
        })
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Its running figures.
    pub fn tally(&self) -> Tally {
        self.tally.clone()
    }

    /// Mounts what answers requests about the proxy itself.
    pub fn with_admin(mut self, admin: impl Admin) -> Self {
        self.admin = Some(Arc::new(admin));
        self
    }

    /// Adds somebody who is told of every call that ends.
    pub fn with_observer(mut self, observer: impl CallObserver) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Serves until `shutdown` is ready, then takes no further connection and lets requests in flight end,
    /// for at most the time for draining.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Summary {
        let Self {
            listener,
            config: _,
            recorder: _,
            admin: _,
            observer: _,
            tally,
            ..
        } = self;
        shutdown.await;
        drop(listener);
        Summary {
            figures: tally.figures(),
            is_drained: true,
        }
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy")
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}
