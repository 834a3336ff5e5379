//! What `callmeter migrate` does: makes the schema, sees to the partitions, says how they stand.
//!
//! One at a time in a database, under a lock; each step is one transaction. Additive inside a major version: a
//! step adds tables and columns, and an older build goes on writing those that it knows.

use std::sync::Arc;

use callmeter_core::{Clock, SinkErrorKind, Timestamp};
use callmeter_price::Book;

use super::books;
use super::connect::{Access, Limits, Session, Tx, int8, text};
use super::partitions::{self, Month, PartitionChanges};
use super::schema::{About, FORMAT, Lock, MIN_FORMAT, SCHEMA, SCHEMA_2, get};
use crate::door::{MIN_RAW_DAYS, StoreOptions};
use crate::{AccountingZone, PostgresUrl, ServerError, StoreError};

/// How a store on PostgreSQL stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchemaStatus {
    /// The schema that the database has; `None` when it has no store.
    pub format: Option<i64>,
    /// The schema that this build knows.
    pub known: i64,
    /// The zone of its accounting days.
    pub accounting_zone: Option<String>,
    /// How many months from this one on have a partition.
    pub months_ahead: i64,
    /// The oldest month that has one, as `2026-11`.
    pub oldest_month: Option<String>,
    /// How many rows wait in the default partition for a month of their own.
    pub rows_in_default: u64,
    /// The version of the server.
    pub server: String,
}

/// What `migrate` did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migrated {
    /// Whether the schema was made.
    pub is_made: bool,
    /// The format that the schema had, if it was an older one and was brought up.
    pub upgraded_from: Option<i64>,
    /// What was done to partitions.
    pub partitions: PartitionChanges,
}

/// Whoever makes and keeps the schema of a store on PostgreSQL.
pub struct PostgresSchema {
    session: Session,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for PostgresSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresSchema")
            .field("store", &self.session.shown())
            .finish_non_exhaustive()
    }
}

impl PostgresSchema {
    /// Prepares; nothing is connected yet.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub fn new(url: &PostgresUrl, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let mut session = Session::of_process(url)?;
        session.set_limits(Limits {
            statement: std::time::Duration::from_secs(600),
            ..Limits::default()
        });
        Ok(Self { session, clock })
    }

    /// Makes the schema where there is none, and sees to the partitions. Changes nothing that is right already.
    ///
    /// # Errors
    /// When the role may not, the database has another encoding than UTF-8, or its schema is newer.
    pub fn migrate(&mut self, options: &StoreOptions) -> Result<Migrated, StoreError> {
        let now = self.clock.now();
        let zone = AccountingZone::named(&options.accounting_zone)?;
        let raw_days = options.raw_days.max(MIN_RAW_DAYS);
        let (is_made, upgraded_from) = self.session.transaction(Access::Write, |tx| {
            Lock::Migrate.take(tx)?;
            check_encoding(tx)?;
            match About::find(tx)? {
                Some(about) => {
                    about.check_writable(tx)?;
                    Ok((false, upgrade(tx, &about)?))
                }
                None => make(tx, zone.name(), &options.book, now).map(|()| (true, None)),
            }
        })?;
        let partitions = self.session.transaction(Access::Write, |tx| {
            Lock::Migrate.take(tx)?;
            partitions::maintain(tx, now, raw_days)
        })?;
        Ok(Migrated {
            is_made,
            upgraded_from,
            partitions,
        })
    }

    /// Sees to the partitions alone: those of the months to come are made, those beyond the horizon dropped.
    ///
    /// # Errors
    /// When the database has no store, or the role may not.
    pub fn maintain(&mut self, raw_days: u32) -> Result<PartitionChanges, StoreError> {
        let now = self.clock.now();
        self.session.transaction(Access::Write, |tx| {
            Lock::Migrate.take(tx)?;
            About::read(tx)?.check_writable(tx)?;
            partitions::maintain(tx, now, raw_days.max(MIN_RAW_DAYS))
        })
    }

    /// How the store stands.
    ///
    /// # Errors
    /// When the server cannot be reached or asked.
    pub fn status(&mut self) -> Result<SchemaStatus, StoreError> {
        let now = self.clock.now();
        self.session.transaction(Access::Snapshot, |tx| {
            let row = tx.query("SELECT current_setting('server_version')", &[])?;
            let server = row.first().map(|row| get(row, 0)).transpose()?;
            let mut status = SchemaStatus {
                format: None,
                known: FORMAT,
                accounting_zone: None,
                months_ahead: 0,
                oldest_month: None,
                rows_in_default: 0,
                server: server.unwrap_or_default(),
            };
            let Some(about) = About::find(tx)? else {
                return Ok(status);
            };
            let months = partitions::months(tx)?;
            let this = Month::of(now);
            status.months_ahead = (0..)
                .take_while(|at| months.contains(&this.plus(*at)))
                .count()
                .try_into()
                .unwrap_or(i64::MAX);
            status.oldest_month = months.first().map(|month| {
                let table = month.table();
                let name = table.strip_prefix("calls_").unwrap_or(&table);
                name.replace('_', "-")
            });
            let row = tx.query("SELECT count(*) FROM callmeter.calls_default", &[])?;
            let rows: i64 = row.first().map_or(Ok(0), |row| get(row, 0))?;
            status.rows_in_default = rows.cast_unsigned();
            status.format = Some(about.format);
            status.accounting_zone = Some(about.zone);
            Ok(status)
        })
    }

    /// The SQL that makes a store, for somebody else to run; and the rights that roles need.
    pub fn print(&self, options: &StoreOptions) -> String {
        let now = self.clock.now();
        let first = Month::of(now).plus(-1);
        let partitions: String = (0..partitions::MONTHS)
            .map(|at| partitions::create_sql(first.plus(at)))
            .collect();
        format!(
            "-- The schema of callmeter, format {FORMAT}; one transaction.\nBEGIN;\n{SCHEMA}\n{SCHEMA_2}\n{partitions}\n\
             INSERT INTO callmeter.about VALUES (1, {FORMAT}, {MIN_FORMAT}, {MIN_FORMAT}, {}, {}, {}, 0);\n\
             INSERT INTO callmeter.book_revisions VALUES (1, {}, {}, {}, '\\x{}', {});\nCOMMIT;\n\n{GRANTS}",
            quoted(&options.accounting_zone),
            now.as_micros(),
            quoted(MADE_BY),
            quoted(options.book.name()),
            quoted(options.book.version()),
            quoted(options.book.content_id()),
            hex(&crate::book::packed(&options.book)),
            now.as_micros(),
        )
    }
}

