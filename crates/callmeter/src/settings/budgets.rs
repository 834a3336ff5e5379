//! Budgets as settings: `[budgets.NAME]` with a scope, a period, a limit.
//!
//! ```toml
//! [budgets.shop]
//! team = "shop"
//! period = "month"
//! limit = 250          # USD
//! thresholds = [50, 80, 100]
//! hard = false
//! ```

use callmeter_core::PicoUsd;

use super::Settings;
use super::value::{self, Expected, Raw};

/// The fields of a budget: name, purpose, what it takes, default.
pub(super) const FIELDS: [(&str, &str, &str, &str); 8] = [
    (
        "limit",
        "how much may be spent in a period, in USD; metered money only",
        "an amount, in quotes where it has a point",
        "none; required",
    ),
    (
        "period",
        "over how long, in the store's accounting zone; weeks begin on Monday",
        "day, week or month",
        "month",
    ),
    (
        "caller",
        "only calls of this caller",
        "a name",
        "every caller",
    ),
    ("team", "only calls of this team", "a name", "every team"),
    (
        "project",
        "only calls of this project",
        "a name",
        "every project",
    ),
    (
        "model",
        "only calls that this model answered",
        "a name",
        "every model",
    ),
    (
        "thresholds",
        "at how many percent of the limit an event is logged, once a period each",
        "a list of numbers from 1 to 1000",
        "50, 80, 100",
    ),
    (
        "hard",
        "whether calls are refused once the limit is spent, by the proxy and by hosts that ask `check_budget`",
        "true or false",
        "false",
    ),
];

/// Over how long a budget is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BudgetPeriod {
    /// An accounting day.
    Day,
    /// A week, from Monday on.
    Week,
    /// A calendar month.
    #[default]
    Month,
}

impl BudgetPeriod {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }
}

/// A budget.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetSettings {
    /// How much may be spent in a period.
    pub limit: PicoUsd,
    /// Over how long.
    pub period: BudgetPeriod,
    /// Only calls of this caller.
    pub caller: Option<String>,
    /// Only calls of this team.
    pub team: Option<String>,
    /// Only calls of this project.
    pub project: Option<String>,
    /// Only calls that this model answered.
    pub model: Option<String>,
    /// At how many percent of the limit an event is logged, ascending.
    pub thresholds: Vec<u32>,
    /// Whether calls are refused once the limit is spent.
    pub is_hard: bool,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self {
            limit: PicoUsd::ZERO,
            period: BudgetPeriod::default(),
            caller: None,
            team: None,
            project: None,
            model: None,
            thresholds: vec![50, 80, 100],
            is_hard: false,
        }
    }
}

/// Puts a field of a budget into the settings.
pub(super) fn take(
    settings: &mut Settings,
    name: &str,
    field: &str,
    raw: &Raw,
) -> Result<(), Expected> {
    let (clean, is_cut) = callmeter_core::clean_text(name, 64);
    if is_cut || clean != name {
        return Err(Expected(
            "a budget's name of at most 64 printable characters".to_owned(),
        ));
    }
    let budget = settings.budgets.entry(name.to_owned()).or_default();
    match field {
        "limit" => budget.limit = value::usd(raw)?,
        "period" => {
            let words = [BudgetPeriod::Day, BudgetPeriod::Week, BudgetPeriod::Month];
            budget.period = value::word(raw, &words.map(|word| (word.as_str(), word)))?;
        }
        "caller" => budget.caller = Some(value::name(raw)?),
        "team" => budget.team = Some(value::name(raw)?),
        "project" => budget.project = Some(value::name(raw)?),
        "model" => budget.model = Some(value::text(raw)?),
        "thresholds" => budget.thresholds = thresholds(raw)?,
        _ => budget.is_hard = value::boolean(raw)?,
    }
    Ok(())
}

fn thresholds(raw: &Raw) -> Result<Vec<u32>, Expected> {
    let items = value::list(raw)?;
    let read = |item: &String| item.trim().parse::<u32>().ok();
    let mut percents: Vec<u32> = items.iter().filter_map(read).collect();
    if percents.len() != items.len() || percents.iter().any(|n| !(1..=1_000).contains(n)) {
        return Err(Expected(
            "a list of percents from 1 to 1000, such as [50, 80, 100]".to_owned(),
        ));
    }
    percents.sort_unstable();
    percents.dedup();
    Ok(percents)
}

/// Takes out the budgets that have no limit; gives their names.
pub(super) fn without_limit(settings: &mut Settings) -> Vec<String> {
    let is_missing = |budget: &BudgetSettings| budget.limit == PicoUsd::ZERO;
    let names = settings.budgets.iter();
    let names = names.filter(|(_, budget)| is_missing(budget));
    let names: Vec<String> = names.map(|(name, _)| name.clone()).collect();
    settings.budgets.retain(|_, budget| !is_missing(budget));
    names
}

/// Every budget's fields that say something: budget, field, value.
pub(super) fn shown(settings: &Settings) -> Vec<(String, &'static str, String)> {
    let mut shown = Vec::new();
    for (name, budget) in &settings.budgets {
        let percents: Vec<String> = budget.thresholds.iter().map(u32::to_string).collect();
        let mut field = |field, value: Option<String>| {
            shown.extend(value.map(|value| (name.clone(), field, value)));
        };
        field("limit", Some(budget.limit.to_string()));
        field("period", Some(budget.period.as_str().to_owned()));
        field("caller", budget.caller.clone());
        field("team", budget.team.clone());
        field("project", budget.project.clone());
        field("model", budget.model.clone());
        field("thresholds", Some(percents.join(", ")));
        field("hard", Some(budget.is_hard.to_string()));
    }
    shown
}
