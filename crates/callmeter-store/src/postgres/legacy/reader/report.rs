//! Sums over an `ai_calls`, made by the server from its rows.

use std::collections::BTreeMap;

use callmeter_core::{MAX_DURATION_US, UsdTotal};
use tokio_postgres::types::Type;

use super::{LegacyReader, mark, named, rows, started_us, status};
use crate::legacy::UNPRICED_MARK;
use crate::postgres::connect::Access;
use crate::postgres::legacy::Shape;
use crate::{
    AccountingZone, Dimension, Filter, Histogram, Period, ReportQuery, ReportRow, StoreError,
    Totals, Unpriced,
};

impl LegacyReader {
    /// A report, its rows by period and key. Dimensions that the table has no column of are empty.
    ///
    /// # Errors
    /// When the table cannot be read, or the zone is not known.
    pub fn report(&mut self, query: &ReportQuery) -> Result<Vec<ReportRow>, StoreError> {
        let Some(mut condition) = self.condition(&query.filter) else {
            return Ok(Vec::new());
        };
        let shape = &self.shape;
        let zone = match &query.zone {
            Some(name) => AccountingZone::named(name)?,
            None => self.zone.clone(),
        };
        let started = started_us(shape);
        let zone_param = condition.text(zone.name());
        // The server knows the zones by the same names.
        let day = match query.period {
            Period::Whole => format!("CASE WHEN {zone_param} = '' THEN 1 END"),
            _ => format!(
                "((timestamptz 'epoch' + interval '1 microsecond' * ({started})) AT TIME ZONE {zone_param})::date - date '1970-01-01'"
            ),
        };
        let mut keys: Vec<String> = query
            .by
            .iter()
            .map(|dimension| match dimension {
                Dimension::Caller => named("caller"),
                Dimension::Provider => named("provider"),
                Dimension::Model => named("model"),
                Dimension::Status => status(shape),
                Dimension::FallbackTo => "nullif(t.fallback_to::text, '')".to_owned(),
                _ => "NULL::text".to_owned(),
            })
            .collect();
        keys.push(status(shape));
        let keys_sql: String = keys
            .iter()
            .enumerate()
            .map(|(at, key)| format!("{key} AS k{at}, "))
            .collect();
        let groups: Vec<String> = (0..keys.len()).map(|at| format!("k{at}")).collect();
        let bounds: Vec<i64> = Histogram::bounds_us(MAX_DURATION_US)
            .into_iter()
            .map(|us| i64::try_from(us).unwrap_or(i64::MAX))
            .collect();
        let unpriced = unpriced(&mark(shape, UNPRICED_MARK));
        let sql = format!(
            "WITH r AS (
               SELECT {day} AS day, {keys_sql}
                 CASE WHEN s.hi IS NOT NULL THEN {ended} - ({started}) ELSE t.duration_ms::int8 * 1000 END AS us,
                 coalesce(t.input_tokens, 0)::int8 AS input, coalesce(t.output_tokens, 0)::int8 AS output,
                 t.cost_usd::numeric AS cost, {unpriced} AS unpriced,
                 t.cache_hit IS TRUE AS cache_hit, t.rag_hit IS TRUE AS rag_hit
               FROM {from} {condition}
             )
             SELECT day, {groups}, CASE WHEN us >= 0 THEN width_bucket(greatest(us, 1), $B) - 1 END AS bucket,
                    count(*), count(*) FILTER (WHERE input > 0 OR output > 0), sum(greatest(input, 0))::int8,
                    sum(greatest(output, 0))::int8,
                    round(coalesce(sum(cost) FILTER (WHERE NOT unpriced), 0) * 1000000000000, 0)::text,
                    count(*) FILTER (WHERE unpriced), count(*) FILTER (WHERE cache_hit), count(*) FILTER (WHERE rag_hit)
             FROM r GROUP BY day, {groups}, bucket",
            ended = rows::micros(&rows::zoned(shape, "t")),
            from = rows::joined(shape, self.has_side),
            condition = condition.sql,
            groups = groups.join(", "),
        )
        .replace("$B", &format!("${}::int8[]", condition.order.len().saturating_add(1)));
        let mut params = condition.params();
        params.push((&bounds, Type::INT8_ARRAY));
        let found = self
            .session
            .transaction(Access::Snapshot, |tx| Ok(tx.query(&sql, &params)?))?;

