//! From the name of a model to its entry: each step exact, the first hit wins, and what
//! hits nothing is unpriced. Never "contains", never a prefix, never the next neighbour.
//!
//! A look-up hashes a name two to four times and allocates nothing; `benches/lookup.rs` guards it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use callmeter_core::PriceMatch;

use crate::entry::{Dated, Entry};
use crate::format::{BookError, Problem};
use crate::layer::{Link, Rule};

/// A hash of short names, fast and not keyed: the names in the tables are the book's, not a caller's.
#[derive(Clone, Copy, Debug, Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0_u8; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(word))
                .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
}

type Table<V> = HashMap<Box<str>, V, BuildHasherDefault<NameHasher>>;

/// The names of one provider's models.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// As written → entry, and whether the name is the entry's own.
    exact: Table<(u32, bool)>,
    /// Further forms in lower case, where they are not as written → entry.
    folded: Table<u32>,
    /// Names for models of this layer or one below → the model.
    links: Table<Box<str>>,
    /// The provider's rule, by its place.
    pub(crate) rule: Option<u32>,
}

/// Every name of a layer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    providers: Table<Names>,
}

/// What a name led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// An entry of this layer.
    Entry(usize),
    /// A model's own id, which any layer may hold.
    Model(&'a str),
}

impl Index {
    /// Takes every name in; two entries of one provider must not share one.
    pub(crate) fn of(entries: &[Entry], rules: &[Rule]) -> Result<Self, BookError> {
        let mut index = Self::default();
        for (at, entry) in entries.iter().enumerate() {
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            let names = index.names_mut(&entry.provider);
            if names
                .exact
                .insert(entry.model.clone(), (at, true))
                .is_some()
            {
                return Err(twice(entry, &entry.model));
            }
        }
        for (at, entry) in entries.iter().enumerate() {
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            let names = index.names_mut(&entry.provider);
            for alias in &entry.aliases {
                if names.exact.insert(alias.clone(), (at, false)).is_some() {
                    return Err(twice(entry, alias));
                }
            }
        }
        for (at, entry) in entries.iter().enumerate() {
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            let is_bedrock = &*entry.provider == "aws_bedrock";
            let names = index.names_mut(&entry.provider);
            for name in std::iter::once(&entry.model).chain(&entry.aliases) {
                let folded = name.to_ascii_lowercase();
                if is_bedrock && let Some(other) = other_version_form(&folded) {
                    names.fold_in(other, at);
                }
                names.fold_in(folded, at);
            }
        }
        for (at, rule) in rules.iter().enumerate() {
            index.names_mut(&rule.provider).rule = u32::try_from(at).ok();
        }
        Ok(index)
    }

    fn names_mut(&mut self, provider: &str) -> &mut Names {
        if !self.providers.contains_key(provider) {
            self.providers.insert(provider.into(), Names::default());
        }
        self.providers.entry(provider.into()).or_default()
    }

    /// Takes further names in.
    ///
    /// # Errors
    /// When one is the name of a model of this layer, or stands twice.
    pub(crate) fn link(&mut self, links: &[Link]) -> Result<(), BookError> {
        for link in links {
            let names = self.names_mut(&link.provider);
            let is_taken = names.exact.contains_key(&link.name)
                || names
                    .links
                    .insert(link.name.clone(), link.model.clone())
                    .is_some();
            if is_taken {
                let problem = format!("the name '{}' stands twice under this provider", link.name);
                return Err(Problem::new("names", problem)
                    .of_entry(format!("{}/{}", link.provider, link.model)));
            }
        }
        Ok(())
    }

    /// The names of a (canonical) provider.
    pub(crate) fn names(&self, provider: &str) -> Option<&Names> {
        self.providers.get(provider)
    }
}

impl Names {
    fn fold_in(&mut self, folded: String, at: u32) {
        if !self.exact.contains_key(folded.as_str()) {
            self.folded.entry(folded.into()).or_insert(at);
        }
    }

    /// The entry whose own id this is.
    pub(crate) fn own(&self, model: &str) -> Option<usize> {
        let (at, is_own) = self.exact.get(model)?;
        is_own.then(|| usize::try_from(*at).unwrap_or(usize::MAX))
    }

    /// Looks a model up.
    pub(crate) fn find(&self, entries: &[Entry], model: &str) -> Option<(PriceMatch, Target<'_>)> {
        if let Some((at, is_own)) = self.exact.get(model) {
            let how = if *is_own {
                PriceMatch::Exact
            } else {
                PriceMatch::Alias
            };
            return Some((how, entry(*at)));
        }
        if let Some(target) = self.links.get(model) {
            return Some((PriceMatch::Alias, Target::Model(target)));
        }
        let mut buffer = [0_u8; 256];
        let folded = fold(strip(model), &mut buffer)?;
        if let Some(at) = self.normalised(folded) {
            return Some((PriceMatch::Normalised, entry(at)));
        }
        if let Some(target) = self.links.get(folded) {
            return Some((PriceMatch::Normalised, Target::Model(target)));
        }
        let mut parts = [0_u8; 256];
        for (style, family) in families(folded, &mut parts).into_iter().flatten() {
            if let Some(at) = self.normalised(family)
                && let Some(found) = entries.get(usize::try_from(at).ok()?)
                && found.dated.allows(style)
            {
                return Some((PriceMatch::Snapshot, entry(at)));
            }
        }
        // A fine-tuned model is its base's `ft:` entry, never the base itself.
        let rest = folded.strip_prefix("ft:")?;
        let base = rest.split(':').next()?;
        let head = folded.get(.."ft:".len().saturating_add(base.len()))?;
        let at = self.normalised(head)?;
        Some((PriceMatch::Normalised, entry(at)))
    }

