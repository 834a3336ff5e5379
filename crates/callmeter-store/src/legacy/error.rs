//! What can be wrong with a table `ai_calls`, each with the statement or setting that mends it.

use std::fmt;

use callmeter_core::SinkErrorKind;

/// A table `ai_calls` cannot be written, read or adopted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LegacyError {
    /// The layout is one of PostgreSQL, the store is not.
    #[error("store.layout is ai_calls, a table on PostgreSQL, and the store is {store}")]
    NotPostgres {
        /// The store, without a password.
        store: String,
    },
    /// There is no such table.
    #[error("{store} has no table ai_calls that this role can see")]
    NoTable {
        /// The store, without a password.
        store: String,
    },
    /// The table would refuse, drop or change rows.
    #[error("{table} cannot be used: {}", List(.problems))]
    Unfit {
        /// The table.
        table: String,
        /// What is wrong and what mends it.
        problems: Vec<String>,
    },
    /// The table of ids is missing.
    #[error("{table} has no table {side} beside it, which keeps the ids of the calls")]
    NoSideTable {
        /// The table.
        table: String,
        /// The side table.
        side: String,
    },
    /// The role lacks a right to the table of ids.
    #[error("the role lacks a right to {side}: it needs SELECT, INSERT and DELETE")]
    SideRights {
        /// The side table.
        side: String,
    },
    /// Another table has the name of the table of ids.
    #[error("{side} is not as callmeter makes it")]
    ForeignSideTable {
        /// The side table.
        side: String,
    },
    /// Fewer rows were stored than were sent.
    #[error("{table} took {taken} of {sent} rows: a trigger keeps rows out ({})", .triggers.join(", "))]
    Suppressed {
        /// The table.
        table: String,
        /// How many were sent.
        sent: usize,
        /// How many were stored.
        taken: usize,
        /// Triggers that run before a row is stored.
        triggers: Vec<String>,
    },
    /// A call lies beyond the dedup horizon, or too far ahead.
    #[error("a call is {reason}")]
    Refused {
        /// Why.
        reason: &'static str,
    },
    /// Another writer changed the same calls meanwhile.
    #[error("another writer is at work on the same calls")]
    Contended,
    /// Adoption cannot go on.
    #[error("{what}")]
    Adoption {
        /// Why, and what to do.
        what: String,
    },
}

/// Problems in a row.
struct List<'a>(&'a [String]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl LegacyError {
    /// What somebody could do about it.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotPostgres { .. } => Some(
                "name the table's database in store.url, postgres://USER@HOST/DATABASE, or leave store.layout out",
            ),
            Self::NoTable { .. } => Some(
                "check database, role and search_path in store.url, or leave store.layout out: callmeter then makes tables of its own",
            ),
            Self::Unfit { .. } => Some(
                "the statements in brackets mend it; calls wait in the spool, and the replaced module goes on as before",
            ),
            Self::NoSideTable { .. } | Self::SideRights { .. } => Some(
                "run what `callmeter migrate print` shows, as the table's owner; calls wait in the spool",
            ),
            Self::ForeignSideTable { .. } => Some("rename that table: callmeter leaves it alone"),
            Self::Suppressed { .. } => Some(
                "let the triggers pass callmeter's rows, or read the rows that were kept in `rejected`",
            ),
            Self::Refused { .. } | Self::Contended | Self::Adoption { .. } => None,
        }
    }

    /// What the shipper should do about it.
    pub const fn kind(&self) -> SinkErrorKind {
        match self {
            Self::Contended => SinkErrorKind::Busy,
            Self::Suppressed { .. } | Self::Refused { .. } => SinkErrorKind::Reject,
            Self::NotPostgres { .. }
            | Self::NoTable { .. }
            | Self::Unfit { .. }
            | Self::NoSideTable { .. }
            | Self::SideRights { .. }
            | Self::ForeignSideTable { .. }
            | Self::Adoption { .. } => SinkErrorKind::Fatal,
        }
    }
}