        let mut rows: BTreeMap<(Option<i64>, Vec<Option<String>>), Totals> = BTreeMap::new();
        for row in &found {
            let day: Option<i32> = row.get(0);
            let mut key: Vec<Option<String>> = (1..=keys.len()).map(|at| row.get(at)).collect();
            let status = key.pop().flatten().unwrap_or_default();
            let from = keys.len().saturating_add(1);
            let count = |at: usize| -> u64 {
                let n: Option<i64> = row.get(from.saturating_add(at));
                n.unwrap_or(0).cast_unsigned()
            };
            let calls = count(1);
            let mut durations = Histogram::default();
            let bucket: Option<i32> = row.get(from);
            if let Some(bucket) = bucket.and_then(|bucket| u16::try_from(bucket).ok()) {
                durations.add_bucket(bucket, calls.cast_signed());
            }
            let pico: String = row.get(from.saturating_add(5));
            let totals = Totals {
                calls,
                with_usage: count(2),
                input_tokens: count(3),
                output_tokens: count(4),
                cost: UsdTotal::from_pico(pico.parse().unwrap_or(0)),
                unpriced: count(6),
                cache_hits: count(7),
                rag_hits: count(8),
                by_status: BTreeMap::from([(status, calls)]),
                durations,
                ..Totals::default()
            };
            let period = day.and_then(|day| query.period.start_of(i64::from(day)));
            rows.entry((period, key)).or_default().add(&totals);
        }
        Ok(rows
            .into_iter()
            .map(|((period_start, key), totals)| ReportRow {
                period_start,
                key,
                totals,
            })
            .collect())
    }

    /// The sums over all calls of a filter.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn totals(&mut self, filter: &Filter) -> Result<Totals, StoreError> {
        let query = ReportQuery {
            filter: filter.clone(),
            ..ReportQuery::default()
        };
        let rows = self.report(&query)?;
        Ok(rows
            .into_iter()
            .next()
            .map(|row| row.totals)
            .unwrap_or_default())
    }

    /// Calls without a price, by provider, model and reason, the most first.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn unpriced(&mut self, filter: &Filter) -> Result<Vec<Unpriced>, StoreError> {
        let Some(mut condition) = self.condition(filter) else {
            return Ok(Vec::new());
        };
        let mark = mark(&self.shape, UNPRICED_MARK);
        condition.and(&unpriced_rows(&self.shape));
        let sql = format!(
            "SELECT {}, {}, coalesce({mark}, 'unknown'), count(*) FROM {} {} GROUP BY 1, 2, 3 ORDER BY 4 DESC, 2",
            named("provider"),
            named("model"),
            rows::joined(&self.shape, self.has_side),
            condition.sql
        );
        let found = self.session.transaction(Access::Snapshot, |tx| {
            Ok(tx.query(&sql, &condition.params())?)
        })?;
        let unpriced = |row: &tokio_postgres::Row| Unpriced {
            provider: row.get(0),
            model: row.get(1),
            reason: row.get(2),
            calls: row.get::<_, i64>(3).cast_unsigned(),
        };
        Ok(found.iter().map(unpriced).collect())
    }
}

/// The condition of rows without a price.
pub(super) fn unpriced_rows(shape: &Shape) -> String {
    unpriced(&mark(shape, UNPRICED_MARK))
}

/// Whether a row has no price.
fn unpriced(mark: &str) -> String {
    format!("(t.cost_usd IS NULL OR ({mark}) IS NOT NULL)")
}
