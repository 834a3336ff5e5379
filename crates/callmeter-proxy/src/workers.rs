//! The threads that serve connections, one for each core, each with a runtime of its own.
//!
//! A connection stays with the thread that it was given to, and so do the connections to upstreams that its requests
//! use: nothing is woken on another core, and no lock is waited for. The thread with the fewest connections gets the
//! next one.

use std::io;
use std::net::TcpStream;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;

use crate::connection;
use crate::engine::{Engine, Stage};

/// See the module.
pub(crate) struct Workers {
    workers: Vec<Worker>,
    ended: mpsc::Receiver<()>,
}

struct Worker {
    give: mpsc::UnboundedSender<Arrival>,
    /// How many connections it has.
    load: Arc<AtomicUsize>,
}

/// A connection that was accepted, and its share of how many there may be.
struct Arrival {
    stream: TcpStream,
    counted: Counted,
}

/// One of a worker's connections, for as long as it stands.
struct Counted {
    load: Arc<AtomicUsize>,
    _permit: OwnedSemaphorePermit,
}

impl Workers {
    /// Starts a thread for each core; fails where there cannot be one.
    pub(crate) fn start(engine: &Engine) -> io::Result<Self> {
        let count = std::thread::available_parallelism().map_or(1, NonZero::get);
        let (ending, ended) = mpsc::channel(1);
        let mut workers = Vec::with_capacity(count);
        for _ in 0..count {
            match Worker::start(engine.beside(), ending.clone()) {
                Ok(worker) => workers.push(worker),
                Err(error) if workers.is_empty() => return Err(error),
                // Fewer do as well.
                Err(_) => break,
            }
        }
        Ok(Self { workers, ended })
    }

    /// Gives a connection to the worker with the fewest.
    pub(crate) fn give(&self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        let least = |worker: &&Worker| worker.load.load(Ordering::Relaxed);
        if let Some(worker) = self.workers.iter().min_by_key(least) {
            let counted = Counted::new(&worker.load, permit);
            let _ = worker.give.send(Arrival { stream, counted });
        }
    }

    /// Waits for the threads' end, which comes when their connections have ended or the proxy is stopped.
    pub(crate) async fn end(mut self) {
        self.workers.clear();
        // Nobody sends: it ends when the last thread has.
        let _ = self.ended.recv().await;
    }
}

impl Worker {
    fn start(engine: Engine, ending: mpsc::Sender<()>) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (give, given) = mpsc::unbounded_channel();
        let load = Arc::new(AtomicUsize::new(0));
        std::thread::Builder::new()
            .name("callmeter-proxy".to_owned())
            .spawn(move || {
                runtime.block_on(work(Arc::new(engine), given));
                // What still runs on it is dropped before the end is told.
                drop(runtime);
                drop(ending);
            })?;
        Ok(Self { give, load })
    }
}

impl Counted {
    fn new(load: &Arc<AtomicUsize>, permit: OwnedSemaphorePermit) -> Self {
        load.fetch_add(1, Ordering::Relaxed);
        Self {
            load: Arc::clone(load),
            _permit: permit,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves what is given, until nothing more will be and all of it has ended, or the proxy is stopped.
async fn work(engine: Arc<Engine>, mut given: mpsc::UnboundedReceiver<Arrival>) {
    let mut connections = JoinSet::new();
    let mut stage = engine.stage.clone();
    let serving = async {
        while let Some(arrival) = given.recv().await {
            while connections.try_join_next().is_some() {}
            let Ok(stream) = tokio::net::TcpStream::from_std(arrival.stream) else {
                continue;
            };
            let engine = Arc::clone(&engine);
            connections.spawn(async move {
                let _counted = arrival.counted;
                connection::serve(engine, stream).await;
            });
        }
        while connections.join_next().await.is_some() {}
    };
    tokio::select! {
        () = serving => {}
        // Without a sender nobody serves any more.
        _ = stage.wait_for(|stage| *stage == Stage::Stopped) => {}
    }
    connections.shutdown().await;
}
