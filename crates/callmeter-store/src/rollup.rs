//! The rollups' arithmetic: what a row adds, what a batch changes, and under which names.
//!
//! A new row adds its share to one group of `roll_hour` and one of `roll_day`; a merge takes the old row's share
//! out and puts the new one's in. Which names a group may carry is decided once for each scope and day
//! (`roll_names`), so that an oracle over the rows decides the same; names beyond the limits are `~other`. Sums
//! are checked: the row that would make one overflow is refused. Reading and writing groups is left to the store's
//! module.

use std::collections::{BTreeMap, HashMap, HashSet};

use callmeter_core::{CallRecord, Cost};

use crate::call::WordNumbers;
use crate::histogram::Histogram;
use crate::names::{NameKind, OTHER};
use crate::{AccountingZone, StoreError};

/// The summed columns of both rollups, in their order.
pub(crate) const SUM_COLUMNS: &str = "n, with_usage, input_tokens, output_tokens, cache_read_tokens, \
     cache_write_tokens, reasoning_tokens, cost_microusd, cost_picousd, unpriced, cache_hits, rag_hits, \
     timed, duration_us";
pub(crate) const SUMS: usize = 14;
/// The cost of a group is kept in two halves, of which this is the second one's size.
pub(crate) const PICO_PER_MICRO: i64 = 1_000_000;
const REMEMBERED: usize = 200_000;

/// How many names of a kind the rollups know in a scope and day.
const LIMITS: [(NameKind, i64); 5] = [
    (NameKind::Caller, 5_000),
    (NameKind::Provider, 200),
    (NameKind::Model, 2_000),
    (NameKind::Status, 32),
    (NameKind::Fallback, 500),
];

/// How many names of a kind the rollups know in a scope and day.
pub(crate) fn limit_of(kind: NameKind) -> i64 {
    LIMITS
        .iter()
        .find(|(known, _)| *known == kind)
        .map_or(0, |(_, limit)| *limit)
}

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

    /// Adds the sums of rows and their durations.
    pub(crate) fn add_sums(
        &mut self,
        sums: [i64; SUMS],
        durations: &[i64],
    ) -> Result<(), StoreError> {
        for (sum, share) in self.sums.iter_mut().zip(sums) {
            *sum = sum.checked_add(share).ok_or(StoreError::Overflow)?;
        }
        for duration in durations {
            self.durations.add(duration.cast_unsigned(), 1);
        }
        Ok(())
    }

    /// Adds another group.
    pub(crate) fn add_group(&mut self, other: &Self) -> Result<(), StoreError> {
        for (sum, share) in self.sums.iter_mut().zip(other.sums) {
            *sum = sum.checked_add(share).ok_or(StoreError::Overflow)?;
        }
        self.durations.merge(&other.durations);
        Ok(())
    }

    /// Whether it changes nothing.
    pub(crate) fn is_nothing(&self) -> bool {
        self.sums.iter().all(|sum| *sum == 0) && self.durations.is_empty()
    }

    /// How many calls it has.
    pub(crate) fn calls(&self) -> i64 {
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
pub(crate) type HourKey = [i64; 5];
/// A group of `roll_day`: day, scope, caller, provider, model, status, fallback target (0 = none).
pub(crate) type DayKey = [i64; 7];

/// The changes of a transaction, gathered before they are written.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// By hour and the names of the rows as they are.
    rows: HashMap<(i64, DayKey), Group>,
}

/// Changes under the names that the rollups know, by hour and by day.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    pub(crate) hours: BTreeMap<HourKey, Group>,
    pub(crate) days: BTreeMap<DayKey, Group>,
}

