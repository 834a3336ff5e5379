//! Reprices of the embedded store: see [`crate::reprice`].
//!
//! Which calls come next is read beside the writers; a slice locks them out only while it changes those, for
//! about half of the 50 ms that a transaction may take, and looks at each call again before it does.

mod audit;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callmeter_core::{CallId, Clock};
use callmeter_price::{Book, ProviderKinds};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use self::audit::{LINE, Runs, check_none_is_open, insert_line, keep, line, read_line};
use super::condition::Condition;
use super::names::Names;
use super::{books, columns, rollup, schema};
use crate::door::StoreOptions;
use crate::question::Filter;
use crate::reprice::{
    BEFORE_ALL, Before, GroupSums, Pace, Reprice, RepriceError, RepriceQuery, RepricedGroup, Tally,
    Target, first_open, price_anew,
};
use crate::rollup::{Admission, Changes};
use crate::{AccountingZone, StoreError};

/// Calls of the first slice, the most of any, and how long one shall take.
const PACE: Pace = Pace::new(200, 5_000, 20_000_000);

/// Whoever reprices an embedded store.
pub(crate) struct SqliteRepricer {
    path: PathBuf,
    conn: Connection,
    clock: Arc<dyn Clock>,
    zone: AccountingZone,
    kinds: ProviderKinds,
    names: Names,
    admission: Admission,
    ext: Vec<u8>,
    pace: Pace,
    books: HashMap<u32, Arc<Book>>,
}

