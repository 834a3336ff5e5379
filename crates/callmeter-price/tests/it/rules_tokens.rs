//! Money and tokens: R-1 to R-11.

use callmeter_core::{Flags, PicoUsd, Usage, UsdTotal};

use crate::support::{MILLION_EACH, MILLION_IN, call, is, line, line_with, market, own};

#[test]
fn r_1_r_3_prices_are_those_of_the_lists_to_the_last_digit() {
    let cost = |provider, model, usage: &str| line(provider, model, usage).0;
    assert_eq!(cost("anthropic", "claude-sonnet-4-6", MILLION_EACH), "18");
    assert_eq!(cost("gemini", "gemini-2.5-flash", MILLION_EACH), "2.8");
    let one = r#""input_tokens":1,"output_tokens":0"#;
    assert_eq!(cost("openai", "gpt-5-mini", one), "0.00000025");
    let cached = r#""input_tokens":1,"cache_read_tokens":1"#;
    let at = "2026-06-01T00:00:00Z";
    let (cost, _) = line_with("deepseek", "deepseek-v4-pro", cached, at, "");
    assert_eq!(cost, "0.000000003625");
}

#[test]
fn r_2_a_price_that_is_not_finite_a_unit_stays_exact() {
    // 1/12 USD for a million tokens written to the cache.
    let written = r#""input_tokens":12000000,"output_tokens":0,"cache_write_tokens":12000000"#;
    let (cost, _) = line("openrouter", "google/gemini-2.5-flash", written);
    assert_eq!(cost, "1");
    // 0.36 USD an hour.
    let second = r#""usage_extra":{"seconds_milli":1000}"#;
    assert_eq!(line("openai", "whisper-1", second).0, "0.0001");
    let minute = own(
        r#"periods = [{ rates = { per_second_in = "0.017/60" } }]"#,
        r#""usage_extra":{"seconds_milli":60000}"#,
    );
    assert_eq!(minute.0, "0.017");
}

#[test]
fn r_4_a_call_fits_64_bits_and_a_sum_of_calls_does_not_overflow() {
    let mut record = call("anthropic", "claude-opus-4-7", "2026-11-20");
    record.usage = Usage::of(300_000_000_000_u64, 0_u64);
    let largest = market(&record).cost.cost.unwrap();
    assert_eq!(largest.as_pico(), 1_500_000_000_000_000_000);
    let mut total = UsdTotal::default();
    for _ in 0..1_000 {
        total.add(largest);
    }
    assert_eq!(total.as_pico(), 1_500_000_000_000_000_000_000);
}

#[test]
fn r_5_amounts_are_rounded_only_when_shown() {
    let shown = |pico| UsdTotal::from_pico(pico).to_short();
    assert_eq!(shown(1_234_567_890_123), "$1.23");
    assert_eq!(shown(12_345_678_901), "$0.01235");
    assert_eq!(shown(1), "< $0.0001");
    assert_eq!(shown(0), "$0");
    // A thousand calls of a quarter of a millionth are no thousand zeros.
    let mut total = UsdTotal::default();
    for _ in 0..1_000 {
        total.add(PicoUsd::from_pico(250_000));
    }
    assert_eq!(total.to_short(), "$0.0002500");
}

#[test]
fn r_6_unknown_is_null_with_a_reason_and_zero_only_where_it_is_known() {
    assert_eq!(
        line("nobody", "m", MILLION_EACH),
        is("null", "unknown_provider")
    );
    assert_eq!(
        line("openai", "gpt-nonesuch", MILLION_EACH),
        is("null", "unknown_model")
    );
    assert_eq!(line("openai", "gpt-5-mini", ""), is("null", "no_usage"));
    let none = r#""input_tokens":0,"output_tokens":0"#;
    assert_eq!(line("openai", "gpt-5-mini", none), is("0", "exact"));
    let free = line("openrouter", "amazon/nova-2-lite-v1:free", MILLION_EACH);
    assert_eq!(free, is("0", "exact"));
    let image = r#""input_tokens":9,"output_tokens":9,"image_input_tokens":9"#;
    assert_eq!(
        line("openrouter", "amazon/nova-2-lite-v1:free", image).0,
        "0"
    );
    let early = line_with("deepseek", "deepseek-chat", MILLION_IN, "2025-09-10", "");
    assert_eq!(early, is("null", "no_price_at_time"));
}

#[test]
fn r_7_what_is_billed_counts_where_a_provider_says_so_beside_its_tokens() {
    let usage = r#""input_tokens":1200,"output_tokens":50,
                   "usage_extra":{"billed_input":1000,"billed_output":40}"#;
    let billed = line("cohere", "command-r-08-2024", usage);
    let plain = r#""input_tokens":1000,"output_tokens":40"#;
    assert_eq!(billed, line("cohere", "command-r-08-2024", plain));
    assert_eq!(billed, is("0.000174", "exact"));
}

#[test]
fn r_8_each_token_is_charged_once() {
    let cached = r#""input_tokens":1000000,"output_tokens":0,"cache_read_tokens":900000"#;
    assert_eq!(
        line("anthropic", "claude-sonnet-4-6", cached),
        is("0.57", "exact")
    );
    let audio = r#""input_tokens":1000000,"output_tokens":0,"audio_input_tokens":400000"#;
    assert_eq!(
        line("gemini", "gemini-2.5-flash", audio),
        is("0.58", "exact")
    );
    let thought = r#""input_tokens":0,"output_tokens":1000000,"reasoning_tokens":900000"#;
    assert_eq!(line("openai", "gpt-5-mini", thought), is("2", "exact"));
}

