//! The worker: moves finished calls from the flight buffer to the spool every few milliseconds.
//!
//! Promises that a slot becomes free only when its call is in the spool or counted as lost, and that it
//! never ends before it was told to. While the disk takes nothing, calls go into a spool in memory, from
//! which this process ships them; when that is full they stay in the flight buffer, and when that is full
//! as well further ones are dropped, counted ([`spooling`]). Looks after the buffers too: says that the
//! process lives, and makes another one when the file was unlinked ([`buffers`]).
//!
//! [`Worker::tick`] does what there is to do now and says when to come again; it never waits but for the
//! disk, and takes every moment from the clocks that it was given, so that a simulation can drive it.

mod buffers;
mod spooling;

use std::sync::Arc;
use std::time::Duration;

use callmeter_core::{CallRecord, Clock};
use callmeter_flight::{Busy, Drainer};

use self::spooling::Spooling;
use crate::control::{Control, Parking, State};
use crate::crew::{Hand, Step};
use crate::keeper::Keeper;
use crate::logging::killed::KilledLines;
use crate::recorder::Recorder;
use crate::settings::LogStyle;
use crate::spool::Disk;
use crate::under_run::UnderRun;

const BATCH: usize = 1_000;
const BUSY_POLL: Duration = Duration::from_millis(5);
const IDLE_POLL: Duration = Duration::from_millis(50);
const INSPECT_EVERY: Duration = Duration::from_secs(1);

pub(crate) struct Worker {
    recorder: Arc<Recorder>,
    control: Arc<Control>,
    /// How long things take: its monotonic half.
    timer: Arc<dyn Clock>,
    spooling: Spooling,
    /// Of the buffer in use, and of those before it that are not empty yet.
    drainers: Vec<Drainer>,
    /// Calls handed out by the drainers, not yet in the spool.
    held: Vec<CallRecord>,
    under_run: Option<UnderRun>,
    last_inspection: u64,
    full_seen: u64,
    last_full: Option<u64>,
    keeper: Keeper,
    killed: KilledLines,
    /// Whether the store is degraded, as the home's mark says; looked at once a second.
    is_marked: bool,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("spooling", &self.spooling)
            .field("held", &self.held.len())
            .finish_non_exhaustive()
    }
}

impl Worker {
    pub(crate) fn new(
        recorder: Arc<Recorder>,
        control: Arc<Control>,
        disk: Arc<dyn Disk>,
        timer: Arc<dyn Clock>,
        drainer: Drainer,
    ) -> Self {
        let now = timer.monotonic_ns();
        let spooling = Spooling::new(&recorder, &control, disk, Arc::clone(&timer));
        let worker = Self {
            under_run: recorder.under_run.clone(),
            recorder,
            control,
            timer,
            spooling,
            drainers: vec![drainer],
            held: Vec::with_capacity(BATCH),
            last_inspection: now,
            full_seen: 0,
            last_full: None,
            keeper: Keeper::default(),
            killed: KilledLines::default(),
            is_marked: false,
        };
        worker.tell_buffers();
        worker
    }

    /// Does what there is to do; says how long to wait before the next time. `None` when it was told to
    /// stop and everything finished before is in the spool, or the spool takes nothing.
    pub(crate) fn tick(&mut self) -> Option<Duration> {
        let before = self.control.read(Asked::of);
        let is_asked =
            before.stop || before.flush > before.flush_spooled || before.parking == Parking::Asked;
        let moved = self.round(is_asked);
        let is_at_rest = self.held.is_empty() && self.spooling.is_at_rest(is_asked);
        if is_at_rest && moved == 0 {
            self.publish(&before);
            if before.stop {
                self.end();
                return None;
            }
            return Some(IDLE_POLL);
        }
        let is_failing = self.spooling.is_failing() || moved == 0 && self.spooling.is_blocked();
        if before.stop && is_failing {
            self.spooling.give_up_memory(&self.drainers);
            return None;
        }
        Some(if is_failing {
            IDLE_POLL
        } else if is_asked || moved >= BATCH {
            Duration::ZERO
        } else {
            BUSY_POLL
        })
    }

    /// Moves one batch; says how many calls it moved. With `now`, commits to the disk as well.
    fn round(&mut self, now: bool) -> usize {
        let _busy = Busy::begin();
        self.look_after_buffers();
        if self.held.is_empty() {
            for drainer in &mut self.drainers {
                let room = BATCH.saturating_sub(self.held.len());
                drainer.drain(room, |record| self.held.push(record));
            }
            if let Some(run) = self.under_run.as_mut().filter(|_| !self.held.is_empty()) {
                run.judge(&mut self.held, &self.recorder.plan.home);
            }
        }
        let has_handed_out = self.drainers.iter().any(Drainer::has_handed_out);
        let taken = self
            .spooling
            .take(&self.held, has_handed_out, now, &self.drainers);
        let Some(dropped) = taken else {
            return 0;
        };
        if let (Some((reason, count)), Some(current)) = (dropped, self.drainers.first()) {
            current.buffer().count_dropped(reason, count);
        }
        // Only now: a kill in between leaves calls in both places, and the adopter knows them by their ids.
        self.drainers.iter_mut().for_each(Drainer::committed);
        let count = self.held.len();
        self.tell_of_calls();
        self.held.clear();
        count
    }

    /// In the style of the replaced module a call has a line of its own while the store is degraded.
    fn tell_of_calls(&mut self) {
        let is_legacy = self.recorder.plan.log == LogStyle::AiCallLogger;
        if is_legacy && self.control.is_degraded(self.is_marked) {
            self.killed.write(&self.held, self.timer.monotonic_ns());
        }
    }

    fn publish(&self, asked: &Asked) {
        if asked.flush_spooled < asked.flush {
            let seq = self.spooling.last_seq();
            self.control.update(|state| {
                state.flush_spooled = asked.flush;
                state.spooled_seq = seq;
            });
        }
    }
}

/// What the worker is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Asked {
    stop: bool,
    flush: u64,
    /// The last flush that it has answered.
    flush_spooled: u64,
    parking: Parking,
}

impl Asked {
    const fn of(state: &State) -> Self {
        Self {
            stop: state.stop_worker,
            flush: state.flush_asked,
            flush_spooled: state.flush_spooled,
            parking: state.worker_parking,
        }
    }
}

impl Hand for Worker {
    const NAME: &'static str = "callmeter-spool";

    fn step(&mut self) -> Step {
        let seen = self.control.read(Asked::of);
        let Some(pause) = self.tick() else {
            return Step::Last;
        };
        // Everything finished before is in the spool, or the spool fails.
        if seen.parking == Parking::Asked && pause == IDLE_POLL {
            return Step::AtRest;
        }
        self.control.wait_until(pause, |state| {
            state.stop_worker != seen.stop
                || state.flush_asked > seen.flush
                || state.worker_parking != seen.parking
        });
        Step::Again
    }

    fn parking(state: &mut State) -> &mut Parking {
        &mut state.worker_parking
    }
}

fn passed(since_ns: u64, now_ns: u64) -> Duration {
    Duration::from_nanos(now_ns.saturating_sub(since_ns))
}
