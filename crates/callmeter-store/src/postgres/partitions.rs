//! Partitions of `calls`: one for each UTC month, made ahead and dropped when their rows are old enough.
//!
//! A call of a month that has no partition lands in the default one, and is moved when its month gets one. A month
//! is dropped when all of it lies beyond the dedup horizon: `about.kept_from` says so, and a record of one of its
//! calls is refused as expired from then on, so that nothing is counted twice. The rollups keep what was counted.

use std::collections::BTreeMap;

use callmeter_core::{CallId, Timestamp};

use super::connect::{Tx, text};
use super::schema::{Lock, get};
use crate::StoreError;
use crate::door::horizon;

/// How many months `callmeter migrate` sees to, this one and the last included.
pub(super) const MONTHS: i64 = 24;

/// A month since year 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Month(i64);

impl Month {
    pub(super) fn of(at: Timestamp) -> Self {
        let (year, month, _) = Timestamp::civil_from_day(at.utc_day());
        Self(
            year.saturating_mul(12)
                .saturating_add(i64::from(month).saturating_sub(1)),
        )
    }

    pub(super) fn plus(self, months: i64) -> Self {
        Self(self.0.saturating_add(months))
    }

    fn year_and_month(self) -> (i64, i64) {
        (
            self.0.div_euclid(12),
            self.0.rem_euclid(12).saturating_add(1),
        )
    }

    /// The partition's name.
    pub(super) fn table(self) -> String {
        let (year, month) = self.year_and_month();
        format!("calls_{year:04}_{month:02}")
    }

    fn of_table(name: &str) -> Option<Self> {
        let (year, month) = name.strip_prefix("calls_")?.split_once('_')?;
        let (year, month): (i64, i64) = (year.parse().ok()?, month.parse().ok()?);
        (1..=12).contains(&month).then(|| {
            Self(
                year.saturating_mul(12)
                    .saturating_add(month)
                    .saturating_sub(1),
            )
        })
    }

    /// When it begins.
    pub(super) fn start(self) -> Timestamp {
        let (year, month) = self.year_and_month();
        let text = format!("{year:04}-{month:02}-01T00:00:00Z");
        text.parse().unwrap_or(Timestamp::from_micros(0))
    }

    fn range(self) -> (i64, i64) {
        (
            CallId::hi_at(self.start()),
            CallId::hi_at(self.plus(1).start()),
        )
    }
}

/// What was done to partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionChanges {
    /// The tables that were made.
    pub made: Vec<String>,
    /// The tables that were dropped.
    pub dropped: Vec<String>,
    /// How many rows moved from the default partition into a month's.
    pub moved: u64,
}

/// The months that have a partition.
pub(super) fn months(tx: &mut Tx<'_>) -> Result<Vec<Month>, StoreError> {
    let rows = tx.query(
        "SELECT c.relname::text FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'callmeter.calls'::regclass",
        &[],
    )?;
    let mut months = Vec::with_capacity(rows.len());
    for row in &rows {
        let name: String = get(row, 0)?;
        months.extend(Month::of_table(&name));
    }
    months.sort_unstable();
    Ok(months)
}

/// The statement that makes a month's partition, where the default one has no rows of it.
pub(super) fn create_sql(month: Month) -> String {
    let (from, to) = month.range();
    format!(
        "CREATE TABLE callmeter.{} PARTITION OF callmeter.calls FOR VALUES FROM ({from}) TO ({to});\n",
        month.table()
    )
}

