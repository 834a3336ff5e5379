//! The seam between those who move calls and the disk that holds them.
//!
//! Worker, adopter and shipper know a home only by [`Disk`], a spool only by [`SpoolInlet`] (its owner's
//! side) and [`SpoolOutlet`] (the shipper's and the adopter's). [`HomeDisk`](super::HomeDisk) is the real
//! one; a simulation brings its own, with faults, and drives everything from one thread.
//!
//! ```text
//! owner     append(batch) → commit → the flight buffer's slots are freed → a later append raises ready_seq
//! shipper   ready_rows → sink → acknowledge | reject          only rows up to ready_seq
//! adopter   adopt(flight) → the flight file is discarded → settle(flight) → release_all
//! ```
//! What implementations owe: each method that changes something is one transaction. An error means that
//! nothing of it happened; of a deletion it may have, and only the answer was lost. What was committed
//! outlives the process; what was committed before or with an `append` that syncs outlives a power loss.

use std::fmt;

use callmeter_core::{CallRecord, Conservation, DecodeError, DropReason, Timestamp};
use callmeter_flight::{AdoptedCalls, FlightError, Standing};

use super::SpoolError;
use super::memory::MemorySpool;
use crate::figures::Figures;

/// A held lock: freed when dropped, or by the system when its process dies.
pub type Hold = Box<dyn fmt::Debug + Send>;

/// How a store does, as the home's other processes are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreHealth {
    /// It has just taken something.
    Answers,
    /// Its last trial failed.
    Fails,
    /// It has failed ten times in a row.
    Degraded,
}

/// The disk of a home.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Makes a spool of this process's own, and holds its lease.
    ///
    /// # Errors
    /// When the disk takes none.
    fn create(&self, owner: &SpoolOwner) -> Result<Box<dyn SpoolInlet>, SpoolError>;

    /// Makes a spool in this process's memory, while the disk takes none.
    fn create_in_memory(&self, owner: &SpoolOwner) -> MemorySpool;

    /// The names of this process's spools in memory.
    fn in_memory(&self) -> Vec<String>;

    /// The names of all spools on the disk, the oldest first.
    ///
    /// # Errors
    /// When they cannot be listed. A home that was not made yet has none.
    fn spools(&self) -> Result<Vec<String>, SpoolError>;

    /// Opens a spool to ship, to adopt into, or to look at.
    ///
    /// # Errors
    /// When it is damaged, of a newer format, or gone.
    fn open(&self, spool: &str) -> Result<Box<dyn SpoolOutlet>, SpoolError>;

    /// Takes the lease of a spool: `None` while its owner lives or another holds it.
    ///
    /// # Errors
    /// When it cannot be told.
    fn hold_spool(&self, spool: &str) -> Result<Option<Hold>, SpoolError>;

    /// Takes the office of the shipper to a store: `None` while another has it.
    ///
    /// # Errors
    /// When it cannot be told.
    fn hold_office(&self, store: &str) -> Result<Option<Hold>, SpoolError>;

    /// Notes for the other processes of the home how a store does: at their end they do not wait long for one
    /// that fails.
    fn note_health(&self, store: &str, health: StoreHealth) {
        let _ = (store, health);
    }

    /// The bytes that all spools take on the disk, their logs not counted.
    fn used_bytes(&self) -> u64;

    /// Removes a spool from which everything has left; its figures go to the home's ledger.
    ///
    /// # Errors
    /// When it cannot be removed; to be tried again.
    fn retire(
        &self,
        spool: &str,
        outlet: Box<dyn SpoolOutlet>,
        hold: Hold,
    ) -> Result<(), SpoolError>;

    /// Puts a damaged spool aside, where nobody ships it and `doctor` names it.
    ///
    /// # Errors
    /// When it cannot be moved.
    fn set_aside(&self, spool: &str) -> Result<(), SpoolError>;

    /// The names of the flight files that this home's processes left or use, the oldest first.
    fn flights(&self) -> Vec<String>;

    /// Takes a dead process's flight file: `None` while it lives or another has it.
    ///
    /// # Errors
    /// When it is of a newer format, damaged, or cannot be read; it stays.
    fn adopt_flight(&self, flight: &str) -> Result<Option<Box<dyn DeadFlight>>, FlightError>;

    /// Puts a damaged flight file aside.
    fn set_flight_aside(&self, flight: &str);
}

/// A dead process's flight file, under the adopter's lease.
pub trait DeadFlight {
    /// What it held.
    fn calls(&self) -> &AdoptedCalls;
    /// Removes it: its calls are in a spool.
    fn discard(self: Box<Self>);
}

/// What a new spool says of itself.
#[derive(Clone, Debug)]
pub struct SpoolOwner {
    /// The home's path.
    pub home: String,
    /// The store's URL without password.
    pub store: String,
    /// When the spool is made.
    pub made_at: Timestamp,
}

/// The owner's side of a spool.
pub trait SpoolInlet: Send + fmt::Debug {
    /// The spool's name.
    fn name(&self) -> &str;

    /// Says that a flight file of this spool is no more, and what it lost was noted and appended.
    ///
    /// # Errors
    /// When it cannot be written; an adopter finds out by itself.
    fn detach(&mut self, flight: &str, at: Timestamp) -> Result<(), SpoolError>;

