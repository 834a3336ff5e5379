//! The pricing rules one by one, on the market book and through the filter that scripts use.

use callmeter_core::{CallId, CallRecord, CostSource, Flags, Layer, PicoUsd, Timestamp, Usage};
use callmeter_price::filter::price_line;
use callmeter_price::{Book, Priced, ProviderKinds};

/// (cost, match or reason) of one call on 2026-11-20.
fn line(provider: &str, model: &str, usage: &str) -> (String, String) {
    line_with(provider, model, usage, "2026-11-20T10:00:00Z", "")
}

fn line_with(provider: &str, model: &str, usage: &str, at: &str, more: &str) -> (String, String) {
    let text = format!(
        r#"{{"provider":"{provider}","model":"{model}","at":"{at}","usage":{{{usage}}}{more}}}"#
    );
    let out: serde_json::Value =
        serde_json::from_str(&price_line(&Book::market(), &text).unwrap()).unwrap();
    let cost = out["cost_usd"].as_str().unwrap_or("null").to_owned();
    let told = out["match"]
        .as_str()
        .or(out["reason"].as_str())
        .unwrap_or_default()
        .to_owned();
    let reason = out["reason"].as_str().unwrap_or(&told).to_owned();
    (cost.clone(), if cost == "null" { reason } else { told })
}

fn is(cost: &str, told: &str) -> (String, String) {
    (cost.to_owned(), told.to_owned())
}

const MILLION_EACH: &str = r#""input_tokens":1000000,"output_tokens":1000000"#;

#[test]
fn r1_r3_prices_are_those_of_the_lists_to_the_last_digit() {
    assert_eq!(
        line("anthropic", "claude-sonnet-4-6", MILLION_EACH),
        is("18", "exact")
    );
    assert_eq!(
        line("gemini", "gemini-2.5-flash", MILLION_EACH),
        is("2.8", "exact")
    );
    assert_eq!(
        line(
            "openai",
            "gpt-5-mini",
            r#""input_tokens":1,"output_tokens":0"#
        ),
        is("0.00000025", "exact")
    );
}

#[test]
fn r6_unknown_is_null_with_a_reason_and_zero_only_where_it_is_known() {
    assert_eq!(
        line("nobody", "m", MILLION_EACH),
        is("null", "unknown_provider")
    );
    assert_eq!(
        line("openai", "gpt-nonesuch", MILLION_EACH),
        is("null", "unknown_model")
    );
    assert_eq!(line("openai", "gpt-5-mini", ""), is("null", "no_usage"));
    assert_eq!(
        line(
            "openai",
            "gpt-5-mini",
            r#""input_tokens":0,"output_tokens":0"#
        ),
        is("0", "exact")
    );
    assert_eq!(
        line(
            "anthropic",
            "claude-sonnet-4-6",
            r#""input_tokens":9,"audio_input_tokens":9"#
        ),
        is("null", "missing_rate:audio_in")
    );
}

#[test]
fn r8_cached_tokens_are_charged_once() {
    let usage = r#""input_tokens":1000000,"output_tokens":0,"cache_read_tokens":900000"#;
    assert_eq!(
        line("anthropic", "claude-sonnet-4-6", usage),
        is("0.57", "exact")
    );
}

#[test]
fn r8_parts_beyond_their_total_are_capped_and_marked() {
    let mut record = CallRecord::new(
        CallId::new(Timestamp::from_micros(1_793_000_000_000_000), 1),
        Layer::Guard,
        0,
    );
    record.provider = Some("anthropic".into());
    record.model = Some("claude-sonnet-4-6".into());
    record.usage = Usage::of(1_000, 0);
    record.usage.cache_read_tokens = Some(5_000);
    let priced = market(&record);
    assert_eq!(priced.cost.cost, Some(PicoUsd::from_pico(300_000_000)));
    assert!(priced.flags.contains(Flags::USAGE_IMPLAUSIBLE));
}

fn market(record: &CallRecord) -> Priced {
    Book::market().price(record, &ProviderKinds::default())
}

