//! From the name of a model to its entry: each step exact, the first hit wins, and what
//! hits nothing is unpriced. Never "contains", never a prefix, never the next neighbour.

use std::collections::HashMap;

use callmeter_core::PriceMatch;

use crate::compile::Entry;
use crate::format::BookError;

/// The names of one provider's models.
#[derive(Clone, Debug, Default)]
struct Names {
    /// As written → entry, and whether the name is the entry's own.
    exact: HashMap<String, (usize, bool)>,
    /// In lower case → entry.
    folded: HashMap<String, usize>,
}

/// Every name of a book.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    providers: HashMap<String, Names>,
}

/// What a name led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Entry(usize, PriceMatch),
    UnknownProvider,
    UnknownModel,
}

impl Index {
    /// Takes every name in; two entries of one provider must not share one.
    pub(crate) fn of(entries: &[Entry]) -> Result<Self, BookError> {
        let mut index = Self::default();
        for (at, entry) in entries.iter().enumerate() {
            let names = index.providers.entry(entry.provider.clone()).or_default();
            if names
                .exact
                .insert(entry.model.clone(), (at, true))
                .is_some()
            {
                return Err(twice(entry, &entry.model));
            }
            names.folded.insert(entry.model.to_ascii_lowercase(), at);
        }
        for (at, entry) in entries.iter().enumerate() {
            let names = index.providers.entry(entry.provider.clone()).or_default();
            for alias in &entry.aliases {
                if names.exact.insert(alias.clone(), (at, false)).is_some() {
                    return Err(twice(entry, alias));
                }
                names.folded.entry(alias.to_ascii_lowercase()).or_insert(at);
            }
        }
        Ok(index)
    }

    /// Looks a model up under its (canonical) provider.
    pub(crate) fn find(&self, entries: &[Entry], provider: &str, model: &str) -> Found {
        let Some(names) = self.providers.get(provider) else {
            return Found::UnknownProvider;
        };
        if let Some((at, is_own)) = names.exact.get(model) {
            let how = if *is_own {
                PriceMatch::Exact
            } else {
                PriceMatch::Alias
            };
            return Found::Entry(*at, how);
        }
        let mut buffer = [0_u8; 256];
        let Some(folded) = fold(strip(model), &mut buffer) else {
            return Found::UnknownModel;
        };
        if let Some(at) = names.folded.get(folded) {
            return Found::Entry(*at, PriceMatch::Normalised);
        }
        if let Some(family) = without_date(folded)
            && let Some(at) = names.folded.get(family)
            && entries.get(*at).is_some_and(|entry| entry.dated)
        {
            return Found::Entry(*at, PriceMatch::Snapshot);
        }
        // A fine-tuned model is its base's `ft:` entry, never the base itself.
        if let Some(rest) = folded.strip_prefix("ft:")
            && let Some(base) = rest.split(':').next()
            && let Some(head) = folded.get(.."ft:".len().saturating_add(base.len()))
            && let Some(at) = names.folded.get(head)
        {
            return Found::Entry(*at, PriceMatch::Normalised);
        }
        Found::UnknownModel
    }
}

fn twice(entry: &Entry, name: &str) -> BookError {
    BookError::Entry {
        entry: format!("{}/{}", entry.provider, entry.model),
        problem: format!("the name '{name}' stands twice under this provider"),
    }
}

/// Strips one resource prefix and one context marker.
fn strip(model: &str) -> &str {
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

/// The name before a suffix `-YYYYMMDD`, `-YYYY-MM-DD` or `@YYYYMMDD` that is a real date.
fn without_date(model: &str) -> Option<&str> {
    for (length, at_year) in [(9, "-@"), (11, "-")] {
        let Some(start) = model.len().checked_sub(length) else {
            continue;
        };
        let (Some(family), Some(suffix)) = (model.get(..start), model.get(start..)) else {
            continue;
        };
        let Some(separator) = suffix.chars().next().filter(|c| at_year.contains(*c)) else {
            continue;
        };
        let date = suffix.get(separator.len_utf8()..)?;
        let (year, month, day) = if length == 9 {
            (date.get(..4)?, date.get(4..6)?, date.get(6..)?)
        } else {
            let mut parts = date.split('-');
            let (Some(year), Some(month), Some(day)) = (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            if year.len() != 4 || month.len() != 2 || day.len() != 2 {
                continue;
            }
            (year, month, day)
        };
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if is_number(year)
            && is_number(month)
            && is_number(day)
            && let (Ok(year), Ok(month), Ok(day)) = (year.parse(), month.parse(), day.parse())
            && (2_000..2_100).contains(&year)
            && callmeter_core::Timestamp::day_from_civil(year, month, day).is_some()
            && !family.is_empty()
        {
            return Some(family);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_real_date_is_a_snapshot() {
        assert_eq!(without_date("gpt-5-mini-2025-08-07"), Some("gpt-5-mini"));
        assert_eq!(
            without_date("claude-opus-4-1-20250805"),
            Some("claude-opus-4-1")
        );
        assert_eq!(
            without_date("claude-opus-4-1@20250805"),
            Some("claude-opus-4-1")
        );
        for name in [
            "gpt-4-0613",
            "x-20251301",
            "x-2025-02-30",
            "x-12345678",
            "-20250805",
            "é-2025",
        ] {
            assert_eq!(without_date(name), None, "{name}");
        }
    }
}
