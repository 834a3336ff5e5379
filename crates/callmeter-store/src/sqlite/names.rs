//! The dictionaries of the embedded store: words to numbers when rows are written, numbers to words when they
//! are read.

use std::sync::Arc;

use callmeter_core::{Billing, CallRecord};
use rusqlite::{Connection, OptionalExtension};

use crate::StoreError;
use crate::names::{MAX_SCOPES, NameKind, NameMemory, OTHER_SCOPE, ScopeWords};

/// The dictionaries, and what this process remembers of them.
#[derive(Debug, Default)]
pub(crate) struct Names {
    memory: NameMemory,
    is_full: bool,
}

impl Names {
    /// The number of a name; a new name is added in the connection's transaction.
    pub(crate) fn number(
        &mut self,
        conn: &Connection,
        kind: NameKind,
        name: &str,
    ) -> Result<i64, StoreError> {
        if let Some(number) = self.memory.number(kind, name) {
            return Ok(number);
        }
        let found = Self::find(conn, kind, name)?;
        let number = match found {
            Some(number) => number,
            None => {
                conn.prepare_cached("INSERT INTO names (kind, name) VALUES (?1, ?2)")?
                    .execute((kind.code(), name))?;
                conn.last_insert_rowid()
            }
        };
        self.memory.learn(kind, name, number, found.is_none());
        Ok(number)
    }

    /// The number of a record's scope; [`OTHER_SCOPE`] when the store has as many as it may.
    pub(crate) fn scope(
        &mut self,
        conn: &Connection,
        record: &CallRecord,
    ) -> Result<i64, StoreError> {
        if let Some(number) = self.memory.scope(record) {
            return Ok(number);
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
                conn.last_insert_rowid()
            }
        };
        self.memory
            .learn_scope(Arc::new(words), number, found.is_none());
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
            .query_row((kind.code(), name), |row| row.get(0))
            .optional()?;
        Ok(found)
    }

    /// The transaction that added names was committed.
    pub(crate) fn committed(&mut self) {
        self.memory.committed();
    }

    /// The transaction that added names was rolled back.
    pub(crate) fn rolled_back(&mut self) {
        self.memory.rolled_back();
    }

    /// The word of a number.
    pub(crate) fn word(&mut self, conn: &Connection, number: i64) -> Result<Arc<str>, StoreError> {
        if let Some(word) = self.memory.word(number) {
            return Ok(word);
        }
        let word: String = conn
            .prepare_cached("SELECT name FROM names WHERE id = ?1")?
            .query_row([number], |row| row.get(0))?;
        let word: Arc<str> = word.into();
        self.memory.learn_word(number, Arc::clone(&word));
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
        if let Some(words) = self.memory.scope_words(number) {
            return Ok(Some(words));
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
        self.memory.learn_scope(Arc::clone(&words), number, false);
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
