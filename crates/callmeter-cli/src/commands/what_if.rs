//! `callmeter what-if`: the same calls by another book, with another model, or by the prices of another day.
//!
//! Reads one snapshot and writes nothing, so that a right to SELECT is enough; works on a table `ai_calls` as it
//! is. What a provider stated does not count here: the question is what a price list says.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use callmeter_core::{Billing, CallId, CallRecord, PicoUsd, Timestamp, UnpricedReason, UsdTotal};
use callmeter_price::{Book, ProviderKinds, canonical_provider};
use callmeter_store::{Filter, StoreLayout, StoredCall};
use serde_json::json;

use crate::args::{FilterArgs, WhatIfArgs};
use crate::commands::status;
use crate::context::{Context, filter_of, range_text};
use crate::failure::Failure;
use crate::{filter, print, span};

/// How many lines of models without a price a person reads.
const MISSING_SHOWN: usize = 8;

const WORDS: [&str; 2] = ["provider", "model"];
const FIGURES: [&str; 11] = [
    "plan",
    "calls",
    "cost_usd",
    "unpriced",
    "what_if_usd",
    "difference_usd",
    "what_if_unpriced",
    "unmatched_cost_usd",
    "plan_value_usd",
    "what_if_plan_value_usd",
    "reason",
];

