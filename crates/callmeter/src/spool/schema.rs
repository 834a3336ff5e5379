//! Spool format 1 as SQL, and how a file of it is opened.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

/// The format that this build writes.
pub const FORMAT: u32 = 1;

/// SQLite's application id of a spool: "CMSP".
pub(crate) const APPLICATION_ID: i32 = 0x434d_5350;

const BUSY_LIMIT: Duration = Duration::from_secs(5);

pub(crate) const SCHEMA: &str = "
CREATE TABLE header(
  id INTEGER PRIMARY KEY CHECK(id = 1),
  format INTEGER NOT NULL, min_reader INTEGER NOT NULL, min_writer INTEGER NOT NULL,
  spool_id TEXT NOT NULL, home TEXT NOT NULL, store TEXT NOT NULL,
  made_at INTEGER NOT NULL, pid INTEGER NOT NULL);
CREATE TABLE rows(
  lane INTEGER NOT NULL, seq INTEGER NOT NULL, record BLOB NOT NULL,
  PRIMARY KEY(lane, seq)) WITHOUT ROWID;
CREATE TABLE progress(
  id INTEGER PRIMARY KEY CHECK(id = 1),
  next_seq INTEGER NOT NULL, ready_seq INTEGER NOT NULL,
  spooled INTEGER NOT NULL, acknowledged INTEGER NOT NULL, rejected INTEGER NOT NULL);
CREATE TABLE dropped(reason TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE rejected(
  seq INTEGER PRIMARY KEY, rejected_at INTEGER NOT NULL, reason TEXT NOT NULL, record BLOB NOT NULL);
INSERT INTO progress VALUES (1, 1, 0, 0, 0, 0);
";

/// A spool could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SpoolError {
    /// A newer version made the file.
    #[error("spool {path} has format {format}, newer than this callmeter reads")]
    NewerFormat { path: PathBuf, format: u32 },
    /// The file is no spool.
    #[error("{path} is not a callmeter spool")]
    NotASpool { path: PathBuf },
    /// The disk has no room.
    #[error("no room on the spool's disk")]
    DiskFull,
    /// Another process holds the file for long.
    #[error("the spool is busy")]
    Busy,
    /// SQLite failed otherwise. Its messages name tables and files, never values.
    #[error("spool: {0}")]
    Sqlite(#[source] rusqlite::Error),
    /// A file operation failed.
    #[error("spool: {0}")]
    Io(#[from] std::io::Error),
}

impl From<rusqlite::Error> for SpoolError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            _ => Self::Sqlite(error),
        }
    }
}

/// Makes an empty spool file, readable by its owner alone.
pub(crate) fn create(path: &Path) -> Result<Connection, SpoolError> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?;
    let db = connect(path)?;
    db.pragma_update(None, "page_size", 8192)?;
    db.pragma_update(None, "application_id", APPLICATION_ID)?;
    db.pragma_update(None, "user_version", FORMAT)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.execute_batch(SCHEMA)?;
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
    let min_reader: u32 =
        db.query_row("SELECT min_reader FROM header WHERE id = 1", [], |row| {
            row.get(0)
        })?;
    if min_reader > FORMAT {
        return Err(SpoolError::NewerFormat {
            path: path.to_owned(),
            format: min_reader,
        });
    }
    Ok(db)
}

fn connect(path: &Path) -> Result<Connection, SpoolError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY_LIMIT)?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(db)
}
