//! The `legacy` book: the table, the prefix rules and the arithmetic of the module that callmeter
//! replaces, so that a user who switches gets the same figures row for row.
//!
//! Floats, a zero for unknown models and rounding to six decimals belong to this book alone: its model
//! computed `round((in · a + out · b) / 1e6, 6)` in doubles, and so does it.

use callmeter_core::{CallRecord, Cost, CostSource, Layer, PicoUsd, PriceMatch, UnpricedReason};

use crate::pricing::Priced;

pub(crate) const VERSION: &str = "1";

/// What a store keeps as this book's body.
pub(crate) const BODY: &str = "callmeter legacy price book 1";

const CEILING: f64 = 9_999.999_999;

/// USD per million tokens, input and output.
const TABLE: &[(&str, f64, f64)] = &[
    ("gemini-2.5-flash", 0.075, 0.30),
    ("gemini-2.0-flash", 0.075, 0.30),
    ("gemini-1.5-flash", 0.075, 0.30),
    ("gemini-2.5-pro", 1.25, 10.0),
    ("claude-opus-4-7", 15.0, 75.0),
    ("claude-sonnet-4-6", 3.0, 15.0),
    ("claude-haiku-4-5", 0.8, 4.0),
    ("meta/llama-3.1-8b-instruct", 0.0, 0.0),
    ("meta/llama-3.3-70b-instruct", 0.0, 0.0),
    ("nvidia/llama-3.3-nemotron-super-49b-v1.5", 0.0, 0.0),
    ("deepseek-ai/deepseek-v3.2", 0.0, 0.0),
    ("hermes3:latest", 0.0, 0.0),
    ("qwen2.5-coder:7b", 0.0, 0.0),
    ("qwen2.5-coder:32b", 0.0, 0.0),
    ("qwen2.5:7b-instruct", 0.0, 0.0),
    ("qwen3:14b", 0.0, 0.0),
    ("qwen2-vl:7b", 0.0, 0.0),
    ("deepseek-r1:14b", 0.0, 0.0),
    ("gemma3:4b", 0.0, 0.0),
    ("minicpm-v:latest", 0.0, 0.0),
    ("llava:latest", 0.0, 0.0),
    ("llama3.1:8b", 0.0, 0.0),
    ("llama3.2:latest", 0.0, 0.0),
    ("bge-m3:latest", 0.0, 0.0),
];

/// Models on a free quota by the beginning of their name.
const FREE_PREFIXES: &[&str] = &["meta/", "nvidia/", "deepseek-"];

pub(crate) fn price(record: &CallRecord) -> Priced {
    let mut priced = Priced::default();
    let cost = &mut priced.cost;
    if record.is_counted_elsewhere() {
        cost.unpriced_reason = Some(UnpricedReason::CountedElsewhere);
        return priced;
    }
    let model = record.model_or_requested();
    let (rates, how) = match TABLE.iter().find(|(name, _, _)| *name == model) {
        Some((_, input, output)) => ((*input, *output), PriceMatch::Exact),
        None => {
            priced.is_unknown_to_legacy =
                !FREE_PREFIXES.iter().any(|prefix| model.starts_with(prefix));
            ((0.0, 0.0), PriceMatch::Rule)
        }
    };
    let usage = &record.usage;
    let amount = Some(amount(
        usage.input_tokens.unwrap_or(0),
        usage.output_tokens.unwrap_or(0),
        rates,
    ));
    *cost = Cost::default();
    (cost.cost, cost.computed_cost) = (amount, amount);
    cost.cost_source = Some(CostSource::Book);
    // A row that was imported keeps the figure that reports have shown, whatever its table said then; a host that
    // works its costs out by a table of its own, as it could in that module, has the last word on its own calls.
    let is_the_host_s = matches!(record.layer, Layer::Import | Layer::Guard);
    if is_the_host_s && record.reported_cost.is_some() {
        cost.cost = record.reported_cost;
        priced.is_unknown_to_legacy = false;
    }
    cost.price_id = Some(format!("legacy/{model}").into());
    cost.price_match = Some(how);
    priced
}

#[allow(
    clippy::cast_precision_loss,
    reason = "as its model did; counts are below 10^12"
)]
fn amount(input: u64, output: u64, (input_rate, output_rate): (f64, f64)) -> PicoUsd {
    let sum = (input as f64) * input_rate + (output as f64) * output_rate;
    let usd = (sum / 1e6).min(CEILING);
    // Six decimals, correctly rounded from the double's exact value: what Python's round() gives.
    format!("{usd:.6}").parse().unwrap_or(PicoUsd::ZERO)
}
