//! A capture proxy at work beside a command: `run` has a private one, `serve` is one.
//!
//! Owns the runtime that it works on, the recorder that it fills, and its end. What it counts is in [`meter`].

mod config;
pub(crate) mod files;
pub(crate) mod health;
pub(crate) mod meter;

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use callmeter::Callmeter;
use callmeter::settings::Settings;
use callmeter_proxy::{Admin, CallObserver, Proxy, ProxyConfig, ProxyError, Summary, Tally};
use tokio::sync::oneshot;

pub(crate) use self::config::of_settings;
use self::meter::{Meter, SharedMeter};
use crate::failure::Failure;

/// Threads that pass traffic on: one forwards many thousand requests a second.
const THREADS: usize = 2;

/// A proxy that works until it is told to stop.
pub(crate) struct Traffic {
    address: SocketAddr,
    tally: Tally,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Summary>,
    recorder: Option<Arc<Callmeter>>,
}

impl Traffic {
    /// Starts a proxy. `recorder` is `None` where recording could not be started: traffic flows all the same.
    ///
    /// # Errors
    /// When the address cannot be listened on, or the system gives no threads.
    pub(crate) fn start(
        config: ProxyConfig,
        recorder: Option<Callmeter>,
        observer: impl CallObserver,
        admin: impl Admin,
    ) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("callmeter-proxy")
            .enable_all()
            .build()
            .context("cannot start the proxy's threads")?;
        let recorder = recorder.map(Arc::new);
        let bound = runtime.block_on(Proxy::bind(config, recorder.clone()));
        let proxy = bound
            .map_err(failure)?
            .with_observer(observer)
            .with_admin(admin);
        let (address, tally) = (proxy.local_addr(), proxy.tally());
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("callmeter-proxy".to_owned())
            .spawn(move || {
                // Whoever lets go of the handle wants it to stop as well.
                let summary = runtime.block_on(proxy.serve(async { drop(stopped.await) }));
                // Tunnels and the like that would not end are left behind.
                runtime.shutdown_background();
                summary
            })
            .context("cannot start the proxy's thread")?;
        Ok(Self {
            address,
            tally,
            stop,
            thread,
            recorder,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its running figures.
    pub(crate) fn tally(&self) -> Tally {
        self.tally.clone()
    }

    /// What records, for whoever looks at its figures.
    pub(crate) fn recorder(&self) -> Option<Weak<Callmeter>> {
        self.recorder.as_ref().map(Arc::downgrade)
    }

    /// Takes no further connection and lets requests in flight end.
    pub(crate) fn drain(self) -> Drained {
        let _ = self.stop.send(());
        Drained {
            summary: self.thread.join().ok(),
            recorder: self.recorder,
        }
    }
}

/// A proxy that passes nothing on any more.
pub(crate) struct Drained {
    summary: Option<Summary>,
    recorder: Option<Arc<Callmeter>>,
}

impl Drained {
    /// Brings every call into the spool, where it is safe; into the store as well if that takes no longer than
    /// `flush`.
    pub(crate) fn stop(self, flush: Duration) -> Stopped {
        let is_stored = match self.recorder.map(Arc::try_unwrap) {
            None => None,
            Some(Ok(recorder)) => Some(recorder.shutdown(flush).is_complete()),
            // A task that was left behind holds it still; its end is that of the process.
            Some(Err(shared)) => Some(shared.flush(flush).is_complete()),
        };
        Stopped {
            summary: self.summary,
            is_stored,
        }
    }
}

/// A recorder by these settings; `None` where there can be none, which is told.
pub(crate) fn recorder_of(settings: &Settings) -> Option<Callmeter> {
    match callmeter::builder().settings(settings.clone()).open() {
        Ok(recorder) => Some(recorder),
        Err(error) => {
            tracing::error!(target: "callmeter", %error, "calls pass, and are not recorded");
            None
        }
    }
}

/// A meter by the book of these settings, and the book's name.
///
/// # Errors
/// When the book cannot be read.
pub(crate) fn meter_of(settings: &Settings) -> Result<(SharedMeter, String), Failure> {
    let options = settings
        .store_options()
        .map_err(|error| Failure::of_sink(&error))?;
    let book = format!("{} {}", options.book.name(), options.book.version());
    Ok((Arc::new(Meter::new(options.book, options.providers)), book))
}

/// How a proxy ended.
pub(crate) struct Stopped {
    /// `None` where its thread died.
    pub(crate) summary: Option<Summary>,
    /// Whether the store has answered for every call; `None` where none was recorded.
    pub(crate) is_stored: Option<bool>,
}

/// Why a proxy does not start, with what to do.
fn failure(error: ProxyError) -> anyhow::Error {
    let hint = match &error {
        ProxyError::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
            Some("another `callmeter serve` may be at work; else set proxy.listen to a free port")
        }
        ProxyError::NotLoopback(_) => Some("set proxy.listen to 127.0.0.1 and a port"),
        ProxyError::Certificates { .. } => Some("check proxy.ca_file"),
        _ => None,
    };
    let failure = Failure::new(error.to_string());
    match hint {
        Some(hint) => failure.with_hint(hint).into(),
        None => failure.into(),
    }
}
