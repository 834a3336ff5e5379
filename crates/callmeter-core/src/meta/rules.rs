//! Which values of meta are refused: those that may be content or a secret, by name, length, depth or looks.
//!
//! Owns the lists of words and the reading of keys. What becomes of a refused value is left to
//! [`meta`](crate::meta).

use super::MetaValue;

const MAX_TEXT_CHARS: usize = 256;
const MAX_ALLOWED_CHARS: usize = 2_000;
const MAX_LIST: usize = 16;

/// Names that stand for what was said to or by a model, as whole words of a key.
const CONTENT_WORDS: &[&str] = &[
    "prompt",
    "prompts",
    "message",
    "messages",
    "content",
    "contents",
    "completion",
    "completions",
    "response",
    "reply",
    "answer",
    "text",
    "input",
    "inputs",
    "output",
    "outputs",
    "instruction",
    "instructions",
    "question",
    "query",
    "transcript",
    "conversation",
    "history",
    "document",
    "documents",
    "arguments",
    "args",
    "body",
    "traceback",
    "stacktrace",
    "exception",
];

/// A last word that makes a key a measure or a name of the content, not the content.
const MEASURE_WORDS: &[&str] = &[
    "hash", "id", "ids", "count", "counts", "tokens", "length", "len", "chars", "bytes", "size",
    "version", "type", "kind", "name", "ms", "us", "seconds", "ratio", "score", "lang", "language",
    "template", "format", "status", "code", "index", "rev", "model",
];

/// Names that stand for secrets, as parts of a key.
const SECRET_WORDS: &[&str] = &[
    "apikey",
    "secret",
    "password",
    "passwd",
    "authorization",
    "credential",
    "cookie",
    "privatekey",
    "accesskey",
    "bearer",
    "dsn",
    "accesstoken",
    "authtoken",
    "refreshtoken",
    "sessiontoken",
];

/// Beginnings of well-known keys and tokens.
const SECRET_PREFIXES: &[&str] = &[
    "sk-",
    "sk_",
    "rk_",
    "pk_live",
    "Bearer ",
    "bearer ",
    "Basic ",
    "AIza",
    "ya29.",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "hf_",
    "gsk_",
    "nvapi-",
    "xai-",
    "pplx-",
    "AKIA",
    "ASIA",
    "-----BEGIN",
    "r8_",
    "dop_v1_",
    "eyJ",
];

/// What a refused value was, and whether the key could be allowed.
pub(super) type Refused = (String, bool);

/// Says whether `value` may stand under `key`; `allowed` keys may hold what is refused by name or length.
pub(super) fn check(key: &str, value: &MetaValue, allowed: bool) -> Result<(), Refused> {
    check_name(key, allowed)?;
    match value {
        MetaValue::Map(values) => {
            if values.len() > MAX_LIST {
                return Err((format!("{} keys within", values.len()), false));
            }
            for (inner, value) in values {
                check_name(inner, allowed)?;
                check_flat(value, allowed)?;
            }
            Ok(())
        }
        _ => check_flat(value, allowed),
    }
}

fn check_flat(value: &MetaValue, allowed: bool) -> Result<(), Refused> {
    match value {
        MetaValue::List(values) => {
            if values.len() > MAX_LIST {
                return Err((format!("a list of {}", values.len()), false));
            }
            values
                .iter()
                .try_for_each(|value| check_scalar(value, allowed))
        }
        _ => check_scalar(value, allowed),
    }
}

fn check_scalar(value: &MetaValue, allowed: bool) -> Result<(), Refused> {
    match value {
        MetaValue::Text(text) => {
            let max = if allowed {
                MAX_ALLOWED_CHARS
            } else {
                MAX_TEXT_CHARS
            };
            let count = text.chars().count();
            if looks_like_a_secret(text) {
                Err(("a text that looks like a secret".to_owned(), false))
            } else if count > max {
                Err((format!("a text of {count} characters"), !allowed))
            } else {
                Ok(())
            }
        }
        MetaValue::List(_) => Err(("a list within a list".to_owned(), false)),
        MetaValue::Map(_) => Err(("keys more than two levels deep".to_owned(), false)),
        MetaValue::Null | MetaValue::Bool(_) | MetaValue::Int(_) | MetaValue::Float(_) => Ok(()),
    }
}

fn check_name(key: &str, allowed: bool) -> Result<(), Refused> {
    let words = words_of(key);
    let joined: String = words.concat();
    let is_measure = words
        .last()
        .is_some_and(|word| MEASURE_WORDS.contains(&word.as_str()));
    let names_token = words.iter().any(|word| word == "token");
    if names_token || SECRET_WORDS.iter().any(|secret| joined.contains(secret)) {
        return Err(("a name that stands for a secret".to_owned(), false));
    }
    let names_content = words
        .iter()
        .any(|word| CONTENT_WORDS.contains(&word.as_str()));
    if names_content && !is_measure && !allowed {
        return Err(("a name that stands for content".to_owned(), true));
    }
    Ok(())
}

/// The words of a key in snake, kebab, dotted or camel case, in lower case.
fn words_of(key: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before_was_lower = false;
    for c in key.chars() {
        let starts_word = !c.is_alphanumeric() || (c.is_uppercase() && before_was_lower);
        if starts_word && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        before_was_lower = c.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether a text begins as a well-known key or token does, however short it is.
pub(crate) fn begins_like_a_secret(text: &str) -> bool {
    SECRET_PREFIXES
        .iter()
        .any(|prefix| text.starts_with(prefix))
}

fn looks_like_a_secret(text: &str) -> bool {
    let starts = |word: &str| {
        SECRET_PREFIXES
            .iter()
            .any(|prefix| word.starts_with(prefix) && word.len() >= prefix.len().saturating_add(8))
    };
    let has_password_in_url = text.split("://").skip(1).any(|rest| {
        rest.split(['/', '?', '#'])
            .next()
            .is_some_and(|host| host.contains('@'))
    });
    has_password_in_url
        || starts(text)
        || text
            .split([' ', '\t', '\n', '"', '\'', '=', ':', ','])
            .any(starts)
}
