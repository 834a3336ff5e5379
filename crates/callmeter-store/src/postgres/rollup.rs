//! The rollups on PostgreSQL, changed under one lock in the writing transaction.
//!
//! Whoever holds the lock reads the groups that change, adds to them and writes them back, all of a batch at once.
//! Batches meet in the same groups anyway, those of the hour that it is; taking turns costs them nothing and
//! makes a deadlock impossible.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Row;

use super::connect::{Param, Tx, byteas, int8s};
use super::schema::{Lock, get};
use crate::StoreError;
use crate::histogram::Histogram;
use crate::names::NameKind;
use crate::rollup::{Admission, AdmissionKey, Changes, Group, SUM_COLUMNS, SUMS, limit_of};

const HOUR: &[&str] = &["hour", "scope", "provider", "model", "status"];
const DAY: &[&str] = &[
    "day",
    "scope",
    "caller",
    "provider",
    "model",
    "status",
    "fallback_to",
];

/// Writes changes to both rollups, under names that the rollups know.
pub(crate) fn apply(
    tx: &mut Tx<'_>,
    changes: Changes,
    admission: &mut Admission,
) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    Lock::Rollups.take(tx)?;
    admit(tx, admission, changes.names())?;
    let admitted = changes.admitted(|key| {
        let known = admission.known(key);
        known.ok_or_else(|| super::broken("a name was neither admitted nor refused"))
    })?;
    apply_to(tx, "roll_hour", HOUR, admitted.hours)?;
    apply_to(tx, "roll_day", DAY, admitted.days)
}

/// Decides about names that are not remembered.
fn admit(
    tx: &mut Tx<'_>,
    admission: &mut Admission,
    names: Vec<AdmissionKey>,
) -> Result<(), StoreError> {
    let mut unknown: BTreeSet<AdmissionKey> = names
        .into_iter()
        .filter(|key| admission.known(*key).is_none())
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    for key in stored_names(tx, &unknown)? {
        admission.admit(key, false);
        unknown.remove(&key);
    }
    let mut counts: BTreeMap<(i64, i64, NameKind), i64> = BTreeMap::new();
    let mut fresh = Vec::new();
    for key in unknown {
        let (day, scope, kind, _) = key;
        let count = match counts.get(&(day, scope, kind)) {
            Some(count) => *count,
            None => count_names(tx, day, scope, kind)?,
        };
        if count < limit_of(kind) {
            admission.admit(key, true);
            fresh.push(key);
            counts.insert((day, scope, kind), count.saturating_add(1));
        } else {
            admission.refuse(key);
            counts.insert((day, scope, kind), count);
        }
    }
    if !fresh.is_empty() {
        let columns = key_columns(fresh.iter());
        tx.execute(
            "INSERT INTO callmeter.roll_names (day, scope, kind, name) SELECT * FROM unnest($1, $2, $3, $4)",
            &columns.each_ref().map(int8s),
        )?;
    }
    Ok(())
}

fn stored_names(
    tx: &mut Tx<'_>,
    wanted: &BTreeSet<AdmissionKey>,
) -> Result<Vec<AdmissionKey>, StoreError> {
    let columns = key_columns(wanted.iter());
    let rows = tx.query(
        "SELECT day, scope, kind, name FROM callmeter.roll_names
         JOIN unnest($1, $2, $3, $4) AS wanted (day, scope, kind, name) USING (day, scope, kind, name)",
        &columns.each_ref().map(int8s),
    )?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let (day, scope, kind, name) = (
            get(row, 0)?,
            get(row, 1)?,
            get::<i64>(row, 2)?,
            get(row, 3)?,
        );
        let key = wanted
            .iter()
            .find(|key| (key.0, key.1, key.2.code(), key.3) == (day, scope, kind, name));
        found.extend(key);
    }
    Ok(found)
}

fn count_names(tx: &mut Tx<'_>, day: i64, scope: i64, kind: NameKind) -> Result<i64, StoreError> {
    let sql = format!(
        "SELECT count(*) FROM callmeter.roll_names WHERE day = {day} AND scope = {scope} AND kind = {}",
        kind.code()
    );
    let row = tx.query_opt(&sql, &[])?;
    row.map_or(Ok(0), |row| get(&row, 0))
}

fn key_columns<'a>(keys: impl Iterator<Item = &'a AdmissionKey>) -> [Vec<i64>; 4] {
    let mut columns = [const { Vec::new() }; 4];
    for (day, scope, kind, name) in keys {
        for (column, number) in columns.iter_mut().zip([*day, *scope, kind.code(), *name]) {
            column.push(number);
        }
    }
    columns
}

