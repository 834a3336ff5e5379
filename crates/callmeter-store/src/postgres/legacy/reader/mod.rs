//! The questions that are asked of an `ai_calls`, as far as its columns go.
//!
//! Everything is read from rows, in one snapshot a question, and is exact. Times mean what they mean in every
//! store: a call belongs to the moment at which it started, which is its row's time less its duration. A role that
//! may only SELECT will do, with or without the side table.

mod calls;
mod report;
mod walk;

use std::sync::Arc;

use callmeter_core::{CallId, Timestamp};
use callmeter_price::Book;

use super::shape::{Purpose, Shape};
use super::statements::quoted;
use super::{Side, rows};
use crate::asked;
use crate::postgres::adopt::{self, AdoptionStatus};
use crate::postgres::connect::{Access, Param, Session, Tx, int8, text};
use crate::postgres::schema::get;
use crate::{
    AccountingZone, BookRevision, Filter, PostgresUrl, StoreError, StoreFacts, StoreOptions,
    StoredCall,
};

/// A table `ai_calls`, opened for reading.
pub struct LegacyReader {
    session: Session,
    shape: Shape,
    has_side: bool,
    zone: AccountingZone,
    book: Arc<Book>,
    /// The longest duration so far, in microseconds; a scan, so it is kept.
    longest_us: Option<i64>,
}

impl std::fmt::Debug for LegacyReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LegacyReader")
            .field("store", &self.session.shown())
            .finish_non_exhaustive()
    }
}

/// The conditions of a question and their values.
#[derive(Default)]
struct Condition {
    sql: String,
    texts: Vec<String>,
    numbers: Vec<i64>,
    /// Of each parameter, whether it is a text, in their order.
    order: Vec<bool>,
}

impl Condition {
    fn and(&mut self, sql: &str) {
        self.sql.push_str(if self.sql.is_empty() {
            "WHERE "
        } else {
            " AND "
        });
        self.sql.push_str(sql);
    }

    /// The name of a new parameter.
    fn text(&mut self, value: &str) -> String {
        self.texts.push(value.to_owned());
        self.order.push(true);
        format!("${}", self.order.len())
    }

    fn number(&mut self, value: i64) -> String {
        self.numbers.push(value);
        self.order.push(false);
        format!("${}", self.order.len())
    }

    fn params(&self) -> Vec<Param<'_>> {
        let (mut texts, mut numbers) = (self.texts.iter(), self.numbers.iter());
        self.order
            .iter()
            .filter_map(|is_text| {
                if *is_text {
                    texts.next().map(text)
                } else {
                    numbers.next().map(int8)
                }
            })
            .collect()
    }
}

impl LegacyReader {
    /// Connects and reads the table's shape.
    ///
    /// # Errors
    /// When the server cannot be reached, there is no such table, or it lacks a column or a right to read.
    pub fn open(url: &PostgresUrl, options: &StoreOptions) -> Result<Self, StoreError> {
        let zone = AccountingZone::named(&options.accounting_zone)?;
        let time_column = options.time_column.as_deref();
        let mut session = Session::of_process(url)?;
        let standing = session.transaction(Access::Snapshot, |tx| {
            super::standing(tx, time_column, Purpose::Read)
        })?;
        Ok(Self {
            session,
            has_side: standing.side == Side::Ready,
            shape: standing.shape,
            zone,
            book: Arc::clone(&options.book),
            longest_us: None,
        })
    }

    /// The zone of accounting days, as the settings name it.
    pub fn zone(&self) -> &AccountingZone {
        &self.zone
    }

    /// Asks in SQL; each row is a JSON object.
    ///
    /// # Errors
    /// When the question is no single `SELECT` that the store understands, or it cannot be read.
    pub fn query(&mut self, sql: &str) -> Result<Vec<String>, StoreError> {
        let sql = asked::of_postgres(sql, false);
        self.session.transaction(Access::Snapshot, |tx| {
            let rows = tx.query(&sql, &[])?;
            rows.iter().map(|row| get(row, 0)).collect()
        })
    }

