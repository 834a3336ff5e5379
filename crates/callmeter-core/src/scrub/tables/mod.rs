//! The templates of known errors: whose words they are, and in which order they are tried.
//!
//! Written to what libraries, drivers and providers document or hold in their source; the notation is
//! that of [`template`](super::template). A template keeps fixed words and what has a shape, so a wrong one costs
//! a word, never a secret: a hole whose neighbourhood may be chosen by content is left out.

mod databases;
mod http;
mod providers;
mod python;
mod system;
mod words;

use crate::vocabulary::ErrorKind;

/// A known message.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) pattern: &'static str,
    /// What kind of error it is, where the message alone says so.
    pub(super) kind: Option<ErrorKind>,
}

/// Declares a table of templates: the pattern, and the kind where the message tells it.
macro_rules! templates {
    ($(#[$doc:meta])* $name:ident: $($pattern:literal $(=> $kind:ident)?,)+) => {
        $(#[$doc])*
        pub(super) const $name: &[$crate::scrub::tables::Template] = &[
            $($crate::scrub::tables::Template {
                pattern: $pattern,
                kind: templates!(@ $($kind)?),
            },)+
        ];
    };
    (@ $kind:ident) => { Some($crate::vocabulary::ErrorKind::$kind) };
    (@) => { None };
}
use templates;

/// What providers say within an error body.
pub(super) static MESSAGES: [&[Template]; 4] = [
    providers::OPENAI,
    providers::ANTHROPIC,
    providers::GEMINI,
    providers::OTHERS,
];

static ALL: [&[Template]; 14] = [
    &[Template {
        pattern: super::WITHHELD,
        kind: None,
    }],
    http::REQUESTS,
    http::HTTPX,
    http::OTHERS,
    providers::CLIENTS,
    databases::LIBPQ,
    databases::DRIVERS,
    databases::POSTGRES,
    databases::MYSQL_DRIVERS,
    databases::SQLITE,
    databases::REDIS,
    providers::OLLAMA,
    system::ERRORS,
    python::BUILT_IN,
];

/// Messages of a kind that any of the tables above would take for another.
static LAST: [&[Template]; 6] = [
    providers::OPENAI,
    providers::ANTHROPIC,
    providers::GEMINI,
    providers::OTHERS,
    providers::STATUS,
    python::OWN_WORDS,
];

/// The templates of a message, in their order.
pub(super) fn candidates(class: Option<&str>) -> impl Iterator<Item = &'static Template> {
    let of_class: &[Template] = match class {
        Some("KeyError") => python::KEY_ERROR,
        _ => &[],
    };
    let all = ALL.iter().chain(&LAST).copied().flatten();
    of_class.iter().chain(all)
}

/// The table that a hole refers to.
pub(super) fn named(hole: &str) -> Option<&'static [&'static [Template]]> {
    match hole {
        "os" => Some(&[system::ERRORS]),
        "cause" => Some(&[http::CAUSES]),
        "pg" => Some(&[databases::POSTGRES]),
        "pgfail" => Some(&[databases::LIBPQ_REASONS, system::ERRORS]),
        "my" => Some(&[databases::MYSQL]),
        "msg" => Some(&MESSAGES),
        _ => None,
    }
}

pub(super) use words::{PATHS, REASONS, WORDS};