fn apply_to<const KEYS: usize>(
    tx: &mut Tx<'_>,
    table: &str,
    names: &[&str],
    changes: BTreeMap<[i64; KEYS], Group>,
) -> Result<(), StoreError> {
    let mut groups: BTreeMap<[i64; KEYS], Group> = changes
        .into_iter()
        .filter(|(_, group)| !group.is_nothing())
        .collect();
    if groups.is_empty() {
        return Ok(());
    }
    let key_names = names.join(", ");
    let key_marks = marks(1, KEYS);
    let keys = columns_of(groups.keys());
    let key_params: Vec<Param<'_>> = keys.iter().map(int8s).collect();
    let rows = tx.query(
        &format!(
            "SELECT {key_names}, {SUM_COLUMNS}, durations FROM callmeter.{table} \
             JOIN unnest({key_marks}) AS wanted ({key_names}) USING ({key_names})"
        ),
        &key_params,
    )?;
    for row in &rows {
        let mut key = [0; KEYS];
        for (at, number) in key.iter_mut().enumerate() {
            *number = get(row, at)?;
        }
        let stored = read_group(row, KEYS)?;
        if let Some(group) = groups.get_mut(&key) {
            group.add_group(&stored)?;
        }
    }
    let (kept, gone): (Vec<_>, Vec<_>) = groups
        .into_iter()
        .partition(|(_, group)| group.calls() != 0);
    if !gone.is_empty() {
        let keys = columns_of(gone.iter().map(|(key, _)| key));
        let params: Vec<Param<'_>> = keys.iter().map(int8s).collect();
        let same: Vec<String> = names
            .iter()
            .map(|name| format!("old.{name} = gone.{name}"))
            .collect();
        tx.execute(
            &format!(
                "DELETE FROM callmeter.{table} AS old USING unnest({key_marks}) AS gone ({key_names}) \
                 WHERE {}",
                same.join(" AND ")
            ),
            &params,
        )?;
    }
    if !kept.is_empty() {
        write_groups(tx, table, names, &kept)?;
    }
    Ok(())
}

fn write_groups<const KEYS: usize>(
    tx: &mut Tx<'_>,
    table: &str,
    names: &[&str],
    groups: &[([i64; KEYS], Group)],
) -> Result<(), StoreError> {
    let keys = columns_of(groups.iter().map(|(key, _)| key));
    let sums = columns_of(groups.iter().map(|(_, group)| &group.sums));
    let durations: Vec<Vec<u8>> = groups
        .iter()
        .map(|(_, group)| group.durations.to_blob())
        .collect();
    let mut params: Vec<Param<'_>> = keys.iter().chain(&sums).map(int8s).collect();
    params.push(byteas(&durations));
    let assignments: Vec<String> = SUM_COLUMNS
        .split(", ")
        .chain(["durations"])
        .map(|name| format!("{name} = excluded.{name}"))
        .collect();
    let key_names = names.join(", ");
    tx.execute(
        &format!(
            "INSERT INTO callmeter.{table} ({key_names}, {SUM_COLUMNS}, durations) \
             SELECT * FROM unnest({}) ON CONFLICT ({key_names}) DO UPDATE SET {}",
            marks(1, params.len()),
            assignments.join(", ")
        ),
        &params,
    )?;
    Ok(())
}

/// Reads [`SUM_COLUMNS`] and the stored form of the histogram behind them, from column `first` on.
pub(super) fn read_sums(row: &Row, first: usize) -> Result<([i64; SUMS], &[u8]), StoreError> {
    let mut sums = [0; SUMS];
    for (at, sum) in sums.iter_mut().enumerate() {
        *sum = get(row, first.saturating_add(at))?;
    }
    Ok((sums, get(row, first.saturating_add(SUMS))?))
}

fn read_group(row: &Row, first: usize) -> Result<Group, StoreError> {
    let (sums, blob) = read_sums(row, first)?;
    Ok(Group {
        sums,
        durations: Histogram::from_blob(blob).unwrap_or_default(),
    })
}

fn columns_of<'a, const N: usize>(rows: impl Iterator<Item = &'a [i64; N]>) -> Vec<Vec<i64>> {
    let mut columns = vec![Vec::new(); N];
    for row in rows {
        for (column, number) in columns.iter_mut().zip(row) {
            column.push(*number);
        }
    }
    columns
}

fn marks(first: usize, count: usize) -> String {
    let marks: Vec<String> = (first..first.saturating_add(count))
        .map(|at| format!("${at}"))
        .collect();
    marks.join(", ")
}
