//! Where every call of a home is (promise CM-3), read from its flight files, its spools and its ledger.
//!
//! ```text
//! finished = in flight files + spooled + acknowledged + rejected + Σ dropped by reason
//! ```
//! A call that lies in a flight file and, committed but not freed, in its spool as well is counted once, by
//! its id. Figures of living processes move while they are read; of dead ones they are exact.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

use callmeter_core::{Conservation, DropReason, Timestamp};
use callmeter_flight::{AdoptedCalls, Adopter, FlightError, InFlight};

use crate::figures::Figures;
use crate::home::Home;
use crate::ledger::Ledger;
use crate::spool::{ASIDE_EXTENSION, Shared, SpoolReader, identity};

/// How often a home is looked at whose spools end meanwhile.
const LOOKS: u32 = 100;

/// Where the calls of a home are.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HomeStanding {
    /// The equation of promise CM-3.
    pub conservation: Conservation,
    /// How many spools there are.
    pub spools: u64,
    /// Calls in flight, of the living and of dead processes that were not adopted yet.
    pub in_flight: u64,
    /// The processes that have, or left, a flight file.
    pub processes: Vec<ProcessStanding>,
    /// Spools and flight files that could not be read, with the reason: damaged, or of a newer callmeter.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Damaged files that were set aside. What is in them is not counted.
    pub set_aside: Vec<PathBuf>,
}

/// One process with a flight file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessStanding {
    /// Its flight file.
    pub path: PathBuf,
    /// Its id, in its own pid namespace.
    pub pid: u32,
    /// The service that it says it is.
    pub service: String,
    /// Whether it lives. What a dead one left is adopted by the next shipper of its store.
    pub is_alive: bool,
    /// When it is last known to have lived.
    pub last_seen: Timestamp,
    /// Its calls in flight.
    pub in_flight: u64,
    /// Finished calls that are not in its spool yet.
    pub buffered: u64,
}

impl HomeStanding {
    /// Whether a process lives whose calls may have moved while they were counted.
    pub fn is_moving(&self) -> bool {
        self.processes.iter().any(|process| process.is_alive)
    }
}

impl Home {
    /// Where every call of this home is, read from its flight files, its spools and its ledger.
    ///
    /// # Errors
    /// When the home cannot be read. A home that does not exist has no calls. Files that cannot be read are
    /// named in the result, not counted.
    pub fn standing(&self) -> io::Result<HomeStanding> {
        // A spool that ends in the middle of it is neither here nor in the ledger yet: then once more.
        for _ in 0..LOOKS {
            if let Some(standing) = self.look_once()? {
                return Ok(standing);
            }
        }
        Err(io::Error::other("the home's spools come and go"))
    }

    /// `None` when a spool went meanwhile.
    fn look_once(&self) -> io::Result<Option<HomeStanding>> {
        let mut standing = HomeStanding::default();
        // Flight files first: a call that leaves one meanwhile is found in the spool, and known by its id.
        let flights = self.read_flights(&mut standing);
        let (retired, retiring) = Ledger::read(&self.ledger_path()).map_err(io::Error::other)?;
        standing.conservation = retired;
        let mut shared = Shared::default();
        for path in self.spools()? {
            let is_retired = path
                .file_stem()
                .is_some_and(|id| retiring.contains(&*id.to_string_lossy()));
            if is_retired {
                continue;
            }
            let read = SpoolReader::open(&path)
                .and_then(|spool| Ok((spool.standing()?, spool.shared_with_flights()?)));
            match read {
                Ok((figures, with_flights)) => {
                    standing.conservation = standing.conservation.plus(&figures);
                    standing.spools = standing.spools.saturating_add(1);
                    shared.calls.extend(with_flights.calls);
                    shared.losses.extend(with_flights.losses);
                }
                Err(_) if !path.try_exists().unwrap_or(true) => return Ok(None),
                Err(error) => standing.unreadable.push((path, error.to_string())),
            }
        }
        for flight in flights {
            standing.count_flight(flight, &shared);
        }
        standing.set_aside = self.set_aside();
        Ok(Some(standing))
    }

    fn read_flights(&self, standing: &mut HomeStanding) -> Vec<(PathBuf, AdoptedCalls)> {
        let mut flights = Vec::new();
        for dir in self.flight_dirs() {
            for path in Adopter::files(&dir).unwrap_or_default() {
                match Adopter::read_file(&path) {
                    Ok(calls) => flights.push((path, calls)),
                    // It ended or was adopted meanwhile.
                    Err(FlightError::Io { source, .. })
                        if source.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => standing.unreadable.push((path, error.to_string())),
                }
            }
        }
        flights
    }

    /// Damaged files that were set aside.
    fn set_aside(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for dir in self.flight_dirs().into_iter().chain([self.spool_dir()]) {
            let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
            found.extend(entries.map(|entry| entry.path()).filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.ends_with(&format!(".spool.{ASIDE_EXTENSION}"))
                    || name.ends_with(&format!(".flight.{ASIDE_EXTENSION}"))
            }));
        }
        found.sort();
        found
    }
}

impl HomeStanding {
    /// Adds what a flight file holds that no spool has.
    fn count_flight(&mut self, (path, calls): (PathBuf, AdoptedCalls), shared: &Shared) {
        let is_alive = InFlight::of(&path).is_ok_and(|view| view.is_alive);
        let finished = calls.finished.iter();
        let buffered = finished
            .filter(|call| !shared.calls.contains(&identity(call)))
            .count() as u64;
        let mut figures = Conservation::default();
        figures.buffered = buffered;
        let mut lost = Figures::of(&calls.standing);
        if !is_alive {
            lost.add_torn(calls.torn);
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        for (reason, count) in lost.losses() {
            figures.add_dropped(
                reason,
                count.saturating_sub(known(&shared.losses, &name, reason)),
            );
        }
        figures.finished = figures.accounted();
        self.conservation = self.conservation.plus(&figures);
        let in_flight = calls.aborted.len() as u64;
        self.in_flight = self.in_flight.saturating_add(in_flight);
        self.processes.push(ProcessStanding {
            path,
            pid: calls.pid,
            service: calls.service,
            is_alive,
            last_seen: calls.last_seen,
            in_flight,
            buffered,
        });
    }
}

fn known(losses: &HashMap<(String, String), u64>, flight: &str, reason: DropReason) -> u64 {
    let key = (flight.to_owned(), reason.as_str().to_owned());
    losses.get(&key).copied().unwrap_or(0)
}
