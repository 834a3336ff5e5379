//! The place of a call: file and line of the host's code, found once for each place.
//!
//! Each thread remembers the places that it met last by code object and instruction; the line is asked for once. A place lasts as long as the
//! process, so their number is bounded; calls of further places have none.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};

use callmeter::binding::CallSite;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::once::get_or_make;

/// How many places a thread remembers; another one with the same number takes over.
const REMEMBERED: usize = 64;
/// How many places a process has.
const PLACES: usize = 16_384;

static MADE: AtomicUsize = AtomicUsize::new(0);
static GET_FRAME: PyOnceLock<Option<Py<PyAny>>> = PyOnceLock::new();
static SHORTEN: PyOnceLock<Option<Py<PyAny>>> = PyOnceLock::new();

struct Known {
    /// Held, so that no other code object gets its address.
    code: Py<PyAny>,
    instruction: i32,
    site: Option<&'static CallSite>,
}

thread_local! {
    static KNOWN: RefCell<Vec<Option<Known>>> = const { RefCell::new(Vec::new()) };
}

/// The place of a function that is decorated: every call of it has it.
#[pyclass(frozen, module = "callmeter._native")]
pub(crate) struct Site(pub(crate) Option<&'static CallSite>);

#[pymethods]
impl Site {
    /// A place by the path of its file, as rows show it, and its line.
    #[new]
    fn new(file: &str, line: u32) -> Self {
        Self(make(file, line))
    }
}

/// The place that the function was called from which called us. `benches/` watches it.
#[inline]
pub(crate) fn of_caller(py: Python<'_>) -> Option<&'static CallSite> {
    let get_frame = get_or_make(py, &GET_FRAME, || {
        let get_frame = py.import("sys").and_then(|sys| sys.getattr("_getframe"));
        get_frame.ok().map(Bound::unbind)
    })?
    .as_ref()?;
    let frame = get_frame.bind(py).call0().ok()?;
    let code = frame.getattr(intern!(py, "f_code")).ok()?;
    let instruction = frame.getattr(intern!(py, "f_lasti")).ok()?;
    let instruction = instruction.extract::<i32>().ok()?;
    let place = (code.as_ptr().addr() >> 4) ^ instruction.unsigned_abs() as usize;
    let place = place % REMEMBERED;
    let known = KNOWN.try_with(|known| {
        let known = known.try_borrow().ok()?;
        let entry = known.get(place)?.as_ref()?;
        (entry.instruction == instruction && entry.code.is(&code)).then_some(entry.site)
    });
    match known {
        Ok(Some(site)) => site,
        _ => meet(&frame, &code, (place, instruction)),
    }
}

#[cold]
fn meet(
    frame: &Bound<'_, PyAny>,
    code: &Bound<'_, PyAny>,
    (place, instruction): (usize, i32),
) -> Option<&'static CallSite> {
    let line = frame.getattr(intern!(frame.py(), "f_lineno")).ok();
    let line = line
        .and_then(|line| line.extract::<u32>().ok())
        .unwrap_or(0);
    let site = shortened(code).and_then(|file| make(&file, line));
    let entry = Known {
        code: code.clone().unbind(),
        instruction,
        site,
    };
    let before = KNOWN.try_with(|known| {
        let mut known = known.try_borrow_mut().ok()?;
        if known.is_empty() {
            known.resize_with(REMEMBERED, || None);
        }
        known.get_mut(place)?.replace(entry)
    });
    // Outside of the borrow: with a code object may go anything.
    drop(before);
    site
}

fn make(file: &str, line: u32) -> Option<&'static CallSite> {
    let is_free = MADE.fetch_add(1, Ordering::Relaxed) < PLACES;
    is_free.then(|| CallSite::lasting(file, line))
}

/// The path of a code object's file from its package's root on.
fn shortened(code: &Bound<'_, PyAny>) -> Option<String> {
    let py = code.py();
    let shorten = get_or_make(py, &SHORTEN, || {
        let module = py.import("callmeter._place").ok()?;
        module.getattr("shortened").ok().map(Bound::unbind)
    })?
    .as_ref()?;
    let file = code.getattr("co_filename").ok()?;
    let file = shorten.bind(py).call1((file,)).ok()?;
    file.extract::<String>().ok()
}
