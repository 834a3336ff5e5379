//! Promise CM-3 inside the buffer: how many calls are where, read from the file itself.

use callmeter_core::DropReason;

use crate::block::opened_of;
use crate::layout::{BLOCK_WORDS, Geometry, HEADER_WORDS, SLOT_WORDS, block, header, slot};
use crate::slot::State;
use crate::words::Words;

/// Where the calls of a flight buffer are. At rest
/// `opened = open + finished + drained + full + torn`; in motion the difference is `moving`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// Calls for which a slot was asked, those that found none included.
    pub opened: u64,
    /// In flight.
    pub open: u64,
    /// Finished, not yet in the spool.
    pub finished: u64,
    /// Gone to the spool.
    pub drained: u64,
    /// Calls that found no free slot.
    pub full: u64,
    /// Slots that made no sense.
    pub torn: u64,
    /// Calls of which something was cut for want of room.
    pub cut: u64,
    /// Of those lost outside the buffer: calls that had been drained before.
    pub lost_after: u64,
    /// Calls lost outside the buffer, in the order of [`DropReason::ALL`].
    pub dropped_outside: [u64; DropReason::ALL.len()],
}

impl Standing {
    pub(crate) fn read(words: &(impl Words + ?Sized), geometry: Geometry) -> Self {
        let mut standing = Self {
            cut: words.word(header::CUT),
            lost_after: words.word(header::LOST),
            ..Self::default()
        };
        for index in 0..geometry.blocks() {
            let at = HEADER_WORDS.saturating_add(index.saturating_mul(BLOCK_WORDS));
            let word = |place: usize| words.word(at.saturating_add(place));
            let full = word(block::DROPPED);
            for (sum, count) in [
                (
                    &mut standing.opened,
                    opened_of(word(block::CLAIM)).saturating_add(full),
                ),
                (&mut standing.full, full),
                (&mut standing.drained, word(block::DRAINED)),
                (&mut standing.torn, word(block::TORN)),
            ] {
                *sum = sum.saturating_add(count);
            }
        }
        for index in 0..geometry.slots {
            let at = geometry
                .slots_at()
                .saturating_add(index.saturating_mul(SLOT_WORDS));
            match State::of_word(words.word(at.saturating_add(slot::STATE))) {
                State::Open => standing.open = standing.open.saturating_add(1),
                State::Finished => standing.finished = standing.finished.saturating_add(1),
                State::Free | State::Tail | State::Unknown => {}
            }
        }
        for (count, reason) in standing.dropped_outside.iter_mut().zip(DropReason::ALL) {
            *count = words.word(header::DROPPED.saturating_add(usize::from(reason.code())));
        }
        standing
    }

    /// All that the right side of the equation accounts for.
    pub fn accounted(&self) -> u64 {
        [self.open, self.finished, self.drained, self.full, self.torn]
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Calls on their way from one place to the next while the figures were read. After a kill at most
    /// one for each thread that was just taking a slot.
    pub fn moving(&self) -> u64 {
        self.opened.abs_diff(self.accounted())
    }
}
