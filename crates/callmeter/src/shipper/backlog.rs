//! Two lanes of one spool: fresh rows, and a backlog that is replayed beside them (promise CM-10).
//!
//! ```text
//! seq   1 … replayed │ … backlog … │ replay_to … fresh_after │ … fresh … │ ready_seq
//!           gone     │ oldest first, a rate  │     gone      │ at once
//! ```
//! A spool that is met with more than a batch of rows, and what waits when a store comes back, is a
//! backlog up to its last row of that moment. Each lane sends its rows in ascending order.

use crate::spool::{SpoolError, SpoolOutlet};

/// How far a spool's rows have been sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lanes {
    /// Rows of the backlog up to here have left.
    replayed: i64,
    /// The last row of the backlog.
    replay_to: i64,
    /// Fresh rows up to here have left.
    fresh_after: i64,
    /// The last row that may leave, when last looked.
    ready: i64,
}

/// One of the two lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Fresh,
    Backlog,
}

impl Lanes {
    /// The lanes of a spool as it is found; more than `batch` rows are a backlog.
    pub(crate) fn of(outlet: &mut dyn SpoolOutlet, batch: usize) -> Result<Self, SpoolError> {
        let ready = outlet.ready_seq()?;
        let first = outlet.ready_rows(0, i64::MAX, 1)?;
        let before = first.first().map_or(ready, |row| row.seq.saturating_sub(1));
        let mut lanes = Self {
            replayed: before,
            replay_to: before,
            fresh_after: before,
            ready,
        };
        lanes.mark(batch);
        Ok(lanes)
    }

    /// Looks how far rows may leave now.
    pub(crate) fn look(&mut self, outlet: &mut dyn SpoolOutlet) -> Result<(), SpoolError> {
        self.ready = outlet.ready_seq()?;
        Ok(())
    }

    /// Makes the fresh rows that wait a part of the backlog, if they are more than a batch.
    pub(crate) fn mark(&mut self, batch: usize) {
        if self.waiting(Lane::Fresh) > batch as u64 {
            if self.waiting(Lane::Backlog) == 0 {
                self.replayed = self.fresh_after;
            }
            self.replay_to = self.ready;
            self.fresh_after = self.ready;
        }
    }

    /// About how many rows of a lane wait: those of a newer format are among them until they were met.
    pub(crate) fn waiting(&self, lane: Lane) -> u64 {
        let (after, to) = self.range(lane);
        u64::try_from(to.saturating_sub(after)).unwrap_or(0)
    }

    /// The rows of a lane that wait: after the first number, up to the second.
    pub(crate) const fn range(&self, lane: Lane) -> (i64, i64) {
        match lane {
            Lane::Fresh => (self.fresh_after, self.ready),
            Lane::Backlog => (self.replayed, self.replay_to),
        }
    }

    /// Says that rows of a lane up to `seq` have left.
    pub(crate) fn sent(&mut self, lane: Lane, seq: i64) {
        let place = match lane {
            Lane::Fresh => &mut self.fresh_after,
            Lane::Backlog => &mut self.replayed,
        };
        *place = seq.max(*place);
    }
}

/// How many rows of a backlog may be sent now: so many a second, at most a batch at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    rows_per_second: u64,
    most: u64,
    rows: u64,
    counted_to_ns: u64,
}

impl Allowance {
    /// Begins full, at a moment of the timer.
    pub(crate) const fn new(rows_per_second: u64, most: u64, now_ns: u64) -> Self {
        Self {
            rows_per_second,
            most,
            rows: most,
            counted_to_ns: now_ns,
        }
    }

    /// How many rows may be sent now.
    pub(crate) fn rows(&mut self, now_ns: u64) -> u64 {
        let passed = now_ns.saturating_sub(self.counted_to_ns);
        let earned = u128::from(passed).saturating_mul(self.rows_per_second.into()) / SECOND_NS;
        let earned = u64::try_from(earned).unwrap_or(u64::MAX);
        if self.rows.saturating_add(earned) >= self.most {
            self.rows = self.most;
            self.counted_to_ns = now_ns;
        } else if earned > 0 {
            self.rows = self.rows.saturating_add(earned);
            // What is left of a row stays in the time that was not counted yet.
            let counted = u128::from(earned)
                .saturating_mul(SECOND_NS)
                .checked_div(self.rows_per_second.into())
                .unwrap_or(0);
            let counted = u64::try_from(counted).unwrap_or(u64::MAX);
            self.counted_to_ns = self.counted_to_ns.saturating_add(counted);
        }
        self.rows
    }

    /// Takes what was sent.
    pub(crate) fn take(&mut self, rows: u64) {
        self.rows = self.rows.saturating_sub(rows);
    }
}

const SECOND_NS: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_when_a_store_comes_back_is_a_backlog_and_what_comes_later_is_fresh() {
        let mut lanes = Lanes {
            ready: 5_000,
            ..Lanes::default()
        };
        lanes.mark(1_000);
        assert_eq!(lanes.range(Lane::Backlog), (0, 5_000));
        lanes.ready = 5_010;
        assert_eq!(lanes.range(Lane::Fresh), (5_000, 5_010));
        lanes.sent(Lane::Backlog, 2_000);
        lanes.sent(Lane::Fresh, 5_010);
        // Down again: the rest of the backlog and what came since are one backlog.
        lanes.ready = 9_000;
        lanes.mark(1_000);
        assert_eq!(lanes.range(Lane::Backlog), (2_000, 9_000));
        assert_eq!(lanes.waiting(Lane::Fresh), 0);
    }

    #[test]
    fn a_few_rows_are_no_backlog() {
        let mut lanes = Lanes {
            ready: 999,
            ..Lanes::default()
        };
        lanes.mark(1_000);
        assert_eq!(lanes.range(Lane::Fresh), (0, 999));
    }

    #[test]
    fn the_rate_is_kept_to_the_row_however_often_it_is_asked() {
        let mut allowance = Allowance::new(2_000, 1_000, 0);
        let mut sent = 0;
        for now_ms in 0..10_000_u64 {
            let rows = allowance.rows(now_ms * 1_000_000 + now_ms % 7);
            allowance.take(rows);
            sent += rows;
        }
        assert!((20_990..=21_000).contains(&sent), "{sent}");
    }
}
