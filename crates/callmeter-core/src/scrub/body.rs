//! Error bodies as providers send them, in JSON or as Python prints them.
//!
//! ```text
//! {'error': {'message': …, 'type': 'invalid_request_error', 'param': None, 'code': 'model_not_found'}}
//! ```
//! Keeps the keys that are documented, of them the short names and numbers, and of a message what its
//! template keeps. Other keys go with their values; what is cut off in the middle ends there.

use super::template::{Found, Reading};
use super::{GAP, holes};

/// The deepest that bodies nest.
const DEEPEST: u8 = 5;
/// The most members of a list that are kept.
const MOST_ITEMS: usize = 4;
/// The longest message that is looked at, in bytes.
const LONGEST_MESSAGE: usize = 2_000;

/// Keys whose texts are short names.
const NAMES: &[&str] = &[
    "type", "code", "status", "param", "reason", "object", "event",
];
/// Keys whose texts are messages.
const MESSAGES: &[&str] = &[
    "message",
    "msg",
    "detail",
    "error",
    "error_description",
    "title",
];
/// Keys that hold further ones.
const CONTAINERS: &[&str] = &[
    "error",
    "errors",
    "detail",
    "details",
    "innererror",
    "inner_error",
    "body",
];

/// Reads a body from the beginning of a text: what is kept of it, and how many bytes it takes.
pub(super) fn read(text: &str, found: &mut Found, depth: u8) -> Option<(String, usize)> {
    if !text.starts_with(['{', '[']) {
        return None;
    }
    let mut walk = Walk {
        text,
        at: 0,
        codes: Codes::default(),
        depth,
    };
    let kept = walk.value(None, 0)?;
    if let Some(code) = walk.codes.best() {
        found.see_code(code);
    }
    if let Some(status) = walk.codes.http_status {
        found.see_status(status);
    }
    found.kind = found.kind.or(walk.codes.kind);
    Some((kept, walk.at))
}

/// What the body says of the error beside its text.
#[derive(Default)]
struct Codes {
    code: Option<String>,
    kind_word: Option<String>,
    status_word: Option<String>,
    http_status: Option<u16>,
    kind: Option<crate::ErrorKind>,
}

impl Codes {
    fn see(&mut self, key: &str, name: &str) {
        let place = match key {
            "code" => &mut self.code,
            "type" if name != "error" => &mut self.kind_word,
            "status" => &mut self.status_word,
            _ => return,
        };
        if place.is_none() {
            *place = Some(name.to_owned());
        }
    }

    fn best(&self) -> Option<&str> {
        let all = [&self.code, &self.kind_word, &self.status_word];
        all.into_iter().find_map(|word| word.as_deref())
    }
}

struct Walk<'t> {
    text: &'t str,
    at: usize,
    codes: Codes,
    depth: u8,
}