    /// What the table says of itself.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn facts(&mut self) -> Result<StoreFacts, StoreError> {
        let shape = &self.shape;
        let newest = format!(
            "SELECT {} FROM {} WHERE t.{time} IS NOT NULL ORDER BY t.{time} DESC LIMIT 1",
            started_us(shape),
            rows::joined(shape, self.has_side),
            time = quoted(&shape.time)
        );
        let size = format!(
            "SELECT pg_total_relation_size(to_regclass($1)), (SELECT count(*) FROM {})",
            shape.table()
        );
        let table = shape.table();
        let (newest, counts) = self.session.transaction(Access::Snapshot, |tx| {
            let newest = tx.query_opt(&newest, &[])?.map(|row| row.get(0));
            let counts = tx.query_opt(&size, &[text(&table)])?;
            Ok((newest, counts.map(|row| (row.get(0), row.get(1)))))
        })?;
        let (size, calls): (Option<i64>, i64) = counts.unwrap_or_default();
        Ok(StoreFacts {
            format: 0,
            accounting_zone: self.zone.name().to_owned(),
            book: BookRevision {
                number: 1,
                name: self.book.name().to_owned(),
                version: self.book.version().to_owned(),
            },
            calls: calls.cast_unsigned(),
            newest: newest.map(Timestamp::from_micros),
            rejected: 0,
            size_bytes: size.unwrap_or(0).cast_unsigned(),
        })
    }

    /// How far the adoption of the table is.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn adoption(&mut self) -> Result<AdoptionStatus, StoreError> {
        let shape = &self.shape;
        self.session
            .transaction(Access::Snapshot, |tx| adopt::of_shape(tx, shape))
    }

    /// The filter in SQL; `None` when it asks for what the table has no column of.
    fn condition(&self, filter: &Filter) -> Option<Condition> {
        if filter.project.is_some() || filter.team.is_some() || filter.cost_source.is_some() {
            return None;
        }
        let shape = &self.shape;
        let mut condition = Condition::default();
        for (sql, word) in [
            (named("caller"), &filter.caller),
            (named("provider"), &filter.provider),
            (named("model"), &filter.model),
            (status(shape), &filter.status),
        ] {
            if let Some(word) = word {
                let param = condition.text(word);
                condition.and(&format!("{sql} = {param}"));
            }
        }
        if let Some(since) = filter.since {
            let param = condition.number(since.as_micros());
            // No call ends before it started: an index on the time serves.
            condition.and(&format!(
                "t.{} >= {} AND {} >= {param}",
                quoted(&shape.time),
                rows::moment(shape, &param),
                started_us(shape)
            ));
        }
        if let Some(until) = filter.until {
            let param = condition.number(until.as_micros());
            condition.and(&format!("{} < {param}", started_us(shape)));
        }
        Some(condition)
    }

    /// The longest duration in the table.
    fn longest_us(&mut self) -> Result<i64, StoreError> {
        if let Some(longest) = self.longest_us {
            return Ok(longest);
        }
        let sql = format!(
            "SELECT coalesce(max(t.duration_ms), 0)::int8 FROM {} t",
            self.shape.table()
        );
        let longest = self.session.transaction(Access::Snapshot, |tx| {
            Ok(tx
                .query_opt(&sql, &[])?
                .map_or(0, |row| row.get::<_, i64>(0)))
        })?;
        // A millisecond more: durations are cut to whole ones.
        let longest = longest.saturating_add(1).saturating_mul(1_000);
        self.longest_us = Some(longest);
        Ok(longest)
    }

    /// The call of an id.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn find(&mut self, id: CallId) -> Result<Option<StoredCall>, StoreError> {
        if self.has_side {
            let sql = format!(
                "SELECT {} FROM {} WHERE s.hi = $1 AND s.lo = $2",
                rows::selected(&self.shape),
                rows::joined(&self.shape, true)
            );
            let (hi, lo) = (id.hi(), id.lo());
            let found = self.session.transaction(Access::Snapshot, |tx| {
                read_all(tx, &sql, &[int8(&hi), int8(&lo)])
            })?;
            if let Some(call) = found.into_iter().next() {
                return Ok(Some(call));
            }
        }
        let found = self.find_by_moment(id.hi())?;
        Ok(found.into_iter().find(|call| call.record.call_id == id))
    }

    /// The calls whose id has the time half `hi`: nearly always one.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn find_by_moment(&mut self, hi: i64) -> Result<Vec<StoredCall>, StoreError> {
        let Some(id) = CallId::from_halves(hi, 0) else {
            return Ok(Vec::new());
        };
        let started = id.started_at().as_micros();
        let latest = started.saturating_add(self.longest_us()?);
        let shape = &self.shape;
        let sql = format!(
            "SELECT {} FROM {} WHERE t.{time} >= {} AND t.{time} <= {} AND {} = $1",
            rows::selected(shape),
            rows::joined(shape, self.has_side),
            rows::moment(shape, "$1"),
            rows::moment(shape, "$2"),
            started_us(shape),
            time = quoted(&shape.time),
        );
        self.session.transaction(Access::Snapshot, |tx| {
            read_all(tx, &sql, &[int8(&started), int8(&latest)])
        })
    }

    /// The calls that carry `id` as their request id, or whose row has it, the newest first.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn find_by_foreign_id(&mut self, id: &str) -> Result<Vec<StoredCall>, StoreError> {
        let shape = &self.shape;
        let row_id = id.strip_prefix("ai_calls/").unwrap_or_default().to_owned();
        let sql = format!(
            "SELECT {} FROM {} WHERE t.request_id::text = $1 OR t.{}::text = $2",
            rows::selected(shape),
            rows::joined(shape, self.has_side),
            quoted(&shape.id)
        );
        let mut found = self.session.transaction(Access::Snapshot, |tx| {
            read_all(tx, &sql, &[text(&id), text(&row_id)])
        })?;
        found.sort_by_key(|call| std::cmp::Reverse(call.record.call_id));
        Ok(found)
    }
}

