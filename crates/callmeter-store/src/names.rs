//! Names and scopes as numbers: what each kind is, how many a store knows, and what a process remembers of them.
//!
//! Rows hold numbers, dictionaries the words; names and scopes are only ever added. What is remembered is bounded,
//! and what a transaction added is forgotten again if it is rolled back. Looking a word up in a store, and adding
//! it, is left to the store's module.

use std::collections::HashMap;
use std::sync::Arc;

use callmeter_core::{Billing, CallRecord};

/// The number of `~other`, which stands for names that the rollups do not know.
pub(crate) const OTHER: i64 = 1;
/// The number of the scope that stands for those beyond the limit.
pub(crate) const OTHER_SCOPE: i64 = 0;
/// The most scopes of a store.
pub(crate) const MAX_SCOPES: i64 = 1_000;
const REMEMBERED: usize = 50_000;
#[cfg(feature = "postgres")]
const REMEMBERED_SCOPES: usize = 4_000;
const NAME_KINDS: usize = 10;

/// What a name names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum NameKind {
    Caller = 1,
    Provider = 2,
    Model = 3,
    Status = 4,
    Fallback = 5,
    Price = 6,
    CallSite = 7,
    HostName = 8,
    Sdk = 9,
}

impl NameKind {
    /// The number that a store keeps.
    pub(crate) const fn code(self) -> i64 {
        self as i64
    }
}

/// The words of a scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ScopeWords {
    pub(crate) project: Option<String>,
    pub(crate) team: Option<String>,
    pub(crate) cost_center: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) billing: Option<Billing>,
}

impl ScopeWords {
    pub(crate) fn of(record: &CallRecord) -> Self {
        Self {
            project: record.project.clone(),
            team: record.team.clone(),
            cost_center: record.cost_center.clone(),
            service: record.service.clone(),
            environment: record.environment.clone(),
            billing: record.billing,
        }
    }

    fn is_of(&self, record: &CallRecord) -> bool {
        self.project == record.project
            && self.team == record.team
            && self.cost_center == record.cost_center
            && self.service == record.service
            && self.environment == record.environment
            && self.billing == record.billing
    }

    /// Puts the words on a record.
    pub(crate) fn put_on(&self, record: &mut CallRecord) {
        record.project.clone_from(&self.project);
        record.team.clone_from(&self.team);
        record.cost_center.clone_from(&self.cost_center);
        record.service.clone_from(&self.service);
        record.environment.clone_from(&self.environment);
        record.billing = self.billing;
    }
}

/// Names and scopes as this process remembers them.
#[derive(Debug, Default)]
pub(crate) struct NameMemory {
    numbers: [HashMap<Box<str>, i64>; NAME_KINDS],
    words: HashMap<i64, Arc<str>>,
    scopes: Vec<(Arc<ScopeWords>, i64)>,
    fresh: Vec<(NameKind, Box<str>)>,
    fresh_scopes: usize,
}

impl NameMemory {
    /// The number of a name, if it is remembered.
    pub(crate) fn number(&self, kind: NameKind, name: &str) -> Option<i64> {
        self.numbers[kind as usize].get(name).copied()
    }

    /// Remembers a name; with `is_fresh` it is new in a transaction that is not committed.
    pub(crate) fn learn(&mut self, kind: NameKind, name: &str, number: i64, is_fresh: bool) {
        let names = &mut self.numbers[kind as usize];
        if names.len() >= REMEMBERED {
            names.clear();
        }
        names.insert(name.into(), number);
        if is_fresh {
            self.fresh.push((kind, name.into()));
        }
    }

    /// The number of a record's scope, if it is remembered.
    pub(crate) fn scope(&self, record: &CallRecord) -> Option<i64> {
        let found = self.scopes.iter().find(|(words, _)| words.is_of(record));
        found.map(|(_, number)| *number)
    }

    /// Remembers a scope; with `is_fresh` it is new in a transaction that is not committed.
    pub(crate) fn learn_scope(&mut self, words: Arc<ScopeWords>, number: i64, is_fresh: bool) {
        self.scopes.push((words, number));
        self.fresh_scopes = self.fresh_scopes.saturating_add(usize::from(is_fresh));
    }

    /// Forgets scopes when there are too many: those beyond the limit are remembered as well, and are without end.
    #[cfg(feature = "postgres")]
    pub(crate) fn make_room_for_scopes(&mut self) {
        if self.scopes.len() >= REMEMBERED_SCOPES {
            self.scopes.clear();
        }
    }

    /// The word of a number, if it is remembered.
    pub(crate) fn word(&self, number: i64) -> Option<Arc<str>> {
        self.words.get(&number).map(Arc::clone)
    }

    /// Remembers the word of a number.
    pub(crate) fn learn_word(&mut self, number: i64, word: Arc<str>) {
        if self.words.len() >= REMEMBERED {
            self.words.clear();
        }
        self.words.insert(number, word);
    }

    /// The words of a scope, if they are remembered.
    pub(crate) fn scope_words(&self, number: i64) -> Option<Arc<ScopeWords>> {
        let found = self.scopes.iter().find(|(_, known)| *known == number);
        found.map(|(words, _)| Arc::clone(words))
    }

    /// The transaction that added names was committed.
    pub(crate) fn committed(&mut self) {
        self.fresh.clear();
        self.fresh_scopes = 0;
    }

    /// The transaction that added names was rolled back.
    pub(crate) fn rolled_back(&mut self) {
        for (kind, name) in self.fresh.drain(..) {
            self.numbers[kind as usize].remove(&name);
        }
        if self.fresh_scopes > 0 {
            self.scopes.clear();
            self.fresh_scopes = 0;
        }
        self.words.clear();
    }
}
