//! The dictionaries on PostgreSQL: a batch's words are looked up, and the new ones added, all at once.
//!
//! PostgreSQL keeps no NUL in a text: [`clean`] puts U+FFFD in its place in every name of a record, before anything
//! else is made of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use callmeter_core::{Billing, CallRecord, Status};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::connect::{Tx, int8, int8s, text, texts};
use super::schema::{Lock, get};
use crate::StoreError;
use crate::call::WordNumbers;
use crate::door::Seen;
use crate::names::{MAX_SCOPES, NameKind, NameMemory, OTHER_SCOPE, ScopeWords};

/// The dictionaries, and what this process remembers of them.
#[derive(Debug, Default)]
pub(crate) struct Names {
    memory: NameMemory,
}

impl Names {
    /// Learns every name and scope of `records`, and the names of `prices`; adds the new ones.
    pub(crate) fn learn<'r>(
        &mut self,
        tx: &mut Tx<'_>,
        records: impl Iterator<Item = &'r CallRecord> + Clone,
        prices: impl Iterator<Item = &'r str>,
    ) -> Result<(), StoreError> {
        let missing = self.missing(records.clone(), prices);
        if !missing.is_empty() {
            let unknown = self.fetch(tx, missing, false)?;
            if !unknown.is_empty() {
                let (kinds, names) = columns(&unknown);
                tx.execute(
                    "INSERT INTO callmeter.names (kind, name)
                     SELECT kind, name FROM unnest($1, $2) AS new (kind, name)
                     ON CONFLICT (kind, name) DO NOTHING",
                    &[int8s(&kinds), texts(&names)],
                )?;
                self.fetch(tx, unknown, true)?;
            }
        }
        self.memory.make_room_for_scopes();
        for record in records {
            if self.memory.scope(record).is_none() {
                self.learn_scope(tx, record)?;
            }
        }
        Ok(())
    }

    /// Whether everything that [`Names::learn`] would learn is known.
    pub(crate) fn knows<'r>(
        &self,
        records: impl Iterator<Item = &'r CallRecord> + Clone,
        prices: impl Iterator<Item = &'r str>,
    ) -> bool {
        self.missing(records.clone(), prices).is_empty()
            && records
                .into_iter()
                .all(|record| self.memory.scope(record).is_some())
    }

    fn missing<'r>(
        &self,
        records: impl Iterator<Item = &'r CallRecord>,
        prices: impl Iterator<Item = &'r str>,
    ) -> BTreeSet<(NameKind, String)> {
        let mut missing = BTreeSet::new();
        let mut look = |kind, name: &str| {
            if self.memory.number(kind, name).is_none() {
                missing.insert((kind, name.to_owned()));
            }
        };
        prices.for_each(|price| look(NameKind::Price, price));
        for record in records {
            // The numbers are of no interest, only the names that are asked for.
            let _ = WordNumbers::of(record, OTHER_SCOPE, |kind, name| {
                look(kind, name);
                Ok(0)
            });
        }
        missing
    }

    /// Fetches numbers; gives back what the store does not know.
    fn fetch(
        &mut self,
        tx: &mut Tx<'_>,
        mut wanted: BTreeSet<(NameKind, String)>,
        is_fresh: bool,
    ) -> Result<BTreeSet<(NameKind, String)>, StoreError> {
        let (kinds, names) = columns(&wanted);
        let rows = tx.query(
            "SELECT known.kind, known.name, known.id FROM unnest($1, $2) AS wanted (kind, name)
             JOIN callmeter.names AS known ON known.kind = wanted.kind AND known.name = wanted.name",
            &[int8s(&kinds), texts(&names)],
        )?;
        for row in rows {
            let (kind, name, id): (i64, String, i64) =
                (get(&row, 0)?, get(&row, 1)?, get(&row, 2)?);
            if let Some(key) = wanted
                .iter()
                .find(|(known, word)| known.code() == kind && *word == name)
                .cloned()
            {
                self.memory.learn(key.0, &key.1, id, is_fresh);
                wanted.remove(&key);
            }
        }
        Ok(wanted)
    }

    fn learn_scope(&mut self, tx: &mut Tx<'_>, record: &CallRecord) -> Result<(), StoreError> {
        let words = ScopeWords::of(record);
        if let Some(number) = find_scope(tx, &words)? {
            self.memory.learn_scope(Arc::new(words), number, false);
            return Ok(());
        }
        Lock::Scopes.take(tx)?;
        // Somebody may have added it, or the last that may be, while this one waited.
        if let Some(number) = find_scope(tx, &words)? {
            self.memory.learn_scope(Arc::new(words), number, false);
            return Ok(());
        }
        let billing = words.billing.map(|billing| i64::from(billing.code()));
        let added = tx.query_opt(
            "INSERT INTO callmeter.scopes (project, team, cost_center, service, environment, billing)
             SELECT $1, $2, $3, $4, $5, $6 WHERE (SELECT count(*) FROM callmeter.scopes) < $7
             RETURNING id",
            &[
                text(&words.project),
                text(&words.team),
                text(&words.cost_center),
                text(&words.service),
                text(&words.environment),
                int8(&billing),
                int8(&MAX_SCOPES),
            ],
        )?;
        match added {
            Some(row) => self
                .memory
                .learn_scope(Arc::new(words), get(&row, 0)?, true),
            // Scopes are never removed: a store that is full stays so.
            None => self.memory.learn_scope(Arc::new(words), OTHER_SCOPE, false),
        }
        Ok(())
    }

    /// The numbers of a record whose words were learnt.
    pub(crate) fn numbers(&self, record: &CallRecord) -> Result<WordNumbers, StoreError> {
        let scope = self.memory.scope(record).unwrap_or(OTHER_SCOPE);
        WordNumbers::of(record, scope, |kind, name| self.number(kind, name))
    }

    /// The number of a name that was learnt.
    pub(crate) fn number(&self, kind: NameKind, name: &str) -> Result<i64, StoreError> {
        self.memory
            .number(kind, name)
            .ok_or_else(|| super::broken("a name that was added is not there"))
    }

    /// The number of a name that the store knows.
    pub(crate) fn find(
        tx: &mut Tx<'_>,
        kind: NameKind,
        name: &str,
    ) -> Result<Option<i64>, StoreError> {
        if name.contains('\0') {
            return Ok(None);
        }
        let row = tx.query_opt(
            "SELECT id FROM callmeter.names WHERE kind = $1 AND name = $2",
            &[int8(&kind.code()), text(&name)],
        )?;
        row.map(|row| get(&row, 0)).transpose()
    }

    /// Fetches the words of numbers that are not remembered.
    pub(crate) fn expect_words(
        &mut self,
        tx: &mut Tx<'_>,
        numbers: impl Iterator<Item = i64>,
    ) -> Result<(), StoreError> {
        let unknown: BTreeSet<i64> = numbers
            .filter(|number| self.memory.word(*number).is_none())
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let unknown: Vec<i64> = unknown.into_iter().collect();
        let rows = tx.query(
            "SELECT id, name FROM callmeter.names WHERE id = ANY($1)",
            &[int8s(&unknown)],
        )?;
        for row in rows {
            let word: String = get(&row, 1)?;
            self.memory.learn_word(get(&row, 0)?, word.into());
        }
        Ok(())
    }

    /// The word of a number.
    pub(crate) fn word(&mut self, tx: &mut Tx<'_>, number: i64) -> Result<Arc<str>, StoreError> {
        self.expect_words(tx, std::iter::once(number))?;
        self.memory
            .word(number)
            .ok_or_else(|| super::broken("a row has a name that the dictionary has not"))
    }

    /// The words of a scope; `None` for the one beyond the limit.
    pub(crate) fn scope_words(
        &mut self,
        tx: &mut Tx<'_>,
        number: i64,
    ) -> Result<Option<Arc<ScopeWords>>, StoreError> {
        if number == OTHER_SCOPE {
            return Ok(None);
        }
        if let Some(words) = self.memory.scope_words(number) {
            return Ok(Some(words));
        }
        // All of them at once: there are few.
        let rows = tx.query(
            "SELECT id, project, team, cost_center, service, environment, billing FROM callmeter.scopes",
            &[],
        )?;
        for row in &rows {
            let id: i64 = get(row, 0)?;
            if self.memory.scope_words(id).is_none() {
                self.memory
                    .learn_scope(Arc::new(scope_of_row(row)?), id, false);
            }
        }
        let words = self.memory.scope_words(number);
        words
            .map(Some)
            .ok_or_else(|| super::broken("a row has a scope that the dictionary has not"))
    }

    /// The transaction that added names was committed.
    pub(crate) fn committed(&mut self) {
        self.memory.committed();
    }

    /// The transaction that added names was rolled back.
    pub(crate) fn rolled_back(&mut self) {
        self.memory.rolled_back();
    }
}

