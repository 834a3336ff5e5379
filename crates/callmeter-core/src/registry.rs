//! Who may call: the list of known callers with their team and cost centre.
//!
//! Owns the list and the answer to "is this caller known?". Recording never asks permission: an
//! unknown caller is recorded all the same and warned of once; only [`CallerRegistry::check`], which a
//! host calls where it likes, says no.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

/// One known caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CallerEntry {
    /// The name that calls give.
    pub name: String,
    /// Who answers for it.
    #[serde(default)]
    pub owner: Option<String>,
    /// The team that its cost is counted under.
    #[serde(default)]
    pub team: Option<String>,
    /// The cost centre that pays.
    #[serde(default)]
    pub cost_center: Option<String>,
    /// What it does, in a sentence.
    #[serde(default)]
    pub description: Option<String>,
}

/// The list of known callers, as `callers.toml` holds it under `[[caller]]`.
#[derive(Clone, Debug, Default)]
pub struct CallerRegistry {
    by_name: BTreeMap<String, CallerEntry>,
}

impl CallerRegistry {
    /// Makes a registry; the first of two entries with one name counts.
    pub fn new(entries: impl IntoIterator<Item = CallerEntry>) -> Self {
        let mut by_name = BTreeMap::new();
        for entry in entries {
            by_name.entry(entry.name.clone()).or_insert(entry);
        }
        Self { by_name }
    }

    /// The entry of `caller`.
    pub fn get(&self, caller: &str) -> Option<&CallerEntry> {
        self.by_name.get(caller)
    }

    /// Every entry, by name.
    pub fn entries(&self) -> impl Iterator<Item = &CallerEntry> {
        self.by_name.values()
    }

    /// Whether nobody is listed.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Says whether `caller` is listed.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(&self, caller: &str) -> Result<&CallerEntry, UnknownCaller> {
        self.get(caller)
            .ok_or_else(|| UnknownCaller(crate::clean_text(caller, 64).0.into_owned()))
    }
}

/// The caller is not in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCaller(String);

impl UnknownCaller {
    /// The caller's name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UnknownCaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "caller '{}' is not in the registry; add it to callers.toml",
            self.0
        )
    }
}

impl std::error::Error for UnknownCaller {}
