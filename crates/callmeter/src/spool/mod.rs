//! The spool: where finished calls wait on disk until a store has answered for them.
//!
//! One SQLite file a process, in the home's `spool/`, with a lease beside it. Spool format 2:
//!
//! ```text
//! header         one row: format, min_reader, min_writer, spool_id, home, store, made_at, made_by, pid
//! rows           seq → lane, call_hi, call_lo, layer, rev, record (core's encoding); seq ascends
//! progress       one row: next_seq, ready_seq, spooled, acknowledged, rejected; rows from next_seq on are not
//!                counted in it yet
//! flights        flight → place, attached_at, opened, aborted, settled_at: whose calls come here
//! flight_losses  (flight, reason) → count, as it stood when it was last counted into `dropped`
//! dropped        reason → count
//! rejected       seq → reason, record            rows that no store will take, kept to be looked at
//! ```
//! `lane` says how a row came: 0 from its owner, 1 from an adopter. A flight file is known by its name
//! without extension, which is its own wherever the directory is mounted.
//!
//! Who may do what: only the owner (or, after its death, whoever holds its lease) inserts; only the
//! home's elected shipper deletes, and at the ceiling under `spool.when_full = "oldest"` the owner that
//! needs room. The owner's worker inserts a batch, commits, frees what the batch came from, and raises
//! `ready_seq` in a later transaction; a shipper reads only up to `ready_seq`. So a row never leaves
//! while its origin could still be inserted again, and an adopter finds every row that may be double above
//! `ready_seq` ([`adoption`]).
//!
//! An append need not touch `progress`, which would double what a small commit writes: it is brought up once in a
//! while, and when no more rows come. Until then the rows themselves say how many they are. In format 1 each
//! append did, and its files read alike.
//!
//! Commits do not sync, so that a process crash loses nothing and costs nothing; while rows are new, one
//! commit a second does (policy `power`), so that a power loss costs about a second.
//!
//! `store` names the store without its password: a shipper takes only spools of its own store.
//! Counters live here because they survive `kill -9` (promise CM-3). [`journal`] is the seam by which
//! everybody else uses spools, and a simulation replaces them.

mod adoption;
mod disk;
mod error;
mod journal;
mod memory;
mod reader;
mod rights;
mod schema;
mod writer;

use std::path::Path;

pub(crate) use adoption::identity;
pub use disk::HomeDisk;
pub use error::SpoolError;
pub use journal::{
    DeadFlight, Disk, FlightFigures, Hold, SpoolInlet, SpoolOutlet, SpoolOwner, SpooledRow,
    StoreHealth,
};
pub use memory::MemorySpool;
pub(crate) use reader::{Shared, SpoolReader};
pub use rights::Rights;
pub use schema::FORMAT as SPOOL_FORMAT;
pub(crate) use writer::SpoolWriter;

/// The lane of rows as they come.
pub(crate) const FRESH_LANE: i64 = 0;

/// The lane of rows that an adopter found.
pub(crate) const ADOPTED_LANE: i64 = 1;

/// The ending of spool files.
pub(crate) const SPOOL_EXTENSION: &str = "spool";

/// The ending of their leases.
pub(crate) const LEASE_EXTENSION: &str = "lease";

/// The ending of a spool that is just being made.
pub(crate) const MAKING_EXTENSION: &str = "making";

/// The ending that damaged files get.
pub(crate) const ASIDE_EXTENSION: &str = "damaged";

/// The endings of all files of a spool, but for the lease.
const FILE_EXTENSIONS: [&str; 3] = [SPOOL_EXTENSION, "spool-wal", "spool-shm"];

/// Removes a spool's files, as far as they are there, the lease last.
pub(crate) fn remove_files(path: &Path) {
    let unfinished = [MAKING_EXTENSION, "making-journal"];
    let all = FILE_EXTENSIONS.into_iter().chain(unfinished);
    for extension in all.chain([LEASE_EXTENSION]) {
        let _ = std::fs::remove_file(path.with_extension(extension));
    }
}
