//! `cargo xtask prices`: makes the built-in market book from the merged price lists.
//!
//! Reads `crates/callmeter-price/data/sources.jsonl.gz` (where it comes from: the README beside it) and
//! writes `market.json`. The same input gives the same bytes. Left out: records whose sources disagree
//! without a majority, sellers that callmeter's users do not call, and prices that are none.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// The day of the merged lists.
const VERSION: &str = "2026-11-23";

/// Sellers in the book, by the lists' names.
const SELLERS: &[&str] = &[
    "openai",
    "anthropic",
    "google",
    "vertex",
    "bedrock",
    "azure",
    "azure_ai",
    "mistral",
    "deepseek",
    "xai",
    "cohere",
    "groq",
    "perplexity",
    "moonshot",
    "zai",
    "voyage",
    "ai21",
    "cerebras",
    "amazon_nova",
    "together",
    "openrouter",
    "meta",
    "minimax",
    "vercel",
];

/// Sellers that date their snapshots (pricing rule R-21).
const DATED: &[&str] = &["openai", "azure", "anthropic", "vertex"];

/// Writes the market book.
pub(crate) fn build(root: &Path) -> Result<()> {
    let data = root.join("crates/callmeter-price/data");
    let packed = std::fs::read(data.join("sources.jsonl.gz")).context("cannot read the sources")?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut text)?;
    let mut models = Vec::new();
    let mut names: std::collections::BTreeSet<(String, String)> = Default::default();
    let records: Vec<Value> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context("bad source line")?;
    let is_kept = |record: &Value| {
        SELLERS.contains(&record["provider"].as_str().unwrap_or_default())
            && record.get("disputed").is_none()
            // A resource prefix is no part of an id; one list keeps it.
            && !record["model"].as_str().unwrap_or_default().starts_with("models/")
    };
    for record in records.iter().filter(|record| is_kept(record)) {
        names.insert(key(record, record["model"].as_str().unwrap_or_default()));
    }
    for record in records.iter().filter(|record| is_kept(record)) {
        let periods: Vec<Value> = record["periods"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(period)
            .collect();
        if periods.is_empty() {
            continue;
        }
        let aliases: Vec<&str> = record["ids"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .filter(|id| !id.starts_with("models/") && names.insert(key(record, id)))
            .collect();
        let mut model = Map::new();
        model.insert("provider".into(), record["provider"].clone());
        model.insert("model".into(), record["model"].clone());
        if !aliases.is_empty() {
            model.insert("aliases".into(), json!(aliases));
        }
        if DATED.contains(&record["provider"].as_str().unwrap_or_default()) {
            model.insert("dated".into(), json!(true));
        }
        let regions = regions(record);
        if !regions.is_empty() {
            model.insert("regions".into(), Value::Object(regions));
        }
        model.insert("periods".into(), Value::Array(periods));
        models.push(Value::Object(model));
    }
    let lines: Vec<String> = models.iter().map(Value::to_string).collect();
    let book = format!(
        "{{\"name\":\"market\",\"version\":\"{VERSION}\",\"models\":[\n{}\n]}}\n",
        lines.join(",\n")
    );
    std::fs::write(data.join("market.json"), book).context("cannot write market.json")
}

fn key(record: &Value, name: &str) -> (String, String) {
    (
        record["provider"].as_str().unwrap_or_default().to_owned(),
        name.to_owned(),
    )
}

fn period(source: &Value) -> Option<Value> {
    if source.get("disputed").is_some() {
        return None;
    }
    let mut period = Map::new();
    for bound in ["from", "until"] {
        if let Some(moment) = source[bound].as_str() {
            period.insert(bound.into(), json!(moment));
        }
    }
    period.insert("rates".into(), rates(&source["prices"])?);
    let tiers = tiers(source);
    if !tiers.is_empty() {
        period.insert("tiers".into(), Value::Array(tiers));
    }
    let mut variants = Map::new();
    for (name, variant) in source["variants"].as_object().into_iter().flatten() {
        // "thinking" is a mode of answering, not a tier that a request asks for.
        if name == "thinking" {
            continue;
        }
        let mut made = Map::new();
        made.insert(
            "rates".into(),
            rates(&variant["prices"]).unwrap_or_else(|| json!({})),
        );
        let tiers = self::tiers(variant);
        if !tiers.is_empty() {
            made.insert("tiers".into(), Value::Array(tiers));
        }
        variants.insert(name.clone(), Value::Object(made));
    }
    if !variants.is_empty() {
        period.insert("variants".into(), Value::Object(variants));
    }
    let windows: Vec<Value> = source["time_of_day"]["windows"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|window| {
            let mut made = window.clone();
            for bound in ["from", "until"] {
                if let Some(moment) = source["time_of_day"][bound].as_str() {
                    made[bound] = json!(moment);
                }
            }
            made
        })
        .collect();
    if !windows.is_empty() {
        period.insert("windows".into(), Value::Array(windows));
    }
    Some(Value::Object(period))
}

/// The rates that a book knows; a cached read above the input price is another thing's price.
fn rates(source: &Value) -> Option<Value> {
    let mut rates = source.as_object()?.clone();
    let number = |name: &str| rates.get(name)?.as_str()?.parse::<f64>().ok();
    if let (Some(read), Some(input)) = (number("cache_read"), number("input"))
        && read > input
    {
        rates.remove("cache_read");
    }
    (!rates.is_empty()).then_some(Value::Object(rates))
}

fn tiers(source: &Value) -> Vec<Value> {
    let mut tiers: Vec<Value> = source["tiers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|tier| {
            Some(json!({ "over": tier["over_input_tokens"].as_u64()?, "rates": rates(&tier["prices"])? }))
        })
        .collect();
    tiers.sort_by_key(|tier| tier["over"].as_u64());
    tiers
}

fn regions(record: &Value) -> Map<String, Value> {
    let mut regions = Map::new();
    let extra = &record["extra"];
    for region in ["us", "eu"] {
        let own = &extra["provider_specific_entry"][region];
        let uplift = &extra[format!("regional_processing_uplift_multiplier_{region}")];
        for factor in [own, uplift] {
            if factor.is_number() {
                regions.insert(region.into(), json!(factor.to_string()));
            }
        }
    }
    regions
}
