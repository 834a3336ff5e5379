//! The home on a real disk: its spools, leases, flight files and ledger.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callmeter_flight::{Adopted, AdoptedCalls, Adopter, FlightError, Lease};

use super::journal::{DeadFlight, Disk, Hold, SpoolInlet, SpoolOutlet, SpoolOwner, StoreHealth};
use super::memory::MemorySpool;
use super::rights::Rights;
use super::{
    ASIDE_EXTENSION, FILE_EXTENSIONS, LEASE_EXTENSION, MAKING_EXTENSION, SpoolError, SpoolReader,
    SpoolWriter,
};
use crate::home::Home;
use crate::ledger::Ledger;

const FLIGHT_EXTENSION: &str = "flight";

/// A home's disk.
#[derive(Clone, Debug)]
pub struct HomeDisk {
    home: Home,
    /// Spools in memory, of this process.
    in_memory: Arc<Mutex<Vec<MemorySpool>>>,
}

impl HomeDisk {
    /// The disk of a home.
    pub fn new(home: Home) -> Self {
        Self {
            home,
            in_memory: Arc::default(),
        }
    }

    fn in_memory(&self) -> MutexGuard<'_, Vec<MemorySpool>> {
        self.in_memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn rights(&self) -> Rights {
        self.home.rights()
    }

    fn path_of(&self, spool: &str) -> PathBuf {
        self.home.spool_path(spool)
    }

    fn path_of_flight(&self, flight: &str) -> Option<PathBuf> {
        let file = format!("{flight}.{FLIGHT_EXTENSION}");
        let mut paths = self
            .home
            .flight_dirs()
            .into_iter()
            .map(|dir| dir.join(&file));
        paths.find(|path| path.symlink_metadata().is_ok())
    }

    /// Removes spools whose makers died before they were whole: nothing was ever in them.
    fn remove_unfinished(&self) {
        let entries = fs::read_dir(self.home.spool_dir()).into_iter().flatten();
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let is_unfinished = |path: &PathBuf| {
            path.extension()
                .is_some_and(|ending| ending == MAKING_EXTENSION)
        };
        for path in paths.filter(is_unfinished) {
            if let Ok(Some(hold)) = self.hold(&path.with_extension(LEASE_EXTENSION)) {
                super::remove_files(&path);
                drop(hold);
            }
        }
    }

    /// Whether a flight file waits for an adopter.
    fn has_dead_flights(&self) -> bool {
        let flights = self.flights();
        let mut dead = flights.iter().map(|flight| self.adopt_flight(flight));
        dead.any(|flight| matches!(flight, Ok(Some(_))))
    }

    fn hold(&self, path: &Path) -> Result<Option<Hold>, SpoolError> {
        let lease = Lease::try_take_with(path, self.rights().file_mode())?;
        Ok(lease.map(|lease| Box::new(lease) as Hold))
    }
}

impl Disk for HomeDisk {
    fn create(&self, owner: &SpoolOwner) -> Result<Box<dyn SpoolInlet>, SpoolError> {
        self.home.make()?;
        self.remove_unfinished();
        let writer = SpoolWriter::create(&self.home.spool_dir(), owner, self.rights())?;
        Ok(Box::new(writer))
    }

    fn create_in_memory(&self, owner: &SpoolOwner) -> MemorySpool {
        let mut spools = self.in_memory();
        let name = format!("memory-{}", spools.len());
        let spool = MemorySpool::new(&name, &owner.store);
        spools.push(spool.clone());
        spool
    }

    fn in_memory(&self) -> Vec<String> {
        let spools = Self::in_memory(self);
        spools.iter().map(|spool| spool.name().to_owned()).collect()
    }

    fn spools(&self) -> Result<Vec<String>, SpoolError> {
        let paths = self.home.spools()?;
        Ok(paths.iter().filter_map(|path| stem(path)).collect())
    }

    fn open(&self, spool: &str) -> Result<Box<dyn SpoolOutlet>, SpoolError> {
        let spools = Self::in_memory(self);
        if let Some(in_memory) = spools.iter().find(|known| known.name() == spool) {
            return Ok(Box::new(in_memory.clone()));
        }
        drop(spools);
        let reader = SpoolReader::open(&self.path_of(spool))?;
        Ok(Box::new(
            reader.in_home(&self.home.path().to_string_lossy()),
        ))
    }

