//! A running recorder: the guard's door, the worker and the shipper, and how they end.
//!
//! Owns the two threads. Both are restarted if they panic (promise CM-1); both end within the time that
//! [`Callmeter::shutdown`] is given, and what is not stored by then waits in the spool for the next
//! process. A forked child has neither: with its first call it gets a flight buffer, a worker, a spool
//! and a shipper of its own, and leaves its parent's alone.

use std::panic::Location;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use callmeter_core::{
    CallerEntry, Clock, Conservation, SinkError, SinkErrorKind, SystemClock, UnknownCaller,
};
use callmeter_flight::{Busy, Options, Process, Switch};

use crate::backoff::Backoff;
use crate::budget::{BudgetWatch, Budgets};
use crate::control::{Control, Parking};
use crate::crew::{Hand, Post};
use crate::figures;
use crate::flush::{Flush, Patience};
use crate::global;
use crate::guard::{CallGuard, Names};
use crate::home::Home;
use crate::logging::log_line;
use crate::recorder::Recorder;
use crate::settings::{LogStyle, Settings, SpoolSettings};
use crate::shipper::{BatchLimits, MakeSink, Parts, Shipper};
use crate::spool::{Disk, HomeDisk, SpoolReader};
use crate::station::{self, Station, lock_unless_stuck};
use crate::worker::Worker;

/// How a recorder's threads are started.
pub(crate) struct Plan {
    pub(crate) home: Home,
    /// The store's name, which spools carry.
    pub(crate) store: String,
    pub(crate) sink: SinkSource,
    pub(crate) limits: BatchLimits,
    pub(crate) spool: SpoolSettings,
    pub(crate) budgets: Budgets,
    /// Another disk than the home's, of a simulation.
    pub(crate) disk: Option<Arc<dyn Disk>>,
    /// A flight buffer of another size, of a simulation.
    pub(crate) flight: Option<Options>,
    pub(crate) exit_flush: Duration,
    pub(crate) log: LogStyle,
    /// A store that fails is tried again at once.
    pub(crate) is_impatient: bool,
}

/// Where sinks come from.
pub(crate) enum SinkSource {
    /// Nothing is shipped from here.
    None,
    /// The store that the settings name.
    Settings(Box<Settings>),
    /// The host's own.
    Given(Arc<Mutex<MakeSink>>),
}

impl Plan {
    /// The disk of this process: a forked child has one of its own.
    pub(crate) fn disk(&self) -> Arc<dyn Disk> {
        match &self.disk {
            Some(disk) => Arc::clone(disk),
            None => Arc::new(HomeDisk::new(self.home.clone())),
        }
    }

    pub(crate) fn make_sink(&self, clock: &Arc<dyn Clock>) -> Option<MakeSink> {
        match &self.sink {
            SinkSource::None => None,
            SinkSource::Settings(settings) => Some(crate::sinks::of_settings(
                settings,
                &self.home,
                Arc::clone(clock),
            )),
            SinkSource::Given(make) => {
                let make = Arc::clone(make);
                Some(Box::new(move || match lock_unless_stuck(&make) {
                    Some(mut make) => make(),
                    None => Err(SinkError::new(
                        SinkErrorKind::Retry,
                        "the sink was being opened when this process was forked",
                    )),
                }))
            }
        }
    }
}

/// The threads of a recorder, in the process that started them.
pub(crate) struct Running {
    process: Process,
    control: Arc<Control>,
    worker: Post<Worker>,
    shipper: Option<Post<Shipper>>,
}

impl Running {
    /// Makes a flight buffer and starts the threads.
    fn start(recorder: &Arc<Recorder>) -> std::io::Result<Self> {
        let plan = &recorder.plan;
        let control = Arc::new(Control::default());
        let (station, drainer, passed_over) =
            Station::make(recorder).map_err(std::io::Error::other)?;
        figures::tell_place(&station.buffer, &passed_over);
        let disk = plan.disk();
        let worker = Worker::new(
            Arc::clone(recorder),
            Arc::clone(&control),
            Arc::clone(&disk),
            // A clock of the host's may run at another pace than its disks and stores.
            Arc::new(SystemClock),
            drainer,
        );
        let worker = Post::start(worker, &control)?;
        let shipper = match plan.make_sink(&recorder.clock) {
            None => None,
            Some(make_sink) => {
                let parts = Parts {
                    disk,
                    home: plan.home.path().to_string_lossy().into_owned(),
                    store: plan.store.clone(),
                    make_sink,
                    clock: Arc::clone(&recorder.clock),
                    timer: Arc::new(SystemClock),
                    backoff: if plan.is_impatient {
                        Backoff::impatient()
                    } else {
                        Backoff::default()
                    },
                };
                let watch = match &plan.sink {
                    SinkSource::Settings(settings) => {
                        BudgetWatch::of_settings(settings, &plan.home)
                    }
                    _ => None,
                };
                let shipper =
                    Shipper::new(parts, plan.limits, Arc::clone(&control)).watching(watch);
                Some(Post::start(shipper, &control)?)
            }
        };
        // A home that is switched off is obeyed from the first call on.
        let switch = plan.home.switch(recorder.clock.now());
        recorder.set_home_wanted(!matches!(switch, Ok(Switch::Off | Switch::OffUntil(_))));
        recorder.set_buffer(station.buffer.id());
        Ok(Self {
            process: Process::current(),
            control,
            worker,
            shipper,
        })
    }

