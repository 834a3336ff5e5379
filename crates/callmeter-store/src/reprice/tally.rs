//! What a slice changed, summed for the audit.
//!
//! Sums are wide here and checked where they are stored: in two halves, as the rollups keep theirs.

use std::collections::BTreeMap;

use callmeter_core::{Billing, Cost, PicoUsd, UsdTotal};

use super::RepricedGroup;
use crate::rollup::PICO_PER_MICRO;
use crate::{AccountingZone, StoreError, StoredCall};

/// A group of the audit: day, whether under a plan, provider, model, old revision (0 = none).
pub(crate) type GroupKey = (i64, bool, String, String, u32);

/// A group's sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupSums {
    pub(crate) calls: i64,
    pub(crate) changed: i64,
    pub(crate) old: i128,
    pub(crate) new: i128,
    pub(crate) old_unpriced: i64,
    pub(crate) new_unpriced: i64,
}

/// How many columns [`GroupSums::columns`] fills.
pub(crate) const SUMS: usize = 8;

impl GroupSums {
    /// The sums as the tables keep them, money in two halves.
    pub(crate) fn columns(&self) -> Result<[i64; SUMS], StoreError> {
        let (old, new) = (halves(self.old)?, halves(self.new)?);
        Ok([
            self.calls,
            self.changed,
            old.0,
            old.1,
            new.0,
            new.1,
            self.old_unpriced,
            self.new_unpriced,
        ])
    }

    /// Reads [`GroupSums::columns`] back.
    pub(crate) fn of_columns(columns: [i64; SUMS]) -> Self {
        let [
            calls,
            changed,
            old_micro,
            old_pico,
            new_micro,
            new_pico,
            old_unpriced,
            new_unpriced,
        ] = columns;
        let whole = |micro: i64, pico: i64| {
            i128::from(micro) * i128::from(PICO_PER_MICRO) + i128::from(pico)
        };
        Self {
            calls,
            changed,
            old: whole(old_micro, old_pico),
            new: whole(new_micro, new_pico),
            old_unpriced,
            new_unpriced,
        }
    }

    /// The group in words.
    pub(crate) fn group(&self, key: GroupKey) -> RepricedGroup {
        let (day, is_plan, provider, model, old_rev) = key;
        RepricedGroup {
            day,
            is_plan,
            provider,
            model,
            old_rev: (old_rev != 0).then_some(old_rev),
            calls: self.calls.cast_unsigned(),
            changed: self.changed.cast_unsigned(),
            old_cost: UsdTotal::from_pico(self.old),
            new_cost: UsdTotal::from_pico(self.new),
            old_unpriced: self.old_unpriced.cast_unsigned(),
            new_unpriced: self.new_unpriced.cast_unsigned(),
        }
    }
}

fn halves(pico: i128) -> Result<(i64, i64), StoreError> {
    let unit = i128::from(PICO_PER_MICRO);
    let half = |part: i128| i64::try_from(part).map_err(|_| StoreError::Overflow);
    Ok((half(pico.div_euclid(unit))?, half(pico.rem_euclid(unit))?))
}

/// What was looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) groups: BTreeMap<GroupKey, GroupSums>,
    pub(crate) looked_at: i64,
    pub(crate) changed: i64,
}

impl Tally {
    /// Adds a call that has `new` in place of its cost.
    pub(crate) fn add(&mut self, zone: &AccountingZone, stored: &StoredCall, new: &Cost) {
        let record = &stored.record;
        let key = (
            zone.day_of(record.started_at()),
            record.billing == Some(Billing::Plan),
            record.provider_or_unknown().to_owned(),
            record.model_or_requested().to_owned(),
            stored.cost.book_rev.unwrap_or(0),
        );
        let pico = |cost: &Cost| i128::from(cost.cost.map_or(0, PicoUsd::as_pico));
        let is_changed = i64::from(stored.cost.cost != new.cost);
        let sums = self.groups.entry(key).or_default();
        sums.calls += 1;
        sums.changed += is_changed;
        sums.old += pico(&stored.cost);
        sums.new += pico(new);
        sums.old_unpriced += i64::from(stored.cost.cost.is_none());
        sums.new_unpriced += i64::from(new.cost.is_none());
        self.looked_at += 1;
        self.changed += is_changed;
    }

    /// The groups in words.
    pub(crate) fn into_groups(self) -> Vec<RepricedGroup> {
        let groups = self.groups.into_iter();
        groups.map(|(key, sums)| sums.group(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sums_survive_their_halves(old in -10_i128.pow(24)..10_i128.pow(24), new in any::<i64>()) {
            let sums = GroupSums { calls: 3, changed: 2, old, new: i128::from(new), old_unpriced: 1, new_unpriced: 0 };
            prop_assert_eq!(GroupSums::of_columns(sums.columns().unwrap()), sums);
        }
    }

    #[test]
    fn a_sum_that_no_column_holds_is_an_error() {
        let sums = GroupSums {
            new: i128::MAX,
            ..GroupSums::default()
        };
        assert!(matches!(sums.columns(), Err(StoreError::Overflow)));
    }
}