#[test]
fn r9_writes_of_unknown_lifetime_are_of_five_minutes() {
    let unknown = line(
        "anthropic",
        "claude-sonnet-4-6",
        r#""input_tokens":1000000,"cache_write_tokens":1000000"#,
    );
    assert_eq!(unknown, is("3.75", "exact"));
    let split =
        r#""input_tokens":1000000,"cache_write_tokens":1000000,"cache_write_1h_tokens":400000"#;
    assert_eq!(
        line("anthropic", "claude-sonnet-4-6", split),
        is("4.65", "exact")
    );
}

#[test]
fn r10_writes_fall_back_to_input_only_where_the_provider_charges_them_so() {
    let usage = r#""input_tokens":1000000,"cache_write_tokens":1000000"#;
    assert_eq!(line("openai", "gpt-5-mini", usage), is("0.25", "exact"));
    assert_eq!(
        line("groq", "llama-3.1-8b-instant", usage),
        is("null", "missing_rate:cache_write_5m")
    );
}

#[test]
fn r13_the_price_is_that_of_the_moment_the_call_finished() {
    let usage = r#""input_tokens":100000,"output_tokens":0,"cache_read_tokens":100000"#;
    let at = |at| line_with("gemini", "gemini-2.5-pro", usage, at, "");
    assert_eq!(at("2026-04-20T03:17:44Z"), is("0.031", "exact"));
    assert_eq!(at("2026-04-20T03:17:45Z"), is("0.0125", "exact"));
}

