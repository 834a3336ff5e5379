//! Where the host's own Python takes part in a call: patches of `callmeter.compat`, a changed cost table, its caller
//! registry.
//!
//! Tests of hosts replace functions of the module that callmeter stands in for and expect their replacements to be
//! called; `callmeter.compat` notices and says so here. Until it does, a call asks no more than one relaxed load.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use pyo3::types::PySet;

use crate::text::answered;

/// Callers beyond this number are not asked about: names that are made up call by call are no callers.
const MOST_CALLERS: usize = 10_000;

static IS_PATCHED: AtomicBool = AtomicBool::new(false);
static IS_COSTED: AtomicBool = AtomicBool::new(false);
static IS_COMPAT: AtomicBool = AtomicBool::new(false);
static HAS_REGISTRY: AtomicBool = AtomicBool::new(false);
static REGISTRY: Mutex<Option<Registry>> = Mutex::new(None);

/// The host's registry of callers, and which callers it was asked about.
struct Registry {
    ask: Py<PyAny>,
    seen: Py<PySet>,
}

/// Says what of the replaced module is patched: anything at all, and how costs are worked out.
#[pyfunction]
pub(crate) fn set_hooks(is_patched: bool, is_costed: bool) {
    IS_PATCHED.store(is_patched, Ordering::Relaxed);
    IS_COSTED.store(is_costed, Ordering::Relaxed);
}

/// Says that the replaced module is stood in for.
#[pyfunction]
pub(crate) fn set_compat() {
    IS_COMPAT.store(true, Ordering::Relaxed);
}

/// Whether the replaced module is stood in for.
pub(crate) fn is_compat() -> bool {
    IS_COMPAT.load(Ordering::Relaxed)
}

/// Sets what is asked about each caller, once a caller; `None` is nothing.
#[pyfunction]
#[pyo3(signature = (ask))]
pub(crate) fn set_registry(py: Python<'_>, ask: Option<Py<PyAny>>) -> PyResult<()> {
    let registry = match ask {
        Some(ask) => Some(Registry {
            ask,
            seen: PySet::empty(py)?.unbind(),
        }),
        None => None,
    };
    HAS_REGISTRY.store(registry.is_some(), Ordering::Relaxed);
    if let Ok(mut slot) = REGISTRY.lock() {
        *slot = registry;
    }
    Ok(())
}

/// Whether calls go by way of `callmeter.compat`.
#[inline]
pub(crate) fn is_patched() -> bool {
    IS_PATCHED.load(Ordering::Relaxed)
}

/// Whether the host works costs out by itself.
#[inline]
pub(crate) fn is_costed() -> bool {
    IS_COSTED.load(Ordering::Relaxed)
}

/// Whether the host has a registry of callers.
#[inline]
pub(crate) fn has_registry() -> bool {
    HAS_REGISTRY.load(Ordering::Relaxed)
}

/// Lets the host's registry see a caller that it has not seen yet.
pub(crate) fn consult_registry(caller: &Bound<'_, PyAny>) {
    let py = caller.py();
    let registry = REGISTRY.try_lock().ok().and_then(|registry| {
        let registry = registry.as_ref()?;
        Some((registry.ask.clone_ref(py), registry.seen.clone_ref(py)))
    });
    let Some((ask, seen)) = registry else { return };
    let seen = seen.bind(py);
    if seen.len() >= MOST_CALLERS || answered(py, seen.contains(caller)).unwrap_or(true) {
        return;
    }
    let _ = answered(py, seen.add(caller));
    drop(answered(py, ask.bind(py).call1((caller,))));
}

/// Calls a function of `callmeter.compat`; it lets no exception out.
#[cold]
pub(crate) fn call_compat<'py>(
    py: Python<'py>,
    name: &str,
    arguments: impl pyo3::call::PyCallArgs<'py>,
) -> Option<Bound<'py, PyAny>> {
    let compat = answered(py, py.import("callmeter.compat"))?;
    let function = answered(py, compat.getattr(name))?;
    answered(py, function.call1(arguments))
}
