//! The format of a book (R-27), in TOML or JSON, as it is written.
//!
//! ```toml
//! name = "acme"
//! version = "2026-11-01"
//! extends = "market"                  # the built-in book is below it; "none" stands alone
//! [[models]]
//! provider = "openai"
//! model = "gpt-5-mini"
//! aliases = ["gpt-5-mini-latest"]
//! dated = true                        # gpt-5-mini-2025-08-07 is this model too
//! [[models.periods]]
//! from = "2025-08-07T00:00:00Z"       # inclusive; absent = always
//! rates = { input = "0.25", output = "2", cache_read = "0.025" }   # USD per million tokens
//! tiers = [{ over = 272000, rates = { input = "0.5", output = "3" } }]
//! variants = { batch = { rates = { input = "0.125", output = "1" } } }
//! [[names]]                           # a deployment, and what it is
//! provider = "azure_openai"
//! model = "gpt-4o"
//! names = ["my-deployment"]
//! [[discounts]]
//! provider = "anthropic"
//! factor = "0.85"
//! [[rules]]
//! provider = "vllm"
//! basis = "self_hosted"
//! gpu_hour = "1.20"
//! [currency]
//! code = "EUR"
//! rates = [{ from = "2026-11-01", per_usd = "0.92" }]
//! ```
//! Amounts are decimal text, or decimal text by a whole number (`"0.017/60"`). Names ending in `_1k` are USD per
//! thousand, `per_X` USD for one X, `kpage…` per thousand pages, `mchar_…` per million characters, `audio_hour…` per
//! hour.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// A book as written.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BookText {
    pub(crate) name: String,
    pub(crate) version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) extends: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) models: Vec<ModelText>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) names: Vec<NamesText>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) rules: Vec<RuleText>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) discounts: Vec<DiscountText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) currency: Option<CurrencyText>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelText {
    pub(crate) provider: String,
    pub(crate) model: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) aliases: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) dated: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cache_writes: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) regions: BTreeMap<String, String>,
    pub(crate) periods: Vec<PeriodText>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PeriodText {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<String>,
    #[serde(default)]
    pub(crate) rates: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tiers: Vec<TierText>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) variants: BTreeMap<String, VariantText>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) windows: Vec<WindowText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verified_at: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TierText {
    pub(crate) over: u64,
    pub(crate) rates: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VariantText {
    #[serde(default)]
    pub(crate) rates: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tiers: Vec<TierText>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WindowText {
    pub(crate) utc: (String, String),
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) weekdays: Option<BTreeSet<u8>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<String>,
    pub(crate) factor: String,
}

/// Further names of a model that may stand in a layer below.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamesText {
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) names: Vec<String>,
}

/// A price that belongs to a provider, not to a model.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleText {
    pub(crate) provider: String,
    pub(crate) basis: String,
    /// Ends of model names for which it does not hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) except: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gpu_hour: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DiscountText {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) provider: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) project: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<String>,
    pub(crate) factor: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CurrencyText {
    pub(crate) code: String,
    pub(crate) rates: Vec<CurrencyRateText>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CurrencyRateText {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    pub(crate) per_usd: String,
}

/// A price book that cannot be used. Says where and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BookError {
    /// The text is neither TOML nor JSON of the book's format.
    #[error("the price book cannot be read: {0}")]
    Syntax(String),
    /// A value breaks a rule.
    #[error("price book entry {entry}: {problem}{}", place(key, *line))]
    Entry {
        /// Provider and model, or which part of the book.
        entry: String,
        /// What is wrong.
        problem: String,
        /// The key, from the top: `models[0].periods[0].rates.input`.
        key: String,
        /// Its line in the text, from 1, where that is known.
        line: Option<usize>,
    },
}

fn place(key: &str, line: Option<usize>) -> String {
    match (key, line) {
        ("", None) => String::new(),
        (key, None) => format!(" ({key})"),
        (key, Some(line)) => format!(" ({key}, line {line})"),
    }
}

impl BookError {
    /// The line of the text that is meant, from 1, where it is known.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Syntax(_) => None,
            Self::Entry { line, .. } => *line,
        }
    }

    /// The error with the line of its key in `text`.
    pub(crate) fn located(mut self, text: &str) -> Self {
        if let Self::Entry { key, line, .. } = &mut self
            && line.is_none()
            && !is_json(text)
        {
            *line = line_of(text, key);
        }
        self
    }
}

/// What is wrong with a value, and the way to its key.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) key: String,
    pub(crate) what: String,
}

impl Problem {
    pub(crate) fn new(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            what: what.into(),
        }
    }

    /// The problem, seen from the value around it.
    pub(crate) fn within(mut self, outer: &str) -> Self {
        self.key = match self.key.as_str() {
            "" => outer.to_owned(),
            key => format!("{outer}.{key}"),
        };
        self
    }

    pub(crate) fn of_entry(self, entry: impl Into<String>) -> BookError {
        BookError::Entry {
            entry: entry.into(),
            problem: self.what,
            key: self.key,
            line: None,
        }
    }
}

fn is_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

impl BookText {
    pub(crate) fn read(text: &str) -> Result<Self, BookError> {
        if is_json(text) {
            serde_json::from_str(text).map_err(|error| BookError::Syntax(error.to_string()))
        } else {
            toml::from_str(text).map_err(|error| BookError::Syntax(error.to_string()))
        }
    }

    pub(crate) fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The line of a key in TOML, from 1: of the deepest part of it that is there.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let table = toml::de::DeTable::parse(text).ok()?;
    let mut offset = None;
    let mut value: Option<&toml::de::DeValue<'_>> = None;
    for part in key.split('.') {
        let (name, index) = match part.split_once('[') {
            Some((name, index)) => (name, index.trim_end_matches(']').parse::<usize>().ok()),
            None => (part, None),
        };
        let inner = match value {
            None => table.get_ref(),
            Some(value) => match value.as_table() {
                Some(inner) => inner,
                None => break,
            },
        };
        let Some((found_key, found)) = inner.get_key_value(name) else {
            break;
        };
        offset = Some(found_key.span().start);
        value = Some(found.get_ref());
        if let Some(index) = index {
            let Some(item) = value
                .and_then(|value| value.as_array())
                .and_then(|items| items.get(index))
            else {
                break;
            };
            offset = Some(item.span().start);
            value = Some(item.get_ref());
        }
    }
    let before = text.get(..offset?)?;
    Some(before.matches('\n').count().saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_its_line() {
        let text = "name = \"x\"\n[[models]]\nmodel = \"a\"\n[[models]]\nmodel = \"b\"\n\
                    [[models.periods]]\nrates = { input = \"1\" }\n[[models.periods]]\n\
                    [models.periods.rates]\ninput = \"2\"\noutput = \"3\"\n";
        for (key, line) in [
            ("name", 1),
            ("models[1].model", 5),
            ("models[1].periods[0].rates.input", 7),
            ("models[1].periods[1].rates.output", 11),
        ] {
            assert_eq!(line_of(text, key), Some(line), "{key}");
        }
        assert_eq!(line_of(text, "models[1].nothing"), Some(4));
        assert_eq!(line_of("x = ", "x"), None);
    }
}
