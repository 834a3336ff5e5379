//! The kill switch, read anew at each call (promise CM-9): `AI_CALL_LOGGING_ENABLED` and `CALLMETER_ENABLED`.
//!
//! `os.environ.get` costs most of a microsecond. What lies behind it is a dictionary from bytes to bytes, in which
//! a look-up costs some tens of nanoseconds. A host, or a test of one, that puts another object in the place of
//! `os.environ` is seen at its next call: whatever it is, it is asked by `get` then.

use callmeter::binding::SWITCHES;
use callmeter_core::is_off_word;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString};

use crate::once::get_or_make;

struct Environ {
    /// The dictionary of the module `os`.
    os: Py<PyDict>,
    name: Py<PyString>,
    /// `os.environ` as it was met, and the dictionary behind it.
    environ: Py<PyAny>,
    data: Option<Py<PyDict>>,
    keys: [Py<PyBytes>; 2],
}

static ENVIRON: PyOnceLock<Option<Environ>> = PyOnceLock::new();

/// Whether the environment lets calls be recorded: neither switch is off.
#[pyfunction]
pub(crate) fn is_on_by_env(py: Python<'_>) -> bool {
    is_on(py)
}

/// Whether the environment lets calls be recorded. `benches/` watches it.
#[inline]
pub(crate) fn is_on(py: Python<'_>) -> bool {
    let Some(Some(environ)) = get_or_make(py, &ENVIRON, || meet(py).ok()) else {
        return true;
    };
    // Whatever goes wrong here, a call is rather recorded than lost.
    environ.is_on(py).unwrap_or(true)
}

fn meet(py: Python<'_>) -> PyResult<Environ> {
    let os = py.import("os")?;
    let environ = os.getattr("environ")?;
    let data = environ.getattr("_data").ok();
    let data = data.and_then(|data| data.cast_into::<PyDict>().ok());
    // Elsewhere than on POSIX names are no bytes.
    let is_of_bytes = os.getattr("supports_bytes_environ")?.is_truthy()?;
    let keys = SWITCHES.map(|name| PyBytes::new(py, name.as_bytes()).unbind());
    Ok(Environ {
        os: os.dict().unbind(),
        name: PyString::intern(py, "environ").unbind(),
        environ: environ.unbind(),
        data: data.filter(|_| is_of_bytes).map(Bound::unbind),
        keys,
    })
}

impl Environ {
    #[inline]
    fn is_on(&self, py: Python<'_>) -> PyResult<bool> {
        let now = self.os.bind(py).get_item(self.name.bind(py))?;
        if let (Some(now), Some(data)) = (&now, &self.data)
            && now.is(&self.environ)
        {
            let data = data.bind(py);
            for key in &self.keys {
                if let Some(value) = data.get_item(key.bind(py))?
                    && is_off(&value)
                {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        ask(now)
    }
}

#[cold]
fn is_off(value: &Bound<'_, PyAny>) -> bool {
    let bytes = value.cast::<PyBytes>().map(|bytes| bytes.as_bytes());
    bytes.is_ok_and(|bytes| std::str::from_utf8(bytes).is_ok_and(is_off_word))
}

/// Asks whatever stands in the place of `os.environ`.
#[cold]
fn ask(environ: Option<Bound<'_, PyAny>>) -> PyResult<bool> {
    let Some(environ) = environ else {
        return Ok(true);
    };
    for name in SWITCHES {
        let value = environ.call_method1("get", (name,))?;
        if value
            .extract::<String>()
            .is_ok_and(|word| is_off_word(&word))
        {
            return Ok(false);
        }
    }
    Ok(true)
}
