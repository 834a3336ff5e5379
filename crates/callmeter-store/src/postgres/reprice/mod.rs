//! Reprices on PostgreSQL: see [`crate::reprice`].
//!
//! A slice takes the locks in the order of a batch: the book's, then the line of the reprice, then its calls in the
//! order of their ids, then the rollups'. So it waits for batches and they for it, and nothing can deadlock.

mod audit;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use callmeter_core::{CallId, Clock, Timestamp};
use callmeter_price::{Book, ProviderKinds};

use self::audit::{
    LINE, Run, check_none_is_open, insert_line, keep, keep_runs, last_run, line, number, read_line,
};
use super::condition::Condition;
use super::connect::{Access, Limits, Session, Tx, text};
use super::names::Names;
use super::schema::{About, Lock, get};
use super::{books, columns, rollup};
use crate::call;
use crate::door::StoreOptions;
use crate::names::NameKind;
use crate::reprice::{
    BEFORE_ALL, GroupSums, Reprice, RepriceError, RepriceQuery, RepricedGroup, SUMS, Tally,
    first_open, later, price_anew,
};
use crate::rollup::{Admission, Changes};
use crate::{AccountingZone, PostgresUrl, StoreError, StoredCall};

const FIRST_SLICE: u32 = 500;
const LARGEST_SLICE: u32 = 5_000;
/// How long the rollups should be locked at most, in nanoseconds.
const SLICE_NS: u64 = 100_000_000;
/// The format whose schema has the audit.
const FIRST_FORMAT: i64 = 2;

/// Whoever reprices a store on PostgreSQL.
pub(crate) struct PostgresRepricer {
    session: Session,
    clock: Arc<dyn Clock>,
    zone: AccountingZone,
    kinds: ProviderKinds,
    names: Names,
    admission: Admission,
    slice: u32,
    largest: u32,
    books: HashMap<u32, Arc<Book>>,
}

impl std::fmt::Debug for PostgresRepricer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresRepricer")
            .field("store", &self.session.shown())
            .finish_non_exhaustive()
    }
}

impl PostgresRepricer {
    pub(crate) fn open(
        url: &PostgresUrl,
        options: StoreOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let mut session = Session::of_process(url)?;
        // Finding calls without a price may take a scan; changing them is bounded by the size of a slice.
        session.set_limits(Limits {
            statement: std::time::Duration::from_secs(600),
            lock: std::time::Duration::from_secs(60),
            ..Limits::default()
        });
        let now = clock.now();
        let zone = session.transaction(Access::Write, |tx| {
            let about = About::read(tx)?;
            about.check_writable(tx)?;
            if about.format < FIRST_FORMAT {
                let store = tx.shown().to_owned();
                return Err(RepriceError::OldSchema { store }.into());
            }
            books::refresh(tx, now)?;
            about.zone()
        })?;
        Ok(Self {
            session,
            clock,
            zone,
            kinds: options.providers,
            names: Names::default(),
            admission: Admission::default(),
            slice: FIRST_SLICE,
            largest: LARGEST_SLICE,
            books: HashMap::new(),
        })
    }

    pub(crate) fn set_slice(&mut self, calls: u32) {
        self.largest = calls.max(1);
        self.slice = self.slice.min(self.largest);
    }

    pub(crate) fn begin(&mut self, query: &RepriceQuery) -> Result<Reprice, StoreError> {
        let now = self.clock.now();
        let filter = query.open_days(&self.zone);
        self.session.transaction(Access::Write, |tx| {
            Lock::Book.take(tx)?;
            check_none_is_open(tx)?;
            match &query.book {
                Some(book) => books::append(tx, book, now)?,
                None => {
                    let newest = books::newest(tx)?.number;
                    books::append_again(tx, newest, now)?;
                }
            }
            let reprice = Reprice {
                rev: books::newest(tx)?.number,
                undoes: None,
                is_all: query.is_all,
                filter,
                closed_until: query.closed_until,
                asked_by: query.asked_by.clone(),
                began_at: now,
                ended_at: None,
                looked_at: 0,
                changed: 0,
                at: BEFORE_ALL,
            };
            insert_line(tx, &reprice)?;
            Ok(reprice)
        })
    }

