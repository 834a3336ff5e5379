//! An awaitable that is ready: what entering and leaving a call in `async with` gives.

use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;

/// An awaitable that is ready.
#[pyclass(module = "callmeter._native")]
pub(crate) struct Ready(pub(crate) Option<Py<PyAny>>);

#[pymethods]
impl Ready {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let value = slf.borrow_mut().0.take();
        Err(PyStopIteration::new_err((value,)))
    }
}
