//! Lists of calls: by time, caller, model, status, or by an id that a host or provider gave.

use callmeter_core::{CallId, Timestamp};
use rusqlite::OptionalExtension;

use super::SqliteReader;
use crate::StoreError;
use crate::call::{StoredCall, key_of};
use crate::names::NameKind;
use crate::question::{CallsQuery, Filter};
use crate::sqlite::columns::{self, select_calls};
use crate::sqlite::condition::Condition;
use crate::sqlite::names::Names;

impl SqliteReader {
    /// A page of calls, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn calls(&mut self, query: &CallsQuery) -> Result<Vec<StoredCall>, StoreError> {
        let Some(mut condition) = self.condition(&query.filter)? else {
            return Ok(Vec::new());
        };
        if let Some(before) = query.before {
            condition.and(
                "(hi, lo) < (?, ?)",
                [before.hi().into(), before.lo().into()],
            );
        }
        let filter = &query.filter;
        let number = |kind, word: &Option<String>| match word {
            Some(word) => Names::find(&self.conn, kind, word),
            None => Ok(None),
        };
        let caller = number(NameKind::Caller, &filter.caller)?;
        let model = number(NameKind::Model, &filter.model)?;
        // Each pair of caller and model is a run of the index in the order of time.
        let runs = match (caller, model) {
            (None, None) => vec![None],
            (Some(caller), Some(model)) => vec![Some((caller, model))],
            (Some(caller), None) => self.models_of(caller)?.into_iter().map(Some).collect(),
            (None, Some(model)) => self.callers_of(model)?.into_iter().map(Some).collect(),
        };
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
        let mut ids: Vec<(i64, i64)> = Vec::new();
        for run in runs {
            let mut sql = format!("SELECT hi, lo FROM calls {}", condition.sql);
            let mut values = condition.values.clone();
            if let Some((caller, model)) = run {
                sql.push_str(if condition.sql.is_empty() {
                    " WHERE "
                } else {
                    " AND "
                });
                sql.push_str("caller = ? AND model = ?");
                values.extend([caller.into(), model.into()]);
            }
            sql.push_str(" ORDER BY hi DESC, lo DESC LIMIT ?");
            values.push(limit.into());
            let mut statement = self.conn.prepare_cached(&sql)?;
            let found = statement.query_map(rusqlite::params_from_iter(values), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
            for id in found {
                ids.push(id?);
            }
        }
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.truncate(query.limit);
        let mut calls = Vec::with_capacity(ids.len());
        for (hi, lo) in ids {
            if let Some(id) = CallId::from_halves(hi, lo)
                && let Some(call) = columns::find(&self.conn, &mut self.names, id)?
            {
                calls.push(call);
            }
        }
        Ok(calls)
    }

    /// The calls that carry `id` as their request id, response id or trace id, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find_by_foreign_id(&mut self, id: &str) -> Result<Vec<StoredCall>, StoreError> {
        let mut found = Vec::new();
        for day in self.days()? {
            for sql in [
                select_calls!("WHERE hi / 353894400000 = ?1 AND request_key = ?2"),
                select_calls!("WHERE hi / 353894400000 = ?1 AND response_key = ?2"),
                select_calls!("WHERE hi / 353894400000 = ?1 AND trace_key = ?2"),
            ] {
                let mut statement = self.conn.prepare_cached(sql)?;
                let mut rows = statement.query((day, key_of(id)))?;
                while let Some(row) = rows.next()? {
                    let call = columns::read(&self.conn, &mut self.names, row)?;
                    if call.carries(id) && !found.contains(&call) {
                        found.push(call);
                    }
                }
            }
        }
        found.sort_by_key(|call| std::cmp::Reverse(call.record.call_id));
        Ok(found)
    }

    /// The filter in SQL over `calls`; `None` when it names something that the store never saw.
    pub(super) fn condition(&self, filter: &Filter) -> Result<Option<Condition>, StoreError> {
        Condition::of(&self.conn, filter)
    }

    fn models_of(&self, caller: i64) -> Result<Vec<(i64, i64)>, StoreError> {
        let mut runs = Vec::new();
        let mut statement = self
            .conn
            .prepare_cached("SELECT min(model) FROM calls WHERE caller = ?1 AND model > ?2")?;
        let mut last = 0_i64;
        while let Some(model) =
            statement.query_row((caller, last), |row| row.get::<_, Option<i64>>(0))?
        {
            runs.push((caller, model));
            last = model;
        }
        Ok(runs)
    }

    fn callers_of(&self, model: i64) -> Result<Vec<(i64, i64)>, StoreError> {
        let mut runs = Vec::new();
        let mut next = self
            .conn
            .prepare_cached("SELECT min(caller) FROM calls WHERE caller > ?1")?;
        let mut has = self
            .conn
            .prepare_cached("SELECT 1 FROM calls WHERE caller = ?1 AND model = ?2 LIMIT 1")?;
        let mut last = 0_i64;
        while let Some(caller) = next.query_row([last], |row| row.get::<_, Option<i64>>(0))? {
            if has
                .query_row((caller, model), |_| Ok(()))
                .optional()?
                .is_some()
            {
                runs.push((caller, model));
            }
            last = caller;
        }
        Ok(runs)
    }

    /// The UTC days that have calls, the newest first.
    fn days(&self) -> Result<Vec<i64>, StoreError> {
        let mut days = Vec::new();
        let mut statement = self
            .conn
            .prepare_cached("SELECT max(hi) / 353894400000 FROM calls WHERE hi < ?1")?;
        let mut before = CallId::hi_at(Timestamp::MAX_IN_ID);
        while let Some(day) = statement.query_row([before], |row| row.get::<_, Option<i64>>(0))? {
            days.push(day);
            before = day.saturating_mul(crate::sqlite::schema::HI_PER_DAY);
        }
        Ok(days)
    }
}
