//! A host of the tests: a recorder with a home of its own, a clock in the test's hand and a store in memory.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use callmeter::settings::Settings;
use callmeter::{Builder, CallGuard, Callmeter, Stats};
use callmeter_core::{CallRecord, Sink, Timestamp};
use callmeter_testkit::clock::ManualClock;
use callmeter_testkit::sink::MemorySink;

/// Longer than anything takes that works; no test waits for it to pass.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Noon on 1 November 2026.
pub(crate) const NOON: Timestamp = Timestamp::from_micros(1_793_534_400_000_000);

/// A recorder and what it writes to.
pub(crate) struct Host {
    pub(crate) callmeter: Callmeter,
    pub(crate) sink: MemorySink,
    pub(crate) clock: Arc<ManualClock>,
    directory: tempfile::TempDir,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A host with settings of its own.
    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::built(change, |builder| builder)
    }

    /// A host with settings of its own and more that is set in code.
    pub(crate) fn built(
        change: impl FnOnce(&mut Settings),
        more: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (clock, sink) = (Arc::new(ManualClock::at(NOON)), MemorySink::default());
        let mut settings = Settings::default();
        change(&mut settings);
        let callmeter = callmeter::builder()
            .settings(settings)
            .home(directory.path().join("home"))
            .clock(clock.clone())
            .sink("memory", opener(&sink));
        let callmeter = more(callmeter).open().unwrap();
        Self {
            callmeter,
            sink,
            clock,
            directory,
        }
    }

    /// A host whose rows go to an embedded store, with settings of its own.
    pub(crate) fn with_store(change: impl FnOnce(&mut Settings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (clock, sink) = (Arc::new(ManualClock::at(NOON)), MemorySink::default());
        let mut settings = Settings::default();
        change(&mut settings);
        let callmeter = callmeter::builder()
            .settings(settings)
            .home(directory.path().join("home"))
            .clock(clock.clone())
            .open()
            .unwrap();
        Self {
            callmeter,
            sink,
            clock,
            directory,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    #[track_caller]
    pub(crate) fn call(&self, caller: &str) -> CallGuard {
        self.callmeter.call(caller, "openai", "gpt-5-mini")
    }

    /// Every row so far, by caller.
    pub(crate) fn rows(&self) -> BTreeMap<String, CallRecord> {
        let flush = self.callmeter.flush(PATIENCE);
        assert!(flush.is_complete(), "{:?}", self.callmeter.stats());
        let rows = self.sink.calls().into_iter();
        let by_caller: BTreeMap<_, _> = rows
            .map(|row| (row.caller_or_unknown().to_owned(), row))
            .collect();
        assert_eq!(
            by_caller.len(),
            self.sink.calls().len(),
            "two rows of one caller"
        );
        by_caller
    }

    /// The only row so far.
    pub(crate) fn row(&self) -> CallRecord {
        let mut rows = self.rows();
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.pop_first().unwrap().1
    }

    /// The figures after everything has come to rest.
    pub(crate) fn at_rest(&self) -> Stats {
        let flush = self.callmeter.flush(PATIENCE);
        assert!(flush.is_complete(), "{:?}", self.callmeter.stats());
        self.callmeter.stats()
    }
}

/// Opens a store in memory, as often as it is asked to.
pub(crate) fn opener(
    sink: &MemorySink,
) -> impl FnMut() -> Result<Box<dyn Sink>, callmeter_core::SinkError> + Send + 'static {
    let sink = sink.clone();
    move || Ok(Box::new(sink.clone()))
}

/// Waits for what other threads do: until it is so, or patience ends.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::yield_now();
    }
}

/// Polls a future once.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    let mut context = Context::from_waker(Waker::noop());
    pin!(future).poll(&mut context)
}

/// Polls a future to its end; every future of these tests is ready when it is polled again.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

/// A future that is ready when it is polled for the second time.
#[derive(Default)]
pub(crate) struct Later(bool);

impl Future for Later {
    type Output = ();
    fn poll(mut self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// Runs what panics, quietly: no hook is called for a panic that is resumed.
pub(crate) fn panics(work: impl FnOnce()) {
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    assert!(unwound.is_err(), "it did not panic");
}

/// Panics without a word to the hook.
pub(crate) fn panic_with(payload: &str) -> ! {
    std::panic::resume_unwind(Box::new(payload.to_owned()))
}
