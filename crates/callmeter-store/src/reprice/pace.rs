//! How many calls a slice takes, so that it holds up writers for about as long as it may.

/// The pace of a reprice: the next slice follows from how long the last one took.
///
/// It shrinks at once to what would have taken the time aimed at, and grows to at most the double, so that one stall
/// of the disk costs a few small slices, and one quick slice no long one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    calls: u32,
    most: u32,
    aim_ns: u64,
}

impl Pace {
    /// Begins with `first` calls; a slice shall take `aim_ns` and never more than `most` calls.
    pub(crate) const fn new(first: u32, most: u32, aim_ns: u64) -> Self {
        Self {
            calls: first,
            most,
            aim_ns,
        }
    }

    /// How many calls the next slice takes.
    pub(crate) const fn calls(&self) -> u32 {
        self.calls
    }

    /// Sets the most calls of a slice.
    pub(crate) fn set_most(&mut self, calls: u32) {
        self.most = calls.max(1);
        self.calls = self.calls.min(self.most);
    }

    /// Says how long a slice took.
    pub(crate) fn took(&mut self, ns: u64) {
        let calls = u128::from(self.calls) * u128::from(self.aim_ns) / u128::from(ns.max(1));
        let calls = u32::try_from(calls).unwrap_or(u32::MAX);
        let most = self.calls.saturating_mul(2).min(self.most);
        self.calls = calls.clamp(1, most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn slices_come_to_the_time_aimed_at_from_either_side() {
        for (first, call_ns) in [
            (500, 40_000),
            (500, 4_000_000),
            (2, 10_000),
            (5_000, 90_000),
        ] {
            let mut pace = Pace::new(first, 5_000, 50 * MS);
            for _ in 0..20 {
                pace.took(u64::from(pace.calls()) * call_ns);
            }
            let took = u64::from(pace.calls()) * call_ns;
            assert!(
                (45 * MS..=50 * MS).contains(&took),
                "{first} {call_ns}: {took}"
            );
        }
    }

    #[test]
    fn a_stall_makes_the_next_slices_small_and_is_forgotten_in_a_few() {
        let mut pace = Pace::new(1_000, 5_000, 50 * MS);
        pace.took(2_000 * MS);
        assert_eq!(pace.calls(), 25);
        for _ in 0..6 {
            pace.took(u64::from(pace.calls()) * 50_000);
        }
        assert_eq!(pace.calls(), 1_000);
    }

    #[test]
    fn a_slice_has_a_call_at_least_and_no_more_than_it_may() {
        let mut pace = Pace::new(1, 40, 50 * MS);
        pace.took(u64::MAX);
        assert_eq!(pace.calls(), 1);
        (0..10).for_each(|_| pace.took(0));
        assert_eq!(pace.calls(), 40);
        pace.set_most(7);
        assert_eq!(pace.calls(), 7);
        pace.set_most(0);
        pace.took(1);
        assert_eq!(pace.calls(), 1);
    }
}
