//! The clock of the demo: time that runs faster, so that half an hour of traffic is replayed in seconds.
//!
//! The trace's last moment is the moment at which the replay ends; before, its time runs `speed` times as
//! fast as that of the machine, after, as fast as it. All processes of a replay agree on it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use callmeter_core::{Clock, Timestamp};

/// A clock that runs faster until the replay ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FastClock {
    /// When the replay ends, by the machine's clock, in microseconds since 1970.
    pub(crate) ends_us: i64,
    /// How long the replay takes.
    pub(crate) real_us: i64,
    /// How long the trace is.
    pub(crate) trace_us: i64,
    started: Instant,
    started_us: i64,
}

impl FastClock {
    pub(crate) fn new(ends_us: i64, real_us: i64, trace_us: i64) -> Self {
        Self {
            ends_us,
            real_us: real_us.max(1),
            trace_us,
            started: Instant::now(),
            started_us: now_us(),
        }
    }

    /// The machine's time, on a clock that does not jump.
    fn real_now_us(&self) -> i64 {
        let elapsed = i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.started_us.saturating_add(elapsed)
    }

    /// Microseconds of the trace since it began; negative before.
    pub(crate) fn trace_now_us(&self) -> i64 {
        let left = self.ends_us.saturating_sub(self.real_now_us());
        if left <= 0 {
            return self.trace_us.saturating_sub(left);
        }
        let scaled = i128::from(left) * i128::from(self.trace_us) / i128::from(self.real_us);
        self.trace_us
            .saturating_sub(i64::try_from(scaled).unwrap_or(i64::MAX))
    }

    /// How long to wait, by the machine, until a moment of the trace.
    pub(crate) fn wait_until(&self, trace_us: u64) -> Duration {
        let ahead = i64::try_from(trace_us)
            .unwrap_or(i64::MAX)
            .saturating_sub(self.trace_now_us());
        let real =
            i128::from(ahead.max(0)) * i128::from(self.real_us) / i128::from(self.trace_us.max(1));
        Duration::from_micros(u64::try_from(real).unwrap_or(0))
    }
}

impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        let start = self.ends_us.saturating_sub(self.trace_us);
        Timestamp::from_micros(start.saturating_add(self.trace_now_us()))
    }

    fn monotonic_ns(&self) -> u64 {
        // An hour ahead, so that moments before the trace's first are no negative ones.
        let micros = self.trace_now_us().saturating_add(3_600_000_000).max(0);
        u64::try_from(micros).unwrap_or(0).saturating_mul(1_000)
    }
}

/// The machine's clock in microseconds since 1970.
pub(crate) fn now_us() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_ends_when_the_replay_does_and_time_goes_on_from_there() {
        let ended = FastClock::new(now_us() - 2_000_000, 8_000_000, 2_000_000_000);
        let past = ended.trace_now_us() - 2_000_000_000;
        assert!((2_000_000..60_000_000).contains(&past), "{past}");
        let half_way = FastClock::new(now_us() + 4_000_000, 8_000_000, 2_000_000_000);
        assert!(half_way.trace_now_us() >= 999_000_000);
        assert!(
            half_way
                .now()
                .micros_since(Timestamp::from_micros(now_us()))
                < 0
        );
    }
}
