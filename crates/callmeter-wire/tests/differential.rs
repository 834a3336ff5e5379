//! A second opinion: what genai-prices' extractors make of the recorded exchanges.
//!
//! `fixtures/genai_prices.jsonl.gz` holds its answers, `xtask/differential` how they came to be; `cargo xtask test
//! differential` asks the package anew. To it absent and 0 are one. Each difference must stand in
//! [`DIFFERENCES`] with its reason, and each reason must have as many differences as it says. A binary of its
//! own, so that it can be run by itself and counted.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::io::Read;

use callmeter_wire::{Reading, inspect};
use flate2::read::GzDecoder;
use serde_json::Value;

#[allow(dead_code, unreachable_pub)] // shared with the other binary
#[path = "it/support.rs"]
mod support;

use support::{exchanges, text};

const MISTRAL: &str =
    "Mistral counts the prompt's audio beside `prompt_tokens`: its total is the sum of all three";

/// Asked as, field, how many, why the reader's figure is right.
const DIFFERENCES: &[(&str, &str, usize, &str)] = &[
    (
        "anthropic/default",
        "input_tokens",
        2,
        "compaction passes stand outside the counts at the top and are billed",
    ),
    (
        "anthropic/default",
        "output_tokens",
        2,
        "compaction passes stand outside the counts at the top and are billed",
    ),
    (
        "cohere/tokens",
        "reasoning_tokens",
        3,
        "it does not read `tokens.reasoning_tokens`",
    ),
    (
        "google/chat",
        "output_tokens",
        1,
        "the compatible endpoint leaves thinking out of `completion_tokens` and in the total",
    ),
    ("mistral/default", "input_tokens", 4, MISTRAL),
    (
        "mistral/default",
        "audio_input_tokens",
        4,
        "it does not read Mistral's `audio_tokens`",
    ),
    (
        "mistral/default",
        "cache_read_tokens",
        7,
        "it does not read `num_cached_tokens`, Mistral's other spelling",
    ),
    (
        "openai/chat",
        "cache_read_tokens",
        3,
        "llama.cpp says what was cached in `timings.cache_n` alone",
    ),
    (
        "openai/chat",
        "output_tokens",
        12,
        "Vercel's gateway leaves Gemini's thinking out of completion and total",
    ),
];

/// Asked as, how many it refuses although something was counted, why it does.
const REFUSALS: &[(&str, usize, &str)] = &[
    (
        "google/default",
        3,
        "it takes enums for words, and Vertex AI may send numbers",
    ),
    ("openai/chat", 2, "it demands a count of completion tokens"),
    (
        "openai/embeddings",
        3,
        "it demands `prompt_tokens`, and some send a total alone",
    ),
];

fn opinions() -> Vec<Value> {
    let kept = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/genai_prices.jsonl.gz"
    );
    let path = std::env::var("CALLMETER_GENAI_PRICES").unwrap_or_else(|_| kept.to_owned());
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The counts that both know, absent ones as 0.
fn counts(reading: &Reading) -> BTreeMap<&'static str, u64> {
    let theirs_too =
        |name: &str| !name.contains("24h") && !name.contains("image") && !name.contains("video");
    let all = reading.usage.tokens();
    let all = all.into_iter().filter(|(name, _)| theirs_too(name));
    all.map(|(name, count)| (name, count.unwrap_or(0)))
        .collect()
}

#[test]
fn every_difference_to_genai_prices_has_its_reason() {
    let mut readings = BTreeMap::new();
    for line in exchanges() {
        let exchange: Value = serde_json::from_str(&line).unwrap();
        let reading = inspect(&line, None).unwrap().reading;
        readings.insert(text(&exchange, "/id").to_owned(), reading);
    }
    let mut differences: BTreeMap<(String, &str), Vec<String>> = BTreeMap::new();
    let mut refusals: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut compared, mut equal) = (0, 0);
    for opinion in opinions() {
        let (id, asked_as) = (text(&opinion, "/id"), text(&opinion, "/asked_as"));
        let ours = counts(&readings[id]);
        let Some(theirs) = opinion["usage"].as_object() else {
            if ours.values().any(|count| *count > 0) {
                refusals.entry(asked_as.into()).or_default().push(id.into());
            }
            continue;
        };
        compared += 1;
        let before = differences.values().map(Vec::len).sum::<usize>();
        for (name, count) in &ours {
            let said = theirs.get(*name).and_then(Value::as_u64).unwrap_or(0);
            if said != *count {
                let difference = format!("{id}: {said} for {count}");
                let place = differences.entry((asked_as.into(), name)).or_default();
                place.push(difference);
            }
        }
        let after = differences.values().map(Vec::len).sum::<usize>();
        equal += usize::from(before == after);
    }
    let known = DIFFERENCES.iter();
    let known = known.map(|(asked_as, name, count, _)| (((*asked_as).to_owned(), *name), *count));
    let found = differences
        .iter()
        .map(|(place, all)| (place.clone(), all.len()));
    assert!(known.eq(sorted(found)), "{differences:#?}");
    let known = REFUSALS
        .iter()
        .map(|(asked_as, count, _)| ((*asked_as).to_owned(), *count));
    let found = refusals
        .iter()
        .map(|(asked_as, all)| (asked_as.clone(), all.len()));
    assert!(known.eq(found), "{refusals:#?}");
    assert!(
        compared > 2_000 && equal * 100 > compared * 98,
        "{equal} of {compared}"
    );
}

/// In the order of the table, whose fields follow a usage's own.
fn sorted<'a>(
    found: impl Iterator<Item = ((String, &'a str), usize)>,
) -> Vec<((String, &'a str), usize)> {
    let rank = |place: &(String, &str)| {
        let known = |(asked_as, name, ..): &&(&str, &str, usize, &str)| {
            (place.0.as_str(), place.1) == (*asked_as, *name)
        };
        DIFFERENCES
            .iter()
            .position(|row| known(&row))
            .unwrap_or(usize::MAX)
    };
    let mut found: Vec<_> = found.collect();
    found.sort_by_key(|(place, _)| rank(place));
    found
}
