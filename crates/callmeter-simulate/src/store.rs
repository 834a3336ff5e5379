//! The simulated store: commits, dedups, and fails in every way that a store and a network can.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callmeter_core::{Ack, CallId, CallRecord, Clock, Sink, SinkError, SinkErrorKind};

use crate::clock::{SimClock, nanos};
use crate::gate::Gate;
use crate::oracle::Oracle;
use crate::plan::{Mutation, SinkFault};

/// How long a slow store takes.
const SLOW: Duration = Duration::from_millis(1_500);
/// How many old batches the network remembers.
const REMEMBERED: usize = 4;

/// A caller whose rows no store takes, and one whose rows are beyond its horizon.
pub(crate) const POISON: &str = "poison";
pub(crate) const OLD: &str = "old";

#[derive(Debug, Default)]
struct State {
    /// How often each call was inserted.
    inserted: HashMap<CallId, u32>,
    expired: HashSet<CallId>,
    faults: VecDeque<SinkFault>,
    down_until: u64,
    /// Batches that are stored later.
    late: Vec<Vec<CallRecord>>,
    remembered: VecDeque<Vec<CallRecord>>,
}

/// A store; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    state: Arc<Mutex<State>>,
    number: usize,
    clock: Arc<SimClock>,
    oracle: Oracle,
    mutation: Option<Mutation>,
}

impl Store {
    /// An empty store.
    pub(crate) fn new(
        number: usize,
        clock: Arc<SimClock>,
        oracle: Oracle,
        mutation: Option<Mutation>,
    ) -> Self {
        Self {
            state: Arc::default(),
            number,
            clock,
            oracle,
            mutation,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name that spools carry.
    pub(crate) fn name(&self) -> String {
        format!("store-{}", self.number)
    }

    /// The next batches fail so.
    pub(crate) fn fail_next(&self, fault: SinkFault, batches: u32) {
        for _ in 0..batches {
            self.state().faults.push_back(fault);
        }
    }

    /// It is down until that moment.
    pub(crate) fn down_until(&self, until_ns: u64) {
        let mut state = self.state();
        state.down_until = state.down_until.max(until_ns);
    }

    /// Nothing fails any more, and what is on its way arrives.
    pub(crate) fn mend(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.down_until = 0;
        drop(state);
        self.commit_late();
    }

    /// The network delivers an old batch again.
    pub(crate) fn redeliver(&self) {
        let batch = self.state().remembered.pop_front();
        if let Some(batch) = batch {
            self.commit(&batch, false);
        }
    }

    /// How often a call was inserted.
    pub(crate) fn inserted(&self, call: CallId) -> u32 {
        self.state().inserted.get(&call).copied().unwrap_or(0)
    }

    /// Whether a call was refused as too old.
    pub(crate) fn has_expired(&self, call: CallId) -> bool {
        self.state().expired.contains(&call)
    }

    /// Whether it has nothing to do any more with a call.
    pub(crate) fn has(&self, call: CallId) -> bool {
        self.inserted(call) > 0 || self.has_expired(call)
    }

    /// Its sink, as a process opens it.
    pub(crate) fn sink(&self, process: u32, gate: &Gate) -> Result<Box<dyn Sink>, SinkError> {
        if self.clock.monotonic_ns() < self.state().down_until {
            self.oracle.store_failed(process, self.clock.monotonic_ns());
            gate.tell(process, || "the store cannot be opened".to_owned());
            return Err(SinkError::new(SinkErrorKind::Retry, "the store is down"));
        }
        Ok(Box::new(SimSink {
            store: self.clone(),
            process,
            gate: gate.clone(),
        }))
    }

    fn commit_late(&self) {
        let late = std::mem::take(&mut self.state().late);
        for batch in late {
            self.commit(&batch, false);
        }
    }

    /// Stores a batch; what is new in it counts for the order of lanes, unless it was delivered by itself.
    fn commit(&self, batch: &[CallRecord], is_in_order: bool) -> Ack {
        let mut ack = Ack::default();
        let mut state = self.state();
        for record in batch {
            let id = record.call_id;
            if record.caller.as_deref() == Some(OLD) {
                ack.expired += 1;
                state.expired.insert(id);
                continue;
            }
            let times = state.inserted.entry(id).or_insert(0);
            if *times == 0 || self.mutation == Some(Mutation::BrokenDedup) {
                *times += 1;
                ack.inserted += 1;
                if is_in_order && *times == 1 {
                    self.oracle.committed_first(id);
                }
            } else {
                ack.unchanged += 1;
            }
        }
        ack
    }
}

struct SimSink {
    store: Store,
    process: u32,
    gate: Gate,
}

impl SimSink {
    fn fault(&self) -> Option<SinkFault> {
        let now = self.store.clock.monotonic_ns();
        let mut state = self.store.state();
        if now < state.down_until {
            return Some(SinkFault::BeforeCommit);
        }
        state.faults.pop_front()
    }

    fn fail(&self, kind: SinkErrorKind) -> SinkError {
        let now = self.store.clock.monotonic_ns();
        if kind == SinkErrorKind::Busy {
            self.store.oracle.disturb(now);
            self.store.oracle.store_busy(self.process);
        } else {
            self.store.oracle.store_failed(self.process, now);
        }
        SinkError::new(kind, "the simulation says so")
    }
}

impl Sink for SimSink {
    fn write(&mut self, batch: &[CallRecord]) -> Result<Ack, SinkError> {
        let store = &self.store;
        self.gate.may_die(self.process, false);
        store.oracle.sends(self.process, store.number, batch);
        let fault = self.fault();
        if fault != Some(SinkFault::CommitsLater) {
            store.commit_late();
        }
        let is_poisoned = |record: &CallRecord| record.caller.as_deref() == Some(POISON);
        let done = match fault {
            Some(SinkFault::BeforeCommit) => Err(self.fail(SinkErrorKind::Retry)),
            Some(SinkFault::Busy) => Err(self.fail(SinkErrorKind::Busy)),
            Some(SinkFault::Fatal) => Err(self.fail(SinkErrorKind::Fatal)),
            _ if batch.iter().any(is_poisoned) => {
                store.oracle.store_refused(self.process);
                Err(SinkError::new(SinkErrorKind::Reject, "poison"))
            }
            Some(SinkFault::AfterCommit) => {
                store.commit(batch, true);
                Err(self.fail(SinkErrorKind::Retry))
            }
            Some(SinkFault::CommitsLater) => {
                store.state().late.push(batch.to_vec());
                Err(self.fail(SinkErrorKind::Retry))
            }
            Some(SinkFault::Twice) => {
                store.commit(batch, true);
                Ok(store.commit(batch, true))
            }
            Some(SinkFault::Slow) | None => {
                if fault.is_some() {
                    let now = store.clock.monotonic_ns() + nanos(SLOW);
                    store.clock.pass_to(now);
                    store.oracle.unsettle(now);
                }
                if store.mutation == Some(Mutation::EmptyAck) && batch.len() > 2 {
                    Ok(Ack::default())
                } else {
                    Ok(store.commit(batch, true))
                }
            }
        };
        if done.is_ok() {
            store
                .oracle
                .store_answered(self.process, store.clock.monotonic_ns());
            let mut state = store.state();
            state.remembered.push_back(batch.to_vec());
            if state.remembered.len() > REMEMBERED {
                state.remembered.pop_front();
            }
        }
        self.gate.tell(self.process, || match &done {
            Ok(_) => format!("send {} rows: stored", batch.len()),
            Err(error) => format!("send {} rows: {:?}", batch.len(), error.kind()),
        });
        self.gate.may_die(self.process, true);
        done
    }
}
