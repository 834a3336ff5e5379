//! The worker: moves finished calls from the flight buffer to the spool every few milliseconds.
//!
//! Promises that a slot becomes free only when its call is in the spool or counted as lost, and that it
//! never ends before it was told to: while the spool fails, calls stay in the flight buffer, and when
//! that is full further ones are dropped, counted. Looks after the buffer as well: says that the process
//! lives, and makes another one when the file was unlinked; the old one is emptied to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use callmeter_core::{CallRecord, DropReason, Timestamp};
use callmeter_flight::Drainer;

use crate::control::Control;
use crate::figures::{self, Figures};
use crate::recorder::Recorder;
use crate::spool::{SpoolError, SpoolInlet as _, SpoolOwner, SpoolWriter};
use crate::station::Station;

const BATCH: usize = 1_000;
const BUSY_POLL: Duration = Duration::from_millis(5);
const IDLE_POLL: Duration = Duration::from_millis(50);
const SYNC_EVERY: Duration = Duration::from_secs(1);
const RETRY_SPOOL_EVERY: Duration = Duration::from_secs(1);
const INSPECT_EVERY: Duration = Duration::from_secs(1);
/// A warning of lost calls is repeated after a time without any.
const EPISODE: Duration = Duration::from_secs(60);

pub(crate) struct Worker {
    recorder: Arc<Recorder>,
    control: Arc<Control>,
    spool: Option<SpoolWriter>,
    /// Of the buffer in use, and of those before it that are not empty yet.
    drainers: Vec<Drainer>,
    /// Calls handed out by the drainers, not yet in the spool.
    held: Vec<CallRecord>,
    unsynced: bool,
    last_sync: Instant,
    last_failure: Option<Instant>,
    ceiling_seen: Option<(Instant, bool)>,
    last_inspection: Instant,
    full_seen: u64,
    last_full: Option<Instant>,
}

impl Worker {
    pub(crate) fn new(recorder: Arc<Recorder>, control: Arc<Control>, drainer: Drainer) -> Self {
        let worker = Self {
            recorder,
            control,
            spool: None,
            drainers: vec![drainer],
            held: Vec::with_capacity(BATCH),
            unsynced: false,
            last_sync: Instant::now(),
            last_failure: None,
            ceiling_seen: None,
            last_inspection: Instant::now(),
            full_seen: 0,
            last_full: None,
        };
        worker.tell_buffers();
        worker
    }

    /// One round; says whether it was the last. It is when the worker was told to stop and everything
    /// finished before is in the spool, or the spool fails.
    pub(crate) fn step(&mut self) -> bool {
        let before = self.control.snapshot();
        let is_asked = before.stop_worker || before.flush_asked > before.flush_spooled;
        let moved = self.tick(is_asked);
        let is_at_rest = self.held.is_empty() && !self.is_unready() && !(is_asked && self.unsynced);
        if is_at_rest && moved == 0 {
            self.publish(before.flush_asked);
            if before.stop_worker {
                self.end();
                return true;
            }
        } else if before.stop_worker && self.last_failure.is_some() {
            return true;
        }
        if moved < BATCH && !is_asked {
            let pause = if moved > 0 || self.is_unready() {
                BUSY_POLL
            } else {
                IDLE_POLL
            };
            self.control.wait_until(pause, |state| {
                state.stop_worker || state.flush_asked > state.flush_spooled
            });
        } else if is_asked && self.last_failure.is_some() {
            self.control
                .wait_until(IDLE_POLL, |state| state.stop_worker);
        }
        false
    }

