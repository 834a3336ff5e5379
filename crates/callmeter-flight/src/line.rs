//! A line over a counter that many read while one changes it.
//!
//! A sequence lock: whoever reads finds either a whole line or none, and never waits; the one
//! who writes never waits either. The version is odd while it is being written. A writer that was cut off by a
//! fork leaves the child an odd version: it reads no line, ever, and asks another clock.
//!
//! Ordering: the version becomes odd before any word changes (fence Release), and even after all have (Release).
//! A reader loads the version (Acquire), the words, and after a fence Acquire the version again: the same even
//! number twice means that no word is of another line. The model is in `models.rs`.

use crate::sync::{AtomicU64, Ordering, fence};

/// Where a counter stood at a moment, and its pace since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    /// The counter at the moment.
    pub(crate) ticks: u64,
    /// The moment, in nanoseconds.
    pub(crate) ns: u64,
    /// Nanoseconds a tick, with 32 bits after the point; 0 is not known.
    pub(crate) pace: u64,
    /// For how many ticks it may be followed; 0 is not at all.
    pub(crate) reach: u64,
}

impl Line {
    /// The moment at which the counter stands there, as far as the line reaches.
    #[inline(always)]
    pub(crate) fn at(self, ticks: u64) -> Option<u64> {
        // A counter that went back has passed the line's end.
        let past = ticks.wrapping_sub(self.ticks);
        (past < self.reach).then(|| self.ns.wrapping_add(scaled(past, self.pace)))
    }
}

/// So many ticks in nanoseconds.
#[inline(always)]
pub(crate) const fn scaled(ticks: u64, pace: u64) -> u64 {
    ((ticks as u128).wrapping_mul(pace as u128) >> 32) as u64
}

/// A line that is read while it changes.
#[derive(Debug)]
pub(crate) struct SharedLine {
    version: AtomicU64,
    words: [AtomicU64; 4],
}

impl SharedLine {
    pub(crate) fn new(line: Line) -> Self {
        Self {
            version: AtomicU64::new(0),
            words: line.words().map(AtomicU64::new),
        }
    }

    /// The line, unless it is just being changed.
    #[inline(always)]
    pub(crate) fn get(&self) -> Option<Line> {
        let before = self.version.load(Ordering::Acquire);
        let [ticks, ns, pace, reach] = &self.words;
        let line = Line {
            ticks: ticks.load(Ordering::Relaxed),
            ns: ns.load(Ordering::Relaxed),
            pace: pace.load(Ordering::Relaxed),
            reach: reach.load(Ordering::Relaxed),
        };
        fence(Ordering::Acquire);
        let is_whole = before & 1 == 0 && self.version.load(Ordering::Relaxed) == before;
        is_whole.then_some(line)
    }

    /// Changes the line, unless somebody else is just changing it.
    pub(crate) fn set(&self, line: Line) {
        let even = self.version.load(Ordering::Relaxed) & !1;
        let odd = even.wrapping_add(1);
        let entered =
            self.version
                .compare_exchange(even, odd, Ordering::Acquire, Ordering::Relaxed);
        if entered.is_err() {
            return;
        }
        fence(Ordering::Release);
        for (to, word) in self.words.iter().zip(line.words()) {
            to.store(word, Ordering::Relaxed);
        }
        self.version.store(odd.wrapping_add(1), Ordering::Release);
    }
}

impl Line {
    const fn words(self) -> [u64; 4] {
        [self.ticks, self.ns, self.pace, self.reach]
    }
}
