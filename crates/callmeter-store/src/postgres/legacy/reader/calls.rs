//! Lists of calls by the moment at which they started, from a table that knows when they ended.
//!
//! Rows come by their end, the newest first; a call cannot have started later than it ended. So as soon as the page is
//! full of calls that all started after the last end that was read, nothing that follows can belong to it.

use callmeter_core::Timestamp;

use super::{LegacyReader, StoredCall, call_of, quoted, rows};
use crate::postgres::connect::Access;
use crate::{CallsQuery, Filter, StoreError};

/// Rows that are read beyond the page at a time.
const CHUNK: usize = 200;

impl LegacyReader {
    /// A page of calls, the newest first.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn calls(&mut self, query: &CallsQuery) -> Result<Vec<StoredCall>, StoreError> {
        let started_before = match (query.before, query.filter.until) {
            (Some(before), Some(until)) => Some(before.started_at().min(until)),
            (Some(before), None) => Some(before.started_at()),
            (None, until) => until,
        };
        let latest = match started_before {
            Some(at) => Some(at.saturating_add_micros(self.longest_us()?)),
            None => None,
        };
        if query.limit == 0 {
            return Ok(Vec::new());
        }
        // The table has no column of these; of the calls that callmeter wrote the side table knows them.
        let words = Filter {
            project: None,
            team: None,
            ..query.filter.clone()
        };
        let Some(condition) = self.condition(&words) else {
            return Ok(Vec::new());
        };
        let is_meant = |call: &StoredCall| {
            let is =
                |wanted: &Option<String>, word: &Option<String>| wanted.is_none() || wanted == word;
            is(&query.filter.project, &call.record.project)
                && is(&query.filter.team, &call.record.team)
                && query
                    .before
                    .is_none_or(|before| call.record.call_id < before)
        };
        let (shape, has_side) = (&self.shape, self.has_side);
        let (time, id) = (quoted(&shape.time), quoted(&shape.id));
        let chunk = query.limit.saturating_add(CHUNK);
        self.session.transaction(Access::Snapshot, |tx| {
            let mut page: Vec<StoredCall> = Vec::new();
            let mut last: Option<(Timestamp, String)> = None;
            loop {
                let mut condition = super::Condition {
                    sql: condition.sql.clone(),
                    texts: condition.texts.clone(),
                    numbers: condition.numbers.clone(),
                    order: condition.order.clone(),
                };
                if let Some((at, row_id)) = &last {
                    let (at, row_id) = (condition.number(at.as_micros()), condition.text(row_id));
                    condition.and(&format!(
                        "(t.{time}, t.{id}) < ({}, CAST({row_id} AS {}))",
                        rows::moment(shape, &at),
                        shape.id_type
                    ));
                } else if let Some(latest) = latest {
                    let at = condition.number(latest.as_micros());
                    condition.and(&format!("t.{time} <= {}", rows::moment(shape, &at)));
                }
                condition.and(&format!("t.{time} IS NOT NULL"));
                let sql = format!(
                    "SELECT {} FROM {} {} ORDER BY t.{time} DESC, t.{id} DESC LIMIT {chunk}",
                    rows::selected(shape),
                    rows::joined(shape, has_side),
                    condition.sql,
                );
                let found = tx.query(&sql, &condition.params())?;
                for row in &found {
                    let call = call_of(row);
                    if is_meant(&call) {
                        page.push(call);
                    }
                }
                page.sort_by_key(|call| std::cmp::Reverse(call.record.call_id));
                page.truncate(query.limit);
                let Some(end) = found.last().map(|row| rows::read(row).0) else {
                    return Ok(page);
                };
                let is_settled = page.len() == query.limit
                    && page
                        .last()
                        .is_some_and(|call| call.record.started_at() > end.at);
                if found.len() < chunk || is_settled {
                    return Ok(page);
                }
                last = Some((end.at, end.row_id));
            }
        })
    }
}
