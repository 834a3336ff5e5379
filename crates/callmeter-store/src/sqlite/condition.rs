//! A filter as SQL over `calls`, and over `roll_day` but for its times.

use callmeter_core::{CallId, CostSource};
use rusqlite::Connection;
use rusqlite::types::Value;

use super::names::Names;
use crate::StoreError;
use crate::names::NameKind;
use crate::question::Filter;

/// A condition in SQL and its values.
#[derive(Debug, Default)]
pub(super) struct Condition {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Condition {
    pub(super) fn and(&mut self, sql: &str, values: impl IntoIterator<Item = Value>) {
        self.sql.push_str(if self.sql.is_empty() {
            "WHERE "
        } else {
            " AND "
        });
        self.sql.push_str(sql);
        self.values.extend(values);
    }

    /// The condition of a filter; `None` when it names something that the store never saw.
    pub(super) fn of(conn: &Connection, filter: &Filter) -> Result<Option<Self>, StoreError> {
        let mut condition = Self::default();
        if let Some(since) = filter.since {
            condition.and("hi >= ?", [CallId::hi_at(since).into()]);
        }
        if let Some(until) = filter.until {
            condition.and("hi < ?", [CallId::hi_at(until).into()]);
        }
        for (column, kind, word) in [
            ("caller = ?", NameKind::Caller, &filter.caller),
            ("provider = ?", NameKind::Provider, &filter.provider),
            ("model = ?", NameKind::Model, &filter.model),
            ("status = ?", NameKind::Status, &filter.status),
        ] {
            if let Some(word) = word {
                match Names::find(conn, kind, word)? {
                    Some(number) => condition.and(column, [number.into()]),
                    None => return Ok(None),
                }
            }
        }
        for (sql, word) in [
            (
                "scope IN (SELECT id FROM scopes WHERE project = ?)",
                &filter.project,
            ),
            (
                "scope IN (SELECT id FROM scopes WHERE team = ?)",
                &filter.team,
            ),
        ] {
            if let Some(word) = word {
                condition.and(sql, [word.clone().into()]);
            }
        }
        match filter.cost_source {
            // As the index of these says it.
            Some(CostSource::Provider) => condition.and("cost_source = 2", []),
            Some(source) => condition.and("cost_source = ?", [i64::from(source.code()).into()]),
            None => {}
        }
        Ok(Some(condition))
    }
}
