//! What can be wrong with a store, each with what to do about it.
//!
//! No message carries a row, a password or SQL text with values.

use std::path::PathBuf;

use callmeter_core::{SinkError, SinkErrorKind};

use crate::UnknownZone;

/// A store cannot be opened, written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no such file.
    #[error("there is no store at {}", .0.display())]
    NotFound(PathBuf),
    /// The file is a database of something else.
    #[error("{} is no callmeter store", .0.display())]
    NotAStore(PathBuf),
    /// A newer callmeter wrote it and forbids this one to use it.
    #[error(
        "{store} has format {format}, which needs a newer callmeter; this one knows format {known}"
    )]
    NewerFormat {
        /// The store, without a password.
        store: String,
        /// Its format.
        format: i64,
        /// The newest format that this build knows.
        known: i64,
    },
    /// Its zone is not known here.
    #[error(transparent)]
    Zone(#[from] UnknownZone),
    /// Its price book cannot be read.
    #[error("the store's price book, revision {revision}, cannot be read: {reason}")]
    Book {
        /// The revision.
        revision: u32,
        /// Why.
        reason: String,
    },
    /// A stored row cannot be read.
    #[error("a stored row cannot be read: {0}")]
    Row(#[from] callmeter_core::DecodeError),
    /// A sum does not fit: the row that would make it so is refused.
    #[error("a sum of the rollups would overflow")]
    Overflow,
    /// The file cannot be made or reached.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A server refused, failed or cannot be reached.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The database of a server has no store in it.
    #[error("{store} has no callmeter store")]
    NoSchema {
        /// The store, without a password.
        store: String,
    },
    /// This build has no store of that kind.
    #[error("{store} needs callmeter to be built with the Cargo feature `{feature}`")]
    NotBuilt {
        /// The store, without a password.
        store: String,
        /// The feature.
        feature: &'static str,
    },
    /// A table `ai_calls` cannot be used.
    #[error(transparent)]
    Legacy(#[from] crate::LegacyError),
    /// A reprice cannot begin.
    #[error(transparent)]
    Reprice(#[from] crate::RepriceError),
    /// SQLite failed.
    #[error("{}", sqlite_message(.0))]
    Sqlite(#[from] rusqlite::Error),
}

impl StoreError {
    /// What somebody could do about it.
    pub fn hint(&self) -> Option<&'static str> {
        use rusqlite::ErrorCode as Code;
        match self {
            Self::NotFound(_) => {
                Some("check store.url, or record a first call: the store is made then")
            }
            Self::NotAStore(_) => {
                Some("name another file in store.url; callmeter leaves this one alone")
            }
            Self::NewerFormat { .. } => {
                Some("upgrade callmeter on this machine; nothing was changed")
            }
            Self::Sqlite(error) => match error.sqlite_error_code()? {
                Code::DiskFull => Some("make room on the disk; calls wait in the spool"),
                Code::ReadOnly | Code::CannotOpen | Code::PermissionDenied => Some(
                    "check the rights of the store's file and directory; calls wait in the spool",
                ),
                Code::DatabaseBusy | Code::DatabaseLocked => {
                    Some("another process writes to the store; calls wait in the spool")
                }
                Code::DatabaseCorrupt | Code::NotADatabase => {
                    Some("move the file aside and restore a copy; calls wait in the spool")
                }
                _ => None,
            },
            Self::File { .. } => Some("check the path and its rights"),
            Self::Server(error) => error.hint(),
            Self::Legacy(error) => error.hint(),
            Self::Reprice(error) => error.hint(),
            Self::NoSchema { .. } => Some(
                "run `callmeter migrate` against it, as a role that may create tables; calls wait in the spool",
            ),
            Self::NotBuilt { .. } => {
                Some("add the feature to the dependency on callmeter; calls wait in the spool")
            }
            Self::Zone(_) | Self::Book { .. } | Self::Row(_) | Self::Overflow => None,
        }
    }

    /// Whether it may be gone the next time, without anybody's help.
    pub fn is_transient(&self) -> bool {
        matches!(self.sink_kind(), SinkErrorKind::Retry | SinkErrorKind::Busy)
    }

    pub(crate) fn sink_kind(&self) -> SinkErrorKind {
        use rusqlite::ErrorCode as Code;
        match self {
            Self::Overflow => SinkErrorKind::Reject,
            Self::NotAStore(_)
            | Self::NewerFormat { .. }
            | Self::Zone(_)
            | Self::Book { .. }
            | Self::NoSchema { .. }
            | Self::Reprice(_)
            | Self::NotBuilt { .. } => SinkErrorKind::Fatal,
            Self::Server(error) => error.kind(),
            Self::Legacy(error) => error.kind(),
            Self::NotFound(_) | Self::Row(_) | Self::File { .. } => SinkErrorKind::Retry,
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(Code::DatabaseBusy | Code::DatabaseLocked) => SinkErrorKind::Busy,
                Some(Code::DatabaseCorrupt | Code::NotADatabase) => SinkErrorKind::Fatal,
                Some(Code::TooBig | Code::ConstraintViolation | Code::TypeMismatch) => {
                    SinkErrorKind::Reject
                }
                _ => SinkErrorKind::Retry,
            },
        }
    }
}

/// What a server said or failed to say, in words that carry no value, no password and no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ServerError {
    kind: SinkErrorKind,
    code: Option<String>,
    message: String,
    hint: Option<&'static str>,
}

impl ServerError {
    /// An error of a kind; `message` is safe to show.
    #[cfg(feature = "postgres")]
    pub(crate) fn new(kind: SinkErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: None,
            message: message.into(),
            hint: None,
        }
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn with_code(mut self, code: &str) -> Self {
        self.code = Some(code.to_owned());
        self
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn with_hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// What the shipper should do about it.
    pub const fn kind(&self) -> SinkErrorKind {
        self.kind
    }

    /// The server's own code of the error (SQLSTATE), where it gave one.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// What somebody could do about it.
    pub const fn hint(&self) -> Option<&'static str> {
        self.hint
    }
}

/// SQLite's own message without SQL text.
fn sqlite_message(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => format!("sqlite: {message}"),
        rusqlite::Error::SqliteFailure(code, None) => format!("sqlite: {code}"),
        rusqlite::Error::SqlInputError { msg, .. } => format!("sqlite: {msg}"),
        other => format!("sqlite: {other}"),
    }
}

impl From<StoreError> for SinkError {
    fn from(error: StoreError) -> Self {
        let hint = error.hint();
        let sink_error = Self::new(error.sink_kind(), error.to_string());
        match hint {
            Some(hint) => sink_error.with_hint(hint),
            None => sink_error,
        }
    }
}
