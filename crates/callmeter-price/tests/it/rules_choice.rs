//! Which price counts: R-12 to R-18.

use callmeter_core::{CallId, CallRecord, CostSource, Flags, Layer, PicoUsd, Timestamp, Usage};
use callmeter_price::{Book, ProviderKinds};

use crate::support::{MILLION_EACH, MILLION_IN, call, is, line, line_by, line_with, market, own};

fn tier(provider: &str, model: &str, tier: &str) -> (String, String) {
    let more = format!(r#","service_tier":"{tier}""#);
    line_with(provider, model, MILLION_EACH, "2026-11-20", &more)
}

#[test]
fn r_12_the_answered_model_beats_the_one_that_was_asked_for() {
    let mut record = call("openai", "gpt-4o-2024-05-13", "2026-11-20");
    record.model_requested = Some("gpt-4o".into());
    record.usage = Usage::of(1_000_000, 1_000_000);
    assert_eq!(market(&record).cost.cost, Some("20".parse().unwrap()));
    record.model = None;
    assert_eq!(market(&record).cost.cost, Some("12.5".parse().unwrap()));
}

#[test]
fn r_13_the_price_is_that_of_the_moment_the_call_finished() {
    let usage = r#""input_tokens":100000,"output_tokens":0,"cache_read_tokens":100000"#;
    let at = |at| line_with("gemini", "gemini-2.5-pro", usage, at, "");
    assert_eq!(at("2026-04-20T03:17:44Z"), is("0.031", "exact"));
    assert_eq!(at("2026-04-20T03:17:45Z"), is("0.0125", "exact"));
    let o3 = |at| line_with("openai", "o3", MILLION_EACH, at, "").0;
    assert_eq!(o3("2025-06-09T23:59:59Z"), "50");
    assert_eq!(o3("2025-06-10T00:00:00Z"), "10");
    // Begun before the change, finished after it.
    let mut record = call("openai", "o3", "2025-06-09T23:59:50Z");
    record.usage = Usage::of(1_000_000, 1_000_000);
    record.duration_us = Some(10_000_000);
    assert_eq!(market(&record).cost.cost, Some("10".parse().unwrap()));
}

#[test]
fn r_13_there_is_no_price_before_the_first_and_after_the_last() {
    let model =
        r#"periods = [{ from = "2026-01-01", until = "2026-02-01", rates = { input = "1" } }]"#;
    let book = crate::support::book_of(model);
    let at = |at| line_by(&book, "acme", "m", r#""input_tokens":1000000"#, at, "");
    assert_eq!(at("2025-12-31T23:59:59Z"), is("null", "no_price_at_time"));
    assert_eq!(at("2026-01-01T00:00:00Z"), is("1", "exact"));
    assert_eq!(at("2026-02-01T00:00:00Z"), is("null", "no_price_at_time"));
}

#[test]
fn r_14_the_tier_is_chosen_by_all_input_strictly_above_the_threshold() {
    let at = |input: u64, cached: u64| {
        let usage =
            format!(r#""input_tokens":{input},"output_tokens":1000,"cache_read_tokens":{cached}"#);
        line("gemini", "gemini-2.5-pro", &usage)
    };
    assert_eq!(at(200_000, 0), is("0.26", "exact"));
    // Above it the output is dearer as well.
    assert_eq!(at(200_001, 0), is("0.5150025", "exact"));
    // Cached input counts for the threshold.
    assert_eq!(at(200_001, 200_001), is("0.06500025", "exact"));
    let above = |input: u64| {
        line(
            "openai",
            "gpt-5.6-sol",
            &format!(r#""input_tokens":{input},"output_tokens":0"#),
        )
        .0
    };
    assert_eq!(above(272_000), "1.088");
    assert_eq!(above(272_001), "2.176008");
}

#[test]
fn r_14_xai_s_threshold_is_inclusive() {
    let at = |input: u64| {
        line(
            "xai",
            "grok-4.5",
            &format!(r#""input_tokens":{input},"output_tokens":0"#),
        )
        .0
    };
    let (below, at) = (at(199_999), at(200_000));
    let (below, at): (f64, f64) = (below.parse().unwrap(), at.parse().unwrap());
    assert!(at > 1.9 * below, "{below} {at}");
}

#[test]
fn r_15_a_service_tier_has_its_own_rates_and_an_unknown_one_no_price() {
    for standard in ["default", "auto", "standard", "AUTO", ""] {
        assert_eq!(tier("openai", "gpt-5-mini", standard), is("2.25", "exact"));
    }
    assert_eq!(tier("openai", "gpt-5-mini", "flex"), is("1.125", "exact"));
    assert_eq!(tier("openai", "gpt-5-mini", "Batch"), is("1.125", "exact"));
    assert_eq!(tier("openai", "gpt-4o", "priority"), is("21.25", "exact"));
    assert_eq!(tier("openai", "gpt-4o", "fast"), is("21.25", "exact"));
    assert_eq!(
        tier("openai", "gpt-5-mini", "platinum"),
        is("null", "missing_rate:tier")
    );
    assert_eq!(
        tier("anthropic", "claude-sonnet-4-6", "batch"),
        is("9", "exact")
    );
}

#[test]
fn r_15_what_a_tier_does_not_price_keeps_the_standard_rate() {
    let cached = r#""input_tokens":1000000,"output_tokens":0,"cache_read_tokens":1000000"#;
    let more = r#","service_tier":"batch""#;
    // A batch of gpt-4o has no price for cached input.
    let priced = line_with("openai", "gpt-4o", cached, "2026-11-20", more);
    assert_eq!(priced, is("1.25", "exact"));
    // A variant without tiers takes what it lacks from the standard tier of the same length.
    let model = r#"periods = [{ rates = { input = "1", output = "2" },
        tiers = [{ over = 100, rates = { output = "4" } }],
        variants = { batch = { rates = { input = "0.5" } } } }]"#
        .replace('\n', " ");
    let book = crate::support::book_of(&model);
    let usage = r#""input_tokens":1000000,"output_tokens":1000000"#;
    assert_eq!(
        line_by(&book, "acme", "m", usage, "2026-11-20", more).0,
        "4.5"
    );
}

#[test]
fn r_16_time_of_day_and_region_are_factors() {
    let at = |at| {
        let (cost, _) = line_with("deepseek", "deepseek-v4-pro", MILLION_IN, at, "");
        cost
    };
    assert_eq!(at("2026-11-20T05:00:00Z"), "0.66");
    assert_eq!(at("2026-11-20T02:00:00Z"), "1.32");
    // The beginning of a window is in it, its end is not.
    assert_eq!(at("2026-11-20T01:00:00Z"), "1.32");
    assert_eq!(at("2026-11-20T04:00:00Z"), "0.66");
    // A Sunday.
    assert_eq!(at("2026-11-22T02:00:00Z"), "0.66");
    let night = |at| line_with("deepseek", "deepseek-chat", MILLION_EACH, at, "").0;
    assert_eq!(night("2025-06-01T12:00:00Z"), "1.37");
    // Over midnight.
    assert_eq!(night("2025-06-01T16:30:00Z"), "0.685");
    assert_eq!(night("2025-06-02T00:29:59Z"), "0.685");
    assert_eq!(night("2025-06-02T00:30:00Z"), "1.37");
    let region = |provider, model, region: &str| {
        let more = format!(r#","region":"{region}""#);
        line_with(provider, model, MILLION_EACH, "2026-11-20", &more).0
    };
    assert_eq!(region("anthropic", "claude-sonnet-4-6", "us"), "19.8");
    assert_eq!(region("anthropic", "claude-sonnet-4-6", "global"), "18");
    assert_eq!(region("vertex_ai", "claude-sonnet-4-6", "us-east5"), "19.8");
    assert_eq!(region("vertex_ai", "claude-sonnet-4-6", "global"), "18");
    assert_eq!(region("vertex_ai", "gemini-2.5-flash", "us-east5"), "2.8");
}

#[test]
fn r_17_searches_are_fees() {
    let searches = r#""input_tokens":0,"output_tokens":0,"usage_extra":{"web_search":3}"#;
    let fee = |provider, model| line(provider, model, searches);
    assert_eq!(fee("anthropic", "claude-sonnet-4-6"), is("0.03", "exact"));
    assert_eq!(fee("openai", "gpt-5-mini"), is("0.03", "exact"));
    assert_eq!(fee("gemini", "gemini-2.5-flash"), is("0.105", "exact"));
    assert_eq!(
        fee("groq", "llama-3.1-8b-instant"),
        is("null", "missing_rate:web_search")
    );
    let files = r#""input_tokens":0,"output_tokens":0,"usage_extra":{"file_search":2}"#;
    assert_eq!(line("openai", "gpt-4o", files), is("0.005", "exact"));
    // A unit without a fee is none of the price's business.
    let fetched = r#""input_tokens":1000000,"usage_extra":{"web_fetch":3}"#;
    assert_eq!(
        line("anthropic", "claude-sonnet-4-6", fetched),
        is("3", "exact")
    );
}

#[test]
fn r_17_units_that_are_charged_by_themselves_need_no_tokens() {
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
        unit("mistral", "mistral-ocr-latest", r#""page":3"#),
        is("0.012", "exact")
    );
    let lacks = is("null", "missing_rate:seconds");
    assert_eq!(
        unit("openai", "gpt-5-mini", r#""seconds_milli":6500"#),
        lacks
    );
    assert_eq!(
        unit("openai", "gpt-5-mini", r#""page":0"#),
        is("null", "no_usage")
    );
    let own_unit = own(
        r#"periods = [{ rates = { per_widget = "0.5", gadget_1k = "3" } }]"#,
        r#""input_tokens":0,"usage_extra":{"widget":2,"gadget":4}"#,
    );
    assert_eq!(own_unit, is("1.012", "exact"));
    let cited = r#""input_tokens":0,"output_tokens":0,"usage_extra":{"citation_tokens":1000000}"#;
    assert_eq!(
        line("perplexity", "sonar-deep-research", cited),
        is("2", "exact")
    );
}

#[test]
fn r_18_the_provider_s_own_figure_counts_and_both_are_kept() {
    let mut record = call("openrouter", "anthropic/claude-sonnet-4.6", "2026-11-20");
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
fn r_18_the_user_s_book_is_before_the_catalogue() {
    let book = Book::parse(
        "name = \"acme\"\nversion = \"1\"\n[[models]]\nprovider = \"openai\"\nmodel = \"gpt-5-mini\"\n\
         periods = [{ rates = { input = \"1\", output = \"1\" } }]",
    )
    .unwrap();
    let mut record = call("openai", "gpt-5-mini", "2026-11-20");
    record.usage = Usage::of(1_000_000, 0);
    let by = |record: &_| book.price(record, &ProviderKinds::default()).cost;
    assert_eq!(by(&record).cost, Some("1".parse().unwrap()));
    assert_eq!(by(&record).cost_source, Some(CostSource::Book));
    record.model = Some("gpt-4o".into());
    assert_eq!(by(&record).cost, Some("2.5".parse().unwrap()));
    assert_eq!(by(&record).cost_source, Some(CostSource::Catalogue));
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
