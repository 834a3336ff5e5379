//! The one way out: batches of records to a store that answers for them.
//!
//! A sink inserts what it has not seen and merges what it has; sending a batch again, cut otherwise
//! or in another order, changes nothing (promise CM-5). Its answer is one of four: acknowledged
//! (durable against power loss), try again, the batch holds a row that can never be stored, or the
//! sink cannot work at all.

use std::error::Error;
use std::fmt;

use crate::CallRecord;

/// What became of an acknowledged batch. The counts add up to its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ack {
    /// New calls.
    pub inserted: u64,
    /// Records that changed a stored call.
    pub merged: u64,
    /// Records that changed no row: they were there already, or another call's row stands for theirs.
    pub unchanged: u64,
    /// Records beyond the dedup horizon or too far ahead; kept by the store in `rejected`.
    pub expired: u64,
    /// Records of a stored call that a store without the right to change rows left out; the first stands.
    pub revision_not_applied: u64,
}

/// What the shipper should do about a batch that was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SinkErrorKind {
    /// Another writer is at work; try again soon. Never counts towards degrading.
    Busy,
    /// Try again with back-off.
    Retry,
    /// The batch holds a record that can never be stored; a batch of one is that record.
    Reject,
    /// Nothing can be stored until somebody acts.
    Fatal,
}

/// A batch was not acknowledged. Neither `Display` nor `Debug` carries a password, a prompt or a row.
#[derive(Debug)]
pub struct SinkError {
    kind: SinkErrorKind,
    message: String,
    hint: Option<String>,
}

impl SinkError {
    /// Makes an error; `message` is lowercase, without full stop and without secrets.
    pub fn new(kind: SinkErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What the shipper should do.
    pub const fn kind(&self) -> SinkErrorKind {
        self.kind
    }

    /// What somebody could do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for SinkError {}

/// A place that stores records for good.
pub trait Sink: Send {
    /// Stores `batch` in one transaction and returns when it is durable.
    ///
    /// # Errors
    /// Says what to do with the batch; nothing of it was stored then, or storing it again does no harm.
    fn write(&mut self, batch: &[CallRecord]) -> Result<Ack, SinkError>;

    /// Does a short piece of housekeeping, such as removing rows beyond the horizon; says whether there is
    /// more of it. Asked for now and then, between batches, by the shipper at work.
    ///
    /// # Errors
    /// As of a batch; the housekeeping is then put off.
    fn maintain(&mut self) -> Result<bool, SinkError> {
        Ok(false)
    }

    /// Whether this process may be forked while the next batch is written: the sink then only waits for a
    /// network, and holds no lock of the process (as SQLite does) that the child would find held for ever. A
    /// fork waits a moment for any other sink.
    fn may_be_forked(&self) -> bool {
        false
    }
}