#[test]
fn r_8_parts_beyond_their_total_are_capped_and_marked() {
    let mut record = call("anthropic", "claude-sonnet-4-6", "2026-11-20");
    record.usage = Usage::of(1_000, 0);
    record.usage.cache_read_tokens = Some(5_000);
    let priced = market(&record);
    assert_eq!(priced.cost.cost, Some(PicoUsd::from_pico(300_000_000)));
    assert!(priced.flags.contains(Flags::USAGE_IMPLAUSIBLE));
    record.usage.cache_read_tokens = Some(1_000);
    assert!(!market(&record).flags.contains(Flags::USAGE_IMPLAUSIBLE));
}

#[test]
fn r_9_reasoning_costs_as_output_unless_it_has_a_price() {
    let usage = r#""input_tokens":0,"output_tokens":1000000,"reasoning_tokens":500000"#;
    assert_eq!(line("anthropic", "claude-sonnet-4-6", usage).0, "15");
    assert_eq!(line("perplexity", "sonar-deep-research", usage).0, "5.5");
}

#[test]
fn r_9_writes_of_unknown_lifetime_are_of_five_minutes() {
    let price = |usage: &str| {
        let usage = format!(r#""input_tokens":1000000,{usage}"#);
        line("anthropic", "claude-sonnet-4-6", &usage)
    };
    assert_eq!(
        price(r#""cache_write_tokens":1000000"#),
        is("3.75", "exact")
    );
    let split = r#""cache_write_tokens":1000000,"cache_write_1h_tokens":400000"#;
    assert_eq!(price(split), is("4.65", "exact"));
    assert_eq!(
        price(r#""cache_write_5m_tokens":1000000"#),
        is("3.75", "exact")
    );
    let day = r#""input_tokens":100000,"cache_write_24h_tokens":100000"#;
    assert_eq!(line("openai", "gpt-5.6-sol", day), is("1", "exact"));
}

#[test]
fn r_10_writes_fall_back_to_input_only_where_the_provider_charges_them_so() {
    let usage = r#""input_tokens":100000,"cache_write_tokens":100000"#;
    let lacks = is("null", "missing_rate:cache_write_5m");
    assert_eq!(line("openai", "gpt-5-mini", usage), is("0.025", "exact"));
    assert_eq!(
        line("gemini", "gemini-2.5-flash", usage),
        is("0.03", "exact")
    );
    assert_eq!(line("groq", "llama-3.1-8b-instant", usage), lacks);
    assert_eq!(
        line(
            "fireworks",
            "accounts/fireworks/models/deepseek-v3p2",
            usage
        ),
        lacks
    );
    // Since GPT-5.6 OpenAI charges for writing.
    assert_eq!(line("openai", "gpt-5.6-sol", usage), is("0.5", "exact"));
}

#[test]
fn r_10_cached_reads_audio_and_images_never_fall_back_to_the_price_of_text() {
    let with = |part: &str| format!(r#""input_tokens":9,"output_tokens":9,"{part}":9"#);
    for (provider, model, part, reason) in [
        (
            "anthropic",
            "claude-sonnet-4-6",
            "audio_input_tokens",
            "missing_rate:audio_in",
        ),
        (
            "anthropic",
            "claude-sonnet-4-6",
            "image_input_tokens",
            "missing_rate:image_in",
        ),
        (
            "anthropic",
            "claude-sonnet-4-6",
            "video_input_tokens",
            "missing_rate:video_in",
        ),
        (
            "openai",
            "gpt-5-mini",
            "audio_output_tokens",
            "missing_rate:audio_out",
        ),
        (
            "openai",
            "gpt-5-mini",
            "image_output_tokens",
            "missing_rate:image_out",
        ),
        (
            "cohere",
            "command-r-08-2024",
            "cache_read_tokens",
            "missing_rate:cache_read",
        ),
    ] {
        assert_eq!(
            line(provider, model, &with(part)),
            is("null", reason),
            "{provider}/{model}"
        );
    }
    // Google prints one price for text, images and video.
    let image = r#""input_tokens":1000000,"image_input_tokens":1000000"#;
    assert_eq!(
        line("gemini", "gemini-2.5-flash", image),
        is("0.3", "exact")
    );
}

#[test]
fn r_11_cached_audio_has_its_rate_or_is_audio_and_marked() {
    let mut record = call("gemini", "gemini-2.5-flash", "2026-11-20");
    record.usage = Usage::of(1_000_000, 0);
    record.usage.audio_input_tokens = Some(600_000);
    record.usage.cache_read_tokens = Some(500_000);
    record.usage.usage_extra = Some([("cache_read_audio".to_owned(), 400_000)].into());
    let priced = market(&record);
    // 400,000 at 0.10, 100,000 cached text at 0.03, 200,000 audio at 1, 300,000 text at 0.30.
    assert_eq!(priced.cost.cost, Some("0.333".parse().unwrap()));
    assert!(priced.flags.is_empty());
    // Without a rate of its own it is audio: 400,000 at 32.
    record.provider = Some("acme".into());
    record.model = Some("m".into());
    let book = crate::support::book_of(
        r#"periods = [{ rates = { input = "4", output = "16", audio_in = "32", cache_read = "0.4" } }]"#,
    );
    let priced = book.price(&record, &callmeter_price::ProviderKinds::default());
    assert_eq!(priced.cost.cost, Some("20.44".parse().unwrap()));
    assert!(priced.flags.contains(Flags::USAGE_IMPLAUSIBLE));
}
