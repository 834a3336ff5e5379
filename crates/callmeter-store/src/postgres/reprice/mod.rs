//! Reprices on PostgreSQL: see [`crate::reprice`].
//!
//! A slice takes the locks in the order of a batch: the book's, then the line of the reprice, then its calls in the
//! order of their ids, then the rollups'. So it waits for batches and they for it, and nothing can deadlock.

mod audit;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use callmeter_core::{Clock, Timestamp};
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
use crate::question::Filter;
use crate::reprice::{
    BEFORE_ALL, Before, GroupSums, Pace, Reprice, RepriceError, RepriceQuery, RepricedGroup, SUMS,
    Tally, Target, first_open, price_anew,
};
use crate::rollup::{Admission, Changes};
use crate::{AccountingZone, PostgresUrl, StoreError, StoredCall};

/// Calls of the first slice, the most of any, and how long one shall take: half of the 100 ms for which the rollups
/// may be locked, because a commit takes as long as the disk does.
const PACE: Pace = Pace::new(500, 5_000, 50_000_000);
/// How many calls a slice of an undo looks through for each that it may change.
const WINDOW: u32 = 4;
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
    pace: Pace,
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
            pace: PACE,
            books: HashMap::new(),
        })
    }

    pub(crate) fn set_slice(&mut self, calls: u32) {
        self.pace.set_most(calls);
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
            // Also calls that nobody asked for may have been priced by it, at the door.
            let filter = Filter {
                since: first_open(closed_until, zone),
                ..Filter::default()
            };
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
        let limit = self.pace.calls();
        let (zone, kinds, books) = (&self.zone, &self.kinds, &mut self.books);
        let (names, admission) = (&mut self.names, &mut self.admission);
        let done = self.session.transaction(Access::Write, |tx| {
            tx.batch(&Lock::Book.shared_sql())?;
            About::read(tx)?.check_writable(tx)?;
            let reprice = line(tx, rev, "FOR UPDATE")?.ok_or(RepriceError::Unknown { rev })?;
            if reprice.ended_at.is_some() {
                return Ok(false);
            }
            let target = target_of(tx, &reprice, books)?;
            let end = window_end(tx, &reprice, limit)?;
            let calls = next_calls(tx, names, &reprice, end, limit)?;
            let Some(last) = calls.last().map(|call| call.record.call_id) else {
                return go_on_or_end(tx, &reprice, end, now);
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
                self.pace.took(took);
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
}

/// By which revision each call is priced.
fn target_of(
    tx: &mut Tx<'_>,
    reprice: &Reprice,
    books: &mut HashMap<u32, Arc<Book>>,
) -> Result<Target, StoreError> {
    let own = (reprice.rev, book_of(tx, reprice.rev, books)?);
    let Some(undone) = reprice.undoes else {
        return Ok(Target::One(own.0, own.1));
    };
    let last = line(tx, undone, "")?.map_or(BEFORE_ALL, |undone| undone.at);
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
    Ok(Target::Before(Before {
        runs,
        last,
        books: used,
        own,
    }))
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

/// Up to which first half of an id a slice of an undo looks, `None` for to the end: so many calls further on, whether
/// they are meant or not. Without it each slice would search all partitions that are ahead for their first call of
/// the revision, of which the planner knows nothing.
fn window_end(tx: &mut Tx<'_>, reprice: &Reprice, limit: u32) -> Result<Option<i64>, StoreError> {
    if reprice.undoes.is_none() {
        return Ok(None);
    }
    let Some(mut condition) = Condition::of(tx, &reprice.filter)? else {
        return Ok(None);
    };
    condition.and(&format!("hi >= {}", reprice.at.0));
    let sql = format!(
        "SELECT hi FROM callmeter.calls AS c {} ORDER BY hi, lo OFFSET {} LIMIT 1",
        condition.sql,
        limit.saturating_mul(WINDOW)
    );
    let params: Vec<_> = condition.texts.iter().map(text).collect();
    let row = tx.query_opt(&sql, &params)?;
    row.map(|row| get(&row, 0)).transpose()
}

/// Which calls are still to be looked at, those of a window alone if it has an end; `None` when there can be none.
fn meant(
    tx: &mut Tx<'_>,
    reprice: &Reprice,
    end: Option<i64>,
) -> Result<Option<Condition>, StoreError> {
    let Some(mut condition) = Condition::of(tx, &reprice.filter)? else {
        return Ok(None);
    };
    if let Some(end) = end {
        condition.and(&format!("hi <= {end}"));
    }
    let (hi, lo) = reprice.at;
    // The first part alone is what the planner can choose partitions by.
    condition.and(&format!("hi >= {hi} AND (hi, lo) > ({hi}, {lo})"));
    match reprice.undoes {
        Some(undone) => condition.and(&format!("book_rev = {undone}")),
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
    end: Option<i64>,
    limit: u32,
) -> Result<Vec<StoredCall>, StoreError> {
    let Some(condition) = meant(tx, reprice, end)? else {
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

/// Goes to the next window, or ends a reprice that has none, unless the calls that were found were merged while it
/// waited for them; says whether there is more.
fn go_on_or_end(
    tx: &mut Tx<'_>,
    reprice: &Reprice,
    end: Option<i64>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    if let Some(condition) = meant(tx, reprice, end)? {
        let sql = format!(
            "SELECT 1 FROM callmeter.calls AS c {} LIMIT 1",
            condition.sql
        );
        let params: Vec<_> = condition.texts.iter().map(text).collect();
        if tx.query_opt(&sql, &params)?.is_some() {
            return Ok(true);
        }
    }
    let rev = reprice.rev;
    let step = match end {
        Some(hi) => format!("at_hi = {hi}, at_lo = {}", i64::MAX),
        None => format!("ended_at = {}", now.as_micros()),
    };
    tx.batch(&format!(
        "UPDATE callmeter.reprices SET {step} WHERE rev = {rev}"
    ))?;
    Ok(end.is_some())
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
            let (rev, book) = target.of(id);
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
