//! The model disk: spools, leases, flight files and ledger of a home, in memory, for thousands of seeds.
//!
//! Promises what `callmeter::seams::Disk` asks of a disk. A process is a number; its death frees what it
//! holds and leaves its flight files to adopters.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callmeter::seams::{
    DeadFlight, Disk, FlightFigures, Hold, MemorySpool, SpoolError, SpoolInlet, SpoolOutlet,
    SpoolOwner, SpooledRow,
};
use callmeter_core::{CallId, CallRecord, Conservation, DropReason, Timestamp};
use callmeter_flight::{AdoptedCalls, Adopter, FlightError};

use super::spool::{Row, Spool, Transaction};

/// What a row and a spool take, whatever is in them.
const ROW_BYTES: u64 = 400;
const SPOOL_BYTES: u64 = 8_192;

/// A flight file.
#[derive(Debug)]
struct Flight {
    name: String,
    owner: u32,
    /// What a dead owner left in it.
    left: Option<AdoptedCalls>,
}

#[derive(Debug, Default)]
struct Home {
    spools: BTreeMap<String, Spool>,
    aside: Vec<Spool>,
    flights: Vec<Flight>,
    /// Held locks: what, by which process, and which hold it is.
    holds: BTreeMap<String, (u32, u64)>,
    ledger: Conservation,
    counter: u64,
    first_seq: i64,
}

/// The disk of a home; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct ModelHome(Arc<Mutex<Home>>);

impl ModelHome {
    /// An empty home whose spools begin to count there.
    pub(crate) fn new(first_seq: i64) -> Self {
        Self(Arc::new(Mutex::new(Home {
            first_seq,
            ..Home::default()
        })))
    }

    fn home(&self) -> MutexGuard<'_, Home> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk as a process sees it.
    pub(crate) fn disk(&self, process: u32) -> Arc<dyn Disk> {
        Arc::new(ModelDisk {
            home: self.clone(),
            process,
            in_memory: Mutex::default(),
        })
    }

    /// A process that lives has this flight file.
    pub(crate) fn flight_lives(&self, name: &str, owner: u32) {
        let mut home = self.home();
        if !home.flights.iter().any(|flight| flight.name == name) {
            home.flights.push(Flight {
                name: name.to_owned(),
                owner,
                left: None,
            });
        }
    }

    /// A process died and left these flight files.
    pub(crate) fn died(&self, process: u32, left: &[(String, Vec<u8>)]) {
        let mut home = self.home();
        home.holds.retain(|_, (holder, _)| *holder != process);
        for spool in home.spools.values_mut() {
            if spool.owner == process {
                spool.owner = 0;
            }
        }
        for flight in &mut home.flights {
            if flight.owner == process {
                let bytes = left.iter().find(|(name, _)| *name == flight.name);
                flight.owner = 0;
                flight.left = bytes.and_then(|(_, bytes)| Adopter::read(bytes).ok());
            }
        }
        home.flights
            .retain(|flight| flight.owner != 0 || flight.left.is_some());
    }

    /// Power is lost: flight files are gone, and of each log only that share stays. All processes died
    /// before.
    pub(crate) fn lose_power(&self, percent: u64) {
        let mut home = self.home();
        home.flights.clear();
        home.holds.clear();
        let spools = std::mem::take(&mut home.spools);
        for (name, spool) in spools {
            if let Some(spool) = spool.after_power_loss(percent) {
                home.spools.insert(name, spool);
            }
        }
    }

    /// Damages a spool; says whether there was one.
    pub(crate) fn damage(&self, nth: usize) -> bool {
        let mut home = self.home();
        let count = home.spools.len().max(1);
        let spool = home.spools.values_mut().nth(nth % count);
        spool.is_some_and(|spool| {
            spool.is_damaged = true;
            true
        })
    }

    /// The figures of everything on the disk, flight files apart.
    pub(crate) fn standing(&self) -> Conservation {
        let home = self.home();
        let spools = home.spools.values().filter(|spool| !spool.is_damaged);
        spools.fold(home.ledger, |sum, spool| sum.plus(&spool.state.standing()))
    }

    /// The figures of one spool.
    pub(crate) fn standing_of(&self, name: &str) -> Option<Conservation> {
        let home = self.home();
        let spool = home.spools.get(name)?;
        (!spool.is_damaged).then(|| spool.state.standing())
    }

