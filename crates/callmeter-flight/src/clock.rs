//! The monotonic clock, without asking the kernel where its answer is known.
//!
//! Where the kernel tells its time by the processor's counter ([`tsc`](crate::tsc)), its monotonic clock is a line over that
//! counter, bent a little whenever the time is corrected. This clock follows that line: a worker measures a point
//! of it about once a second, and a reading goes on from the last point at the pace between the last two.
//!
//! ```text
//! system's clock ── two stretches in a row of one pace ──▶ counter
//!       ▲  ▲                                                 │  │
//!       │  └── a stretch of another pace, at the next point ─┘  │
//!       └───── nobody measured a point for 4 s, or the counter went back: at once ─┘
//! ```
//! Promises that both are one clock: nanoseconds since it was made, on the system's monotonic clock, so that
//! readings of either, in slots and headers of the flight file, can be subtracted from one another. A reading is
//! off by at most a microsecond and a thousandth of the time since the last point ([`MonotonicClock::off_by`]),
//! mostly by less than a microsecond; the next point says so if it was more, and then the system's clock is read
//! until two stretches agree again. Readings may step by that much where the line bends: whoever subtracts them saturates.
//!
//! - **Another core or socket**: the kernel tells its time by the counter only while all of them agree; the
//!   source is looked at with each point, and given up with the kernel.
//! - **Suspend**: the counter may go on or begin anew, the kernel's clock stands still. A counter that went back is noticed at
//!   once; one that went on puts readings ahead until the next point, within a second, by 4 s at most.
//! - **A virtual machine that moves or stops**: the kernel's clock is the same counter, so both leap together; a
//!   counter of another pace bends both lines, and the next point follows.
//! - **Fork**: the child inherits line and counter, and reads on; after 4 s without a worker of its own it asks the system.
//! - **A call that outlives a point**, or years of them, has a start and an end on one and the same clock.
//!
//! Leaves to others: when to measure ([`MonotonicClock::adjust`], from one thread), and the wall clock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::line::{Line, SharedLine, scaled};
use crate::tsc;

/// How far apart two points are once the pace is known, and before.
const STRETCH: Duration = Duration::from_secs(1);
const FIRST_STRETCH: Duration = Duration::from_millis(100);
/// For how long a line is followed.
const REACH: Duration = Duration::from_secs(4);
/// A point counts only if it was measured within so many ticks; within a microsecond, at a gigahertz and above.
const SHARP_TICKS: u64 = 1_000;
const SHARP_NS: u64 = 1_000;
/// A stretch agrees with the pace before it if that foretold it to one part in so many.
const AGREES: u64 = 1_000;

/// A monotonic clock of this process, in nanoseconds since it was made.
///
/// ```
/// let clock = callmeter_flight::MonotonicClock::new();
/// let before = clock.ns();
/// clock.adjust();
/// assert!(clock.ns() >= before);
/// ```
// One cache line, written once a second.
#[derive(Debug)]
#[repr(align(64))]
pub struct MonotonicClock {
    line: SharedLine,
    base: Instant,
    /// Whether there is a counter that may tell the time; once not, never again.
    has_counter: AtomicBool,
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self::new()
    }
}

impl MonotonicClock {
    /// A clock that begins at 0. It asks the system until [`adjust`](Self::adjust) has met two stretches of one
    /// pace, some tenths of a second later.
    pub fn new() -> Self {
        Self::with(tsc::is_invariant() && tsc::is_the_kernels())
    }

    /// A clock that asks the system for ever.
    pub fn of_system() -> Self {
        Self::with(false)
    }

    fn with(has_counter: bool) -> Self {
        Self {
            line: SharedLine::new(Line::default()),
            base: Instant::now(),
            has_counter: AtomicBool::new(has_counter),
        }
    }

    /// The time. No system call, no lock. `benches/open_finish.rs` watches it.
    #[inline]
    pub fn ns(&self) -> u64 {
        // Without a line the counter is not read: that takes as long as half a look at the system's clock.
        let line = self.line.get().filter(|line| line.reach > 0);
        let told = line.and_then(|line| line.at(tsc::ticks()));
        told.unwrap_or_else(|| self.system_ns())
    }

