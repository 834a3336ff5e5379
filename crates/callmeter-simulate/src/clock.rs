//! The simulated clock. It moves only when the simulation moves it, and jumps when a step says so.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use callmeter_core::{Clock, Timestamp};

/// 2026-03-24T00:00:00Z.
const FIRST_MOMENT_US: i64 = 1_774_310_400_000_000;

/// Both halves of the time.
#[derive(Debug)]
pub(crate) struct SimClock {
    wall_us: AtomicI64,
    monotonic_ns: AtomicU64,
}

impl SimClock {
    /// A clock of a machine that has been up for so long.
    pub(crate) fn after(uptime: Duration) -> Self {
        let wall_us = i64::try_from(uptime.as_micros()).unwrap_or(0);
        Self {
            wall_us: AtomicI64::new(FIRST_MOMENT_US.saturating_add(wall_us)),
            monotonic_ns: AtomicU64::new(nanos(uptime)),
        }
    }

    /// Lets time pass up to a moment of the monotonic clock; never backwards.
    pub(crate) fn pass_to(&self, moment_ns: u64) {
        let now = self.monotonic_ns();
        let passed = moment_ns.saturating_sub(now);
        self.monotonic_ns.store(now + passed, Ordering::SeqCst);
        let passed_us = i64::try_from(passed / 1_000).unwrap_or(0);
        self.wall_us.fetch_add(passed_us, Ordering::SeqCst);
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, time: Duration) {
        self.pass_to(self.monotonic_ns().saturating_add(nanos(time)));
    }

    /// Moves the wall clock alone, as a time server would.
    pub(crate) fn jump(&self, seconds: i32) {
        self.wall_us
            .fetch_add(i64::from(seconds) * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.wall_us.load(Ordering::SeqCst))
    }

    fn monotonic_ns(&self) -> u64 {
        self.monotonic_ns.load(Ordering::SeqCst)
    }
}

/// A duration on the monotonic clock.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
