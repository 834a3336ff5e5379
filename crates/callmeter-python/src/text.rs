//! Texts and numbers of Python as a row takes them: any object, and no exception.
//!
//! A text with a lone surrogate keeps what is around it; an object that cannot say its text has none. What runs
//! code of the host's to answer may fail as it likes; only an interrupt, which is meant for the host, is
//! handed on.

use std::borrow::Cow;

use callmeter_core::TokenCount;
use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyString};

/// What Python answered; an exception is no answer.
pub(crate) fn answered<T>(py: Python<'_>, answer: PyResult<T>) -> Option<T> {
    match answer {
        Ok(value) => Some(value),
        Err(error) => {
            hand_on(py, &error);
            None
        }
    }
}

/// An interrupt that came while the host's code answered us comes again, on the main thread.
#[cold]
fn hand_on(py: Python<'_>, error: &PyErr) {
    if error.is_instance_of::<PyKeyboardInterrupt>(py) || error.is_instance_of::<PySystemExit>(py) {
        let again = py
            .import("_thread")
            .and_then(|thread| thread.call_method0("interrupt_main"));
        drop(again);
    }
}

/// The text of a Python string.
pub(crate) fn text_of<'a>(text: &'a Bound<'_, PyString>) -> Cow<'a, str> {
    match text.to_str() {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => text.to_string_lossy().into_owned().into(),
    }
}

/// The text of an object that is a plain string, without running any Python code; `None` of any other, and of a string
/// that no UTF-8 has a form for.
#[inline]
pub(crate) fn plain_text<'a>(object: &'a Bound<'_, PyAny>) -> Option<&'a str> {
    object.cast_exact::<PyString>().ok()?.to_str().ok()
}

/// Gives `use_it` the text of any object; the text of one that has none is empty.
pub(crate) fn with_text<T>(object: &Bound<'_, PyAny>, use_it: impl FnOnce(&str) -> T) -> T {
    if let Ok(text) = object.cast::<PyString>() {
        return use_it(&text_of(text));
    }
    match answered(object.py(), object.str()) {
        Some(text) => use_it(&text_of(&text)),
        None => use_it(""),
    }
}

/// As [`with_text`], but what UTF-8 has no form for is `?`, as where Python encodes a string with `replace`.
pub(crate) fn with_encoded<T>(object: &Bound<'_, PyAny>, use_it: impl FnOnce(&str) -> T) -> T {
    let encoded = || {
        let text = object.cast::<PyString>().ok()?;
        text.to_str().is_err().then_some(())?;
        let bytes = answered(
            object.py(),
            text.call_method1("encode", ("utf-8", "replace")),
        )?;
        let bytes = bytes.cast_into::<PyBytes>().ok()?;
        Some(std::str::from_utf8(bytes.as_bytes()).ok()?.to_owned())
    };
    match encoded() {
        Some(text) => use_it(&text),
        None => with_text(object, use_it),
    }
}

/// The object as a Python string of at most `limit` characters; `None` for one that is falsy.
pub(crate) fn cut<'py>(object: &Bound<'py, PyAny>, limit: usize) -> Option<Bound<'py, PyString>> {
    let py = object.py();
    // No text has more characters than bytes.
    if let Ok(text) = object.cast_exact::<PyString>()
        && let Some(plain) = plain_text(object)
        && plain.len() <= limit
    {
        return (!plain.is_empty()).then(|| text.clone());
    }
    if !is_true(object) {
        return None;
    }
    let text = match object.cast::<PyString>() {
        Ok(text) => text.clone(),
        Err(_) => answered(py, object.str())?,
    };
    if text.len().is_ok_and(|length| length <= limit) {
        return Some(text);
    }
    let whole = text_of(&text);
    let cut: String = whole.chars().take(limit).collect();
    Some(PyString::new(py, &cut))
}

/// Whether Python takes it for true; what cannot say counts as false.
pub(crate) fn is_true(object: &Bound<'_, PyAny>) -> bool {
    if let Ok(known) = object.cast::<PyBool>() {
        return known.is_true();
    }
    answered(object.py(), object.is_truthy()).unwrap_or(false)
}

/// A count as a host gives it, and the integer that it sees again.
pub(crate) struct Count<'py> {
    pub(crate) seen: Bound<'py, PyAny>,
    pub(crate) recorded: TokenCount,
}

/// A count of tokens from any object: `None` and what is no number are 0 to the host, and unknown to the row.
pub(crate) fn count<'py>(object: &Bound<'py, PyAny>) -> Count<'py> {
    let py = object.py();
    let nothing = || Count {
        seen: PyInt::new(py, 0).into_any(),
        recorded: TokenCount::Absent,
    };
    if object.is_none() {
        return nothing();
    }
    if object.is_exact_instance_of::<PyInt>() {
        return Count {
            seen: object.clone(),
            recorded: recorded(object),
        };
    }
    if object
        .cast::<PyFloat>()
        .is_ok_and(|float| !float.value().is_finite())
    {
        return nothing();
    }
    match answered(py, py.get_type::<PyInt>().call1((object,))) {
        Some(seen) => Count {
            recorded: recorded(&seen),
            seen,
        },
        None => nothing(),
    }
}

fn recorded(integer: &Bound<'_, PyAny>) -> TokenCount {
    // One that has no room in 64 bits is none to be believed.
    integer
        .extract::<i64>()
        .map_or(TokenCount::Implausible, TokenCount::from)
}
