//! The sink on PostgreSQL.
//!
//! A batch is one transaction: rows sorted by id and inserted all at once, by a copy where none is there already
//! ([`copying`](super::copying)); of those that are the stored ones are locked, merged and replaced; then the rollups are changed by what the rows changed. Writers
//! may be many: they meet in the order of ids, then in the order of the rollups' lock. Nothing of a batch that
//! failed is stored; of one whose answer was lost all may be. Sending it again, cut otherwise or in another order,
//! changes nothing more.

use std::collections::HashSet;
use std::sync::Arc;

use callmeter_core::{Ack, CallRecord, Clock, Cost, Sink, SinkError, Timestamp};

use super::connect::{Access, Limits, Session, Tx, byteas, int8s, texts};
use super::copying::Copying;
use super::names::{Names, clean};
use super::schema::{About, Lock};
use super::{books, columns, rollup};
use crate::call::{self, WordNumbers};
use crate::door::{Door, MIN_RAW_DAYS, Refused, Seen, StoreOptions, sort_out};
use crate::names::NameKind;
use crate::rollup::{Admission, Changes};
use crate::{AccountingZone, PostgresUrl, StoreError};

/// A store on PostgreSQL, opened for writing.
pub struct PostgresStore {
    session: Session,
    clock: Arc<dyn Clock>,
    raw_days: u32,
    takes_any_age: bool,
    zone: AccountingZone,
    door: Door,
    names: Names,
    admission: Admission,
    copying: Copying,
    has_rollups: bool,
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore")
            .field("store", &self.session.shown())
            .finish_non_exhaustive()
    }
}

/// A call on its way into the store.
struct Entering<'a> {
    record: Seen<'a>,
    cost: Cost,
}

impl PostgresStore {
    /// Opens the store at `url`, which `callmeter migrate` made. A store keeps the zone and the book that it was
    /// made with; of `options` only the providers and `raw_days` count.
    ///
    /// # Errors
    /// When the server cannot be reached, has no store, or one that needs a newer callmeter.
    pub fn open(
        url: &PostgresUrl,
        options: StoreOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let mut session = Session::of_process(url)?;
        let now = clock.now();
        let (zone, revision) = session.transaction(Access::Write, |tx| {
            let about = About::read(tx)?;
            about.check_writable(tx)?;
            Ok((about.zone()?, books::load(tx)?))
        })?;
        // A binary with newer built-in prices brings them; one that may not is priced by those that are there.
        let refreshed = session.transaction(Access::Write, |tx| {
            Ok(books::refresh(tx, now)?.then_some(books::load(tx)?))
        });
        let revision = match refreshed {
            Ok(newer) => newer.unwrap_or(revision),
            Err(error) => {
                tracing::debug!(target: "callmeter", %error, "the built-in price book is newer and was not added");
                revision
            }
        };
        Ok(Self {
            session,
            clock,
            raw_days: options.raw_days.max(MIN_RAW_DAYS),
            takes_any_age: false,
            zone,
            door: Door::new(revision, options.providers),
            names: Names::default(),
            admission: Admission::default(),
            copying: Copying::default(),
            has_rollups: true,
        })
    }

    /// Leaves the rollups as they are, to measure what they cost. Reports are wrong from then on.
    #[doc(hidden)]
    #[must_use]
    pub fn without_rollups(mut self) -> Self {
        self.has_rollups = false;
        self
    }

