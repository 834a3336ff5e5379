//! The state machine of a slot, and its memory ordering.
//!
//! ```text
//!            claim            open               finish               drain, commit
//!   FREE ───────────▶ FREE ─────────▶ OPEN ───────────────▶ FINISHED ───────────────▶ FREE
//!   (bit free)     (bit taken)          │ the process dies     │ the process dies
//!                                       ▼                      ▼
//!                               adopted: `aborted`      adopted: a row
//!   FREE ──claim──▶ TAIL ──with its call──▶ FREE             a continuation of a long text
//! ```
//! - `open` writes the opening, then the state OPEN with Release. `finish` writes the result, then
//!   FINISHED with Release. The opening never changes after OPEN. So whoever reads OPEN with Acquire has
//!   a whole opening, and whoever reads FINISHED has a whole call.
//! - A kill stops a thread between two instructions; stores before it are in the page cache, which
//!   outlives the process. An adopter holds the lease, which orders it after the death. Only the order
//!   of the stores counts: no flush, no msync.
//! - In an OPEN slot the result is half written or the previous call's: an adopter reads the opening alone.
//! - After a power loss pages of a file on disk may be of different times: opening, result and each
//!   continuation carry a checksum with the call's id in it. What fails it is torn and never a row.
//! - Every word is an atomic, written and read Relaxed between those two: readers in other processes
//!   may look at any time and find at worst a call that fails its checksum.

use crate::sync::{AtomicU64, Ordering};

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing.
    Free,
    /// A call in flight.
    Open,
    /// A finished call that has not left yet.
    Finished,
    /// More text of the call in another slot.
    Tail,
    /// No state of this format.
    Unknown,
}

impl State {
    /// Reads the state's word.
    pub(crate) const fn of_word(word: u64) -> Self {
        match word {
            0 => Self::Free,
            1 => Self::Open,
            2 => Self::Finished,
            3 => Self::Tail,
            _ => Self::Unknown,
        }
    }

    const fn word(self) -> u64 {
        match self {
            Self::Free => 0,
            Self::Open => 1,
            Self::Finished => 2,
            Self::Tail => 3,
            Self::Unknown => u64::MAX,
        }
    }
}

/// The state as it stands; what was written before it is visible.
pub(crate) fn state_of(word: &AtomicU64) -> State {
    State::of_word(word.load(Ordering::Acquire))
}

/// Sets the state; what was written before becomes visible with it.
#[inline]
pub(crate) fn set_state(word: &AtomicU64, state: State) {
    word.store(state.word(), Ordering::Release);
}