#[test]
fn r14_the_tier_is_chosen_by_all_input_strictly_above_the_threshold() {
    let at = |input: u64| {
        line(
            "gemini",
            "gemini-2.5-pro",
            &format!(r#""input_tokens":{input},"output_tokens":0,"cache_read_tokens":0"#),
        )
    };
    assert_eq!(at(200_000), is("0.25", "exact"));
    assert_eq!(at(200_001), is("0.5000025", "exact"));
}

#[test]
fn r15_a_service_tier_has_its_own_rates_and_an_unknown_one_no_price() {
    let tier = |tier: &str| {
        line_with(
            "openai",
            "gpt-5-mini",
            MILLION_EACH,
            "2026-11-20",
            &format!(r#","service_tier":"{tier}""#),
        )
    };
    assert_eq!(tier("default"), is("2.25", "exact"));
    assert_eq!(tier("flex"), is("1.125", "exact"));
    assert_eq!(tier("batch"), is("1.125", "exact"));
    assert_eq!(tier("platinum"), is("null", "missing_rate:tier"));
}

#[test]
fn r16_time_of_day_and_region_are_factors() {
    let at = |at| {
        line_with(
            "deepseek",
            "deepseek-v4-pro",
            r#""input_tokens":1000000,"output_tokens":0"#,
            at,
            "",
        )
        .0
    };
    let (peak, off): (PicoUsd, PicoUsd) = (
        at("2026-11-20T02:00:00Z").parse().unwrap(),
        at("2026-11-20T05:00:00Z").parse().unwrap(),
    );
    assert_eq!(peak.as_pico(), 2 * off.as_pico());
    let sunday: PicoUsd = at("2026-11-22T02:00:00Z").parse().unwrap();
    assert_eq!(sunday, off);
    let us = line_with(
        "anthropic",
        "claude-sonnet-4-6",
        MILLION_EACH,
        "2026-11-20",
        r#","region":"us""#,
    );
    assert_eq!(us, is("19.8", "exact"));
}

#[test]
fn r17_searches_are_fees() {
    let usage = r#""input_tokens":0,"output_tokens":0,"usage_extra":{"web_search":3}"#;
    assert_eq!(
        line("anthropic", "claude-sonnet-4-6", usage),
        is("0.03", "exact")
    );
}

#[test]
fn r17_units_that_are_charged_by_themselves_need_no_tokens() {
    let unit = |provider, model, extra: &str| {
        line(provider, model, &format!(r#""usage_extra":{{{extra}}}"#))
    };
    assert_eq!(
        unit("cohere", "rerank-v3.5", r#""search_units":2"#),
        is("0.004", "exact")
    );
    assert_eq!(
        unit("openai", "whisper-1", r#""seconds_milli":6500"#),
        is("0.00065", "exact")
    );
    assert_eq!(
        unit("openai", "gpt-5-mini", r#""seconds_milli":6500"#),
        is("null", "missing_rate:seconds")
    );
    assert_eq!(
        unit("openai", "gpt-5-mini", r#""page":0"#),
        is("null", "no_usage")
    );
}

#[test]
fn r22_a_route_is_priced_by_the_id_that_was_asked_for_where_the_answer_has_the_maker_s() {
    let priced = |provider: &str, requested: &str, answered: &str| {
        let at = "2026-11-20T10:00:00Z".parse().unwrap();
        let mut record = CallRecord::new(CallId::new(at, 1), Layer::Guard, 0);
        record.provider = Some(provider.into());
        record.model_requested = Some(requested.into());
        record.model = Some(answered.into());
        record.usage = Usage::of(1_000_000, 0);
        market(&record).cost.price_id
    };
    assert!(priced("aws_bedrock", "anthropic.claude-v2", "claude-2.0").is_some());
    assert!(
        priced(
            "vertex_ai",
            "claude-3-7-sonnet@20250219",
            "claude-3-7-sonnet-20250219"
        )
        .is_some()
    );
    assert_eq!(priced("openai", "gpt-5-mini", "a-model-of-tomorrow"), None);
}

#[test]
fn r18_the_provider_s_own_figure_counts_and_both_are_kept() {
    let mut record = CallRecord::new(
        CallId::new(Timestamp::from_micros(1_793_000_000_000_000), 1),
        Layer::Guard,
        0,
    );
    record.provider = Some("openrouter".into());
    record.model = Some("anthropic/claude-sonnet-4.6".into());
    record.usage = Usage::of(100_000, 0);
    record.reported_cost = Some("0.29".parse().unwrap());
    let cost = market(&record).cost;
    assert_eq!(cost.cost, record.reported_cost);
    assert_eq!(cost.cost_source, Some(CostSource::Provider));
    assert_eq!(cost.computed_cost, Some("0.3".parse().unwrap()));
    record.reported_cost = Some(PicoUsd::ZERO);
    assert_eq!(market(&record).cost.cost, Some("0.3".parse().unwrap()));
}

#[test]
fn r19_r21_names_match_exactly_by_alias_normalised_or_as_a_snapshot() {
    let told = |provider, model| line(provider, model, MILLION_EACH).1;
    assert_eq!(told("openai", "gpt-5-mini"), "exact");
    assert_eq!(told("openai", "gpt-5-mini-2025-08-07"), "alias");
    assert_eq!(told("openai", " GPT-5-Mini "), "normalised");
    assert_eq!(told("gemini", "models/gemini-2.5-pro"), "normalised");
    assert_eq!(
        told(
            "vertex_ai",
            "projects/p/locations/l/publishers/google/models/gemini-2.5-pro"
        ),
        "normalised"
    );
    assert_eq!(told("anthropic", "claude-sonnet-4-6-20260131"), "snapshot");
    for near in [
        "gpt-5-min",
        "gpt-5-mini-x",
        "gpt-5-mini-2025-02-30",
        "gpt-5-mini-0807",
        "xgpt-5-mini",
        "gpt",
    ] {
        assert_eq!(told("openai", near), "unknown_model", "{near}");
    }
    assert_eq!(told("gemini", "gemini-2.5-pro-20260131"), "unknown_model");
}

#[test]
fn r21_a_snapshot_with_its_own_price_keeps_it() {
    assert_eq!(line("openai", "gpt-4o-2024-05-13", MILLION_EACH).0, "20");
    assert_eq!(line("openai", "gpt-4o", MILLION_EACH).0, "12.5");
}

#[test]
fn r22_a_model_under_a_seller_that_does_not_sell_it_is_unpriced() {
    assert_eq!(
        line("openai", "claude-sonnet-4-6", MILLION_EACH),
        is("null", "unknown_model")
    );
    assert_eq!(
        line("azure_openai", "my-deployment", MILLION_EACH),
        is("null", "unknown_model")
    );
}

#[test]
fn r23_self_hosted_models_cost_nothing_but_hosted_tags_do() {
    assert_eq!(line("ollama", "llama3.1:8b", MILLION_EACH), is("0", "rule"));
    assert_eq!(
        line("ollama", "gpt-oss:120b-cloud", MILLION_EACH),
        is("null", "unknown_model")
    );
    let kinds = ProviderKinds::new([("gcp_ollama".to_owned(), "ollama".to_owned())]);
    let mut record = CallRecord::new(CallId::new(Timestamp::EPOCH, 1), Layer::Guard, 0);
    record.provider = Some("gcp_ollama".into());
    record.model = Some("hermes3:latest".into());
    record.usage = Usage::of(5, 5);
    assert_eq!(
        Book::market().price(&record, &kinds).cost.cost,
        Some(PicoUsd::ZERO)
    );
    assert_eq!(market(&record).cost.cost, None);
}

#[test]
fn r24_a_fine_tuned_model_is_never_priced_as_its_base() {
    let base = line("openai", "gpt-4o-mini-2024-07-18", MILLION_EACH).0;
    let tuned = line(
        "openai",
        "ft:gpt-4o-mini-2024-07-18:acme:x:abc",
        MILLION_EACH,
    )
    .0;
    assert_ne!(tuned, base);
    assert_eq!(
        line("openai", "ft:gpt-nonesuch:acme:x:abc", MILLION_EACH),
        is("null", "unknown_model")
    );
}

#[test]
fn names_of_providers_are_taken_in_other_tools_spelling() {
    for name in ["google", "gcp.gemini", "GEMINI", "google-gla"] {
        assert_eq!(
            line(name, "gemini-2.5-flash", MILLION_EACH).0,
            "2.8",
            "{name}"
        );
    }
}

#[test]
fn a_bad_line_says_what_is_wrong() {
    let book = Book::market();
    for (text, says) in [
        ("", "not a pricing line"),
        ("[]", "not a pricing line"),
        (r#"{"provider":"openai"}"#, "missing field"),
        (
            r#"{"provider":"o","model":"m","at":"soon","usage":{}}"#,
            "'at' is not a date",
        ),
        (
            r#"{"provider":"o","model":"m","at":"2026-01-01","usage":{"input_tokens":-1}}"#,
            "'input_tokens' is no count",
        ),
        (
            r#"{"provider":"o","model":"m","at":"2026-01-01","usage":{"input_tokens":1.5}}"#,
            "whole number",
        ),
        (
            r#"{"provider":"o","model":"m","at":"2026-01-01","usage":{"input_tokens":"9"}}"#,
            "whole number",
        ),
        (
            r#"{"provider":"o","model":"m","at":"2026-01-01","usage":{"tokens":9}}"#,
            "no field 'tokens'",
        ),
    ] {
        let error = price_line(&book, text).unwrap_err();
        assert!(
            error.starts_with(r#"{"error":"#) && error.contains(says),
            "{error}"
        );
    }
}

#[test]
fn a_guard_whose_money_another_row_carries_is_unpriced_until_the_wire_completes_its_row() {
    use callmeter_core::UnpricedReason;
    let at: Timestamp = "2026-10-01T00:00:00Z".parse().unwrap();
    let seen_by = |layer| {
        let mut record = CallRecord::new(CallId::new(at, 7), layer, 0);
        record.provider = Some("openai".to_owned());
        record.model = Some("gpt-4o-mini".to_owned());
        record.usage = Usage::of(1_000, 100);
        record
    };
    let mut guard = seen_by(Layer::Guard);
    guard.flags.insert(Flags::COUNTED_ELSEWHERE);
    for book in [Book::market(), Book::legacy()] {
        let alone = book.price(&guard, &ProviderKinds::default()).cost;
        assert_eq!(
            (alone.cost, alone.unpriced_reason),
            (None, Some(UnpricedReason::CountedElsewhere))
        );
        let proxy = seen_by(Layer::Proxy);
        for whole in [guard.clone().merge(&proxy), proxy.clone().merge(&guard)] {
            assert!(whole.was_seen_by(Layer::Guard) && whole.was_seen_by(Layer::Proxy));
            let cost = book.price(&whole, &ProviderKinds::default()).cost;
            assert!(cost.cost.is_some() && cost.unpriced_reason.is_none());
        }
    }
}