    /// Moves one batch; says how many calls it moved. With `now`, commits to the disk as well.
    fn tick(&mut self, now: bool) -> usize {
        self.look_after_buffers();
        if self.held.is_empty() {
            for drainer in &mut self.drainers {
                let room = BATCH.saturating_sub(self.held.len());
                drainer.drain(room, |record| self.held.push(record));
            }
        }
        let sync_due = self.unsynced && (now || self.last_sync.elapsed() >= SYNC_EVERY);
        let has_handed_out = self.drainers.iter().any(Drainer::has_handed_out);
        if !has_handed_out && !sync_due && !self.is_unready() {
            return 0;
        }
        if !now
            && self
                .last_failure
                .is_some_and(|at| at.elapsed() < RETRY_SPOOL_EVERY)
        {
            return 0;
        }
        if self.is_over_ceiling() {
            self.drop_held(DropReason::Ceiling);
        }
        let count = self.held.len();
        match self.write(sync_due) {
            Ok(()) => {
                // Only now: a kill in between leaves calls in both places, and the adopter knows them by
                // their ids.
                self.drainers.iter_mut().for_each(Drainer::committed);
                self.held.clear();
                self.unsynced = !sync_due && (self.unsynced || count > 0);
                if sync_due {
                    self.last_sync = Instant::now();
                }
                if self.last_failure.take().is_some() {
                    tracing::info!(target: "callmeter", "the spool takes calls again");
                    self.control.update(|state| state.last_error = None);
                }
                count
            }
            Err(error) => {
                self.failed(&error);
                0
            }
        }
    }

    /// Says that the process lives, and does what is due about buffers.
    fn look_after_buffers(&mut self) {
        self.recorder.time.adjust();
        let moment = self.recorder.time.now();
        for drainer in &self.drainers {
            drainer.buffer().beat(moment.at, moment.ns);
        }
        if self.last_inspection.elapsed() < INSPECT_EVERY {
            return;
        }
        self.last_inspection = Instant::now();
        self.warn_of_losses();
        if let Some(current) = self.drainers.first()
            && !current.buffer().is_linked()
        {
            self.replace_buffer();
        }
        self.retire_old_buffers();
    }

    /// Makes another buffer: a file that was unlinked is found by nobody, should the process die.
    fn replace_buffer(&mut self) {
        match Station::make(&self.recorder) {
            Ok((station, drainer, passed_over)) => {
                tracing::warn!(
                    target: "callmeter",
                    "the flight file was removed by somebody; another was made"
                );
                figures::tell_place(&station.buffer, &passed_over);
                if let Some(spool) = &mut self.spool
                    && let Err(error) = attach(spool, &drainer, self.recorder.clock.now())
                {
                    self.failed(&error);
                }
                self.drainers.insert(0, drainer);
                self.tell_buffers();
                self.recorder.set_buffer(station.buffer.id());
            }
            Err(error) => {
                self.control
                    .update(|state| state.last_error = Some(error.to_string()));
            }
        }
    }

    /// Ends the buffers that were replaced, as soon as no call is in them.
    fn retire_old_buffers(&mut self) {
        let mut past = Figures::default();
        let mut at = 1;
        while let Some(drainer) = self.drainers.get_mut(at) {
            if drainer.retire() {
                past.add(&Figures::of(&drainer.buffer().standing()));
                Station::forget(drainer.buffer().id());
                self.drainers.remove(at);
            } else {
                at = at.saturating_add(1);
            }
        }
        if past.finished > 0 {
            self.tell_past(past);
        }
    }

    /// Ends every buffer in which no call is in flight, and tells the spool what they lost. One with a
    /// call in flight stays: should the process die, it is adopted.
    fn end(&mut self) {
        let mut past = Figures::default();
        for drainer in &mut self.drainers {
            if drainer.retire() {
                past.add(&Figures::of(&drainer.buffer().standing()));
                Station::forget(drainer.buffer().id());
            }
        }
        self.drainers
            .retain(|drainer| drainer.buffer().standing().open > 0);
        self.tell_past(past);
        let losses = self.control.snapshot().past.losses();
        let told = match &mut self.spool {
            Some(spool) if !losses.is_empty() => spool.append(&[], &losses, true).is_ok(),
            _ => false,
        };
        if told {
            self.control
                .update(|state| state.past.dropped = Default::default());
        }
    }

    fn tell_past(&self, past: Figures) {
        let buffers = self.buffers();
        self.control.update(|state| {
            state.past.add(&past);
            state.buffers = buffers;
        });
    }

    fn tell_buffers(&self) {
        self.tell_past(Figures::default());
    }

    fn buffers(&self) -> Vec<Arc<callmeter_flight::FlightBuffer>> {
        let buffers = self.drainers.iter().map(Drainer::buffer);
        buffers.map(Arc::clone).collect()
    }