    fn normalised(&self, folded: &str) -> Option<u32> {
        match self.exact.get(folded) {
            Some((at, _)) => Some(*at),
            None => self.folded.get(folded).copied(),
        }
    }
}

fn entry<'a>(at: u32) -> Target<'a> {
    Target::Entry(usize::try_from(at).unwrap_or(usize::MAX))
}

fn twice(entry: &Entry, name: &str) -> BookError {
    Problem::new(
        "models",
        format!("the name '{name}' stands twice under this provider"),
    )
    .of_entry(format!("{}/{}", entry.provider, entry.model))
}

/// A Bedrock id with its `:0` where it is missing, and without where it is there.
fn other_version_form(id: &str) -> Option<String> {
    if let Some(short) = id.strip_suffix(":0") {
        return Some(short.to_owned());
    }
    let (_, version) = id.rsplit_once("-v")?;
    let is_version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    is_version.then(|| format!("{id}:0"))
}

/// Strips one resource prefix and one context marker.
pub(crate) fn strip(model: &str) -> &str {
    let model = model.trim();
    let model = model.strip_suffix("[1m]").unwrap_or(model);
    if let Some(rest) = model.strip_prefix("models/") {
        return rest;
    }
    if (model.starts_with("publishers/") || model.starts_with("projects/"))
        && let Some((_, rest)) = model.rsplit_once("/models/")
    {
        return rest;
    }
    model
}

fn fold<'a>(model: &str, buffer: &'a mut [u8; 256]) -> Option<&'a str> {
    let target = buffer.get_mut(..model.len())?;
    target.copy_from_slice(model.as_bytes());
    target.make_ascii_lowercase();
    std::str::from_utf8(target).ok()
}

/// The families that a dated name may belong to, with the style of its date.
fn families<'a>(model: &'a str, parts: &'a mut [u8; 256]) -> [Option<(Dated, &'a str)>; 2] {
    let ended = without_date(model);
    // Bedrock: `anthropic.claude-x-20260131-v1:0` is of `anthropic.claude-x` or of `anthropic.claude-x-v1:0`.
    let infix = model.rsplit_once("-v").and_then(move |(head, version)| {
        let (Dated::COMPACT, family) = without_date(head)? else {
            return None;
        };
        let is_version = version
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b':');
        if !is_version {
            return None;
        }
        let length = family.len();
        let tail = model.get(head.len()..)?;
        let whole = length.checked_add(tail.len())?;
        parts.get_mut(..length)?.copy_from_slice(family.as_bytes());
        parts
            .get_mut(length..whole)?
            .copy_from_slice(tail.as_bytes());
        Some((Dated::INFIX, std::str::from_utf8(parts.get(..whole)?).ok()?))
    });
    [ended, infix]
}

/// The name before a suffix `-YYYYMMDD`, `-YYYY-MM-DD` or `@YYYYMMDD` that is a real date, and the style of it.
pub(crate) fn without_date(model: &str) -> Option<(Dated, &str)> {
    for length in [9_usize, 11] {
        let Some((family, suffix)) = model
            .len()
            .checked_sub(length)
            .and_then(|start| model.split_at_checked(start))
        else {
            continue;
        };
        let (style, date) = match (suffix.split_at_checked(1), length) {
            (Some(("-", date)), 9) => (Dated::COMPACT, date),
            (Some(("@", date)), 9) => (Dated::AT, date),
            (Some(("-", date)), _) => (Dated::DASHED, date),
            _ => continue,
        };
        let (year, month, day) = if length == 9 {
            (date.get(..4), date.get(4..6), date.get(6..))
        } else {
            if date.get(4..5) != Some("-") || date.get(7..8) != Some("-") {
                continue;
            }
            (date.get(..4), date.get(5..7), date.get(8..))
        };
        let number = |text: Option<&str>| {
            let text = text?;
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| text.parse::<i64>().ok()).flatten()
        };
        if let (Some(year), Some(month), Some(day)) = (number(year), number(month), number(day))
            && (2_000..2_100).contains(&year)
            && is_day(year, month, day)
            && !family.is_empty()
        {
            return Some((style, family));
        }
    }
    None
}

fn is_day(year: i64, month: i64, day: i64) -> bool {
    let (Ok(month), Ok(day)) = (month.try_into(), day.try_into()) else {
        return false;
    };
    callmeter_core::Timestamp::day_from_civil(year, month, day).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_21_only_a_real_date_is_a_snapshot() {
        let family = |name| without_date(name).map(|(_, family)| family);
        assert_eq!(family("gpt-5-mini-2025-08-07"), Some("gpt-5-mini"));
        assert_eq!(family("claude-opus-4-1-20250805"), Some("claude-opus-4-1"));
        assert_eq!(family("claude-opus-4-1@20250805"), Some("claude-opus-4-1"));
        for name in [
            "gpt-4-0613",
            "x-20251301",
            "x-2025-02-30",
            "x-12345678",
            "-20250805",
            "é-2025",
            "x@2025-08-07",
            "x-2025108-07",
        ] {
            assert_eq!(family(name), None, "{name}");
        }
    }

    #[test]
    fn r_22_a_bedrock_id_may_lack_its_version_s_end() {
        assert_eq!(other_version_form("a.b-v1:0").as_deref(), Some("a.b-v1"));
        assert_eq!(other_version_form("a.b-v2").as_deref(), Some("a.b-v2:0"));
        assert_eq!(other_version_form("a.b-vision"), None);
    }
}
