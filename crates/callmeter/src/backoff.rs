//! How long to wait after a failure: twice as long each time, with jitter, up to a minute.

use std::time::Duration;

const FIRST_MS: u64 = 100;
const LONGEST_MS: u64 = 60_000;

/// The next pause after failures in a row.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure: between half and all of 100 ms · 2ⁿ, at most a minute.
    pub(crate) fn next(&mut self) -> Duration {
        let full = FIRST_MS
            .saturating_mul(1 << self.failures.min(20))
            .min(LONGEST_MS);
        self.failures = self.failures.saturating_add(1);
        jittered(full)
    }

    /// The pause while another writer is at work: 5 to 10 ms.
    pub(crate) fn next_short(&self) -> Duration {
        jittered(10)
    }
}

fn jittered(full_ms: u64) -> Duration {
    let mut bytes = [0_u8; 2];
    // Without randomness there is no jitter.
    crate::random::fill(&mut bytes);
    let random = u64::from(u16::from_le_bytes(bytes));
    let half = full_ms / 2;
    let extra = half.saturating_mul(random) >> 16;
    Duration::from_millis(half.saturating_add(extra))
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
}