pub(crate) fn run(context: &Context, args: &WhatIfArgs) -> anyhow::Result<ExitCode> {
    if args.model.is_empty() && args.book.is_none() && args.prices_at.is_none() {
        return Err(Failure::new("what if what?")
            .with_hint("give --model A=B, --book market or a file, or --prices-at 2026-11-01")
            .into());
    }
    let Some(mut store) = context.store()? else {
        return status::nothing_yet(context);
    };
    let zone = store.zone().clone();
    let filter = filter_of(&FilterArgs::from(&args.range), &zone, context.now)?;
    let stored = store.book()?;
    let book = match &args.book {
        Some(name) => filter::book_of(name)?,
        None => Arc::clone(&stored),
    };
    let at = args.prices_at.as_deref();
    let question = Question {
        kinds: context.reading_options().providers,
        at: at
            .map(|text| span::since(text, &zone, context.now))
            .transpose()?,
        swaps: args
            .model
            .iter()
            .map(|text| Swap::read(text, &book))
            .collect::<Result<_, _>>()?,
        book,
    };
    let mut answer = Answer {
        groups: BTreeMap::new(),
        filter: filter.clone(),
        is_legacy: context.settings.store.layout == StoreLayout::AiCalls,
        stored_book: format!("{} {}", stored.name(), stored.version()),
        question,
    };
    store.walk(&filter, false, &mut |call| {
        answer.add(call);
        Ok(())
    })?;
    let text = if args.csv {
        print::csv(&WORDS, &FIGURES, &answer.rows())
    } else if context.json {
        answer.json(context)
    } else {
        answer.text(context)
    };
    print::out(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Calls of one model are priced as if another had answered.
struct Swap {
    from: String,
    provider: Option<String>,
    to: String,
}

impl Swap {
    fn read(text: &str, book: &Book) -> Result<Self, Failure> {
        let (from, to) = text
            .split_once('=')
            .filter(|(from, to)| !from.trim().is_empty() && !to.trim().is_empty())
            .ok_or_else(|| {
                let (shown, _) = callmeter_core::clean_text(text, 60);
                Failure::new(format!("--model '{shown}' is no pair of models"))
                    .with_hint("write it as --model gpt-4o=gpt-5-mini or --model gpt-4o=anthropic/claude-haiku-4-5")
            })?;
        let (provider, to) = model_of(to.trim(), book);
        Ok(Self {
            from: from.trim().to_owned(),
            provider,
            to,
        })
    }
}

/// A model as it is typed: with its provider before a slash, where the book knows a provider of that name.
pub(crate) fn model_of(text: &str, book: &Book) -> (Option<String>, String) {
    if let Some((provider, model)) = text.split_once('/') {
        let canonical = canonical_provider(provider);
        if book.entries().any(|entry| entry.provider() == canonical) {
            return (Some(canonical.to_owned()), model.to_owned());
        }
    }
    (None, text.to_owned())
}

/// What is asked.
struct Question {
    book: Arc<Book>,
    kinds: ProviderKinds,
    swaps: Vec<Swap>,
    at: Option<Timestamp>,
}

impl Question {
    /// What a call would have cost.
    fn price(&self, record: &CallRecord) -> Result<PicoUsd, UnpricedReason> {
        let mut record = record.clone();
        record.reported_cost = None;
        if let Some(at) = self.at {
            record.call_id = CallId::new(at, 0);
            record.duration_us = None;
        }
        let model = record.model_or_requested();
        if let Some(swap) = self.swaps.iter().find(|swap| swap.from == model) {
            record.model = Some(swap.to.clone());
            record.model_requested = Some(swap.to.clone());
            if let Some(provider) = &swap.provider {
                record.provider = Some(provider.clone());
            }
        }
        let cost = self.book.price(&record, &self.kinds).cost;
        cost.computed_cost
            .ok_or(cost.unpriced_reason.unwrap_or(UnpricedReason::UnknownModel))
    }

    /// How the second figure is called.
    fn name(&self) -> String {
        let book = match self.book.name() {
            "market" => format!("the catalogue (market {})", self.book.version()),
            name => format!("{name} {}", self.book.version()),
        };
        let swaps: Vec<String> = self
            .swaps
            .iter()
            .map(|swap| {
                let provider = swap.provider.as_deref().map(|name| format!("{name}/"));
                format!(
                    "{} as {}{}",
                    swap.from,
                    provider.unwrap_or_default(),
                    swap.to
                )
            })
            .collect();
        let mut name = match swaps.is_empty() {
            true => format!("by {book}"),
            false => format!("with {}, by {book}", swaps.join(", ")),
        };
        if let Some(at) = self.at {
            name.push_str(&format!(" at the prices of {at}"));
        }
        name
    }
}

/// Calls of one model.
#[derive(Default)]
struct Group {
    calls: u64,
    cost: UsdTotal,
    unpriced: u64,
    what_if: UsdTotal,
    /// Calls that the second figure leaves out, and what of the first is theirs.
    missing: u64,
    missing_cost: UsdTotal,
    reason: Option<UnpricedReason>,
}

impl Group {
    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.cost = self.cost.plus(other.cost);
        self.unpriced += other.unpriced;
        self.what_if = self.what_if.plus(other.what_if);
        self.missing += other.missing;
        self.missing_cost = self.missing_cost.plus(other.missing_cost);
    }

    fn difference(&self) -> UsdTotal {
        UsdTotal::from_pico(self.what_if.as_pico().saturating_sub(self.cost.as_pico()))
    }

    /// Whether the book knows no such model, rather than the call no tokens.
    fn is_not_in_book(&self) -> bool {
        matches!(
            self.reason,
            Some(
                UnpricedReason::UnknownModel
                    | UnpricedReason::UnknownProvider
                    | UnpricedReason::NoPriceAtTime
            )
        )
    }
}

/// The answer: by provider, model, whether under a plan, and why there is no second figure.
struct Answer {
    groups: BTreeMap<(String, String, bool, Option<&'static str>), Group>,
    filter: Filter,
    is_legacy: bool,
    stored_book: String,
    question: Question,
}

impl Answer {
    fn add(&mut self, call: StoredCall) {
        let StoredCall { record, cost, .. } = call;
        let what_if = self.question.price(&record);
        let key = (
            record.provider_or_unknown().to_owned(),
            record.model_or_requested().to_owned(),
            record.billing == Some(Billing::Plan),
            what_if.err().map(UnpricedReason::as_str),
        );
        let group = self.groups.entry(key).or_default();
        group.calls += 1;
        match cost.cost {
            Some(cost) => group.cost.add(cost),
            None => group.unpriced += 1,
        }
        match what_if {
            Ok(amount) => group.what_if.add(amount),
            Err(reason) => {
                group.missing += 1;
                group.reason = Some(reason);
                if let Some(cost) = cost.cost {
                    group.missing_cost.add(cost);
                }
            }
        }
    }

    fn sum(&self, is_plan: bool) -> Group {
        let mut sum = Group::default();
        let groups = self.groups.iter().filter(|(key, _)| key.2 == is_plan);
        groups.for_each(|(_, group)| sum.add(group));
        sum
    }

    /// Models that the book does not know, and their calls.
    fn not_in_book(&self) -> (u64, usize) {
        let groups = self
            .groups
            .iter()
            .filter(|(_, group)| group.is_not_in_book());
        let mut models: Vec<_> = groups.clone().map(|(key, _)| (&key.0, &key.1)).collect();
        models.dedup();
        (groups.map(|(_, group)| group.missing).sum(), models.len())
    }

    fn rows(&self) -> Vec<serde_json::Map<String, serde_json::Value>> {
        let row = |((provider, model, is_plan, reason), group): (&(_, _, _, _), &Group)| {
            let (provider, model): (&String, &String) = (provider, model);
            let (is_plan, reason): (&bool, &Option<&str>) = (is_plan, reason);
            // Plan usage is no money: it stands in columns of its own.
            let money = |usd: UsdTotal| (!is_plan).then(|| usd.to_string());
            let plan = |usd: UsdTotal| is_plan.then(|| usd.to_string());
            let what_if = reason.is_none().then_some(group.what_if);
            let difference = reason.is_none().then(|| group.difference());
            print::object(json!({
                "provider": provider, "model": model, "plan": is_plan,
                "calls": group.calls,
                "cost_usd": money(group.cost),
                "unpriced": group.unpriced,
                "what_if_usd": what_if.and_then(money),
                "difference_usd": difference.and_then(money),
                "what_if_unpriced": group.missing,
                "unmatched_cost_usd": money(group.missing_cost),
                "plan_value_usd": plan(group.cost),
                "what_if_plan_value_usd": what_if.and_then(plan),
                "reason": reason,
            }))
        };
        self.groups.iter().map(row).collect()
    }

    fn json(&self, context: &Context) -> String {
        let money = self.sum(false);
        let plan = self.sum(true);
        let (calls, models) = self.not_in_book();
        let object = json!({
            "v": 1,
            "since": self.filter.since.map(|at| at.to_string()),
            "until": self.filter.until.map(|at| at.to_string()),
            "store": context.url.to_string(),
            "what_if": self.question.name(),
            "rows": self.rows(),
            "totals": {
                "calls": money.calls + plan.calls,
                "cost_usd": money.cost.to_string(),
                "what_if_usd": money.what_if.to_string(),
                "difference_usd": money.difference().to_string(),
                "unmatched_cost_usd": money.missing_cost.to_string(),
                "plan_value_usd": plan.cost.to_string(),
                "what_if_plan_value_usd": plan.what_if.to_string(),
                "unpriced": money.unpriced + plan.unpriced,
                "what_if_unpriced": money.missing + plan.missing,
                "not_in_book_calls": calls,
                "not_in_book_models": models,
            },
        });
        format!("{object}\n")
    }

    fn text(&self, context: &Context) -> String {
        let range = print::bold(&range_text(&self.filter), context.color);
        let mut text = format!("{range}\nstore   {}\n\n", context.url);
        if self.groups.is_empty() {
            return text + "no calls match\n";
        }
        let money = self.sum(false);
        let first = if self.is_legacy {
            "by your table".to_owned()
        } else {
            format!("as they are priced ({})", self.stored_book)
        };
        let (calls, models) = self.not_in_book();
        text.push_str(&format!(
            "{} {first}, {} {}",
            money.cost.to_short(),
            money.what_if.to_short(),
            self.question.name()
        ));
        if calls > 0 {
            let models = u64::try_from(models).unwrap_or(u64::MAX);
            text.push_str(&format!(
                "; {} to {} not in it",
                print::calls(calls),
                print::plural(models, "model")
            ));
        }
        text.push('\n');
        if money.missing_cost.as_pico() != 0 {
            text.push_str(&format!(
                "{} of the first figure is of calls that the second leaves out\n",
                money.missing_cost.to_short()
            ));
        }
        let plan = self.sum(true);
        if plan.calls > 0 {
            text.push_str(&format!(
                "plan usage {} as it is, {} what if; it is no money and in no sum here\n",
                plan.cost.to_short(),
                plan.what_if.to_short()
            ));
        }
        text.push('\n');
        text.push_str(&self.table());
        text.push_str(&self.missing_lines());
        text.push_str("\nnothing was written\n");
        text
    }

    fn table(&self) -> String {
        let priced = self.groups.iter().filter(|(key, _)| key.3.is_none());
        let mut priced: Vec<_> = priced.collect();
        priced.sort_by_key(|(key, group)| {
            (
                std::cmp::Reverse(group.what_if.max(group.cost)),
                key.0.clone(),
                key.1.clone(),
            )
        });
        if priced.is_empty() {
            return String::new();
        }
        let rows = priced
            .into_iter()
            .map(|((provider, model, is_plan, _), group)| {
                let plan = if *is_plan { " (plan)" } else { "" };
                let cost = match group.unpriced {
                    0 => group.cost.to_short(),
                    n if n == group.calls => "unpriced".to_owned(),
                    _ => group.cost.to_short() + "*",
                };
                vec![
                    provider.clone(),
                    format!("{model}{plan}"),
                    print::count(group.calls),
                    cost,
                    group.what_if.to_short(),
                    print::difference(group.difference()),
                ]
            });
        let head = ["provider", "model", "calls", "now", "what if", "difference"];
        print::table(&head, 2, rows.collect())
    }

    fn missing_lines(&self) -> String {
        let missing = self.groups.iter().filter(|(key, _)| key.3.is_some());
        let mut missing: Vec<_> = missing.collect();
        missing.sort_by_key(|(key, group)| (std::cmp::Reverse(group.calls), (*key).clone()));
        let mut text = String::new();
        if !missing.is_empty() {
            text.push_str("\nwithout a second figure\n");
        }
        for ((provider, model, _, reason), group) in missing.iter().take(MISSING_SHOWN) {
            text.push_str(&format!(
                "  {provider} {model}: {}, {}, now {}\n",
                reason.unwrap_or_default(),
                print::calls(group.calls),
                group.cost.to_short()
            ));
        }
        if missing.len() > MISSING_SHOWN {
            let more = missing.len() - MISSING_SHOWN;
            text.push_str(&format!("  and {more} more; see --json\n"));
        }
        text
    }
}
