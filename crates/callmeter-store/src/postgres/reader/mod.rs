//! The questions that are asked of a store on PostgreSQL, each in one snapshot that writes nothing.
//!
//! Reports come from the rollups and are exact; only the edges of a range that begins or ends within an accounting
//! day are summed from rows, by the server. Lists follow an index of each partition and read a bounded page.

mod calls;
mod report;
mod walk;

use callmeter_core::{CallId, Timestamp};

use super::connect::{Access, Session, Tx};
use super::names::Names;
use super::schema::{About, get};
use super::{books, columns};
use crate::asked;
use crate::call::StoredCall;
use crate::{AccountingZone, PostgresUrl, StoreError, StoreFacts};

/// A store on PostgreSQL, opened for reading.
pub struct PostgresReader {
    session: Session,
    names: Names,
    zone: AccountingZone,
}

impl std::fmt::Debug for PostgresReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresReader")
            .field("store", &self.session.shown())
            .finish_non_exhaustive()
    }
}

/// One question: a transaction, and what is remembered of names.
struct Asking<'a, 't> {
    tx: &'a mut Tx<'t>,
    names: &'a mut Names,
    zone: &'a AccountingZone,
}

impl PostgresReader {
    /// Opens the store at `url` for reading.
    ///
    /// # Errors
    /// When the server cannot be reached, has no store, or one that needs a newer callmeter.
    pub fn open(url: &PostgresUrl) -> Result<Self, StoreError> {
        let mut session = Session::of_process(url)?;
        let zone = session.transaction(Access::Snapshot, |tx| {
            let about = About::read(tx)?;
            about.check_readable(tx)?;
            about.zone()
        })?;
        Ok(Self {
            session,
            names: Names::default(),
            zone,
        })
    }

    /// The zone of the store's accounting days.
    pub fn zone(&self) -> &AccountingZone {
        &self.zone
    }

    fn ask<T>(
        &mut self,
        question: impl FnOnce(&mut Asking<'_, '_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let (names, zone) = (&mut self.names, &self.zone);
        self.session.transaction(Access::Snapshot, |tx| {
            question(&mut Asking { tx, names, zone })
        })
    }

    /// Asks in SQL; each row is a JSON object.
    ///
    /// # Errors
    /// When the question is no single `SELECT` that the store understands, or it cannot be read.
    pub fn query(&mut self, sql: &str) -> Result<Vec<String>, StoreError> {
        let sql = asked::of_postgres(sql, true);
        self.ask(|asking| {
            let rows = asking.tx.query(&sql, &[])?;
            rows.iter().map(|row| get(row, 0)).collect()
        })
    }

    /// What the store says of itself.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn facts(&mut self) -> Result<StoreFacts, StoreError> {
        self.ask(|asking| {
            let about = About::read(asking.tx)?;
            let newest = asking.tx.query_opt(
                "SELECT hi, lo FROM callmeter.calls ORDER BY hi DESC, lo DESC LIMIT 1",
                &[],
            )?;
            let newest = newest
                .map(|row| Ok::<_, StoreError>((get(&row, 0)?, get(&row, 1)?)))
                .transpose()?;
            Ok(StoreFacts {
                format: about.format,
                accounting_zone: about.zone,
                book: books::newest(asking.tx)?,
                calls: asking
                    .one("SELECT coalesce(sum(n), 0)::bigint FROM callmeter.roll_day")?
                    .cast_unsigned(),
                newest: newest
                    .and_then(|(hi, lo)| CallId::from_halves(hi, lo))
                    .map(CallId::started_at),
                rejected: asking
                    .one("SELECT count(*) FROM callmeter.rejected")?
                    .cast_unsigned(),
                size_bytes: asking
                    .one(
                        "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
                         WHERE relnamespace = 'callmeter'::regnamespace AND relkind = 'r'",
                    )?
                    .cast_unsigned(),
            })
        })
    }

    /// The call of an id.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find(&mut self, id: CallId) -> Result<Option<StoredCall>, StoreError> {
        let (hi, lo) = (id.hi(), id.lo());
        let rest = format!("WHERE c.hi = {hi} AND c.lo = {lo}");
        let found = self.ask(|asking| asking.select(&rest, &[]))?;
        Ok(found.into_iter().next())
    }

    /// The calls whose id has the time half `hi`: nearly always one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find_by_moment(&mut self, hi: i64) -> Result<Vec<StoredCall>, StoreError> {
        self.ask(|asking| asking.select(&format!("WHERE c.hi = {hi} ORDER BY c.lo"), &[]))
    }

    /// When the oldest call that is still there started; its raw row, not its share of the rollups.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn oldest(&mut self) -> Result<Option<Timestamp>, StoreError> {
        self.ask(|asking| {
            let row = asking.tx.query_opt(
                "SELECT hi, lo FROM callmeter.calls ORDER BY hi, lo LIMIT 1",
                &[],
            )?;
            let halves = row
                .map(|row| Ok::<_, StoreError>((get(&row, 0)?, get(&row, 1)?)))
                .transpose()?;
            Ok(halves
                .and_then(|(hi, lo)| CallId::from_halves(hi, lo))
                .map(CallId::started_at))
        })
    }
}

impl Asking<'_, '_> {
    fn one(&mut self, sql: &str) -> Result<i64, StoreError> {
        let row = self.tx.query_opt(sql, &[])?;
        row.map_or(Ok(0), |row| get(&row, 0))
    }

    /// Calls, by what follows the table's alias.
    fn select(&mut self, rest: &str, texts: &[String]) -> Result<Vec<StoredCall>, StoreError> {
        let sql = format!(
            "SELECT {} FROM callmeter.calls AS c {rest}",
            columns::select_list()
        );
        self.select_by(&sql, texts)
    }

    fn select_by(&mut self, sql: &str, texts: &[String]) -> Result<Vec<StoredCall>, StoreError> {
        let params: Vec<_> = texts.iter().map(super::connect::text).collect();
        let rows = self.tx.query(sql, &params)?;
        columns::read_all(self.tx, self.names, &rows)
    }
}