impl<'t> Walk<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn step(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.step(rest.len().saturating_sub(rest.trim_start().len()));
    }

    /// Takes a character if it stands there.
    fn takes(&mut self, c: char) -> bool {
        self.skip_blanks();
        let stands = self.rest().starts_with(c);
        self.step(if stands { c.len_utf8() } else { 0 });
        stands
    }

    /// Reads a value; gives what is kept of it. `None` where nothing is, or the text ends within.
    fn value(&mut self, key: Option<&str>, level: u8) -> Option<String> {
        self.skip_blanks();
        match self.rest().chars().next()? {
            '{' if level < DEEPEST => self.members(level),
            '[' if level < DEEPEST => self.items(key, level),
            '\'' | '"' => self.text_value(key),
            _ => self.bare(key),
        }
    }

    /// The members of an object that are kept.
    fn members(&mut self, level: u8) -> Option<String> {
        self.takes('{');
        let mut kept = Vec::new();
        while !self.takes('}') {
            let Some((quote, name)) = self.quoted() else {
                self.at = self.text.len();
                break;
            };
            if !self.takes(':') {
                self.at = self.text.len();
                break;
            }
            let is_known = [NAMES, MESSAGES, CONTAINERS]
                .iter()
                .any(|keys| keys.contains(&name))
                || name == "status_code";
            let before = (std::mem::take(&mut self.codes), is_known);
            let value = self.value(Some(name), level.saturating_add(1));
            let inner = std::mem::replace(&mut self.codes, before.0);
            if before.1 {
                self.merge(inner);
                kept.extend(value.map(|value| format!("{quote}{name}{quote}: {value}")));
            }
            if !self.takes(',') && !self.rest().starts_with('}') {
                self.at = self.text.len();
                break;
            }
        }
        (!kept.is_empty())
            .then(|| format!("{{{}}}", kept.join(", ")))
            .or_else(|| (level == 0).then(|| format!("{{{GAP}}}")))
    }

    /// An outer word yields to an inner one only where it has none.
    fn merge(&mut self, inner: Codes) {
        let codes = &mut self.codes;
        codes.code = codes.code.take().or(inner.code);
        codes.kind_word = codes.kind_word.take().or(inner.kind_word);
        codes.status_word = codes.status_word.take().or(inner.status_word);
        codes.http_status = codes.http_status.or(inner.http_status);
        codes.kind = codes.kind.or(inner.kind);
    }

    fn items(&mut self, key: Option<&str>, level: u8) -> Option<String> {
        self.takes('[');
        let mut kept = Vec::new();
        while !self.takes(']') {
            let before = self.at;
            let value = self.value(key, level.saturating_add(1));
            if kept.len() < MOST_ITEMS {
                kept.extend(value);
            }
            let goes_on = self.takes(',') || self.rest().starts_with(']');
            if !goes_on || self.at == before {
                self.at = self.text.len();
                break;
            }
        }
        (!kept.is_empty())
            .then(|| format!("[{}]", kept.join(", ")))
            .or_else(|| (level == 0).then(|| format!("[{GAP}]")))
    }

    /// Reads a text between quotation marks; gives the mark and the text as it is written.
    fn quoted(&mut self) -> Option<(char, &'t str)> {
        self.skip_blanks();
        let rest = self.rest();
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let inner = rest.get(1..)?;
        let mut is_escaped = false;
        for (at, c) in inner.char_indices() {
            match c {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = true,
                _ if c == quote => {
                    self.step(at.saturating_add(2));
                    return Some((quote, inner.get(..at)?));
                }
                _ => {}
            }
        }
        // Cut off within.
        self.at = self.text.len();
        Some((quote, inner))
    }

    fn text_value(&mut self, key: Option<&str>) -> Option<String> {
        let (quote, raw) = self.quoted()?;
        let key = key?;
        if NAMES.contains(&key) {
            let whole = |shape| holes::read(shape, raw).filter(|hole| hole.bytes == raw.len());
            let name = whole("id").or_else(|| whole("reason"));
            if let Some(name) = &name {
                self.codes.see(key, &name.kept);
            }
            let kept = name.map_or_else(|| GAP.to_owned(), |name| name.kept);
            return Some(format!("{quote}{kept}{quote}"));
        }
        if !MESSAGES.contains(&key) {
            return None;
        }
        let message = unescaped(raw);
        let (kept, found) = Reading::of_provider_s(&message, self.depth)
            .unwrap_or_else(|| (GAP.to_owned(), Found::default()));
        self.codes.kind = self.codes.kind.or(found.kind);
        let kept: String = kept
            .chars()
            .flat_map(|c| {
                (c == quote || c == '\\')
                    .then_some('\\')
                    .into_iter()
                    .chain([c])
            })
            .collect();
        Some(format!("{quote}{kept}{quote}"))
    }

    /// A number or one of the words for true, false and nothing.
    fn bare(&mut self, key: Option<&str>) -> Option<String> {
        let rest = self.rest();
        let end = rest.find([',', '}', ']']).unwrap_or(rest.len());
        let word = rest.get(..end)?.trim();
        self.step(end);
        let key = key.filter(|key| NAMES.contains(key) || *key == "status_code")?;
        if ["None", "True", "False", "null", "true", "false"].contains(&word) {
            return Some(word.to_owned());
        }
        let number = holes::read("int", word).filter(|hole| hole.bytes == word.len())?;
        if matches!(key, "code" | "status" | "status_code")
            && let Ok(status) = number.kept.parse()
            && (100..600).contains(&status)
        {
            self.codes.http_status = self.codes.http_status.or(Some(status));
        }
        Some(number.kept)
    }
}

/// A text without its escapes, on one line.
fn unescaped(raw: &str) -> String {
    let mut text = String::new();
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => match chars.next() {
                Some('n' | 't' | 'r') => ' ',
                Some(other) => other,
                None => break,
            },
            other => other,
        };
        let is_double = c == ' ' && text.ends_with(' ');
        if !is_double {
            text.push(c);
        }
        if text.len() >= LONGEST_MESSAGE {
            break;
        }
    }
    text
}
