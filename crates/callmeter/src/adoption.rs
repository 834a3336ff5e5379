//! Adoption: what dead processes left in their flight files becomes rows (promise CM-4).
//!
//! ```text
//! a dead owner's spool   lease taken → each flight file that feeds it: lease taken → rows → file removed
//!                        → settled → every row may leave
//! a flight file without  its process died before it had a spool: the rows go into a new one
//! ```
//! Each arrow is a step that may be the last before the adopter dies as well; whoever comes next begins
//! again and changes nothing twice. A file for another store is left to that store's shipper. A flight file
//! that lies nowhere any more (a reboot) is settled. One of a newer format is left for a newer callmeter,
//! and with it the rows that may be double.

use std::collections::{BTreeMap, BTreeSet};

use callmeter_core::Timestamp;
use callmeter_flight::{AdoptedCalls, FlightError};

use crate::home::store_name_now;
use crate::logging::log_line;
use crate::spool::{Disk, Hold, SpoolError, SpoolOutlet, SpoolOwner};

/// A store's name in a flight file may have been cut from so many bytes on.
const CUT_FROM: usize = 1_000;

/// A spool that is shipped.
#[derive(Debug)]
pub(crate) struct OpenSpool {
    pub(crate) outlet: Box<dyn SpoolOutlet>,
    /// The lease, once the owner is dead.
    pub(crate) hold: Option<Hold>,
    /// Whether every row that will ever be in it is in it, and may leave.
    pub(crate) is_settled: bool,
}

/// What an adoption came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Adopted {
    /// Calls that were finished, or in flight, and are rows now.
    pub(crate) rows: u64,
    /// Of them, calls that were in flight.
    pub(crate) aborted: u64,
    /// Slots that made no sense.
    pub(crate) torn: u64,
}

/// Who adopts for one home and store.
#[derive(Debug)]
pub(crate) struct Adopter {
    home: String,
    store: String,
    /// Flight files of spools that are another's business.
    foreign: BTreeSet<String>,
}

impl Adopter {
    pub(crate) fn new(home: String, store: String) -> Self {
        Self {
            home,
            store,
            foreign: BTreeSet::new(),
        }
    }

    /// Takes the leases of dead owners among `spools` and adopts all that the dead left.
    pub(crate) fn adopt_the_dead(
        &mut self,
        disk: &dyn Disk,
        spools: &mut BTreeMap<String, OpenSpool>,
        now: Timestamp,
    ) -> Result<Adopted, SpoolError> {
        let flights = disk.flights();
        let mut total = Adopted::default();
        let mut attached = BTreeSet::new();
        for (name, spool) in spools.iter_mut() {
            if spool.hold.is_none() {
                spool.hold = disk.hold_spool(name)?;
            }
            if spool.hold.is_some() && !spool.is_settled {
                settle_spool(disk, spool, &flights, now, &mut total)?;
            }
            if !spool.is_settled {
                attached.extend(spool.outlet.flights()?);
            }
        }
        self.foreign.retain(|flight| flights.contains(flight));
        for flight in &flights {
            if !attached.contains(flight) && !self.foreign.contains(flight) {
                self.adopt_orphan(disk, flight, now, &mut total)?;
            }
        }
        if total != Adopted::default() {
            log_line!(info: calls = total.rows,
                aborted = total.aborted,
                torn = total.torn,
                "adopted what a process that died had not spooled"
            );
        }
        Ok(total)
    }

    /// Whether calls of a flight file are this adopter's business, by the store that it names. Where settings could not be read no
    /// store is named, and a long name is cut.
    fn is_ours(&self, calls: &AdoptedCalls) -> bool {
        let store = store_name_now(&self.home, &calls.home, &calls.store);
        store.is_empty()
            || store == self.store
            || calls.store.len() >= CUT_FROM && self.store.starts_with(&*store)
    }

    /// Adopts a flight file that none of the open spools names.
    fn adopt_orphan(
        &mut self,
        disk: &dyn Disk,
        flight: &str,
        now: Timestamp,
        total: &mut Adopted,
    ) -> Result<(), SpoolError> {
        // From the moment that its lease is ours, its process names no spool any more.
        let dead = match disk.adopt_flight(flight) {
            Ok(Some(dead)) => dead,
            Ok(None) => return Ok(()),
            Err(FlightError::NotAFlightFile { .. }) => {
                tell_damaged(flight);
                disk.set_flight_aside(flight);
                return Ok(());
            }
            Err(error) => {
                log_line!(debug: %error, "a flight file cannot be adopted");
                self.foreign.insert(flight.to_owned());
                return Ok(());
            }
        };
        if !self.is_ours(dead.calls()) {
            self.foreign.insert(flight.to_owned());
            return Ok(());
        }
        for name in disk.spools()? {
            let feeds = match disk.open(&name) {
                Ok(mut spool) => spool.flights()?.iter().any(|fed| fed == flight),
                // It may be this flight's: a newer callmeter will know.
                Err(SpoolError::NewerFormat { .. }) => true,
                Err(_) => false,
            };
            if feeds {
                self.foreign.insert(flight.to_owned());
                return Ok(());
            }
        }
        let mut inlet = disk.create(&SpoolOwner {
            home: self.home.clone(),
            store: self.store.clone(),
            made_at: now,
        })?;
        // Named before anything is in it: an adopter that dies here leaves a spool that is found by it.
        inlet.attach(flight, "", now)?;
        let mut outlet = disk.open(inlet.name())?;
        let calls = dead.calls();
        let new = outlet.adopt(flight, calls, now)?;
        total.add(new, calls);
        dead.discard();
        outlet.settle(flight, now)
    }
}

/// Brings everything of a dead owner into its spool, and lets every row leave.
fn settle_spool(
    disk: &dyn Disk,
    spool: &mut OpenSpool,
    flights: &[String],
    now: Timestamp,
    total: &mut Adopted,
) -> Result<(), SpoolError> {
    let mut is_settled = true;
    for flight in spool.outlet.flights()? {
        if !flights.contains(&flight) {
            spool.outlet.settle(&flight, now)?;
            continue;
        }
        match disk.adopt_flight(&flight) {
            Ok(Some(dead)) => {
                let calls = dead.calls();
                let new = spool.outlet.adopt(&flight, calls, now)?;
                total.add(new, calls);
                dead.discard();
                spool.outlet.settle(&flight, now)?;
            }
            Err(FlightError::NotAFlightFile { .. }) => {
                tell_damaged(&flight);
                disk.set_flight_aside(&flight);
                spool.outlet.settle(&flight, now)?;
            }
            // Another adopter is at it, it is of a newer format, or it cannot be read now.
            Ok(None) | Err(_) => is_settled = false,
        }
    }
    if is_settled {
        spool.outlet.release_all()?;
        spool.is_settled = true;
    }
    Ok(())
}

impl Adopted {
    fn add(&mut self, new: u64, calls: &AdoptedCalls) {
        self.rows = self.rows.saturating_add(new);
        // After a second adoption the aborted calls are not new; the line in the log may say so twice.
        let aborted = (calls.aborted.len() as u64).min(new);
        self.aborted = self.aborted.saturating_add(aborted);
        self.torn = self.torn.saturating_add(calls.torn);
    }
}

fn tell_damaged(flight: &str) {
    log_line!(error: flight,
        "a flight file is damaged; it is set aside; see `callmeter doctor`"
    );
}
