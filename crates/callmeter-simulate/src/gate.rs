//! Before every step on disk or store: may it happen, does it fail, does its process die at it.
//!
//! ```text
//! step ──▶ dies before? ──▶ fault? ──▶ done ──▶ dies after?
//!            unwinds          error                unwinds
//! ```
//! A kill unwinds out of the tick with [`Killed`]: nothing that the process would have done after it
//! happens, whether the step was done or not. Faults are those of the machine, the same for all processes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callmeter::seams::{
    DeadFlight, Disk, FlightFigures, Hold, MemorySpool, SpoolError, SpoolInlet, SpoolOutlet,
    SpoolOwner, SpooledRow,
};
use callmeter_core::{CallRecord, Clock, Conservation, DropReason, Timestamp};
use callmeter_flight::{AdoptedCalls, FlightError};

use crate::clock::SimClock;
use crate::oracle::Oracle;
use crate::plan::{DiskFault, Mutation};
use crate::random::Random;

/// A process died here.
#[derive(Debug)]
pub(crate) struct Killed;

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Read,
    Write,
    Delete,
}

/// A kill that waits for its step.
#[derive(Clone, Copy, Debug)]
struct Armed {
    steps_left: u32,
    /// The step is done, and the process dies before it knows.
    after: bool,
}

#[derive(Debug)]
struct State {
    armed: BTreeMap<u32, Armed>,
    fault: Option<(DiskFault, u64, u64)>,
    random: Random,
    trace: Option<Vec<String>>,
    /// Spools of which a commit was synced, since last asked.
    synced: BTreeSet<String>,
    /// Which spool a process makes its own.
    own: BTreeMap<u32, String>,
    memory: BTreeMap<u32, Vec<MemorySpool>>,
    steps: u64,
    /// Whether it is a worker that has its tick, and not a shipper.
    is_worker: bool,
}

/// All that the steps of a run have in common; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    state: Arc<Mutex<State>>,
    clock: Arc<SimClock>,
    pub(crate) oracle: Oracle,
    pub(crate) mutation: Option<Mutation>,
}

impl Gate {
    /// A gate without faults.
    pub(crate) fn new(
        clock: Arc<SimClock>,
        oracle: Oracle,
        seed: u64,
        mutation: Option<Mutation>,
        is_traced: bool,
    ) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                armed: BTreeMap::new(),
                fault: None,
                random: Random::new(seed),
                trace: is_traced.then(Vec::new),
                synced: BTreeSet::new(),
                own: BTreeMap::new(),
                memory: BTreeMap::new(),
                steps: 0,
                is_worker: false,
            })),
            clock,
            oracle,
            mutation,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose tick begins.
    pub(crate) fn tick_begins(&self, is_worker: bool) {
        self.state().is_worker = is_worker;
    }

    /// The process dies at one of its next steps.
    pub(crate) fn arm(&self, process: u32, steps_left: u32, after: bool) {
        self.state()
            .armed
            .insert(process, Armed { steps_left, after });
    }

    /// Forgets a process: it is dead.
    pub(crate) fn forget(&self, process: u32) -> Vec<MemorySpool> {
        let mut state = self.state();
        state.armed.remove(&process);
        state.own.remove(&process);
        state.memory.remove(&process).unwrap_or_default()
    }

    /// The disk fails so from now on, in `percent` of its steps, until that moment.
    pub(crate) fn break_disk(&self, fault: DiskFault, percent: u64, until_ns: u64) {
        self.state().fault = Some((fault, percent, until_ns));
    }

    /// Nothing fails any more, and nobody is to die.
    pub(crate) fn mend(&self) {
        let mut state = self.state();
        state.fault = None;
        state.armed.clear();
    }

    /// The spool that a process made its own last.
    pub(crate) fn own_spool(&self, process: u32) -> Option<String> {
        self.state().own.get(&process).cloned()
    }

    /// The spools in a process's memory.
    pub(crate) fn memory_of(&self, process: u32) -> Vec<MemorySpool> {
        self.state()
            .memory
            .get(&process)
            .cloned()
            .unwrap_or_default()
    }

    /// Spools whose log was synced since last asked.
    pub(crate) fn take_synced(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.state().synced)
    }

    /// How many steps were taken.
    pub(crate) fn steps(&self) -> u64 {
        self.state().steps
    }

    /// Writes a line of the trace, if there is one.
    pub(crate) fn tell(&self, process: u32, line: impl FnOnce() -> String) {
        let mut state = self.state();
        if let Some(trace) = &mut state.trace {
            let at = self.clock.monotonic_ns() / 1_000;
            let (seconds, micros) = (at / 1_000_000, at % 1_000_000);
            trace.push(format!(
                "{seconds:>8}.{micros:06}  p{process:<3} {}",
                line()
            ));
        }
    }

    /// The trace so far.
    pub(crate) fn trace(&self) -> Vec<String> {
        self.state().trace.clone().unwrap_or_default()
    }

    /// Where a process may die: before a step, or after it. Never returns then.
    pub(crate) fn may_die(&self, process: u32, after: bool) {
        let mut state = self.state();
        state.steps += u64::from(!after);
        let Some(armed) = state.armed.get_mut(&process) else {
            return;
        };
        let dies = armed.steps_left == 0 && armed.after == after;
        if dies {
            state.armed.remove(&process);
        } else if after {
            armed.steps_left = armed.steps_left.saturating_sub(1);
        }
        drop(state);
        if dies {
            self.tell(process, || {
                let when = if after { "after" } else { "before" };
                format!("dies {when} the step")
            });
            std::panic::resume_unwind(Box::new(Killed));
        }
    }

    /// Tells the oracle how much the spools take, after rows were added or removed.
    fn look_at_ceiling(&self, disk: &dyn Disk, added: usize) {
        if self.oracle.has_ceiling() {
            let now = self.clock.monotonic_ns();
            self.oracle.takes(added, disk.used_bytes(), now);
        }
    }

    fn fault(&self, does: Does) -> Option<DiskFault> {
        let mut state = self.state();
        let (fault, percent, until_ns) = state.fault?;
        if self.clock.monotonic_ns() >= until_ns {
            state.fault = None;
            return None;
        }
        let is_hit = match fault {
            DiskFault::Io => true,
            DiskFault::Full | DiskFault::ShortWrite | DiskFault::ReadOnly | DiskFault::Busy => {
                does != Does::Read
            }
            DiskFault::AnswerLost => does == Does::Delete,
        };
        (is_hit && state.random.chance(percent)).then_some(fault)
    }

    fn step<T>(
        &self,
        process: u32,
        does: Does,
        name: &str,
        act: impl FnOnce() -> Result<T, SpoolError>,
    ) -> Result<T, SpoolError> {
        self.may_die(process, false);
        let fault = self.fault(does);
        let done = match fault {
            None => act(),
            Some(fault) => {
                self.oracle.disk_failed(self.clock.monotonic_ns());
                if fault == DiskFault::AnswerLost {
                    let _ = act();
                }
                Err(error_of(fault))
            }
        };
        if does != Does::Read || done.is_err() {
            self.tell(process, || match &done {
                Ok(_) => format!("{name}: done"),
                Err(error) => format!("{name}: {error}"),
            });
        }
        self.may_die(process, true);
        done
    }
}

