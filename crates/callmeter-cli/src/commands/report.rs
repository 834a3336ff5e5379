//! `callmeter report`: calls, tokens, cost and errors, summed.
//!
//! Heads with range, zone, store and book; ends with what has no price and with the equation of promise
//! CM-3. Figures come from the rollups and agree with the rows.

use std::process::ExitCode;

use callmeter_core::UsdTotal;
use callmeter_store::{
    AccountingZone, Dimension, Filter, Period, ReportQuery, ReportRow, Reported, StoreReader,
    Totals, Unpriced,
};

use crate::args::{PeriodArg, ReportArgs};
use crate::commands::status;
use crate::context::{Context, filter_of, range_text};
use crate::doubles::Doubles;
use crate::failure::Failure;
use crate::print;
use crate::span::day_text;

/// How many lines of unpriced models a person reads.
const UNPRICED_SHOWN: usize = 8;

pub(crate) fn run(context: &Context, args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let Some(mut store) = context.store()? else {
        return status::nothing_yet(context);
    };
    let report = make(context, &mut store, args)?;
    let text = if args.csv {
        report.csv()
    } else if context.json {
        report.json(context)?
    } else {
        report.text(context)?
    };
    print::out(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// A report and what stands around it.
pub(crate) struct Report {
    filter: Filter,
    zone: String,
    book: String,
    by: Vec<Dimension>,
    period: Period,
    rows: Vec<ReportRow>,
    pub(crate) totals: Totals,
    unpriced: Vec<Unpriced>,
    reported: Vec<Reported>,
    doubles: Doubles,
}

pub(crate) fn make(
    context: &Context,
    store: &mut StoreReader,
    args: &ReportArgs,
) -> anyhow::Result<Report> {
    let zone = match &args.timezone {
        Some(name) => AccountingZone::named(name)
            .map_err(|error| Failure::new(error.to_string()).in_place("--timezone"))?,
        None => store.zone().clone(),
    };
    let filter = filter_of(&args.filter, &zone, context.now)?;
    let period = match args.period {
        None => Period::Whole,
        Some(PeriodArg::Daily) => Period::Day,
        Some(PeriodArg::Weekly) => Period::Week,
        Some(PeriodArg::Monthly) => Period::Month,
    };
    let mut by = args
        .by
        .iter()
        .map(|name| dimension(name))
        .collect::<Result<Vec<_>, _>>()?;
    if by.is_empty() && period == Period::Whole {
        by = vec![Dimension::Caller, Dimension::Model];
    }
    let query = ReportQuery {
        filter: filter.clone(),
        period,
        by: by.clone(),
        zone: args.timezone.clone(),
    };
    let mut rows = store.report(&query)?;
    let mut totals = Totals::default();
    rows.iter().for_each(|row| totals.add(&row.totals));
    if period == Period::Whole {
        // The dearest first, then the busiest.
        rows.sort_by(|a, b| {
            (b.totals.cost, b.totals.calls)
                .cmp(&(a.totals.cost, a.totals.calls))
                .then_with(|| a.key.cmp(&b.key))
        });
    }
    let facts = store.facts()?;
    Ok(Report {
        unpriced: store.unpriced(&filter)?,
        reported: store.reported(&filter)?,
        doubles: Doubles::of(context, store, &filter)?,
        filter,
        zone: zone.name().to_owned(),
        book: format!(
            "{} {} (revision {})",
            facts.book.name, facts.book.version, facts.book.number
        ),
        by,
        period,
        rows,
        totals,
    })
}

fn dimension(name: &str) -> Result<Dimension, Failure> {
    Dimension::from_name(name.trim()).ok_or_else(|| {
        let (shown, _) = callmeter_core::clean_text(name, 40);
        let names: Vec<_> = Dimension::ALL
            .iter()
            .map(|dimension| dimension.name())
            .collect();
        Failure::new(format!("--by: nothing is called '{shown}'"))
            .with_hint(format!("one or more of {}", names.join(", ")))
    })
}

impl Report {
    pub(crate) fn text(&self, context: &Context) -> anyhow::Result<String> {
        let mut text = format!(
            "{}, days of {}\nstore   {}\nprices  {}\n\n",
            print::bold(&range_text(&self.filter), context.color),
            self.zone,
            context.url,
            self.book
        );
        if self.rows.is_empty() {
            text.push_str("no calls match\n");
        } else {
            text.push_str(&self.table());
        }
        if self.totals.plan_value.as_pico() != 0 {
            text.push_str(&format!(
                "\nplan usage {} by the token; it is no money and in no sum above\n",
                self.totals.plan_value.to_short()
            ));
        }
        text.push('\n');
        text.push_str(&self.unpriced_lines());
        text.push_str(&self.reported_lines());
        if let Some(doubles) = self.doubles.in_words() {
            text.push_str(&format!(
                "possible doubles: {doubles} (guards under `callmeter run` of providers that it did not lead)\n"
            ));
        }
        text.push_str(&status::complete_line(
            &context.home.standing()?.conservation,
        ));
        text.push('\n');
        Ok(text)
    }

    fn table(&self) -> String {
        let mut head: Vec<&str> = Vec::new();
        if self.period != Period::Whole {
            head.push(match self.period {
                Period::Week => "week from",
                Period::Month => "month",
                _ => "day",
            });
        }
        head.extend(self.by.iter().map(|dimension| dimension.name()));
        if head.is_empty() {
            head.push("");
        }
        let names = head.len();
        head.extend(["calls", "errors", "in", "out", "p50", "p95", "cost"]);
        let has_plan = self.totals.plan_value.as_pico() != 0;
        if has_plan {
            head.push("plan");
        }
        let plan = |totals: &Totals| has_plan.then(|| totals.plan_value.to_short());
        let mut rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| {
                self.names_of(row, names)
                    .chain(figures(&row.totals))
                    .chain(plan(&row.totals))
                    .collect()
            })
            .collect();
        if self.rows.len() > 1 {
            let total = std::iter::once("total".to_owned())
                .chain(std::iter::repeat_n(String::new(), names - 1))
                .chain(figures(&self.totals))
                .chain(plan(&self.totals));
            rows.push(total.collect());
        }
        print::table(&head, names, rows)
    }

    fn names_of<'a>(
        &'a self,
        row: &'a ReportRow,
        names: usize,
    ) -> impl Iterator<Item = String> + 'a {
        let period = row.period_start.map(|day| match self.period {
            Period::Month => day_text(day).get(..7).unwrap_or_default().to_owned(),
            _ => day_text(day),
        });
        let words = row
            .key
            .iter()
            .map(|word| word.clone().unwrap_or_else(|| "–".to_owned()));
        let all: Vec<String> = period.into_iter().chain(words).collect();
        let missing = names - all.len();
        all.into_iter()
            .chain(std::iter::repeat_n("all".to_owned(), missing))
    }

    fn unpriced_lines(&self) -> String {
        if self.totals.unpriced == 0 {
            return "unpriced none: every call has a price\n".to_owned();
        }
        let mut text = format!(
            "unpriced {}, in no cost above (*)\n",
            print::calls(self.totals.unpriced)
        );
        for entry in self.unpriced.iter().take(UNPRICED_SHOWN) {
            text.push_str(&format!(
                "  {} {}: {}, {}\n",
                entry.provider,
                entry.model,
                entry.reason,
                print::calls(entry.calls)
            ));
        }
        if self.unpriced.len() > UNPRICED_SHOWN {
            text.push_str(&format!(
                "  and {} more; see --json\n",
                self.unpriced.len() - UNPRICED_SHOWN
            ));
        }
        text
    }

    /// What providers stated, where it counts, beside what the book says of the same calls.
    fn reported_lines(&self) -> String {
        if self.reported.is_empty() {
            return String::new();
        }
        let sum = |of: fn(&Reported) -> UsdTotal| {
            let sums = self.reported.iter().map(of);
            sums.fold(UsdTotal::default(), UsdTotal::plus)
        };
        let calls = self.reported.iter().map(|entry| entry.calls).sum();
        let computed = self.reported.iter().map(|entry| entry.computed_calls).sum();
        let stated = sum(|entry| entry.cost).to_short();
        let mut text = format!(
            "stated   {}, {stated} by their providers",
            print::calls(calls)
        );
        if computed > 0 {
            let by_book = sum(|entry| entry.computed_cost);
            let stated = sum(|entry| entry.comparable_cost);
            let difference =
                UsdTotal::from_pico(stated.as_pico().saturating_sub(by_book.as_pico()));
            let which = if computed == calls {
                String::new()
            } else {
                format!(" for {} of them", print::count(computed))
            };
            text.push_str(&format!(
                "; by the book {}{which}, a difference of {}",
                by_book.to_short(),
                print::difference(difference)
            ));
        }
        text.push_str("; see `callmeter calls --reported`\n");
        text
    }

    pub(crate) fn json(&self, context: &Context) -> anyhow::Result<String> {
        let rows: Vec<serde_json::Value> = self
            .rows
            .iter()
            .map(|row| {
                let mut object = figures_json(&row.totals);
                if let Some(day) = row.period_start {
                    object.insert("period_start".to_owned(), day_text(day).into());
                }
                for (dimension, word) in self.by.iter().zip(&row.key) {
                    object.insert(dimension.name().to_owned(), word.clone().into());
                }
                object.into()
            })
            .collect();
        let unpriced: Vec<serde_json::Value> = self
            .unpriced
            .iter()
            .map(|entry| {
                serde_json::json!({
                    "provider": entry.provider, "model": entry.model,
                    "reason": entry.reason, "calls": entry.calls,
                })
            })
            .collect();
        let object = serde_json::json!({
            "v": 1,
            "since": self.filter.since.map(|at| at.to_string()),
            "until": self.filter.until.map(|at| at.to_string()),
            "timezone": self.zone,
            "store": context.url.to_string(),
            "book": self.book,
            "rows": rows,
            "totals": figures_json(&self.totals),
            "unpriced": unpriced,
            "reported": self.reported.iter().map(reported_json).collect::<Vec<_>>(),
            "possible_doubles": { "calls": self.doubles.calls, "cost_usd": self.doubles.cost.to_string() },
            "complete": status::complete_json(&context.home.standing()?.conservation),
        });
        Ok(format!("{object}\n"))
    }

    fn csv(&self) -> String {
        let mut head: Vec<&str> = Vec::new();
        if self.period != Period::Whole {
            head.push("period_start");
        }
        head.extend(self.by.iter().map(|dimension| dimension.name()));
        head.extend(FIGURES);
        let mut text = head.join(",") + "\r\n";
        for row in &self.rows {
            let figures = figures_json(&row.totals);
            let period = row.period_start.map(day_text);
            let words = row
                .key
                .iter()
                .map(|word| print::csv_field(word.as_deref().unwrap_or_default()));
            let values = FIGURES.iter().map(|name| match figures.get(*name) {
                Some(serde_json::Value::String(text)) => text.clone(),
                Some(serde_json::Value::Null) | None => String::new(),
                Some(other) => other.to_string(),
            });
            let fields: Vec<String> = period.into_iter().chain(words).chain(values).collect();
            text.push_str(&(fields.join(",") + "\r\n"));
        }
        text
    }
}

