//! What the owner of a table `ai_calls` does once: look at it, and make the side table.

use super::side;
use crate::postgres::connect::{Access, Session, Tx};
use crate::{PostgresUrl, StoreError};

/// A table `ai_calls`, seen by its owner.
pub struct LegacyTable {
    session: Session,
    time_column: Option<String>,
}

impl std::fmt::Debug for LegacyTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LegacyTable")
            .field("store", &self.session.shown())
            .finish_non_exhaustive()
    }
}

impl LegacyTable {
    /// Prepares to look; nothing is connected yet.
    ///
    /// # Errors
    /// When the address cannot be worked out.
    pub fn new(url: &PostgresUrl, time_column: Option<String>) -> Result<Self, StoreError> {
        Ok(Self {
            session: Session::of_process(url)?,
            time_column,
        })
    }

    /// The statements that make the side table, without the semicolons; for `role` also those that give it the
    /// rights that a sink needs.
    ///
    /// # Errors
    /// When the table cannot be read, or could not be written whatever is beside it.
    pub fn statements(&mut self, role: Option<&str>) -> Result<Vec<String>, StoreError> {
        let time_column = self.time_column.as_deref();
        self.session.transaction(Access::Snapshot, |tx| {
            super::side_statements(tx, time_column, role)
        })
    }

    /// Whether a sink could write the table now, as this role; what somebody should know of it.
    ///
    /// # Errors
    /// What is in the way.
    pub fn check(&mut self) -> Result<Vec<String>, StoreError> {
        let time_column = self.time_column.as_deref();
        self.session.transaction(Access::Snapshot, |tx| {
            Ok(super::ready_shape(tx, time_column)?.notes)
        })
    }

    /// Makes the side table, if it is not there. Says whether it was made.
    ///
    /// # Errors
    /// As [`LegacyTable::statements`], or when the role may not make tables.
    pub fn make_side_table(&mut self) -> Result<bool, StoreError> {
        let time_column = self.time_column.as_deref();
        self.session
            .transaction(Access::Write, |tx| make_side_table(tx, time_column))
    }
}

/// Makes the side table, if it is not there. Says whether it was made.
pub(crate) fn make_side_table(
    tx: &mut Tx<'_>,
    time_column: Option<&str>,
) -> Result<bool, StoreError> {
    let standing = super::standing(tx, time_column, super::Purpose::Write)?;
    if standing.side != super::Side::Missing {
        let shape = standing.ready()?;
        side::let_in_calls_without_a_row(tx, &shape)?;
        return Ok(false);
    }
    for statement in side::statements(&standing.shape, None) {
        tx.batch(&statement)?;
    }
    Ok(true)
}
