//! Every recorded exchange gives the figures that were worked out for it, in every cutting.
//!
//! `fixtures/README.md` says where the recordings come from and what their fields mean. Where an
//! expectation is wrong by the provider's document, [`EXCEPTIONS`] names it with the reason and with
//! what the reader says instead; an exception that no longer differs fails the test.

use std::collections::BTreeSet;

use callmeter_wire::inspect;
use serde_json::{Map, Value};

use crate::support::{exchanges, text};

const COMPLETE_HAS_ID: &str = "the legacy completion's `id` is a documented field of the body";
const BODY_FIRST: &str =
    "Titan's body has `inputTextTokenCount`: a vendor's own count comes before the header";
const NOT_FOUND: &str =
    "`model_not_found` is not_found whatever the status: Responses sends it with 400";

/// Exchange, field, what the reader says, why.
const EXCEPTIONS: &[(&str, &str, &str, &str)] = &[
    (
        "x7277f4526b678eb3",
        "response_id",
        "\"compl_01UXLihn1JiHdBhcGahQv7pe\"",
        COMPLETE_HAS_ID,
    ),
    (
        "xab23fa4251f643fd",
        "response_id",
        "\"compl_01N6jAWfEZtyE338jUQFx9LC\"",
        COMPLETE_HAS_ID,
    ),
    (
        "x1ce560f316a8faa8",
        "response_id",
        "\"compl_015dfgyiT7JLszAiMbGMtgeG\"",
        COMPLETE_HAS_ID,
    ),
    ("x048c803d05e6a986", "usage_source", "\"body\"", BODY_FIRST),
    ("x07557f617c46dc95", "usage_source", "\"body\"", BODY_FIRST),
    ("x0a2fc7553cd2aeb2", "usage_source", "\"body\"", BODY_FIRST),
    ("x2082271bab0e2c51", "usage_source", "\"body\"", BODY_FIRST),
    ("x31d206301f26d3c5", "usage_source", "\"body\"", BODY_FIRST),
    ("x8ee4287f1e888080", "usage_source", "\"body\"", BODY_FIRST),
    (
        "xfce722de0cfddb12",
        "input_tokens",
        "73",
        "Cohere's `response.meta.tokens` is what was read; the metrics repeat `billed_units`",
    ),
    (
        "xfce722de0cfddb12",
        "output_tokens",
        "8",
        "Cohere's `response.meta.tokens` is what was written; the metrics repeat `billed_units`",
    ),
    (
        "xfce722de0cfddb12",
        "response_id",
        "\"379ed018/8a869d93-5192-44c8-a3a9-4c8cec575223\"",
        "`response.response_id` of Cohere's stream-end is the documented id",
    ),
    (
        "x7bc73df46957bc43",
        "response_id",
        "\"1ce1192a-de25-4997-b880-9ff96d6ba2b4\"",
        "`response.id` of the generation's last line is its documented id",
    ),
    (
        "x48f7c7623eb5d095",
        "error_kind",
        "\"not_found\"",
        NOT_FOUND,
    ),
    (
        "x8cf5eaf5c46c305c",
        "error_kind",
        "\"not_found\"",
        NOT_FOUND,
    ),
    (
        "xac76fb885895a89b",
        "error_kind",
        "\"not_found\"",
        NOT_FOUND,
    ),
    (
        "x2634829eb3f234e9",
        "response_id",
        "\"gen-rerank-1786406983-r7Duwy1aOVyb5oX9zh66\"",
        "OpenRouter's reranking has a documented `id`",
    ),
];

fn differences(exchange: &Value, read: &Map<String, Value>) -> Vec<(String, String)> {
    let undetermined = exchange["undetermined"].as_object().unwrap();
    if undetermined.contains_key("*") {
        return Vec::new();
    }
    let host_known = !text(exchange, "/request/host").is_empty();
    exchange["expected"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(field, _)| !undetermined.contains_key(*field))
        .filter(|(field, _)| host_known || *field != "provider")
        .filter(|(field, expected)| read.get(*field) != Some(expected))
        .map(|(field, _)| {
            (
                field.clone(),
                read.get(field).unwrap_or(&Value::Null).to_string(),
            )
        })
        .collect()
}

#[test]
fn every_exchange_gives_its_expected_figures() {
    let mut unexplained = Vec::new();
    let mut used = BTreeSet::new();
    for line in exchanges() {
        let exchange: Value = serde_json::from_str(&line).unwrap();
        let read = inspect(&line, None).unwrap().to_json();
        for (field, said) in differences(&exchange, &read) {
            let id = text(&exchange, "/id");
            match EXCEPTIONS.iter().position(|(known, name, value, _)| {
                (*known, *name, *value) == (id, field.as_str(), said.as_str())
            }) {
                Some(at) => {
                    used.insert(at);
                }
                None => unexplained.push(format!("{id} {field} is {said}")),
            }
        }
    }
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
    assert_eq!(
        used.len(),
        EXCEPTIONS.len(),
        "an exception that does not differ"
    );
}

#[test]
fn the_same_bytes_one_at_a_time_give_the_same_reading() {
    for line in exchanges() {
        let whole = inspect(&line, None).unwrap();
        for chunk in [1, 7, 1_024] {
            assert_eq!(inspect(&line, Some(chunk)).unwrap(), whole, "{chunk}");
        }
    }
}

#[test]
fn a_row_takes_over_what_was_read() {
    use callmeter_core::{CallId, CallRecord, Layer, Timestamp};
    let line = exchanges()
        .into_iter()
        .find(|line| line.contains("\"x5eba502dec82edee\""))
        .unwrap();
    let inspection = inspect(&line, None).unwrap();
    let id = CallId::new(Timestamp::from_micros(0), 7);
    let mut record = CallRecord::new(id, Layer::Proxy, 0);
    inspection.facts.fill(&mut record);
    inspection.reading.fill(&mut record);
    assert_eq!(record.usage.input_tokens, Some(2_390));
    assert_eq!(record.provider.as_deref(), Some("anthropic"));
    assert_eq!(record.http_status, Some(200));
}
