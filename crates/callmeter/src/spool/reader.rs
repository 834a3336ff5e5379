//! The shipper's side of a spool: read what is ready, delete what is answered for.

use std::path::Path;

use callmeter_core::{CallRecord, Conservation, DecodeError, DropReason, Timestamp};
use rusqlite::{Connection, TransactionBehavior, params};

use super::{SpoolError, schema};

/// A spool opened by a shipper or an inspector.
#[derive(Debug)]
pub(crate) struct SpoolReader {
    db: Connection,
    spool_id: String,
    store: String,
}

/// One row, as it lies in the spool.
#[derive(Debug)]
pub(crate) struct SpooledRow {
    pub(crate) lane: i64,
    pub(crate) seq: i64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) record: Result<CallRecord, DecodeError>,
}

impl SpoolReader {
    /// Opens the spool at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, SpoolError> {
        let db = schema::open(path)?;
        let (spool_id, store) = db.query_row(
            "SELECT spool_id, store FROM header WHERE id = 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok(Self {
            db,
            spool_id,
            store,
        })
    }

    /// The spool's id.
    pub(crate) fn spool_id(&self) -> &str {
        &self.spool_id
    }

    /// The store that its rows are for.
    pub(crate) fn store(&self) -> &str {
        &self.store
    }

    /// At most `limit` rows that may be shipped, the oldest first.
    pub(crate) fn ready_rows(&self, limit: usize) -> Result<Vec<SpooledRow>, SpoolError> {
        let mut query = self.db.prepare_cached(
            "SELECT lane, seq, record FROM rows \
             WHERE seq <= (SELECT ready_seq FROM progress) ORDER BY lane, seq LIMIT ?1",
        )?;
        let rows = query.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            let bytes: Vec<u8> = row.get(2)?;
            let record = CallRecord::decode(&bytes);
            Ok(SpooledRow {
                lane: row.get(0)?,
                seq: row.get(1)?,
                bytes,
                record,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Whether a row up to `seq` is still here.
    pub(crate) fn holds_up_to(&self, seq: i64) -> Result<bool, SpoolError> {
        let mut query = self
            .db
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM rows WHERE lane = 0 AND seq <= ?1)")?;
        Ok(query.query_row([seq], |row| row.get(0))?)
    }

    /// Deletes rows, by (lane, seq), that the store has answered for; `expired` of them it refused and
    /// keeps itself.
    pub(crate) fn acknowledge(
        &mut self,
        rows: &[(i64, i64)],
        expired: u64,
    ) -> Result<(), SpoolError> {
        let transaction = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut deleted: i64 = 0;
        {
            let mut delete =
                transaction.prepare_cached("DELETE FROM rows WHERE lane = ?1 AND seq = ?2")?;
            for (lane, seq) in rows {
                let count = delete.execute([lane, seq])?;
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

    /// Sets a row aside that no store will take.
    pub(crate) fn reject(
        &mut self,
        row: &SpooledRow,
        reason: &str,
        at: Timestamp,
    ) -> Result<(), SpoolError> {
        let transaction = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let moved = transaction.execute(
            "DELETE FROM rows WHERE lane = ?1 AND seq = ?2",
            params![row.lane, row.seq],
        )?;
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

    /// Makes every row of a dead owner shippable. Only for whoever holds the owner's lease.
    pub(crate) fn release_all(&mut self) -> Result<(), SpoolError> {
        self.db.execute(
            "UPDATE progress SET ready_seq = next_seq - 1 WHERE ready_seq < next_seq - 1",
            [],
        )?;
        Ok(())
    }

    /// How many rows wait and how many were set aside for good.
    pub(crate) fn is_spent(&self) -> Result<bool, SpoolError> {
        Ok(self.db.query_row(
            "SELECT NOT EXISTS (SELECT 1 FROM rows) AND NOT EXISTS (SELECT 1 FROM rejected)",
            [],
            |row| row.get(0),
        )?)
    }

    /// The spool's figures, read in one transaction.
    pub(crate) fn standing(&self) -> Result<Conservation, SpoolError> {
        let mut conservation = Conservation::default();
        let read = self.db.unchecked_transaction()?;
        let count = |value: i64| u64::try_from(value).unwrap_or(0);
        let (spooled, acknowledged, rejected, waiting) = read.query_row(
            "SELECT spooled, acknowledged, rejected, (SELECT count(*) FROM rows) FROM progress",
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
