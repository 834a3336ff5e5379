//! What can be wrong with a reprice, each with what to do about it.

/// A reprice cannot begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RepriceError {
    /// Another one was begun and has not ended.
    #[error("reprice {rev} was begun and has not ended")]
    Unfinished {
        /// Its revision.
        rev: u32,
    },
    /// The store knows no such reprice.
    #[error("the store knows no reprice {rev}")]
    Unknown {
        /// What was asked for.
        rev: u32,
    },
    /// It took back another one.
    #[error("reprice {rev} took back reprice {undoes} and cannot be taken back itself")]
    IsUndo {
        /// Its revision.
        rev: u32,
        /// What it took back.
        undoes: u32,
    },
    /// It was taken back before.
    #[error("reprice {rev} was taken back before, by {by}")]
    Undone {
        /// Its revision.
        rev: u32,
        /// What took it back.
        by: u32,
    },
    /// The schema is too old to keep an audit.
    #[error("the schema of {store} has no place for the audit of a reprice")]
    OldSchema {
        /// The store, without a password.
        store: String,
    },
    /// The store is a table of the replaced module.
    #[error("{store} is a table ai_calls, which keeps the cost that each row has")]
    LegacyTable {
        /// The store, without a password.
        store: String,
    },
}

impl RepriceError {
    /// What somebody could do about it.
    pub const fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Unfinished { .. } => {
                "run `callmeter reprice --resume`, or take it back with --undo"
            }
            Self::Unknown { .. } => "`callmeter reprice --list` names every one",
            Self::IsUndo { .. } => "reprice the same calls again",
            Self::Undone { .. } => "there is nothing left to take back",
            Self::OldSchema { .. } => {
                "run `callmeter migrate` against it, as the role that owns the schema"
            }
            Self::LegacyTable { .. } => {
                "`callmeter what-if` says what its calls would cost; `callmeter migrate adopt` brings them into a store that can be repriced"
            }
        })
    }
}