impl std::fmt::Debug for SqliteRepricer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteRepricer")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl SqliteRepricer {
    pub(crate) fn open(
        path: &Path,
        options: StoreOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        // A store that is not there is not made for this.
        drop(schema::open_reader(path)?);
        let now = clock.now();
        let conn = schema::open_writer(path, options.group_access, "UTC", now, |_| Ok(()))?;
        let tx = Transaction::new_unchecked(&conn, TransactionBehavior::Immediate)?;
        books::refresh(&tx, now)?;
        tx.commit()?;
        let zone: String =
            conn.query_row("SELECT accounting_zone FROM about", [], |row| row.get(0))?;
        Ok(Self {
            path: path.to_owned(),
            conn,
            clock,
            zone: AccountingZone::named(&zone)?,
            kinds: options.providers,
            names: Names::default(),
            admission: Admission::default(),
            ext: Vec::with_capacity(512),
            pace: PACE,
            books: HashMap::new(),
        })
    }

    pub(crate) fn set_slice(&mut self, calls: u32) {
        self.pace.set_most(calls);
    }

    pub(crate) fn begin(&mut self, query: &RepriceQuery) -> Result<Reprice, StoreError> {
        let now = self.clock.now();
        let tx = Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate)?;
        schema::check_writable(&tx, &self.path)?;
        check_none_is_open(&tx)?;
        match &query.book {
            Some(book) => books::append(&tx, book, now)?,
            None => books::append_again(&tx, books::newest_number(&tx)?, now)?,
        }
        let reprice = Reprice {
            rev: books::newest_number(&tx)?,
            undoes: None,
            is_all: query.is_all,
            filter: query.open_days(&self.zone),
            closed_until: query.closed_until,
            asked_by: query.asked_by.clone(),
            began_at: now,
            ended_at: None,
            looked_at: 0,
            changed: 0,
            at: BEFORE_ALL,
        };
        insert_line(&tx, &reprice)?;
        tx.commit()?;
        Ok(reprice)
    }

    pub(crate) fn begin_undo(
        &mut self,
        rev: u32,
        closed_until: Option<i64>,
        asked_by: &str,
    ) -> Result<Reprice, StoreError> {
        let now = self.clock.now();
        let tx = Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate)?;
        schema::check_writable(&tx, &self.path)?;
        let undone = line(&tx, rev)?.ok_or(RepriceError::Unknown { rev })?;
        if let Some(undoes) = undone.undoes {
            return Err(RepriceError::IsUndo { rev, undoes }.into());
        }
        let by: Option<u32> = tx
            .query_row("SELECT rev FROM reprices WHERE undoes = ?1", [rev], |row| {
                row.get(0)
            })
            .optional()?;
        if let Some(by) = by {
            return Err(RepriceError::Undone { rev, by }.into());
        }
        tx.execute(
            "UPDATE reprices SET ended_at = ?2 WHERE rev = ?1 AND ended_at IS NULL",
            (rev, now.as_micros()),
        )?;
        check_none_is_open(&tx)?;
        let newest = books::newest_number(&tx)?;
        let content = if newest == rev {
            books::before(&tx, rev)?
        } else {
            newest
        };
        books::append_again(&tx, content, now)?;
        // Also calls that nobody asked for may have been priced by it, at the door.
        let filter = Filter {
            since: first_open(closed_until, &self.zone),
            ..Filter::default()
        };
        let reprice = Reprice {
            rev: books::newest_number(&tx)?,
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
        insert_line(&tx, &reprice)?;
        tx.commit()?;
        Ok(reprice)
    }

    pub(crate) fn slice(&mut self, rev: u32) -> Result<bool, StoreError> {
        let reprice = line(&self.conn, rev)?.ok_or(RepriceError::Unknown { rev })?;
        if reprice.ended_at.is_some() {
            return Ok(false);
        }
        let target = self.target_of(&reprice)?;
        let ids = self.next_ids(&reprice)?;
        let began = self.clock.monotonic_ns();
        let done = self.write_slice(&reprice, &target, &ids);
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
        let sql = format!("SELECT {LINE} FROM reprices ORDER BY rev DESC");
        let mut statement = self.conn.prepare(&sql)?;
        let lines = statement.query_map([], read_line)?;
        Ok(lines.collect::<Result<Vec<_>, _>>()?)
    }

    pub(crate) fn audit(&mut self, rev: u32) -> Result<Vec<RepricedGroup>, StoreError> {
        let mut statement = self.conn.prepare(
            "SELECT day, is_plan, provider, model, old_rev, n, changed, old_microusd, old_picousd,
             new_microusd, new_picousd, old_unpriced, new_unpriced FROM reprice_sums WHERE rev = ?1
             ORDER BY day, is_plan, provider, model, old_rev",
        )?;
        let groups = statement.query_map([rev], |row| {
            let key = (
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(4)?,
            );
            let mut sums = [0; crate::reprice::SUMS];
            for (at, sum) in sums.iter_mut().enumerate() {
                *sum = row.get(at + 5)?;
            }
            Ok(GroupSums::of_columns(sums).group(key))
        })?;
        Ok(groups.collect::<Result<Vec<_>, _>>()?)
    }

    /// By which revision each call is priced.
    fn target_of(&mut self, reprice: &Reprice) -> Result<Target, StoreError> {
        let own = (reprice.rev, self.book(reprice.rev)?);
        let Some(undone) = reprice.undoes else {
            return Ok(Target::One(own.0, own.1));
        };
        let last = line(&self.conn, undone)?.map_or(BEFORE_ALL, |undone| undone.at);
        let mut statement = self
            .conn
            .prepare_cached("SELECT hi, lo, old_rev FROM reprice_runs WHERE rev = ?1")?;
        let runs = statement
            .query_map([undone], |row| {
                Ok(((row.get(0)?, row.get(1)?), row.get::<_, u32>(2)?))
            })?
            .collect::<Result<BTreeMap<_, _>, _>>()?;
        drop(statement);
        let mut revisions: Vec<u32> = runs.values().copied().filter(|rev| *rev != 0).collect();
        revisions.sort_unstable();
        revisions.dedup();
        let mut books = HashMap::new();
        for rev in revisions {
            books.insert(rev, self.book(rev)?);
        }
        Ok(Target::Before(Before {
            runs,
            last,
            books,
            own,
        }))
    }

    fn book(&mut self, rev: u32) -> Result<Arc<Book>, StoreError> {
        if let Some(book) = self.books.get(&rev) {
            return Ok(Arc::clone(book));
        }
        let book = books::load_revision(&self.conn, rev)?.book;
        self.books.insert(rev, Arc::clone(&book));
        Ok(book)
    }

    /// The calls that come next.
    fn next_ids(&self, reprice: &Reprice) -> Result<Vec<(i64, i64)>, StoreError> {
        let Some(mut condition) = Condition::of(&self.conn, &reprice.filter)? else {
            return Ok(Vec::new());
        };
        condition.and(
            "(hi, lo) > (?, ?)",
            [reprice.at.0.into(), reprice.at.1.into()],
        );
        match reprice.undoes {
            Some(undone) => condition.and("book_rev = ?", [undone.into()]),
            None => {
                condition.and("ifnull(book_rev, 0) < ?", [reprice.rev.into()]);
                if !reprice.is_all {
                    condition.and("unpriced_reason IS NOT NULL", []);
                }
            }
        }
        let sql = format!(
            "SELECT hi, lo FROM calls {} ORDER BY hi, lo LIMIT ?",
            condition.sql
        );
        condition.values.push(self.pace.calls().into());
        let mut statement = self.conn.prepare_cached(&sql)?;
        let ids = statement.query_map(rusqlite::params_from_iter(condition.values), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        Ok(ids.collect::<Result<Vec<_>, _>>()?)
    }

    /// Changes the calls of `ids`, if nobody else went further meanwhile; says whether there is more.
    fn write_slice(
        &mut self,
        seen: &Reprice,
        target: &Target,
        ids: &[(i64, i64)],
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let tx = Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate)?;
        schema::check_writable(&tx, &self.path)?;
        let reprice = line(&tx, seen.rev)?.ok_or(RepriceError::Unknown { rev: seen.rev })?;
        if reprice.ended_at.is_some() {
            return Ok(false);
        }
        if reprice.at != seen.at {
            return Ok(true);
        }
        let Some(last) = ids.last() else {
            tx.execute(
                "UPDATE reprices SET ended_at = ?2 WHERE rev = ?1",
                (reprice.rev, now.as_micros()),
            )?;
            tx.commit()?;
            return Ok(false);
        };
        let mut tally = Tally::default();
        let mut changes = Changes::default();
        let mut runs = Runs::after(&tx, reprice.rev)?;
        for (hi, lo) in ids {
            let Some(id) = CallId::from_halves(*hi, *lo) else {
                continue;
            };
            let Some(stored) = columns::find(&tx, &mut self.names, id)? else {
                continue;
            };
            if !is_still_meant(&reprice, stored.cost.book_rev) {
                continue;
            }
            let (rev, book) = target.of(id);
            let (cost, flags) = price_anew(book, &self.kinds, rev, &stored);
            let mut record = stored.record.clone();
            record.flags.insert(flags);
            let numbers = columns::numbers_of(&tx, &mut self.names, &record)?;
            columns::write_cost(
                &tx,
                &mut self.names,
                &numbers,
                &record,
                &cost,
                &mut self.ext,
            )?;
            if cost.cost != stored.cost.cost {
                changes.add(&self.zone, &numbers, (&stored.record, &stored.cost), -1)?;
                changes.add(&self.zone, &numbers, (&record, &cost), 1)?;
            }
            runs.add(&tx, id, stored.cost.book_rev.unwrap_or(0))?;
            tally.add(&self.zone, &stored, &cost);
        }
        rollup::apply(changes, &tx, &mut self.admission)?;
        keep(&tx, reprice.rev, &tally)?;
        tx.prepare_cached(
            "UPDATE reprices SET at_hi = ?2, at_lo = ?3, looked_at = looked_at + ?4, changed = changed + ?5
             WHERE rev = ?1",
        )?
        .execute((reprice.rev, last.0, last.1, tally.looked_at, tally.changed))?;
        tx.commit()?;
        Ok(true)
    }
}

/// Whether a call is still to be looked at: it may have been merged since it was found.
fn is_still_meant(reprice: &Reprice, rev: Option<u32>) -> bool {
    match reprice.undoes {
        Some(undone) => rev == Some(undone),
        None => rev.unwrap_or(0) < reprice.rev,
    }
}
