//! The shapes of what is kept: hosts, ports, numbers, short names.
//!
//! A shape reads as much as has it from the beginning of a text. Strict shapes, the numbers, must be
//! there; of the others a template leaves out what has not the shape. What looks like a key, a token
//! or a password is never kept, whatever its shape.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{GAP, tables};
use crate::meta::begins_like_a_secret;

/// The longest name that is kept.
const LONGEST_NAME: usize = 80;
/// The most digits of a number that is kept: no card, no telephone has so few.
const MOST_DIGITS: usize = 12;

/// What stands in a hole.
pub(super) struct Hole {
    /// How many bytes of the message it takes.
    pub(super) bytes: usize,
    /// What is kept of them.
    pub(super) kept: String,
}

impl Hole {
    fn whole(text: &str) -> Self {
        Self {
            bytes: text.len(),
            kept: text.to_owned(),
        }
    }
}

/// Whether a template fits only where the shape is there.
pub(super) fn is_strict(shape: &str) -> bool {
    matches!(
        shape,
        "int" | "num" | "port" | "status" | "dur" | "size" | "q" | "hex"
    )
}

/// Reads a shape from the beginning of a text.
pub(super) fn read(shape: &str, text: &str) -> Option<Hole> {
    match shape {
        "int" => number(text, false),
        "num" => number(text, true),
        "port" => port(text),
        "status" => status(text),
        "dur" => duration(text),
        "size" => size(text),
        "hex" => hex(text),
        "q" => quote(text),
        "host" => host(text),
        "sock" => socket(text),
        "url" => url(text),
        "path" => Some(path(text)),
        "id" | "code" => name(text),
        "ids" => names(text),
        "key" => key(text, ""),
        "param" => key(text, ".[]"),
        "word" => letters(text, |c| c.is_ascii_alphanumeric() || c == '_', 32),
        "words" => known(tables::WORDS, text),
        "caps" => letters(
            text,
            |c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_',
            60,
        ),
        "type" => class_name(text),
        "reason" => known(tables::REASONS, text),
        _ => None,
    }
}

