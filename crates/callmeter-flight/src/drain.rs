//! The way out: finished calls leave for the spool, and their slots become free once they are there.
//!
//! ```text
//! drain     copies finished calls out; their slots stay as they are
//! committed the spool has them: the slots become free
//! put_back  the spool failed: the same calls are drained again
//! ```
//! A kill between the spool's commit and [`committed`](Drainer::committed) leaves calls in both places;
//! their ids are unique, so the adopter's insert-or-ignore keeps each row once. A row must therefore not
//! leave the spool before its slot is free.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use callmeter_core::CallRecord;

use crate::buffer::FlightBuffer;
use crate::layout::{BLOCK_SLOTS, block, header, slot};
use crate::read::{Found, Reader};
use crate::slot::{State, set_state, state_of};

/// Every slot of a block.
const ALL_SLOTS: u64 = (1 << BLOCK_SLOTS) - 1;

/// The one who empties a buffer.
#[derive(Debug)]
pub struct Drainer {
    buffer: Arc<FlightBuffer>,
    blocks: Vec<Pending>,
    /// Continuations of calls handed out, as slots.
    tails: Vec<u16>,
    /// The block to look at first, so that none is starved.
    first: usize,
    handed_out: usize,
}

/// What was handed out of one block.
#[derive(Clone, Copy, Debug, Default)]
struct Pending {
    /// Slots whose calls were handed out, a bit each.
    taken: u64,
    /// Those of them that were torn.
    torn: u64,
    /// The last round ended before this block was through.
    again: bool,
    /// Free slots that nobody may take any more, a bit each.
    retired: u64,
}

impl FlightBuffer {
    /// The buffer's drainer; `None` when it has one already.
    pub fn drainer(self: &Arc<Self>) -> Option<Drainer> {
        if self.has_drainer.swap(true, Ordering::AcqRel) {
            return None;
        }
        Some(Drainer {
            blocks: vec![Pending::default(); self.geometry.blocks()],
            buffer: Arc::clone(self),
            tails: Vec::new(),
            first: 0,
            handed_out: 0,
        })
    }
}

impl Drainer {
    /// The buffer that it empties.
    pub fn buffer(&self) -> &Arc<FlightBuffer> {
        &self.buffer
    }

    /// Hands out at most `max` finished calls that were not handed out yet; says how many there were. In
    /// a forked child there are none.
    pub fn drain(&mut self, max: usize, mut each: impl FnMut(CallRecord)) -> usize {
        if !self.buffer.is_ours() {
            return 0;
        }
        let buffer = Arc::clone(&self.buffer);
        let count = self.blocks.len();
        let mut drained = 0_usize;
        for step in 0..count {
            let index = self
                .first
                .wrapping_add(step)
                .checked_rem(count)
                .unwrap_or(0);
            let Some(pending) = self.blocks.get_mut(index) else {
                break;
            };
            let Some(line) = buffer.block(index) else {
                break;
            };
            if drained >= max {
                self.first = index;
                break;
            }
            if !line.take_hint() && !pending.again {
                continue;
            }
            pending.again = false;
            let mut unseen = line.taken() & !pending.taken & !pending.retired;
            while unseen != 0 {
                let bit = unseen.trailing_zeros() as usize;
                let at = index.saturating_mul(BLOCK_SLOTS).saturating_add(bit);
                unseen &= unseen.wrapping_sub(1);
                let Some(slot) = buffer.slot(at) else { break };
                if state_of(&slot[slot::STATE]) != State::Finished {
                    continue;
                }
                if drained >= max {
                    pending.again = true;
                    break;
                }
                pending.taken |= 1 << bit;
                self.handed_out = self.handed_out.saturating_add(1);
                match read_finished(&buffer, at) {
                    Some((record, tails)) => {
                        self.tails.extend(tails);
                        drained = drained.saturating_add(1);
                        each(record);
                    }
                    None => pending.torn |= 1 << bit,
                }
            }
        }
        drained
    }