fn reported_json(entry: &Reported) -> serde_json::Value {
    serde_json::json!({
        "provider": entry.provider, "model": entry.model, "calls": entry.calls,
        "cost_usd": entry.cost.to_string(),
        "computed_calls": entry.computed_calls,
        "comparable_cost_usd": entry.comparable_cost.to_string(),
        "computed_cost_usd": entry.computed_cost.to_string(),
    })
}

fn figures(totals: &Totals) -> impl Iterator<Item = String> {
    let percentile = |per_mille| {
        totals
            .durations
            .percentile_us(per_mille)
            .map_or_else(|| "–".to_owned(), print::duration_us)
    };
    // Where no call reported usage there is no figure, not a zero (promise CM-7).
    let tokens = |sum| match totals.with_usage {
        0 => "–".to_owned(),
        _ => print::short_count(sum),
    };
    let mut cost = totals.cost.to_short();
    if totals.unpriced == totals.calls && totals.calls > 0 {
        cost = "unpriced".to_owned();
    } else if totals.unpriced > 0 {
        cost.push('*');
    }
    [
        print::count(totals.calls),
        print::per_mille(totals.error_per_mille()),
        tokens(totals.input_tokens),
        tokens(totals.output_tokens),
        percentile(500),
        percentile(950),
        cost,
    ]
    .into_iter()
}

