//! What is owed: one obligation a call, from the moment that its guard opens, and what breaks a promise.
//!
//! ```text
//! open ──finished──▶ a row, once ─┬─ stored         CM-5
//!   │                             ├─ rejected       poison, or beyond the horizon
//!   └─its process dies──▶ a row   ├─ dropped        counted, by reason (CM-3)
//!                      `aborted`  └─ excused        what a loss of power, memory or damage may cost (CM-4)
//! ```
//! It sees what the host sees (guards), what the store sees (batches) and what the disk was asked for, and
//! knows nothing of how recorder, worker, shipper and adopter work.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callmeter::seams::SpooledRow;
use callmeter_core::{CallId, CallRecord, Status};

use crate::plan::Kind;

const MS: u64 = 1_000_000;
/// How young a call must be for a loss of power to cost it: a second, and what a poll adds.
const POWER_WINDOW_NS: u64 = 1_200 * MS;
/// The same for calls that waited in memory for the disk.
const POWER_WINDOW_AFTER_FAULT_NS: u64 = 2_500 * MS;
/// When a fresh call must be stored while all is well: its batch's second, polls, and room.
const FRESH_WITHIN_NS: u64 = 3_000 * MS;
/// How long all must have been well before such a call.
const CALM_BEFORE_NS: u64 = 2_500 * MS;
/// How long a worker may go on before it looks at the ceiling again.
const CEILING_WINDOW_NS: u64 = 1_100 * MS;

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Its id.
    pub promise: &'static str,
    /// What happened.
    pub what: String,
}

/// What a call must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owed {
    /// In flight.
    Nothing,
    /// A row as its guard said.
    Row,
    /// A row that says that its process died.
    AbortedRow,
    /// It may be lost, or not.
    Excused(&'static str),
}

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Obligation {
    pub(crate) number: u64,
    pub(crate) process: u32,
    pub(crate) store: usize,
    pub(crate) kind: Kind,
    pub(crate) owed: Owed,
    finished_ns: u64,
    /// A flush said that it is safe.
    is_safe: bool,
}

#[derive(Debug, Default)]
struct Life {
    /// Guards that have returned, those that found no slot included.
    finished: u64,
    refused: u64,
    first_finished_ns: Option<u64>,
    died_ns: Option<u64>,
    /// Failures since the store last answered.
    failures: u32,
    /// The same, since all batches of a tick were answered for, while the disk was well: a batch that is
    /// halved may be answered in part, and fail.
    failures_at_most: u32,
    has_answer: bool,
    has_failure: bool,
    was_degraded: bool,
    writes_in_tick: u32,
}

#[derive(Debug, Default)]
struct Ledger {
    calls: HashMap<CallId, Obligation>,
    lives: BTreeMap<u32, Life>,
    violations: Vec<Violation>,
    /// Where a row was last read: spool and number.
    read_at: HashMap<CallId, (String, i64)>,
    /// Spool → the last rows of the two ascending sequences that it was sent in.
    lanes: HashMap<String, (i64, i64)>,
    rejected_in_memory: HashSet<CallId>,
    recent: VecDeque<(u64, CallId)>,
    calm_since: u64,
    steady_since: u64,
    disk_failed_at: Option<u64>,
    max_bytes: u64,
    /// Since when the ceiling is reached, and how far it may be passed.
    over: Option<(u64, u64)>,
    /// How far others than workers may have gone beyond.
    slack: u64,
    made: u64,
}

/// The oracle; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Oracle(Arc<Mutex<Ledger>>);

impl Oracle {
    /// An oracle for a home with that ceiling.
    pub(crate) fn new(max_bytes: u64) -> Self {
        let oracle = Self::default();
        oracle.ledger().max_bytes = max_bytes;
        oracle
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a broken promise.
    pub(crate) fn broken(&self, promise: &'static str, what: String) {
        self.ledger().broken(promise, what);
    }

    /// The first broken promise.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.ledger().violations.first().cloned()
    }

    /// The number of the next call.
    pub(crate) fn next_number(&self) -> u64 {
        let mut ledger = self.ledger();
        ledger.made += 1;
        ledger.made
    }

    /// How many calls were opened.
    pub(crate) fn made(&self) -> u64 {
        self.ledger().made
    }

    /// A guard was opened; without an id it found no slot.
    pub(crate) fn opened(
        &self,
        id: Option<CallId>,
        process: u32,
        store: usize,
        kind: Kind,
        number: u64,
    ) {
        let mut ledger = self.ledger();
        let Some(id) = id else {
            let life = ledger.lives.entry(process).or_default();
            life.finished += 1;
            life.refused += 1;
            return;
        };
        let obligation = Obligation {
            number,
            process,
            store,
            kind,
            owed: Owed::Nothing,
            finished_ns: 0,
            is_safe: false,
        };
        if ledger.calls.insert(id, obligation).is_some() {
            ledger.broken("CM-5", format!("call {number} has the id of another"));
        }
    }

