//! The book's format (R-27), in TOML or JSON, and the checks at load.
//!
//! ```toml
//! name = "acme"
//! version = "2026-11-01"
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
//! ```
//! Amounts are decimal text. Names ending in `_1k` are USD per thousand, `per_X` USD for one X,
//! `kpage…` per thousand pages, `mchar_…` per million characters, `audio_hour…` per hour.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// A book as written.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BookText {
    pub(crate) name: String,
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) models: Vec<ModelText>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelText {
    pub(crate) provider: String,
    pub(crate) model: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) aliases: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) dated: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) regions: BTreeMap<String, String>,
    pub(crate) periods: Vec<PeriodText>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PeriodText {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<String>,
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

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TierText {
    pub(crate) over: u64,
    pub(crate) rates: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VariantText {
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

/// A price book that cannot be used. Says where and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BookError {
    /// The text is neither TOML nor JSON of the book's format.
    #[error("the price book cannot be read: {0}")]
    Syntax(String),
    /// A value breaks a rule.
    #[error("price book entry {entry}: {problem}")]
    Entry {
        /// Provider and model.
        entry: String,
        /// What is wrong.
        problem: String,
    },
}

impl BookText {
    pub(crate) fn read(text: &str) -> Result<Self, BookError> {
        if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|error| BookError::Syntax(error.to_string()))
        } else {
            toml::from_str(text).map_err(|error| BookError::Syntax(error.to_string()))
        }
    }

    pub(crate) fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