    fn hold_spool(&self, spool: &str) -> Result<Option<Hold>, SpoolError> {
        if Self::in_memory(self)
            .iter()
            .any(|known| known.name() == spool)
        {
            return Ok(None);
        }
        self.hold(&self.path_of(spool).with_extension(LEASE_EXTENSION))
    }

    fn hold_office(&self, store: &str) -> Result<Option<Hold>, SpoolError> {
        let office = self.home.shipper_lock(store);
        match self.hold(&office) {
            // A process that died before its first commit left calls in shared memory, and no home.
            Err(SpoolError::Io(error))
                if error.kind() == io::ErrorKind::NotFound && self.has_dead_flights() =>
            {
                self.home.make()?;
                self.hold(&office)
            }
            held => held,
        }
    }

    fn note_health(&self, store: &str, health: StoreHealth) {
        let failing = self.home.failing_mark(store);
        let degraded = self.home.degraded_mark(store);
        // What cannot be noted costs the others a longer wait at their end, no more.
        match health {
            StoreHealth::Answers => {
                failing.remove();
                let _ = fs::remove_file(degraded);
            }
            StoreHealth::Fails => failing.leave(),
            StoreHealth::Degraded => {
                failing.leave();
                let _ = self.rights().make_file(&degraded);
            }
        }
    }

    fn used_bytes(&self) -> u64 {
        fs::read_dir(self.home.spool_dir())
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
            .filter(|entry| !entry.file_name().to_string_lossy().ends_with("-wal"))
            .filter_map(|entry| entry.metadata().ok())
            .fold(0, |sum, file| sum.saturating_add(file.len()))
    }

    fn retire(
        &self,
        spool: &str,
        mut outlet: Box<dyn SpoolOutlet>,
        hold: Hold,
    ) -> Result<(), SpoolError> {
        let path = self.path_of(spool);
        let figures = outlet.standing()?;
        let mut ledger = Ledger::open(&self.home.ledger_path(), self.rights())?;
        ledger.take_over(spool, &figures)?;
        drop(outlet);
        for extension in FILE_EXTENSIONS {
            match fs::remove_file(path.with_extension(extension)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        ledger.forget(spool)?;
        fs::remove_file(path.with_extension(LEASE_EXTENSION))?;
        drop(hold);
        Ok(())
    }

    fn set_aside(&self, spool: &str) -> Result<(), SpoolError> {
        let path = self.path_of(spool);
        // The log first: beside a file that is still in its place it would be lost by a reader's recovery.
        for extension in FILE_EXTENSIONS {
            let from = path.with_extension(extension);
            let to = path.with_extension(format!("{extension}.{ASIDE_EXTENSION}"));
            match fs::rename(&from, &to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn flights(&self) -> Vec<String> {
        let mut flights: Vec<String> = self
            .home
            .flight_dirs()
            .iter()
            .flat_map(|dir| Adopter::files(dir).unwrap_or_default())
            .filter_map(|path| stem(&path))
            .collect();
        flights.sort();
        flights
    }

    fn adopt_flight(&self, flight: &str) -> Result<Option<Box<dyn DeadFlight>>, FlightError> {
        let Some(path) = self.path_of_flight(flight) else {
            return Ok(None);
        };
        let adopted = Adopter::adopt(&path)?;
        Ok(adopted.map(|adopted| Box::new(adopted) as Box<dyn DeadFlight>))
    }

    fn set_flight_aside(&self, flight: &str) {
        if let Some(path) = self.path_of_flight(flight) {
            let aside = path.with_extension(format!("{FLIGHT_EXTENSION}.{ASIDE_EXTENSION}"));
            if fs::rename(&path, aside).is_ok() {
                let _ = fs::remove_file(path.with_extension(LEASE_EXTENSION));
            }
        }
    }
}

impl DeadFlight for Adopted {
    fn calls(&self) -> &AdoptedCalls {
        &self.calls
    }

    fn discard(self: Box<Self>) {
        Adopted::discard(*self);
    }
}

fn stem(path: &Path) -> Option<String> {
    Some(path.file_stem()?.to_string_lossy().into_owned())
}