fn error_of(fault: DiskFault) -> SpoolError {
    match fault {
        DiskFault::Full | DiskFault::ShortWrite => SpoolError::DiskFull,
        DiskFault::ReadOnly => SpoolError::ReadOnly("the simulation says so".to_owned()),
        DiskFault::Busy => SpoolError::Busy,
        DiskFault::Io | DiskFault::AnswerLost => {
            SpoolError::Io(std::io::Error::other("the simulation says so"))
        }
    }
}

/// A disk behind the gate, as one process has it.
#[derive(Debug)]
pub(crate) struct GatedDisk {
    pub(crate) gate: Gate,
    pub(crate) process: u32,
    pub(crate) disk: Arc<dyn Disk>,
}

impl GatedDisk {
    fn step<T>(
        &self,
        does: Does,
        name: &str,
        act: impl FnOnce() -> Result<T, SpoolError>,
    ) -> Result<T, SpoolError> {
        self.gate.step(self.process, does, name, act)
    }
}

impl Disk for GatedDisk {
    fn create(&self, owner: &SpoolOwner) -> Result<Box<dyn SpoolInlet>, SpoolError> {
        let before = self.disk.used_bytes();
        let inlet = self.step(Does::Write, "make a spool", || self.disk.create(owner))?;
        let bytes = self.disk.used_bytes().saturating_sub(before);
        self.gate.oracle.made_spool(bytes);
        let mut state = self.gate.state();
        if state.is_worker {
            state.own.insert(self.process, inlet.name().to_owned());
        }
        drop(state);
        Ok(Box::new(GatedInlet {
            gate: self.gate.clone(),
            process: self.process,
            inlet,
            disk: Arc::clone(&self.disk),
        }))
    }

    fn create_in_memory(&self, owner: &SpoolOwner) -> MemorySpool {
        let spool = self.disk.create_in_memory(owner);
        let mut state = self.gate.state();
        state
            .memory
            .entry(self.process)
            .or_default()
            .push(spool.clone());
        spool
    }

    fn in_memory(&self) -> Vec<String> {
        self.disk.in_memory()
    }

    fn spools(&self) -> Result<Vec<String>, SpoolError> {
        self.step(Does::Read, "list the spools", || self.disk.spools())
    }

