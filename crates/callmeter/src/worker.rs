//! The worker: moves finished calls from the hand-off to the spool every few milliseconds.
//!
//! Promises that what it takes is in the spool or counted as dropped, and that it never ends before it
//! was told to: a spool that fails is tried again, and meanwhile calls wait in bounded memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callmeter_core::{CallRecord, DropReason};

use crate::control::Control;
use crate::home::Home;
use crate::recorder::Recorder;
use crate::spool::{SpoolError, SpoolOwner, SpoolWriter};

const BATCH: usize = 1_000;
const BUSY_POLL: Duration = Duration::from_millis(5);
const IDLE_POLL: Duration = Duration::from_millis(50);
const SYNC_EVERY: Duration = Duration::from_secs(1);
const RETRY_SPOOL_EVERY: Duration = Duration::from_secs(1);

pub(crate) struct Worker {
    recorder: Arc<Recorder>,
    control: Arc<Control>,
    home: Home,
    store: String,
    max_spool_bytes: u64,
    spool: Option<SpoolWriter>,
    held: Vec<CallRecord>,
    dropped: BTreeMap<DropReason, u64>,
    refused_seen: u64,
    unsynced: bool,
    last_sync: Instant,
    last_failure: Option<(Instant, DropReason)>,
    ceiling_seen: Option<(Instant, bool)>,
}

impl Worker {
    pub(crate) fn new(
        recorder: Arc<Recorder>,
        control: Arc<Control>,
        home: Home,
        store: String,
        max_spool_bytes: u64,
    ) -> Self {
        Self {
            recorder,
            control,
            home,
            store,
            max_spool_bytes,
            spool: None,
            held: Vec::with_capacity(BATCH),
            dropped: BTreeMap::new(),
            refused_seen: 0,
            unsynced: false,
            last_sync: Instant::now(),
            last_failure: None,
            ceiling_seen: None,
        }
    }

    /// One round; says whether it was the last. It is when the worker was told to stop and everything
    /// finished before is in the spool, or the spool fails.
    pub(crate) fn step(&mut self) -> bool {
        let before = self.control.snapshot();
        let is_asked = before.stop_worker || before.flush_asked > before.flush_spooled;
        let moved = self.tick(is_asked);
        let is_at_rest = self.held.is_empty()
            && self.dropped.is_empty()
            && !self.is_unready()
            && !(is_asked && self.unsynced);
        if is_at_rest && moved == 0 {
            self.publish(before.flush_asked);
            if before.stop_worker {
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
        if self.held.is_empty() {
            self.recorder.handoff.drain_into(&mut self.held, BATCH);
        }
        self.count_refused();
        let sync_due = self.unsynced && (now || self.last_sync.elapsed() >= SYNC_EVERY);
        let has_work = !self.held.is_empty() || !self.dropped.is_empty();
        if !has_work && !sync_due && !self.is_unready() {
            return 0;
        }
        if !now
            && self
                .last_failure
                .is_some_and(|(at, _)| at.elapsed() < RETRY_SPOOL_EVERY)
        {
            return 0;
        }
        if self.is_over_ceiling() {
            self.drop_held(DropReason::Ceiling);
        }
        let count = self.held.len();
        match self.write(sync_due) {
            Ok(()) => {
                self.held.clear();
                self.dropped.clear();
                self.unsynced = !sync_due && (self.unsynced || count > 0);
                if sync_due {
                    self.last_sync = Instant::now();
                }
                if self.last_failure.take().is_some() {
                    tracing::info!(target: "callmeter", "the spool takes calls again");
                    self.control.update(|state| state.last_error = None);
                }
                self.tell_held();
                count
            }
            Err(error) => {
                self.failed(&error);
                0
            }
        }
    }

    fn write(&mut self, sync: bool) -> Result<(), SpoolError> {
        let dropped: Vec<_> = self
            .dropped
            .iter()
            .map(|(reason, count)| (*reason, *count))
            .collect();
        if self.spool.is_none() {
            self.home.make()?;
            let spool = SpoolWriter::create(
                &self.home.spool_dir(),
                &SpoolOwner {
                    home: self.home.path().to_string_lossy().into_owned(),
                    store: self.store.clone(),
                    made_at: self.recorder.clock.now(),
                },
            )?;
            self.control
                .update(|state| state.spool = Some(spool.path().to_owned()));
            self.spool = Some(spool);
        }
        match &mut self.spool {
            Some(spool) => spool.append(&self.held, &dropped, sync),
            None => Ok(()),
        }
    }

    fn failed(&mut self, error: &SpoolError) {
        let reason = match error {
            SpoolError::DiskFull => DropReason::DiskFull,
            _ => DropReason::MemoryFull,
        };
        let first = self.last_failure.is_none();
        self.last_failure = Some((Instant::now(), reason));
        let message = error.to_string();
        if first {
            tracing::error!(
                target: "callmeter",
                error = %message,
                "the spool takes no calls; they wait in memory; see `callmeter doctor`"
            );
        }
        self.control
            .update(|state| state.last_error = Some(message));
        self.tell_held();
    }

    /// Calls that found the hand-off full are lost for the reason that holds the worker up.
    fn count_refused(&mut self) {
        let refused = self.recorder.handoff.refused();
        let new = refused.saturating_sub(self.refused_seen);
        if new == 0 {
            return;
        }
        self.refused_seen = refused;
        let reason = self
            .last_failure
            .map_or(DropReason::FlightFull, |(_, reason)| reason);
        let first = !self.dropped.contains_key(&reason);
        let count = self.dropped.entry(reason).or_default();
        *count = count.saturating_add(new);
        if first {
            tracing::warn!(target: "callmeter", reason = reason.as_str(), count = new, "calls were dropped");
        }
        self.tell_held();
    }

    fn drop_held(&mut self, reason: DropReason) {
        let count = self.dropped.entry(reason).or_default();
        *count = count.saturating_add(self.held.len() as u64);
        self.held.clear();
    }

    /// Whether the home's spools have reached their ceiling; looked at once a second.
    fn is_over_ceiling(&mut self) -> bool {
        if let Some((at, over)) = self.ceiling_seen
            && at.elapsed() < Duration::from_secs(1)
        {
            return over;
        }
        let size = std::fs::read_dir(self.home.spool_dir())
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.metadata().ok())
            .fold(0_u64, |sum, file| sum.saturating_add(file.len()));
        let over = size >= self.max_spool_bytes;
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
        self.spool.as_ref().is_some_and(SpoolWriter::has_unready)
    }

    fn tell_held(&self) {
        let held = self.held.len() as u64;
        let dropped = self
            .dropped
            .values()
            .fold(0_u64, |sum, count| sum.saturating_add(*count));
        self.control.update(|state| {
            state.held = held;
            state.unsaved_dropped = dropped;
        });
    }

    fn publish(&self, flush_asked: u64) {
        let seq = self.spool.as_ref().map_or(0, SpoolWriter::last_seq);
        if self.control.snapshot().flush_spooled < flush_asked {
            self.control.update(|state| {
                state.flush_spooled = flush_asked;
                state.spooled_seq = seq;
            });
        }
    }
}
