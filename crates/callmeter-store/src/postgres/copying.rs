//! New calls by COPY, which is faster than an insert and knows no `ON CONFLICT`.
//!
//! Owns when to try it and what to do when it fails. The unique index on the id makes it safe: a call that is there
//! fails the copy as a whole, the transaction goes back to a savepoint, and the batch goes the usual way. Whoever
//! sends batches that are there already, or calls in several records, is not tried again with each of them.

use super::columns::Rows;
use super::connect::Tx;
use crate::StoreError;

/// Below so many rows a copy's round trips cost more than it saves.
const FEWEST_ROWS: usize = 64;
/// The most batches that go the usual way after a copy in vain.
const LONGEST_REST: u32 = 1_024;

/// When rows are copied.
#[derive(Debug)]
pub(super) struct Copying {
    fewest_rows: usize,
    /// How many batches go the usual way now, and how many the next time.
    rest: u32,
    next_rest: u32,
    copied: u64,
}

impl Default for Copying {
    fn default() -> Self {
        Self {
            fewest_rows: FEWEST_ROWS,
            rest: 0,
            next_rest: 1,
            copied: 0,
        }
    }
}

impl Copying {
    /// Copies batches of so many rows on, whatever is cheaper.
    pub(super) fn from_rows(&mut self, fewest_rows: usize) {
        self.fewest_rows = fewest_rows;
    }

    /// How many rows were copied so far, in transactions that may have failed later.
    pub(super) const fn copied(&self) -> u64 {
        self.copied
    }

    /// Copies rows, if that is promising. `false` means that none of them was stored.
    pub(super) fn try_insert(&mut self, tx: &mut Tx<'_>, rows: &Rows) -> Result<bool, StoreError> {
        if rows.len() < self.fewest_rows {
            return Ok(false);
        }
        if self.rest > 0 {
            self.rest = self.rest.saturating_sub(1);
            return Ok(false);
        }
        tx.batch("SAVEPOINT copying")?;
        match rows.copy(tx) {
            Ok(count) if count == rows.len() as u64 => {
                self.copied = self.copied.saturating_add(count);
                self.next_rest = 1;
                return Ok(true);
            }
            // Something in the database left rows out: that goes with the usual way, which says which.
            Ok(_) => {}
            Err(error) if is_of_the_rows(&error) => {}
            Err(error) => return Err(error),
        }
        tx.batch("ROLLBACK TO SAVEPOINT copying")?;
        self.rest = self.next_rest;
        self.next_rest = self.next_rest.saturating_mul(2).min(LONGEST_REST);
        Ok(false)
    }
}

/// Whether the server failed the copy for what is in it, or because it takes none here; not for what
/// would fail any statement, such as a limit, a deadlock, a full disk or a line that broke.
fn is_of_the_rows(error: &StoreError) -> bool {
    let StoreError::Server(error) = error else {
        return false;
    };
    let class = error.code().and_then(|code| code.get(..2));
    matches!(class, Some("0A" | "22" | "23" | "26" | "42" | "P0"))
}