    fn open(&self, spool: &str) -> Result<Box<dyn SpoolOutlet>, SpoolError> {
        if self.disk.in_memory().iter().any(|known| known == spool) {
            return self
                .disk
                .open(spool)
                .map(|outlet| self.outlet(spool, outlet, true));
        }
        let outlet = self.step(Does::Read, "open", || self.disk.open(spool))?;
        Ok(self.outlet(spool, outlet, false))
    }

    fn hold_spool(&self, spool: &str) -> Result<Option<Hold>, SpoolError> {
        self.step(Does::Read, "take a lease", || self.disk.hold_spool(spool))
    }

    fn hold_office(&self, store: &str) -> Result<Option<Hold>, SpoolError> {
        self.step(Does::Read, "take the office", || {
            self.disk.hold_office(store)
        })
    }

    fn used_bytes(&self) -> u64 {
        self.disk.used_bytes()
    }

    fn retire(
        &self,
        spool: &str,
        outlet: Box<dyn SpoolOutlet>,
        hold: Hold,
    ) -> Result<(), SpoolError> {
        self.step(Does::Delete, "retire", || {
            self.disk.retire(spool, outlet, hold)
        })
    }

    fn set_aside(&self, spool: &str) -> Result<(), SpoolError> {
        self.step(Does::Write, "set aside", || self.disk.set_aside(spool))
    }

    fn flights(&self) -> Vec<String> {
        self.disk.flights()
    }

    fn adopt_flight(&self, flight: &str) -> Result<Option<Box<dyn DeadFlight>>, FlightError> {
        self.gate.may_die(self.process, false);
        let flight = self.disk.adopt_flight(flight)?;
        Ok(flight.map(|flight| {
            Box::new(GatedFlight {
                gate: self.gate.clone(),
                process: self.process,
                flight,
            }) as Box<dyn DeadFlight>
        }))
    }

    fn set_flight_aside(&self, flight: &str) {
        self.disk.set_flight_aside(flight);
    }
}

impl GatedDisk {
    fn outlet(
        &self,
        spool: &str,
        outlet: Box<dyn SpoolOutlet>,
        is_in_memory: bool,
    ) -> Box<dyn SpoolOutlet> {
        Box::new(GatedOutlet {
            gate: self.gate.clone(),
            process: self.process,
            name: spool.to_owned(),
            is_in_memory,
            outlet,
            disk: Arc::clone(&self.disk),
        })
    }
}

struct GatedFlight {
    gate: Gate,
    process: u32,
    flight: Box<dyn DeadFlight>,
}

impl DeadFlight for GatedFlight {
    fn calls(&self) -> &AdoptedCalls {
        self.flight.calls()
    }

    fn discard(self: Box<Self>) {
        self.gate.may_die(self.process, false);
        self.flight.discard();
        self.gate
            .tell(self.process, || "discard a flight file".to_owned());
        self.gate.may_die(self.process, true);
    }
}

#[derive(Debug)]
struct GatedInlet {
    gate: Gate,
    process: u32,
    inlet: Box<dyn SpoolInlet>,
    disk: Arc<dyn Disk>,
}

impl SpoolInlet for GatedInlet {
    fn name(&self) -> &str {
        self.inlet.name()
    }

    fn detach(&mut self, flight: &str, at: Timestamp) -> Result<(), SpoolError> {
        let inlet = &mut self.inlet;
        self.gate.step(self.process, Does::Write, "detach", || {
            inlet.detach(flight, at)
        })
    }

    fn attach(&mut self, flight: &str, place: &str, at: Timestamp) -> Result<(), SpoolError> {
        let inlet = &mut self.inlet;
        self.gate.step(self.process, Does::Write, "attach", || {
            inlet.attach(flight, place, at)
        })
    }

    fn note(&mut self, figures: FlightFigures) {
        self.inlet.note(figures);
    }

    fn append(
        &mut self,
        batch: &[CallRecord],
        dropped: &[(DropReason, u64)],
        sync: bool,
    ) -> Result<(), SpoolError> {
        // The mutation: says that it synced, and did not.
        let syncs = sync && self.gate.mutation != Some(Mutation::NeverSync);
        let name = self.inlet.name().to_owned();
        let inlet = &mut self.inlet;
        let label = || format!("append {} rows to {name}, sync {sync}", batch.len());
        let label = if self.gate.state().trace.is_some() {
            label()
        } else {
            String::new()
        };
        self.gate.step(self.process, Does::Write, &label, || {
            inlet.append(batch, dropped, syncs)
        })?;
        if syncs {
            self.gate.state().synced.insert(name);
        }
        self.gate.look_at_ceiling(&*self.disk, batch.len());
        Ok(())
    }

    fn has_unready(&self) -> bool {
        self.inlet.has_unready()
    }

    fn last_seq(&self) -> i64 {
        self.inlet.last_seq()
    }
}