    pub(crate) fn begin_undo(
        &mut self,
        rev: u32,
        closed_until: Option<i64>,
        asked_by: &str,
    ) -> Result<Reprice, StoreError> {
        let now = self.clock.now();
        let zone = &self.zone;
        self.session.transaction(Access::Write, |tx| {
            Lock::Book.take(tx)?;
            let undone = line(tx, rev, "FOR UPDATE")?.ok_or(RepriceError::Unknown { rev })?;
            if let Some(undoes) = undone.undoes {
                return Err(RepriceError::IsUndo { rev, undoes }.into());
            }
            let by = tx.query_opt(
                &format!("SELECT rev FROM callmeter.reprices WHERE undoes = {rev}"),
                &[],
            )?;
            if let Some(row) = by {
                let by = number(get(&row, 0)?);
                return Err(RepriceError::Undone { rev, by }.into());
            }
            tx.batch(&format!(
                "UPDATE callmeter.reprices SET ended_at = {} WHERE rev = {rev} AND ended_at IS NULL",
                now.as_micros()
            ))?;
            check_none_is_open(tx)?;
            let newest = books::newest(tx)?.number;
            let content = if newest == rev {
                books::before(tx, rev)?
            } else {
                newest
            };
            books::append_again(tx, content, now)?;
            let mut filter = undone.filter;
            filter.since = later(filter.since, first_open(closed_until, zone));
            let reprice = Reprice {
                rev: books::newest(tx)?.number,
                undoes: Some(rev),
                is_all: undone.is_all,
                filter,
                closed_until,
                asked_by: asked_by.to_owned(),
                began_at: now,
                ended_at: None,
                looked_at: 0,
                changed: 0,
                at: BEFORE_ALL,
            };
            insert_line(tx, &reprice)?;
            Ok(reprice)
        })
    }

    pub(crate) fn slice(&mut self, rev: u32) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let began = self.clock.monotonic_ns();
        let limit = self.slice;
        let (zone, kinds, books) = (&self.zone, &self.kinds, &mut self.books);
        let (names, admission) = (&mut self.names, &mut self.admission);
        let done = self.session.transaction(Access::Write, |tx| {
            tx.batch(&Lock::Book.shared_sql())?;
            About::read(tx)?.check_writable(tx)?;
            let reprice = line(tx, rev, "FOR UPDATE")?.ok_or(RepriceError::Unknown { rev })?;
            if reprice.ended_at.is_some() {
                return Ok(false);
            }
            let target = Target::of(tx, &reprice, books)?;
            let calls = next_calls(tx, names, &reprice, limit)?;
            let Some(last) = calls.last().map(|call| call.record.call_id) else {
                return end_unless_more(tx, &reprice, now);
            };
            let mut slice = Slice {
                zone,
                kinds,
                names,
                tally: Tally::default(),
                changes: Changes::default(),
            };
            let runs = slice.write(tx, &reprice, &target, calls)?;
            let Slice { tally, changes, .. } = slice;
            rollup::apply(tx, changes, admission)?;
            keep(tx, rev, &tally)?;
            keep_runs(tx, rev, &runs)?;
            tx.batch(&format!(
                "UPDATE callmeter.reprices SET at_hi = {}, at_lo = {}, looked_at = looked_at + {}, \
                 changed = changed + {} WHERE rev = {rev}",
                last.hi(),
                last.lo(),
                tally.looked_at,
                tally.changed
            ))?;
            Ok(true)
        });
        match &done {
            Ok(_) => {
                self.names.committed();
                self.admission.committed();
                let took = self.clock.monotonic_ns().saturating_sub(began);
                self.adapt(took);
            }
            Err(_) => {
                self.names.rolled_back();
                self.admission.rolled_back();
            }
        }
        done
    }

    pub(crate) fn list(&mut self) -> Result<Vec<Reprice>, StoreError> {
        self.session.transaction(Access::Snapshot, |tx| {
            let sql = format!("SELECT {LINE} FROM callmeter.reprices ORDER BY rev DESC");
            tx.query(&sql, &[])?.iter().map(read_line).collect()
        })
    }

    pub(crate) fn audit(&mut self, rev: u32) -> Result<Vec<RepricedGroup>, StoreError> {
        self.session.transaction(Access::Snapshot, |tx| {
            let rows = tx.query(
                &format!(
                    "SELECT day, is_plan, provider, model, old_rev, n, changed, old_microusd, old_picousd,
                     new_microusd, new_picousd, old_unpriced, new_unpriced FROM callmeter.reprice_sums
                     WHERE rev = {rev} ORDER BY day, is_plan, provider, model, old_rev"
                ),
                &[],
            )?;
            rows.iter()
                .map(|row| {
                    let key = (
                        get(row, 0)?,
                        get(row, 1)?,
                        get(row, 2)?,
                        get(row, 3)?,
                        number(get(row, 4)?),
                    );
                    let mut sums = [0; SUMS];
                    for (at, sum) in sums.iter_mut().enumerate() {
                        *sum = get(row, at.saturating_add(5))?;
                    }
                    Ok(GroupSums::of_columns(sums).group(key))
                })
                .collect()
        })
    }

    /// Brings the next slice nearer to its time.
    fn adapt(&mut self, took_ns: u64) {
        if took_ns > SLICE_NS {
            self.slice = (self.slice / 2).max(1);
        } else if took_ns < SLICE_NS / 2 {
            self.slice = self.slice.saturating_mul(2).min(self.largest);
        }
    }
}

