//! The questions that are asked of an embedded store, on a connection that cannot write.
//!
//! Reports come from the rollups and are exact; only the edges of a range that begins or ends within an
//! accounting day are summed from rows. Lists follow an index and read a bounded page.

mod calls;
mod report;
mod walk;

use std::path::{Path, PathBuf};

use callmeter_core::CallId;
use rusqlite::{Connection, OptionalExtension};

use super::columns;
use super::names::Names;
use super::{books, schema};
use crate::asked;
use crate::call::StoredCall;
use crate::{AccountingZone, StoreError, StoreFacts};

/// An embedded store, opened for reading.
pub struct SqliteReader {
    path: PathBuf,
    conn: Connection,
    names: Names,
    zone: AccountingZone,
}

impl std::fmt::Debug for SqliteReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteReader")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl SqliteReader {
    /// Opens a store for reading.
    ///
    /// # Errors
    /// When there is none, the file is something else, or it needs a newer callmeter.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let conn = schema::open_reader(path)?;
        let zone: String =
            conn.query_row("SELECT accounting_zone FROM about", [], |row| row.get(0))?;
        Ok(Self {
            path: path.to_owned(),
            conn,
            names: Names::default(),
            zone: AccountingZone::named(&zone)?,
        })
    }

    /// The zone of the store's accounting days.
    pub fn zone(&self) -> &AccountingZone {
        &self.zone
    }

    /// What the store says of itself.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn facts(&self) -> Result<StoreFacts, StoreError> {
        let one = |sql: &str| self.conn.query_row(sql, [], |row| row.get::<_, i64>(0));
        let newest = self
            .conn
            .query_row(
                "SELECT hi, lo FROM calls ORDER BY hi DESC, lo DESC LIMIT 1",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        let size = one("PRAGMA page_count")?.saturating_mul(one("PRAGMA page_size")?);
        Ok(StoreFacts {
            format: one("SELECT format FROM about")?,
            accounting_zone: self.zone.name().to_owned(),
            book: books::newest(&self.conn)?,
            calls: one("SELECT ifnull(sum(n), 0) FROM roll_day")?.cast_unsigned(),
            newest: newest
                .and_then(|(hi, lo)| CallId::from_halves(hi, lo))
                .map(CallId::started_at),
            rejected: one("SELECT count(*) FROM rejected")?.cast_unsigned(),
            size_bytes: size.cast_unsigned(),
        })
    }

    /// Asks in SQL; each row is a JSON object.
    ///
    /// # Errors
    /// When the question is no single `SELECT` that the store understands, or it cannot be read.
    pub fn query(&self, sql: &str) -> Result<Vec<String>, StoreError> {
        asked::ask_sqlite(&self.conn, sql)
    }

    /// The call of an id.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find(&mut self, id: CallId) -> Result<Option<StoredCall>, StoreError> {
        columns::find(&self.conn, &mut self.names, id)
    }

    /// The calls whose id has the time half `hi`: nearly always one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find_by_moment(&mut self, hi: i64) -> Result<Vec<StoredCall>, StoreError> {
        let mut statement = self
            .conn
            .prepare_cached(columns::select_calls!("WHERE hi = ?1"))?;
        let mut rows = statement.query([hi])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(columns::read(&self.conn, &mut self.names, row)?);
        }
        Ok(found)
    }
}
