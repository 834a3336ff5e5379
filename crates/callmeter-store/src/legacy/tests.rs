//! The mapping against the contract, row by row.

use callmeter_core::{
    CallId, CallRecord, Cost, ErrorKind, Flags, Layer, Meta, MetaPolicy, PicoUsd, Status,
    Timestamp, UnpricedReason, Usage,
};
use callmeter_price::{Book, ProviderKinds};
use callmeter_testkit::records::records;
use proptest::prelude::*;

use super::*;

/// What Python computed: `round((in * a + out * b) / 1e6, 6)`, at most 9999.999999.
const FIGURES: &str = include_str!("../../../callmeter-price/tests/golden/legacy.csv");

fn call() -> CallRecord {
    let at: Timestamp = "2026-03-24T10:00:00.000250Z".parse().unwrap();
    CallRecord::new(CallId::new(at, 7), Layer::Guard, 0)
}

fn row_of(record: &CallRecord) -> LegacyRow {
    let cost = Book::legacy().price(record, &ProviderKinds::default()).cost;
    LegacyRow::of(record, &cost, &LegacyWidths::default())
}

/// The row as the table would give it back.
fn stored(row: &LegacyRow, known_id: Option<CallId>) -> StoredLegacyRow {
    StoredLegacyRow {
        row_id: "17".to_owned(),
        at: row.ended_at,
        caller: Some(row.caller.clone()),
        provider: Some(row.provider.clone()),
        model: Some(row.model.clone()),
        input_tokens: i64::try_from(row.input_tokens).ok(),
        output_tokens: i64::try_from(row.output_tokens).ok(),
        duration_ms: i64::try_from(row.duration_ms).ok(),
        status: Some(row.status.clone()),
        fallback_to: row.fallback_to.clone(),
        cost_usd: row.cost_usd.map(|usd| usd.to_string()),
        cache_hit: Some(row.cache_hit),
        rag_hit: Some(row.rag_hit),
        request_id: row.request_id.clone(),
        error: row.error.clone(),
        meta: Some(row.meta.clone()),
        known_id,
    }
}

#[test]
fn every_figure_of_the_contracts_table_stands_in_the_column_as_python_put_it_there() {
    let mut rows = 0;
    for line in FIGURES.lines().skip(1) {
        let [model, input, output, cost] = line.split(',').collect::<Vec<_>>()[..] else {
            panic!()
        };
        let mut record = call();
        record.model = Some(model.to_owned());
        record.usage = Usage::of(
            input.parse::<u64>().unwrap(),
            output.parse::<u64>().unwrap(),
        );
        let row = row_of(&record);
        assert_eq!(row.cost_usd, Some(cost.parse().unwrap()), "{line}");
        let held = input.parse::<u64>().unwrap().min(2_147_483_647);
        assert_eq!(row.input_tokens, held, "{line}");
        rows += 1;
    }
    assert!(rows > 600);
}

#[test]
fn a_full_call_fills_the_contracts_columns() {
    let mut record = call();
    record.caller = Some("hermes_analyst".to_owned());
    record.provider = Some("gcp_ollama".to_owned());
    record.model_requested = Some("hermes3:latest".to_owned());
    record.usage = Usage::of(1_200_u64, 340_u64);
    record.duration_us = Some(1_999_999);
    record.status = Some(Status::Fallback);
    record.fallback_to = Some("gemini_backup".to_owned());
    record.cache_hit = Some(true);
    record.request_id = Some("req-1".to_owned());
    record.error = Some("TimeoutError: größer".to_owned());
    let mut meta = Meta::default();
    meta.insert("größe", "weiß ✓", &MetaPolicy::default())
        .unwrap();
    meta.insert("prompt_hash", "ba7816bf8f01", &MetaPolicy::default())
        .unwrap();
    record.meta = Some(meta);
    assert_eq!(
        row_of(&record),
        LegacyRow {
            caller: "hermes_analyst".to_owned(),
            provider: "gcp_ollama".to_owned(),
            model: "hermes3:latest".to_owned(),
            input_tokens: 1_200,
            output_tokens: 340,
            duration_ms: 1_999,
            status: "fallback".to_owned(),
            fallback_to: Some("gemini_backup".to_owned()),
            cost_usd: Some(PicoUsd::ZERO),
            cache_hit: true,
            rag_hit: false,
            request_id: Some("req-1".to_owned()),
            error: Some("TimeoutError: größer".to_owned()),
            meta: r#"{"größe":"weiß ✓","prompt_hash":"ba7816bf8f01"}"#.to_owned(),
            ended_at: "2026-03-24T10:00:02.000249Z".parse().unwrap(),
        }
    );
}

