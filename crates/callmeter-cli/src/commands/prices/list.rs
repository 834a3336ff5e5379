//! `prices list` and `prices show`.

use std::process::ExitCode;

use callmeter_price::{BookEntry, ListedPeriod, canonical_provider};
use serde_json::{Value, json};

use super::{looked, moment};
use crate::args::PricesListArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::print;

/// The rates that have a column.
const COLUMNS: [&str; 4] = ["input", "output", "cache_read", "cache_write_5m"];

pub(super) fn list(context: &Context, args: &PricesListArgs) -> anyhow::Result<ExitCode> {
    let looked = looked(context, args.book.as_deref())?;
    let at = match &args.at {
        Some(text) => moment(text, context.now)?,
        None => context.now,
    };
    let provider = args.provider.as_deref().map(canonical_provider);
    let wanted = args.model.as_deref().map(str::to_ascii_lowercase);
    let mut seen = std::collections::HashSet::new();
    let mut rows = Vec::new();
    let mut lines = String::new();
    for entry in looked.book.entries() {
        let is_wanted = provider.is_none_or(|name| name == entry.provider())
            && wanted
                .as_deref()
                .is_none_or(|text| entry.model().to_ascii_lowercase().contains(text));
        // An upper layer's price counts; it may have none at this time.
        if !is_wanted || seen.contains(&(entry.provider(), entry.model())) {
            continue;
        }
        let Some(period) = entry.at(at) else { continue };
        seen.insert((entry.provider(), entry.model()));
        if context.json {
            lines.push_str(&format!("{}\n", one(&entry, &period)));
        } else {
            rows.push(row(&entry, &period));
        }
    }
    if context.json {
        print::out(&lines)?;
        return Ok(ExitCode::SUCCESS);
    }
    rows.sort();
    let count = rows.len();
    let head = [
        "provider", "model", "layer", "input", "output", "cached", "written",
    ];
    print::out(&format!(
        "{}amounts   USD per million tokens at {at}\n\n{}\n{}; `callmeter prices show MODEL` tells all of one\n",
        looked.head(),
        print::table(&head, 3, rows),
        print::plural(u64::try_from(count).unwrap_or(u64::MAX), "model"),
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn plain<'a>(period: &'a ListedPeriod, name: &str) -> Option<&'a str> {
    let rates = period.rates.first()?;
    let mut rates = rates.rates.iter();
    rates
        .find(|(known, _)| known == name)
        .map(|(_, amount)| amount.as_str())
}

fn row(entry: &BookEntry<'_>, period: &ListedPeriod) -> Vec<String> {
    let mut row = vec![
        entry.provider().to_owned(),
        entry.model().to_owned(),
        entry.layer().as_str().to_owned(),
    ];
    let columns = COLUMNS.iter();
    row.extend(columns.map(|name| plain(period, name).unwrap_or("–").to_owned()));
    row
}

fn one(entry: &BookEntry<'_>, period: &ListedPeriod) -> Value {
    json!({
        "v": 1,
        "provider": entry.provider(),
        "model": entry.model(),
        "aliases": entry.aliases().collect::<Vec<_>>(),
        "layer": entry.layer().as_str(),
        "book": entry.layer_name(),
        "price": period_of(period),
    })
}

fn period_of(period: &ListedPeriod) -> Value {
    let rates = period.rates.iter().map(|rates| {
        let amounts: serde_json::Map<String, Value> = rates
            .rates
            .iter()
            .map(|(name, amount)| (name.clone(), amount.clone().into()))
            .collect();
        json!({ "service_tier": rates.service_tier, "over_input_tokens": rates.over, "usd": amounts })
    });
    json!({
        "price_id": period.price_id,
        "from": period.from,
        "until": period.until,
        "source": period.source,
        "rates": rates.collect::<Vec<_>>(),
        "factors": period.factors,
    })
}

pub(super) fn show(context: &Context, model: &str, book: Option<&str>) -> anyhow::Result<ExitCode> {
    let looked = looked(context, book)?;
    let entries = looked.book.named(model);
    if entries.is_empty() {
        let (provider, name) = model.split_once('/').unwrap_or(("", model));
        let near = looked.book.near(provider, name);
        let hint = match near.first() {
            Some(near) => format!("perhaps {}/{}", near.provider, near.model),
            None => "`callmeter prices list --model TEXT` looks for a part of a name".to_owned(),
        };
        let (shown, _) = callmeter_core::clean_text(model, 80);
        return Err(
            Failure::new(format!("no model of the book is named '{shown}'"))
                .in_place(format!("{} {}", looked.book.name(), looked.book.version()))
                .with_hint(hint)
                .into(),
        );
    }
    if context.json {
        for entry in &entries {
            let periods: Vec<Value> = entry.periods().iter().map(period_of).collect();
            let mut object = json!({
                "v": 1,
                "provider": entry.provider(),
                "model": entry.model(),
                "aliases": entry.aliases().collect::<Vec<_>>(),
                "layer": entry.layer().as_str(),
                "book": entry.layer_name(),
            });
            object["periods"] = periods.into();
            print::out(&format!("{object}\n"))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = looked.head();
    for entry in &entries {
        text.push_str(&format!("\n{}/{}\n", entry.provider(), entry.model()));
        text.push_str(&format!(
            "  layer   {} {}\n",
            entry.layer().as_str(),
            entry.layer_name()
        ));
        let aliases: Vec<&str> = entry.aliases().collect();
        if !aliases.is_empty() {
            text.push_str(&format!("  names   {}\n", aliases.join(", ")));
        }
        for period in entry.periods() {
            push_period(&mut text, &period);
        }
    }
    print::out(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn push_period(text: &mut String, period: &ListedPeriod) {
    let bound = |bound: &Option<String>| bound.clone().unwrap_or_else(|| "…".to_owned());
    text.push_str(&format!(
        "  {} to {}   ({})\n",
        bound(&period.from),
        bound(&period.until),
        period.source
    ));
    for rates in &period.rates {
        let mut name = rates.service_tier.clone();
        if let Some(over) = rates.over {
            let over = format!("over {}", print::count(over));
            name = [name, over].join(" ");
        }
        let name = match name.trim() {
            "" => "standard",
            name => name,
        };
        let amounts: Vec<String> = rates
            .rates
            .iter()
            .map(|(name, amount)| format!("{name} {amount}"))
            .collect();
        text.push_str(&format!("    {name:<20} {}\n", amounts.join("  ")));
    }
    for factor in &period.factors {
        text.push_str(&format!("    {factor}\n"));
    }
}
