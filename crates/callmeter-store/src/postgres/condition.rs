//! A filter as SQL over `calls`, and over `roll_day` but for its times.

use callmeter_core::CallId;

use super::connect::Tx;
use super::names::Names;
use crate::StoreError;
use crate::names::NameKind;
use crate::question::Filter;

/// A condition in SQL. Numbers stand in it as they are, so that the planner sees which partitions are meant; texts
/// are parameters.
#[derive(Clone, Debug, Default)]
pub(super) struct Condition {
    pub(super) sql: String,
    pub(super) texts: Vec<String>,
}

impl Condition {
    pub(super) fn and(&mut self, sql: &str) {
        self.sql.push_str(if self.sql.is_empty() {
            "WHERE "
        } else {
            " AND "
        });
        self.sql.push_str(sql);
    }

    fn and_text(&mut self, before: &str, text: &str, after: &str) {
        // A text with a NUL is in no database.
        self.texts.push(text.replace('\0', "\u{fffd}"));
        let at = self.texts.len();
        self.and(&format!("{before}${at}{after}"));
    }

    /// The condition of a filter; `None` when it names something that the store never saw.
    pub(super) fn of(tx: &mut Tx<'_>, filter: &Filter) -> Result<Option<Self>, StoreError> {
        let mut condition = Self::default();
        if let Some(since) = filter.since {
            condition.and(&format!("hi >= {}", CallId::hi_at(since)));
        }
        if let Some(until) = filter.until {
            condition.and(&format!("hi < {}", CallId::hi_at(until)));
        }
        for (column, kind, word) in [
            ("caller", NameKind::Caller, &filter.caller),
            ("provider", NameKind::Provider, &filter.provider),
            ("model", NameKind::Model, &filter.model),
            ("status", NameKind::Status, &filter.status),
        ] {
            if let Some(word) = word {
                match Names::find(tx, kind, word)? {
                    Some(number) => condition.and(&format!("{column} = {number}")),
                    None => return Ok(None),
                }
            }
        }
        for (column, word) in [("project", &filter.project), ("team", &filter.team)] {
            if let Some(word) = word {
                let before = format!("scope IN (SELECT id FROM callmeter.scopes WHERE {column} = ");
                condition.and_text(&before, word, ")");
            }
        }
        if let Some(source) = filter.cost_source {
            condition.and(&format!("cost_source = {}", source.code()));
        }
        Ok(Some(condition))
    }
}
