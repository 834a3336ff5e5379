//! The owner's side of a spool file: append, and raise what shippers may read.

use std::borrow::Borrow;
use std::path::Path;
use std::sync::LazyLock;

use callmeter_core::{CallRecord, DropReason, Timestamp};
use callmeter_flight::Lease;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::journal::{FlightFigures, SpoolInlet, SpoolOwner};
use super::rights::Rights;
use super::schema::{self, FORMAT};
use super::{ADOPTED_LANE, FRESH_LANE, LEASE_EXTENSION, SPOOL_EXTENSION, SpoolError, adoption};

/// After how many appends, or rows, `progress` is brought up: a shipper waits no longer for them, and an adopter has no
/// more to compare.
const APPENDS_UNCOUNTED: u32 = 16;
const ROWS_UNCOUNTED: i64 = 1_000;

/// How far a spool is, as its owner knows it.
#[derive(Clone, Copy, Debug)]
struct Reached {
    next_seq: i64,
    /// Rows before it are counted in `progress`, by the last of so many appends.
    counted_to: i64,
    appends: u32,
    ready_seq: i64,
}

/// The one writer of a spool file, with its lease.
#[derive(Debug)]
pub(crate) struct SpoolWriter {
    db: Connection,
    name: String,
    reached: Reached,
    syncs: bool,
    noted: Option<FlightFigures>,
    encoded: Vec<u8>,
    _lease: Lease,
}

impl SpoolWriter {
    /// Makes a spool of this process's own in `dir`.
    pub(crate) fn create(
        dir: &Path,
        owner: &SpoolOwner,
        rights: Rights,
    ) -> Result<Self, SpoolError> {
        super::rights::refuse_network(dir)?;
        let name = crate::identity::new_call_id(owner.made_at.max(Timestamp::EPOCH)).to_string();
        let path = dir.join(&name).with_extension(SPOOL_EXTENSION);
        // The lease stands before the file does, so that nobody takes the file for a dead one's.
        let lease_path = path.with_extension(LEASE_EXTENSION);
        let lease =
            Lease::try_take_with(&lease_path, rights.file_mode())?.ok_or(SpoolError::Busy)?;
        let made = schema::create(&path, rights, |transaction| {
            let header = params![
                FORMAT,
                name,
                owner.home,
                owner.store,
                owner.made_at.as_micros(),
                concat!("callmeter ", env!("CARGO_PKG_VERSION")),
                std::process::id()
            ];
            let insert = "INSERT INTO header VALUES (1, ?1, ?1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            transaction.execute(insert, header).map(|_| ())
        });
        let db = made.inspect_err(|_| {
            // Nothing was promised yet: half a file would only be in the way.
            super::remove_files(&path);
        })?;
        Ok(Self {
            db,
            name,
            reached: Reached {
                next_seq: 1,
                counted_to: 1,
                appends: 0,
                ready_seq: 0,
            },
            syncs: false,
            noted: None,
            encoded: Vec::with_capacity(512),
            _lease: lease,
        })
    }

    fn write(
        &mut self,
        batch: &[CallRecord],
        dropped: &[(DropReason, u64)],
    ) -> Result<(), SpoolError> {
        let before = self.reached.next_seq;
        let transaction = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let room = &mut self.encoded;
        let mut reached = self.reached;
        reached.next_seq = put_rows(&transaction, before, FRESH_LANE, batch, room)?;
        reached.appends = reached.appends.saturating_add(1);
        let uncounted = reached.next_seq.saturating_sub(reached.counted_to);
        if batch.is_empty() || reached.appends >= APPENDS_UNCOUNTED || uncounted >= ROWS_UNCOUNTED {
            reached = Reached {
                next_seq: reached.next_seq,
                counted_to: reached.next_seq,
                appends: 0,
                // What this very append brings may still lie in its flight file as well.
                ready_seq: before.saturating_sub(1),
            };
            transaction
                .prepare_cached(
                    "UPDATE progress SET next_seq = ?1, ready_seq = ?2, spooled = spooled + ?3",
                )?
                .execute(params![reached.next_seq, reached.ready_seq, uncounted])?;
        }
        count_dropped(&transaction, dropped)?;
        if let Some(figures) = &self.noted {
            note(&transaction, figures)?;
        }
        transaction.commit()?;
        self.reached = reached;
        Ok(())
    }
}

impl SpoolInlet for SpoolWriter {
    fn name(&self) -> &str {
        &self.name
    }

    fn attach(&mut self, flight: &str, place: &str, at: Timestamp) -> Result<(), SpoolError> {
        attach(&self.db, flight, place, at)
    }

    fn detach(&mut self, flight: &str, at: Timestamp) -> Result<(), SpoolError> {
        adoption::settle(&self.db, flight, at)
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
        if self.syncs != sync {
            self.db
                .pragma_update(None, "synchronous", if sync { "FULL" } else { "NORMAL" })?;
            self.syncs = sync;
        }
        self.write(batch, dropped)?;
        self.noted = None;
        Ok(())
    }

    fn has_unready(&self) -> bool {
        self.reached.ready_seq < self.last_seq()
    }

    fn last_seq(&self) -> i64 {
        self.reached.next_seq.saturating_sub(1)
    }

