//! What can be wrong with a spool, each kind handled in its own way.
//!
//! No message carries a row: SQLite's own name tables and files, never values.

use std::path::PathBuf;

use callmeter_core::DropReason;
use rusqlite::ErrorCode;

/// A spool could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// A newer version made the file; it is left for one.
    #[error("{path} has spool format {format}, which needs a newer callmeter; it was left for one", path = path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// The file is something else.
    #[error("{path} is not a callmeter spool", path = path.display())]
    NotASpool {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error("the spool is damaged: {0}")]
    Corrupt(String),
    /// The disk has no room.
    #[error("no room on the spool's disk")]
    DiskFull,
    /// The disk takes no writes, or not from this user.
    #[error("the spool's disk takes no writes: {0}")]
    ReadOnly(String),
    /// The memory that stands in for the disk has no room.
    #[error("no room in the memory that stands in for the spool")]
    MemoryFull,
    /// Another process holds the file for long.
    #[error("the spool is busy")]
    Busy,
    /// Locks and shared maps of that file system cannot be trusted.
    #[error("{path} lies on {kind}, a network file system, where locks cannot be trusted", path = path.display())]
    NetworkFileSystem {
        /// The directory.
        path: PathBuf,
        /// What kind of file system it is.
        kind: &'static str,
    },
    /// SQLite failed otherwise.
    #[error("spool: {0}")]
    Sqlite(String),
    /// A file operation failed.
    #[error("spool: {0}")]
    Io(std::io::Error),
}

impl SpoolError {
    /// The reason that calls are lost for, if they are, while a spool fails so.
    pub fn drop_reason(&self) -> DropReason {
        match self {
            Self::DiskFull | Self::ReadOnly(_) | Self::Io(_) => DropReason::DiskFull,
            _ => DropReason::MemoryFull,
        }
    }

    /// Whether the file itself is the trouble, so that another one may do.
    pub const fn is_of_the_file(&self) -> bool {
        matches!(self, Self::Corrupt(_) | Self::NotASpool { .. })
    }

    /// What somebody could do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::NewerFormat { .. } => "upgrade callmeter on this machine; nothing was changed",
            Self::NotASpool { .. } | Self::Corrupt(_) => {
                "it is set aside, not deleted; a fresh spool goes on"
            }
            Self::DiskFull => "make room on the disk of the home",
            Self::ReadOnly(_) => "check the rights of the home, or name another in CALLMETER_HOME",
            Self::NetworkFileSystem { .. } => "name a home on a local disk in CALLMETER_HOME",
            Self::MemoryFull => "see why neither the disk nor the store takes calls",
            Self::Busy | Self::Sqlite(_) | Self::Io(_) => "see `callmeter doctor`",
        }
    }
}

impl From<rusqlite::Error> for SpoolError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            // A limit on file sizes shows as a failed write.
            Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => Self::DiskFull,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::ReadOnly(message_of(&error))
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt(message_of(&error))
            }
            _ => Self::Sqlite(message_of(&error)),
        }
    }
}

impl From<std::io::Error> for SpoolError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Self::DiskFull
            }
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                Self::ReadOnly(error.to_string())
            }
            _ => Self::Io(error),
        }
    }
}

fn message_of(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        rusqlite::Error::SqliteFailure(code, None) => code.to_string(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}
