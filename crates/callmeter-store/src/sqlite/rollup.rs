//! The rollups: sums and histograms that always equal the rows, kept in the writing transaction.
//!
//! A new row adds its share to one group of `roll_hour` and one of `roll_day`; a merge takes the old
//! row's share out and puts the new one's in; a group without calls is deleted. Which names a group may
//! carry is decided once for each scope and day (`roll_names`), so that an oracle over the rows decides
//! the same; names beyond the limits are `~other`. Sums are checked: the row that would make one
//! overflow is refused.

use std::collections::{BTreeMap, HashMap, HashSet};

use callmeter_core::{CallRecord, Cost};
use rusqlite::{Connection, OptionalExtension, Transaction};

use super::columns::WordNumbers;
use super::names::{NameKind, OTHER};
use crate::histogram::Histogram;
use crate::{AccountingZone, StoreError};

/// The summed columns of both rollups, in their order.
pub(crate) const SUM_COLUMNS: &str = "n, with_usage, input_tokens, output_tokens, cache_read_tokens, \
     cache_write_tokens, reasoning_tokens, cost_microusd, cost_picousd, unpriced, cache_hits, rag_hits, \
     timed, duration_us";
pub(crate) const SUMS: usize = 14;
const PICO_PER_MICRO: i64 = 1_000_000;
const REMEMBERED: usize = 200_000;

/// How many names of a kind the rollups know in a scope and day.
const LIMITS: [(NameKind, i64); 5] = [
    (NameKind::Caller, 5_000),
    (NameKind::Provider, 200),
    (NameKind::Model, 2_000),
    (NameKind::Status, 32),
    (NameKind::Fallback, 500),
];

/// A group's sums, or a change of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) sums: [i64; SUMS],
    pub(crate) durations: Histogram,
}

impl Group {
    /// Adds a row's share `times` times; `times` is 1 or −1.
    fn add_row(&mut self, record: &CallRecord, cost: &Cost, times: i64) -> Result<(), StoreError> {
        for (sum, share) in self.sums.iter_mut().zip(shares(record, cost)) {
            let share = share.checked_mul(times).ok_or(StoreError::Overflow)?;
            *sum = sum.checked_add(share).ok_or(StoreError::Overflow)?;
        }
        if let Some(duration_us) = record.duration_us {
            self.durations.add(duration_us, times);
        }
        Ok(())
    }

    fn add_group(&mut self, other: &Self) -> Result<(), StoreError> {
        for (sum, share) in self.sums.iter_mut().zip(other.sums) {
            *sum = sum.checked_add(share).ok_or(StoreError::Overflow)?;
        }
        self.durations.merge(&other.durations);
        Ok(())
    }

    fn is_nothing(&self) -> bool {
        self.sums.iter().all(|sum| *sum == 0) && self.durations.is_empty()
    }

    fn calls(&self) -> i64 {
        self.sums[0]
    }
}

/// What a row adds to its groups, in the order of [`SUM_COLUMNS`]. The cost is split so that no sum of
/// i64 can overflow before 10¹² calls.
fn shares(record: &CallRecord, cost: &Cost) -> [i64; SUMS] {
    let usage = &record.usage;
    let count = |tokens: Option<u64>| i64::try_from(tokens.unwrap_or(0)).unwrap_or(i64::MAX);
    let pico = cost.cost.map_or(0, callmeter_core::PicoUsd::as_pico);
    [
        1,
        i64::from(usage.input_tokens.is_some() || usage.output_tokens.is_some()),
        count(usage.input_tokens),
        count(usage.output_tokens),
        count(usage.cache_read_tokens),
        count(usage.cache_write_tokens),
        count(usage.reasoning_tokens),
        pico.div_euclid(PICO_PER_MICRO),
        pico.rem_euclid(PICO_PER_MICRO),
        i64::from(cost.cost.is_none()),
        i64::from(record.cache_hit == Some(true)),
        i64::from(record.rag_hit == Some(true)),
        i64::from(record.duration_us.is_some()),
        count(record.duration_us),
    ]
}

/// A group of `roll_hour`: hour, scope, provider, model, status.
type HourKey = [i64; 5];
/// A group of `roll_day`: day, scope, caller, provider, model, status, fallback target (0 = none).
type DayKey = [i64; 7];

/// The changes of a transaction, gathered before they are written.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// By hour and the names of the rows as they are.
    rows: HashMap<(i64, DayKey), Group>,
}

impl Changes {
    /// Adds a row (`times` 1) or takes one away (−1).
    pub(super) fn add(
        &mut self,
        zone: &AccountingZone,
        numbers: &WordNumbers,
        call: (&CallRecord, &Cost),
        times: i64,
    ) -> Result<(), StoreError> {
        let started_at = call.0.started_at();
        let key = [
            zone.day_of(started_at),
            numbers.scope,
            numbers.caller,
            numbers.provider,
            numbers.model,
            numbers.status,
            numbers.fallback_to.unwrap_or(0),
        ];
        self.rows
            .entry((started_at.utc_hour(), key))
            .or_default()
            .add_row(call.0, call.1, times)
    }