const MADE_BY: &str = concat!("callmeter ", env!("CARGO_PKG_VERSION"));

/// What roles need; partitions are reached through their parent and need nothing of their own.
const GRANTS: &str = "-- What a role needs that writes calls:
--   GRANT USAGE ON SCHEMA callmeter TO writer;
--   GRANT SELECT ON ALL TABLES IN SCHEMA callmeter TO writer;
--   GRANT INSERT ON callmeter.names, callmeter.scopes, callmeter.calls, callmeter.roll_names,
--     callmeter.roll_hour, callmeter.roll_day, callmeter.rejected, callmeter.book_revisions TO writer;
--   GRANT UPDATE ON callmeter.calls, callmeter.roll_hour, callmeter.roll_day TO writer;
--   GRANT DELETE ON callmeter.roll_hour, callmeter.roll_day TO writer;
-- one that also reprices them:
--   GRANT INSERT, UPDATE ON callmeter.reprices, callmeter.reprice_sums, callmeter.reprice_runs TO writer;
-- and one that only reads:
--   GRANT USAGE ON SCHEMA callmeter TO reader;
--   GRANT SELECT ON ALL TABLES IN SCHEMA callmeter TO reader;
-- `callmeter migrate` itself, and whoever extends partitions, must own the schema.
";

fn make(tx: &mut Tx<'_>, zone: &str, book: &Book, now: Timestamp) -> Result<(), StoreError> {
    tx.batch(SCHEMA)?;
    tx.batch(SCHEMA_2)?;
    tx.execute(
        "INSERT INTO callmeter.about VALUES (1, $1, $2, $2, $3, $4, $5, 0)",
        &[
            int8(&FORMAT),
            int8(&MIN_FORMAT),
            text(&zone),
            int8(&now.as_micros()),
            text(&MADE_BY),
        ],
    )?;
    books::append(tx, book, now)
}

/// Adds what a schema of an older format lacks; says which one it had. Builds of that format go on using it.
fn upgrade(tx: &mut Tx<'_>, about: &About) -> Result<Option<i64>, StoreError> {
    if about.format >= FORMAT {
        return Ok(None);
    }
    tx.batch(SCHEMA_2)?;
    tx.execute("UPDATE callmeter.about SET format = $1", &[int8(&FORMAT)])?;
    Ok(Some(about.format))
}

/// A database of another encoding would refuse names that others have.
fn check_encoding(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let rows = tx.query("SELECT current_setting('server_encoding')", &[])?;
    let encoding: String = rows.first().map_or(Ok(String::new()), |row| get(row, 0))?;
    if encoding == "UTF8" {
        return Ok(());
    }
    let (encoding, _) = callmeter_core::clean_text(&encoding, 30);
    let message =
        format!("postgres: the database has the encoding {encoding}, callmeter needs UTF8");
    Err(ServerError::new(SinkErrorKind::Fatal, message)
        .with_hint("create a database with ENCODING 'UTF8' TEMPLATE template0")
        .into())
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
