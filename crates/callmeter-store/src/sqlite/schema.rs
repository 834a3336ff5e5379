//! Schema 2 of the embedded store, and how a file is recognised and brought up to it.
//!
//! ```text
//! about           one row: versions, accounting zone, the time half below which calls were removed
//! names, scopes   dictionaries: rows hold numbers, these hold the words
//! calls           one row a call, by the two halves of its id; `ext` holds the record's rest
//! roll_hour       sums by scope, UTC hour, provider, model, status
//! roll_day        sums by scope, accounting day and every bounded dimension
//! roll_names      which names the rollups of a scope and day know; the others are `~other`
//! book_revisions  the store's price book, every revision it ever had
//! rejected        records beyond the dedup horizon or too far ahead
//! reprices, reprice_sums, reprice_runs   the audit of reprices, since format 2
//! ```
//! `format` tells which schema the file has, `min_reader` and `min_writer` which builds may use it. A
//! file that this build may not use is left as it is.

use std::path::Path;

use callmeter_core::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};

use crate::StoreError;

/// The schema that this build makes and knows.
pub const FORMAT: i64 = 2;
/// The oldest builds that read and write it: what later formats added they leave alone.
const MIN_FORMAT: i64 = 1;
/// `clmr`: tells the file from other SQLite databases.
const APPLICATION_ID: i64 = 0x636c_6d72;
/// How long a statement waits for another writer.
const BUSY_LIMIT: std::time::Duration = std::time::Duration::from_secs(5);
const CACHED_STATEMENTS: usize = 64;

/// The units of `hi` in a UTC day: milliseconds, twelve bits up.
pub(super) const HI_PER_DAY: i64 = 86_400_000 << 12;