#[derive(Debug)]
struct GatedOutlet {
    gate: Gate,
    process: u32,
    name: String,
    is_in_memory: bool,
    outlet: Box<dyn SpoolOutlet>,
    disk: Arc<dyn Disk>,
}

impl GatedOutlet {
    fn step<T>(
        &mut self,
        does: Does,
        name: &str,
        act: impl FnOnce(&mut dyn SpoolOutlet) -> Result<T, SpoolError>,
    ) -> Result<T, SpoolError> {
        let outlet = &mut *self.outlet;
        if self.is_in_memory {
            return act(outlet);
        }
        let label = if self.gate.state().trace.is_some() {
            format!("{name} {}", self.name)
        } else {
            String::new()
        };
        let done = self.gate.step(self.process, does, &label, || act(outlet));
        if does == Does::Delete {
            self.gate.look_at_ceiling(&*self.disk, 0);
        }
        done
    }
}

impl SpoolOutlet for GatedOutlet {
    fn store(&self) -> &str {
        self.outlet.store()
    }

    fn ready_seq(&mut self) -> Result<i64, SpoolError> {
        self.step(Does::Read, "look at", |outlet| outlet.ready_seq())
    }

    fn ready_rows(
        &mut self,
        after: i64,
        up_to: i64,
        limit: usize,
    ) -> Result<Vec<SpooledRow>, SpoolError> {
        let mut rows = self.step(Does::Read, "read", |outlet| {
            outlet.ready_rows(after, up_to, limit)
        })?;
        // Each process's memory is its own, whatever it is called there.
        let place = if self.is_in_memory {
            format!("{} of p{}", self.name, self.process)
        } else {
            self.name.clone()
        };
        self.gate.oracle.read(&place, &rows);
        match self.gate.mutation {
            Some(Mutation::BrokenLaneOrder) => rows.reverse(),
            Some(Mutation::AckBeforeStore) => {
                let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
                self.outlet.acknowledge(&seqs, 0)?;
            }
            Some(Mutation::HoldsBackFresh) => {
                let oldest = self.outlet.ready_rows(0, i64::MAX, 1)?;
                if oldest.first().is_some_and(|row| row.seq <= after) {
                    return Err(SpoolError::Busy);
                }
            }
            _ => {}
        }
        Ok(rows)
    }

    fn acknowledge(&mut self, seqs: &[i64], expired: u64) -> Result<(), SpoolError> {
        self.step(Does::Delete, "acknowledge in", |outlet| {
            outlet.acknowledge(seqs, expired)
        })
    }

    fn reject(&mut self, row: &SpooledRow, reason: &str, at: Timestamp) -> Result<(), SpoolError> {
        self.step(Does::Delete, "reject in", |outlet| {
            outlet.reject(row, reason, at)
        })?;
        if self.is_in_memory
            && let Ok(record) = &row.record
        {
            // Memory keeps the count alone.
            self.gate.oracle.rejected_in_memory(record.call_id);
        }
        Ok(())
    }

    fn drop_oldest(&mut self, count: u64) -> Result<u64, SpoolError> {
        self.step(Does::Delete, "drop the oldest of", |outlet| {
            outlet.drop_oldest(count)
        })
    }

    fn give_back_space(&mut self) -> Result<(), SpoolError> {
        self.step(Does::Read, "give back space of", |outlet| {
            outlet.give_back_space()
        })
    }

    fn is_spent(&mut self) -> Result<bool, SpoolError> {
        self.step(Does::Read, "look at", |outlet| outlet.is_spent())
    }

    fn standing(&mut self) -> Result<Conservation, SpoolError> {
        self.outlet.standing()
    }

    fn flights(&mut self) -> Result<Vec<String>, SpoolError> {
        self.step(Does::Read, "look at", |outlet| outlet.flights())
    }

    fn adopt(
        &mut self,
        flight: &str,
        calls: &AdoptedCalls,
        at: Timestamp,
    ) -> Result<u64, SpoolError> {
        let count = calls.finished.len() + calls.aborted.len();
        if self.gate.mutation == Some(Mutation::ForgetfulAdopter) && count > 0 {
            return Ok(0);
        }
        let new = self.step(Does::Write, "adopt into", |outlet| {
            outlet.adopt(flight, calls, at)
        })?;
        self.gate.state().synced.insert(self.name.clone());
        self.gate.oracle.adopted(new);
        Ok(new)
    }

    fn settle(&mut self, flight: &str, at: Timestamp) -> Result<(), SpoolError> {
        self.step(Does::Write, "settle in", |outlet| outlet.settle(flight, at))
    }

    fn release_all(&mut self) -> Result<(), SpoolError> {
        self.step(Does::Write, "release all of", |outlet| outlet.release_all())
    }
}

impl fmt::Display for Killed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the simulation killed the process")
    }
}
