//! The spool: where finished calls wait on disk until a store has answered for them.
//!
//! One SQLite file a process, in the home's `spool/`, with a lease beside it. Spool format 1:
//!
//! ```text
//! header     one row: format, min_reader, min_writer, spool_id, home, store, made_at, pid
//! rows       (lane, seq) → record            core's encoding; seq ascends over all lanes
//! progress   one row: next_seq, ready_seq, spooled, acknowledged, rejected
//! dropped    reason → count
//! rejected   seq → reason, record            rows that no store will take, kept to be looked at
//! ```
//! Who may do what: only the owner (or, after its death, whoever holds its lease) inserts; only the
//! home's elected shipper deletes. The owner's worker inserts a batch, commits, frees what the batch
//! came from, and raises `ready_seq` in its next transaction; a shipper reads only up to `ready_seq`. So
//! a row never leaves while its origin could still be inserted again.
//!
//! Commits do not sync, so that a process crash loses nothing and costs nothing; while rows are new, one
//! commit a second does (policy `power`), so that a power loss costs about a second.
//!
//! `store` names the store without its password: a shipper takes only spools of its own store.
//! Counters live here because they survive `kill -9` (promise CM-3).

mod reader;
mod schema;
mod writer;

pub(crate) use reader::{SpoolReader, SpooledRow};
pub use schema::FORMAT as SPOOL_FORMAT;
pub(crate) use schema::SpoolError;
pub(crate) use writer::{SpoolOwner, SpoolWriter};

/// The lane of rows as they come. Others are for a backlog that is replayed beside them.
pub(crate) const FRESH_LANE: i64 = 0;

/// The ending of spool files.
pub(crate) const SPOOL_EXTENSION: &str = "spool";

/// The ending of their leases.
pub(crate) const LEASE_EXTENSION: &str = "lease";