    /// A guard has returned: from now on its row is owed.
    pub(crate) fn finished(&self, id: CallId, now: u64) {
        let mut ledger = self.ledger();
        let Some(call) = ledger.calls.get_mut(&id) else {
            return;
        };
        call.owed = Owed::Row;
        call.finished_ns = now;
        let process = call.process;
        let is_usual = call.kind == Kind::Usual;
        let life = ledger.lives.entry(process).or_default();
        life.finished += 1;
        life.first_finished_ns.get_or_insert(now);
        if is_usual {
            ledger.recent.push_back((now, id));
        }
    }

    /// How many guards of a process have returned, those that found no slot included.
    pub(crate) fn finished_of(&self, process: u32) -> u64 {
        self.ledger()
            .lives
            .get(&process)
            .map_or(0, |life| life.finished)
    }

    /// How many guards found no slot.
    pub(crate) fn refused(&self) -> u64 {
        self.ledger().lives.values().map(|life| life.refused).sum()
    }

    /// How many calls are owed a row, are lost or were refused: what the home's equation begins with.
    pub(crate) fn accountable(&self) -> u64 {
        let ledger = self.ledger();
        let calls = ledger.calls.values();
        let calls = calls.filter(|call| call.owed != Owed::Nothing).count() as u64;
        calls + ledger.lives.values().map(|life| life.refused).sum::<u64>()
    }

    /// A process died, in order or not: its calls in flight become aborted rows, if its flight file is there.
    pub(crate) fn died(&self, process: u32, now: u64, has_flight: bool) {
        let mut ledger = self.ledger();
        ledger.lives.entry(process).or_default().died_ns = Some(now);
        for call in ledger.calls.values_mut() {
            if call.process == process && call.owed == Owed::Nothing {
                call.owed = if has_flight {
                    Owed::AbortedRow
                } else {
                    Owed::Excused("its flight file was removed by somebody")
                };
                call.finished_ns = now;
            }
        }
    }

    /// These calls may be lost.
    pub(crate) fn excuse(&self, calls: impl IntoIterator<Item = CallId>, why: &'static str) {
        let mut ledger = self.ledger();
        for id in calls {
            if let Some(call) = ledger.calls.get_mut(&id)
                && call.owed != Owed::Nothing
            {
                call.owed = Owed::Excused(why);
            }
        }
    }

    /// Everything that a process has finished is safe, says its flush.
    pub(crate) fn flushed(&self, process: u32) {
        for call in self.ledger().calls.values_mut() {
            call.is_safe |= call.process == process && call.owed == Owed::Row;
        }
    }

    /// Every call that is owed, to be looked at.
    pub(crate) fn owed(&self) -> Vec<(CallId, Obligation)> {
        let ledger = self.ledger();
        let calls = ledger.calls.iter().map(|(id, call)| (*id, call.clone()));
        let mut calls: Vec<_> = calls.collect();
        calls.sort_by_key(|(_, call)| call.number);
        calls
    }

    // What disturbs, and for how long nothing did.

    /// Something happened after which latencies are no longer what they should be.
    pub(crate) fn disturb(&self, now: u64) {
        let mut ledger = self.ledger();
        ledger.calm_since = ledger.calm_since.max(now);
    }

    /// Workers were held up as well.
    pub(crate) fn unsettle(&self, now: u64) {
        let mut ledger = self.ledger();
        ledger.calm_since = ledger.calm_since.max(now);
        ledger.steady_since = ledger.steady_since.max(now);
    }

    /// The disk failed.
    pub(crate) fn disk_failed(&self, now: u64) {
        self.unsettle(now);
        self.ledger().disk_failed_at = Some(now);
    }

    /// Whether the disk ever failed.
    pub(crate) fn has_disk_failed(&self) -> bool {
        self.ledger().disk_failed_at.is_some()
    }

    /// Since when nothing held up a worker.
    pub(crate) fn steady_since(&self) -> u64 {
        self.ledger().steady_since
    }

    // The disk (promises CM-4 and CM-8).

    /// Rows were read from a spool.
    pub(crate) fn read(&self, spool: &str, rows: &[SpooledRow]) {
        let mut ledger = self.ledger();
        for row in rows {
            if let Ok(record) = &row.record {
                let place = (spool.to_owned(), row.seq);
                ledger.read_at.insert(record.call_id, place);
            }
        }
    }

    /// A row in memory was rejected.
    pub(crate) fn rejected_in_memory(&self, call: CallId) {
        self.ledger().rejected_in_memory.insert(call);
    }

