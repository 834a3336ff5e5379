//! A proxy between a test's client and its upstreams, with a recorder whose rows can be looked at.

use std::net::SocketAddr;
use std::sync::Arc;

use callmeter::Callmeter;
use callmeter_core::CallRecord;
use callmeter_proxy::{Proxy, ProxyConfig, Route, Summary, Tally, Upstream as Target};
use callmeter_testkit::sink::MemorySink;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::http::LIMIT;

/// See the module.
pub(crate) struct Rig {
    pub(crate) address: SocketAddr,
    pub(crate) tally: Tally,
    pub(crate) recorder: Option<Arc<Callmeter>>,
    pub(crate) sink: MemorySink,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Summary>,
    _home: tempfile::TempDir,
}

/// A route with these upstreams, each with the model it is asked for instead.
pub(crate) fn route<'a>(upstreams: impl IntoIterator<Item = (String, Option<&'a str>)>) -> Route {
    Route::through(upstreams.into_iter().map(|(url, model)| {
        let upstream = Target::at(url.parse().unwrap());
        match model {
            Some(model) => upstream.with_model(model),
            None => upstream,
        }
    }))
}

impl Rig {
    /// A proxy with one route `fake`.
    pub(crate) async fn to(url: &str) -> Self {
        Self::of("fake", Route::to(url.parse().unwrap())).await
    }

    /// A proxy with one configured route.
    pub(crate) async fn of(name: &str, route: Route) -> Self {
        Self::with(|config| {
            config.routes.insert(name.to_owned(), route);
        })
        .await
    }

    /// A proxy as `configure` likes it.
    pub(crate) async fn with(configure: impl FnOnce(&mut ProxyConfig)) -> Self {
        Self::made(configure, |proxy| proxy).await
    }

    /// A proxy, and what `mount` puts onto it.
    pub(crate) async fn made(
        configure: impl FnOnce(&mut ProxyConfig),
        mount: impl FnOnce(Proxy) -> Proxy,
    ) -> Self {
        let home = tempfile::tempdir().unwrap();
        Self::in_home(home, callmeter::builder(), configure, mount).await
    }

    /// A proxy whose recorder is as `builder` says, in a home of the test's.
    pub(crate) async fn in_home(
        home: tempfile::TempDir,
        builder: callmeter::Builder,
        configure: impl FnOnce(&mut ProxyConfig),
        mount: impl FnOnce(Proxy) -> Proxy,
    ) -> Self {
        let sink = MemorySink::default();
        let shared = sink.clone();
        let recorder = builder
            .home(home.path())
            .sink("memory", move || Ok(Box::new(shared.clone())))
            .open()
            .unwrap();
        let recorder = Arc::new(recorder);
        let mut config = ProxyConfig::default();
        config.listen = "127.0.0.1:0".parse().unwrap();
        configure(&mut config);
        let proxy = Proxy::bind(config, Arc::clone(&recorder)).await.unwrap();
        let proxy = mount(proxy);
        let address = proxy.local_addr();
        let tally = proxy.tally();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(proxy.serve(async {
            let _ = stopped.await;
        }));
        Self {
            address,
            tally,
            recorder: Some(recorder),
            sink,
            stop: Some(stop),
            serving,
            _home: home,
        }
    }

    /// Stops the proxy.
    pub(crate) async fn stop(&mut self) -> Summary {
        drop(self.stop.take());
        let summary = tokio::time::timeout(LIMIT, &mut self.serving).await;
        summary.expect("an end in time").unwrap()
    }

    /// Every row so far, oldest first.
    pub(crate) async fn rows(&self) -> Vec<CallRecord> {
        let recorder = Arc::clone(self.recorder.as_ref().unwrap());
        let flush = tokio::task::spawn_blocking(move || recorder.flush(LIMIT));
        assert!(flush.await.unwrap().is_complete());
        self.sink.calls()
    }

    /// Waits until no request is in flight, then gives every row.
    pub(crate) async fn rows_at_rest(&self) -> Vec<CallRecord> {
        self.until(|rig| rig.tally.figures().in_flight == 0).await;
        self.rows().await
    }

    /// Waits for a condition.
    pub(crate) async fn until(&self, is_met: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !is_met(self) {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(LIMIT, waiting)
            .await
            .expect("a condition in time");
    }
}
