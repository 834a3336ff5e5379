//! How a budget stands: its period, what is spent in it, and where that leads.

use callmeter_core::{PicoUsd, Timestamp, UsdTotal};
use callmeter_store::{AccountingZone, Filter, Period, StoreError, StoreReader};

use crate::settings::{BudgetPeriod, BudgetSettings, Settings};

/// A forecast needs a twentieth of the period behind it.
const FORECAST_AFTER: i128 = 20;

/// How a budget stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetStanding {
    /// Its name.
    pub name: String,
    /// What it is.
    pub budget: BudgetSettings,
    /// When its period began.
    pub period_start: Timestamp,
    /// When the next one begins.
    pub period_end: Timestamp,
    /// What priced calls of the period cost.
    pub spent: UsdTotal,
    /// Calls of the period without a price, which are in no figure.
    pub unpriced: u64,
    /// What will be spent by the period's end if it goes on as until now; `None` in its first twentieth.
    pub forecast: Option<UsdTotal>,
}

impl BudgetStanding {
    /// Asks a store how a budget stands, from its rollups.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn of(
        store: &mut StoreReader,
        name: &str,
        budget: &BudgetSettings,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let (period_start, period_end) = bounds(store.zone(), budget.period, now);
        let totals = store.totals(&Filter {
            since: Some(period_start),
            until: Some(period_end),
            caller: budget.caller.clone(),
            team: budget.team.clone(),
            project: budget.project.clone(),
            model: budget.model.clone(),
            ..Filter::default()
        })?;
        Ok(Self {
            name: name.to_owned(),
            budget: budget.clone(),
            period_start,
            period_end,
            spent: totals.cost,
            unpriced: totals.unpriced,
            forecast: forecast(totals.cost, (period_start, period_end), now),
        })
    }

    /// How many percent of the limit are spent, rounded down.
    pub fn percent(&self) -> u64 {
        percent(self.spent, self.budget.limit)
    }

    /// Whether the limit is spent.
    pub fn is_spent(&self) -> bool {
        self.spent.as_pico() >= i128::from(self.budget.limit.as_pico())
    }
}

/// How every budget of the settings stands, by name.
///
/// # Errors
/// When the store cannot be read.
pub fn budget_standings(
    store: &mut StoreReader,
    settings: &Settings,
    now: Timestamp,
) -> Result<Vec<BudgetStanding>, StoreError> {
    let budgets = settings.budgets.iter();
    budgets
        .map(|(name, budget)| BudgetStanding::of(store, name, budget, now))
        .collect()
}

pub(super) fn percent(spent: UsdTotal, limit: PicoUsd) -> u64 {
    let percent = spent
        .as_pico()
        .saturating_mul(100)
        .checked_div(i128::from(limit.as_pico()));
    u64::try_from(percent.unwrap_or(0)).unwrap_or(0)
}

/// When the period of `now` began, and when the next one begins.
fn bounds(zone: &AccountingZone, period: BudgetPeriod, now: Timestamp) -> (Timestamp, Timestamp) {
    let today = zone.day_of(now);
    let of = |period: Period, day: i64| period.start_of(day).unwrap_or(day);
    let (first, next) = match period {
        BudgetPeriod::Day => (today, today.saturating_add(1)),
        BudgetPeriod::Week => {
            let first = of(Period::Week, today);
            (first, first.saturating_add(7))
        }
        BudgetPeriod::Month => {
            let first = of(Period::Month, today);
            (first, of(Period::Month, first.saturating_add(31)))
        }
    };
    (zone.day_start(first), zone.day_start(next))
}

fn forecast(
    spent: UsdTotal,
    (start, end): (Timestamp, Timestamp),
    now: Timestamp,
) -> Option<UsdTotal> {
    let elapsed = i128::from(now.micros_since(start));
    let whole = i128::from(end.micros_since(start));
    if elapsed.saturating_mul(FORECAST_AFTER) < whole {
        return None;
    }
    let pico = spent.as_pico().saturating_mul(whole).checked_div(elapsed)?;
    Some(UsdTotal::from_pico(pico))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn periods_are_those_of_the_accounting_zone() {
        let berlin = AccountingZone::named("Europe/Berlin").unwrap();
        let now = at("2026-03-31T23:30:00Z");
        for (period, start, end) in [
            (
                BudgetPeriod::Day,
                "2026-03-31T22:00:00Z",
                "2026-04-01T22:00:00Z",
            ),
            (
                BudgetPeriod::Week,
                "2026-03-29T22:00:00Z",
                "2026-04-05T22:00:00Z",
            ),
            (
                BudgetPeriod::Month,
                "2026-03-31T22:00:00Z",
                "2026-04-30T22:00:00Z",
            ),
        ] {
            assert_eq!(
                bounds(&berlin, period, now),
                (at(start), at(end)),
                "{period:?}"
            );
        }
        let utc = AccountingZone::named("UTC").unwrap();
        let month = bounds(&utc, BudgetPeriod::Month, at("2026-12-31T12:00:00Z"));
        assert_eq!(
            month,
            (at("2026-12-01T00:00:00Z"), at("2027-01-01T00:00:00Z"))
        );
    }

    #[test]
    fn a_forecast_goes_on_as_until_now_and_waits_for_a_twentieth() {
        let period = (at("2026-11-01T00:00:00Z"), at("2026-12-01T00:00:00Z"));
        let spent = UsdTotal::from_pico(10_000_000_000_000);
        assert_eq!(forecast(spent, period, at("2026-11-02T00:00:00Z")), None);
        let third = forecast(spent, period, at("2026-11-11T00:00:00Z"));
        assert_eq!(third.unwrap().to_string(), "30");
    }

    #[test]
    fn a_percent_is_rounded_down() {
        let limit = PicoUsd::from_pico(3_000_000_000_000);
        assert_eq!(percent(UsdTotal::from_pico(2_999_999_999_999), limit), 99);
        assert_eq!(percent(UsdTotal::from_pico(3_000_000_000_000), limit), 100);
        assert_eq!(percent(UsdTotal::from_pico(-1), limit), 0);
    }
}
