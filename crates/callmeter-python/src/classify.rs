//! What kind of error a Python exception is: by its type and those it derives from, its HTTP status and its code.
//!
//! Reads attributes that the clients of providers agree on (`status_code`, `code`, `response.status_code`); what of
//! its text a row keeps is the SDK's to say. An exception that means that somebody gave up (a cancelled task, Ctrl-C, the end of
//! the process, a closed generator) is no error: its call is `cancelled`.

use callmeter::{ErrorKind, ErrorReport};
use pyo3::exceptions::{PyException, PyGeneratorExit, PyKeyboardInterrupt, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString, PyTuple, PyType};

use crate::text::{answered, text_of, with_text};

/// Types by name, with what they mean; the nearest of an exception's types decides.
const KINDS: &[(&str, ErrorKind)] = &[
    ("CancelledError", ErrorKind::Cancelled),
    ("Cancelled", ErrorKind::Cancelled),
    ("TimeoutError", ErrorKind::Timeout),
    ("Timeout", ErrorKind::Timeout),
    ("TimeoutException", ErrorKind::Timeout),
    ("APITimeoutError", ErrorKind::Timeout),
    ("APIConnectionError", ErrorKind::Network),
    ("ConnectionError", ErrorKind::Network),
    ("TransportError", ErrorKind::Network),
    ("NetworkError", ErrorKind::Network),
    ("gaierror", ErrorKind::Network),
    ("URLError", ErrorKind::Network),
    ("RateLimitError", ErrorKind::RateLimit),
    ("AuthenticationError", ErrorKind::Auth),
    ("PermissionDeniedError", ErrorKind::Auth),
    ("NotFoundError", ErrorKind::NotFound),
    ("BadRequestError", ErrorKind::InvalidRequest),
    ("UnprocessableEntityError", ErrorKind::InvalidRequest),
    ("InternalServerError", ErrorKind::Server),
    ("ServerError", ErrorKind::Server),
];

/// What a row keeps of an exception.
pub(crate) struct Classified {
    pub(crate) type_name: String,
    pub(crate) text: String,
    pub(crate) report: ErrorReport,
    pub(crate) is_cancelled: bool,
}

/// Classifies an exception of the given type.
pub(crate) fn classify(kind: &Bound<'_, PyType>, exception: &Bound<'_, PyAny>) -> Classified {
    let py = kind.py();
    let type_name = answered(py, kind.name()).map_or_else(
        || "Exception".to_owned(),
        |name| text_of(&name).into_owned(),
    );
    let text = with_text(exception, str::to_owned);
    let by_type = kind_of(kind);
    if by_type == Some(ErrorKind::Cancelled) {
        return Classified {
            type_name,
            text,
            report: ErrorReport::new(ErrorKind::Cancelled),
            is_cancelled: true,
        };
    }
    let mut report = match http_status(exception) {
        Some(status) => ErrorReport::of_http_status(status),
        None => ErrorReport::new(by_type.unwrap_or(ErrorKind::Other)),
    };
    if let Some(code) = attribute(exception, "code")
        && let Ok(code) = code.cast::<PyString>()
    {
        report = report.code(text_of(code));
    }
    Classified {
        type_name,
        text,
        report,
        is_cancelled: false,
    }
}

fn kind_of(kind: &Bound<'_, PyType>) -> Option<ErrorKind> {
    let py = kind.py();
    let is_a = |base: &Bound<'_, PyType>| answered(py, kind.is_subclass(base)).unwrap_or(false);
    if is_a(&py.get_type::<PyKeyboardInterrupt>())
        || is_a(&py.get_type::<PySystemExit>())
        || is_a(&py.get_type::<PyGeneratorExit>())
    {
        return Some(ErrorKind::Cancelled);
    }
    let mro: Bound<'_, PyTuple> = kind.mro();
    let known = mro.iter().find_map(|base| {
        let name = base.cast::<PyType>().ok()?.name().ok()?;
        let name = text_of(&name);
        let found = KINDS.iter().find(|(known, _)| *known == name)?;
        Some(found.1)
    });
    if known.is_none() && !is_a(&py.get_type::<PyException>()) {
        return Some(ErrorKind::Other);
    }
    known
}

/// The HTTP status that the exception, or the response that it carries, names.
fn http_status(exception: &Bound<'_, PyAny>) -> Option<u16> {
    let of = |object: &Bound<'_, PyAny>, name| {
        let value = attribute(object, name)?;
        let value = value.cast_into::<PyInt>().ok()?;
        value
            .extract::<u16>()
            .ok()
            .filter(|status| (100..=599).contains(status))
    };
    of(exception, "status_code")
        .or_else(|| of(exception, "http_status"))
        .or_else(|| of(exception, "code"))
        .or_else(|| of(&attribute(exception, "response")?, "status_code"))
}

fn attribute<'py>(object: &Bound<'py, PyAny>, name: &str) -> Option<Bound<'py, PyAny>> {
    let value = answered(object.py(), object.getattr_opt(name))??;
    (!value.is_none()).then_some(value)
}