fn columns(names: &BTreeSet<(NameKind, String)>) -> (Vec<i64>, Vec<&str>) {
    names
        .iter()
        .map(|(kind, name)| (kind.code(), name.as_str()))
        .unzip()
}

fn find_scope(tx: &mut Tx<'_>, words: &ScopeWords) -> Result<Option<i64>, StoreError> {
    let billing = words.billing.map(|billing| i64::from(billing.code()));
    let row = tx.query_opt(
        "SELECT id FROM callmeter.scopes WHERE coalesce('=' || project, '') = coalesce('=' || $1, '')
         AND coalesce('=' || team, '') = coalesce('=' || $2, '')
         AND coalesce('=' || cost_center, '') = coalesce('=' || $3, '')
         AND coalesce('=' || service, '') = coalesce('=' || $4, '')
         AND coalesce('=' || environment, '') = coalesce('=' || $5, '')
         AND coalesce(billing, 0) = coalesce($6, 0)",
        &[
            text(&words.project),
            text(&words.team),
            text(&words.cost_center),
            text(&words.service),
            text(&words.environment),
            (&billing, Type::INT8),
        ],
    )?;
    row.map(|row| get(&row, 0)).transpose()
}

fn scope_of_row(row: &Row) -> Result<ScopeWords, StoreError> {
    let billing: Option<i64> = get(row, 6)?;
    Ok(ScopeWords {
        project: get(row, 1)?,
        team: get(row, 2)?,
        cost_center: get(row, 3)?,
        service: get(row, 4)?,
        environment: get(row, 5)?,
        billing: billing
            .and_then(|code| u8::try_from(code).ok())
            .and_then(Billing::from_code),
    })
}

