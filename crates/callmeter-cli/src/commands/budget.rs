//! `callmeter budget status`: what is spent of each budget, asked of the store now.

use std::process::ExitCode;

use callmeter::{BudgetStanding, budget_standings};
use callmeter_core::UsdTotal;
use serde_json::json;

use crate::commands::status as look;
use crate::context::Context;
use crate::failure::Failure;
use crate::print;

pub(crate) fn status(context: &Context) -> anyhow::Result<ExitCode> {
    if context.settings.budgets.is_empty() {
        return Err(Failure::new("the settings have no budget")
            .with_hint("write one into callmeter.toml: [budgets.shop] team = \"shop\", period = \"month\", limit = 250")
            .into());
    }
    let Some(mut store) = context.store()? else {
        return look::nothing_yet(context);
    };
    let standings = budget_standings(&mut store, &context.settings, context.now)?;
    let zone = store.zone().name().to_owned();
    let text = if context.json {
        let all: Vec<_> = standings.iter().map(standing_json).collect();
        format!("{}\n", json!({ "v": 1, "timezone": zone, "budgets": all }))
    } else {
        text_of(&standings, &zone)
    };
    print::out(&text)?;
    let is_overspent = standings.iter().any(BudgetStanding::is_spent);
    Ok(if is_overspent {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn limit(standing: &BudgetStanding) -> UsdTotal {
    UsdTotal::from_pico(i128::from(standing.budget.limit.as_pico()))
}

fn scope(standing: &BudgetStanding) -> String {
    let budget = &standing.budget;
    let words: Vec<String> = [
        ("project", &budget.project),
        ("team", &budget.team),
        ("caller", &budget.caller),
        ("model", &budget.model),
    ]
    .into_iter()
    .filter_map(|(name, word)| word.as_ref().map(|word| format!("{name} {word}")))
    .collect();
    if words.is_empty() {
        "every call".to_owned()
    } else {
        words.join(", ")
    }
}

/// `spent`, `on the way over`, `80 % reached`, or nothing to say.
fn state(standing: &BudgetStanding) -> String {
    let percent = standing.percent();
    if standing.is_spent() {
        return if standing.budget.is_hard {
            "spent, calls are refused".to_owned()
        } else {
            "spent".to_owned()
        };
    }
    if standing
        .forecast
        .is_some_and(|forecast| forecast > limit(standing))
    {
        return "on the way over".to_owned();
    }
    let thresholds = standing.budget.thresholds.iter().rev();
    thresholds
        .map(|threshold| u64::from(*threshold))
        .find(|threshold| percent >= *threshold)
        .map_or_else(
            || "within".to_owned(),
            |threshold| format!("{threshold} % reached"),
        )
}

fn text_of(standings: &[BudgetStanding], zone: &str) -> String {
    let rows = standings.iter().map(|standing| {
        let mut spent = standing.spent.to_short();
        if standing.unpriced > 0 {
            spent.push('*');
        }
        vec![
            standing.name.clone(),
            scope(standing),
            format!(
                "{} from {}",
                standing.budget.period.as_str(),
                standing
                    .period_start
                    .to_string()
                    .get(..16)
                    .unwrap_or_default()
                    .replace('T', " ")
            ),
            state(standing),
            spent,
            limit(standing).to_short(),
            format!("{} %", standing.percent()),
            standing
                .forecast
                .map_or_else(|| "–".to_owned(), UsdTotal::to_short),
        ]
    });
    let head = [
        "budget",
        "of",
        "period (UTC)",
        "state",
        "spent",
        "limit",
        "used",
        "forecast",
    ];
    let mut text = print::table(&head, 4, rows.collect());
    text.push_str(&format!(
        "\ndays, weeks and months are those of {zone}; usage under a plan is no money and in none\n"
    ));
    let unpriced: u64 = standings.iter().map(|standing| standing.unpriced).sum();
    if unpriced > 0 {
        text.push_str("* leaves out calls without a price; see `callmeter report`\n");
    }
    text
}

fn standing_json(standing: &BudgetStanding) -> serde_json::Value {
    let budget = &standing.budget;
    json!({
        "budget": standing.name,
        "caller": budget.caller, "team": budget.team, "project": budget.project, "model": budget.model,
        "period": budget.period.as_str(),
        "period_start": standing.period_start.to_string(),
        "period_end": standing.period_end.to_string(),
        "limit_usd": budget.limit.to_string(),
        "spent_usd": standing.spent.to_string(),
        "percent": standing.percent(),
        "forecast_usd": standing.forecast.map(|forecast| forecast.to_string()),
        "unpriced": standing.unpriced,
        "hard": budget.is_hard,
        "spent": standing.is_spent(),
        "thresholds": budget.thresholds,
    })
}