fn read_all(
    tx: &mut Tx<'_>,
    sql: &str,
    params: &[Param<'_>],
) -> Result<Vec<StoredCall>, StoreError> {
    let rows = tx.query(sql, params)?;
    Ok(rows.iter().map(call_of).collect())
}

/// The call of a row, with all that the side table knows of it.
fn call_of(row: &tokio_postgres::Row) -> StoredCall {
    let (stored, record) = rows::read(row);
    let mut call = stored.to_call();
    let whole = record.and_then(|bytes| callmeter_core::CallRecord::decode(&bytes).ok());
    if let Some(whole) = whole {
        call.record = whole;
    }
    call
}

/// When a call started, in microseconds: by its id where that is known, else its row's time less its duration.
fn started_us(shape: &Shape) -> String {
    format!(
        "CASE WHEN s.hi IS NOT NULL THEN (s.hi >> 12) * 1000 + ((s.hi & 4095) * 1000 + 4095) / 4096
         ELSE {} - greatest(coalesce(t.duration_ms, 0), 0)::int8 * 1000 END",
        rows::micros(&rows::zoned(shape, "t"))
    )
}

/// A name, or `unknown`.
fn named(column: &str) -> String {
    format!("coalesce(nullif(t.{column}::text, ''), 'unknown')")
}

/// How a call really ended.
fn status(shape: &Shape) -> String {
    format!(
        "coalesce({}, nullif(t.status::text, ''), 'ok')",
        mark(shape, crate::legacy::STATUS_MARK)
    )
}

/// A key of `meta` that callmeter wrote.
fn mark(shape: &Shape, key: &str) -> String {
    let is_text = shape.meta_type() == "text";
    if is_text {
        // Whatever else the column holds need not be JSON.
        format!("CASE WHEN t.meta LIKE '%\"{key}\"%' THEN t.meta::jsonb ->> '{key}' END")
    } else {
        format!("t.meta ->> '{key}'")
    }
}
