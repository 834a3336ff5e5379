//! What time it is, as cheaply as the hot path needs it.
//!
//! A call takes one monotonic reading at its start and one at its end; its wall time is that reading plus an
//! offset that the worker takes anew on every round, so a step of the wall clock is seen within a round. The monotonic
//! clock is the system's, read by the processor's counter where that is the same ([`MonotonicClock`]). A clock
//! given in code is asked for both.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use callmeter_core::{Clock, SystemClock, Timestamp};
use callmeter_flight::MonotonicClock;

/// A recorder's clocks.
pub(crate) enum Time {
    /// Those of the system.
    System {
        monotonic: MonotonicClock,
        /// The wall clock minus the monotonic one, in microseconds.
        offset_us: AtomicI64,
    },
    /// Those of a test or a replay.
    Given(Arc<dyn Clock>),
}

/// A moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// In UTC.
    pub(crate) at: Timestamp,
    /// On the monotonic clock, in nanoseconds.
    pub(crate) ns: u64,
}

impl Moment {
    /// The moment that so many microseconds before this one was.
    #[inline]
    pub(crate) fn earlier(self, us: u64) -> Self {
        Self {
            at: self
                .at
                .saturating_add_micros(us.cast_signed().saturating_neg()),
            ns: self.ns.saturating_sub(us.saturating_mul(1_000)),
        }
    }
}

impl Time {
    pub(crate) fn system(monotonic: MonotonicClock) -> Self {
        let time = Self::System {
            monotonic,
            offset_us: AtomicI64::new(0),
        };
        time.adjust();
        time
    }

    /// Both clocks.
    #[inline]
    pub(crate) fn now(&self) -> Moment {
        match self {
            Self::System {
                monotonic,
                offset_us,
            } => {
                let ns = monotonic.ns();
                let micros = (ns / 1_000).cast_signed();
                let at = offset_us.load(Ordering::Relaxed).saturating_add(micros);
                Moment {
                    at: Timestamp::from_micros(at),
                    ns,
                }
            }
            Self::Given(clock) => Moment {
                at: clock.now(),
                ns: clock.monotonic_ns(),
            },
        }
    }

    /// The monotonic clock, in nanoseconds.
    #[inline]
    pub(crate) fn ns(&self) -> u64 {
        match self {
            Self::System { monotonic, .. } => monotonic.ns(),
            Self::Given(clock) => clock.monotonic_ns(),
        }
    }

    /// Looks at the system's clocks again; to be called often, by one thread.
    pub(crate) fn adjust(&self) {
        if let Self::System {
            monotonic,
            offset_us,
        } = self
        {
            monotonic.adjust();
            let micros = (monotonic.system_ns() / 1_000).cast_signed();
            let offset = SystemClock.now().as_micros().saturating_sub(micros);
            offset_us.store(offset, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use callmeter_testkit::clock::ManualClock;

    #[test]
    fn the_system_s_moment_is_the_wall_clock_s() {
        for monotonic in [MonotonicClock::new(), MonotonicClock::of_system()] {
            let time = Time::system(monotonic);
            let (before, moment) = (SystemClock.now(), time.now());
            assert!(moment.at.micros_since(before).abs() < 3_600_000_000);
            assert!(time.ns() >= moment.ns);
        }
    }

    #[test]
    fn a_given_clock_is_asked_for_every_moment() {
        let clock = Arc::new(ManualClock::at(Timestamp::EPOCH));
        let time = Time::Given(Arc::clone(&clock) as Arc<dyn Clock>);
        clock.pass(7);
        assert_eq!((time.now().at.as_micros(), time.ns()), (7, 7_000));
        clock.jump_to(Timestamp::from_micros(-3));
        assert_eq!((time.now().at.as_micros(), time.ns()), (-3, 7_000));
    }
}
