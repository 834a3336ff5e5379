//! The dictionaries: words to numbers when rows are written, numbers to words when they are read.
//!
//! Names and scopes are only ever added. What this file remembers is bounded, and what a transaction
//! added is forgotten again if it is rolled back.

use std::collections::HashMap;
use std::sync::Arc;

use callmeter_core::{Billing, CallRecord};
use rusqlite::{Connection, OptionalExtension};

use crate::StoreError;

/// The number of `~other`, which stands for names that the rollups do not know.
pub(crate) const OTHER: i64 = 1;
/// The number of the scope that stands for those beyond the limit.
pub(crate) const OTHER_SCOPE: i64 = 0;
/// The most scopes of a store.
pub(crate) const MAX_SCOPES: i64 = 1_000;
const REMEMBERED: usize = 50_000;
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

/// The words of a scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScopeWords {
    pub(crate) project: Option<String>,
    pub(crate) team: Option<String>,
    pub(crate) cost_center: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) billing: Option<Billing>,
}

impl ScopeWords {
    fn of(record: &CallRecord) -> Self {
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
}

/// The dictionaries as this process remembers them.
#[derive(Debug, Default)]
pub(crate) struct Names {
    numbers: [HashMap<Box<str>, i64>; NAME_KINDS],
    words: HashMap<i64, Arc<str>>,
    scopes: Vec<(Arc<ScopeWords>, i64)>,
    is_full: bool,
    fresh: Vec<(NameKind, Box<str>)>,
    fresh_scopes: usize,
}

impl Names {
    /// The number of a name; a new name is added in the connection's transaction.
    pub(crate) fn number(
        &mut self,
        conn: &Connection,
        kind: NameKind,
        name: &str,
    ) -> Result<i64, StoreError> {
        if let Some(number) = self.numbers[kind as usize].get(name) {
            return Ok(*number);
        }
        let number = match Self::find(conn, kind, name)? {
            Some(number) => number,
            None => {
                conn.prepare_cached("INSERT INTO names (kind, name) VALUES (?1, ?2)")?
                    .execute((kind as i64, name))?;
                self.fresh.push((kind, name.into()));
                conn.last_insert_rowid()
            }
        };
        let names = &mut self.numbers[kind as usize];
        if names.len() >= REMEMBERED {
            names.clear();
        }
        names.insert(name.into(), number);
        Ok(number)
    }

    /// The number of a record's scope; [`OTHER_SCOPE`] when the store has as many as it may.
    pub(crate) fn scope(
        &mut self,
        conn: &Connection,
        record: &CallRecord,
    ) -> Result<i64, StoreError> {
        if let Some((_, number)) = self.scopes.iter().find(|(words, _)| words.is_of(record)) {
            return Ok(*number);
        }
        let words = ScopeWords::of(record);
        let found = find_scope(conn, &words)?;
        let number = match found {
            Some(number) => number,
            None if self.is_full => return Ok(OTHER_SCOPE),
            None => {
                let count: i64 =
                    conn.query_row("SELECT count(*) FROM scopes", [], |row| row.get(0))?;
                if count >= MAX_SCOPES {
                    self.is_full = true;
                    return Ok(OTHER_SCOPE);
                }
                conn.execute(
                    "INSERT INTO scopes (project, team, cost_center, service, environment, billing)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    (
                        &words.project,
                        &words.team,
                        &words.cost_center,
                        &words.service,
                        &words.environment,
                        words.billing.map(Billing::code),
                    ),
                )?;
                self.fresh_scopes = self.fresh_scopes.saturating_add(1);
                conn.last_insert_rowid()
            }
        };
        self.scopes.push((Arc::new(words), number));
        Ok(number)
    }

    /// The number of a name that the store knows.
    pub(crate) fn find(
        conn: &Connection,
        kind: NameKind,
        name: &str,
    ) -> Result<Option<i64>, StoreError> {
        let found = conn
            .prepare_cached("SELECT id FROM names WHERE kind = ?1 AND name = ?2")?
            .query_row((kind as i64, name), |row| row.get(0))
            .optional()?;
        Ok(found)
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

    /// The word of a number.
    pub(crate) fn word(&mut self, conn: &Connection, number: i64) -> Result<Arc<str>, StoreError> {
        if let Some(word) = self.words.get(&number) {
            return Ok(Arc::clone(word));
        }
        let word: String = conn
            .prepare_cached("SELECT name FROM names WHERE id = ?1")?
            .query_row([number], |row| row.get(0))?;
        let word: Arc<str> = word.into();
        if self.words.len() >= REMEMBERED {
            self.words.clear();
        }
        self.words.insert(number, Arc::clone(&word));
        Ok(word)
    }

    /// The words of a scope; `None` for [`OTHER_SCOPE`].
    pub(crate) fn scope_words(
        &mut self,
        conn: &Connection,
        number: i64,
    ) -> Result<Option<Arc<ScopeWords>>, StoreError> {
        if number == OTHER_SCOPE {
            return Ok(None);
        }
        if let Some((words, _)) = self.scopes.iter().find(|(_, known)| *known == number) {
            return Ok(Some(Arc::clone(words)));
        }
        let words = conn
            .prepare_cached(
                "SELECT project, team, cost_center, service, environment, billing FROM scopes WHERE id = ?1",
            )?
            .query_row([number], |row| {
                let billing: Option<u8> = row.get(5)?;
                Ok(ScopeWords {
                    project: row.get(0)?,
                    team: row.get(1)?,
                    cost_center: row.get(2)?,
                    service: row.get(3)?,
                    environment: row.get(4)?,
                    billing: billing.and_then(Billing::from_code),
                })
            })?;
        let words = Arc::new(words);
        self.scopes.push((Arc::clone(&words), number));
        Ok(Some(words))
    }
}

fn find_scope(conn: &Connection, words: &ScopeWords) -> Result<Option<i64>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT id FROM scopes WHERE ifnull(project, 0) = ifnull(?1, 0)
             AND ifnull(team, 0) = ifnull(?2, 0) AND ifnull(cost_center, 0) = ifnull(?3, 0)
             AND ifnull(service, 0) = ifnull(?4, 0) AND ifnull(environment, 0) = ifnull(?5, 0)
             AND ifnull(billing, 0) = ifnull(?6, 0)",
        )?
        .query_row(
            (
                &words.project,
                &words.team,
                &words.cost_center,
                &words.service,
                &words.environment,
                words.billing.map(Billing::code),
            ),
            |row| row.get(0),
        )
        .optional()?;
    Ok(found)
}
