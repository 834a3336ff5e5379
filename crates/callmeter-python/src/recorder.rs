//! The recorder of the process: started at the first call, put to rest for forks, closed at exit.
//!
//! ```text
//! absent ── first call ──▶ ready ── fork ──▶ resting ── next call, or the end of one ──▶ ready
//!   ▲                        └── exit ──▶ absent
//!   └── broken: nothing is tried again
//! ```
//! One relaxed load tells a call that all is as it should be ([`gate`]). Which settings there are beside file and
//! environment, and what else a process does about them, is `callmeter._runtime`'s to say.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use callmeter::settings::{Settings, Sources};
use callmeter::{Builder, Callmeter, DropReason};
use callmeter_core::legacy_prompt_hash;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::{hooks, switch};

/// Locked only by threads that hold Python's lock, and never across anything that gives it up: a fork, which takes
/// that lock, finds it free, and so does the child.
static CALLMETER: Mutex<Option<Arc<Callmeter>>> = Mutex::new(None);

/// The longest that a flush does not look whether it was interrupted.
const FLUSH_SLICE: Duration = Duration::from_millis(200);

const SDK: &str = concat!("callmeter-python/", env!("CARGO_PKG_VERSION"));

pub(crate) mod gate {
    //! Whether a call can simply be recorded.

    use std::sync::atomic::{AtomicU8, Ordering};

    use pyo3::prelude::*;

    pub(super) const READY: u8 = 0;
    pub(super) const ABSENT: u8 = 1;
    pub(super) const RESTING: u8 = 2;
    pub(super) const HELD_BACK: u8 = 3;

    static GATE: AtomicU8 = AtomicU8::new(ABSENT);

    pub(super) fn set(state: u8) {
        GATE.store(state, Ordering::Relaxed);
    }

    pub(super) fn state() -> u8 {
        GATE.load(Ordering::Relaxed)
    }

    /// Whether somebody takes care of calls that end.
    #[inline]
    pub(crate) fn is_ready() -> bool {
        state() == READY
    }

    /// Whether a call can be recorded, by now at least.
    #[inline]
    pub(crate) fn is_ready_or_made_so(py: Python<'_>) -> bool {
        is_ready() || ask(py)
    }

    /// Sees to it that somebody takes care of a call that ends.
    #[inline]
    pub(crate) fn make_ready(py: Python<'_>) {
        if state() == RESTING {
            ask(py);
        }
    }

    #[cold]
    fn ask(py: Python<'_>) -> bool {
        if state() == HELD_BACK {
            return false;
        }
        let runtime = py
            .import("callmeter._runtime")
            .and_then(|runtime| runtime.call_method0("make_ready"));
        // It lets no exception out; were there one, it would be none of the host's.
        drop(crate::text::answered(py, runtime));
        is_ready()
    }
}

