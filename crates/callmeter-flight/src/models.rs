//! The protocol under loom: every order of its steps that the memory model allows.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p callmeter-flight --lib --release`.

use std::sync::Arc;

use loom::thread;

use crate::block::{Block, Purpose};
use crate::layout::{BLOCK_WORDS, block};
use crate::line::{Line, SharedLine};
use crate::slot::{State, set_state, state_of};
use crate::sync::{AtomicU64, Ordering};

/// A block with two slots free, and two slots of one word of content each.
struct Model {
    line: [AtomicU64; BLOCK_WORDS],
    states: [AtomicU64; 2],
    contents: [AtomicU64; 2],
}

impl Model {
    fn new() -> Arc<Self> {
        let model = Self {
            line: std::array::from_fn(|_| AtomicU64::new(0)),
            states: std::array::from_fn(|_| AtomicU64::new(0)),
            contents: std::array::from_fn(|_| AtomicU64::new(0)),
        };
        model.line[block::CLAIM].store(0b11, Ordering::Relaxed);
        Arc::new(model)
    }

    fn block(&self) -> Block<'_> {
        Block(&self.line)
    }

    /// Opens and finishes a call whose content is `value`.
    fn record(&self, value: u64) -> bool {
        let Some(slot) = self.block().claim(Purpose::Call) else {
            return false;
        };
        self.contents[slot].store(value, Ordering::Relaxed);
        set_state(&self.states[slot], State::Open);
        self.contents[slot].store(value * 10, Ordering::Relaxed);
        set_state(&self.states[slot], State::Finished);
        self.block().raise();
        true
    }

    /// One round of the drainer: takes what is finished, frees it, says what it was.
    fn drain(&self, drained: &mut Vec<u64>) {
        if !self.block().take_hint() {
            return;
        }
        let taken = self.block().taken();
        for slot in (0..2).filter(|slot| taken >> slot & 1 == 1) {
            if state_of(&self.states[slot]) == State::Finished {
                drained.push(self.contents[slot].load(Ordering::Relaxed));
                set_state(&self.states[slot], State::Free);
                self.block().give_back(1 << slot);
            }
        }
    }
}

#[test]
fn each_finished_call_is_drained_once_and_whole_whatever_the_order() {
    loom::model(|| {
        let model = Model::new();
        let other = Arc::clone(&model);
        let caller = thread::spawn(move || (other.record(1), other.record(2)));
        let mut drained = Vec::new();
        model.drain(&mut drained);
        let made = caller.join().unwrap();
        assert_eq!(made, (true, true));
        model.drain(&mut drained);
        drained.sort_unstable();
        assert_eq!(drained, [10, 20]);
        assert_eq!(
            model.line[block::CLAIM].load(Ordering::Relaxed),
            2 << 16 | 0b11
        );
    });
}

#[test]
fn two_threads_in_one_block_never_share_a_slot_and_no_finish_is_overlooked() {
    loom::model(|| {
        let model = Model::new();
        let others: Vec<_> = [1, 2]
            .map(|value| {
                let model = Arc::clone(&model);
                thread::spawn(move || model.record(value))
            })
            .into();
        let mut drained = Vec::new();
        model.drain(&mut drained);
        for other in others {
            assert!(other.join().unwrap());
        }
        model.drain(&mut drained);
        drained.sort_unstable();
        assert_eq!(drained, [10, 20]);
        assert_eq!(
            model.line[block::CLAIM].load(Ordering::Relaxed),
            2 << 16 | 0b11
        );
    });
}

#[test]
fn a_slot_that_was_given_back_is_not_overwritten_while_it_is_read() {
    loom::model(|| {
        let model = Model::new();
        // One slot is out of the game: the second call needs the first one's.
        assert_eq!(model.block().claim(Purpose::Continuation), Some(0));
        assert!(model.record(1));
        let other = Arc::clone(&model);
        let caller = thread::spawn(move || other.record(2));
        let mut drained = Vec::new();
        model.drain(&mut drained);
        let made_second = caller.join().unwrap();
        model.drain(&mut drained);
        assert_eq!(drained, if made_second { vec![10, 20] } else { vec![10] });
    });
}

#[test]
fn whoever_sees_a_call_open_or_finished_sees_all_that_was_written_before() {
    loom::model(|| {
        let model = Model::new();
        let other = Arc::clone(&model);
        let caller = thread::spawn(move || other.record(3));
        match state_of(&model.states[0]) {
            // The opening's word is there; the result may already be on its way over it.
            State::Open => assert!([3, 30].contains(&model.contents[0].load(Ordering::Relaxed))),
            State::Finished => assert_eq!(model.contents[0].load(Ordering::Relaxed), 30),
            _ => {}
        }
        caller.join().unwrap();
    });
}

#[test]
fn a_line_is_read_whole_or_not_at_all_while_it_changes() {
    loom::model(|| {
        let line_of = |n: u64| Line {
            ticks: n,
            ns: n * 10,
            pace: n * 100,
            reach: n * 1_000,
        };
        let shared = Arc::new(SharedLine::new(line_of(1)));
        let other = Arc::clone(&shared);
        let writer = thread::spawn(move || {
            other.set(line_of(2));
            other.set(line_of(3));
        });
        if let Some(line) = shared.get() {
            assert_eq!(line, line_of(line.ticks));
        }
        writer.join().unwrap();
        assert_eq!(shared.get(), Some(line_of(3)));
    });
}
