//! A proxy from its first connection to its last: binding, accepting, draining.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use callmeter::Callmeter;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::admin::Admin;
use crate::body::Budget;
use crate::config::ProxyConfig;
use crate::dial::Dialer;
use crate::engine::{Engine, Stage};
use crate::error::ProxyError;
use crate::observe::CallObserver;
use crate::pool::Pools;
use crate::record::Recording;
use crate::routes::Routes;
use crate::tally::{Figures, Tally};
use crate::workers::Workers;

/// A proxy that listens; [`serve`](Self::serve) lets it work.
#[must_use = "a proxy does nothing until it serves"]
pub struct Proxy {
    listener: TcpListener,
    local_addr: SocketAddr,
    config: ProxyConfig,
    routes: Routes,
    dialer: Arc<Dialer>,
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
        let routes = Routes::new(&config)?;
        let dialer = Dialer::new(
            &config.outbound,
            config.timeouts.connect,
            config.ca_file.as_deref(),
        )?;
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
            routes,
            dialer: Arc::new(dialer),
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
    /// for at most the time for draining. What is still in flight then is broken off, and its row is `cancelled`.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Summary {
        let Self {
            listener,
            local_addr,
            config,
            routes,
            dialer,
            recorder,
            admin,
            observer,
            tally,
        } = self;
        let (set_stage, stage) = watch::channel(Stage::Serving);
        let limits = config.limits;
        let drain = config.timeouts.drain;
        let pools = Pools::new(&config, &dialer);
        let engine = Engine {
            pools,
            routes: Arc::new(routes),
            dialer,
            recording: Arc::new(Recording {
                callmeter: recorder,
                observer,
                tally: tally.clone(),
                outer_calls: Arc::default(),
            }),
            admin,
            budget: Budget::new(limits.replay_bytes, limits.all_replay_bytes),
            port: local_addr.port(),
            stage,
            config: Arc::new(config),
        };
        let most = limits.connections.min(Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(most));
        let workers = match Workers::start(&engine) {
            Ok(workers) => workers,
            Err(error) => {
                tracing::error!(target: "callmeter", %error, "the proxy has no thread to serve on");
                return Summary {
                    figures: tally.figures(),
                    is_drained: true,
                };
            }
        };
        accept(&listener, &workers, &places, shutdown).await;
        drop(listener);
        let _ = set_stage.send(Stage::Draining);
        let all = u32::try_from(most).unwrap_or(u32::MAX);
        let ended = places.acquire_many(all);
        let is_drained = tokio::time::timeout(drain, ended).await.is_ok();
        let _ = set_stage.send(Stage::Stopped);
        workers.end().await;
        Summary {
            figures: tally.figures(),
            is_drained,
        }
    }
}

/// Gives connections to the workers, as many at a time as there are places.
async fn accept(
    listener: &TcpListener,
    workers: &Workers,
    places: &Arc<Semaphore>,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    let mut is_failing = false;
    loop {
        let arriving = async {
            let place = Arc::clone(places).acquire_owned().await;
            let place = place.map_err(io::Error::other)?;
            let (stream, _) = listener.accept().await?;
            Ok::<_, io::Error>((stream.into_std()?, place))
        };
        tokio::select! {
            biased;
            () = &mut shutdown => return,
            arrived = arriving => match arrived {
                Ok((stream, place)) => {
                    is_failing = false;
                    workers.give(stream, place);
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(
                            target: "callmeter",
                            %error,
                            "connections are not accepted; if files are short, raise the limit of open files (ulimit -n)"
                        );
                    }
                    // The next try must not spin.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
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
