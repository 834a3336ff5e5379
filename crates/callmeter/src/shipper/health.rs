//! How the store is doing: failures in a row, the pause after each, and when it counts as degraded.
//!
//! ```text
//! healthy ──failure──▶ failing ──10th in a row──▶ degraded (one ERROR)
//!    ▲                    │                          │ half open: one row at a time, with back-off
//!    └──── a batch is acknowledged ◀─────────────────┘
//! ```
//! A store where another writer is at work is busy, not failing, however long that lasts.

use std::time::Duration;

use callmeter_core::{SinkError, SinkErrorKind};

use crate::backoff::Backoff;
use crate::logging::log_line;

/// How many failures in a row make a store degraded (promise CM-10).
const DEGRADED_AFTER: u32 = 10;

/// How the store is doing.
#[derive(Debug, Default)]
pub(crate) struct Health {
    failures: u32,
    backoff: Backoff,
}

impl Health {
    pub(crate) const fn new(backoff: Backoff) -> Self {
        Self {
            failures: 0,
            backoff,
        }
    }

    /// Whether the store has failed ten times in a row.
    pub(crate) const fn is_degraded(&self) -> bool {
        self.failures >= DEGRADED_AFTER
    }

    /// Whether the last batch failed.
    pub(crate) const fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// A batch was acknowledged; says whether that is news.
    pub(crate) fn succeeded(&mut self) -> bool {
        let was_failing = self.is_failing();
        if was_failing {
            log_line!(info: "the store takes calls again");
        }
        self.failures = 0;
        self.backoff.reset();
        was_failing
    }

    /// A batch was not acknowledged; says how long to wait before the next trial. Where somebody waits for the
    /// store the second comes at once: a connection that had died in the meantime is no outage.
    pub(crate) fn failed(&mut self, error: &SinkError, is_awaited: bool) -> Duration {
        if error.kind() == SinkErrorKind::Busy {
            return self.backoff.next_short();
        }
        self.failures = self.failures.saturating_add(1);
        let hint = error.hint().unwrap_or_default();
        if self.failures == 1 {
            log_line!(warn: %error, hint, "the store takes no calls; they wait in the spool");
        }
        if self.failures == DEGRADED_AFTER {
            log_line!(error: %error,
                hint,
                "the store has failed 10 times in a row; calls wait in the spool until it is back"
            );
        }
        if self.failures == 1 && is_awaited {
            return self.backoff.next_short();
        }
        self.backoff.next()
    }
}
