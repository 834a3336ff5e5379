//! The side of a spool file where rows leave: read what is ready, delete what is answered for.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use callmeter_core::{CallRecord, Conservation, DropReason, RECORD_FORMAT, Timestamp};
use callmeter_flight::AdoptedCalls;
use rusqlite::{Connection, TransactionBehavior, params};

use super::adoption::Identity;
use super::journal::{SpoolOutlet, SpooledRow};
use super::{SpoolError, adoption, schema, writer};
use crate::home::store_name_now;

/// Free pages that may stay in the file, and how many go at a time.
const FREE_PAGES_KEPT: i64 = 32;
const FREE_PAGES_A_TIME: i64 = 128;

/// What a spool and the flight files that feed it have in common.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Call id, layer, revision.
    pub(crate) calls: HashSet<Identity>,
    /// By flight and reason.
    pub(crate) losses: HashMap<(String, String), u64>,
}

/// A spool opened by a shipper, an adopter or an inspector.
#[derive(Debug)]
pub(crate) struct SpoolReader {
    db: Connection,
    /// Where the home was when the spool was made, and what its store was called there.
    home: String,
    store: String,
}

impl SpoolReader {
    /// Opens the spool at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, SpoolError> {
        let db = schema::open(path)?;
        let (home, store) =
            db.query_row("SELECT home, store FROM header WHERE id = 1", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        Ok(Self { db, home, store })
    }

    /// The same, whose home lies at `home` now.
    pub(crate) fn in_home(mut self, home: &str) -> Self {
        self.store = store_name_now(home, &self.home, &self.store).into_owned();
        home.clone_into(&mut self.home);
        self
    }

    /// Whether a row up to `seq` is still here.
    pub(crate) fn holds_up_to(&self, seq: i64) -> Result<bool, SpoolError> {
        let mut query = self
            .db
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM rows WHERE seq <= ?1)")?;
        Ok(query.query_row([seq], |row| row.get(0))?)
    }

    /// What of flight files this spool has already: the calls that may be in both, and the losses that were
    /// counted here.
    pub(crate) fn shared_with_flights(&self) -> Result<Shared, SpoolError> {
        let read = self.db.unchecked_transaction()?;
        let calls = adoption::unready(&read)?;
        let mut query = read.prepare_cached("SELECT flight, reason, count FROM flight_losses")?;
        let losses = query.query_map([], |row| {
            let count: i64 = row.get(2)?;
            Ok((
                (row.get(0)?, row.get(1)?),
                u64::try_from(count).unwrap_or(0),
            ))
        })?;
        Ok(Shared {
            calls,
            losses: losses.collect::<Result<_, _>>()?,
        })
    }

    /// The spool's figures, read in one transaction.
    pub(crate) fn standing(&self) -> Result<Conservation, SpoolError> {
        let mut conservation = Conservation::default();
        let read = self.db.unchecked_transaction()?;
        let count = |value: i64| u64::try_from(value).unwrap_or(0);
        let (spooled, acknowledged, rejected, waiting) = read.query_row(
            "SELECT spooled + (SELECT count(*) FROM rows WHERE seq >= next_seq), acknowledged, rejected, \
             (SELECT count(*) FROM rows) FROM progress",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )?;
        conservation.finished = count(spooled);
        conservation.acknowledged = count(acknowledged);
        conservation.rejected = count(rejected);
        conservation.spooled = count(waiting);
        let mut dropped = read.prepare_cached("SELECT reason, count FROM dropped")?;
        let mut rows = dropped.query([])?;
        while let Some(row) = rows.next()? {
            let (reason, lost): (String, i64) = (row.get(0)?, row.get(1)?);
            if let Some(reason) = DropReason::from_word(&reason) {
                conservation.add_dropped(reason, count(lost));
                conservation.finished = conservation.finished.saturating_add(count(lost));
            }
        }
        Ok(conservation)
    }
}

impl SpoolOutlet for SpoolReader {
    fn store(&self) -> &str {
        &self.store
    }

    fn ready_seq(&mut self) -> Result<i64, SpoolError> {
        let mut query = self.db.prepare_cached("SELECT ready_seq FROM progress")?;
        Ok(query.query_row([], |row| row.get(0))?)
    }