impl Changes {
    /// Adds a row (`times` 1) or takes one away (−1).
    pub(crate) fn add(
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

    /// Whether nothing changes.
    #[cfg(feature = "postgres")]
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The names that the changes carry: day, scope, kind, name, each once and in order.
    #[cfg(feature = "postgres")]
    pub(crate) fn names(&self) -> Vec<AdmissionKey> {
        let mut names: Vec<AdmissionKey> = self
            .rows
            .keys()
            .flat_map(
                |(_, [day, scope, caller, provider, model, status, fallback_to])| {
                    [
                        (NameKind::Caller, *caller),
                        (NameKind::Provider, *provider),
                        (NameKind::Model, *model),
                        (NameKind::Status, *status),
                        (NameKind::Fallback, *fallback_to),
                    ]
                    .map(|(kind, name)| (*day, *scope, kind, name))
                },
            )
            .filter(|(_, _, _, name)| *name != 0)
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Groups the changes under the names that `admit` gives for a day's names.
    pub(crate) fn admitted(
        self,
        mut admit: impl FnMut(AdmissionKey) -> Result<i64, StoreError>,
    ) -> Result<Admitted, StoreError> {
        let mut admitted = Admitted::default();
        // Sorted, so that the admission of names does not depend on a hash.
        let mut rows: Vec<_> = self.rows.into_iter().collect();
        rows.sort_unstable_by_key(|(key, _)| *key);
        for ((hour, [day, scope, caller, provider, model, status, fallback_to]), group) in rows {
            let mut admit = |kind, name| admit((day, scope, kind, name));
            let caller = admit(NameKind::Caller, caller)?;
            let provider = admit(NameKind::Provider, provider)?;
            let model = admit(NameKind::Model, model)?;
            let status = admit(NameKind::Status, status)?;
            let fallback_to = match fallback_to {
                0 => 0,
                name => admit(NameKind::Fallback, name)?,
            };
            let hour = [hour, scope, provider, model, status];
            admitted.hours.entry(hour).or_default().add_group(&group)?;
            let day = [day, scope, caller, provider, model, status, fallback_to];
            admitted.days.entry(day).or_default().add_group(&group)?;
        }
        Ok(admitted)
    }
}

/// A name of a day and scope: day, scope, kind, name.
pub(crate) type AdmissionKey = (i64, i64, NameKind, i64);

/// Which names the rollups know, as this process remembers it.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    admitted: HashSet<AdmissionKey>,
    full: HashSet<(i64, i64, NameKind)>,
    fresh: Vec<AdmissionKey>,
    refused: HashSet<AdmissionKey>,
}

impl Admission {
    /// What is remembered of a name: itself, [`OTHER`], or nothing.
    pub(crate) fn known(&self, key: AdmissionKey) -> Option<i64> {
        if self.admitted.contains(&key) {
            Some(key.3)
        } else if self.refused.contains(&key) {
            Some(OTHER)
        } else {
            None
        }
    }

    /// Whether a day and scope is known to have no room for more of a kind.
    pub(crate) fn is_full(&self, (day, scope, kind, _): AdmissionKey) -> bool {
        self.full.contains(&(day, scope, kind))
    }

    /// Remembers that a name is known to the rollups; with `is_fresh` since a transaction not yet committed.
    pub(crate) fn admit(&mut self, key: AdmissionKey, is_fresh: bool) -> i64 {
        self.make_room();
        self.admitted.insert(key);
        if is_fresh {
            self.fresh.push(key);
        }
        key.3
    }

    /// Remembers that there is no room for a name.
    pub(crate) fn refuse(&mut self, key: AdmissionKey) -> i64 {
        self.make_room();
        self.full.insert((key.0, key.1, key.2));
        self.refused.insert(key);
        OTHER
    }

    fn make_room(&mut self) {
        if self.admitted.len().saturating_add(self.refused.len()) >= REMEMBERED {
            self.admitted.clear();
            self.refused.clear();
            self.full.clear();
        }
    }

    pub(crate) fn committed(&mut self) {
        self.fresh.clear();
    }

    pub(crate) fn rolled_back(&mut self) {
        for key in self.fresh.drain(..) {
            self.admitted.remove(&key);
        }
        // Whoever was refused for want of room may find it after all.
        self.full.clear();
        self.refused.clear();
    }
}