    /// Puts the threads to rest; says whether all do within `limit`.
    fn park(&mut self, limit: Duration) -> bool {
        let control = Arc::clone(&self.control);
        let has_worker = self.worker.is_working();
        let has_shipper = self.shipper.as_ref().is_some_and(Post::is_working);
        control.update(|state| {
            if has_worker {
                state.worker_parking.ask();
            }
            if has_shipper {
                state.shipper_parking.ask();
            }
        });
        let rests = |parking: Parking, is_there: bool| !is_there || parking == Parking::Rests;
        control.wait_until(limit, |state| {
            rests(state.worker_parking, has_worker) && rests(state.shipper_parking, has_shipper)
        });
        let (worker, shipper) = control.update(|state| {
            let worker = Worker::parking(state).settle();
            (worker, Shipper::parking(state).settle())
        });
        if has_worker && worker {
            self.worker.rest();
        }
        if let Some(post) = self.shipper.as_mut().filter(|_| has_shipper && shipper) {
            post.rest();
        }
        !self.worker.is_working() && !self.shipper.as_ref().is_some_and(Post::is_working)
    }

    fn resume(&mut self) {
        let control = &self.control;
        let worker = self.worker.resume(control);
        let shipper = self.shipper.as_mut().map(|post| post.resume(control));
        for error in [worker.err(), shipper.and_then(Result::err)]
            .into_iter()
            .flatten()
        {
            log_line!(error: %error,
                "the system gives no thread: calls wait in shared memory for the next process of this home"
            );
        }
    }

    /// Leaves the threads to the process that they belong to.
    fn forget(self) {
        std::mem::forget(self);
    }
}

/// In a forked child that makes its first call in the parent's buffer `id`: starts what records here.
#[cold]
pub(crate) fn renew_after_fork(id: u64) {
    let Some(recorder) = station::with(id, |station| Arc::clone(&station.recorder)) else {
        return;
    };
    let Some(mut running) = lock_unless_stuck(&recorder.running) else {
        return recorder.set_buffer(0);
    };
    if running
        .as_ref()
        .is_some_and(|running| running.process.is_current())
    {
        // Another thread was faster.
        return;
    }
    crate::identity::begin_anew();
    if let Some(parents) = running.take() {
        parents.forget();
    }
    match Running::start(&recorder) {
        Ok(started) => *running = Some(started),
        Err(error) => {
            recorder.set_buffer(0);
            log_line!(error: %error,
                "calls of this forked process are not recorded"
            );
        }
    }
}

/// A running recorder. Dropping it flushes for at most `exit_flush` and stops it.
#[must_use = "recording ends when this is dropped; keep it until the process ends"]
#[derive(Debug)]
pub struct Callmeter {
    pub(crate) recorder: Arc<Recorder>,
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
    /// Records of stored calls that this process shipped and that a store without the right to change rows left
    /// out: the first record of such a call stands.
    pub revision_not_applied: u64,
    /// Why spool or store last failed.
    pub last_error: Option<String>,
}

impl Callmeter {
    pub(crate) fn start(recorder: Recorder, enabled: bool) -> std::io::Result<Self> {
        recorder.set_env_wanted(enabled);
        let recorder = Arc::new(recorder);
        let running = Running::start(&recorder)?;
        *recorder
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(running);
        Ok(Self { recorder })
    }

    /// What the threads of this process are told through; `None` in a forked child that has none.
    fn control(&self) -> Option<Arc<Control>> {
        let running = lock_unless_stuck(&self.recorder.running)?;
        let running = running.as_ref()?;
        running
            .process
            .is_current()
            .then(|| Arc::clone(&running.control))
    }

    pub(crate) fn park_threads(&self, limit: Duration) -> bool {
        self.with_threads(|running| running.park(limit))
            .unwrap_or(true)
    }

