//! The sink of the embedded store.
//!
//! A batch is one transaction: rows sorted by id, inserted or, where the call is known, merged; each
//! priced by the newest revision of the store's book; the rollups changed by what the rows changed.
//! Nothing of a batch that failed is stored. Sending it again, cut otherwise or in another order, changes
//! nothing more.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callmeter_core::{Ack, CallRecord, Clock, Flags, Sink, SinkError, Timestamp};
use callmeter_price::{Book, Priced, ProviderKinds};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::books::{self, Revision};
use super::columns::{self, StoredCall, WordNumbers};
use super::names::Names;
use super::retention::{self, Retention};
use super::rollup::{Admission, Changes};
use super::schema;
use crate::{AccountingZone, StoreError};

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// How far ahead of the store's clock a call is marked, and how far it is refused.
const CLOCK_AHEAD: i64 = 600_000_000;
const TOO_FAR_AHEAD: i64 = MICROS_PER_DAY;
/// The shortest dedup horizon, in days.
pub(crate) const MIN_RAW_DAYS: u32 = 35;
/// Why a call is refused whose like was removed for its age, or soon will be.
const TOO_OLD: &str = "older than the dedup horizon";
/// How many models without a price in the `legacy` book are remembered, to warn of each once.
const WARNED: usize = 1_000;

/// What a store needs to be made, and to price what enters it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// The zone of the accounting days of a new store, by its IANA name.
    pub accounting_zone: String,
    /// How many days raw rows are kept, and the dedup horizon; at least 35.
    pub raw_days: u32,
    /// Whether the group of the directory may use the file of a new store.
    pub group_access: bool,
    /// The book of a new store.
    pub book: Arc<Book>,
    /// What the user's own provider names stand for.
    pub providers: ProviderKinds,
}

impl Default for SqliteOptions {
    /// UTC, 400 days, the public prices.
    fn default() -> Self {
        Self {
            accounting_zone: "UTC".to_owned(),
            raw_days: 400,
            group_access: false,
            book: Book::market(),
            providers: ProviderKinds::default(),
        }
    }
}

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
    kinds: ProviderKinds,
    revision: Revision,
    names: Names,
    admission: Admission,
    ext: Vec<u8>,
    warned: HashSet<String>,
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
        options: SqliteOptions,
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
            kinds: options.providers,
            revision,
            names: Names::default(),
            admission: Admission::default(),
            ext: Vec::with_capacity(512),
            warned: HashSet::new(),
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
        let horizon = i64::from(self.raw_days).saturating_mul(MICROS_PER_DAY);
        let oldest = self
            .clock
            .now()
            .saturating_add_micros(horizon.saturating_neg());
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
        if books::newest_number(&tx)? != self.revision.number {
            self.revision = books::load(&tx)?;
        }
        let mut writing = Writing {
            tx: &tx,
            names: &mut self.names,
            zone: &self.zone,
            revision: &self.revision,
            kinds: &self.kinds,
            ext: &mut self.ext,
            warned: &mut self.warned,
            changes: Changes::default(),
        };
        let written = calls
            .into_iter()
            .zip(numbers)
            .try_for_each(|(call, numbers)| {
                if call.call_id.hi() < kept_from {
                    // Whether it was here before cannot be told any more.
                    ack.expired += 1;
                    refused.push(Refused {
                        record: call,
                        reason: TOO_OLD,
                    });
                    return Ok(());
                }
                writing.put(call, &numbers, &mut ack)
            })
            .and_then(|()| writing.changes.apply(&tx, &mut self.admission))
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
    fn learn_names(
        &mut self,
        calls: &[Cow<'_, CallRecord>],
    ) -> Result<Vec<WordNumbers>, StoreError> {
        let tx = Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate)?;
        let learnt = calls
            .iter()
            .map(|call| WordNumbers::of(&tx, &mut self.names, call))
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
    revision: &'a Revision,
    kinds: &'a ProviderKinds,
    ext: &'a mut Vec<u8>,
    warned: &'a mut HashSet<String>,
    changes: Changes,
}

impl Writing<'_, '_> {
    fn put(
        &mut self,
        call: Cow<'_, CallRecord>,
        numbers: &WordNumbers,
        ack: &mut Ack,
    ) -> Result<(), StoreError> {
        let (call, priced) = self.price(call);
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
        let (merged, priced) = self.price(Cow::Owned(merged));
        let before = WordNumbers::of(self.tx, self.names, &stored.record)?;
        let after = WordNumbers::of(self.tx, self.names, &merged)?;
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

    /// Prices a call by the store's book and puts what came to light on it.
    fn price<'r>(&mut self, mut call: Cow<'r, CallRecord>) -> (Cow<'r, CallRecord>, Priced) {
        let mut priced = self.revision.book.price(&call, self.kinds);
        priced.cost.book_rev = Some(self.revision.number);
        if !call.flags.contains(priced.flags) {
            call.to_mut().flags.insert(priced.flags);
        }
        if priced.is_unknown_to_legacy && self.warned.len() < WARNED {
            let model = call.model_or_requested();
            if self.warned.insert(model.to_owned()) {
                tracing::warn!(
                    target: "callmeter",
                    model,
                    "the legacy price book does not know this model: its calls count as 0"
                );
            }
        }
        (call, priced)
    }

    fn stored(&mut self, call: &CallRecord) -> Result<StoredCall, StoreError> {
        columns::find(self.tx, self.names, call.call_id)?
            .ok_or_else(|| rusqlite::Error::QueryReturnedNoRows.into())
    }
}

/// A record that the store does not take, and why.
struct Refused<'a> {
    record: Cow<'a, CallRecord>,
    reason: &'static str,
}

/// Sorts a batch by id, one record a call, and puts aside what is beyond the horizon.
fn sort_out<'a>(
    batch: &'a [CallRecord],
    now: Timestamp,
    raw_days: u32,
    ack: &mut Ack,
) -> (Vec<Cow<'a, CallRecord>>, Vec<Refused<'a>>) {
    let horizon = i64::from(raw_days).saturating_mul(MICROS_PER_DAY);
    let mut calls: Vec<Cow<'a, CallRecord>> = Vec::with_capacity(batch.len());
    let mut refused = Vec::new();
    for record in batch {
        let ahead = record.started_at().micros_since(now);
        let reason = if ahead > TOO_FAR_AHEAD {
            Some("more than a day ahead of the store's clock")
        } else if ahead < horizon.saturating_neg() {
            Some(TOO_OLD)
        } else {
            None
        };
        if let Some(reason) = reason {
            ack.expired += 1;
            refused.push(Refused {
                record: Cow::Borrowed(record),
                reason,
            });
            continue;
        }
        let mut call = Cow::Borrowed(record);
        if ahead > CLOCK_AHEAD {
            call.to_mut().flags.insert(Flags::CLOCK_AHEAD);
        }
        calls.push(call);
    }
    calls.sort_by_key(|call| call.call_id);
    calls.dedup_by(|next, kept| {
        let is_same = next.call_id == kept.call_id;
        if is_same {
            *kept = Cow::Owned(kept.as_ref().clone().merge(next));
            ack.merged += 1;
        }
        is_same
    });
    (calls, refused)
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