/// By which revision calls are priced.
enum Target {
    /// All by one.
    One(u32, Arc<Book>),
    /// Each by the revision of the run of calls that it lies in.
    Runs(BTreeMap<(i64, i64), u32>, HashMap<u32, Arc<Book>>),
}

impl Target {
    fn of(
        tx: &mut Tx<'_>,
        reprice: &Reprice,
        books: &mut HashMap<u32, Arc<Book>>,
    ) -> Result<Self, StoreError> {
        let Some(undone) = reprice.undoes else {
            return Ok(Self::One(reprice.rev, book_of(tx, reprice.rev, books)?));
        };
        // Those from the run on that the walk is in: of what lies before nothing is asked any more.
        let (hi, lo) = reprice.at;
        let first = tx.query_opt(
            &format!(
                "SELECT hi, lo FROM callmeter.reprice_runs WHERE rev = {undone} AND (hi, lo) <= ({hi}, {lo})
                 ORDER BY hi DESC, lo DESC LIMIT 1"
            ),
            &[],
        )?;
        let (hi, lo): (i64, i64) = match first {
            Some(row) => (get(&row, 0)?, get(&row, 1)?),
            None => (hi, lo),
        };
        let rows = tx.query(
            &format!(
                "SELECT hi, lo, old_rev FROM callmeter.reprice_runs WHERE rev = {undone} AND (hi, lo) >= ({hi}, {lo})"
            ),
            &[],
        )?;
        let mut runs = BTreeMap::new();
        let mut used = HashMap::new();
        for row in &rows {
            let rev = number(get(row, 2)?);
            runs.insert((get(row, 0)?, get(row, 1)?), rev);
            if rev != 0 && !used.contains_key(&rev) {
                used.insert(rev, book_of(tx, rev, books)?);
            }
        }
        Ok(Self::Runs(runs, used))
    }

    fn at(&self, id: CallId) -> Option<(u32, &Book)> {
        match self {
            Self::One(rev, book) => Some((*rev, book)),
            Self::Runs(runs, books) => {
                let (_, rev) = runs.range(..=(id.hi(), id.lo())).next_back()?;
                Some((*rev, books.get(rev)?))
            }
        }
    }
}

fn book_of(
    tx: &mut Tx<'_>,
    rev: u32,
    books: &mut HashMap<u32, Arc<Book>>,
) -> Result<Arc<Book>, StoreError> {
    if let Some(book) = books.get(&rev) {
        return Ok(Arc::clone(book));
    }
    let book = books::load_revision(tx, rev)?.book;
    books.insert(rev, Arc::clone(&book));
    Ok(book)
}

/// Which calls are still to be looked at; `None` when there can be none.
fn meant(tx: &mut Tx<'_>, reprice: &Reprice) -> Result<Option<Condition>, StoreError> {
    let Some(mut condition) = Condition::of(tx, &reprice.filter)? else {
        return Ok(None);
    };
    let (hi, lo) = reprice.at;
    // The first part alone is what the planner can choose partitions by.
    condition.and(&format!("hi >= {hi} AND (hi, lo) > ({hi}, {lo})"));
    match reprice.undoes {
        Some(undone) => {
            condition.and(&format!("book_rev = {undone}"));
            if let Some(done) = line(tx, undone, "")? {
                let (hi, lo) = done.at;
                condition.and(&format!("hi <= {hi} AND (hi, lo) <= ({hi}, {lo})"));
            }
        }
        None => {
            condition.and(&format!("coalesce(book_rev, 0) < {}", reprice.rev));
            if !reprice.is_all {
                condition.and("unpriced_reason IS NOT NULL");
            }
        }
    }
    Ok(Some(condition))
}

