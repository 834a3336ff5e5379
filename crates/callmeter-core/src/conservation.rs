//! Promise CM-3 as arithmetic: where every finished call is.

use crate::DropReason;

/// How many finished calls are where. In every state of rest
/// `finished = buffered + spooled + acknowledged + rejected + Σ dropped`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conservation {
    /// Calls whose guard has returned.
    pub finished: u64,
    /// Of them, not yet in the spool.
    pub buffered: u64,
    /// In the spool, not yet acknowledged by the store.
    pub spooled: u64,
    /// Acknowledged by the store.
    pub acknowledged: u64,
    /// Refused by the store for good and kept in `rejected`.
    pub rejected: u64,
    /// Lost, by reason, in the order of [`DropReason::ALL`].
    pub dropped: [u64; DropReason::ALL.len()],
}

impl Conservation {
    /// All that was lost, of any reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// What was lost for `reason`.
    pub fn dropped_for(&self, reason: DropReason) -> u64 {
        let at = DropReason::ALL.iter().position(|known| *known == reason);
        at.and_then(|at| self.dropped.get(at)).copied().unwrap_or(0)
    }

    /// Counts `count` more lost for `reason`.
    pub fn add_dropped(&mut self, reason: DropReason, count: u64) {
        for (known, slot) in DropReason::ALL.iter().zip(&mut self.dropped) {
            if *known == reason {
                *slot = slot.saturating_add(count);
            }
        }
    }

    /// How many calls the right side of the equation accounts for.
    pub fn accounted(&self) -> u64 {
        [
            self.buffered,
            self.spooled,
            self.acknowledged,
            self.rejected,
        ]
        .iter()
        .fold(self.dropped_total(), |sum, count| {
            sum.saturating_add(*count)
        })
    }

    /// Whether every finished call is accounted for.
    pub fn holds(&self) -> bool {
        self.finished == self.accounted()
    }

    /// The sum of two processes' figures.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        for (mine, theirs) in [
            (&mut self.finished, other.finished),
            (&mut self.buffered, other.buffered),
            (&mut self.spooled, other.spooled),
            (&mut self.acknowledged, other.acknowledged),
            (&mut self.rejected, other.rejected),
        ] {
            *mine = mine.saturating_add(theirs);
        }
        for (mine, theirs) in self.dropped.iter_mut().zip(other.dropped) {
            *mine = mine.saturating_add(theirs);
        }
        self
    }
}
