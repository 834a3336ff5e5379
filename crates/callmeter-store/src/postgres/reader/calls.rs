//! Lists of calls: by time, caller, model, status, or by an id that a host or provider gave.

use callmeter_core::CallId;

use super::{Asking, PostgresReader};
use crate::StoreError;
use crate::call::{StoredCall, key_of};
use crate::names::NameKind;
use crate::postgres::columns;
use crate::postgres::condition::Condition;
use crate::postgres::names::Names;
use crate::question::{CallsQuery, Filter};

impl PostgresReader {
    /// A page of calls, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn calls(&mut self, query: &CallsQuery) -> Result<Vec<StoredCall>, StoreError> {
        self.ask(|asking| asking.calls(query))
    }

    /// The calls that carry `id` as their request id, response id or trace id, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find_by_foreign_id(&mut self, id: &str) -> Result<Vec<StoredCall>, StoreError> {
        let key = key_of(id);
        let mut found = self.ask(|asking| {
            let mut found = Vec::new();
            for column in ["request_key", "response_key", "trace_key"] {
                found.extend(asking.select(&format!("WHERE c.{column} = {key}"), &[])?);
            }
            Ok(found)
        })?;
        found.retain(|call| call.carries(id));
        found.sort_by_key(|call| std::cmp::Reverse(call.record.call_id));
        found.dedup_by_key(|call| call.record.call_id);
        Ok(found)
    }
}

impl Asking<'_, '_> {
    fn calls(&mut self, query: &CallsQuery) -> Result<Vec<StoredCall>, StoreError> {
        let Some(mut condition) = self.condition(&query.filter)? else {
            return Ok(Vec::new());
        };
        if let Some(before) = query.before {
            condition.and(&older_than(before));
        }
        let newest_first = format!("ORDER BY hi DESC, lo DESC LIMIT {}", query.limit);
        let filter = &query.filter;
        // A model, or a pair of caller and model, is a run of an index in the order of time. A caller has as many
        // runs as models, which are few.
        let (Some(caller), None) = (&filter.caller, &filter.model) else {
            let rest = format!("{} {newest_first}", condition.sql);
            return self.select(&rest, &condition.texts);
        };
        let caller = Names::find(self.tx, NameKind::Caller, caller)?.unwrap_or(0);
        condition.and("c.model = runs.model");
        let sql = format!(
            "WITH RECURSIVE runs (model) AS (
               SELECT min(model) FROM callmeter.calls WHERE caller = {caller}
               UNION ALL
               SELECT (SELECT min(model) FROM callmeter.calls WHERE caller = {caller} AND model > runs.model)
               FROM runs WHERE runs.model IS NOT NULL
             )
             SELECT {} FROM runs, LATERAL (
               SELECT * FROM callmeter.calls AS c {} {newest_first}
             ) AS c WHERE runs.model IS NOT NULL {newest_first}",
            columns::select_list(),
            condition.sql
        );
        self.select_by(&sql, &condition.texts)
    }

    /// The filter in SQL; `None` when it names something that the store never saw.
    pub(super) fn condition(&mut self, filter: &Filter) -> Result<Option<Condition>, StoreError> {
        Condition::of(self.tx, filter)
    }
}

fn older_than(call: CallId) -> String {
    let (hi, lo) = (call.hi(), call.lo());
    // The first part alone is what the planner can choose partitions by.
    format!("hi <= {hi} AND (hi, lo) < ({hi}, {lo})")
}
