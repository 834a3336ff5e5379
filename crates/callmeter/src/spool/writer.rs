//! The owner's side of a spool: append, and raise what shippers may read.

use std::path::{Path, PathBuf};

use callmeter_core::{CallRecord, DropReason, Timestamp};
use rusqlite::{Connection, TransactionBehavior, params};

use super::schema::{self, FORMAT};
use super::{FRESH_LANE, LEASE_EXTENSION, SPOOL_EXTENSION, SpoolError};
use callmeter_flight::Lease;

/// What a new spool says of itself.
#[derive(Clone, Debug)]
pub(crate) struct SpoolOwner {
    /// The home's path.
    pub(crate) home: String,
    /// The store's URL without password.
    pub(crate) store: String,
    /// When the spool is made.
    pub(crate) made_at: Timestamp,
}

/// The one writer of a spool file, with its lease.
#[derive(Debug)]
pub(crate) struct SpoolWriter {
    db: Connection,
    path: PathBuf,
    next_seq: i64,
    ready_seq: i64,
    _lease: Lease,
}

impl SpoolWriter {
    /// Makes a spool of this process's own in `dir`.
    pub(crate) fn create(dir: &Path, owner: &SpoolOwner) -> Result<Self, SpoolError> {
        let spool_id =
            crate::identity::new_call_id(owner.made_at.max(Timestamp::EPOCH)).to_string();
        let path = dir.join(&spool_id).with_extension(SPOOL_EXTENSION);
        // The lease stands before the file does, so that nobody takes the file for a dead one's.
        let lease =
            Lease::try_take(&path.with_extension(LEASE_EXTENSION))?.ok_or(SpoolError::Busy)?;
        let db = schema::create(&path)?;
        db.execute(
            "INSERT INTO header VALUES (1, ?1, ?1, ?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                FORMAT,
                spool_id,
                owner.home,
                owner.store,
                owner.made_at.as_micros(),
                std::process::id()
            ],
        )?;
        Ok(Self {
            db,
            path,
            next_seq: 1,
            ready_seq: 0,
            _lease: lease,
        })
    }

    /// The spool's file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Inserts `batch` and raises `ready_seq` over what was inserted before; with `sync` the commit
    /// reaches the disk. `dropped` are losses to be counted with it.
    pub(crate) fn append(
        &mut self,
        batch: &[CallRecord],
        dropped: &[(DropReason, u64)],
        sync: bool,
    ) -> Result<(), SpoolError> {
        let ready = self.next_seq.saturating_sub(1);
        self.db
            .pragma_update(None, "synchronous", if sync { "FULL" } else { "NORMAL" })?;
        let transaction = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut seq = self.next_seq;
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO rows(lane, seq, record) VALUES (?1, ?2, ?3)")?;
            let mut encoded = Vec::with_capacity(512);
            for record in batch {
                encoded.clear();
                record.encode_into(&mut encoded);
                insert.execute(params![FRESH_LANE, seq, encoded])?;
                seq = seq.saturating_add(1);
            }
            transaction
                .prepare_cached(
                    "UPDATE progress SET next_seq = ?1, ready_seq = ?2, spooled = spooled + ?3",
                )?
                .execute(params![
                    seq,
                    ready,
                    i64::try_from(batch.len()).unwrap_or(i64::MAX)
                ])?;
            let mut count = transaction.prepare_cached(
                "INSERT INTO dropped VALUES (?1, ?2) \
                 ON CONFLICT(reason) DO UPDATE SET count = count + excluded.count",
            )?;
            for (reason, lost) in dropped {
                count.execute(params![
                    reason.as_str(),
                    i64::try_from(*lost).unwrap_or(i64::MAX)
                ])?;
            }
        }
        transaction.commit()?;
        self.next_seq = seq;
        self.ready_seq = ready;
        Ok(())
    }

    /// Whether rows are committed that shippers may not read yet.
    pub(crate) const fn has_unready(&self) -> bool {
        self.ready_seq < self.next_seq.saturating_sub(1)
    }

    /// The number of the last row inserted; 0 before the first.
    pub(crate) const fn last_seq(&self) -> i64 {
        self.next_seq.saturating_sub(1)
    }
}