/// Locks the calls that come next, and reads them in the order of their ids.
fn next_calls(
    tx: &mut Tx<'_>,
    names: &mut Names,
    reprice: &Reprice,
    limit: u32,
) -> Result<Vec<StoredCall>, StoreError> {
    let Some(condition) = meant(tx, reprice)? else {
        return Ok(Vec::new());
    };
    let sql = format!(
        "SELECT {} FROM callmeter.calls AS c {} ORDER BY c.hi, c.lo LIMIT {limit} FOR UPDATE OF c",
        columns::select_list(),
        condition.sql
    );
    let params: Vec<_> = condition.texts.iter().map(text).collect();
    let rows = tx.query(&sql, &params)?;
    let mut calls = columns::read_all(tx, names, &rows)?;
    calls.sort_by_key(|call| call.record.call_id);
    Ok(calls)
}

/// Ends a reprice that found no call, unless those that it found were merged while it waited for them.
fn end_unless_more(tx: &mut Tx<'_>, reprice: &Reprice, now: Timestamp) -> Result<bool, StoreError> {
    if let Some(condition) = meant(tx, reprice)? {
        let sql = format!(
            "SELECT 1 FROM callmeter.calls AS c {} LIMIT 1",
            condition.sql
        );
        let params: Vec<_> = condition.texts.iter().map(text).collect();
        if tx.query_opt(&sql, &params)?.is_some() {
            return Ok(true);
        }
    }
    tx.batch(&format!(
        "UPDATE callmeter.reprices SET ended_at = {} WHERE rev = {}",
        now.as_micros(),
        reprice.rev
    ))?;
    Ok(false)
}

/// What a slice works with.
struct Slice<'a> {
    zone: &'a AccountingZone,
    kinds: &'a ProviderKinds,
    names: &'a mut Names,
    tally: Tally,
    changes: Changes,
}

impl Slice<'_> {
    /// Prices and writes calls; gives the runs that begin among them.
    fn write(
        &mut self,
        tx: &mut Tx<'_>,
        reprice: &Reprice,
        target: &Target,
        calls: Vec<StoredCall>,
    ) -> Result<Vec<Run>, StoreError> {
        let mut runs = Vec::new();
        let mut last_run = last_run(tx, reprice.rev)?;
        let mut anew = Vec::with_capacity(calls.len());
        for stored in calls {
            let id = stored.record.call_id;
            let Some((rev, book)) = target.at(id) else {
                continue;
            };
            let (cost, flags) = price_anew(book, self.kinds, rev, &stored);
            let old_rev = stored.cost.book_rev.unwrap_or(0);
            if last_run != Some(old_rev) {
                runs.push((id, old_rev));
                last_run = Some(old_rev);
            }
            self.tally.add(self.zone, &stored, &cost);
            let mut record = stored.record.clone();
            record.flags.insert(flags);
            anew.push((stored, record, cost));
        }
        let records = anew.iter().map(|(_, record, _)| record);
        let prices = anew
            .iter()
            .filter_map(|(_, _, cost)| cost.price_id.as_deref());
        if !self.names.knows(records.clone(), prices.clone()) {
            self.names.learn(tx, records, prices)?;
        }
        let mut rows = columns::Rows::with_capacity(anew.len());
        for (stored, record, cost) in &anew {
            let numbers = self.names.numbers(record)?;
            let price = cost.price_id.as_deref();
            let price = price
                .map(|id| self.names.number(NameKind::Price, id))
                .transpose()?;
            let mut ext = Vec::with_capacity(64);
            let row = call::to_columns(&numbers, record, cost, price, &mut ext);
            rows.push(&row, ext)?;
            if cost.cost != stored.cost.cost {
                let old = (&stored.record, &stored.cost);
                self.changes.add(self.zone, &numbers, old, -1)?;
                self.changes.add(self.zone, &numbers, (record, cost), 1)?;
            }
        }
        rows.update(tx)?;
        Ok(runs)
    }
}
