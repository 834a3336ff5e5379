//! Templates of known messages, and how a message is read by one.
//!
//! ```text
//! model '{id}' not found« (status code: {status})»
//! text       must stand there, and is kept
//! {shape}    a hole: kept if it has the shape, else `…` up to the text that follows
//! {*} {**}   left out, up to the first (the last) place where what follows stands
//! {~text}    must stand there, and is not kept; {-} likewise, whatever it is
//! «…»        may be missing
//! ```
//! A template must fit the beginning of a message; what is left over becomes ` …`. Reading takes
//! time in proportion to the message, without backtracking beyond one group.

use super::tables::{self, Template};
use super::{GAP, body, holes};
use crate::vocabulary::ErrorKind;

const OPEN: char = '«';
const CLOSE: char = '»';
/// The deepest that a template refers to others.
const DEEPEST: u8 = 4;

/// What a message tells beside its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) kind: Option<ErrorKind>,
    pub(super) http_status: Option<u16>,
    pub(super) code: Option<String>,
}

impl Found {
    /// Keeps a provider's code, the first one.
    pub(super) fn see_code(&mut self, code: &str) {
        if self.code.is_none() {
            self.code = Some(code.to_owned());
        }
    }

    /// Keeps an HTTP status, the first one.
    pub(super) fn see_status(&mut self, status: u16) {
        if (100..600).contains(&status) {
            self.http_status = self.http_status.or(Some(status));
        }
    }
}

/// A message as it is being read.
#[derive(Clone)]
pub(super) struct Reading<'t> {
    input: &'t str,
    at: usize,
    out: String,
    found: Found,
    depth: u8,
}