    /// Whether a dead process's flight file waits.
    pub(crate) fn has_dead_flights(&self) -> bool {
        self.home()
            .flights
            .iter()
            .any(|flight| flight.left.is_some())
    }

    /// Visits every call on the disk, with what its place is called.
    pub(crate) fn visit(&self, mut each: impl FnMut(CallId, super::Where)) {
        use super::Where;
        let home = self.home();
        for spool in home.spools.values() {
            let place = if spool.is_damaged {
                Where::Aside
            } else {
                Where::Spool
            };
            spool
                .state
                .rows
                .values()
                .for_each(|row| each(row.call, place));
            let rejected = spool.state.rejected.values();
            rejected.for_each(|row| each(row.call, Where::Rejected));
        }
        for spool in &home.aside {
            let rows = spool
                .state
                .rows
                .values()
                .chain(spool.state.rejected.values());
            rows.for_each(|row| each(row.call, Where::Aside));
        }
        for left in home
            .flights
            .iter()
            .filter_map(|flight| flight.left.as_ref())
        {
            let calls = left.finished.iter().chain(&left.aborted);
            calls.for_each(|call| each(call.call_id, Where::Flight));
        }
    }

    fn with<T>(&self, spool: &str, act: impl FnOnce(&mut Spool) -> T) -> Result<T, SpoolError> {
        let mut home = self.home();
        let Some(found) = home.spools.get_mut(spool) else {
            return Err(SpoolError::Io(std::io::ErrorKind::NotFound.into()));
        };
        if found.is_damaged {
            return Err(SpoolError::Corrupt("it was damaged".to_owned()));
        }
        Ok(act(found))
    }

    fn hold(&self, what: String, process: u32) -> Option<Hold> {
        let mut home = self.home();
        if home.holds.contains_key(&what) {
            return None;
        }
        home.counter += 1;
        let number = home.counter;
        home.holds.insert(what.clone(), (process, number));
        Some(Box::new(Held {
            home: self.clone(),
            what,
            number,
        }))
    }
}

/// A lock; one that its process's death freed frees nothing more.
struct Held {
    home: ModelHome,
    what: String,
    number: u64,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut home = self.home.home();
        let number = home.holds.get(&self.what).map(|(_, number)| *number);
        if number == Some(self.number) {
            home.holds.remove(&self.what);
        }
    }
}

#[derive(Debug)]
struct ModelDisk {
    home: ModelHome,
    process: u32,
    in_memory: Mutex<Vec<MemorySpool>>,
}