/// The longest beginning of `text` whose characters pass.
fn span(text: &str, passes: impl Fn(char) -> bool) -> &str {
    let end = text.find(|c| !passes(c)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

fn number(text: &str, with_point: bool) -> Option<Hole> {
    let digits = span(text, |c| {
        c.is_ascii_digit() || c == ',' || c == '_' || (with_point && c == '.')
    });
    let digits = digits.trim_end_matches([',', '_', '.']);
    let count = digits.bytes().filter(u8::is_ascii_digit).count();
    let begins = digits.starts_with(|c: char| c.is_ascii_digit());
    (begins && count <= MOST_DIGITS).then(|| Hole::whole(digits))
}

fn port(text: &str) -> Option<Hole> {
    let digits = span(text, |c| c.is_ascii_digit());
    digits.parse::<u16>().ok()?;
    Some(Hole::whole(digits))
}

fn status(text: &str) -> Option<Hole> {
    let digits = span(text, |c| c.is_ascii_digit());
    let status: u16 = digits.parse().ok()?;
    (digits.len() == 3 && (100..600).contains(&status)).then(|| Hole::whole(digits))
}

/// `20s`, `1m30.5s`, `430ms`.
fn duration(text: &str) -> Option<Hole> {
    let found = span(text, |c| c.is_ascii_digit() || ".hmsd".contains(c)).trim_end_matches('.');
    let begins = found.starts_with(|c: char| c.is_ascii_digit());
    (begins && found.len() <= 20).then(|| Hole::whole(found))
}

/// `5.6 GiB`.
fn size(text: &str) -> Option<Hole> {
    let number = number(text, true)?;
    let behind = text.get(number.bytes..)?;
    let unit = span(behind.strip_prefix(' ').unwrap_or(behind), |c| {
        c.is_ascii_alphabetic()
    });
    let is_unit = [
        "B", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB", "bytes",
    ]
    .contains(&unit);
    let gap = usize::from(behind.starts_with(' '));
    let bytes = number.bytes.saturating_add(gap).saturating_add(unit.len());
    is_unit
        .then(|| text.get(..bytes).map(Hole::whole))
        .flatten()
}

/// `0xff`, one byte or a few of them.
fn hex(text: &str) -> Option<Hole> {
    let digits = span(text.strip_prefix("0x")?, |c| c.is_ascii_hexdigit());
    let bytes = digits.len().saturating_add(2);
    ((1..=2).contains(&digits.len()))
        .then(|| text.get(..bytes).map(Hole::whole))
        .flatten()
}

/// A quotation mark, as Python's `repr` chooses it.
fn quote(text: &str) -> Option<Hole> {
    let escaped = ["\\'", "\\\"", "'", "\""];
    let found = escaped.iter().find(|quote| text.starts_with(**quote))?;
    Some(Hole::whole(found))
}

/// A host name or an address.
fn host(text: &str) -> Option<Hole> {
    if let Some(inner) = text.strip_prefix('[') {
        let (address, _) = inner.split_once(']')?;
        address.parse::<Ipv6Addr>().ok()?;
        let bytes = address.len().saturating_add(2);
        return text.get(..bytes).map(Hole::whole);
    }
    let address = span(text, |c| c.is_ascii_hexdigit() || c == ':' || c == '.');
    if address.contains("::") && address.parse::<Ipv6Addr>().is_ok() {
        return Some(Hole::whole(address));
    }
    let name = span(text, |c| c.is_ascii_alphanumeric() || "._-".contains(c));
    let name = name.trim_end_matches('.');
    let is_name = name.len() <= 253 && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let is_address = name.parse::<Ipv4Addr>().is_ok();
    (is_name && (is_address || !is_opaque(name))).then(|| Hole::whole(name))
}

/// The path of a database's socket.
fn socket(text: &str) -> Option<Hole> {
    let path = span(text, |c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    let file = path.rsplit('/').next().unwrap_or_default();
    let is_known = file.starts_with(".s.PGSQL.") || file.ends_with(".sock");
    (is_known && path.starts_with('/') && path.len() <= 108 && !is_opaque(path))
        .then(|| Hole::whole(path))
}

/// A URL: scheme, host and port, and the path where it is a documented one. User, password and query go.
fn url(text: &str) -> Option<Hole> {
    let whole = span(text, |c| !c.is_whitespace() && !"'\"<>)],".contains(c));
    let (scheme, behind) = whole.split_once("://")?;
    let is_scheme = !scheme.is_empty()
        && scheme.len() <= 16
        && scheme.chars().all(|c| c.is_ascii_lowercase() || c == '+');
    let end = behind.find(['/', '?', '#']).unwrap_or(behind.len());
    let (authority, tail) = behind.split_at_checked(end)?;
    let place = authority
        .rsplit_once('@')
        .map_or(authority, |(_, place)| place);
    if !is_scheme {
        return None;
    }
    let mut kept = format!("{scheme}://");
    match host(place) {
        Some(host) => {
            kept.push_str(&host.kept);
            let port = place
                .get(host.bytes..)
                .and_then(|rest| rest.strip_prefix(':'))
                .and_then(port);
            if let Some(port) = port {
                kept.push(':');
                kept.push_str(&port.kept);
            }
        }
        None => kept.push_str(GAP),
    }
    if !tail.is_empty() && tail != "/" {
        kept.push_str(&path(tail).kept);
    } else {
        kept.push_str(tail);
    }
    Some(Hole {
        bytes: whole.len(),
        kept,
    })
}

/// The path of a request, where it is a documented one; its query goes.
fn path(text: &str) -> Hole {
    let whole = span(text, |c| !c.is_whitespace() && !"'\"<>)],".contains(c));
    let path = whole.split(['?', '#']).next().unwrap_or_default();
    let is_known = path == "/" || tables::PATHS.contains(&path);
    if whole.is_empty() {
        return Hole::whole(whole);
    }
    let kept = match (is_known, path.len() == whole.len()) {
        (true, true) => path.to_owned(),
        (true, false) => format!("{path}{GAP}"),
        _ => match path.strip_suffix(GAP) {
            Some(path) if tables::PATHS.contains(&path) => whole.to_owned(),
            _ => format!("/{GAP}"),
        },
    };
    Hole {
        bytes: whole.len(),
        kept,
    }
}

/// A short name: a model, a table, a parameter, a user.
fn name(text: &str) -> Option<Hole> {
    let found = span(text, |c| {
        c.is_ascii_alphanumeric() || "_-.:/$#[]".contains(c)
    });
    let found = found.trim_end_matches(['.', ':', '/', '-']);
    let is_short = !found.is_empty() && found.len() <= LONGEST_NAME;
    (is_short && !is_opaque(found)).then(|| Hole::whole(found))
}

/// A few names, with a comma and a space between them.
fn names(text: &str) -> Option<Hole> {
    let mut bytes = name(text)?.bytes;
    for _ in 0..8 {
        let next = text
            .get(bytes..)
            .and_then(|rest| name(rest.strip_prefix(", ")?));
        let Some(next) = next else { break };
        bytes = bytes.saturating_add(2).saturating_add(next.bytes);
    }
    text.get(..bytes).map(Hole::whole)
}

/// A key of a program's own: lower case, as in `prompt_eval_count`, or with dots and brackets a path of such.
fn key(text: &str, further: &str) -> Option<Hole> {
    let passes = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let found = span(text, |c| passes(c) || further.contains(c)).trim_end_matches('.');
    let begins = found.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    (begins && found.len() <= 40 && !is_opaque(found)).then(|| Hole::whole(found))
}

fn letters(text: &str, passes: impl Fn(char) -> bool, most: usize) -> Option<Hole> {
    let found = span(text, passes);
    let found = found.trim_end();
    let begins = found.starts_with(|c: char| c.is_ascii_alphanumeric());
    (begins && found.len() <= most && !is_opaque(found)).then(|| Hole::whole(found))
}

/// The name of an exception.
fn class_name(text: &str) -> Option<Hole> {
    let found = span(text, |c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    super::class::is_exception(found).then(|| Hole::whole(found))
}

/// The longest of some fixed words that a text begins with.
fn known(words: &[&str], text: &str) -> Option<Hole> {
    let found = words.iter().filter(|word| text.starts_with(**word));
    let longest = found.max_by_key(|word| word.len())?;
    Some(Hole::whole(longest))
}

/// Whether a text looks like a key or a token: it begins as those do, or holds a long run of letters and
/// digits that is no word.
fn is_opaque(text: &str) -> bool {
    let runs = text.split(|c: char| !c.is_ascii_alphanumeric());
    begins_like_a_secret(text) || runs.into_iter().any(is_opaque_run)
}

fn is_opaque_run(run: &str) -> bool {
    let has = |test: fn(&u8) -> bool| run.bytes().any(|byte| test(&byte));
    let digits = run.bytes().filter(u8::is_ascii_digit).count();
    let is_mixed = digits > 0 && has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
    let is_long_mix = run.len() >= 20 && digits > 0 && digits < run.len();
    run.len() > 40 || is_long_mix || (run.len() >= 12 && is_mixed && digits >= 2)
}