pub(super) const SCHEMA: &str = "
CREATE TABLE about (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  format INTEGER NOT NULL,
  min_reader INTEGER NOT NULL,
  min_writer INTEGER NOT NULL,
  accounting_zone TEXT NOT NULL,
  made_at INTEGER NOT NULL,
  made_by TEXT NOT NULL,
  kept_from INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE names (
  id INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL,
  name TEXT NOT NULL,
  UNIQUE (kind, name)
) STRICT;

CREATE TABLE scopes (
  id INTEGER PRIMARY KEY,
  project TEXT, team TEXT, cost_center TEXT, service TEXT, environment TEXT,
  billing INTEGER
) STRICT;
CREATE UNIQUE INDEX scope_by_words ON scopes (
  ifnull(project, 0), ifnull(team, 0), ifnull(cost_center, 0), ifnull(service, 0),
  ifnull(environment, 0), ifnull(billing, 0)
);

CREATE TABLE calls (
  hi INTEGER NOT NULL,
  lo INTEGER NOT NULL,
  scope INTEGER NOT NULL,
  caller INTEGER NOT NULL,
  provider INTEGER NOT NULL,
  model INTEGER NOT NULL,
  status INTEGER NOT NULL,
  fallback_to INTEGER,
  call_site INTEGER,
  host_name INTEGER,
  sdk INTEGER,
  given INTEGER NOT NULL,
  duration_us INTEGER,
  ttft_us INTEGER,
  input_tokens INTEGER,
  output_tokens INTEGER,
  cache_read_tokens INTEGER,
  cache_write_tokens INTEGER,
  reasoning_tokens INTEGER,
  cache_hit INTEGER,
  rag_hit INTEGER,
  error_kind INTEGER,
  http_status INTEGER,
  cost_picousd INTEGER,
  computed_cost_picousd INTEGER,
  unpriced_reason INTEGER,
  cost_source INTEGER,
  price INTEGER,
  price_match INTEGER,
  book_rev INTEGER,
  request_key INTEGER,
  response_key INTEGER,
  trace_key INTEGER,
  ext BLOB NOT NULL,
  PRIMARY KEY (hi, lo)
) WITHOUT ROWID, STRICT;
CREATE INDEX calls_by_caller ON calls (caller, model);
CREATE INDEX calls_by_trouble ON calls (status, hi) WHERE status <> 2;
CREATE INDEX calls_unpriced ON calls (unpriced_reason) WHERE unpriced_reason IS NOT NULL;
CREATE INDEX calls_by_request ON calls (hi / 353894400000, request_key) WHERE request_key IS NOT NULL;
CREATE INDEX calls_by_response ON calls (hi / 353894400000, response_key) WHERE response_key IS NOT NULL;
CREATE INDEX calls_by_trace ON calls (hi / 353894400000, trace_key) WHERE trace_key IS NOT NULL;

CREATE TABLE roll_hour (
  scope INTEGER NOT NULL, hour INTEGER NOT NULL, provider INTEGER NOT NULL,
  model INTEGER NOT NULL, status INTEGER NOT NULL,
  n INTEGER NOT NULL, with_usage INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
  cache_read_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL,
  reasoning_tokens INTEGER NOT NULL,
  cost_microusd INTEGER NOT NULL, cost_picousd INTEGER NOT NULL, unpriced INTEGER NOT NULL,
  cache_hits INTEGER NOT NULL, rag_hits INTEGER NOT NULL,
  timed INTEGER NOT NULL, duration_us INTEGER NOT NULL, durations BLOB NOT NULL,
  PRIMARY KEY (hour, scope, provider, model, status)
) WITHOUT ROWID, STRICT;

CREATE TABLE roll_day (
  scope INTEGER NOT NULL, day INTEGER NOT NULL, caller INTEGER NOT NULL,
  provider INTEGER NOT NULL, model INTEGER NOT NULL, status INTEGER NOT NULL,
  fallback_to INTEGER NOT NULL,
  n INTEGER NOT NULL, with_usage INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
  cache_read_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL,
  reasoning_tokens INTEGER NOT NULL,
  cost_microusd INTEGER NOT NULL, cost_picousd INTEGER NOT NULL, unpriced INTEGER NOT NULL,
  cache_hits INTEGER NOT NULL, rag_hits INTEGER NOT NULL,
  timed INTEGER NOT NULL, duration_us INTEGER NOT NULL, durations BLOB NOT NULL,
  PRIMARY KEY (day, scope, caller, provider, model, status, fallback_to)
) WITHOUT ROWID, STRICT;

CREATE TABLE roll_names (
  scope INTEGER NOT NULL, day INTEGER NOT NULL, kind INTEGER NOT NULL, name INTEGER NOT NULL,
  PRIMARY KEY (day, scope, kind, name)
) WITHOUT ROWID, STRICT;

CREATE TABLE book_revisions (
  rev INTEGER PRIMARY KEY,
  name TEXT NOT NULL, version TEXT NOT NULL, content_id TEXT NOT NULL,
  body BLOB NOT NULL,
  made_at INTEGER NOT NULL
) STRICT;

CREATE TABLE rejected (
  hi INTEGER NOT NULL, lo INTEGER NOT NULL, layer INTEGER NOT NULL, rev INTEGER NOT NULL,
  reason TEXT NOT NULL, rejected_at INTEGER NOT NULL, record BLOB NOT NULL,
  PRIMARY KEY (hi, lo, layer, rev)
) WITHOUT ROWID, STRICT;

INSERT INTO names (id, kind, name) VALUES
  (1, 0, '~other'), (2, 4, 'ok'), (3, 4, 'error'), (4, 4, 'fallback'), (5, 4, 'cancelled'), (6, 4, 'aborted');
";

/// What format 2 adds: the audit of reprices, and an index of the calls whose provider stated the cost that counts.
pub(super) const SCHEMA_2: &str = "
CREATE TABLE reprices (
  rev INTEGER PRIMARY KEY,
  undoes INTEGER, is_all INTEGER NOT NULL,
  since INTEGER, until INTEGER,
  caller TEXT, provider TEXT, model TEXT, status TEXT, project TEXT, team TEXT,
  closed_until INTEGER,
  asked_by TEXT NOT NULL,
  began_at INTEGER NOT NULL, ended_at INTEGER,
  at_hi INTEGER NOT NULL, at_lo INTEGER NOT NULL,
  looked_at INTEGER NOT NULL, changed INTEGER NOT NULL
) STRICT;

CREATE TABLE reprice_sums (
  rev INTEGER NOT NULL, day INTEGER NOT NULL, is_plan INTEGER NOT NULL,
  provider TEXT NOT NULL, model TEXT NOT NULL, old_rev INTEGER NOT NULL,
  n INTEGER NOT NULL, changed INTEGER NOT NULL,
  old_microusd INTEGER NOT NULL, old_picousd INTEGER NOT NULL,
  new_microusd INTEGER NOT NULL, new_picousd INTEGER NOT NULL,
  old_unpriced INTEGER NOT NULL, new_unpriced INTEGER NOT NULL,
  PRIMARY KEY (rev, day, is_plan, provider, model, old_rev)
) WITHOUT ROWID, STRICT;

CREATE TABLE reprice_runs (
  rev INTEGER NOT NULL, hi INTEGER NOT NULL, lo INTEGER NOT NULL, old_rev INTEGER NOT NULL,
  PRIMARY KEY (rev, hi, lo)
) WITHOUT ROWID, STRICT;

CREATE INDEX calls_reported ON calls (hi) WHERE cost_source = 2;
";

/// Opens a store for writing; makes it when there is none. `make` adds what a new one needs.
pub(super) fn open_writer(
    path: &Path,
    group_access: bool,
    zone: &str,
    now: Timestamp,
    make: impl FnOnce(&Transaction<'_>) -> Result<(), StoreError>,
) -> Result<Connection, StoreError> {
    make_file(path, group_access)?;
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.busy_timeout(BUSY_LIMIT)?;
    conn.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    recognise(&conn, path)?;
    conn.execute_batch("PRAGMA page_size = 8192")?;
    conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    // FULL: a spool row is deleted after the acknowledgement, which must survive a power loss.
    conn.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;
         PRAGMA foreign_keys = OFF; PRAGMA journal_size_limit = 16777216",
    )?;
    let tx = Transaction::new_unchecked(&conn, TransactionBehavior::Immediate)?;
    if !is_made(&tx)? {
        tx.execute_batch(SCHEMA)?;
        tx.execute(
            "INSERT INTO about VALUES (1, ?1, ?2, ?2, ?3, ?4, ?5, 0)",
            (
                MIN_FORMAT,
                MIN_FORMAT,
                zone,
                now.as_micros(),
                concat!("callmeter ", env!("CARGO_PKG_VERSION")),
            ),
        )?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        make(&tx)?;
    }
    check_format(&tx, path, "min_writer")?;
    upgrade(&tx)?;
    tx.commit()?;
    Ok(conn)
}

/// Adds what a store of an older format lacks. Builds of that format go on using it.
fn upgrade(tx: &Transaction<'_>) -> Result<(), StoreError> {
    let format: i64 = tx.query_row("SELECT format FROM about", [], |row| row.get(0))?;
    if format >= FORMAT {
        return Ok(());
    }
    tx.execute_batch(SCHEMA_2)?;
    tx.execute("UPDATE about SET format = ?1", [FORMAT])?;
    tx.pragma_update(None, "user_version", FORMAT)?;
    Ok(())
}

/// Opens a store for reading only.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    if !path.exists() {
        return Err(StoreError::NotFound(path.to_owned()));
    }
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.busy_timeout(BUSY_LIMIT)?;
    conn.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    recognise(&conn, path)?;
    if !is_made(&conn)? {
        return Err(StoreError::NotFound(path.to_owned()));
    }
    check_format(&conn, path, "min_reader")?;
    Ok(conn)
}