/// Puts U+FFFD in the place of NUL in every name of a record.
pub(crate) fn clean<'r>(mut record: Seen<'r>) -> Seen<'r> {
    let has = |name: &Option<String>| name.as_deref().is_some_and(|name| name.contains('\0'));
    let status_has = |record: &CallRecord| {
        let status = record.status.as_ref();
        status.is_some_and(|status| status.as_str().contains('\0'))
    };
    if !names_of(&record).into_iter().any(has) && !status_has(&record) {
        return record;
    }
    let cleaned = record.to_mut();
    let replace = |name: &str| name.replace('\0', "\u{fffd}");
    if let Some(status) = &cleaned.status {
        cleaned.status = Some(Status::from_word(&replace(status.as_str())));
    }
    for text in names_of_mut(cleaned).into_iter().flatten() {
        *text = replace(text);
    }
    record
}

fn names_of(record: &CallRecord) -> [&Option<String>; 13] {
    [
        &record.caller,
        &record.provider,
        &record.model,
        &record.model_requested,
        &record.fallback_to,
        &record.call_site,
        &record.host_name,
        &record.sdk,
        &record.project,
        &record.team,
        &record.cost_center,
        &record.service,
        &record.environment,
    ]
}

fn names_of_mut(record: &mut CallRecord) -> [&mut Option<String>; 13] {
    [
        &mut record.caller,
        &mut record.provider,
        &mut record.model,
        &mut record.model_requested,
        &mut record.fallback_to,
        &mut record.call_site,
        &mut record.host_name,
        &mut record.sdk,
        &mut record.project,
        &mut record.team,
        &mut record.cost_center,
        &mut record.service,
        &mut record.environment,
    ]
}
