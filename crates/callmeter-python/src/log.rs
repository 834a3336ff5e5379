//! The SDK's log lines on their way into Python's `logging`.
//!
//! They come from threads that never take Python's lock, and wait in the SDK's bounded queue; one Python thread takes
//! them out of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use callmeter::logging::{self, LogLevel, LogLines};
use pyo3::prelude::*;

const ROOM: usize = 1_000;

/// Locked only by threads that hold Python's lock, for a moment: a fork takes that lock, and finds this one free.
static LINES: Mutex<Option<Arc<LogLines>>> = Mutex::new(None);

/// A line: its level by the numbers of Python's `logging`, its logger, its text.
type Line = (u8, &'static str, String);

fn current(_attached: Python<'_>) -> Option<Arc<LogLines>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Takes the lines of this process over, into a fresh queue.
#[pyfunction]
pub(crate) fn open_log(_attached: Python<'_>) {
    let lines = logging::receive(ROOM).map(Arc::new);
    *LINES.lock().unwrap_or_else(PoisonError::into_inner) = lines;
}

/// Lets the thread that takes lines end, after those that wait.
#[pyfunction]
pub(crate) fn close_log(py: Python<'_>) {
    if let Some(lines) = current(py) {
        lines.let_go();
    }
}

/// In a forked child: the queue of the parent's is nothing to it, and a thread that the fork left behind may have
/// been at work on it.
pub(crate) fn forget_parents(_attached: Python<'_>) {
    *LINES.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// The next line; waits for one. `None` when there will be none any more.
#[pyfunction]
pub(crate) fn next_log_line(py: Python<'_>) -> Option<Line> {
    let lines = current(py)?;
    py.detach(|| lines.next(Duration::MAX)).map(|line| {
        let level = match line.level {
            LogLevel::Error => 40,
            LogLevel::Warning => 30,
            _ => 20,
        };
        (level, line.logger, line.text)
    })
}
