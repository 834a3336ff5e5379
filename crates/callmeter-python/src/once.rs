//! Values that are made once, without anybody waiting for whoever makes them.
//!
//! To make one may import a module and let other threads run; a fork may fall into that, and a child that waited for
//! a thread which is not there would wait for ever. So whoever finds none makes one, and the first that is there stays.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// The value, made now if there is none.
#[inline]
pub(crate) fn get_or_make<'cell, T>(
    py: Python<'_>,
    cell: &'cell PyOnceLock<T>,
    make: impl FnOnce() -> T,
) -> Option<&'cell T> {
    match cell.get(py) {
        Some(value) => Some(value),
        None => keep(py, cell, make),
    }
}

#[cold]
fn keep<'cell, T>(
    py: Python<'_>,
    cell: &'cell PyOnceLock<T>,
    make: impl FnOnce() -> T,
) -> Option<&'cell T> {
    // Another thread was faster, if it is refused.
    let _ = cell.set(py, make());
    cell.get(py)
}