    /// The time by the system's clock.
    #[cold]
    #[inline(never)]
    pub fn system_ns(&self) -> u64 {
        let elapsed = self.base.elapsed();
        elapsed
            .as_secs()
            .wrapping_mul(1_000_000_000)
            .wrapping_add(u64::from(elapsed.subsec_nanos()))
    }

    /// Whether readings come from the processor's counter.
    pub fn is_by_counter(&self) -> bool {
        self.line.get().is_some_and(|line| line.reach > 0)
    }

    /// By how many nanoseconds a reading now may be off the system's clock.
    pub fn off_by(&self) -> u64 {
        let line = self.line.get().unwrap_or_default();
        if line.reach == 0 {
            return 0;
        }
        let since = self.system_ns().saturating_sub(line.ns);
        SHARP_NS.saturating_add(since / AGREES)
    }

    /// Measures a point, where it is time for one. To be called often, by one thread.
    pub fn adjust(&self) {
        self.adjust_after(STRETCH, FIRST_STRETCH);
    }

    fn adjust_after(&self, stretch: Duration, first: Duration) {
        if !self.has_counter.load(Ordering::Relaxed) {
            return;
        }
        let line = self.line.get().unwrap_or_default();
        let stretch = if line.reach > 0 { stretch } else { first };
        let since = self.system_ns().saturating_sub(line.ns);
        if line.ticks != 0 && u128::from(since) < stretch.as_nanos() {
            return;
        }
        if !tsc::is_the_kernels() {
            self.has_counter.store(false, Ordering::Relaxed);
            self.line.set(Line::default());
        } else if let Some(point) = self.measure() {
            self.line.set(line.on_to(point));
        }
    }

    /// A point of the kernel's line: the sharpest of some, if that is sharp.
    fn measure(&self) -> Option<Point> {
        let measured = (0..5).map(|_| {
            let before = tsc::ticks();
            let ns = self.system_ns();
            let between = tsc::ticks().wrapping_sub(before);
            let ticks = before.wrapping_add(between / 2);
            (between, Point { ticks, ns })
        });
        let (between, point) = measured.min_by_key(|(between, _)| *between)?;
        (between < SHARP_TICKS).then_some(point)
    }
}

/// Where the counter stood at a moment.
#[derive(Clone, Copy, Debug)]
struct Point {
    ticks: u64,
    ns: u64,
}

impl Line {
    /// The line from a point on, at the pace that led to it; it is followed only if the pace before foretold the
    /// point.
    fn on_to(self, point: Point) -> Self {
        let ticks = point.ticks.wrapping_sub(self.ticks);
        let ns = point.ns.saturating_sub(self.ns);
        let foretold = scaled(ticks, self.pace);
        let agrees = self.pace != 0 && foretold.abs_diff(ns) <= ns / AGREES;
        // From the first point of all there is no stretch to it.
        let pace = if self.ticks == 0 { 0 } else { ratio(ns, ticks) };
        Self {
            ticks: point.ticks,
            ns: point.ns,
            pace,
            reach: if agrees {
                ratio(REACH.as_nanos() as u64, pace)
            } else {
                0
            },
        }
    }
}

