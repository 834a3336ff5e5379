//! The report's source in the embedded store.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use callmeter_core::CallId;

use super::SqliteReader;
use crate::answer::{self, Source, Take, TakeDay};
use crate::names::ScopeWords;
use crate::question::{Filter, ReportQuery, ReportRow, Totals, Unpriced};
use crate::rollup::{AdmissionKey, PICO_PER_MICRO, SUM_COLUMNS, SUMS};
use crate::sqlite::condition::Condition;
use crate::sqlite::rollup::{is_admitted, read_sums};
use crate::{AccountingZone, StoreError};

impl SqliteReader {
    /// A report, its rows by period and key.
    ///
    /// # Errors
    /// When the store cannot be read, or the zone is not known.
    pub fn report(&mut self, query: &ReportQuery) -> Result<Vec<ReportRow>, StoreError> {
        // One snapshot for all statements: a batch that arrives meanwhile is in all of them or in none.
        self.conn.execute_batch("BEGIN")?;
        let rows = answer::report(self, query);
        self.conn.execute_batch("COMMIT")?;
        rows
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
        let Some(mut condition) = self.condition(filter)? else {
            return Ok(Vec::new());
        };
        condition.and("unpriced_reason IS NOT NULL", []);
        let sql = format!(
            "SELECT provider, model, unpriced_reason, count(*) FROM calls {} GROUP BY 1, 2, 3",
            condition.sql
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let groups = statement
            .query_map(rusqlite::params_from_iter(condition.values), |row| {
                Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?])
            })?
            .collect::<Result<Vec<_>, _>>()?;
        drop(statement);
        answer::unpriced(self, groups)
    }
}

impl Source for SqliteReader {
    fn zone(&self) -> &AccountingZone {
        &self.zone
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
            condition.and("day >= ?", [first.into()]);
        }
        if let Some(last) = last {
            condition.and("day < ?", [last.into()]);
        }
        let sql = format!(
            "SELECT day, scope, caller, provider, model, status, fallback_to, {SUM_COLUMNS}, durations \
             FROM roll_day {}",
            condition.sql
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query(rusqlite::params_from_iter(condition.values))?;
        while let Some(row) = rows.next()? {
            let mut key = [0; 6];
            for (at, number) in key.iter_mut().enumerate() {
                *number = row.get(at + 1)?;
            }
            let (sums, blob) = read_sums(row, 7)?;
            take(row.get(0)?, key, sums, blob)?;
        }
        Ok(())
    }

    fn rows(&mut self, filter: &Filter, take: &mut Take<'_>) -> Result<(), StoreError> {
        let Some(Condition { sql, values }) = self.condition(filter)? else {
            return Ok(());
        };
        let sql = format!(
            "SELECT hi, lo, scope, caller, provider, model, status, ifnull(fallback_to, 0),
             1, input_tokens IS NOT NULL OR output_tokens IS NOT NULL, ifnull(input_tokens, 0),
             ifnull(output_tokens, 0), ifnull(cache_read_tokens, 0), ifnull(cache_write_tokens, 0),
             ifnull(reasoning_tokens, 0), 0, ifnull(cost_picousd, 0), cost_picousd IS NULL,
             ifnull(cache_hit, 0), ifnull(rag_hit, 0), duration_us IS NOT NULL, ifnull(duration_us, 0)
             FROM calls {sql}"
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query(rusqlite::params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            let Some(id) = CallId::from_halves(row.get(0)?, row.get(1)?) else {
                continue;
            };
            let mut key = [0; 6];
            for (at, number) in key.iter_mut().enumerate() {
                *number = row.get(at + 2)?;
            }
            let mut sums = [0_i64; SUMS];
            for (at, sum) in sums.iter_mut().enumerate() {
                *sum = row.get(at + 8)?;
            }
            // The cost comes whole in the place of its second half.
            let [.., micro, pico, _, _, _, timed, duration] = &mut sums;
            *micro = pico.div_euclid(PICO_PER_MICRO);
            *pico = pico.rem_euclid(PICO_PER_MICRO);
            let durations = [*duration];
            let durations = durations
                .get(..usize::from(*timed == 1))
                .unwrap_or_default();
            take(id.started_at(), key, sums, durations)?;
        }
        Ok(())
    }

    fn admitted(
        &mut self,
        names: &BTreeSet<AdmissionKey>,
    ) -> Result<HashSet<AdmissionKey>, StoreError> {
        let mut admitted = HashSet::new();
        for name in names {
            if is_admitted(&self.conn, *name)? {
                admitted.insert(*name);
            }
        }
        Ok(admitted)
    }

    fn word(&mut self, number: i64) -> Result<Arc<str>, StoreError> {
        self.names.word(&self.conn, number)
    }

    fn scope_words(&mut self, number: i64) -> Result<Option<Arc<ScopeWords>>, StoreError> {
        self.names.scope_words(&self.conn, number)
    }
}
