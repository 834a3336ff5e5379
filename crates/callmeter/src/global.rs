//! The recorder of the process: what [`call`](crate::call) and its like work on.
//!
//! One relaxed load decides whether there is anything to do, and says in which flight buffer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::logging::log_line;
use crate::recorder::Recorder;
use crate::station::lock_unless_stuck;

/// The id of the buffer that the process's calls are opened in; 0 while nothing is recorded.
static CURRENT: AtomicU64 = AtomicU64::new(0);
static WAS_STARTED: AtomicBool = AtomicBool::new(false);
static WAS_WARNED: AtomicBool = AtomicBool::new(false);
static RECORDER: Mutex<Option<Arc<Recorder>>> = Mutex::new(None);

/// Makes `recorder` the process's own; says `false` when there is one already.
pub(crate) fn install(recorder: &Arc<Recorder>) -> bool {
    let Some(mut slot) = lock_unless_stuck(&RECORDER) else {
        return false;
    };
    if slot.is_some() {
        return false;
    }
    *slot = Some(Arc::clone(recorder));
    recorder.set_process_wide(true);
    WAS_STARTED.store(true, Ordering::SeqCst);
    true
}

/// Ends the process's recorder if it is this one.
pub(crate) fn uninstall(recorder: &Arc<Recorder>) {
    if let Some(mut slot) = lock_unless_stuck(&RECORDER)
        && slot
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, recorder))
    {
        recorder.set_process_wide(false);
        *slot = None;
    }
}

/// The process's recorder.
pub(crate) fn recorder() -> Option<Arc<Recorder>> {
    lock_unless_stuck(&RECORDER)?.clone()
}

/// The buffer that the process's calls are opened in; 0 is off.
#[inline]
pub(crate) fn current() -> &'static AtomicU64 {
    &CURRENT
}

/// Sets it; only for the process's recorder.
pub(crate) fn set_current(id: u64) {
    CURRENT.store(id, Ordering::SeqCst);
}

/// Says once that calls are made but nobody called `init`.
#[inline]
pub(crate) fn warn_if_never_started() {
    if !WAS_STARTED.load(Ordering::Relaxed) {
        warn_once();
    }
}

#[cold]
fn warn_once() {
    if !WAS_WARNED.swap(true, Ordering::Relaxed) {
        log_line!(warn: "calls are made but not recorded: callmeter::init() was not called"
        );
    }
}
