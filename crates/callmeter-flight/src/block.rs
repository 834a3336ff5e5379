//! A block: sixteen slots and the one line of the file that says which of them are free.
//!
//! ```text
//! claim   bits 0..16 a free slot each · bits 16..64 how many calls were opened here
//! hint    not 0 after a finish; the drainer looks only at blocks that have it
//! ```
//! Claiming is one compare-and-swap that takes the lowest free bit *and* counts the call, so the count
//! survives a kill exactly. Threads prefer different blocks and so do not meet; when they do meet, they
//! only retry. Nobody owns a block: a thread that dies or idles has nothing to give back.
//!
//! Ordering: giving a slot back is a Release that the next claim Acquires, so what the drainer read of
//! the slot happened before it is written anew. Raising the hint is a read-modify-write with Release,
//! after the state's store; the drainer's swap Acquires *all* finishes whose hints it takes. A plain
//! store would do for one finisher, but of two it would hide the first from the memory model (the models
//! found it): its hint is gone, and nothing says that its state is visible. "Raise it only if it is 0"
//! would lose finishes outright. The loom models are in `models.rs`.

use crate::layout::{BLOCK_WORDS, block};
use crate::sync::{AtomicU64, Ordering};

const FREE_BITS: u64 = 0xffff;
const ONE_OPENED: u64 = 1 << 16;

/// What a claim is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A call of its own; it is counted.
    Call,
    /// More room for a call that has a slot.
    Continuation,
}

/// A block's line.
#[derive(Debug)]
pub(crate) struct Block<'a>(pub(crate) &'a [AtomicU64; BLOCK_WORDS]);

impl Block<'_> {
    /// Marks all slots as free; only before anybody uses the file.
    pub(crate) fn reset(&self) {
        self.0[block::CLAIM].store(FREE_BITS, Ordering::Relaxed);
    }

    /// Takes the lowest free slot: its number within the block. `benches/open_finish.rs` watches it.
    #[inline]
    pub(crate) fn claim(&self, purpose: Purpose) -> Option<usize> {
        let claim = &self.0[block::CLAIM];
        let count = if purpose == Purpose::Call {
            ONE_OPENED
        } else {
            0
        };
        let mut word = claim.load(Ordering::Relaxed);
        loop {
            let free = word & FREE_BITS;
            if free == 0 {
                return None;
            }
            let next = (word & !(free & free.wrapping_neg())).wrapping_add(count);
            match claim.compare_exchange_weak(word, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(free.trailing_zeros() as usize),
                Err(now) => word = now,
            }
        }
    }

    /// The slot that the claim after the next takes, if nobody else comes; past the block's end where it has none.
    #[inline]
    pub(crate) fn free_after_next(&self) -> usize {
        let free = self.0[block::CLAIM].load(Ordering::Relaxed) & FREE_BITS;
        // As if the next block's slots were free, which this thread would turn to.
        let free = free | u64::MAX << FREE_BITS.count_ones();
        (free & free.wrapping_sub(1)).trailing_zeros() as usize
    }

    /// Gives slots back, a bit each. Whoever does this has seen their states and set them to free.
    pub(crate) fn give_back(&self, slots: u64) {
        self.0[block::CLAIM].fetch_or(slots & FREE_BITS, Ordering::Release);
    }

    /// Takes all free slots for good: the ones it took, a bit each.
    pub(crate) fn take_free(&self) -> u64 {
        self.0[block::CLAIM].fetch_and(!FREE_BITS, Ordering::AcqRel) & FREE_BITS
    }

    /// The slots that are taken, a bit each.
    pub(crate) fn taken(&self) -> u64 {
        !self.0[block::CLAIM].load(Ordering::Relaxed) & FREE_BITS
    }

    /// Says that a slot was finished. After the state was set.
    #[inline]
    pub(crate) fn raise(&self) {
        self.0[block::HINT].swap(1, Ordering::Release);
    }

    /// Whether a slot was finished since the last time. Before the states are looked at.
    pub(crate) fn take_hint(&self) -> bool {
        let hint = &self.0[block::HINT];
        hint.load(Ordering::Relaxed) != 0 && hint.swap(0, Ordering::AcqRel) != 0
    }

    /// Adds to a counter that only the drainer writes.
    pub(crate) fn add_alone(&self, counter: usize, count: u64) {
        if let Some(word) = self.0.get(counter) {
            let sum = word.load(Ordering::Relaxed).saturating_add(count);
            word.store(sum, Ordering::Relaxed);
        }
    }

    /// Counts a call that found no slot.
    pub(crate) fn count_dropped(&self) {
        self.0[block::DROPPED].fetch_add(1, Ordering::Relaxed);
    }
}

/// How many calls a claim word counts.
pub(crate) const fn opened_of(claim: u64) -> u64 {
    claim >> 16
}
