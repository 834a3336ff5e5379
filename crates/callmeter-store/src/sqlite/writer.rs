//! The sink of the embedded store.
//!
//! A batch is one transaction: rows sorted by id, inserted or, where the call is known, merged; each
//! priced by the newest revision of the store's book; the rollups changed by what the rows changed.
//! Nothing of a batch that failed is stored. Sending it again, cut otherwise or in another order, changes
//! nothing more.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use callmeter_core::{Ack, CallRecord, Clock, Sink, SinkError, Timestamp};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::columns;
use super::names::Names;
use super::retention::{self, Retention};
use super::{books, rollup, schema};
use crate::call::{StoredCall, WordNumbers};
use crate::door::{Door, MIN_RAW_DAYS, Refused, Seen, StoreOptions, horizon, sort_out};
use crate::rollup::{Admission, Changes};
use crate::{AccountingZone, StoreError};

/// The embedded store, opened for writing.
///
/// ```
/// use std::sync::Arc;
/// use callmeter_core::{CallId, CallRecord, Clock, Layer, Sink, SystemClock};
/// use callmeter_store::{SqliteOptions, SqliteStore};
///
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("store.sqlite");
/// let mut store = SqliteStore::open(&path, SqliteOptions::default(), Arc::new(SystemClock))?;
/// let record = CallRecord::new(CallId::new(SystemClock.now(), 7), Layer::Guard, 0);
/// assert_eq!(store.write(&[record.clone()])?.inserted, 1);
/// assert_eq!(store.write(&[record])?.unchanged, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SqliteStore {
    path: PathBuf,
    conn: Connection,
    clock: Arc<dyn Clock>,
    zone: AccountingZone,
    raw_days: u32,
    door: Door,
    names: Names,
    admission: Admission,
    ext: Vec<u8>,
    retention: Retention,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens a store; makes it, by `options`, when there is none. A store that was made before keeps its
    /// zone and its book.
    ///
    /// # Errors
    /// When the file cannot be used, is no store, or needs a newer callmeter; it is unchanged then.
    pub fn open(
        path: &Path,
        options: StoreOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let zone = AccountingZone::named(&options.accounting_zone)?;
        let now = clock.now();
        let conn = schema::open_writer(path, options.group_access, zone.name(), now, |tx| {
            books::append(tx, &options.book, now)
        })?;
        let tx = Transaction::new_unchecked(&conn, TransactionBehavior::Immediate)?;
        books::refresh(&tx, now)?;
        tx.commit()?;
        let name: String =
            conn.query_row("SELECT accounting_zone FROM about", [], |row| row.get(0))?;
        let zone = AccountingZone::named(&name)?;
        let revision = books::load(&conn)?;
        Ok(Self {
            path: path.to_owned(),
            conn,
            clock,
            zone,
            raw_days: options.raw_days.max(MIN_RAW_DAYS),
            door: Door::new(revision, options.providers),
            names: Names::default(),
            admission: Admission::default(),
            ext: Vec::with_capacity(512),
            retention: Retention::default(),
        })
    }

    /// Sets how long a batch waits for another writer; 5 s unless told.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn set_busy_limit(&mut self, limit: std::time::Duration) -> Result<(), StoreError> {
        self.conn.busy_timeout(limit)?;
        Ok(())
    }

    /// Removes a slice of the calls that are older than the raw retention, and of refused records as old;
    /// says whether there is more. The rollups keep what the calls added to them.
    ///
    /// # Errors
    /// When the store cannot be written; nothing was removed then.
    pub fn expire(&mut self) -> Result<bool, StoreError> {
        let oldest = horizon(self.clock.now(), self.raw_days);
        self.retention.slice(&self.conn, &*self.clock, oldest)
    }

    fn store(&mut self, batch: &[CallRecord]) -> Result<Ack, StoreError> {
        let now = self.clock.now();
        let mut ack = Ack::default();
        let (calls, mut refused) = sort_out(batch, now, self.raw_days, &mut ack);
        let numbers = self.learn_names(&calls)?;
        let tx = Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate)?;
        schema::check_writable(&tx, &self.path)?;
        let kept_from = retention::kept_from(&tx)?;
        if books::newest_number(&tx)? != self.door.revision.number {
            self.door.revision = books::load(&tx)?;
        }
        let mut writing = Writing {
            tx: &tx,
            names: &mut self.names,
            zone: &self.zone,
            door: &mut self.door,
            ext: &mut self.ext,
            changes: Changes::default(),
        };
        let written = calls
            .into_iter()
            .zip(numbers)
            .try_for_each(|(call, numbers)| {
                if call.call_id.hi() < kept_from {
                    ack.expired += 1;
                    refused.push(Refused::for_its_age(call));
                    return Ok(());
                }
                writing.put(call, &numbers, &mut ack)
            })
            .and_then(|()| rollup::apply(writing.changes, &tx, &mut self.admission))
            .and_then(|()| keep_refused(&tx, &refused, now))
            .and_then(|()| tx.commit().map_err(StoreError::from));
        match written {
            Ok(()) => {
                self.names.committed();
                self.admission.committed();
                Ok(ack)
            }
            Err(error) => {
                self.names.rolled_back();
                self.admission.rolled_back();
                Err(error)
            }
        }
    }

    /// Adds new names in a short transaction of their own, so that the batch's finds them all.
    fn learn_names(&mut self, calls: &[Seen<'_>]) -> Result<Vec<WordNumbers>, StoreError> {
        let tx = Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate)?;
        let learnt = calls
            .iter()
            .map(|call| columns::numbers_of(&tx, &mut self.names, call))
            .collect::<Result<Vec<_>, _>>()
            .and_then(|numbers| {
                tx.commit()?;
                Ok(numbers)
            });
        match &learnt {
            Ok(_) => self.names.committed(),
            Err(_) => self.names.rolled_back(),
        }
        learnt
    }
}