/// A ratio with 32 bits after the point; 0 where there is none.
fn ratio(of: u64, to: u64) -> u64 {
    let ratio = (u128::from(of) << 32).checked_div(u128::from(to));
    ratio.and_then(|ratio| ratio.try_into().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    /// Ticks a microsecond of the counter in these tests.
    const MHZ: u64 = 2_600;

    /// A line that met points a second apart, of a counter at `MHZ` and a clock that took `lengths` for each.
    fn after(lengths: &[u64]) -> (Line, Point) {
        let mut point = Point {
            ticks: 77_000,
            ns: 5,
        };
        let mut line = Line::default().on_to(point);
        for ns in lengths {
            point.ticks += MHZ * 1_000_000;
            point.ns += ns;
            line = line.on_to(point);
        }
        (line, point)
    }

    #[test]
    fn a_line_is_followed_once_two_stretches_agree_and_as_far_as_it_reaches() {
        for lengths in [&[][..], &[SECOND]] {
            let (line, point) = after(lengths);
            assert_eq!(line.at(point.ticks), None, "{line:?}");
        }
        let (line, point) = after(&[SECOND, SECOND]);
        assert_eq!(line.at(point.ticks), Some(point.ns));
        for us in [1, 1_000, 3_999_999] {
            let told = line.at(point.ticks + us * MHZ).unwrap();
            assert!(told.abs_diff(point.ns + us * 1_000) <= 3, "{told}");
        }
        assert_eq!(line.at(point.ticks + 4_000_001 * MHZ), None, "it is old");
    }

    #[test]
    fn a_clock_that_is_corrected_bends_the_line_and_one_that_leaps_breaks_it() {
        let bent = SECOND + 500_000;
        let (line, point) = after(&[SECOND, SECOND, bent]);
        let told = line.at(point.ticks + MHZ * 1_000_000).unwrap();
        assert!(told.abs_diff(point.ns + bent) <= 1, "{told}");

        // While the machine slept the counter went on and the kernel's clock stood still.
        let (line, point) = after(&[SECOND, SECOND, SECOND / 3]);
        assert_eq!(line.at(point.ticks), None);
        let (line, point) = after(&[SECOND, SECOND, SECOND / 3, SECOND]);
        assert_eq!(line.at(point.ticks), None, "one stretch proves nothing");
        let (line, point) = after(&[SECOND, SECOND, SECOND / 3, SECOND, SECOND]);
        assert_eq!(line.at(point.ticks), Some(point.ns));
    }

    #[test]
    fn a_counter_that_began_anew_is_noticed_at_once_and_learnt_again() {
        let (line, mut point) = after(&[SECOND, SECOND]);
        assert_eq!(line.at(3), None);
        assert_eq!(line.at(point.ticks - 1), None);
        point = Point {
            ticks: 3,
            ns: point.ns + SECOND,
        };
        let mut line = line.on_to(point);
        for followed in [false, false, true] {
            assert_eq!(line.at(point.ticks).is_some(), followed, "{line:?}");
            point.ticks += MHZ * 1_000_000;
            point.ns += SECOND;
            line = line.on_to(point);
        }
    }

    /// Readings lie between those of the system's clock before and after them, but for what the clock says it may
    /// be off, over many points, in the thread that measures them and in others.
    #[test]
    fn its_readings_are_the_system_s_within_the_bound_it_states() {
        let clock = MonotonicClock::new();
        let done = AtomicBool::new(false);
        let stretch = Duration::from_millis(10);
        let compare = |last: &mut u64| {
            let (off, before) = (clock.off_by(), clock.system_ns());
            let told = clock.ns();
            let after = clock.system_ns();
            let off = off.max(clock.off_by());
            assert!(told + off >= before, "{told} + {off} < {before}");
            assert!(told <= after + off, "{told} > {after} + {off}");
            assert!(told + 2 * off >= *last, "{told} + 2 * {off} < {last}");
            *last = told;
        };
        let (mut points, mut by_counter) = (0, 0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut last = 0;
                    while !done.load(Ordering::Relaxed) {
                        compare(&mut last);
                    }
                });
            }
            let (mut last, mut seen) = (0, Line::default());
            while clock.system_ns() < 60 * SECOND && points < 30 {
                clock.adjust_after(stretch, stretch);
                compare(&mut last);
                let line = clock.line.get().unwrap();
                points += u32::from(line != seen);
                by_counter += u32::from(line != seen && line.reach > 0);
                seen = line;
                if !clock.has_counter.load(Ordering::Relaxed) && last > SECOND / 10 {
                    break;
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        if clock.has_counter.load(Ordering::Relaxed) {
            assert!(by_counter > 0, "{points} points, none of them followed");
        }
    }

    #[test]
    fn a_clock_of_the_system_never_reads_the_counter() {
        let clock = MonotonicClock::of_system();
        clock.adjust();
        assert!(!clock.is_by_counter());
        assert_eq!(clock.off_by(), 0);
        let (before, told) = (clock.system_ns(), clock.ns());
        assert!(before <= told && told <= clock.system_ns());
    }
}
