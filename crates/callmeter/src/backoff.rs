//! How long to wait after a failure: twice as long each time, with jitter, up to a minute.

use std::time::Duration;

const FIRST_MS: u64 = 100;
const LONGEST_MS: u64 = 60_000;

/// The next pause after failures in a row.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: u32,
    /// The state of the generator that the jitter comes from.
    random: u64,
    longest_ms: u64,
}

impl Default for Backoff {
    /// Jitter from the system's randomness; without any there is none.
    fn default() -> Self {
        let mut seed = [0_u8; 8];
        crate::random::fill(&mut seed);
        Self::seeded(u64::from_le_bytes(seed))
    }
}

impl Backoff {
    /// Jitter that is the same for the same seed.
    pub(crate) const fn seeded(seed: u64) -> Self {
        Self {
            failures: 0,
            random: seed,
            longest_ms: LONGEST_MS,
        }
    }

    /// Hardly a pause, for tests of what comes after many failures.
    pub(crate) fn impatient() -> Self {
        Self {
            longest_ms: 2,
            ..Self::seeded(0)
        }
    }

    /// The pause after one more failure: between half and all of 100 ms · 2ⁿ, at most a minute.
    pub(crate) fn next(&mut self) -> Duration {
        let full = FIRST_MS
            .saturating_mul(1 << self.failures.min(20))
            .min(self.longest_ms);
        self.failures = self.failures.saturating_add(1);
        self.jittered(full)
    }

    /// The pause while another writer is at work: 5 to 10 ms.
    pub(crate) fn next_short(&mut self) -> Duration {
        self.jittered(10)
    }

    /// Begins anew: the store has answered.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    fn jittered(&mut self, full_ms: u64) -> Duration {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let random = mixed >> 48;
        let half = full_ms / 2;
        let extra = half.saturating_mul(random) >> 16;
        Duration::from_millis(half.saturating_add(extra))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_never_reach_zero() {
        let mut backoff = Backoff::default();
        for failure in 0..40 {
            let full = (100_u64 << failure.min(20)).min(60_000);
            let pause = backoff.next().as_millis() as u64;
            assert!(pause >= full / 2 && pause <= full, "{failure}: {pause}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_pauses() {
        let pauses = |seed| {
            let mut backoff = Backoff::seeded(seed);
            (0..8).map(|_| backoff.next()).collect::<Vec<_>>()
        };
        assert_eq!(pauses(7), pauses(7));
        assert_ne!(pauses(7), pauses(8));
    }
}