impl Sink for SqliteStore {
    fn write(&mut self, batch: &[CallRecord]) -> Result<Ack, SinkError> {
        self.store(batch).map_err(SinkError::from)
    }

    fn maintain(&mut self) -> Result<bool, SinkError> {
        self.expire().map_err(SinkError::from)
    }
}

/// What one transaction works with.
struct Writing<'a, 't> {
    tx: &'a Transaction<'t>,
    names: &'a mut Names,
    zone: &'a AccountingZone,
    door: &'a mut Door,
    ext: &'a mut Vec<u8>,
    changes: Changes,
}

impl Writing<'_, '_> {
    fn put(
        &mut self,
        call: Seen<'_>,
        numbers: &WordNumbers,
        ack: &mut Ack,
    ) -> Result<(), StoreError> {
        let (call, priced) = self.door.price(call);
        if columns::write(
            self.tx,
            self.names,
            numbers,
            &call,
            &priced.cost,
            false,
            self.ext,
        )? {
            ack.inserted += 1;
            return self.change(numbers, (&call, &priced.cost), 1);
        }
        let stored = self.stored(&call)?;
        let merged = stored.record.clone().merge(&call);
        if merged == stored.record {
            ack.unchanged += 1;
            return Ok(());
        }
        let (merged, priced) = self.door.price(Seen::owned(merged));
        let before = columns::numbers_of(self.tx, self.names, &stored.record)?;
        let after = columns::numbers_of(self.tx, self.names, &merged)?;
        columns::write(
            self.tx,
            self.names,
            &after,
            &merged,
            &priced.cost,
            true,
            self.ext,
        )?;
        ack.merged += 1;
        self.change(&before, (&stored.record, &stored.cost), -1)?;
        self.change(&after, (&merged, &priced.cost), 1)
    }

    fn change(
        &mut self,
        numbers: &WordNumbers,
        call: (&CallRecord, &callmeter_core::Cost),
        times: i64,
    ) -> Result<(), StoreError> {
        self.changes.add(self.zone, numbers, call, times)
    }

    fn stored(&mut self, call: &CallRecord) -> Result<StoredCall, StoreError> {
        columns::find(self.tx, self.names, call.call_id)?
            .ok_or_else(|| rusqlite::Error::QueryReturnedNoRows.into())
    }
}

fn keep_refused(
    tx: &Transaction<'_>,
    refused: &[Refused<'_>],
    now: Timestamp,
) -> Result<(), StoreError> {
    for Refused { record, reason } in refused {
        tx.prepare_cached("INSERT OR IGNORE INTO rejected VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
            .execute((
                record.call_id.hi(),
                record.call_id.lo(),
                record.layer.code(),
                record.rev,
                reason,
                now.as_micros(),
                record.encode(),
            ))?;
    }
    Ok(())
}