/// Whether a builder of the same format may still write: another process may have upgraded the file.
pub(super) fn check_writable(tx: &Transaction<'_>, path: &Path) -> Result<(), StoreError> {
    check_format(tx, path, "min_writer")
}

fn recognise(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let application: Result<i64, _> = conn.query_row("PRAGMA application_id", [], |row| row.get(0));
    let application = match application {
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
            return Err(StoreError::NotAStore(path.to_owned()));
        }
        application => application?,
    };
    if application == APPLICATION_ID {
        return Ok(());
    }
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application == 0 && tables == 0 {
        Ok(())
    } else {
        Err(StoreError::NotAStore(path.to_owned()))
    }
}

fn is_made(conn: &Connection) -> Result<bool, StoreError> {
    let found = conn
        .query_row(
            "SELECT 1 FROM sqlite_schema WHERE name = 'about'",
            [],
            |_| Ok(()),
        )
        .optional()?;
    Ok(found.is_some())
}

fn check_format(conn: &Connection, path: &Path, gate: &str) -> Result<(), StoreError> {
    let sql = match gate {
        "min_writer" => "SELECT format, min_writer FROM about",
        _ => "SELECT format, min_reader FROM about",
    };
    let (format, minimum): (i64, i64) = conn
        .prepare_cached(sql)?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if minimum > FORMAT {
        return Err(StoreError::NewerFormat {
            store: path.display().to_string(),
            format,
            known: FORMAT,
        });
    }
    Ok(())
}

/// Makes the file, for its owner alone or for the group of its directory as well, whatever the umask; SQLite
/// gives its WAL the same rights.
fn make_file(path: &Path, group_access: bool) -> Result<(), StoreError> {
    let failed = |source| StoreError::File {
        path: path.to_owned(),
        source,
    };
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(file) => {
            #[cfg(unix)]
            if group_access {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o660);
                file.set_permissions(mode).map_err(failed)?;
            }
            let _ = (file, group_access);
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            // Told here what a library of databases would tell less well.
            let opened = std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(path);
            opened.map(|_| ()).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}