    /// Writes the changes to both rollups, under names that the rollups know.
    pub(super) fn apply(
        self,
        tx: &Transaction<'_>,
        admission: &mut Admission,
    ) -> Result<(), StoreError> {
        let mut hours: BTreeMap<HourKey, Group> = BTreeMap::new();
        let mut days: BTreeMap<DayKey, Group> = BTreeMap::new();
        // Sorted, so that the admission of names does not depend on a hash.
        let mut rows: Vec<_> = self.rows.into_iter().collect();
        rows.sort_unstable_by_key(|(key, _)| *key);
        for ((hour, [day, scope, caller, provider, model, status, fallback_to]), group) in rows {
            let mut admit = |kind, name| admission.admit(tx, (day, scope), kind, name);
            let caller = admit(NameKind::Caller, caller)?;
            let provider = admit(NameKind::Provider, provider)?;
            let model = admit(NameKind::Model, model)?;
            let status = admit(NameKind::Status, status)?;
            let fallback_to = match fallback_to {
                0 => 0,
                name => admit(NameKind::Fallback, name)?,
            };
            let hour = [hour, scope, provider, model, status];
            hours.entry(hour).or_default().add_group(&group)?;
            let day = [day, scope, caller, provider, model, status, fallback_to];
            days.entry(day).or_default().add_group(&group)?;
        }
        for (key, change) in hours {
            apply_one(tx, &HOUR_SQL, &key, change)?;
        }
        for (key, change) in days {
            apply_one(tx, &DAY_SQL, &key, change)?;
        }
        Ok(())
    }
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

/// Reads [`SUM_COLUMNS`] and the histogram behind them, from column `first` on.
pub(crate) fn read_group(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Group> {
    let mut sums = [0; SUMS];
    for (at, sum) in sums.iter_mut().enumerate() {
        *sum = row.get(first + at)?;
    }
    let blob = row.get_ref(first + SUMS)?.as_blob()?;
    Ok(Group {
        sums,
        durations: Histogram::from_blob(blob).unwrap_or_default(),
    })
}

/// Which names the rollups know, as this process remembers it.
#[derive(Debug, Default)]
pub(super) struct Admission {
    admitted: HashSet<(i64, i64, NameKind, i64)>,
    full: HashSet<(i64, i64, NameKind)>,
    fresh: Vec<(i64, i64, NameKind, i64)>,
    refused: HashSet<(i64, i64, NameKind, i64)>,
}

impl Admission {
    /// The name itself if the rollups of that day and scope know it or still take it, else [`OTHER`].
    fn admit(
        &mut self,
        tx: &Transaction<'_>,
        (day, scope): (i64, i64),
        kind: NameKind,
        name: i64,
    ) -> Result<i64, StoreError> {
        let key = (day, scope, kind, name);
        if self.admitted.contains(&key) {
            return Ok(name);
        }
        if self.refused.contains(&key) {
            return Ok(OTHER);
        }
        if self.admitted.len() + self.refused.len() >= REMEMBERED {
            self.admitted.clear();
            self.refused.clear();
            self.full.clear();
        }
        if is_admitted(tx, key)? {
            self.admitted.insert(key);
            return Ok(name);
        }
        let group = (day, scope, kind);
        if !self.full.contains(&group) {
            let count: i64 = tx
                .prepare_cached(
                    "SELECT count(*) FROM roll_names WHERE day = ?1 AND scope = ?2 AND kind = ?3",
                )?
                .query_row((day, scope, kind as i64), |row| row.get(0))?;
            if count < limit_of(kind) {
                tx.prepare_cached(
                    "INSERT INTO roll_names (day, scope, kind, name) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute((day, scope, kind as i64, name))?;
                self.admitted.insert(key);
                self.fresh.push(key);
                return Ok(name);
            }
            self.full.insert(group);
        }
        self.refused.insert(key);
        Ok(OTHER)
    }

    pub(super) fn committed(&mut self) {
        self.fresh.clear();
    }

    pub(super) fn rolled_back(&mut self) {
        for key in self.fresh.drain(..) {
            self.admitted.remove(&key);
        }
        // Whoever was refused for want of room may find it after all.
        self.full.clear();
        self.refused.clear();
    }
}

fn is_admitted(
    conn: &Connection,
    (day, scope, kind, name): (i64, i64, NameKind, i64),
) -> Result<bool, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT 1 FROM roll_names WHERE day = ?1 AND scope = ?2 AND kind = ?3 AND name = ?4",
        )?
        .query_row((day, scope, kind as i64, name), |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

fn limit_of(kind: NameKind) -> i64 {
    LIMITS
        .iter()
        .find(|(known, _)| *known == kind)
        .map_or(0, |(_, limit)| *limit)
}
