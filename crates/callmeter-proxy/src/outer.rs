//! Calls of an outer layer that requests say they belong to (`x-callmeter-call`), and which request completes the
//! row.
//!
//! ```text
//! first request of the call                        completes its row
//! another, while that one is in flight or answered  a row of its own, made within the call
//! another, after it failed                          completes the row again: a client that tries again, whose last
//!                                                   word counts
//! ```
//! So each answer is paid for once, in whichever row it stands.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use callmeter::{CallGuard, CallId};

/// The latest calls that requests belonged to.
#[derive(Debug, Default)]
pub(crate) struct OuterCalls(Mutex<VecDeque<Known>>);

#[derive(Debug)]
struct Known {
    call: CallId,
    /// Requests that completed it, less one.
    rev: u32,
    /// The last of them failed.
    has_failed: bool,
}

/// How many are remembered. A call is forgotten only when so many began after it.
const MOST: usize = 1_024;

impl OuterCalls {
    /// Lets a request complete the row of a call, if it is the one to; else the call is what it is made within.
    pub(crate) fn claim(self: &Arc<Self>, call: CallId) -> Option<Claim> {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The latest are asked for most.
        let known = calls.iter_mut().rev().find(|known| known.call == call);
        let rev = match known {
            Some(known) if known.has_failed => {
                known.has_failed = false;
                known.rev = known.rev.saturating_add(1);
                known.rev
            }
            Some(_) => return None,
            None => {
                if calls.len() >= MOST {
                    calls.pop_front();
                }
                calls.push_back(Known {
                    call,
                    rev: 0,
                    has_failed: false,
                });
                0
            }
        };
        Some(Claim {
            calls: Arc::clone(self),
            call,
            rev,
            is_answered: AtomicBool::new(false),
        })
    }
}

/// A request's hold on the row of a call. Dropped without an answer, the next request of the call may have it.
#[derive(Debug)]
pub(crate) struct Claim {
    calls: Arc<OuterCalls>,
    pub(crate) call: CallId,
    pub(crate) rev: u32,
    is_answered: AtomicBool,
}

impl Claim {
    /// The request was answered: the row is complete.
    pub(crate) fn answered(&self) {
        self.is_answered.store(true, Ordering::Relaxed);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.is_answered.load(Ordering::Relaxed) {
            return;
        }
        let mut calls = self.calls.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = calls.iter_mut().rev();
        if let Some(known) = known.find(|known| known.call == self.call) {
            known.has_failed = true;
        }
    }
}

/// The guard that completes a row, kept open over all tries of a request; dropped, the client went away.
pub(crate) struct OuterGuard(Option<CallGuard>);

impl OuterGuard {
    pub(crate) const fn new(guard: CallGuard) -> Self {
        Self(Some(guard))
    }

    /// Gives the guard to the try that answers.
    pub(crate) fn take(mut self) -> Option<CallGuard> {
        self.0.take()
    }
}

impl Drop for OuterGuard {
    fn drop(&mut self) {
        if let Some(guard) = self.0.take() {
            guard.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use callmeter_core::Timestamp;

    #[test]
    fn a_row_is_claimed_by_one_request_at_a_time_and_again_after_a_failure() {
        let calls = Arc::new(OuterCalls::default());
        let call = CallId::new(Timestamp::from_micros(1_790_000_000_000_000), 7);
        let first = calls.claim(call).unwrap();
        assert_eq!(first.rev, 0);
        assert!(calls.claim(call).is_none(), "in flight");
        drop(first);
        let second = calls.claim(call).unwrap();
        assert_eq!(second.rev, 1);
        second.answered();
        drop(second);
        assert!(calls.claim(call).is_none(), "answered");
    }

    #[test]
    fn as_many_as_are_remembered_are_bounded() {
        let calls = Arc::new(OuterCalls::default());
        for number in 0..3 * MOST as u64 {
            let call = CallId::new(Timestamp::from_micros(1_790_000_000_000_000), number);
            calls.claim(call).unwrap().answered();
        }
        assert_eq!(calls.0.lock().unwrap().len(), MOST);
    }
}