const FIGURES: [&str; 20] = [
    "calls",
    "with_usage",
    "ok",
    "error",
    "fallback",
    "cancelled",
    "aborted",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cost_usd",
    "plan_value_usd",
    "unpriced",
    "cache_hits",
    "rag_hits",
    "p50_us",
    "p95_us",
    "p99_us",
];

fn figures_json(totals: &Totals) -> serde_json::Map<String, serde_json::Value> {
    let status = |word: &str| totals.by_status.get(word).copied().unwrap_or(0);
    let percentile = |per_mille| totals.durations.percentile_us(per_mille);
    let object = serde_json::json!({
        "calls": totals.calls,
        "with_usage": totals.with_usage,
        "ok": status("ok"),
        "error": status("error"),
        "fallback": status("fallback"),
        "cancelled": status("cancelled"),
        "aborted": status("aborted"),
        "by_status": totals.by_status,
        "input_tokens": totals.input_tokens,
        "output_tokens": totals.output_tokens,
        "cache_read_tokens": totals.cache_read_tokens,
        "cache_write_tokens": totals.cache_write_tokens,
        "reasoning_tokens": totals.reasoning_tokens,
        "cost_usd": totals.cost.to_string(),
        "plan_value_usd": totals.plan_value.to_string(),
        "unpriced": totals.unpriced,
        "cache_hits": totals.cache_hits,
        "rag_hits": totals.rag_hits,
        "p50_us": percentile(500),
        "p95_us": percentile(950),
        "p99_us": percentile(990),
    });
    match object {
        serde_json::Value::Object(map) => map,
        _ => serde_json::Map::new(),
    }
}
