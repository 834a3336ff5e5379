//! Retention: calls older than the horizon leave, a slice at a time; their sums stay.
//!
//! `about.kept_from` is the time half below which calls were removed. A record below it is refused
//! (`expired`), for the store no longer knows whether it has its call: the horizon of retention and that of
//! telling a call twice are one (promise CM-5), whoever wrote with which setting. It never goes down.
//!
//! A slice is one transaction of about half the 50 ms that one may take, so that another process's batch
//! never waits long.

use callmeter_core::{CallId, Clock, Timestamp};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use crate::StoreError;

const FIRST_SLICE: i64 = 500;
const LARGEST_SLICE: i64 = 20_000;
const SLICE_NS: u64 = 25_000_000;

/// How large the next slice is.
#[derive(Debug)]
pub(super) struct Retention {
    rows: i64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { rows: FIRST_SLICE }
    }
}

/// The time half below which calls were removed.
pub(super) fn kept_from(tx: &Transaction<'_>) -> Result<i64, StoreError> {
    Ok(tx
        .prepare_cached("SELECT kept_from FROM about")?
        .query_row([], |row| row.get(0))?)
}

impl Retention {
    /// Removes a slice of what started, or was refused, before `oldest`; says whether there is more.
    pub(super) fn slice(
        &mut self,
        conn: &Connection,
        clock: &dyn Clock,
        oldest: Timestamp,
    ) -> Result<bool, StoreError> {
        let began = clock.monotonic_ns();
        let horizon = CallId::hi_at(oldest);
        let tx = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
        // The first call that this slice leaves, if there are more than it takes.
        let next: Option<i64> = tx
            .prepare_cached("SELECT hi FROM calls WHERE hi < ?1 ORDER BY hi, lo LIMIT 1 OFFSET ?2")?
            .query_row((horizon, self.rows), |row| row.get(0))
            .optional()?;
        // At least the calls of one moment, so that it always goes on.
        let first: Option<i64> = tx
            .prepare_cached("SELECT hi FROM calls WHERE hi < ?1 ORDER BY hi, lo LIMIT 1")?
            .query_row([horizon], |row| row.get(0))
            .optional()?;
        let below = match (next, first) {
            (Some(next), Some(first)) => next.max(first + 1),
            _ => horizon,
        };
        let removed = tx
            .prepare_cached("DELETE FROM calls WHERE hi < ?1")?
            .execute([below])?;
        if removed > 0 {
            tx.prepare_cached("UPDATE about SET kept_from = max(kept_from, ?1)")?
                .execute([below])?;
        }
        let refused = tx
            .prepare_cached(
                "DELETE FROM rejected WHERE (hi, lo, layer, rev) IN \
                 (SELECT hi, lo, layer, rev FROM rejected WHERE rejected_at < ?1 LIMIT ?2)",
            )?
            .execute((oldest.as_micros(), self.rows))?;
        tx.commit()?;
        let took = clock.monotonic_ns().saturating_sub(began);
        self.adapt(took);
        Ok(next.is_some() || i64::try_from(refused).is_ok_and(|refused| refused >= self.rows))
    }

    /// Brings the next slice nearer to its time.
    fn adapt(&mut self, took_ns: u64) {
        if took_ns > SLICE_NS {
            self.rows = (self.rows / 2).max(1);
        } else if took_ns < SLICE_NS / 2 {
            self.rows = (self.rows * 2).min(LARGEST_SLICE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_shrink_when_they_take_long_and_grow_again() {
        let mut retention = Retention::default();
        for _ in 0..20 {
            retention.adapt(SLICE_NS * 2);
        }
        assert_eq!(retention.rows, 1);
        for _ in 0..40 {
            retention.adapt(0);
        }
        assert_eq!(retention.rows, LARGEST_SLICE);
    }
}
