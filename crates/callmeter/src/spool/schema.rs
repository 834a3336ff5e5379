//! Spool format 2 as SQL, and how a file of it is made and recognised.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction};

use super::rights::Rights;
use super::{MAKING_EXTENSION, SpoolError};
use crate::plain;

/// The format that this build writes.
pub const FORMAT: u32 = 2;

/// SQLite's application id of a spool: "CMSP".
pub(crate) const APPLICATION_ID: i32 = 0x434d_5350;

const BUSY_LIMIT: Duration = Duration::from_secs(5);

/// How long a log may stay: a little longer than the thousand pages after which SQLite writes them back. A log that is
/// cut shorter grows again with every commit, which costs a fifth of a small one.
const LOG_KEPT: i64 = 9 << 20;

/// A few, and one for each number of rows that are inserted at once (`writer`).
const STATEMENTS_KEPT: usize = 32;

const SCHEMA: &str = "
CREATE TABLE header(
  id INTEGER PRIMARY KEY CHECK (id = 1),
  format INTEGER NOT NULL, min_reader INTEGER NOT NULL, min_writer INTEGER NOT NULL,
  spool_id TEXT NOT NULL, home TEXT NOT NULL, store TEXT NOT NULL,
  made_at INTEGER NOT NULL, made_by TEXT NOT NULL, pid INTEGER NOT NULL
) STRICT;
CREATE TABLE rows(
  seq INTEGER PRIMARY KEY, lane INTEGER NOT NULL,
  call_hi INTEGER NOT NULL, call_lo INTEGER NOT NULL, layer INTEGER NOT NULL, rev INTEGER NOT NULL,
  record BLOB NOT NULL
) STRICT;
CREATE TABLE progress(
  id INTEGER PRIMARY KEY CHECK (id = 1),
  next_seq INTEGER NOT NULL, ready_seq INTEGER NOT NULL,
  spooled INTEGER NOT NULL, acknowledged INTEGER NOT NULL, rejected INTEGER NOT NULL
) STRICT;
CREATE TABLE flights(
  flight TEXT PRIMARY KEY, place TEXT NOT NULL, attached_at INTEGER NOT NULL,
  opened INTEGER NOT NULL, aborted INTEGER NOT NULL, settled_at INTEGER
) WITHOUT ROWID, STRICT;
CREATE TABLE flight_losses(
  flight TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL,
  PRIMARY KEY (flight, reason)
) WITHOUT ROWID, STRICT;
CREATE TABLE dropped(reason TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE rejected(
  seq INTEGER PRIMARY KEY, rejected_at INTEGER NOT NULL, reason TEXT NOT NULL, record BLOB NOT NULL
) STRICT;
INSERT INTO progress VALUES (1, 1, 0, 0, 0, 0);
";

/// Makes a spool file without rows; `describe` writes its header.
///
/// It is made under another name, in one commit that syncs, and gets its own when it is whole: a spool that is
/// found has its tables, whether its maker was killed midway or power was lost.
pub(crate) fn create(
    path: &Path,
    rights: Rights,
    describe: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
) -> Result<Connection, SpoolError> {
    let making = path.with_extension(MAKING_EXTENSION);
    rights.make_file(&making)?;
    let mut db = connect(&making)?;
    db.pragma_update(None, "page_size", 8192)?;
    // Before the first table: pages that rows have left go back to the disk (`reader`).
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let transaction = db.transaction()?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.execute_batch(SCHEMA)?;
    describe(&transaction)?;
    transaction.commit()?;
    drop(db);
    std::fs::rename(&making, path)?;
    let db = connect(path)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    Ok(db)
}

/// Opens a spool file that another process may be writing.
pub(crate) fn open(path: &Path) -> Result<Connection, SpoolError> {
    let db = connect(path)?;
    let application_id: i32 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application_id != APPLICATION_ID {
        return Err(SpoolError::NotASpool {
            path: path.to_owned(),
        });
    }
    let (format, min_reader, min_writer) = versions(&db)?;
    // Whoever ships a spool writes to it as well.
    if min_reader.max(min_writer) > FORMAT {
        return Err(SpoolError::NewerFormat {
            path: path.to_owned(),
            format,
        });
    }
    Ok(db)
}

/// What the header says of formats.
///
/// A file that is marked as a spool and has no tables lost them: with its log by a loss of power, where the build
/// that made it did not sync them, or on a disk that only says that it syncs.
fn versions(db: &Connection) -> Result<(u32, u32, u32), SpoolError> {
    let has_header: bool = db.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'header')",
        [],
        |row| row.get(0),
    )?;
    let lost = || SpoolError::Corrupt("its tables are missing".to_owned());
    if !has_header {
        return Err(lost());
    }
    let read = db.query_row(
        "SELECT format, min_reader, min_writer FROM header WHERE id = 1",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    );
    read.optional()?.ok_or_else(lost)
}

fn connect(path: &Path) -> Result<Connection, SpoolError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let db = Connection::open_with_flags(plain::straight(path)?, flags)?;
    db.busy_timeout(BUSY_LIMIT)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    db.pragma_update(None, "synchronous", "NORMAL")?;
    db.pragma_update(None, "journal_size_limit", LOG_KEPT)?;
    Ok(db)
}