    /// Copies batches of so many calls on, whatever is cheaper, for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn copying_from(mut self, rows: usize) -> Self {
        self.copying.from_rows(rows);
        self
    }

    /// How many rows went in by a copy so far, for tests.
    #[doc(hidden)]
    pub fn copied(&self) -> u64 {
        self.copying.copied()
    }

    /// Sets how long a statement may take and how long it waits for another writer; 30 s and 5 s unless told.
    pub fn set_limits(&mut self, statement: std::time::Duration, lock: std::time::Duration) {
        self.session.set_limits(Limits {
            statement,
            lock,
            ..Limits::default()
        });
    }

    /// Takes calls of any age from now on: whoever sends them sees to it that each comes once.
    pub(super) fn take_any_age(&mut self) {
        self.raw_days = u32::MAX;
        self.takes_any_age = true;
    }

    fn store(&mut self, batch: &[CallRecord]) -> Result<Ack, StoreError> {
        self.store_beside(batch, |_| Ok(()))
    }

    /// Stores a batch, and does `beside` before it in the same transaction.
    pub(super) fn store_beside(
        &mut self,
        batch: &[CallRecord],
        beside: impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError>,
    ) -> Result<Ack, StoreError> {
        let now = self.clock.now();
        let mut ack = Ack::default();
        let (calls, mut refused) = sort_out(batch, now, self.raw_days, &mut ack);
        let mut entering = priced(&mut self.door, calls.into_iter().map(clean));
        self.learn_names(&entering)?;
        let mut writing = Writing {
            zone: &self.zone,
            door: &mut self.door,
            names: &mut self.names,
            admission: &mut self.admission,
            copying: &mut self.copying,
            has_rollups: self.has_rollups,
        };
        let takes_any_age = self.takes_any_age;
        let stored = self.session.transaction(Access::Write, |tx| {
            let kept_from = writing.begin(tx, &mut entering)?;
            // Sorted by time: those before are too old to tell whether they were here before.
            let gone = entering.partition_point(|call| call.record.call_id.hi() < kept_from);
            let gone = if takes_any_age { 0 } else { gone };
            for call in entering.drain(..gone) {
                ack.expired += 1;
                refused.push(Refused::for_its_age(call.record));
            }
            beside(tx)?;
            writing.put(tx, entering, &mut ack)?;
            keep_refused(tx, &refused, now)
        });
        match stored {
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
    fn learn_names(&mut self, entering: &[Entering<'_>]) -> Result<(), StoreError> {
        let names = &mut self.names;
        if names.knows(records_of(entering), prices_of(entering)) {
            return Ok(());
        }
        let learnt = self.session.transaction(Access::Write, |tx| {
            names.learn(tx, records_of(entering), prices_of(entering))
        });
        match &learnt {
            Ok(()) => self.names.committed(),
            Err(_) => self.names.rolled_back(),
        }
        learnt
    }
}

impl Sink for PostgresStore {
    fn write(&mut self, batch: &[CallRecord]) -> Result<Ack, SinkError> {
        self.store(batch).map_err(SinkError::from)
    }

    /// Making a connection looks names up, for which the C library has locks; a batch on one has none.
    fn may_be_forked(&self) -> bool {
        self.session.is_open()
    }
}

fn priced<'a>(door: &mut Door, calls: impl Iterator<Item = Seen<'a>>) -> Vec<Entering<'a>> {
    calls
        .map(|call| {
            let (record, priced) = door.price(call);
            let cost = priced.cost;
            Entering { record, cost }
        })
        .collect()
}

