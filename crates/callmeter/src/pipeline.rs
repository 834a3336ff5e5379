//! A running recorder: the guard's door, the worker and the shipper, and how they end.
//!
//! Owns the two threads. Both are restarted if they panic (promise CM-1); both end within the time that
//! [`Callmeter::shutdown`] is given, and what is not stored by then waits in the spool for the next
//! process.

use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use callmeter_core::{CallerEntry, Conservation, UnknownCaller};

use crate::control::Control;
use crate::global;
use crate::guard::CallGuard;
use crate::home::Home;
use crate::recorder::Recorder;
use crate::shipper::{BatchLimits, MakeSink, Shipper};
use crate::spool::SpoolReader;
use crate::worker::Worker;

const DEGRADED_EXIT_FLUSH: Duration = Duration::from_millis(50);

/// Everything that a pipeline needs, resolved.
pub(crate) struct PipelineConfig {
    pub(crate) recorder: Recorder,
    pub(crate) home: Home,
    pub(crate) store: String,
    pub(crate) make_sink: Option<MakeSink>,
    pub(crate) limits: BatchLimits,
    pub(crate) max_spool_bytes: u64,
    pub(crate) exit_flush: Duration,
    pub(crate) enabled: bool,
}

/// A running recorder. Dropping it flushes for at most `exit_flush` and stops it.
#[must_use = "recording ends when this is dropped; keep it until the process ends"]
#[derive(Debug)]
pub struct Callmeter {
    pub(crate) recorder: Arc<Recorder>,
    control: Arc<Control>,
    home: Home,
    exit_flush: Duration,
    worker: Option<JoinHandle<()>>,
    shipper: Option<JoinHandle<()>>,
}

/// What a flush came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a flush may run out of time; look at is_complete()"]
pub struct Flush {
    spooled: bool,
    stored: bool,
}

impl Flush {
    /// Whether the store has answered for every call that was finished before.
    pub const fn is_complete(self) -> bool {
        self.stored
    }

    /// Whether every call that was finished before is at least in the spool, safe from a crash.
    pub const fn is_spooled(self) -> bool {
        self.spooled
    }
}

/// A recorder's figures, read while it runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Where every finished call is (promise CM-3).
    pub conservation: Conservation,
    /// Finished calls that are just on their way from one place to the next; 0 at rest.
    pub moving: u64,
    /// Calls of callers that are not in the registry.
    pub unknown_callers: u64,
    /// Values of meta that were refused.
    pub meta_refused: u64,
    /// Whether this process ships to the store; if not, another one of the home does.
    pub is_shipping: bool,
    /// Whether the store has failed ten times in a row.
    pub is_degraded: bool,
    /// Why spool or store last failed.
    pub last_error: Option<String>,
}

impl Callmeter {
    pub(crate) fn start(config: PipelineConfig) -> std::io::Result<Self> {
        let PipelineConfig {
            recorder,
            home,
            store,
            make_sink,
            limits,
            max_spool_bytes,
            ..
        } = config;
        recorder.set_env_wanted(config.enabled);
        let recorder = Arc::new(recorder);
        let control = Arc::new(Control::default());
        let worker = Worker::new(
            Arc::clone(&recorder),
            Arc::clone(&control),
            home.clone(),
            store.clone(),
            max_spool_bytes,
        );
        let worker = spawn(
            "callmeter-spool",
            Arc::clone(&control),
            worker,
            Worker::step,
        )?;
        let shipper = match make_sink {
            None => None,
            Some(make_sink) => {
                let shipper = Shipper::new(
                    home.clone(),
                    store,
                    make_sink,
                    limits,
                    Arc::clone(&control),
                    Arc::clone(&recorder.clock),
                );
                Some(spawn(
                    "callmeter-ship",
                    Arc::clone(&control),
                    shipper,
                    Shipper::step,
                )?)
            }
        };
        Ok(Self {
            recorder,
            control,
            home,
            exit_flush: config.exit_flush,
            worker: Some(worker),
            shipper,
        })
    }

    /// Opens a guard around one call.
    #[track_caller]
    pub fn call(
        &self,
        caller: impl AsRef<str>,
        provider: impl AsRef<str>,
        model: impl AsRef<str>,
    ) -> CallGuard {
        if !self.recorder.is_on() {
            return CallGuard::off();
        }
        let site = Location::caller();
        CallGuard::open(
            &self.recorder,
            caller.as_ref(),
            provider.as_ref(),
            model.as_ref(),
            site,
        )
    }

    /// Switches recording on or off from the next call on (promise CM-9). Guards that are open finish
    /// as they were opened.
    pub fn set_enabled(&self, enabled: bool) {
        self.recorder.set_wanted(enabled);
        global::switch_changed(&self.recorder);
    }

    /// Whether calls are recorded now.
    pub fn is_enabled(&self) -> bool {
        self.recorder.is_on()
    }

    /// Looks a caller up in the registry. Recording never asks; this is for hosts that want to be strict.
    ///
    /// # Errors
    /// When nobody listed the caller.
    pub fn check_caller(&self, caller: &str) -> Result<&CallerEntry, UnknownCaller> {
        self.recorder.registry.check(caller)
    }

