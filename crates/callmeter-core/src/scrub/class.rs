//! Names of error types: which words are some, what stands around them, and what kind they tell of.

use crate::meta::begins_like_a_secret;
use crate::vocabulary::ErrorKind;

/// The longest name of a type that is kept.
const LONGEST: usize = 128;

/// How names of exceptions end.
const ENDINGS: &[&str] = &[
    "Error",
    "Exception",
    "Warning",
    "Timeout",
    "Interrupt",
    "Exit",
    "Violation",
    "Exhausted",
    "Unavailable",
    "Exceeded",
    "Refused",
    "Denied",
    "NotFound",
    "Failure",
    "Failed",
    "Aborted",
    "Disconnected",
    "Cancelled",
    "Canceled",
    "Overloaded",
    "Conflict",
    "BadRequest",
    "Forbidden",
    "Unauthorized",
    "Unauthenticated",
    "InvalidArgument",
    "TooManyRedirects",
    "MissingSchema",
    "InvalidSchema",
    "InvalidURL",
    "InvalidHeader",
    "UnsupportedProtocol",
    "IncompleteRead",
    "InvalidChunkLength",
    "TooManyRequests",
    "Iteration",
    "Closed",
    "CannotConnectNow",
    "DeadlockDetected",
    "UndefinedTable",
    "UndefinedColumn",
    "UndefinedFunction",
    "Fault",
    "Representation",
    "Truncation",
    "OutOfRange",
    "Privilege",
    "NotAvailable",
    "Shutdown",
    "Connections",
    "Transaction",
    "DivisionByZero",
    "DiskFull",
    "OutOfMemory",
    "ObjectInUse",
    "InvalidPassword",
];

/// How names of exceptions in camel case begin.
const BEGINNINGS: &[&str] = &["Undefined", "Duplicate", "Invalid", "TooMany"];

/// Names of exceptions in lower case.
const LOWER: &[&str] = &["error", "gaierror", "herror", "timeout"];

/// Words that hosts put before an error's text: `Ollama error: …`.
const PREFIX_WORDS: &[&str] = &[
    "ai",
    "all",
    "anthropic",
    "api",
    "call",
    "chat",
    "claude",
    "client",
    "connection",
    "database",
    "db",
    "embedding",
    "error",
    "exception",
    "failed",
    "failure",
    "fallback",
    "gemini",
    "generate",
    "google",
    "host",
    "hosts",
    "providers",
    "retries",
    "attempts",
    "http",
    "https",
    "last",
    "llm",
    "model",
    "network",
    "nim",
    "nvidia",
    "ollama",
    "openai",
    "primary",
    "provider",
    "request",
    "secondary",
    "server",
    "timeout",
    "to",
    "unexpected",
    "with",
];