impl ModelDisk {
    fn memory(&self) -> MutexGuard<'_, Vec<MemorySpool>> {
        self.in_memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for ModelDisk {
    fn create(&self, owner: &SpoolOwner) -> Result<Box<dyn SpoolInlet>, SpoolError> {
        let mut home = self.home.home();
        home.counter += 1;
        let name = format!("spool-{:06}", home.counter);
        let first_seq = home.first_seq;
        let spool = Spool::new(&owner.store, self.process, first_seq);
        home.spools.insert(name.clone(), spool);
        Ok(Box::new(ModelInlet {
            home: self.home.clone(),
            process: self.process,
            name,
            next_seq: first_seq,
            ready_seq: first_seq - 1,
            noted: None,
        }))
    }

    fn create_in_memory(&self, owner: &SpoolOwner) -> MemorySpool {
        let mut spools = self.memory();
        let name = format!("memory-{}-{}", self.process, spools.len());
        let spool = MemorySpool::new(&name, &owner.store);
        spools.push(spool.clone());
        spool
    }

    fn in_memory(&self) -> Vec<String> {
        let spools = self.memory();
        spools
            .iter()
            .map(|spool| SpoolInlet::name(spool).to_owned())
            .collect()
    }

    fn spools(&self) -> Result<Vec<String>, SpoolError> {
        Ok(self.home.home().spools.keys().cloned().collect())
    }

    fn open(&self, spool: &str) -> Result<Box<dyn SpoolOutlet>, SpoolError> {
        let spools = self.memory();
        if let Some(found) = spools
            .iter()
            .find(|known| SpoolInlet::name(*known) == spool)
        {
            return Ok(Box::new(found.clone()));
        }
        drop(spools);
        let store = self.home.with(spool, |spool| spool.store.clone())?;
        Ok(Box::new(ModelOutlet {
            home: self.home.clone(),
            name: spool.to_owned(),
            store,
        }))
    }

    fn hold_spool(&self, spool: &str) -> Result<Option<Hold>, SpoolError> {
        // Damage is no matter of the lease.
        let home = self.home.home();
        let owner = home.spools.get(spool).map(|spool| spool.owner);
        drop(home);
        match owner {
            Some(0) => Ok(self.home.hold(format!("spool {spool}"), self.process)),
            Some(_) | None => Ok(None),
        }
    }

    fn hold_office(&self, store: &str) -> Result<Option<Hold>, SpoolError> {
        Ok(self.home.hold(format!("office {store}"), self.process))
    }

    fn used_bytes(&self) -> u64 {
        let home = self.home.home();
        home.spools.values().fold(0, |sum, spool| {
            let rows = spool.state.rows.len() + spool.state.rejected.len();
            sum + SPOOL_BYTES + rows as u64 * ROW_BYTES
        })
    }

    fn retire(
        &self,
        spool: &str,
        mut outlet: Box<dyn SpoolOutlet>,
        hold: Hold,
    ) -> Result<(), SpoolError> {
        let figures = outlet.standing()?;
        let mut home = self.home.home();
        if home.spools.remove(spool).is_some() {
            home.ledger = home.ledger.plus(&figures);
        }
        drop(home);
        drop(hold);
        Ok(())
    }

    fn set_aside(&self, spool: &str) -> Result<(), SpoolError> {
        let mut home = self.home.home();
        if let Some(spool) = home.spools.remove(spool) {
            home.aside.push(spool);
        }
        Ok(())
    }

    fn flights(&self) -> Vec<String> {
        let home = self.home.home();
        home.flights
            .iter()
            .map(|flight| flight.name.clone())
            .collect()
    }

    fn adopt_flight(&self, flight: &str) -> Result<Option<Box<dyn DeadFlight>>, FlightError> {
        let home = self.home.home();
        let found = home.flights.iter().find(|known| known.name == flight);
        let Some(calls) = found.and_then(|flight| flight.left.clone()) else {
            return Ok(None);
        };
        drop(home);
        let hold = self.home.hold(format!("flight {flight}"), self.process);
        Ok(hold.map(|hold| {
            Box::new(ModelFlight {
                home: self.home.clone(),
                name: flight.to_owned(),
                calls,
                _hold: hold,
            }) as Box<dyn DeadFlight>
        }))
    }

    fn set_flight_aside(&self, flight: &str) {
        self.home
            .home()
            .flights
            .retain(|known| known.name != flight);
    }
}

struct ModelFlight {
    home: ModelHome,
    name: String,
    calls: AdoptedCalls,
    _hold: Hold,
}

impl DeadFlight for ModelFlight {
    fn calls(&self) -> &AdoptedCalls {
        &self.calls
    }

    fn discard(self: Box<Self>) {
        let mut home = self.home.home();
        home.flights.retain(|known| known.name != self.name);
    }
}

#[derive(Debug)]
struct ModelInlet {
    home: ModelHome,
    process: u32,
    name: String,
    next_seq: i64,
    ready_seq: i64,
    noted: Option<FlightFigures>,
}

impl Drop for ModelInlet {
    /// The lease goes with the writer.
    fn drop(&mut self) {
        if let Some(spool) = self.home.home().spools.get_mut(&self.name)
            && spool.owner == self.process
        {
            spool.owner = 0;
        }
    }
}

impl SpoolInlet for ModelInlet {
    fn name(&self) -> &str {
        &self.name
    }

    fn detach(&mut self, flight: &str, _: Timestamp) -> Result<(), SpoolError> {
        let flight = flight.to_owned();
        self.home.with(&self.name, |spool| {
            spool.commit(Transaction::Settle { flight }, false);
        })
    }

    fn attach(&mut self, flight: &str, _: &str, _: Timestamp) -> Result<(), SpoolError> {
        let flight = flight.to_owned();
        self.home.with(&self.name, |spool| {
            spool.commit(Transaction::Attach { flight }, false);
        })
    }

    fn note(&mut self, figures: FlightFigures) {
        self.noted = Some(figures);
    }

