//! A clock that moves only when a test moves it, both ways.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use callmeter_core::{Clock, Timestamp};

/// A clock in the test's hand.
#[derive(Debug)]
pub struct ManualClock {
    now_us: AtomicI64,
    monotonic_ns: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self {
            now_us: AtomicI64::new(now.as_micros()),
            monotonic_ns: AtomicU64::new(0),
        }
    }

    /// Lets `micros` pass on both clocks.
    pub fn pass(&self, micros: u32) {
        self.now_us.fetch_add(i64::from(micros), Ordering::SeqCst);
        self.monotonic_ns
            .fetch_add(u64::from(micros) * 1_000, Ordering::SeqCst);
    }

    /// Sets the wall clock alone, as an administrator or a time server would.
    pub fn jump_to(&self, now: Timestamp) {
        self.now_us.store(now.as_micros(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now_us.load(Ordering::SeqCst))
    }

    fn monotonic_ns(&self) -> u64 {
        self.monotonic_ns.load(Ordering::SeqCst)
    }
}