/// The last part of a dotted name.
pub(super) fn last_segment(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// A type's name as the host gives it; what is no name, as a sentence in its place, is none.
pub(super) fn given(name: &str) -> Option<String> {
    let is_of_a_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
    let is_name = !name.is_empty() && name.len() <= LONGEST && name.chars().all(is_of_a_name);
    (is_name && !begins_like_a_secret(name)).then(|| name.to_owned())
}

/// Whether a word is the name of an exception.
pub(super) fn is_exception(name: &str) -> bool {
    let last = last_segment(name);
    let is_cased = last.starts_with(|c: char| c.is_ascii_uppercase())
        && (ENDINGS.iter().any(|ending| last.ends_with(ending)) || begins_as_one(last));
    name.len() <= LONGEST && (is_cased || LOWER.contains(&last))
}

/// Whether a name in camel case begins as those of exceptions do.
fn begins_as_one(name: &str) -> bool {
    let rest = BEGINNINGS
        .iter()
        .find_map(|beginning| name.strip_prefix(beginning));
    rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
}

/// The type that a text begins with, and its message.
pub(super) fn head(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'));
    let (name, rest) = text.split_at_checked(end.unwrap_or(text.len()))?;
    if !is_exception(name) {
        return None;
    }
    let rest = match rest {
        "" | ":" => "",
        _ => match rest.strip_prefix(": ") {
            Some(message) => message,
            None => printed(rest)?,
        },
    };
    Some((name, rest))
}

/// The message of an exception as `repr` prints it: `ConnectError('…')`.
fn printed(rest: &str) -> Option<&str> {
    if rest == "()" {
        return Some("");
    }
    let inner = rest.strip_prefix('(')?.strip_suffix(')')?;
    let inner = inner.strip_suffix(',').unwrap_or(inner);
    ['\'', '"'].into_iter().find_map(|quote| {
        let inner = inner.strip_prefix(quote)?.strip_suffix(quote)?;
        // Of several arguments nothing is known.
        let joint = format!("{quote}, ");
        (!inner.contains(&joint)).then_some(inner)
    })
}

/// What stands around a message: another type, SQLAlchemy's brackets, a host's own words. Gives the part that
/// is kept, the type in it, and the rest.
pub(super) fn wrapper(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let (kept, name) = type_before(text).or_else(|| own_words(text).map(|kept| (kept, None)))?;
    Some((kept, name, text.get(kept.len()..)?))
}

fn type_before(text: &str) -> Option<(&str, Option<&str>)> {
    let is_bracketed = text.starts_with('(');
    let inner = text.strip_prefix('(').unwrap_or(text);
    let end = inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'))?;
    let name = inner.get(..end).filter(|name| is_exception(name))?;
    let behind = inner.get(end..)?;
    let marks: &[&str] = if is_bracketed {
        &[") "]
    } else if name.ends_with("Exception") {
        &[": ", " - "]
    } else {
        &[": "]
    };
    let mark = marks.iter().find(|mark| behind.starts_with(**mark))?;
    let bytes = usize::from(is_bracketed)
        .saturating_add(end)
        .saturating_add(mark.len());
    Some((text.get(..bytes)?, Some(name)))
}

fn own_words(text: &str) -> Option<&str> {
    let (words, _) = text.split_once(": ")?;
    let count = words.split(' ').count();
    let are_known = words
        .split(' ')
        .all(|word| PREFIX_WORDS.contains(&word.to_ascii_lowercase().as_str()));
    let bytes = words.len().saturating_add(2);
    (count <= 4 && are_known)
        .then(|| text.get(..bytes))
        .flatten()
}

/// The kind that a type's name tells, if it does.
pub(super) fn kind_of(name: &str) -> Option<ErrorKind> {
    let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    let is = |names: &[&str]| names.contains(&name);
    if is(&[
        "CancelledError",
        "KeyboardInterrupt",
        "SystemExit",
        "GeneratorExit",
        "ClientClosedRequestError",
    ]) {
        return Some(ErrorKind::Cancelled);
    }
    if is(&["FileNotFoundError", "ModuleNotFoundError"]) {
        return Some(ErrorKind::Other);
    }
    if has(&[
        "RateLimit",
        "TooManyRequests",
        "ResourceExhausted",
        "Throttl",
        "PaymentRequired",
    ]) {
        return Some(ErrorKind::RateLimit);
    }
    if has(&[
        "Authentication",
        "PermissionDenied",
        "Unauthenticated",
        "Unauthorized",
        "Forbidden",
        "InvalidPassword",
        "InvalidAuthorization",
        "CredentialsError",
        "OAuthError",
    ]) {
        return Some(ErrorKind::Auth);
    }
    if has(&["ContextWindow", "ContextLength", "ContentTooLarge"]) {
        return Some(ErrorKind::ContextLength);
    }
    if has(&["ContentPolicy", "ContentFilter"]) {
        return Some(ErrorKind::ContentFilter);
    }
    if has(&["Overloaded", "ServiceUnavailable"]) {
        return Some(ErrorKind::Overloaded);
    }
    if has(&["Timeout", "TimedOut", "DeadlineExceeded"]) || name == "timeout" {
        return Some(ErrorKind::Timeout);
    }
    if has(&[
        "BadRequest",
        "UnprocessableEntity",
        "InvalidArgument",
        "InvalidRequest",
    ]) {
        return Some(ErrorKind::InvalidRequest);
    }
    if has(&["NotFound"]) {
        return Some(ErrorKind::NotFound);
    }
    if has(&["InternalServer"]) || name == "ServerError" {
        return Some(ErrorKind::Server);
    }
    let is_network = has(&[
        "Connection",
        "Connect",
        "Disconnect",
        "Network",
        "Protocol",
        "NameResolution",
        "ChunkedEncoding",
        "IncompleteRead",
    ]) || is(&[
        "gaierror",
        "BrokenPipeError",
        "ReadError",
        "WriteError",
        "ProxyError",
        "SSLError",
        "MaxRetryError",
        "URLError",
    ]);
    is_network.then_some(ErrorKind::Network)
}

/// The kind that a provider's code tells, if it does.
pub(super) fn kind_of_code(code: &str) -> Option<ErrorKind> {
    let code = code.to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| code.contains(part));
    if has(&[
        "content_filter",
        "content_policy",
        "responsibleai",
        "moderation",
        "prohibited_content",
        "safety",
    ]) {
        Some(ErrorKind::ContentFilter)
    } else if has(&[
        "context_length",
        "exceed_context",
        "context_window",
        "request_too_large",
    ]) {
        Some(ErrorKind::ContextLength)
    } else if has(&[
        "quota",
        "rate_limit",
        "ratelimit",
        "resource_exhausted",
        "throttl",
        "toomanyrequests",
        "too_many_requests",
        "billing",
        "insufficient_balance",
    ]) {
        Some(ErrorKind::RateLimit)
    } else if has(&["overloaded", "unavailable", "modelnotready"]) {
        Some(ErrorKind::Overloaded)
    } else if has(&[
        "api_key",
        "authentication",
        "unauthenticated",
        "permission",
        "accessdenied",
        "unrecognizedclient",
        "expiredtoken",
        "unauthorized",
        "forbidden",
    ]) {
        Some(ErrorKind::Auth)
    } else if has(&["not_found", "notfound"]) {
        Some(ErrorKind::NotFound)
    } else if has(&["timeout", "deadline_exceeded"]) {
        Some(ErrorKind::Timeout)
    } else if has(&[
        "invalid_request",
        "invalid_argument",
        "validation",
        "badrequest",
        "unsupported",
        "missing",
    ]) {
        Some(ErrorKind::InvalidRequest)
    } else if has(&["api_error", "server_error", "internal"]) {
        Some(ErrorKind::Server)
    } else {
        None
    }
}
