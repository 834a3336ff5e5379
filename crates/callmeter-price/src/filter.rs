//! The pure part of `callmeter price --jsonl`: one line in, one line out. A stable interface.
//!
//! ```text
//! in   {"provider", "model", "at", "usage": {names of the record}, "service_tier"?, "region"?}
//! out  {"cost_usd": "0.00123" | null, "price_id", "match", "reason"}
//! bad  {"error": "…"}
//! ```

use std::collections::BTreeMap;

use callmeter_core::{CallId, CallRecord, Layer, MAX_COUNT, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Book, ProviderKinds};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    provider: String,
    model: String,
    at: String,
    #[serde(default)]
    usage: BTreeMap<String, Value>,
    #[serde(default)]
    service_tier: Option<String>,
    #[serde(default)]
    region: Option<String>,
}

/// Prices one line.
///
/// # Errors
/// The line `{"error": …}`, when the input is no such object or a count is no count.
///
/// ```
/// use callmeter_price::{Book, filter::price_line};
/// let line = r#"{"provider":"anthropic","model":"claude-sonnet-4-6","at":"2026-11-01T00:00:00Z",
///     "usage":{"input_tokens":1000,"output_tokens":100}}"#;
/// let out = price_line(&Book::market(), line).unwrap();
/// assert!(out.contains(r#""cost_usd":"0.0045""#), "{out}");
/// ```
pub fn price_line(book: &Book, line: &str) -> Result<String, String> {
    let record = read(line).map_err(|message| json!({ "error": message }).to_string())?;
    let priced = book.price(&record, &ProviderKinds::default());
    let out = json!({
        "cost_usd": priced.cost.cost.map(|cost| cost.to_string()),
        "price_id": priced.cost.price_id.as_deref(),
        "match": priced.cost.price_match.map(|how| how.as_str()),
        "reason": priced.reason(),
    });
    Ok(out.to_string())
}

fn read(line: &str) -> Result<CallRecord, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| {
        // serde_json quotes at most the offending token; a line is the user's own pricing question.
        format!("not a pricing line: {error}")
    })?;
    let at: Timestamp = line
        .at
        .parse()
        .map_err(|error| format!("'at' is {error}"))?;
    let mut record = CallRecord::new(CallId::new(at, 0), Layer::Import, 0);
    record.provider = Some(line.provider);
    record.model = Some(line.model);
    record.service_tier = line.service_tier;
    record.region = line.region;
    for (name, value) in &line.usage {
        if name == "usage_extra" {
            let Some(extra) = value.as_object() else {
                if value.is_null() {
                    continue;
                }
                return Err("usage_extra is no object of counts".to_owned());
            };
            let mut counts = BTreeMap::new();
            for (unit, count) in extra {
                if let Some(count) = count_of(unit, count)? {
                    counts.insert(unit.clone(), count);
                }
            }
            record.usage.usage_extra = Some(counts);
            continue;
        }
        let usage = &mut record.usage;
        let slot = match name.as_str() {
            "input_tokens" => &mut usage.input_tokens,
            "output_tokens" => &mut usage.output_tokens,
            "cache_read_tokens" => &mut usage.cache_read_tokens,
            "cache_write_tokens" => &mut usage.cache_write_tokens,
            "cache_write_5m_tokens" => &mut usage.cache_write_5m_tokens,
            "cache_write_1h_tokens" => &mut usage.cache_write_1h_tokens,
            "cache_write_24h_tokens" => &mut usage.cache_write_24h_tokens,
            "reasoning_tokens" => &mut usage.reasoning_tokens,
            "audio_input_tokens" => &mut usage.audio_input_tokens,
            "audio_output_tokens" => &mut usage.audio_output_tokens,
            "image_input_tokens" => &mut usage.image_input_tokens,
            "image_output_tokens" => &mut usage.image_output_tokens,
            "video_input_tokens" => &mut usage.video_input_tokens,
            "usage_source" | "usage_rule" => continue,
            other => return Err(format!("usage has no field '{other}'")),
        };
        *slot = count_of(name, value)?;
    }
    Ok(record)
}

fn count_of(name: &str, value: &Value) -> Result<Option<u64>, String> {
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => number
            .as_u64()
            .filter(|count| *count <= MAX_COUNT)
            .map(Some)
            .ok_or_else(|| {
                format!("'{name}' is no count: expected a whole number from 0 to 10^12")
            }),
        _ => Err(format!(
            "'{name}' is no count: expected a whole number or null"
        )),
    }
}
