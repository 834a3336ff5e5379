//! What went wrong, as it is shown: what, where, and what to do about it.
//!
//! ```text
//! error: there is no store at /srv/calls.db
//!   in: callmeter.toml:7
//! hint: check store.url, or record a first call: the store is made then
//! ```

use std::fmt;

use callmeter_store::StoreError;

/// A failure with its place and hint.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    place: Option<String>,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            place: None,
            hint: None,
        }
    }

    /// What a sink says.
    pub(crate) fn of_sink(error: &callmeter_core::SinkError) -> Self {
        Self {
            message: error.to_string(),
            place: None,
            hint: error.hint().map(str::to_owned),
        }
    }

    pub(crate) fn in_place(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Several failures at once.
#[derive(Debug)]
pub(crate) struct Failures(pub(crate) Vec<Failure>);

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} errors", self.0.len())
    }
}

impl std::error::Error for Failures {}

/// An error as lines for standard error.
pub(crate) fn shown(error: &anyhow::Error) -> String {
    if let Some(Failures(all)) = error.downcast_ref() {
        return all.iter().map(lines_of).collect();
    }
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return lines_of(failure);
    }
    if let Some(store) = error.downcast_ref::<StoreError>() {
        let mut failure = Failure::new(store.to_string());
        failure.hint = store.hint().map(str::to_owned);
        return lines_of(&failure);
    }
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    format!("error: {}\n", causes.join(": "))
}

fn lines_of(failure: &Failure) -> String {
    let mut lines = format!("error: {}\n", failure.message);
    if let Some(place) = &failure.place {
        lines.push_str(&format!("  in: {place}\n"));
    }
    if let Some(hint) = &failure.hint {
        lines.push_str(&format!("hint: {hint}\n"));
    }
    lines
}