pub(super) enum Part<'p> {
    Text(&'p str),
    Hole(&'p str),
    Group(&'p str),
}

/// Splits the first part off a pattern.
pub(super) fn first_part(pattern: &'static str) -> Option<(Part<'static>, &'static str)> {
    if let Some(inner) = pattern.strip_prefix('{') {
        let (hole, rest) = inner.split_once('}')?;
        return Some((Part::Hole(hole), rest));
    }
    if let Some(inner) = pattern.strip_prefix(OPEN) {
        let (group, rest) = inner.split_at_checked(end_of_group(inner))?;
        return Some((Part::Group(group), rest.strip_prefix(CLOSE)?));
    }
    let end = pattern.find(['{', OPEN]).unwrap_or(pattern.len());
    let (text, rest) = pattern.split_at_checked(end)?;
    (!text.is_empty()).then_some((Part::Text(text), rest))
}

/// Where a group ends, those within it passed over.
fn end_of_group(inner: &str) -> usize {
    let mut level = 0_u8;
    let closing = inner.char_indices().find(|(_, c)| {
        match *c {
            OPEN => level = level.saturating_add(1),
            CLOSE if level == 0 => return true,
            CLOSE => level = level.saturating_sub(1),
            _ => {}
        }
        false
    });
    closing.map_or(inner.len(), |(at, _)| at)
}

/// Whether a message begins with the text that a pattern begins with. The first byte tells most apart.
fn may_fit(pattern: &'static str, message: &str) -> bool {
    let first = pattern.as_bytes().first();
    if !matches!(first, Some(b'{' | 0xc2)) && first != message.as_bytes().first() {
        return false;
    }
    match first_part(pattern) {
        Some((Part::Text(text), _)) => message.starts_with(text),
        _ => true,
    }
}

impl<'t> Reading<'t> {
    /// Reads a message by a template.
    pub(super) fn of(template: &Template, message: &'t str) -> Option<Self> {
        if !may_fit(template.pattern, message) {
            return None;
        }
        let mut reading = Self::new(message, 0);
        if !reading.parts(template.pattern, "") {
            return None;
        }
        // What is told within is the better word: the cause of a failure, not that there was one.
        reading.found.kind = reading.found.kind.or(template.kind);
        reading.leave(reading.rest().len());
        Some(reading)
    }

    /// Reads the message within an error body; `None` where no template fits.
    pub(super) fn of_provider_s(message: &'t str, depth: u8) -> Option<(String, Found)> {
        let mut reading = Self::new(message, depth);
        if !reading.one_of(&tables::MESSAGES, "") {
            return None;
        }
        reading.leave(reading.rest().len());
        Some((reading.out, reading.found))
    }

    fn new(input: &'t str, depth: u8) -> Self {
        Self {
            input,
            at: 0,
            out: String::new(),
            found: Found::default(),
            depth,
        }
    }

    /// How much of the message is kept, in bytes.
    pub(super) fn kept(&self) -> usize {
        let gaps = self.out.matches(GAP).count();
        self.out
            .len()
            .saturating_sub(gaps.saturating_mul(GAP.len()))
    }

    pub(super) fn text(&self) -> &str {
        &self.out
    }

    pub(super) fn into_found(self) -> Found {
        self.found
    }

    fn rest(&self) -> &'t str {
        self.input.get(self.at..).unwrap_or_default()
    }

    fn step(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    /// Reads the parts of a pattern, behind which `after` will stand.
    fn parts(&mut self, pattern: &'static str, after: &'static str) -> bool {
        let mut pattern = pattern;
        while let Some((part, rest)) = first_part(pattern) {
            let fits = match part {
                Part::Text(text) => self.fixed(text),
                Part::Group(group) => {
                    let before = self.clone();
                    if !self.parts(group, rest) {
                        *self = before;
                    }
                    true
                }
                Part::Hole(hole) => self.hole(hole, if rest.is_empty() { after } else { rest }),
            };
            if !fits {
                return false;
            }
            pattern = rest;
        }
        true
    }

    /// Leaves out what is left over after something that is kept.
    fn leave(&mut self, bytes: usize) {
        match self.rest().get(..bytes).unwrap_or_default().trim() {
            "" => {}
            "." => self.out.push('.'),
            _ => {
                if !self.out.ends_with(' ') {
                    self.out.push(' ');
                }
                self.out.push_str(GAP);
            }
        }
        self.step(bytes);
    }

    fn fixed(&mut self, text: &str) -> bool {
        let stands = self.rest().starts_with(text);
        if stands {
            self.out.push_str(text);
            self.step(text.len());
        }
        stands
    }

    fn hole(&mut self, hole: &'static str, after: &'static str) -> bool {
        if let Some(text) = hole.strip_prefix('~') {
            let stands = self.rest().starts_with(text);
            self.step(if stands { text.len() } else { 0 });
            return stands;
        }
        match hole {
            "*" => self.leave_out(after, false),
            "**" => self.leave_out(after, true),
            "-" => {
                let before = self.out.len();
                let fits = self.leave_out(after, false);
                self.out.truncate(before);
                fits
            }
            "body" => self.body(),
            _ => match tables::named(hole) {
                Some(table) => self.refer(table, after),
                None => self.shaped(hole, after),
            },
        }
    }

    /// Leaves out what stands up to the first, or the last, place where `after` can go on.
    fn leave_out(&mut self, after: &'static str, last: bool) -> bool {
        let Some(end) = self.end_before(after, last) else {
            return false;
        };
        if end > 0 {
            self.out.push_str(GAP);
        }
        self.step(end);
        true
    }

    /// How many bytes stand before the text that goes on; all where the pattern ends.
    fn end_before(&self, after: &'static str, last: bool) -> Option<usize> {
        let mut nearest: Option<usize> = None;
        let mut pattern = after;
        loop {
            let (text, rest, is_group) = match first_part(pattern) {
                Some((Part::Text(text), rest)) => (text, rest, false),
                Some((Part::Group(group), rest)) => match first_part(group) {
                    Some((Part::Text(text), _)) => (text, rest, true),
                    _ => ("", rest, true),
                },
                Some((Part::Hole("q"), _)) => return self.rest().find(['\'', '"']),
                // What follows is told from what is left out by its beginning only.
                Some((Part::Hole(hole), _)) => (hole.strip_prefix('~').unwrap_or(""), "", false),
                None => return Some(nearest.unwrap_or(self.rest().len())),
            };
            if !text.is_empty() {
                let found = if last {
                    self.rest().rfind(text)
                } else {
                    self.rest().find(text)
                };
                nearest = match (nearest, found) {
                    (Some(known), Some(found)) => Some(known.min(found)),
                    (known, found) => known.or(found),
                };
            }
            if !is_group {
                return nearest;
            }
            pattern = rest;
        }
    }

    /// Reads what has a shape.
    fn shaped(&mut self, shape: &str, after: &'static str) -> bool {
        let rest = self.rest();
        let is_strict = holes::is_strict(shape);
        if let Some(hole) = holes::read(shape, rest) {
            let behind = rest.get(hole.bytes..).unwrap_or_default();
            if is_strict || goes_on(behind, after) {
                match (shape, &hole.kept) {
                    ("status", kept) => {
                        if let Ok(status) = kept.parse() {
                            self.found.see_status(status);
                        }
                    }
                    ("code", kept) => self.found.see_code(kept),
                    _ => {}
                }
                self.out.push_str(&hole.kept);
                self.step(hole.bytes);
                return true;
            }
        }
        // A message begins with what it is known by.
        !is_strict && self.at > 0 && self.leave_out(after, false)
    }

    fn body(&mut self) -> bool {
        let Some((kept, bytes)) = body::read(self.rest(), &mut self.found, self.depth) else {
            return false;
        };
        self.out.push_str(&kept);
        self.step(bytes);
        true
    }

    /// Reads by the first template of a table that fits; where none does it is left out.
    fn refer(&mut self, table: &[&'static [Template]], after: &'static str) -> bool {
        if self.one_of(table, after) {
            // The template may have ended before what follows.
            let left = self.end_before(after, false);
            if let Some(left) = left {
                self.leave(left);
            }
            return left.is_some();
        }
        // A message of which nothing is known is no known message.
        self.at > 0 && self.leave_out(after, false)
    }

    fn one_of(&mut self, table: &[&'static [Template]], after: &'static str) -> bool {
        if self.depth >= DEEPEST {
            return false;
        }
        let before = self.clone();
        let candidates = table.iter().copied().flatten();
        for template in candidates.filter(|template| may_fit(template.pattern, before.rest())) {
            self.depth = before.depth.saturating_add(1);
            let fits = self.parts(template.pattern, after);
            self.depth = before.depth;
            if fits {
                self.found.kind = self.found.kind.or(template.kind);
                return true;
            }
            *self = before.clone();
        }
        false
    }
}

/// Whether what stands behind a hole is what the pattern goes on with.
fn goes_on(behind: &str, after: &'static str) -> bool {
    match first_part(after) {
        Some((Part::Text(text), _)) => behind.starts_with(text),
        Some((Part::Group(group), rest)) => goes_on(behind, group) || goes_on(behind, rest),
        Some((Part::Hole(hole), _)) => hole
            .strip_prefix('~')
            .is_none_or(|text| behind.starts_with(text)),
        // At the end of a template a name must end as well.
        None => !behind.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '@'),
    }
}
