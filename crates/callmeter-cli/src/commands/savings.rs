//! `callmeter savings`: calls on GPUs of one's own against calls by the token.
//!
//! An estimate, and it says so: GPU time is output tokens over a rate. Each assumption is printed with the figures.

use std::collections::BTreeMap;
use std::process::ExitCode;

use callmeter_core::{Billing, CallRecord, PicoUsd, UsdTotal};
use callmeter_price::{Book, ProviderKinds};
use callmeter_store::{Filter, StoredCall};
use serde_json::json;

use crate::args::SavingsArgs;
use crate::commands::{status, what_if};
use crate::context::{Context, filter_of, range_text};
use crate::failure::Failure;
use crate::print;

/// One, in the decimals of a [`PicoUsd`].
const ONE: i128 = 1_000_000_000_000;
/// How the book names what runs on one's own machines.
const SELF_HOSTED_RULE: &str = "rule/self_hosted";

const WORDS: [&str; 2] = ["provider", "model"];
const FIGURES: [&str; 7] = [
    "self_hosted",
    "calls",
    "input_tokens",
    "output_tokens",
    "by_the_token_usd",
    "gpu_hours",
    "gpu_usd",
];

pub(crate) fn run(context: &Context, args: &SavingsArgs) -> anyhow::Result<ExitCode> {
    let Some(mut store) = context.store()? else {
        return status::nothing_yet(context);
    };
    let filter = filter_of(&args.filter, store.zone(), context.now)?;
    let machine = Machine::read(args)?;
    let book = store.book()?;
    let instead_of = match &args.instead_of {
        None => None,
        Some(text) => match what_if::model_of(text, &book) {
            (Some(provider), model) => Some((provider, model)),
            (None, _) => {
                let (shown, _) = callmeter_core::clean_text(text, 60);
                return Err(Failure::new(format!(
                    "--instead-of '{shown}' names no provider of the book {}",
                    book.name()
                ))
                .with_hint("write PROVIDER/MODEL, such as openai/gpt-5-mini")
                .into());
            }
        },
    };
    let mut sheet = Sheet {
        machine,
        kinds: context.reading_options().providers,
        book,
        instead_of,
        filter: filter.clone(),
        groups: BTreeMap::new(),
        without_tokens: 0,
        without_price: 0,
        under_a_plan: 0,
    };
    store.walk(&filter, false, &mut |call| {
        sheet.add(&call);
        Ok(())
    })?;
    let text = if args.csv {
        print::csv(&WORDS, &FIGURES, &sheet.rows())
    } else if context.json {
        sheet.json(context)
    } else {
        sheet.text(context)
    };
    print::out(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// What a GPU costs and does; rates in 10⁻¹².
struct Machine {
    gpu_hour: PicoUsd,
    output_rate: PicoUsd,
    input_rate: Option<PicoUsd>,
    utilisation: u32,
}

impl Machine {
    fn read(args: &SavingsArgs) -> Result<Self, Failure> {
        let number = |option: &str, text: &str| match text.parse::<PicoUsd>() {
            Ok(number) if number > PicoUsd::ZERO => Ok(number),
            _ => {
                let (shown, _) = callmeter_core::clean_text(text, 40);
                Err(
                    Failure::new(format!("{option} '{shown}' is no number above 0"))
                        .with_hint("write a decimal number such as 1.20"),
                )
            }
        };
        let input = args.input_tokens_per_second.as_deref();
        Ok(Self {
            gpu_hour: number("--gpu-hour", &args.gpu_hour)?,
            output_rate: number("--tokens-per-second", &args.tokens_per_second)?,
            input_rate: input
                .map(|text| number("--input-tokens-per-second", text))
                .transpose()?,
            utilisation: args.utilisation,
        })
    }

    /// The paid time for so many tokens, in milliseconds.
    fn millis(&self, group: &Group) -> i128 {
        let seconds = |tokens: u64, rate: PicoUsd| {
            i128::from(tokens)
                .saturating_mul(ONE.saturating_mul(1_000))
                .checked_div(i128::from(rate.as_pico()))
                .unwrap_or(0)
        };
        let input = self
            .input_rate
            .map_or(0, |rate| seconds(group.input_tokens, rate));
        let busy = seconds(group.output_tokens, self.output_rate).saturating_add(input);
        busy.saturating_mul(100) / i128::from(self.utilisation.max(1))
    }

    /// What that time costs.
    fn cost(&self, millis: i128) -> UsdTotal {
        let pico = i128::from(self.gpu_hour.as_pico()).saturating_mul(millis);
        UsdTotal::from_pico(pico / 3_600_000)
    }
}

/// Calls of one model.
#[derive(Default)]
struct Group {
    calls: u64,
    input_tokens: u64,
    output_tokens: u64,
    /// What they cost by the token, or would.
    by_the_token: UsdTotal,
}

impl Group {
    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.by_the_token = self.by_the_token.plus(other.by_the_token);
    }
}

struct Sheet {
    machine: Machine,
    book: std::sync::Arc<Book>,
    kinds: ProviderKinds,
    instead_of: Option<(String, String)>,
    filter: Filter,
    /// By whether they run on one's own machines, provider and model.
    groups: BTreeMap<(bool, String, String), Group>,
    without_tokens: u64,
    without_price: u64,
    under_a_plan: u64,
}

impl Sheet {
    fn add(&mut self, call: &StoredCall) {
        let record = &call.record;
        if record.billing == Some(Billing::Plan) {
            self.under_a_plan += 1;
            return;
        }
        let usage = &record.usage;
        if usage.input_tokens.is_none() && usage.output_tokens.is_none() {
            self.without_tokens += 1;
            return;
        }
        let is_own = self.is_self_hosted(call);
        let cost = match (is_own, &self.instead_of) {
            (false, _) => call.cost.cost,
            (true, None) => Some(PicoUsd::ZERO),
            (true, Some((provider, model))) => self.price_as(record, provider, model),
        };
        let Some(cost) = cost else {
            self.without_price += 1;
            return;
        };
        let key = (
            is_own,
            record.provider_or_unknown().to_owned(),
            record.model_or_requested().to_owned(),
        );
        let group = self.groups.entry(key).or_default();
        group.calls += 1;
        group.input_tokens += usage.input_tokens.unwrap_or(0);
        group.output_tokens += usage.output_tokens.unwrap_or(0);
        group.by_the_token.add(cost);
    }

    /// Whether a call ran on a machine of one's own: as it says, or by the rule for its provider.
    fn is_self_hosted(&self, call: &StoredCall) -> bool {
        if call.record.billing == Some(Billing::SelfHosted)
            || call.cost.price_id.as_deref() == Some(SELF_HOSTED_RULE)
        {
            return true;
        }
        // A table ai_calls keeps no price id.
        call.cost.price_id.is_none()
            && Book::market()
                .price(&call.record, &self.kinds)
                .cost
                .price_id
                .as_deref()
                == Some(SELF_HOSTED_RULE)
    }

    fn price_as(&self, record: &CallRecord, provider: &str, model: &str) -> Option<PicoUsd> {
        let mut record = record.clone();
        record.reported_cost = None;
        record.provider = Some(provider.to_owned());
        record.model = Some(model.to_owned());
        record.model_requested = Some(model.to_owned());
        self.book.price(&record, &self.kinds).cost.computed_cost
    }

    fn sum(&self, is_own: bool) -> Group {
        let mut sum = Group::default();
        let groups = self.groups.iter().filter(|(key, _)| key.0 == is_own);
        groups.for_each(|(_, group)| sum.add(group));
        sum
    }

    fn rows(&self) -> Vec<serde_json::Map<String, serde_json::Value>> {
        let rows = self
            .groups
            .iter()
            .map(|((is_own, provider, model), group)| {
                let millis = self.machine.millis(group);
                let has_other = !is_own || self.instead_of.is_some();
                print::object(json!({
                    "provider": provider, "model": model, "self_hosted": is_own,
                    "calls": group.calls,
                    "input_tokens": group.input_tokens, "output_tokens": group.output_tokens,
                    "by_the_token_usd": has_other.then(|| group.by_the_token.to_string()),
                    "gpu_hours": hours(millis),
                    "gpu_usd": self.machine.cost(millis).to_string(),
                }))
            });
        rows.collect()
    }

    fn json(&self, context: &Context) -> String {
        let side = |is_own: bool| {
            let sum = self.sum(is_own);
            let millis = self.machine.millis(&sum);
            let gpu = self.machine.cost(millis);
            let has_other = !is_own || self.instead_of.is_some();
            json!({
                "calls": sum.calls, "output_tokens": sum.output_tokens,
                "by_the_token_usd": has_other.then(|| sum.by_the_token.to_string()),
                "gpu_hours": hours(millis), "gpu_usd": gpu.to_string(),
                "saving_usd": has_other.then(|| minus(sum.by_the_token, gpu).to_string()),
            })
        };
        let object = json!({
            "v": 1,
            "since": self.filter.since.map(|at| at.to_string()),
            "until": self.filter.until.map(|at| at.to_string()),
            "store": context.url.to_string(),
            "rows": self.rows(),
            "self_hosted": side(true),
            "by_the_token": side(false),
            "assumptions": self.assumptions(),
        });
        format!("{object}\n")
    }

    fn text(&self, context: &Context) -> String {
        let range = print::bold(&range_text(&self.filter), context.color);
        let mut text = format!("{range}\nstore   {}\n\n", context.url);
        let (own, paid) = (self.sum(true), self.sum(false));
        let gpu = |sum: &Group| {
            let millis = self.machine.millis(sum);
            (hours(millis), self.machine.cost(millis))
        };
        if own.calls > 0 {
            let (hours, cost) = gpu(&own);
            text.push_str(&format!(
                "on your own machines: {}, {} output tokens: {hours} GPU hours, {}\n",
                print::calls(own.calls),
                print::short_count(own.output_tokens),
                cost.to_short()
            ));
            if let Some((provider, model)) = &self.instead_of {
                text.push_str(&format!(
                    "  by the token from {provider}/{model}: {}, {}\n",
                    own.by_the_token.to_short(),
                    saved(minus(own.by_the_token, cost))
                ));
            }
        }
        if paid.calls > 0 {
            let (hours, cost) = gpu(&paid);
            text.push_str(&format!(
                "paid by the token: {}, {} output tokens, {}\n  on your own GPUs: {hours} GPU hours, {}, {}\n",
                print::calls(paid.calls),
                print::short_count(paid.output_tokens),
                paid.by_the_token.to_short(),
                cost.to_short(),
                saved(minus(paid.by_the_token, cost))
            ));
        }
        if self.groups.is_empty() {
            text.push_str("no calls match\n");
        } else {
            text.push('\n');
            text.push_str(&self.table());
        }
        text.push_str("\nassumptions\n");
        for line in self.assumptions() {
            text.push_str(&format!("  {line}\n"));
        }
        text
    }

    fn table(&self) -> String {
        let rows = self
            .groups
            .iter()
            .map(|((is_own, provider, model), group)| {
                let millis = self.machine.millis(group);
                let by_the_token = if *is_own && self.instead_of.is_none() {
                    "–".to_owned()
                } else {
                    group.by_the_token.to_short()
                };
                vec![
                    provider.clone(),
                    model.clone(),
                    print::count(group.calls),
                    print::short_count(group.output_tokens),
                    by_the_token,
                    hours(millis),
                    self.machine.cost(millis).to_short(),
                ]
            });
        let head = [
            "provider",
            "model",
            "calls",
            "out",
            "by the token",
            "GPU hours",
            "GPU cost",
        ];
        print::table(&head, 2, rows.collect())
    }

    fn assumptions(&self) -> Vec<String> {
        let machine = &self.machine;
        let mut lines = vec![
            format!(
                "a GPU costs ${} an hour, makes {} output tokens a second, and is at work {} % of the hours that are paid for",
                machine.gpu_hour, machine.output_rate, machine.utilisation
            ),
            match machine.input_rate {
                Some(rate) => format!("it reads {rate} input tokens a second"),
                None => "reading input takes no time (--input-tokens-per-second says otherwise)".to_owned(),
            },
            "the model on it takes as many tokens for the same work; quality is not compared".to_owned(),
            "hours are added up: idle time between calls, power, people and spare machines are not in them".to_owned(),
        ];
        for (calls, why) in [
            (self.without_tokens, "without token counts"),
            (self.without_price, "without a price"),
            (self.under_a_plan, "under a plan"),
        ] {
            if calls > 0 {
                lines.push(format!("{} {why} left out", print::calls(calls)));
            }
        }
        lines
    }
}

fn minus(a: UsdTotal, b: UsdTotal) -> UsdTotal {
    UsdTotal::from_pico(a.as_pico().saturating_sub(b.as_pico()))
}

/// `$12.00 less`, `$3.00 more`.
fn saved(usd: UsdTotal) -> String {
    let size = UsdTotal::from_pico(usd.as_pico().saturating_abs()).to_short();
    if usd.as_pico() < 0 {
        format!("{size} more on GPUs")
    } else {
        format!("{size} less on GPUs")
    }
}

/// Hours with three decimals.
fn hours(millis: i128) -> String {
    let thousandths = millis.saturating_add(1_800) / 3_600;
    format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(gpu_hour: &str, rate: &str, utilisation: u32) -> Machine {
        Machine {
            gpu_hour: gpu_hour.parse().unwrap(),
            output_rate: rate.parse().unwrap(),
            input_rate: None,
            utilisation,
        }
    }

    #[test]
    fn a_gpu_hour_makes_as_many_tokens_as_its_rate_says() {
        let group = Group {
            output_tokens: 3_240_000,
            ..Group::default()
        };
        let full = machine("1.20", "900", 100);
        assert_eq!(hours(full.millis(&group)), "1.000");
        assert_eq!(full.cost(full.millis(&group)).to_string(), "1.2");
        let half = machine("1.20", "900", 50);
        assert_eq!(half.cost(half.millis(&group)).to_string(), "2.4");
        let slow = machine("1.20", "0.5", 100);
        assert_eq!(hours(slow.millis(&group)), "1800.000");
    }
}
