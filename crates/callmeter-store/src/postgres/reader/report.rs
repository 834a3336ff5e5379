//! The report's source on PostgreSQL.

use std::sync::Arc;

use callmeter_core::CallId;

use super::{Asking, PostgresReader};
use crate::answer::{self, Source, Take, TakeDay};
use crate::names::ScopeWords;
use crate::postgres::connect::text;
use crate::postgres::rollup::read_sums;
use crate::postgres::schema::get;
use crate::question::{Filter, ReportQuery, ReportRow, Totals, Unpriced};
use crate::rollup::{AdmissionKey, SUM_COLUMNS, SUMS};
use crate::{AccountingZone, StoreError};

/// The units of `hi` in a quarter of an hour: every zone of today is whole quarters away from UTC.
const HI_PER_QUARTER: i64 = 900_000 << 12;

/// The sums of rows in the order of [`SUM_COLUMNS`], the cost in its two halves.
const SUMS_OF_ROWS: &str = "count(*), count(coalesce(input_tokens, output_tokens)), \
     coalesce(sum(input_tokens), 0)::bigint, coalesce(sum(output_tokens), 0)::bigint, \
     coalesce(sum(cache_read_tokens), 0)::bigint, coalesce(sum(cache_write_tokens), 0)::bigint, \
     coalesce(sum(reasoning_tokens), 0)::bigint, \
     coalesce(sum((cost_picousd - ((cost_picousd % 1000000) + 1000000) % 1000000) / 1000000), 0)::bigint, \
     coalesce(sum(((cost_picousd % 1000000) + 1000000) % 1000000), 0)::bigint, \
     count(*) FILTER (WHERE cost_picousd IS NULL), count(*) FILTER (WHERE cache_hit = 1), \
     count(*) FILTER (WHERE rag_hit = 1), count(duration_us), coalesce(sum(duration_us), 0)::bigint, \
     coalesce(array_agg(duration_us) FILTER (WHERE duration_us IS NOT NULL), '{}')";

impl PostgresReader {
    /// A report, its rows by period and key.
    ///
    /// # Errors
    /// When the store cannot be read, or the zone is not known.
    pub fn report(&mut self, query: &ReportQuery) -> Result<Vec<ReportRow>, StoreError> {
        self.ask(|asking| answer::report(asking, query))
    }

    /// The sums over all calls of a filter.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn totals(&mut self, filter: &Filter) -> Result<Totals, StoreError> {
        Ok(answer::totals_of_rows(
            self.report(&answer::totals_query(filter))?,
        ))
    }

    /// Calls without a price, by provider, model and reason, the most first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn unpriced(&mut self, filter: &Filter) -> Result<Vec<Unpriced>, StoreError> {
        self.ask(|asking| {
            let Some(mut condition) = asking.condition(filter)? else {
                return Ok(Vec::new());
            };
            condition.and("unpriced_reason IS NOT NULL");
            let sql = format!(
                "SELECT provider::bigint, model::bigint, unpriced_reason::bigint, count(*)
                 FROM callmeter.calls {} GROUP BY 1, 2, 3",
                condition.sql
            );
            let params: Vec<_> = condition.texts.iter().map(text).collect();
            let rows = asking.tx.query(&sql, &params)?;
            let groups = rows
                .iter()
                .map(|row| Ok([get(row, 0)?, get(row, 1)?, get(row, 2)?, get(row, 3)?]))
                .collect::<Result<Vec<[i64; 4]>, StoreError>>()?;
            answer::unpriced(asking, groups)
        })
    }
}

impl Source for Asking<'_, '_> {
    fn zone(&self) -> &AccountingZone {
        self.zone
    }

    fn days(
        &mut self,
        filter: &Filter,
        first: Option<i64>,
        last: Option<i64>,
        take: &mut TakeDay<'_>,
    ) -> Result<(), StoreError> {
        let words = Filter {
            since: None,
            until: None,
            ..filter.clone()
        };
        let Some(mut condition) = self.condition(&words)? else {
            return Ok(());
        };
        if let Some(first) = first {
            condition.and(&format!("day >= {first}"));
        }
        if let Some(last) = last {
            condition.and(&format!("day < {last}"));
        }
        let sql = format!(
            "SELECT day, scope, caller, provider, model, status, fallback_to, {SUM_COLUMNS}, durations
             FROM callmeter.roll_day {}",
            condition.sql
        );
        let params: Vec<_> = condition.texts.iter().map(text).collect();
        for row in self.tx.query(&sql, &params)? {
            let mut key = [0; 6];
            for (at, number) in key.iter_mut().enumerate() {
                *number = get(&row, at.saturating_add(1))?;
            }
            let (sums, blob) = read_sums(&row, 7)?;
            take(get(&row, 0)?, key, sums, blob)?;
        }
        Ok(())
    }

    fn rows(&mut self, filter: &Filter, take: &mut Take<'_>) -> Result<(), StoreError> {
        let Some(condition) = self.condition(filter)? else {
            return Ok(());
        };
        let sql = format!(
            "SELECT min(hi), scope::bigint, caller::bigint, provider::bigint, model::bigint,
             status::bigint, coalesce(fallback_to, 0)::bigint, {SUMS_OF_ROWS} FROM callmeter.calls {}
             GROUP BY hi / {HI_PER_QUARTER}, scope, caller, provider, model, status, fallback_to",
            condition.sql
        );
        let params: Vec<_> = condition.texts.iter().map(text).collect();
        for row in self.tx.query(&sql, &params)? {
            let Some(id) = CallId::from_halves(get(&row, 0)?, 0) else {
                continue;
            };
            let mut key = [0; 6];
            for (at, number) in key.iter_mut().enumerate() {
                *number = get(&row, at.saturating_add(1))?;
            }
            let mut sums = [0; SUMS];
            for (at, sum) in sums.iter_mut().enumerate() {
                *sum = get(&row, at.saturating_add(7))?;
            }
            let durations: Vec<i64> = get(&row, SUMS.saturating_add(7))?;
            take(id.started_at(), key, sums, &durations)?;
        }
        Ok(())
    }

    fn expect_words(&mut self, numbers: &[i64]) -> Result<(), StoreError> {
        self.names.expect_words(self.tx, numbers.iter().copied())
    }

    fn is_admitted(&mut self, (day, scope, kind, name): AdmissionKey) -> Result<bool, StoreError> {
        let kind = kind.code();
        let found = self.one(&format!(
            "SELECT count(*) FROM callmeter.roll_names
             WHERE day = {day} AND scope = {scope} AND kind = {kind} AND name = {name}"
        ))?;
        Ok(found > 0)
    }

    fn word(&mut self, number: i64) -> Result<Arc<str>, StoreError> {
        self.names.word(self.tx, number)
    }

    fn scope_words(&mut self, number: i64) -> Result<Option<Arc<ScopeWords>>, StoreError> {
        self.names.scope_words(self.tx, number)
    }
}
