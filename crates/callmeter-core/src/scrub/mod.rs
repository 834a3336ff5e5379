//! The error scrubber: what may be kept of an error's text (promise CM-6).
//!
//! ```text
//! RateLimitError: Error code: 429 - {'error': {'message': 'Rate limit reached for gpt-4o in organization org-…
//! └─ type ──────┘ └─ message, read by the template of the tables that keeps most of it
//! ```
//! Owns two policies ([`ErrorPolicy`]), the templates of known messages ([`tables`]), their reading
//! ([`template`], [`holes`]) and that of error bodies ([`body`]). A template is made of the fixed words of a library,
//! a driver or a provider, and of holes; what stands in a hole is kept only where it has the hole's shape: a host, a
//! port, a number, a short name. Everything else becomes `…`. Of a message that no template fits, nothing is kept but
//! the type.
//!
//! Promises that the result is bounded, printable and its own scrubbed form, for any input, and that
//! it never panics. Leaves to others where the text comes from and which policy is in force.

mod body;
mod class;
mod holes;
mod tables;
mod template;

use crate::vocabulary::ErrorKind;
use crate::{ErrorPolicy, clean_text};

use self::template::{Found, Reading};

/// The longest part of a message that is looked at, in characters. The replaced module kept 2,000.
const LOOKED_AT: usize = 4_000;
/// The longest text that comes out, in characters: that of the record's field.
const LONGEST: usize = 2_000;
/// The most types and wrappers in front of a message.
const MOST_HEADS: usize = 4;
/// What stands in place of a text of which nothing is known, not even a type.
const WITHHELD: &str = "(error text withheld)";
/// Stands for what was left out.
const GAP: &str = "…";

/// What is known of an error, and what may be kept of its text.
///
/// # Examples
/// ```
/// use callmeter_core::{ErrorKind, ErrorPolicy, ScrubbedError};
///
/// let error = ScrubbedError::of(
///     Some("RateLimitError"),
///     "Error code: 429 - {'error': {'message': 'Please stop asking: my secret plan', 'code': 'rate_limit_exceeded'}}",
/// );
/// assert_eq!(
///     error.text(ErrorPolicy::Scrubbed),
///     Some("RateLimitError: Error code: 429 - {'error': {'message': '…', 'code': 'rate_limit_exceeded'}}")
/// );
/// assert_eq!(error.text(ErrorPolicy::Class), Some("RateLimitError"));
/// assert_eq!((error.kind(), error.http_status()), (Some(ErrorKind::RateLimit), Some(429)));
/// assert_eq!(error.code(), Some("rate_limit_exceeded"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubbedError {
    class: Option<String>,
    text: String,
    found: Found,
}

impl ScrubbedError {
    /// Reads an error. `class` is the name of its type where the host knows it; else the text may begin with it,
    /// as in `TypeName: message`.
    pub fn of(class: Option<&str>, text: &str) -> Self {
        let text = one_line(text);
        let given = class.and_then(class::given);
        let (named, message) = match &given {
            Some(_) => (None, text.as_str()),
            None => match class::head(&text) {
                Some((class, rest)) => (Some(class.to_owned()), rest),
                None => (None, text.as_str()),
            },
        };
        let class = given.or(named);
        let last = class.as_deref().map(class::last_segment);
        let scrubbed = message_of(last, message)
            // What the tables make of their own result must be the same, else it is not to be trusted.
            .filter(|(out, _)| message_of(last, out).is_some_and(|(again, _)| again == *out));
        let (out, mut found) = scrubbed.unwrap_or_default();
        let text = match (&class, out.is_empty()) {
            (Some(class), true) => class.clone(),
            (Some(class), false) => format!("{class}: {out}"),
            (None, false) => out,
            (None, true) => WITHHELD.to_owned(),
        };
        found.kind = kind_of(&found, last);
        Self {
            class,
            text: clean_text(&text, LONGEST).0.into_owned(),
            found,
        }
    }

    /// What a row may keep of the text under a policy.
    pub fn text(&self, policy: ErrorPolicy) -> Option<&str> {
        match policy {
            ErrorPolicy::Class => self.class(),
            ErrorPolicy::Scrubbed => Some(&self.text),
        }
    }

    /// The name of the error's type.
    pub fn class(&self) -> Option<&str> {
        self.class.as_deref()
    }

    /// What kind of error it is, as far as its type, code, status or message tell.
    pub const fn kind(&self) -> Option<ErrorKind> {
        self.found.kind
    }

    /// The HTTP status that the message names.
    pub const fn http_status(&self) -> Option<u16> {
        self.found.http_status
    }

    /// The provider's code of the error.
    pub fn code(&self) -> Option<&str> {
        self.found.code.as_deref()
    }
}

/// The first characters of a text on one line, each run of white space and control characters as one space.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    let mut gap = false;
    for c in text.chars().take(LOOKED_AT) {
        if c.is_whitespace() || c.is_control() {
            gap = !line.is_empty();
            continue;
        }
        if std::mem::take(&mut gap) {
            line.push(' ');
        }
        line.push(c);
    }
    line
}

/// What may be kept of a message, and what it tells; `None` where no template fits.
fn message_of(class: Option<&str>, message: &str) -> Option<(String, Found)> {
    let mut out = String::new();
    let mut class = class;
    let mut rest = message;
    let mut heads_kind = None;
    for _ in 0..MOST_HEADS {
        let Some((kept, name, after)) = class::wrapper(rest) else {
            break;
        };
        out.push_str(kept);
        if let Some(name) = name {
            class = Some(class::last_segment(name));
            heads_kind = heads_kind.or_else(|| class::kind_of(class::last_segment(name)));
        }
        rest = after;
    }
    let readings = tables::candidates(class).filter_map(|template| Reading::of(template, rest));
    // Of several that fit, the one that keeps most; of equals the first.
    let reading = readings.reduce(|best, other| {
        if other.kept() > best.kept() {
            other
        } else {
            best
        }
    });
    let mut found = match reading {
        Some(reading) => {
            out.push_str(reading.text());
            reading.into_found()
        }
        // A type within the message is better than nothing.
        None if heads_kind.is_some() || !out.is_empty() => {
            out.truncate(out.trim_end_matches([' ', ':', '-']).len());
            Found::default()
        }
        None => return None,
    };
    found.kind = found.kind.or(heads_kind);
    Some((out, found))
}

/// The kind of an error: the message knows best, then its code, its status, its type.
fn kind_of(found: &Found, class: Option<&str>) -> Option<ErrorKind> {
    let by_status = found.http_status.map(ErrorKind::of_http_status);
    found
        .kind
        .or_else(|| found.code.as_deref().and_then(class::kind_of_code))
        .or(by_status.filter(|kind| *kind != ErrorKind::Other))
        .or_else(|| class.and_then(class::kind_of))
}

#[cfg(test)]
mod tests;