#[test]
fn a_call_of_which_nothing_is_known_has_the_contracts_defaults() {
    let row = row_of(&call());
    assert_eq!(
        (
            row.caller.as_str(),
            row.provider.as_str(),
            row.model.as_str(),
            row.status.as_str()
        ),
        ("unknown", "unknown", "unknown", "ok")
    );
    assert_eq!(
        (row.input_tokens, row.output_tokens, row.duration_ms),
        (0, 0, 0)
    );
    assert_eq!((row.cache_hit, row.rag_hit), (false, false));
    assert_eq!(
        (&row.fallback_to, &row.request_id, &row.error),
        (&None, &None, &None)
    );
    assert_eq!(
        (row.cost_usd, row.meta.as_str()),
        (Some(PicoUsd::ZERO), "{}")
    );
    // Empty texts are none, as for the module.
    let mut empty = call();
    empty.caller = Some(String::new());
    empty.fallback_to = Some(String::new());
    assert_eq!(
        (row_of(&empty).caller, row_of(&empty).fallback_to),
        ("unknown".to_owned(), None)
    );
}

#[test]
fn texts_are_cut_at_characters_not_at_bytes() {
    let long = "ü".repeat(3_000);
    let mut record = call();
    record.caller = Some(long.clone());
    record.provider = Some(long.clone());
    record.model = Some(long.clone());
    record.fallback_to = Some(long.clone());
    record.status = Some(Status::from_word(&long));
    record.error = Some(long);
    let row = row_of(&record);
    let chars = |text: &str| text.chars().count();
    assert_eq!(
        [&row.caller, &row.provider, &row.model, &row.status].map(|text| chars(text)),
        [64, 32, 128, 16]
    );
    assert_eq!(row.fallback_to.as_deref().map(chars), Some(64));
    assert_eq!(row.error.as_deref().map(chars), Some(2_000));
    let widths = LegacyWidths {
        caller: 10,
        ..LegacyWidths::default()
    };
    assert_eq!(
        chars(&LegacyRow::of(&record, &Cost::default(), &widths).caller),
        10
    );
}