    /// Whether it was.
    pub(crate) fn is_rejected_in_memory(&self, call: CallId) -> bool {
        self.ledger().rejected_in_memory.contains(&call)
    }

    /// Whether the home has a ceiling that a run can reach.
    pub(crate) fn has_ceiling(&self) -> bool {
        self.ledger().max_bytes < 1 << 30
    }

    /// A worker added rows, or some were removed; the spools then take so many bytes.
    pub(crate) fn takes(&self, rows: usize, used: u64, now: u64) {
        let mut ledger = self.ledger();
        if used < ledger.max_bytes {
            ledger.over = None;
            return;
        }
        match ledger.over {
            None => ledger.over = Some((now, used)),
            Some((since, most)) if now.saturating_sub(since) <= CEILING_WINDOW_NS => {
                ledger.over = Some((since, most.max(used)));
            }
            Some((_, most)) if rows > 0 && used > most + ledger.slack => {
                ledger.broken(
                    "CM-8",
                    format!(
                        "the spools went on growing above their ceiling: {used} of {most} bytes"
                    ),
                );
            }
            Some(_) => {}
        }
    }

    /// An adopter inserted rows, which no ceiling holds up.
    pub(crate) fn adopted(&self, rows: u64) {
        self.ledger().slack += rows * 1_000;
    }

    /// An empty spool takes room as well.
    pub(crate) fn made_spool(&self, bytes: u64) {
        self.ledger().slack += bytes;
    }

    /// Power was lost, and with it these calls: they must be young.
    pub(crate) fn lost_to_power(&self, lost: &[CallId], now: u64, syncs: bool) {
        let mut ledger = self.ledger();
        ledger.lanes.clear();
        let steady = ledger.steady_since;
        let mut broken = None;
        for id in lost {
            let Some(call) = ledger.calls.get(id) else {
                continue;
            };
            let (number, finished, safe) = (call.number, call.finished_ns, call.is_safe);
            let is_row = call.owed == Owed::Row;
            let died = ledger
                .lives
                .get(&call.process)
                .and_then(|life| life.died_ns);
            let lived_to = died.unwrap_or(now);
            let (since, window) = if finished >= steady {
                (finished, POWER_WINDOW_NS)
            } else {
                (steady, POWER_WINDOW_AFTER_FAULT_NS)
            };
            let age = lived_to.saturating_sub(since);
            if is_row && syncs && age > window {
                broken.get_or_insert(format!(
                    "power was lost, and with it call {number}, which was {} ms old",
                    age / MS
                ));
            }
            if is_row && safe {
                broken.get_or_insert(format!(
                    "power was lost, and with it call {number}, which a flush had made safe"
                ));
            }
            if let Some(call) = ledger.calls.get_mut(id)
                && call.owed != Owed::Nothing
            {
                call.owed = Owed::Excused("power was lost");
            }
        }
        if let Some(what) = broken {
            ledger.broken("CM-4", what);
        }
    }

    // The store (promises CM-5 and CM-10).

    /// Whether a shipper's last batch failed: it waits before the next trial.
    pub(crate) fn is_failing(&self, process: u32) -> bool {
        let ledger = self.ledger();
        ledger
            .lives
            .get(&process)
            .is_some_and(|life| life.failures > 0)
    }

    /// A shipper's tick begins.
    pub(crate) fn tick_begins(&self, process: u32, is_degraded: bool) {
        let mut ledger = self.ledger();
        let life = ledger.lives.entry(process).or_default();
        life.writes_in_tick = 0;
        (life.has_answer, life.has_failure) = (false, false);
        life.was_degraded = is_degraded;
    }

    /// A shipper's tick ended.
    pub(crate) fn tick_ended(&self, process: u32, is_degraded: bool, now: u64) {
        let mut ledger = self.ledger();
        let life = ledger.lives.entry(process).or_default();
        let became = is_degraded && !life.was_degraded;
        let (at_least, at_most) = (life.failures, life.failures_at_most);
        if life.has_answer && !life.has_failure {
            life.failures_at_most = 0;
        }
        if became && at_most < 10 {
            ledger.broken("CM-10", format!("degraded after {at_most} failures"));
        }
        if !is_degraded && at_least >= 10 {
            ledger.broken("CM-10", format!("not degraded after {at_least} failures"));
        }
        if is_degraded {
            ledger.calm_since = ledger.calm_since.max(now);
        }
    }

    /// A shipper sends a batch.
    pub(crate) fn sends(&self, process: u32, store: usize, batch: &[CallRecord]) {
        let mut ledger = self.ledger();
        let life = ledger.lives.entry(process).or_default();
        life.writes_in_tick += 1;
        if life.was_degraded && life.writes_in_tick == 1 && batch.len() > 1 {
            let count = batch.len();
            ledger.broken(
                "CM-10",
                format!("a degraded store was tried with {count} rows"),
            );
        }
        for record in batch {
            ledger.check_row(store, record);
        }
    }