fn records_of<'r>(entering: &'r [Entering<'_>]) -> impl Iterator<Item = &'r CallRecord> + Clone {
    entering.iter().map(|call| &*call.record)
}

fn prices_of<'r>(entering: &'r [Entering<'_>]) -> impl Iterator<Item = &'r str> {
    entering
        .iter()
        .filter_map(|call| call.cost.price_id.as_deref())
}

/// What one transaction works with.
struct Writing<'a> {
    zone: &'a AccountingZone,
    door: &'a mut Door,
    names: &'a mut Names,
    admission: &'a mut Admission,
    copying: &'a mut Copying,
    has_rollups: bool,
}

impl Writing<'_> {
    /// Makes sure that this build may write and prices by the newest revision, which stays so to the end. Says
    /// below which time half of ids calls were removed.
    fn begin(
        &mut self,
        tx: &mut Tx<'_>,
        entering: &mut Vec<Entering<'_>>,
    ) -> Result<i64, StoreError> {
        tx.batch(&Lock::Book.shared_sql())?;
        let about = About::read(tx)?;
        about.check_writable(tx)?;
        if about.newest_book == i64::from(self.door.revision.number) {
            return Ok(about.kept_from);
        }
        self.door.revision = books::load(tx)?;
        let stale = std::mem::take(entering);
        *entering = priced(self.door, stale.into_iter().map(|call| call.record));
        self.names
            .learn(tx, records_of(entering), prices_of(entering))?;
        Ok(about.kept_from)
    }

    fn put(
        &mut self,
        tx: &mut Tx<'_>,
        entering: Vec<Entering<'_>>,
        ack: &mut Ack,
    ) -> Result<(), StoreError> {
        let mut rows = columns::Rows::with_capacity(entering.len());
        let mut numbers = Vec::with_capacity(entering.len());
        for call in &entering {
            let of = self.names.numbers(&call.record)?;
            self.push(&mut rows, &of, &call.record, &call.cost)?;
            numbers.push(of);
        }
        if rows.is_empty() {
            return Ok(());
        }
        let is_copied = self.copying.try_insert(tx, &rows)?;
        let inserted: HashSet<(i64, i64)> = if is_copied {
            HashSet::new()
        } else {
            rows.insert(tx)?.into_iter().collect()
        };
        let mut changes = Changes::default();
        let mut known = Vec::new();
        for (call, numbers) in entering.into_iter().zip(numbers) {
            let id = call.record.call_id;
            if is_copied || inserted.contains(&(id.hi(), id.lo())) {
                ack.inserted += 1;
                changes.add(self.zone, &numbers, (&call.record, &call.cost), 1)?;
            } else {
                known.push(call);
            }
        }
        self.merge(tx, known, &mut changes, ack)?;
        if self.has_rollups {
            rollup::apply(tx, changes, self.admission)?;
        }
        Ok(())
    }

    /// Merges calls with those that are stored.
    fn merge(
        &mut self,
        tx: &mut Tx<'_>,
        known: Vec<Entering<'_>>,
        changes: &mut Changes,
        ack: &mut Ack,
    ) -> Result<(), StoreError> {
        let ids: Vec<(i64, i64)> = known
            .iter()
            .map(|call| (call.record.call_id.hi(), call.record.call_id.lo()))
            .collect();
        let stored = columns::lock(tx, self.names, &ids)?;
        if stored.len() != known.len() {
            return Err(super::broken("a call that was there is gone"));
        }
        let mut merged = Vec::new();
        for (call, stored) in known.into_iter().zip(stored) {
            let record = stored.record.clone().merge(&call.record);
            if record == stored.record {
                ack.unchanged += 1;
                continue;
            }
            ack.merged += 1;
            let (record, priced) = self.door.price(Seen::owned(record));
            let cost = priced.cost;
            merged.push((stored, Entering { record, cost }));
        }
        if merged.is_empty() {
            return Ok(());
        }
        let records = merged
            .iter()
            .flat_map(|(stored, call)| [&stored.record, &*call.record]);
        let prices = merged
            .iter()
            .filter_map(|(_, call)| call.cost.price_id.as_deref());
        if !self.names.knows(records.clone(), prices.clone()) {
            self.names.learn(tx, records, prices)?;
        }
        let mut rows = columns::Rows::with_capacity(merged.len());
        for (stored, call) in &merged {
            let before = self.names.numbers(&stored.record)?;
            let after = self.names.numbers(&call.record)?;
            self.push(&mut rows, &after, &call.record, &call.cost)?;
            changes.add(self.zone, &before, (&stored.record, &stored.cost), -1)?;
            changes.add(self.zone, &after, (&call.record, &call.cost), 1)?;
        }
        rows.update(tx)?;
        Ok(())
    }

    fn push(
        &self,
        rows: &mut columns::Rows,
        numbers: &WordNumbers,
        record: &CallRecord,
        cost: &Cost,
    ) -> Result<(), StoreError> {
        let price = cost.price_id.as_deref();
        let price = price
            .map(|id| self.names.number(NameKind::Price, id))
            .transpose()?;
        let mut ext = Vec::with_capacity(64);
        let row = call::to_columns(numbers, record, cost, price, &mut ext);
        rows.push(&row, ext)
    }
}

fn keep_refused(
    tx: &mut Tx<'_>,
    refused: &[Refused<'_>],
    now: Timestamp,
) -> Result<(), StoreError> {
    if refused.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&CallRecord) -> i64| -> Vec<i64> {
        refused.iter().map(|refused| of(&refused.record)).collect()
    };
    let his = column(|record| record.call_id.hi());
    let los = column(|record| record.call_id.lo());
    let layers = column(|record| i64::from(record.layer.code()));
    let revs = column(|record| i64::from(record.rev));
    let reasons: Vec<&str> = refused.iter().map(|refused| refused.reason).collect();
    let records: Vec<Vec<u8>> = refused
        .iter()
        .map(|refused| refused.record.encode())
        .collect();
    tx.execute(
        &format!(
            "INSERT INTO callmeter.rejected (hi, lo, layer, rev, reason, rejected_at, record)
             SELECT hi, lo, layer, rev, reason, {}, record
             FROM unnest($1, $2, $3, $4, $5, $6) AS new (hi, lo, layer, rev, reason, record)
             ON CONFLICT DO NOTHING",
            now.as_micros()
        ),
        &[
            int8s(&his),
            int8s(&los),
            int8s(&layers),
            int8s(&revs),
            texts(&reasons),
            byteas(&records),
        ],
    )?;
    Ok(())
}
