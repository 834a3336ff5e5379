//! Meta and money as a host gives them, told to a guard.
//!
//! A dictionary of the host's may change while it is read and may hold itself: the look is bounded in number and
//! depth, and what JSON has no form for becomes its text, as in the module that callmeter replaces.

use callmeter::{CallGuard, MetaValue};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::text::{answered, text_of, with_text};

/// Keys and items beyond this are not even looked at; the rules of meta allow fewer.
const MOST: usize = 64;
const DEEPEST: usize = 4;

/// A copy of what was given as meta; nothing, where it is no mapping or empty.
#[cold]
pub(crate) fn copied<'py>(given: &Bound<'py, PyAny>) -> Option<Bound<'py, PyDict>> {
    let py = given.py();
    if given.is_none() {
        return None;
    }
    if let Ok(dict) = given.cast::<PyDict>() {
        return answered(py, dict.copy());
    }
    let copy = answered(py, py.get_type::<PyDict>().call1((given,)))?;
    copy.cast_into::<PyDict>().ok()
}

/// Tells the guard every entry.
#[cold]
pub(crate) fn tell(py: Python<'_>, meta: &Bound<'_, PyDict>, guard: &mut CallGuard) {
    // A list of its own: the dictionary may change while a value says its text.
    for entry in meta.items().iter().take(MOST) {
        let Some((key, value)) =
            answered(py, entry.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>())
        else {
            continue;
        };
        let value = value_of(&value, DEEPEST);
        with_text(&key, |key| {
            guard.meta(key, value);
        });
    }
}

fn value_of(object: &Bound<'_, PyAny>, depth: usize) -> MetaValue {
    if object.is_none() {
        return MetaValue::Null;
    }
    if let Ok(text) = object.cast::<PyString>() {
        return MetaValue::Text(text_of(text).into_owned());
    }
    if let Ok(truth) = object.cast::<PyBool>() {
        return MetaValue::Bool(truth.is_true());
    }
    if object.is_instance_of::<PyInt>()
        && let Ok(integer) = object.extract::<i64>()
    {
        return MetaValue::Int(integer);
    }
    if let Ok(float) = object.cast::<PyFloat>() {
        return MetaValue::Float(float.value());
    }
    let Some(depth) = depth.checked_sub(1) else {
        return MetaValue::Text("…".to_owned());
    };
    if let Ok(list) = object.cast::<PyList>() {
        let items = list.iter().take(MOST);
        return MetaValue::List(items.map(|item| value_of(&item, depth)).collect());
    }
    if let Ok(tuple) = object.cast::<PyTuple>() {
        let items = tuple.iter().take(MOST);
        return MetaValue::List(items.map(|item| value_of(&item, depth)).collect());
    }
    if let Ok(dict) = object.cast::<PyDict>() {
        let entries = dict.items();
        let entries = entries.iter().take(MOST).filter_map(|entry| {
            let (key, value) = entry
                .extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()
                .ok()?;
            Some((with_text(&key, str::to_owned), value_of(&value, depth)))
        });
        return MetaValue::Map(entries.collect());
    }
    MetaValue::Text(with_text(object, str::to_owned))
}

/// Tells the guard a cost that the host assigned, in USD; what is no amount is ignored.
#[cold]
pub(crate) fn tell_cost(cost: &Bound<'_, PyAny>, guard: &mut CallGuard) {
    if let Ok(float) = cost.cast::<PyFloat>() {
        if float.value().is_finite() {
            guard.reported_cost(format!("{:.12}", float.value()));
        }
        return;
    }
    with_text(cost, |text| {
        guard.reported_cost(text);
    });
}