#[test]
fn words_that_the_modules_reports_do_not_know_are_errors_with_the_truth_in_meta() {
    for (status, column, mark) in [
        ("ok", "ok", None),
        ("error", "error", None),
        ("fallback", "fallback", None),
        ("cached", "cached", None),
        ("cancelled", "error", Some("cancelled")),
        ("aborted", "error", Some("aborted")),
    ] {
        let mut record = call();
        record.status = Some(Status::from_word(status));
        let row = row_of(&record);
        assert_eq!(row.status, column);
        let expected = mark.map_or("{}".to_owned(), |word| {
            format!(r#"{{"callmeter.status":"{word}"}}"#)
        });
        assert_eq!(row.meta, expected);
        let back = stored(&row, None).to_call().record;
        assert_eq!(back.status, Some(Status::from_word(status)), "{status}");
        assert_eq!(back.meta, None);
    }
    let mut row = row_of(&call());
    row.status = "od\"d".to_owned();
    row.replace_status("error");
    assert_eq!(row.meta, r#"{"callmeter.status":"od\"d"}"#);
}

#[test]
fn a_call_without_a_price_is_zero_with_a_mark_or_null_where_the_column_takes_it() {
    let mut record = call();
    record.flags.insert(Flags::COUNTED_ELSEWHERE);
    let cost = Book::legacy()
        .price(&record, &ProviderKinds::default())
        .cost;
    let row = LegacyRow::of(&record, &cost, &LegacyWidths::default());
    assert_eq!(row.cost_usd, Some(PicoUsd::ZERO));
    assert_eq!(row.meta, r#"{"callmeter.unpriced":"counted_elsewhere"}"#);
    let back = stored(&row, None).to_call().cost;
    assert_eq!(
        (back.cost, back.unpriced_reason),
        (None, Some(UnpricedReason::CountedElsewhere))
    );
    let nullable = LegacyWidths {
        null_cost: true,
        ..LegacyWidths::default()
    };
    assert_eq!(LegacyRow::of(&record, &cost, &nullable).cost_usd, None);
}

#[test]
fn numbers_beyond_an_integer_come_back_whole() {
    let mut record = call();
    record.usage = Usage::of(3_000_000_000_u64, 1_u64);
    record.duration_us = Some(3_000_000_000_000);
    let row = row_of(&record);
    assert_eq!((row.input_tokens, row.output_tokens), (2_147_483_647, 1));
    assert_eq!(row.duration_ms, 2_147_483_647);
    let back = stored(&row, None).to_call().record;
    assert_eq!(back.usage.input_tokens, Some(3_000_000_000));
    assert_eq!(back.usage.output_tokens, Some(1));
    assert_eq!(back.duration_us, Some(3_000_000_000_000));
    assert_eq!(back.meta, None);
}

#[test]
fn amounts_are_rounded_to_the_column_and_end_at_its_ceiling() {
    let mut cost = Cost::default();
    let in_digits = |cost: &Cost, cost_digits| {
        let widths = LegacyWidths {
            cost_digits,
            ..LegacyWidths::default()
        };
        LegacyRow::of(&call(), cost, &widths)
            .cost_usd
            .unwrap()
            .to_string()
    };
    for (pico, contract, cents) in [
        (499_999, "0", "0"),
        (500_000, "0.000001", "0"),
        (1_234_567_890_123, "1.234568", "1.23"),
        (9_000_000_000_000_000_000, "9999.999999", "999999.99"),
    ] {
        cost.cost = Some(PicoUsd::from_pico(pico));
        assert_eq!(in_digits(&cost, (4, 6)), contract);
        assert_eq!(in_digits(&cost, (6, 2)), cents);
    }
    assert_eq!(in_digits(&cost, (8, 12)), "9000000");
}

#[test]
fn where_the_policy_keeps_no_text_an_error_says_its_kind() {
    let mut record = call();
    record.status = Some(Status::Error);
    record.error_kind = Some(ErrorKind::RateLimit);
    assert_eq!(row_of(&record).error.as_deref(), Some("rate_limit"));
    record.error_detail = Some("insufficient_quota".to_owned());
    record.http_status = Some(429);
    assert_eq!(
        row_of(&record).error.as_deref(),
        Some("rate_limit: insufficient_quota (HTTP 429)")
    );
}

#[test]
fn a_row_of_the_replaced_module_is_the_same_call_whoever_reads_it() {
    let row = stored(&row_of(&call()), None);
    let call = row.to_call();
    assert_eq!(call.record.call_id, row.to_record().call_id);
    assert_eq!(call.record.source_id.as_deref(), Some("ai_calls/17"));
    let mut other = row.clone();
    other.row_id = "18".to_owned();
    assert_ne!(other.call_id(), row.call_id());
    // Both counts 0 is how the module wrote that it had seen none.
    assert!(call.record.usage.is_empty());
}

#[test]
fn what_enters_another_table_brings_no_text_of_an_error_and_no_secret() {
    let mut row = stored(&row_of(&call()), None);
    row.status = Some("error".to_owned());
    row.error = Some("ValueError: MARKER".to_owned());
    row.meta = Some(r#"{"prompt":"MARKER","api_key":"MARKER","size":3}"#.to_owned());
    row.cost_usd = Some("0.123456".to_owned());
    assert_eq!(
        row.to_call().record.error.as_deref(),
        Some("ValueError: MARKER")
    );
    let record = row.to_record();
    assert!(!format!("{record:?}").contains("MARKER"));
    assert_eq!(record.meta.unwrap().get("size"), Some(&3.into()));
    assert_eq!(record.reported_cost, Some("0.123456".parse().unwrap()));
}

proptest! {
    #[test]
    fn a_call_that_callmeter_wrote_comes_back_as_far_as_the_columns_go(record in records(50)) {
        let row = row_of(&record);
        let back = stored(&row, Some(record.call_id)).to_call();
        prop_assert_eq!(back.record.call_id, record.call_id);
        prop_assert_eq!(back.record.caller_or_unknown(), record.caller_or_unknown());
        prop_assert_eq!(back.record.model_or_requested(), record.model_or_requested());
        prop_assert_eq!(back.record.status_or_ok(), record.status_or_ok());
        prop_assert_eq!(back.record.duration_us.unwrap_or(0), record.duration_us.unwrap_or(0));
        prop_assert_eq!(
            back.record.usage.input_tokens.unwrap_or(0),
            record.usage.input_tokens.unwrap_or(0)
        );
        let marked = row.meta.contains(UNPRICED_MARK);
        prop_assert_eq!(back.cost.cost, row.cost_usd.filter(|_| !marked));
        prop_assert_eq!(row.replace_status_keeps_json(), true);
    }
}

impl LegacyRow {
    /// Whether `meta` is still an object after another mark.
    fn replace_status_keeps_json(&self) -> bool {
        let mut row = self.clone();
        row.replace_status("error");
        Meta::from_json_text(&row.meta).is_some()
    }
}
