//! A store in memory that keeps the promises of a sink, and breaks as it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callmeter_core::{Ack, CallId, CallRecord, Sink, SinkError, SinkErrorKind};

/// How one batch fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing is stored.
    BeforeCommit,
    /// Everything is stored, but the answer is lost.
    AfterCommit,
    /// Another writer is at work.
    Busy,
    /// Nothing can be stored until somebody acts.
    Fatal,
}

#[derive(Debug, Default)]
struct State {
    calls: BTreeMap<CallId, CallRecord>,
    faults: VecDeque<Fault>,
    is_down: bool,
    poison_caller: Option<String>,
    batches: Vec<usize>,
    failures: u64,
}

/// A store in memory; clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemorySink(Arc<(Mutex<State>, Condvar)>);

impl MemorySink {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next batches fail so, one each.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// Every batch fails until told otherwise.
    pub fn set_down(&self, is_down: bool) {
        self.state().is_down = is_down;
    }

    /// A batch with a call of this caller can never be stored.
    pub fn poison(&self, caller: &str) {
        self.state().poison_caller = Some(caller.to_owned());
    }

    /// Every stored call, in order of their ids.
    pub fn calls(&self) -> Vec<CallRecord> {
        self.state().calls.values().cloned().collect()
    }

    /// The sizes of the batches that were stored.
    pub fn batches(&self) -> Vec<usize> {
        self.state().batches.clone()
    }

    /// Waits until `count` batches have failed; says whether they did within `limit`.
    pub fn wait_for_failures(&self, count: u64, limit: Duration) -> bool {
        let (_, changed) = &*self.0;
        let waited =
            changed.wait_timeout_while(self.state(), limit, |state| state.failures < count);
        waited.is_ok_and(|(state, _)| state.failures >= count)
    }
}

impl Sink for MemorySink {
    fn write(&mut self, batch: &[CallRecord]) -> Result<Ack, SinkError> {
        let mut state = self.state();
        let fault = if state.is_down {
            Some(Fault::BeforeCommit)
        } else {
            state.faults.pop_front()
        };
        let fail = |state: &mut State, kind| {
            state.failures += 1;
            self.0.1.notify_all();
            Err(SinkError::new(kind, "the store was told to fail"))
        };
        match fault {
            Some(Fault::BeforeCommit) => return fail(&mut state, SinkErrorKind::Retry),
            Some(Fault::Busy) => return fail(&mut state, SinkErrorKind::Busy),
            Some(Fault::Fatal) => return fail(&mut state, SinkErrorKind::Fatal),
            Some(Fault::AfterCommit) | None => {}
        }
        if state.poison_caller.is_some() {
            let poison = state.poison_caller.clone();
            if batch.iter().any(|record| record.caller == poison) {
                return fail(&mut state, SinkErrorKind::Reject);
            }
        }
        let mut ack = Ack::default();
        for record in batch {
            match state.calls.remove(&record.call_id) {
                None => {
                    ack.inserted += 1;
                    state.calls.insert(record.call_id, record.clone());
                }
                Some(old) => {
                    let merged = old.clone().merge(record);
                    if merged == old {
                        ack.unchanged += 1;
                    } else {
                        ack.merged += 1;
                    }
                    state.calls.insert(record.call_id, merged);
                }
            }
        }
        state.batches.push(batch.len());
        if fault == Some(Fault::AfterCommit) {
            return fail(&mut state, SinkErrorKind::Retry);
        }
        Ok(ack)
    }
}