    fn ready_rows(
        &mut self,
        after: i64,
        up_to: i64,
        limit: usize,
    ) -> Result<Vec<SpooledRow>, SpoolError> {
        // A record's first byte is its format, and blobs compare byte by byte.
        let newer = [RECORD_FORMAT.saturating_add(1)];
        let mut query = self.db.prepare_cached(
            "SELECT seq, record FROM rows WHERE seq > ?1 \
             AND seq <= min(?2, (SELECT ready_seq FROM progress)) AND record < ?3 \
             ORDER BY seq LIMIT ?4",
        )?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = query.query_map(params![after, up_to, newer, limit], |row| {
            let bytes: Vec<u8> = row.get(1)?;
            let record = CallRecord::decode(&bytes);
            Ok(SpooledRow {
                seq: row.get(0)?,
                bytes,
                record,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn acknowledge(&mut self, seqs: &[i64], expired: u64) -> Result<(), SpoolError> {
        let transaction = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut deleted: i64 = 0;
        {
            let mut delete = transaction.prepare_cached("DELETE FROM rows WHERE seq = ?1")?;
            for seq in seqs {
                let count = delete.execute([seq])?;
                deleted = deleted.saturating_add(i64::try_from(count).unwrap_or(0));
            }
        }
        let expired = i64::try_from(expired).unwrap_or(i64::MAX).min(deleted);
        transaction.execute(
            "UPDATE progress SET acknowledged = acknowledged + ?1, rejected = rejected + ?2",
            params![deleted.saturating_sub(expired), expired],
        )?;
        transaction.commit()?;
        Ok(())
    }

    fn reject(&mut self, row: &SpooledRow, reason: &str, at: Timestamp) -> Result<(), SpoolError> {
        let transaction = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let moved = transaction.execute("DELETE FROM rows WHERE seq = ?1", [row.seq])?;
        if moved == 1 {
            transaction.execute(
                "INSERT OR REPLACE INTO rejected VALUES (?1, ?2, ?3, ?4)",
                params![row.seq, at.as_micros(), reason, row.bytes],
            )?;
            transaction.execute("UPDATE progress SET rejected = rejected + 1", [])?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn drop_oldest(&mut self, count: u64) -> Result<u64, SpoolError> {
        let transaction = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let deleted = transaction.execute(
            "DELETE FROM rows WHERE seq IN (SELECT seq FROM rows \
             WHERE seq <= (SELECT ready_seq FROM progress) ORDER BY seq LIMIT ?1)",
            [i64::try_from(count).unwrap_or(i64::MAX)],
        )? as u64;
        writer::count_dropped(&transaction, &[(DropReason::Ceiling, deleted)])?;
        // They were counted as spooled when they came, and count as dropped from now on.
        transaction.execute(
            "UPDATE progress SET spooled = spooled - ?1",
            [i64::try_from(deleted).unwrap_or(i64::MAX)],
        )?;
        transaction.commit()?;
        Ok(deleted)
    }

    fn give_back_space(&mut self) -> Result<(), SpoolError> {
        let free: i64 = self
            .db
            .pragma_query_value(None, "freelist_count", |row| row.get(0))?;
        let surplus = free.saturating_sub(FREE_PAGES_KEPT).min(FREE_PAGES_A_TIME);
        if surplus > 0 {
            // Each step of the statement frees one page.
            let mut vacuum = self
                .db
                .prepare(&format!("PRAGMA incremental_vacuum({surplus})"))?;
            let mut steps = vacuum.query([])?;
            while steps.next()?.is_some() {}
        }
        Ok(())
    }

    fn is_spent(&mut self) -> Result<bool, SpoolError> {
        Ok(self.db.query_row(
            "SELECT NOT EXISTS (SELECT 1 FROM rows) AND NOT EXISTS (SELECT 1 FROM rejected) \
             AND NOT EXISTS (SELECT 1 FROM flights WHERE settled_at IS NULL)",
            [],
            |row| row.get(0),
        )?)
    }

    fn standing(&mut self) -> Result<Conservation, SpoolError> {
        Self::standing(self)
    }

    fn flights(&mut self) -> Result<Vec<String>, SpoolError> {
        adoption::unsettled(&self.db)
    }

    fn adopt(
        &mut self,
        flight: &str,
        calls: &AdoptedCalls,
        at: Timestamp,
    ) -> Result<u64, SpoolError> {
        adoption::adopt(&mut self.db, flight, calls, at)
    }

    fn settle(&mut self, flight: &str, at: Timestamp) -> Result<(), SpoolError> {
        adoption::settle(&self.db, flight, at)
    }

    fn release_all(&mut self) -> Result<(), SpoolError> {
        let transaction = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        writer::catch_up(&transaction)?;
        transaction.execute(
            "UPDATE progress SET ready_seq = next_seq - 1 WHERE ready_seq < next_seq - 1",
            [],
        )?;
        transaction.commit()?;
        Ok(())
    }
}