    fn append(
        &mut self,
        batch: &[CallRecord],
        dropped: &[(DropReason, u64)],
        sync: bool,
    ) -> Result<(), SpoolError> {
        let ready_seq = self.next_seq - 1;
        let transaction = Transaction::Append {
            rows: batch.iter().map(Row::of).collect(),
            ready_seq,
            dropped: dropped.to_vec(),
            noted: self.noted.clone(),
        };
        self.home
            .with(&self.name, |spool| spool.commit(transaction, sync))?;
        self.ready_seq = ready_seq;
        self.next_seq += i64::try_from(batch.len()).unwrap_or(0);
        self.noted = None;
        Ok(())
    }

    fn has_unready(&self) -> bool {
        self.ready_seq < self.next_seq - 1
    }

    fn last_seq(&self) -> i64 {
        self.next_seq - 1
    }
}

#[derive(Debug)]
struct ModelOutlet {
    home: ModelHome,
    name: String,
    store: String,
}

impl ModelOutlet {
    fn commit(&self, transaction: Transaction, sync: bool) -> Result<u64, SpoolError> {
        self.home
            .with(&self.name, |spool| spool.commit(transaction, sync))
    }
}

impl SpoolOutlet for ModelOutlet {
    fn store(&self) -> &str {
        &self.store
    }

    fn ready_seq(&mut self) -> Result<i64, SpoolError> {
        self.home.with(&self.name, |spool| spool.state.ready_seq)
    }

    fn ready_rows(
        &mut self,
        after: i64,
        up_to: i64,
        limit: usize,
    ) -> Result<Vec<SpooledRow>, SpoolError> {
        self.home.with(&self.name, |spool| {
            spool.state.ready_rows(after, up_to, limit)
        })
    }

    fn acknowledge(&mut self, seqs: &[i64], expired: u64) -> Result<(), SpoolError> {
        let seqs = seqs.to_vec();
        self.commit(Transaction::Acknowledge { seqs, expired }, false)?;
        Ok(())
    }

    fn reject(&mut self, row: &SpooledRow, _: &str, _: Timestamp) -> Result<(), SpoolError> {
        self.commit(Transaction::Reject { seq: row.seq }, false)?;
        Ok(())
    }

    fn drop_oldest(&mut self, count: u64) -> Result<u64, SpoolError> {
        self.commit(Transaction::DropOldest { count }, false)
    }

    fn give_back_space(&mut self) -> Result<(), SpoolError> {
        self.home.with(&self.name, |_| ())
    }

    fn is_spent(&mut self) -> Result<bool, SpoolError> {
        self.home.with(&self.name, |spool| {
            let state = &spool.state;
            let is_fed = state.flights.values().any(|is_settled| !is_settled);
            state.rows.is_empty() && state.rejected.is_empty() && !is_fed
        })
    }

    fn standing(&mut self) -> Result<Conservation, SpoolError> {
        self.home.with(&self.name, |spool| spool.state.standing())
    }

    fn flights(&mut self) -> Result<Vec<String>, SpoolError> {
        self.home.with(&self.name, |spool| {
            let flights = spool.state.flights.iter();
            let unsettled = flights.filter(|(_, is_settled)| !**is_settled);
            unsettled.map(|(flight, _)| flight.clone()).collect()
        })
    }

    fn adopt(
        &mut self,
        flight: &str,
        calls: &AdoptedCalls,
        _: Timestamp,
    ) -> Result<u64, SpoolError> {
        let mut standing = calls.standing;
        standing.torn = standing.torn.saturating_add(calls.torn);
        let transaction = Transaction::Adopt {
            flight: flight.to_owned(),
            rows: calls
                .finished
                .iter()
                .chain(&calls.aborted)
                .map(Row::of)
                .collect(),
            figures: FlightFigures::of(flight, &standing),
        };
        self.commit(transaction, true)
    }

    fn settle(&mut self, flight: &str, _: Timestamp) -> Result<(), SpoolError> {
        let flight = flight.to_owned();
        self.commit(Transaction::Settle { flight }, false)?;
        Ok(())
    }

    fn release_all(&mut self) -> Result<(), SpoolError> {
        self.commit(Transaction::ReleaseAll, false)?;
        Ok(())
    }
}
