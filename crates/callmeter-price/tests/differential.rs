//! A second and a third opinion: what litellm's and genai-prices' calculators say of some thousand calls.
//!
//! `fixtures/opinions.jsonl.gz` holds the questions and their answers, `xtask/differential/prices.py` how they came to
//! be; `cargo xtask test differential` asks anew. Each difference must have a [`Reason`], most of which are computed, and
//! each reason must have as many differences as [`REASONS`] says; what has no computed reason stands in [`SINGLE`]. A
//! binary of its own, so that it can be run by itself and counted.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::io::Read;

use callmeter_price::Book;
use callmeter_price::filter::price_line;
use flate2::read::GzDecoder;
use serde_json::{Value, json};

/// Why a figure differs from theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// They say 0 for a name that they have without a price: R-6 wants null.
    ZeroForUnknown,
    /// The book has no price for a kind of token, so the call has none; they take the price of input, or nothing.
    NoRate,
    /// The public lists disagree about the name and the book has no price for it then.
    Disputed,
    /// They have no price for cached reads or writes and take that of input; the book has one.
    CachedAsInput,
    /// They do not know the price of the service tier and take the standard one.
    TierIgnored,
    /// They date a change of price otherwise, or do not know the price before it.
    OtherDate,
    /// More lists, or newer ones, say what the book says: their figure was outvoted.
    Outvoted,
    /// They do not know the price of long requests; the lists agree about it separately.
    NoContextTier,
    /// The name is one that a list makes up for a context tier, or a resource prefix; the book leaves it out.
    NoName,
    /// They add a fee for a request; the book charges requests that were counted.
    RequestFee,
}

use Reason::{
    CachedAsInput, Disputed, NoContextTier, NoName, NoRate, OtherDate, Outvoted, RequestFee,
    TierIgnored, ZeroForUnknown,
};

/// Who, why, how many.
const REASONS: &[(&str, Reason, usize)] = &[
    ("genai-prices", ZeroForUnknown, 2),
    ("genai-prices", NoRate, 276),
    ("genai-prices", Disputed, 109),
    ("genai-prices", CachedAsInput, 65),
    ("genai-prices", TierIgnored, 121),
    ("genai-prices", OtherDate, 54),
    ("genai-prices", Outvoted, 227),
    ("genai-prices", NoContextTier, 11),
    ("genai-prices", NoName, 18),
    ("genai-prices", RequestFee, 10),
    ("litellm", ZeroForUnknown, 487),
    ("litellm", NoRate, 200),
    ("litellm", Disputed, 23),
    ("litellm", CachedAsInput, 122),
    ("litellm", TierIgnored, 28),
    ("litellm", OtherDate, 4),
    ("litellm", Outvoted, 53),
    ("litellm", NoContextTier, 32),
    ("litellm", NoName, 45),
];

/// Who, provider, model, how many, why: what no computation tells.
const SINGLE: &[(&str, &str, &str, usize, &str)] = &[
    (
        "genai-prices",
        "deepseek",
        "deepseek-chat-v3-0324",
        4,
        "it has the night's discount of 2025 for the price of the day; no other list has the name, the book leaves it out",
    ),
    (
        "genai-prices",
        "deepseek",
        "deepseek-r1-0528",
        4,
        "as above",
    ),
    (
        "genai-prices",
        "deepseek",
        "deepseek-v4-pro",
        1,
        "its hours of the day have no first day: it takes the peak price of August 2026 for a morning in April",
    ),
    (
        "genai-prices",
        "google",
        "gemini-flash-latest",
        1,
        "it halves the price of cached reads in a batch, which the other lists do not",
    ),
    (
        "genai-prices",
        "openrouter",
        "google/gemini-2.5-pro-preview",
        1,
        "the lists agree about the tier above 200,000 but for cached reads, which keep the lower price",
    ),
    (
        "genai-prices",
        "openrouter",
        "google/gemini-3.1-pro-preview-customtools",
        1,
        "as above",
    ),
    (
        "litellm",
        "perplexity",
        "perplexity/sonar",
        4,
        "it takes the maker's name in the id for the provider's, and prices `sonar`",
    ),
];