    /// Says that rows will come from a flight file: its adopter will find this spool by it.
    ///
    /// # Errors
    /// When it cannot be written.
    fn attach(&mut self, flight: &str, place: &str, at: Timestamp) -> Result<(), SpoolError>;

    /// Notes what a flight file's own counters say, to be written with the next batch.
    fn note(&mut self, figures: FlightFigures);

    /// Inserts `batch` and raises `ready_seq` over what was inserted before; with `sync` the commit
    /// reaches the disk. `dropped` are losses to be counted with it.
    ///
    /// # Errors
    /// Nothing of it is in the spool then, as far as can be told.
    fn append(
        &mut self,
        batch: &[CallRecord],
        dropped: &[(DropReason, u64)],
        sync: bool,
    ) -> Result<(), SpoolError>;

    /// Whether rows are committed that shippers may not read yet.
    fn has_unready(&self) -> bool;

    /// The number of the last row inserted; 0 before the first.
    fn last_seq(&self) -> i64;

    /// How many bytes more this spool takes, or less, than [`Disk::used_bytes`] sees, once its log is in its
    /// file.
    fn bytes_in_log(&self) -> i64 {
        0
    }
}

/// The side of a spool where rows leave.
pub trait SpoolOutlet: Send + fmt::Debug {
    /// The store that its rows are for.
    fn store(&self) -> &str;

    /// The last row that may leave.
    ///
    /// # Errors
    /// When it cannot be read.
    fn ready_seq(&mut self) -> Result<i64, SpoolError>;

    /// At most `limit` rows that may leave, with numbers above `after` and up to `up_to`, the oldest
    /// first. Rows of a newer record format stay for a newer shipper and are left out.
    ///
    /// # Errors
    /// When they cannot be read.
    fn ready_rows(
        &mut self,
        after: i64,
        up_to: i64,
        limit: usize,
    ) -> Result<Vec<SpooledRow>, SpoolError>;

    /// Deletes rows that the store has answered for; `expired` of them it refused and keeps itself.
    ///
    /// # Errors
    /// When they cannot be deleted; they are sent again.
    fn acknowledge(&mut self, seqs: &[i64], expired: u64) -> Result<(), SpoolError>;

    /// Sets a row aside that no store will take.
    ///
    /// # Errors
    /// When it cannot be moved; it is sent again.
    fn reject(&mut self, row: &SpooledRow, reason: &str, at: Timestamp) -> Result<(), SpoolError>;

    /// Drops at most `count` of the oldest rows that may leave, to make room; counted as `ceiling`.
    ///
    /// # Errors
    /// When they cannot be deleted.
    fn drop_oldest(&mut self, count: u64) -> Result<u64, SpoolError>;

    /// Gives pages that rows have left back to the disk, a few at a time.
    ///
    /// # Errors
    /// When it cannot be done now.
    fn give_back_space(&mut self) -> Result<(), SpoolError>;

    /// Whether nothing waits here, nothing is kept, and no flight file may still feed it.
    ///
    /// # Errors
    /// When it cannot be read.
    fn is_spent(&mut self) -> Result<bool, SpoolError>;

    /// The spool's figures, read in one transaction.
    ///
    /// # Errors
    /// When they cannot be read.
    fn standing(&mut self) -> Result<Conservation, SpoolError>;

    /// The flight files that feed this spool and are not settled.
    ///
    /// # Errors
    /// When they cannot be read.
    fn flights(&mut self) -> Result<Vec<String>, SpoolError>;

    /// Inserts what a dead flight file held and this spool does not have yet; says how many calls were
    /// new. Only under the spool's lease; doing it again changes nothing.
    ///
    /// # Errors
    /// Nothing was inserted then.
    fn adopt(
        &mut self,
        flight: &str,
        calls: &AdoptedCalls,
        at: Timestamp,
    ) -> Result<u64, SpoolError>;

    /// Says that a flight file is gone. Only under the spool's lease.
    ///
    /// # Errors
    /// When it cannot be written.
    fn settle(&mut self, flight: &str, at: Timestamp) -> Result<(), SpoolError>;

    /// Lets every row leave. Only under the spool's lease, and once all its flight files are settled.
    ///
    /// # Errors
    /// When it cannot be written.
    fn release_all(&mut self) -> Result<(), SpoolError>;
}

/// One row, as it lies in a spool.
#[derive(Clone, Debug)]
pub struct SpooledRow {
    /// Its number; they ascend.
    pub seq: i64,
    /// The record as it is stored.
    pub bytes: Vec<u8>,
    /// The record.
    pub record: Result<CallRecord, DecodeError>,
}

/// What a flight file's own counters say, as they stand in it: noting them twice counts them once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlightFigures {
    /// The flight file's name.
    pub flight: String,
    /// How many calls it was asked for.
    pub opened: u64,
    /// Its losses by reason.
    pub losses: Vec<(DropReason, u64)>,
}

impl FlightFigures {
    /// The figures of a flight file.
    pub fn of(flight: &str, standing: &Standing) -> Self {
        Self {
            flight: flight.to_owned(),
            opened: standing.opened,
            losses: Figures::of(standing).losses(),
        }
    }
}