    /// The store failed, or could not be opened.
    pub(crate) fn store_failed(&self, process: u32, now: u64) {
        let mut ledger = self.ledger();
        ledger.calm_since = ledger.calm_since.max(now);
        let life = ledger.lives.entry(process).or_default();
        life.failures = life.failures.saturating_add(1);
        life.failures_at_most = life.failures_at_most.saturating_add(1);
        life.has_failure = true;
    }

    /// Another writer was at work: no failure, and no answer for the whole batch either.
    pub(crate) fn store_busy(&self, process: u32) {
        self.ledger().lives.entry(process).or_default().has_failure = true;
    }

    /// The store refused a batch for a row in it, which is an answer as well.
    pub(crate) fn store_refused(&self, process: u32) {
        self.ledger().lives.entry(process).or_default().failures = 0;
    }

    /// The store answered.
    pub(crate) fn store_answered(&self, process: u32, now: u64) {
        let mut ledger = self.ledger();
        let is_disk_well = ledger
            .disk_failed_at
            .is_none_or(|at| now.saturating_sub(at) > 5_000 * MS);
        if ledger
            .lives
            .get(&process)
            .is_some_and(|life| life.failures > 0)
        {
            ledger.calm_since = ledger.calm_since.max(now);
        }
        let life = ledger.lives.entry(process).or_default();
        life.failures = 0;
        life.has_answer |= is_disk_well;
    }

    /// A call was committed for the first time, in the order of its batch. Each spool's rows come in two
    /// ascending sequences: the backlog, and the fresh ones beside it.
    pub(crate) fn committed_first(&self, id: CallId) {
        let mut ledger = self.ledger();
        let Some((spool, seq)) = ledger.read_at.get(&id).cloned() else {
            return;
        };
        let (low, high) = ledger
            .lanes
            .get(&spool)
            .copied()
            .unwrap_or((i64::MIN, i64::MIN));
        let lanes = if seq > high {
            (low, seq)
        } else if seq > low {
            (seq, high)
        } else {
            ledger.broken(
                "CM-10",
                format!(
                    "row {seq} of {spool} was stored after rows {low} and {high} of its two lanes"
                ),
            );
            return;
        };
        ledger.lanes.insert(spool, lanes);
    }

    /// Looks at calls that should be stored by now (promise CM-10: fresh rows flow).
    pub(crate) fn look_at_fresh(&self, now: u64, is_stored: impl Fn(CallId) -> bool) {
        let mut ledger = self.ledger();
        while let Some((finished, id)) = ledger.recent.front().copied() {
            if finished + FRESH_WITHIN_NS > now {
                return;
            }
            ledger.recent.pop_front();
            let is_calm = ledger.calm_since + CALM_BEFORE_NS <= finished;
            let Some(call) = ledger.calls.get(&id) else {
                continue;
            };
            let life = ledger.lives.get(&call.process);
            let is_known = life
                .and_then(|life| life.first_finished_ns)
                .is_some_and(|first| first + CALM_BEFORE_NS <= finished);
            let lives = life.is_some_and(|life| life.died_ns.is_none());
            // At the ceiling it may have been dropped.
            let may_drop = ledger.max_bytes < 1 << 30;
            if is_calm && is_known && lives && !may_drop && call.owed == Owed::Row && !is_stored(id)
            {
                let (number, ms) = (call.number, now.saturating_sub(finished) / MS);
                ledger.broken(
                    "CM-10",
                    format!("all is well, and call {number} is not stored {ms} ms after its end"),
                );
            }
        }
    }
}

impl Ledger {
    fn broken(&mut self, promise: &'static str, what: String) {
        self.violations.push(Violation { promise, what });
    }

    /// A row must say what its guard, or its process's death, said.
    fn check_row(&mut self, store: usize, record: &CallRecord) {
        let Some(call) = self.calls.get(&record.call_id) else {
            return self.broken("CM-5", "a row of a call that nobody made".to_owned());
        };
        let number = call.number;
        let is_aborted = record.status == Some(Status::Aborted);
        let wrong = if call.store != store {
            Some("went to the store of another")
        } else if call.owed == Owed::Nothing {
            Some("was sent while it was in flight")
        } else if call.owed == Owed::Row && is_aborted {
            Some("was finished, and its row says aborted")
        } else if call.owed == Owed::AbortedRow && !is_aborted {
            Some("was in flight when its process died, and its row does not say so")
        } else if call.owed == Owed::Row && record.usage.input_tokens != Some(number) {
            Some("has a row that says something else")
        } else {
            None
        };
        if let Some(wrong) = wrong {
            self.broken("CM-5", format!("call {number} {wrong}"));
        }
    }
}
