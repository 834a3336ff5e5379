//! The gate: a fork waits a moment for work that must not be cut in half.
//!
//! A forked child has the parent's memory and none of its threads: what such a thread held, the child
//! finds held for ever. SQLite has such locks of its own. So the background threads say when they are
//! at work ([`Busy`]), and a handler of `fork` waits for them, at most `PATIENCE`, and keeps them from
//! beginning anew until the fork is done. Calls are not concerned: recording takes no such lock. Nor does a
//! fork wait for a network: work that only waits lets it through ([`Busy::pause`]).
//!
//! A raw `clone()` runs no handler; a child made so may find its spool stuck. Its calls then stay in its
//! flight buffer, and are adopted when it ends.
#![allow(
    unsafe_code,
    reason = "the handlers of fork are registered with the C library"
)]

use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// The longest that a fork is held up.
const PATIENCE: Duration = Duration::from_millis(50);
const PAUSE: Duration = Duration::from_micros(100);

static CLOSED: AtomicBool = AtomicBool::new(false);
static WITHIN: AtomicUsize = AtomicUsize::new(0);

/// Work during which the process should not be forked; ends when dropped.
#[derive(Debug)]
#[must_use = "the work is over when this is dropped"]
pub struct Busy(());

impl Busy {
    /// Begins work; waits while a fork is going on. Not for a host's threads on their way through a call.
    pub fn begin() -> Self {
        static REGISTERED: Once = Once::new();
        REGISTERED.call_once(register);
        enter();
        Self(())
    }

    /// Lets forks through while `wait` runs: a long wait, as for a network, in which this thread holds
    /// nothing that a forked child needs. Only for a thread that is at work.
    pub fn pause<T>(wait: impl FnOnce() -> T) -> T {
        struct Resumed;
        impl Drop for Resumed {
            // Also where `wait` panics: the work that goes on unwinding ends once.
            fn drop(&mut self) {
                enter();
            }
        }
        leave();
        let _resumed = Resumed;
        wait()
    }

    /// Whether there is work in this process that a fork would wait for.
    pub fn is_any() -> bool {
        WITHIN.load(Ordering::SeqCst) > 0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        leave();
    }
}

fn enter() {
    loop {
        WITHIN.fetch_add(1, Ordering::SeqCst);
        if !CLOSED.load(Ordering::SeqCst) {
            return;
        }
        leave();
        std::thread::sleep(PAUSE);
    }
}

fn leave() {
    // In a child that was forked by the busy thread itself the count begins at 0 again.
    let _ = WITHIN.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
}

#[cfg(unix)]
fn register() {
    use std::ffi::c_int;
    type Handler = Option<unsafe extern "C" fn()>;
    unsafe extern "C" {
        fn pthread_atfork(before: Handler, parent: Handler, child: Handler) -> c_int;
    }
    // SAFETY: the handlers are functions of this crate, which stay for the life of the process, and neither
    // panic nor unwind. That registering fails for want of memory leaves forks as they were.
    let _ = unsafe { pthread_atfork(Some(before_fork), Some(after_fork), Some(in_child)) };
}

#[cfg(not(unix))]
fn register() {}

#[cfg(unix)]
extern "C" fn before_fork() {
    CLOSED.store(true, Ordering::SeqCst);
    let mut left = PATIENCE;
    while WITHIN.load(Ordering::SeqCst) > 0 && !left.is_zero() {
        std::thread::sleep(PAUSE);
        left = left.saturating_sub(PAUSE);
    }
}

#[cfg(unix)]
extern "C" fn after_fork() {
    CLOSED.store(false, Ordering::SeqCst);
}

#[cfg(unix)]
extern "C" fn in_child() {
    WITHIN.store(0, Ordering::SeqCst);
    CLOSED.store(false, Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_lets_forks_through_and_ends_however_it_ends() {
        assert!(!Busy::is_any());
        let busy = Busy::begin();
        assert!(Busy::is_any());
        assert!(!Busy::pause(Busy::is_any));
        assert!(Busy::is_any());
        let panicked = std::panic::catch_unwind(|| Busy::pause(|| std::panic::panic_any(())));
        assert!(panicked.is_err() && Busy::is_any());
        drop(busy);
        assert!(!Busy::is_any());
    }
}