    fn write(&mut self, sync: bool) -> Result<(), SpoolError> {
        if self.spool.is_none() {
            let plan = &self.recorder.plan;
            plan.home.make()?;
            let mut spool = SpoolWriter::create(
                &plan.home.spool_dir(),
                &SpoolOwner {
                    home: plan.home.path().to_string_lossy().into_owned(),
                    store: plan.store.clone(),
                    made_at: self.recorder.clock.now(),
                },
                plan.home.rights(),
            )?;
            // Before any of their rows is in it: an adopter finds the spool by the flight file.
            for drainer in &self.drainers {
                attach(&mut spool, drainer, self.recorder.clock.now())?;
            }
            self.control
                .update(|state| state.spool = Some(spool.path().to_owned()));
            self.spool = Some(spool);
        }
        match &mut self.spool {
            Some(spool) => spool.append(&self.held, &[], sync),
            None => Ok(()),
        }
    }

    fn failed(&mut self, error: &SpoolError) {
        let first = self.last_failure.is_none();
        self.last_failure = Some(Instant::now());
        let message = error.to_string();
        if first {
            tracing::error!(
                target: "callmeter",
                error = %message,
                "the spool takes no calls; they wait in the flight buffer; see `callmeter doctor`"
            );
        }
        self.control
            .update(|state| state.last_error = Some(message));
    }

    /// Says when calls begin to be dropped because the buffer is full.
    fn warn_of_losses(&mut self) {
        let buffers = self.drainers.iter().map(Drainer::buffer);
        let full = buffers.fold(0_u64, |sum, buffer| sum.saturating_add(buffer.full()));
        let new = full.saturating_sub(self.full_seen);
        self.full_seen = full;
        if new == 0 {
            return;
        }
        if self.last_full.is_none_or(|at| at.elapsed() >= EPISODE) {
            tracing::warn!(
                target: "callmeter",
                count = new,
                "calls were dropped: the flight buffer is full, they come faster than the spool takes them"
            );
        }
        self.last_full = Some(Instant::now());
    }

    /// Counts the calls in hand as lost and frees their slots.
    fn drop_held(&mut self, reason: DropReason) {
        if let Some(current) = self.drainers.first() {
            let count = self.held.len() as u64;
            current.buffer().count_dropped(reason, count);
        }
        self.drainers.iter_mut().for_each(Drainer::committed);
        self.held.clear();
    }

    /// Whether the home's spools have reached their ceiling; looked at once a second.
    fn is_over_ceiling(&mut self) -> bool {
        if let Some((at, over)) = self.ceiling_seen
            && at.elapsed() < Duration::from_secs(1)
        {
            return over;
        }
        let size = std::fs::read_dir(self.recorder.plan.home.spool_dir())
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.metadata().ok())
            .fold(0_u64, |sum, file| sum.saturating_add(file.len()));
        let over = size >= self.recorder.plan.max_spool_bytes;
        if over && self.ceiling_seen.is_none_or(|(_, was_over)| !was_over) {
            tracing::error!(
                target: "callmeter",
                "the spool reached spool.max_bytes; new calls are dropped until the store takes some"
            );
        }
        self.ceiling_seen = Some((Instant::now(), over));
        over
    }

    fn is_unready(&self) -> bool {
        self.spool.as_ref().is_some_and(|spool| spool.has_unready())
    }

    fn publish(&self, flush_asked: u64) {
        let seq = self.spool.as_ref().map_or(0, |spool| spool.last_seq());
        if self.control.snapshot().flush_spooled < flush_asked {
            self.control.update(|state| {
                state.flush_spooled = flush_asked;
                state.spooled_seq = seq;
            });
        }
    }
}

/// Tells the spool whose calls come to it.
fn attach(spool: &mut SpoolWriter, drainer: &Drainer, at: Timestamp) -> Result<(), SpoolError> {
    let Some(path) = drainer.buffer().path() else {
        return Ok(());
    };
    let (Some(flight), Some(place)) = (path.file_stem(), path.parent()) else {
        return Ok(());
    };
    spool.attach(&flight.to_string_lossy(), &place.to_string_lossy(), at)
}
