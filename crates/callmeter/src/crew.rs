//! The threads of a recorder: started, put to rest for a fork, and ended.
//!
//! ```text
//! Working ── park ──▶ Resting ── resume ──▶ Working
//!    └─────────────── stop ────────────────▶ ended
//! ```
//! A thread that panics is restarted (promise CM-1). One that rests has given its state back, connections
//! and files included, and is no more: a process forks with none of ours. Whether it rests is decided under
//! the lock of [`Control`], so that one which is told too late goes on working.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::control::{Control, Parking};
use crate::logging::log_line;

/// What a thread's step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is more to do.
    Again,
    /// It can rest here, if it is asked to.
    AtRest,
    /// It was the last.
    Last,
}

/// A thread with a state that it works on step by step.
pub(crate) trait Hand: Send + Sized + 'static {
    /// The thread's name.
    const NAME: &'static str;

    /// One round.
    fn step(&mut self) -> Step;

    /// Which of the parkings is this hand's.
    fn parking(control: &mut crate::control::State) -> &mut Parking;
}

/// A hand and where it is.
pub(crate) enum Post<H> {
    Working(JoinHandle<Option<H>>),
    Resting(H),
    Ended,
}

impl<H: Hand> Post<H> {
    /// Starts a thread.
    pub(crate) fn start(hand: H, control: &Arc<Control>) -> std::io::Result<Self> {
        let control = Arc::clone(control);
        control.update(|state| *H::parking(state) = Parking::No);
        std::thread::Builder::new()
            .name(H::NAME.to_owned())
            .spawn(move || work(hand, &control))
            .map(Self::Working)
    }

    pub(crate) const fn is_working(&self) -> bool {
        matches!(self, Self::Working(_))
    }

    /// Takes the hand back whose thread has said that it rests.
    pub(crate) fn rest(&mut self) {
        if let Self::Working(thread) = std::mem::replace(self, Self::Ended)
            && let Ok(Some(hand)) = thread.join()
        {
            *self = Self::Resting(hand);
        }
    }

    /// Lets a resting hand work again.
    pub(crate) fn resume(&mut self, control: &Arc<Control>) -> std::io::Result<()> {
        if matches!(self, Self::Resting(_))
            && let Self::Resting(hand) = std::mem::replace(self, Self::Ended)
        {
            *self = Self::start(hand, control)?;
        }
        Ok(())
    }

    /// Waits for the end of the thread; says whether it was an orderly one.
    pub(crate) fn join(self) -> bool {
        match self {
            Self::Working(thread) => thread.join().is_ok(),
            Self::Resting(_) | Self::Ended => true,
        }
    }
}

/// Works until the last step, and gives the hand back where it is to rest.
fn work<H: Hand>(mut hand: H, control: &Control) -> Option<H> {
    let panicked = AtomicBool::new(false);
    loop {
        match catch_unwind(AssertUnwindSafe(|| hand.step())) {
            Ok(Step::Last) => return None,
            Ok(Step::AtRest) if control.update(|state| H::parking(state).rest()) => {
                return Some(hand);
            }
            Ok(_) => panicked.store(false, Ordering::Relaxed),
            Err(_) => {
                log_line!(error: "a worker panicked and was restarted");
                let seen = control.snapshot();
                if panicked.swap(true, Ordering::Relaxed) && seen.stop_worker {
                    return None;
                }
                control.wait_until(Duration::from_secs(1), |state| state.stop_shipper);
            }
        }
    }
}