fn slot(_attached: Python<'_>) -> MutexGuard<'static, Option<Arc<Callmeter>>> {
    CALLMETER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The recorder; nobody holds its lock while it works.
fn current(py: Python<'_>) -> Option<Arc<Callmeter>> {
    slot(py).clone()
}

/// A setting from code: its name, its value, where it comes from, and whether it is only suggested, where nothing
/// else says.
pub(crate) type Flag = (String, String, String, bool);

/// Where settings come from: this process, and what was given in code.
pub(crate) fn sources(flags: Vec<Flag>, config: Option<PathBuf>) -> Sources {
    let mut sources = Sources::of_process();
    // Read at each call instead.
    for switch in callmeter::binding::SWITCHES {
        sources.environment.remove(switch);
    }
    sources.config = config;
    for (name, value, origin, is_suggested) in flags {
        // Names and origins live as long as the settings: they are few, and given once.
        let flag: (&str, String, &str) = (name.leak(), value, origin.leak());
        let list = if is_suggested {
            &mut sources.suggested
        } else {
            &mut sources.flags
        };
        list.push(flag);
    }
    sources
}

/// Every setting with its value, without secrets, and its origin, and what is wrong with them.
#[pyfunction]
#[pyo3(signature = (flags, config=None))]
pub(crate) fn settings(
    flags: Vec<Flag>,
    config: Option<PathBuf>,
) -> (Vec<(String, String, String)>, Vec<String>) {
    let (resolved, errors) = Settings::resolve_what_can_be(&sources(flags, config));
    let errors = errors.iter().flat_map(|errors| errors.iter());
    let errors = errors.map(ToString::to_string).collect();
    let origins = resolved.origins.into_iter();
    let origins = origins.map(|origin| (origin.key, origin.value, origin.origin));
    (origins.collect(), errors)
}

/// Starts recording; says where calls are spooled.
#[pyfunction]
#[pyo3(signature = (flags, config=None))]
pub(crate) fn start(py: Python<'_>, flags: Vec<Flag>, config: Option<PathBuf>) -> PyResult<String> {
    start_with(py, flags, config, |builder| builder)
}

/// Starts recording with a builder that is told more.
pub(crate) fn start_with(
    py: Python<'_>,
    flags: Vec<Flag>,
    config: Option<PathBuf>,
    tell: impl FnOnce(Builder) -> Builder + Send,
) -> PyResult<String> {
    let sources = sources(flags, config);
    if current(py).is_some() {
        return Err(PyRuntimeError::new_err(
            "callmeter is running in this process already",
        ));
    }
    let started = py.detach(|| {
        let builder = callmeter::builder().sources(sources).sdk(SDK);
        let callmeter = tell(builder).init();
        let callmeter = callmeter.map_err(|error| error.to_string())?;
        let home = callmeter.home().path().to_string_lossy().into_owned();
        Ok((callmeter, home))
    });
    let (callmeter, home) = started.map_err(|error: String| PyRuntimeError::new_err(error))?;
    // The SDK has one recorder for each process: no other can have come between.
    *slot(py) = Some(Arc::new(callmeter));
    gate::set(gate::READY);
    Ok(home)
}

/// Whether there is a recorder.
#[pyfunction]
pub(crate) fn is_started() -> bool {
    matches!(gate::state(), gate::READY | gate::RESTING)
}

/// Nothing is recorded from here on: recording could not be started.
#[pyfunction]
pub(crate) fn hold_back() {
    gate::set(gate::HELD_BACK);
}

/// Before a fork: puts the recorder's threads to rest, for which it waits at most `limit_s` seconds.
#[pyfunction]
pub(crate) fn park(py: Python<'_>, limit_s: f64) -> bool {
    if gate::state() != gate::READY {
        return true;
    }
    let limit = Duration::try_from_secs_f64(limit_s).unwrap_or_default();
    let rests = current(py).is_none_or(|callmeter| py.detach(|| callmeter.park(limit)));
    // Another thread may end a call before the fork: it wakes nobody, nothing is lost by that.
    gate::set(gate::RESTING);
    rests
}

/// In a forked child: the next call looks after what the parent had running.
#[pyfunction]
pub(crate) fn mark_forked(py: Python<'_>) {
    crate::log::forget_parents(py);
    if gate::state() == gate::READY {
        gate::set(gate::RESTING);
    }
}

/// After a fork, when something happens: lets the threads work again.
#[pyfunction]
pub(crate) fn resume(py: Python<'_>) {
    if gate::state() != gate::RESTING {
        return;
    }
    if let Some(callmeter) = current(py) {
        py.detach(|| callmeter.resume());
    }
    gate::set(gate::READY);
}

/// Ends recording: waits for the store as long as the settings say, and no longer than a moment while it is down.
#[pyfunction]
pub(crate) fn close(py: Python<'_>) {
    gate::set(gate::ABSENT);
    let callmeter = slot(py).take();
    py.detach(|| drop(callmeter));
}

/// Waits until the store has every call that was finished before, at most `timeout_s` seconds.
#[pyfunction]
pub(crate) fn flush(py: Python<'_>, timeout_s: f64) -> PyResult<bool> {
    let Ok(timeout) = Duration::try_from_secs_f64(timeout_s) else {
        return Err(PyValueError::new_err(
            "timeout is a number of seconds, 0 or more",
        ));
    };
    let began = Instant::now();
    loop {
        let left = timeout.saturating_sub(began.elapsed());
        let slice = left.min(FLUSH_SLICE);
        let is_complete = |callmeter: Arc<Callmeter>| callmeter.flush(slice).is_complete();
        let callmeter = current(py);
        if py.detach(|| callmeter.is_none_or(is_complete)) {
            return Ok(true);
        }
        if left.is_zero() {
            return Ok(false);
        }
        // Ctrl-C is the host's.
        py.check_signals()?;
    }
}

/// The switch of the host.
#[pyfunction]
pub(crate) fn set_enabled(enabled: bool) {
    callmeter::set_enabled(enabled);
}

/// Whether calls are recorded, as far as the recorder knows.
#[pyfunction]
pub(crate) fn is_enabled() -> bool {
    callmeter::binding::is_on()
}

/// The recorder's figures; empty without one.
#[pyfunction]
pub(crate) fn stats(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let stats = current(py).map(|callmeter| py.detach(move || callmeter.stats()));
    let figures = PyDict::new(py);
    let Some(stats) = stats else {
        return Ok(figures);
    };
    let conservation = stats.conservation;
    figures.set_item("finished", conservation.finished)?;
    figures.set_item("buffered", conservation.buffered)?;
    figures.set_item("moving", stats.moving)?;
    figures.set_item("spooled", conservation.spooled)?;
    figures.set_item("acknowledged", conservation.acknowledged)?;
    figures.set_item("rejected", conservation.rejected)?;
    let dropped = PyDict::new(py);
    for reason in DropReason::ALL.iter().copied() {
        dropped.set_item(reason.as_str(), conservation.dropped_for(reason))?;
    }
    figures.set_item("dropped", dropped)?;
    figures.set_item("unknown_callers", stats.unknown_callers)?;
    figures.set_item("meta_refused", stats.meta_refused)?;
    figures.set_item("is_shipping", stats.is_shipping)?;
    figures.set_item("is_degraded", stats.is_degraded)?;
    figures.set_item("last_error", stats.last_error)?;
    Ok(figures)
}

/// The hash that stands for a prompt, as the settings say. While nothing is recorded there is none to be had but
/// the replaced module's, and that only where it is stood in for: a short prompt can be guessed from it.
pub(crate) fn prompt_hash(py: Python<'_>, prompt: &str) -> Option<String> {
    if switch::is_on(py) {
        gate::is_ready_or_made_so(py);
    }
    match current(py) {
        Some(callmeter) => callmeter.prompt_hash(prompt),
        None if hooks::is_compat() => legacy_prompt_hash(prompt),
        None => None,
    }
}