/// Makes the partitions that are missing around `now` and those that rows in the default one need; drops those
/// beyond the horizon.
pub(super) fn maintain(
    tx: &mut Tx<'_>,
    now: Timestamp,
    raw_days: u32,
) -> Result<PartitionChanges, StoreError> {
    let mut changes = PartitionChanges::default();
    let oldest = Month::of(horizon(now, raw_days));
    let there = months(tx)?;
    let in_default = months_in_default(tx)?;
    let is_old = |month: &Month| *month < oldest;
    let first = Month::of(now).plus(-1);
    let is_missing = |at: i64| !there.contains(&first.plus(at));
    if in_default.is_empty() && !there.iter().any(is_old) && !(0..MONTHS).any(is_missing) {
        // Nothing to do, and nobody to hold up for it.
        return Ok(changes);
    }
    if there.iter().any(is_old) || in_default.iter().any(|(month, _)| is_old(month)) {
        // Batches that are at work end first; those that come refuse what is removed here.
        Lock::Book.take(tx)?;
        let (kept_from, _) = oldest.range();
        tx.batch(&format!(
            "UPDATE callmeter.about SET kept_from = greatest(kept_from, {kept_from})"
        ))?;
    }
    for month in there.iter().copied().filter(is_old) {
        tx.batch(&format!("DROP TABLE callmeter.{}", month.table()))?;
        changes.dropped.push(month.table());
    }
    let mut wanted: BTreeMap<Month, u64> = (0..MONTHS).map(|at| (first.plus(at), 0)).collect();
    // No row may come into the default partition while it is looked at and moved.
    tx.batch("LOCK TABLE callmeter.calls_default IN SHARE ROW EXCLUSIVE MODE")?;
    for (month, rows) in months_in_default(tx)? {
        wanted.insert(month, rows);
    }
    for (month, rows) in wanted {
        if there.contains(&month) && month >= oldest {
            continue;
        }
        if month < oldest {
            let (from, to) = month.range();
            tx.batch(&format!(
                "DELETE FROM callmeter.calls_default WHERE hi >= {from} AND hi < {to}"
            ))?;
            continue;
        }
        changes.moved = changes.moved.saturating_add(make(tx, month, rows)?);
        changes.made.push(month.table());
    }
    Ok(changes)
}

/// Makes the partitions from the month of `from` on, or from the horizon, that are missing and of which the default
/// one has no rows: so that rows of those months need not be moved later.
pub(super) fn make_from(
    tx: &mut Tx<'_>,
    from: Timestamp,
    now: Timestamp,
    raw_days: u32,
) -> Result<(), StoreError> {
    let (there, in_default) = (months(tx)?, months_in_default(tx)?);
    let last = Month::of(now);
    let mut month = Month::of(from).max(Month::of(horizon(now, raw_days)));
    while month <= last {
        if !there.contains(&month) && !in_default.iter().any(|(other, _)| *other == month) {
            tx.batch(&create_sql(month))?;
        }
        month = month.plus(1);
    }
    Ok(())
}

fn make(tx: &mut Tx<'_>, month: Month, rows_in_default: u64) -> Result<u64, StoreError> {
    if rows_in_default == 0 {
        tx.batch(&create_sql(month))?;
        return Ok(0);
    }
    let table = month.table();
    let (from, to) = month.range();
    tx.batch(&format!(
        "CREATE TABLE callmeter.{table} (LIKE callmeter.calls INCLUDING DEFAULTS);
         WITH gone AS (DELETE FROM callmeter.calls_default WHERE hi >= {from} AND hi < {to} RETURNING *)
           INSERT INTO callmeter.{table} SELECT * FROM gone;
         ALTER TABLE callmeter.calls ATTACH PARTITION callmeter.{table} FOR VALUES FROM ({from}) TO ({to})"
    ))?;
    Ok(rows_in_default)
}

/// The months of rows in the default partition, and how many each has.
fn months_in_default(tx: &mut Tx<'_>) -> Result<Vec<(Month, u64)>, StoreError> {
    // The milliseconds since 1970 are the upper bits of `hi`.
    let rows = tx.query(
        "SELECT to_char(to_timestamp((hi >> 12) / 1000) AT TIME ZONE 'UTC', $1), count(*)
         FROM callmeter.calls_default GROUP BY 1",
        &[text(&"\"calls_\"YYYY_MM")],
    )?;
    let mut months = Vec::with_capacity(rows.len());
    for row in &rows {
        let name: String = get(row, 0)?;
        let count: i64 = get(row, 1)?;
        months.extend(Month::of_table(&name).map(|month| (month, count.cast_unsigned())));
    }
    Ok(months)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_has_a_table_and_begins_when_it_does() {
        let at: Timestamp = "2026-11-26T07:00:00Z".parse().unwrap();
        let month = Month::of(at);
        assert_eq!(month.table(), "calls_2026_11");
        assert_eq!(Month::of_table("calls_2026_11"), Some(month));
        assert_eq!(month.plus(2).table(), "calls_2027_01");
        assert_eq!(month.plus(-11).table(), "calls_2025_12");
        assert_eq!(
            month.plus(1).start(),
            "2026-12-01T00:00:00Z".parse().unwrap()
        );
        for name in ["calls_default", "calls_2026_13", "names", "calls_x_1"] {
            assert_eq!(Month::of_table(name), None);
        }
    }
}