    pub(crate) fn resume_threads(&self) {
        self.with_threads(Running::resume);
    }

    /// Does something with the threads of this process; a forked child has none before its first call.
    fn with_threads<T>(&self, action: impl FnOnce(&mut Running) -> T) -> Option<T> {
        let mut running = lock_unless_stuck(&self.recorder.running)?;
        let running = running.as_mut()?;
        running.process.is_current().then(|| action(running))
    }

    /// Opens a guard around one call.
    #[inline]
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
        let names = Names {
            caller: caller.as_ref(),
            provider: provider.as_ref(),
            model: model.as_ref(),
        };
        CallGuard::open(self.recorder.current(), &names, Location::caller())
    }

    /// Switches recording on or off from the next call on (promise CM-9). Guards that are open finish
    /// as they were opened. Calls are recorded while this, both environment variables and the switch of
    /// the home (`callmeter off`) all say on.
    pub fn set_enabled(&self, enabled: bool) {
        self.recorder.set_wanted(enabled);
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
        &self.recorder.plan.home
    }

    /// The recorder's figures. In a forked child they are those of the child.
    pub fn stats(&self) -> Stats {
        let state = self
            .control()
            .map(|control| control.snapshot())
            .unwrap_or_default();
        let _busy = Busy::begin();
        // The spool first: a call that leaves the flight buffer meanwhile is then moving, and not there
        // twice.
        let spool = state
            .spool
            .as_deref()
            .and_then(|path| SpoolReader::open(path).ok()?.standing().ok());
        let (conservation, moving) = figures::of_process(&state, spool.unwrap_or_default());
        Stats {
            moving,
            conservation,
            unknown_callers: self.recorder.unknown_callers.load(Ordering::Relaxed),
            meta_refused: self.recorder.meta_refused.load(Ordering::Relaxed),
            is_shipping: state.is_shipping,
            is_degraded: state.is_degraded,
            revision_not_applied: state.revision_not_applied,
            last_error: state.last_error,
        }
    }

    /// Waits until the store has answered for every call finished so far, at most `timeout`.
    pub fn flush(&self, timeout: Duration) -> Flush {
        match self.control() {
            Some(control) => Flush::within(&control, &mut Patience::of(timeout)),
            None => Flush::NOTHING,
        }
    }

    /// Stops recording, brings every finished call into the spool, and waits at most `timeout` for the
    /// store; 50 ms, once a trial has failed. What is not stored by then is shipped by the next process of
    /// this home.
    pub fn shutdown(mut self, timeout: Duration) -> Flush {
        self.stop(timeout)
    }

    fn stop(&mut self, timeout: Duration) -> Flush {
        self.resume_threads();
        let recorder = &self.recorder;
        let is_here = |running: &Running| running.process.is_current();
        let taken = lock_unless_stuck(&recorder.running).and_then(|running| {
            // A child that made no call leaves everything to its parent.
            running.as_ref().is_some_and(is_here).then_some(())?;
            recorder.set_wanted(false);
            global::uninstall(recorder);
            running.as_ref().map(|running| Arc::clone(&running.control))
        });
        let Some(control) = taken else {
            return Flush::NOTHING;
        };
        let plan = &recorder.plan;
        let mut patience = Patience::at_the_end(timeout, plan.home.failing_mark(&plan.store));
        let before = control.snapshot();
        let flush = Flush::within(&control, &mut patience);
        if !flush.is_complete() {
            patience.tell_of_silence(&before, &control.snapshot());
        }
        let Some(running) = lock_unless_stuck(&recorder.running).and_then(|mut all| all.take())
        else {
            return flush;
        };
        control.update(|state| state.stop_worker = true);
        if !running.worker.join() {
            log_line!(error: "the spool's worker ended in a panic");
        }
        // The worker may have needed longer for the spool than the caller gave the store.
        let state = control.snapshot();
        let flush = flush.or_spooled(state.flush_spooled >= state.flush_asked);
        control.update(|state| state.stop_shipper = true);
        if let Some(shipper) = running.shipper {
            // A shipper in the middle of a slow store is left behind; the store's answer to a batch that
            // is sent again is the same.
            if flush.is_complete() && !shipper.join() {
                log_line!(error: "the shipper ended in a panic");
            }
        }
        flush
    }
}

impl Drop for Callmeter {
    fn drop(&mut self) {
        let flush = self.stop(self.recorder.plan.exit_flush);
        if !flush.is_complete() {
            log_line!(warn: "not every call is stored yet; the next process of this home ships the rest"
            );
        }
    }
}