fn lines(path: &str) -> Vec<Value> {
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn opinions() -> Vec<Value> {
    let kept = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/opinions.jsonl.gz"
    );
    lines(&std::env::var("CALLMETER_PRICE_OPINIONS").unwrap_or_else(|_| kept.to_owned()))
}

/// The records of the book's sources by provider and every name.
fn sources() -> BTreeMap<(String, String), Value> {
    let all = lines(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/data/sources.jsonl.gz"
    ));
    let mut sources = BTreeMap::new();
    for record in all {
        let provider = record["provider"].as_str().unwrap().to_owned();
        let ids = record["ids"].as_array().cloned().unwrap_or_default();
        for id in ids.iter().chain([&record["model"]]) {
            let key = (provider.clone(), id.as_str().unwrap().to_owned());
            sources.entry(key).or_insert_with(|| record.clone());
        }
    }
    sources
}

fn ours(line: &Value) -> Result<f64, String> {
    let out = price_line(&Book::market(), &line.to_string()).unwrap();
    let out: Value = serde_json::from_str(&out).unwrap();
    match out["cost_usd"].as_str() {
        Some(cost) => Ok(cost.parse().unwrap()),
        None => Err(out["reason"].as_str().unwrap().to_owned()),
    }
}

/// Whether two figures are the same but for their floats.
fn is_same(ours: f64, theirs: f64) -> bool {
    (ours - theirs).abs() <= 1e-12 + 2e-6 * theirs.abs()
}

/// The line with a change, where it makes our figure theirs.
fn would_be(line: &Value, theirs: f64, change: impl Fn(&mut Value)) -> bool {
    let mut changed = line.clone();
    change(&mut changed);
    ours(&changed).is_ok_and(|ours| is_same(ours, theirs))
}

fn without(line: &mut Value, names: &[&str]) {
    for name in names {
        line["usage"].as_object_mut().unwrap().remove(*name);
    }
}

/// Moments just before and after each change of a record's price, and one day of autumn.
fn moments(record: &Value) -> Vec<String> {
    let mut moments = vec!["2026-11-20T12:00:00Z".to_owned()];
    for period in record["periods"].as_array().into_iter().flatten() {
        for bound in ["from", "until"] {
            if let Some(at) = period[bound].as_str() {
                moments.push(at.to_owned());
                let before: callmeter_core::Timestamp = at.parse().unwrap();
                moments.push(before.saturating_add_micros(-1).to_string());
            }
        }
    }
    moments
}