    /// The home that calls are spooled in.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The recorder's figures.
    pub fn stats(&self) -> Stats {
        let state = self.control.snapshot();
        let mut conservation = state
            .spool
            .as_deref()
            .and_then(|path| SpoolReader::open(path).ok()?.standing().ok())
            .unwrap_or_default();
        let spooled_and_gone = conservation.accounted();
        conservation.finished = self.recorder.handoff.finished();
        let waiting = self.recorder.handoff.waiting();
        let in_memory = waiting
            .saturating_add(state.held)
            .saturating_add(state.unsaved_dropped);
        conservation.buffered =
            in_memory.min(conservation.finished.saturating_sub(spooled_and_gone));
        Stats {
            moving: conservation
                .finished
                .saturating_sub(conservation.accounted()),
            conservation,
            unknown_callers: self.recorder.unknown_callers.load(Ordering::Relaxed),
            meta_refused: self.recorder.meta_refused.load(Ordering::Relaxed),
            is_shipping: state.is_shipping,
            is_degraded: state.is_degraded,
            last_error: state.last_error,
        }
    }

    /// Waits until the store has answered for every call finished so far, at most `timeout`.
    pub fn flush(&self, timeout: Duration) -> Flush {
        let deadline = Instant::now().checked_add(timeout);
        let left = || deadline.map_or(timeout, |at| at.saturating_duration_since(Instant::now()));
        let asked = self.control.update(|state| {
            state.flush_asked = state.flush_asked.saturating_add(1);
            state.waiting_flushes = state.waiting_flushes.saturating_add(1);
            state.flush_asked
        });
        let spooled = self
            .control
            .wait_until(left(), |state| state.flush_spooled >= asked);
        let state = self.control.snapshot();
        let mut stored = false;
        if spooled {
            stored = loop {
                let seen = self.control.snapshot().acknowledgements;
                if is_stored(&state) {
                    break true;
                }
                let pause = left().min(Duration::from_millis(20));
                if pause.is_zero() {
                    break false;
                }
                // Another process may be the one that ships: look at the spool now and then.
                self.control
                    .wait_until(pause, |state| state.acknowledgements > seen);
            };
        }
        self.control.update(|state| {
            state.waiting_flushes = state.waiting_flushes.saturating_sub(1);
        });
        Flush { spooled, stored }
    }

    /// Stops recording, brings every finished call into the spool, and waits at most `timeout` for the
    /// store. What is not stored by then is shipped by the next process of this home.
    pub fn shutdown(mut self, timeout: Duration) -> Flush {
        self.stop(timeout)
    }

    fn stop(&mut self, timeout: Duration) -> Flush {
        let Some(worker) = self.worker.take() else {
            return Flush {
                spooled: true,
                stored: true,
            };
        };
        self.recorder.set_wanted(false);
        global::uninstall(&self.recorder);
        let is_degraded = self.control.snapshot().is_degraded;
        let limit = if is_degraded {
            timeout.min(DEGRADED_EXIT_FLUSH)
        } else {
            timeout
        };
        let flush = self.flush(limit);
        self.control.update(|state| state.stop_worker = true);
        if worker.join().is_err() {
            tracing::error!(target: "callmeter", "the spool's worker ended in a panic");
        }
        self.control.update(|state| state.stop_shipper = true);
        if let Some(shipper) = self.shipper.take() {
            // A shipper in the middle of a slow store is left behind; the store's answer to a batch that
            // is sent again is the same.
            if flush.is_complete() && shipper.join().is_err() {
                tracing::error!(target: "callmeter", "the shipper ended in a panic");
            }
        }
        flush
    }
}

impl Drop for Callmeter {
    fn drop(&mut self) {
        let flush = self.stop(self.exit_flush);
        if !flush.is_complete() {
            tracing::warn!(
                target: "callmeter",
                "not every call is stored yet; the next process of this home ships the rest"
            );
        }
    }
}

fn is_stored(state: &crate::control::State) -> bool {
    let Some(path) = &state.spool else {
        return true;
    };
    match SpoolReader::open(path) {
        Ok(spool) => !spool.holds_up_to(state.spooled_seq).unwrap_or(true),
        Err(_) => !path.exists(),
    }
}

/// Runs `step` in a thread until it says that it is done; a panic in it costs one step.
fn spawn<T: Send + 'static>(
    name: &str,
    control: Arc<Control>,
    mut state: T,
    step: fn(&mut T) -> bool,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let panicked = AtomicBool::new(false);
            loop {
                match catch_unwind(AssertUnwindSafe(|| step(&mut state))) {
                    Ok(true) => return,
                    Ok(false) => panicked.store(false, Ordering::Relaxed),
                    Err(_) => {
                        tracing::error!(target: "callmeter", "a worker panicked and was restarted");
                        let seen = control.snapshot();
                        if panicked.swap(true, Ordering::Relaxed) && seen.stop_worker {
                            return;
                        }
                        control.wait_until(Duration::from_secs(1), |state| state.stop_shipper);
                    }
                }
            }
        })
}