    /// Whether calls were handed out of which nobody said yet what became of them.
    pub fn has_handed_out(&self) -> bool {
        self.handed_out > 0
    }

    /// Frees the slots of all calls handed out: they are in the spool, or counted as lost.
    pub fn committed(&mut self) {
        if self.handed_out == 0 || !self.buffer.is_ours() {
            return;
        }
        for index in self.tails.drain(..).map(usize::from) {
            if let (Some(slot), Some(line)) = (
                self.buffer.slot(index),
                self.buffer.block(index / BLOCK_SLOTS),
            ) {
                set_state(&slot[slot::STATE], State::Free);
                line.give_back(1 << (index % BLOCK_SLOTS));
            }
        }
        for (index, pending) in self.blocks.iter_mut().enumerate() {
            let taken = std::mem::take(&mut pending.taken);
            let torn = std::mem::take(&mut pending.torn);
            let Some(line) = self.buffer.block(index).filter(|_| taken != 0) else {
                continue;
            };
            for bit in (0..BLOCK_SLOTS).filter(|bit| taken >> bit & 1 == 1) {
                let at = index.saturating_mul(BLOCK_SLOTS).saturating_add(bit);
                if let Some(slot) = self.buffer.slot(at) {
                    set_state(&slot[slot::STATE], State::Free);
                }
            }
            line.add_alone(block::DRAINED, u64::from((taken & !torn).count_ones()));
            line.add_alone(block::TORN, u64::from(torn.count_ones()));
            line.give_back(taken);
        }
        self.handed_out = 0;
        self.buffer.tell_freed();
    }

    /// Ends the buffer: from now on no slot of it can be taken. Says whether it is over, that is, no slot
    /// was in use; then [`unlink`](Self::unlink) removes the file. Else some call is in flight or waits to
    /// be drained, and this is to be asked again later; should the process die before, the file is adopted.
    ///
    /// In a forked child it is over: the buffer is the parent's.
    pub fn retire_slots(&mut self) -> bool {
        if !self.buffer.is_ours() {
            return true;
        }
        let mut in_use = false;
        for (index, pending) in self.blocks.iter_mut().enumerate() {
            if let Some(line) = self.buffer.block(index) {
                pending.retired |= line.take_free();
                in_use |= pending.retired != ALL_SLOTS;
            }
        }
        !in_use
    }

    /// Removes the file of a buffer that is over, once nobody needs its counters any more. In a forked
    /// child it is the parent's, and stays.
    pub fn unlink(&mut self) {
        self.buffer.unlink();
    }

    /// Ends the buffer and, if it is over, removes its file; says whether it was.
    pub fn retire(&mut self) -> bool {
        let is_over = self.retire_slots();
        if is_over {
            self.unlink();
        }
        is_over
    }

    /// Forgets what was handed out: the same calls are drained again.
    pub fn put_back(&mut self) {
        self.tails.clear();
        self.handed_out = 0;
        for pending in &mut self.blocks {
            pending.again |= pending.taken != 0;
            pending.taken = 0;
            pending.torn = 0;
        }
    }
}

impl Drop for Drainer {
    fn drop(&mut self) {
        self.put_back();
        for (index, pending) in self.blocks.iter().enumerate() {
            if pending.again
                && self.buffer.is_ours()
                && let Some(line) = self.buffer.block(index)
            {
                line.raise();
            }
        }
        self.buffer.has_drainer.store(false, Ordering::Release);
    }
}

fn read_finished(buffer: &FlightBuffer, index: usize) -> Option<(CallRecord, Vec<u16>)> {
    // Acquire: every place that the slot names was published before its state.
    let used = buffer.header(header::NAMES_USED)?.load(Ordering::Acquire);
    let reader = Reader {
        words: buffer.words(),
        geometry: buffer.geometry,
        key: buffer.key,
        names_used: usize::try_from(used).ok()?,
    };
    match reader.finished(index)? {
        Found::Finished(record, tails) => Some((*record, tails)),
        _ => None,
    }
}
