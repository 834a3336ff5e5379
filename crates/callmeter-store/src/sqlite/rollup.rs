//! The rollups of the embedded store, kept in the writing transaction.
//!
//! A group is read, changed and replaced; a group without calls is deleted.

use rusqlite::{Connection, OptionalExtension, Transaction};

use crate::StoreError;
use crate::histogram::Histogram;
use crate::rollup::{Admission, AdmissionKey, Changes, Group, SUMS, limit_of};

/// Writes changes to both rollups, under names that the rollups know.
pub(super) fn apply(
    changes: Changes,
    tx: &Transaction<'_>,
    admission: &mut Admission,
) -> Result<(), StoreError> {
    let admitted = changes.admitted(|key| admit(tx, admission, key))?;
    for (key, change) in admitted.hours {
        apply_one(tx, &HOUR_SQL, &key, change)?;
    }
    for (key, change) in admitted.days {
        apply_one(tx, &DAY_SQL, &key, change)?;
    }
    Ok(())
}

/// The name itself if the rollups of that day and scope know it or still take it, else `~other`.
fn admit(
    tx: &Transaction<'_>,
    admission: &mut Admission,
    key: AdmissionKey,
) -> Result<i64, StoreError> {
    if let Some(name) = admission.known(key) {
        return Ok(name);
    }
    if is_admitted(tx, key)? {
        return Ok(admission.admit(key, false));
    }
    if admission.is_full(key) {
        return Ok(admission.refuse(key));
    }
    let (day, scope, kind, name) = key;
    let count: i64 = tx
        .prepare_cached(
            "SELECT count(*) FROM roll_names WHERE day = ?1 AND scope = ?2 AND kind = ?3",
        )?
        .query_row((day, scope, kind.code()), |row| row.get(0))?;
    if count >= limit_of(kind) {
        return Ok(admission.refuse(key));
    }
    tx.prepare_cached("INSERT INTO roll_names (day, scope, kind, name) VALUES (?1, ?2, ?3, ?4)")?
        .execute((day, scope, kind.code(), name))?;
    Ok(admission.admit(key, true))
}

fn is_admitted(
    conn: &Connection,
    (day, scope, kind, name): AdmissionKey,
) -> Result<bool, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT 1 FROM roll_names WHERE day = ?1 AND scope = ?2 AND kind = ?3 AND name = ?4",
        )?
        .query_row((day, scope, kind.code(), name), |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

/// The statements of one rollup.
struct RollupSql {
    select: &'static str,
    replace: &'static str,
    delete: &'static str,
}

macro_rules! rollup_sql {
    ($table:literal, $keys:literal, $filter:literal, $marks:literal) => {
        RollupSql {
            select: concat!(
                "SELECT n, with_usage, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, ",
                "reasoning_tokens, cost_microusd, cost_picousd, unpriced, cache_hits, rag_hits, timed, ",
                "duration_us, durations FROM ", $table, " WHERE ", $filter
            ),
            replace: concat!(
                "INSERT OR REPLACE INTO ", $table, " (", $keys, ", n, with_usage, input_tokens, ",
                "output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_microusd, ",
                "cost_picousd, unpriced, cache_hits, rag_hits, timed, duration_us, durations) VALUES (", $marks, ")"
            ),
            delete: concat!("DELETE FROM ", $table, " WHERE ", $filter),
        }
    };
}

static HOUR_SQL: RollupSql = rollup_sql!(
    "roll_hour",
    "hour, scope, provider, model, status",
    "hour = ?1 AND scope = ?2 AND provider = ?3 AND model = ?4 AND status = ?5",
    "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20"
);
static DAY_SQL: RollupSql = rollup_sql!(
    "roll_day",
    "day, scope, caller, provider, model, status, fallback_to",
    "day = ?1 AND scope = ?2 AND caller = ?3 AND provider = ?4 AND model = ?5 AND status = ?6 AND fallback_to = ?7",
    "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22"
);

fn apply_one(
    tx: &Transaction<'_>,
    sql: &RollupSql,
    key: &[i64],
    mut group: Group,
) -> Result<(), StoreError> {
    if group.is_nothing() {
        return Ok(());
    }
    let stored = tx
        .prepare_cached(sql.select)?
        .query_row(rusqlite::params_from_iter(key), |row| read_group(row, 0))
        .optional()?;
    if let Some(stored) = stored {
        group.add_group(&stored)?;
    }
    if group.calls() == 0 {
        tx.prepare_cached(sql.delete)?
            .execute(rusqlite::params_from_iter(key))?;
        return Ok(());
    }
    let mut statement = tx.prepare_cached(sql.replace)?;
    let mut at = 1;
    for value in key.iter().chain(&group.sums) {
        statement.raw_bind_parameter(at, value)?;
        at += 1;
    }
    statement.raw_bind_parameter(at, group.durations.to_blob())?;
    statement.raw_execute()?;
    Ok(())
}

/// Reads the summed columns and the stored form of the histogram behind them, from column `first` on.
pub(crate) fn read_sums<'r>(
    row: &'r rusqlite::Row<'_>,
    first: usize,
) -> rusqlite::Result<([i64; SUMS], &'r [u8])> {
    let mut sums = [0; SUMS];
    for (at, sum) in sums.iter_mut().enumerate() {
        *sum = row.get(first + at)?;
    }
    Ok((sums, row.get_ref(first + SUMS)?.as_blob()?))
}

fn read_group(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Group> {
    let (sums, blob) = read_sums(row, first)?;
    Ok(Group {
        sums,
        durations: Histogram::from_blob(blob).unwrap_or_default(),
    })
}
