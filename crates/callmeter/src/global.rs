//! The recorder of the process: what [`call`](crate::call) and its like work on.
//!
//! One relaxed load decides whether there is anything to do; only then the recorder is looked up.

use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::guard::CallGuard;
use crate::recorder::Recorder;

static IS_ON: AtomicBool = AtomicBool::new(false);
static WAS_STARTED: AtomicBool = AtomicBool::new(false);
static WAS_WARNED: AtomicBool = AtomicBool::new(false);
static RECORDER: RwLock<Option<Arc<Recorder>>> = RwLock::new(None);

/// Makes `recorder` the process's own; says `false` when there is one already.
pub(crate) fn install(recorder: &Arc<Recorder>) -> bool {
    let mut slot = RECORDER.write().unwrap_or_else(PoisonError::into_inner);
    if slot.is_some() {
        return false;
    }
    IS_ON.store(recorder.is_on(), Ordering::SeqCst);
    *slot = Some(Arc::clone(recorder));
    WAS_STARTED.store(true, Ordering::SeqCst);
    true
}

/// Ends the process's recorder if it is this one.
pub(crate) fn uninstall(recorder: &Arc<Recorder>) {
    let mut slot = RECORDER.write().unwrap_or_else(PoisonError::into_inner);
    if slot
        .as_ref()
        .is_some_and(|current| Arc::ptr_eq(current, recorder))
    {
        IS_ON.store(false, Ordering::SeqCst);
        *slot = None;
    }
}

/// Tells the switch of the process that a recorder's own has changed.
pub(crate) fn switch_changed(recorder: &Arc<Recorder>) {
    let slot = RECORDER.read().unwrap_or_else(PoisonError::into_inner);
    if slot
        .as_ref()
        .is_some_and(|current| Arc::ptr_eq(current, recorder))
    {
        IS_ON.store(recorder.is_on(), Ordering::SeqCst);
    }
}

/// The process's recorder.
pub(crate) fn recorder() -> Option<Arc<Recorder>> {
    RECORDER
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

pub(crate) fn open(caller: &str, provider: &str, model: &str, site: &Location<'_>) -> CallGuard {
    match recorder() {
        Some(recorder) => CallGuard::open(&recorder, caller, provider, model, site),
        None => CallGuard::off(),
    }
}

/// Whether the process records.
pub(crate) fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
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
        tracing::warn!(
            target: "callmeter",
            "calls are made but not recorded: callmeter::init() was not called"
        );
    }
}