fn reason(who: &str, line: &Value, theirs: f64, record: Option<&Value>) -> Option<Reason> {
    let none = Value::Null;
    let record = record.unwrap_or(&none);
    let list = if who == "litellm" { "L" } else { "G" };
    match ours(line) {
        Err(reason) if reason.starts_with("missing_rate") => return Some(NoRate),
        Err(_) if is_no_name(line["model"].as_str().unwrap()) => return Some(NoName),
        Err(_) => {
            let text = record.to_string();
            return text.contains("\"disputed\"").then_some(Disputed);
        }
        Ok(_) => {}
    }
    if theirs == 0.0 {
        return Some(ZeroForUnknown);
    }
    let cached: [&[&str]; 3] = [
        &["cache_read_tokens"],
        &["cache_write_tokens"],
        &["cache_read_tokens", "cache_write_tokens"],
    ];
    let untiered = |line: &mut Value| {
        line.as_object_mut().unwrap().remove("service_tier");
    };
    if line["service_tier"].is_string() && would_be(line, theirs, untiered) {
        return Some(TierIgnored);
    }
    for names in cached {
        if would_be(line, theirs, |line| without(line, names))
            || would_be(line, theirs, |line| {
                without(line, names);
                untiered(line);
            })
        {
            return Some(CachedAsInput);
        }
    }
    // A tenth of the tokens is below every threshold.
    let short = |line: &mut Value| {
        for count in line["usage"].as_object_mut().unwrap().values_mut() {
            *count = json!(count.as_u64().unwrap() / 10);
        }
    };
    for names in [&[] as &[&str], cached[0], cached[2]] {
        let mut shorter = line.clone();
        without(&mut shorter, names);
        short(&mut shorter);
        if ours(&shorter).is_ok_and(|ours| (ours * 10.0 - theirs).abs() < 1e-4 * theirs) {
            return Some(NoContextTier);
        }
    }
    for at in moments(record) {
        if would_be(line, theirs, |line| line["at"] = json!(at)) {
            return Some(OtherDate);
        }
    }
    let at: callmeter_core::Timestamp = line["at"].as_str().unwrap().parse().unwrap();
    let in_force = record["periods"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|period| {
            let bound = |name: &str| -> Option<callmeter_core::Timestamp> {
                period[name].as_str().map(|text| text.parse().unwrap())
            };
            bound("from").is_none_or(|from| at >= from)
                && bound("until").is_none_or(|until| at < until)
        });
    let agrees = in_force.is_some_and(|period| period["agree"].as_str().unwrap().contains(list));
    if !agrees || record["differ"].get(list).is_some() {
        return Some(Outvoted);
    }
    let fee = (theirs - ours(line).unwrap_or(0.0)) * 1_000.0;
    (who == "genai-prices"
        && [5.0, 6.0, 8.0, 12.0, 14.0]
            .iter()
            .any(|known| (fee - known).abs() < 1e-6))
    .then_some(RequestFee)
}

/// `gpt-5.4-272k`, `bedrock/anthropic.claude-sonnet-4-6`.
fn is_no_name(model: &str) -> bool {
    let length = model
        .rsplit_once('-')
        .and_then(|(_, end)| end.strip_suffix('k'));
    model.starts_with("bedrock/") || length.is_some_and(|number| number.parse::<u32>().is_ok())
}

#[test]
fn every_difference_to_litellm_and_genai_prices_has_its_reason() {
    let sources = sources();
    let (mut compared, mut equal) = (0, 0);
    let mut reasons: BTreeMap<(String, Reason), usize> = BTreeMap::new();
    let mut single: BTreeMap<(String, String, String), Vec<String>> = BTreeMap::new();
    for opinion in opinions() {
        let line = &opinion["line"];
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        let record = sources.get(&(text("provider"), text("model")));
        for (who, said) in opinion["said"].as_object().unwrap() {
            compared += 1;
            let theirs: f64 = said.as_str().unwrap().parse().unwrap();
            if ours(line).is_ok_and(|ours| is_same(ours, theirs)) {
                equal += 1;
                continue;
            }
            match reason(who, line, theirs, record) {
                Some(reason) => *reasons.entry((who.clone(), reason)).or_default() += 1,
                None => {
                    let place = (who.clone(), text("provider"), text("model"));
                    let difference = format!("{line}: {theirs} for {:?}", ours(line));
                    single.entry(place).or_default().push(difference);
                }
            }
        }
    }
    let known = REASONS
        .iter()
        .map(|(who, reason, count)| (((*who).to_owned(), *reason), *count));
    let known: BTreeMap<_, _> = known.collect();
    assert_eq!(reasons, known);
    let found: BTreeMap<_, _> = single
        .iter()
        .map(|(place, all)| (place.clone(), all.len()))
        .collect();
    let known = SINGLE.iter().map(|(who, provider, model, count, why)| {
        assert!(!why.is_empty());
        (
            (
                (*who).to_owned(),
                (*provider).to_owned(),
                (*model).to_owned(),
            ),
            *count,
        )
    });
    assert!(found == known.collect(), "{single:#?}");
    assert!(
        compared > 7_500 && equal * 100 > compared * 70,
        "{equal} of {compared}"
    );
}