    fn bytes_in_log(&self) -> i64 {
        let pragma = |name| {
            let value: Result<i64, _> = self.db.pragma_query_value(None, name, |row| row.get(0));
            value.unwrap_or(0)
        };
        let whole = pragma("page_count").saturating_mul(pragma("page_size"));
        let file = self.db.path().and_then(|path| std::fs::metadata(path).ok());
        let seen = file.map_or(0, |file| i64::try_from(file.len()).unwrap_or(i64::MAX));
        whole.saturating_sub(seen)
    }
}

/// How many rows one statement inserts at most: half of what a statement costs is beginning and ending it.
const ROWS_AT_ONCE: usize = 16;

/// The statement that inserts so many rows: their lane, the first one's number, then the rest of each. `OR FAIL` spares
/// it a journal of its own: where it fails, the whole transaction is rolled back.
fn insert_sql(rows: usize) -> &'static str {
    static SQL: LazyLock<Vec<String>> = LazyLock::new(|| {
        let row = |at| format!("(?2 + {at}, ?1, ?, ?, ?, ?, ?)");
        let of = |rows| (0..rows).map(row).collect::<Vec<_>>().join(", ");
        let rows = 0..=ROWS_AT_ONCE;
        rows.map(|rows| format!("INSERT OR FAIL INTO rows VALUES {}", of(rows)))
            .collect()
    });
    SQL.get(rows).map_or("", String::as_str)
}

/// Inserts rows from the number `first` on; gives the number after the last. `encoded` is room to work in.
pub(super) fn put_rows<R: Borrow<CallRecord>>(
    transaction: &Transaction<'_>,
    first: i64,
    lane: i64,
    records: &[R],
    encoded: &mut Vec<u8>,
) -> Result<i64, SpoolError> {
    debug_assert!(lane == FRESH_LANE || lane == ADOPTED_LANE);
    let mut seq = first;
    for records in records.chunks(ROWS_AT_ONCE) {
        let mut insert = transaction.prepare_cached(insert_sql(records.len()))?;
        insert.raw_bind_parameter(1, lane)?;
        insert.raw_bind_parameter(2, seq)?;
        let mut parameters = 3_usize..;
        let mut next = || parameters.next().unwrap_or(usize::MAX);
        for record in records {
            let record = record.borrow();
            let (hi, lo) = (record.call_id.hi(), record.call_id.lo());
            let (layer, rev) = (record.layer.code().into(), record.rev.into());
            for value in [hi, lo, layer, rev] {
                insert.raw_bind_parameter(next(), value)?;
            }
            encoded.clear();
            record.encode_into(encoded);
            insert.raw_bind_parameter(next(), encoded.as_slice())?;
            seq = seq.saturating_add(1);
        }
        insert.raw_execute()?;
    }
    Ok(seq)
}

/// Counts in `progress` the rows that a dead owner had not counted there.
pub(super) fn catch_up(transaction: &Transaction<'_>) -> Result<(), SpoolError> {
    transaction.execute(
        "UPDATE progress SET spooled = spooled + (SELECT count(*) FROM rows WHERE seq >= next_seq), \
         next_seq = (SELECT max(seq) + 1 FROM rows) \
         WHERE EXISTS (SELECT 1 FROM rows WHERE seq >= next_seq)",
        [],
    )?;
    Ok(())
}

pub(super) fn attach(
    db: &Connection,
    flight: &str,
    place: &str,
    at: Timestamp,
) -> Result<(), SpoolError> {
    db.execute(
        "INSERT OR IGNORE INTO flights VALUES (?1, ?2, ?3, 0, 0, NULL)",
        params![flight, place, at.as_micros()],
    )?;
    Ok(())
}

pub(super) fn count_dropped(
    transaction: &Transaction<'_>,
    dropped: &[(DropReason, u64)],
) -> Result<(), SpoolError> {
    for (reason, lost) in dropped.iter().filter(|(_, lost)| *lost > 0) {
        transaction
            .prepare_cached(
                "INSERT INTO dropped VALUES (?1, ?2) \
                 ON CONFLICT(reason) DO UPDATE SET count = count + excluded.count",
            )?
            .execute(params![
                reason.as_str(),
                i64::try_from(*lost).unwrap_or(i64::MAX)
            ])?;
    }
    Ok(())
}

/// Counts what a flight file's counters show beyond what was counted of them before.
pub(super) fn note(
    transaction: &Transaction<'_>,
    figures: &FlightFigures,
) -> Result<(), SpoolError> {
    let stored = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    transaction
        .prepare_cached("UPDATE flights SET opened = ?2 WHERE flight = ?1")?
        .execute(params![figures.flight, stored(figures.opened)])?;
    for (reason, count) in &figures.losses {
        let loss = reason.as_str();
        let known: i64 = transaction
            .prepare_cached(
                "SELECT ifnull(max(count), 0) FROM flight_losses WHERE flight = ?1 AND reason = ?2",
            )?
            .query_row(params![figures.flight, loss], |row| row.get(0))?;
        let new = count.saturating_sub(u64::try_from(known).unwrap_or(0));
        if new > 0 {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO flight_losses VALUES (?1, ?2, ?3)")?
                .execute(params![figures.flight, loss, stored(*count)])?;
            count_dropped(transaction, &[(*reason, new)])?;
        }
    }
    Ok(())
}
