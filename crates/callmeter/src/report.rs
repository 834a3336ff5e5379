//! What values can say about a call: usage from an answer, a class from an error.
//!
//! Both traits are read at most once a call and never keep the value.

use callmeter_core::{ErrorKind, Usage};

/// A value that knows what the call used, such as a provider's answer.
///
/// ```
/// use callmeter::{ReportsUsage, Usage};
/// struct Reply { prompt_eval_count: u32, eval_count: u32 }
/// impl ReportsUsage for Reply {
///     fn usage(&self) -> Usage { Usage::of(self.prompt_eval_count, self.eval_count) }
/// }
/// ```
pub trait ReportsUsage {
    /// What the call used.
    fn usage(&self) -> Usage;
}

impl ReportsUsage for Usage {
    fn usage(&self) -> Usage {
        self.clone()
    }
}

impl<T: ReportsUsage> ReportsUsage for Option<T> {
    fn usage(&self) -> Usage {
        self.as_ref()
            .map_or_else(Usage::default, ReportsUsage::usage)
    }
}

impl<T: ReportsUsage + ?Sized> ReportsUsage for Box<T> {
    fn usage(&self) -> Usage {
        (**self).usage()
    }
}

/// An error that knows its kind, its HTTP status and the provider's code.
///
/// ```
/// use callmeter::{ErrorClass, ErrorKind, ErrorReport};
/// struct TooMany;
/// impl ErrorClass for TooMany {
///     fn error_report(&self) -> ErrorReport {
///         ErrorReport::new(ErrorKind::RateLimit).http_status(429).code("rate_limit_exceeded")
///     }
/// }
/// ```
pub trait ErrorClass {
    /// What kind of error it is.
    fn error_report(&self) -> ErrorReport;
}

/// What a row keeps of an error: its kind, HTTP status and code, never its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReport {
    pub(crate) kind: ErrorKind,
    pub(crate) http_status: Option<u16>,
    pub(crate) code: Option<String>,
}

impl ErrorReport {
    /// An error of the given kind.
    pub const fn new(kind: ErrorKind) -> Self {
        Self {
            kind,
            http_status: None,
            code: None,
        }
    }

    /// The kind that an HTTP status tells by itself.
    pub const fn of_http_status(status: u16) -> Self {
        Self {
            kind: ErrorKind::of_http_status(status),
            http_status: Some(status),
            code: None,
        }
    }

    /// Adds the HTTP status.
    #[must_use]
    pub const fn http_status(mut self, status: u16) -> Self {
        self.http_status = Some(status);
        self
    }

    /// Adds the provider's code or type of the error: a name of letters, digits and `_ - . : / #`, at most
    /// 64 of them. What is no such name, as a sentence that may quote a prompt, is not kept (promise CM-6).
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into()).filter(|code| is_name(code));
        self
    }
}

fn is_name(code: &str) -> bool {
    let is_of_a_name = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':' | b'/' | b'#')
    };
    (1..=64).contains(&code.len()) && code.bytes().all(is_of_a_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_name_and_a_sentence_is_none() {
        let code = |text: &str| ErrorReport::new(ErrorKind::Server).code(text).code;
        for name in [
            "rate_limit_exceeded",
            "SQLSTATE:40001",
            "anthropic.overloaded/529",
            "1302",
        ] {
            assert_eq!(code(name).as_deref(), Some(name));
        }
        for text in ["", "no such model: gpt-6", "größe", &"x".repeat(65), "a\nb"] {
            assert_eq!(code(text), None, "{text}");
        }
    }
}
