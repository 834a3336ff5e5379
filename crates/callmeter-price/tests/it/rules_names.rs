//! Finding the model.

use callmeter_core::{PicoUsd, Usage};
use callmeter_price::{Book, ProviderKinds};

use crate::support::{MILLION_EACH, MILLION_IN, call, is, line, line_by, market};

fn told(provider: &str, model: &str) -> String {
    line(provider, model, MILLION_EACH).1
}

#[test]
fn r_19_names_match_exactly_by_alias_normalised_or_as_a_snapshot_in_this_order() {
    assert_eq!(told("openai", "gpt-5-mini"), "exact");
    assert_eq!(told("openai", "gpt-5-mini-2025-08-07"), "alias");
    assert_eq!(told("openai", "GPT-5-mini"), "normalised");
    assert_eq!(told("anthropic", "claude-sonnet-4-6-20260131"), "snapshot");
}

#[test]
fn r_19_a_name_that_is_nearly_one_has_no_price() {
    for near in [
        "gpt-5-min",
        "gpt-5-mini-x",
        "gpt-5-minii",
        "gpt5-mini",
        "xgpt-5-mini",
        "gpt",
        "5-mini",
        "gpt-5-mini-2025-02-30",
        "gpt-5-mini-0807",
        "gpt-5-mini-latest-20250807",
        "gpt-5-mini/",
        "",
        "gpt-5 mini",
        "gpt_5_mini",
        "openai/gpt-5-mini",
        "gpt-5-mini:latest",
        "gpt-5-mini@20250807",
    ] {
        assert_eq!(told("openai", near), "unknown_model", "{near}");
    }
    assert_eq!(told("gemini", "gemini-2.5-pro-20260131"), "unknown_model");
    assert_eq!(told("anthropic", &"x".repeat(5_000)), "unknown_model");
}

#[test]
fn r_19_no_name_of_the_book_is_priced_with_a_letter_changed() {
    let book = Book::market();
    let known: std::collections::HashSet<(&str, String)> = book
        .entries()
        .flat_map(|entry| {
            let names = entry.aliases().chain([entry.model()]);
            let names = names.map(move |name| (entry.provider(), name.to_ascii_lowercase()));
            names.collect::<Vec<_>>()
        })
        .collect();
    for entry in book.entries().step_by(7) {
        let mut letters: Vec<char> = entry.model().chars().collect();
        let middle = letters.len() / 2;
        letters[middle] = if letters[middle] == 'q' { 'x' } else { 'q' };
        let misspelt: String = letters.into_iter().collect();
        if known.contains(&(entry.provider(), misspelt.to_ascii_lowercase())) {
            continue;
        }
        let mut record = call(entry.provider(), &misspelt, "2026-11-20");
        record.usage = Usage::of(1, 1);
        let priced = market(&record);
        assert_eq!(priced.cost.cost, None, "{}/{misspelt}", entry.provider());
        assert_eq!(priced.reason().as_deref(), Some("unknown_model"));
    }
}

#[test]
fn r_20_a_resource_prefix_a_context_marker_and_case_are_no_part_of_a_name() {
    for (provider, model) in [
        ("openai", " GPT-5-Mini "),
        ("gemini", "models/gemini-2.5-pro"),
        ("vertex_ai", "publishers/google/models/gemini-2.5-pro"),
        (
            "vertex_ai",
            "projects/p/locations/l/publishers/google/models/gemini-2.5-pro",
        ),
        ("anthropic", "claude-sonnet-4-6[1m]"),
    ] {
        assert_eq!(told(provider, model), "normalised", "{model}");
    }
    // One of each.
    assert_eq!(
        told("gemini", "models/models/gemini-2.5-pro"),
        "unknown_model"
    );
    assert_eq!(
        told("anthropic", "claude-sonnet-4-6[1m][1m]"),
        "unknown_model"
    );
    // These are part of the id.
    let model = "accounts/fireworks/models/deepseek-v3p2";
    assert_eq!(told("fireworks", model), "exact");
    assert_eq!(told("openrouter", "amazon/nova-2-lite-v1:free"), "exact");
    assert_eq!(told("openrouter", "claude-sonnet-4.6"), "unknown_model");
}

#[test]
fn r_21_a_date_is_taken_off_where_the_provider_dates_its_snapshots_so() {
    assert_eq!(told("openai", "gpt-5-mini-2026-01-31"), "snapshot");
    assert_eq!(told("openai", "gpt-5-mini-20260131"), "unknown_model");
    assert_eq!(
        told("anthropic", "claude-sonnet-4-6-2026-01-31"),
        "unknown_model"
    );
    assert_eq!(
        told("anthropic", "claude-sonnet-4-6-20260230"),
        "unknown_model"
    );
    assert_eq!(told("vertex_ai", "claude-sonnet-4-6@20260131"), "snapshot");
    assert_eq!(
        told("aws_bedrock", "anthropic.claude-sonnet-4-6-20260131-v1:0"),
        "snapshot"
    );
    for model in ["gemini-2.5-flash-20260131", "gemini-2.5-flash-001"] {
        assert_eq!(told("gemini", model), "unknown_model", "{model}");
    }
    assert_eq!(told("mistral", "mistral-small-2026-01-31"), "unknown_model");
}

#[test]
fn r_21_a_snapshot_with_its_own_price_keeps_it() {
    assert_eq!(
        line("openai", "gpt-4o-2024-05-13", MILLION_EACH),
        is("20", "exact")
    );
    assert_eq!(line("openai", "gpt-4o", MILLION_EACH), is("12.5", "exact"));
}

#[test]
fn r_22_a_route_of_bedrock_has_the_price_of_its_own_id() {
    let cost = |model| line("aws_bedrock", model, MILLION_EACH).0;
    assert_eq!(cost("anthropic.claude-sonnet-4-6"), "18");
    assert_eq!(cost("us.anthropic.claude-sonnet-4-6"), "19.8");
    assert_eq!(cost("global.anthropic.claude-sonnet-4-6"), "18");
    assert_eq!(cost("ca.anthropic.claude-sonnet-4-6"), "null");
    let short = line(
        "aws_bedrock",
        "anthropic.claude-3-5-sonnet-20240620-v1",
        MILLION_EACH,
    );
    assert_eq!(short, is("18", "normalised"));
    let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc";
    assert_eq!(
        line("aws_bedrock", arn, MILLION_EACH),
        is("null", "unknown_model")
    );
}

#[test]
fn r_22_a_model_under_a_seller_that_does_not_sell_it_is_unpriced() {
    let unknown = is("null", "unknown_model");
    assert_eq!(line("openai", "claude-sonnet-4-6", MILLION_EACH), unknown);
    assert_eq!(line("azure_openai", "my-deployment", MILLION_EACH), unknown);
    assert_eq!(line("anthropic", "gpt-5-mini", MILLION_EACH), unknown);
}

#[test]
fn r_22_a_deployment_is_what_the_answer_or_the_user_s_book_says() {
    let mut record = call("azure_openai", "gpt-4o-2024-08-06", "2026-11-20");
    record.model_requested = Some("my-deployment".into());
    record.usage = Usage::of(1_000_000, 0);
    assert_eq!(market(&record).cost.cost, Some("2.5".parse().unwrap()));
    let book = Book::parse(
        "name = \"acme\"\nversion = \"1\"\n[[names]]\nprovider = \"azure\"\nmodel = \"gpt-4o\"\n\
         names = [\"my-deployment\"]",
    )
    .unwrap();
    let by = |model| line_by(&book, "azure_openai", model, MILLION_IN, "2026-11-20", "");
    assert_eq!(by("my-deployment"), is("2.5", "alias"));
    assert_eq!(by("My-Deployment"), is("2.5", "normalised"));
    assert_eq!(by("your-deployment"), is("null", "unknown_model"));
}

#[test]
fn r_22_a_route_is_priced_by_the_id_that_was_asked_for_where_the_answer_has_the_maker_s() {
    let priced = |provider: &str, requested: &str, answered: &str| {
        let mut record = call(provider, answered, "2026-11-20T10:00:00Z");
        record.model_requested = Some(requested.into());
        record.usage = Usage::of(1_000_000, 0);
        market(&record).cost.price_id
    };
    assert!(priced("aws_bedrock", "anthropic.claude-v2", "claude-2.0").is_some());
    let (id, answered) = ("claude-3-7-sonnet@20250219", "claude-3-7-sonnet-20250219");
    assert!(priced("vertex_ai", id, answered).is_some());
    assert_eq!(priced("openai", "gpt-5-mini", "a-model-of-tomorrow"), None);
}

#[test]
fn r_23_self_hosted_models_cost_nothing_but_hosted_tags_do() {
    for provider in [
        "ollama",
        "vllm",
        "llama_cpp",
        "lm_studio",
        "nvidia_nim",
        "tgi",
    ] {
        assert_eq!(
            line(provider, "llama3.1:8b", MILLION_EACH),
            is("0", "rule"),
            "{provider}"
        );
    }
    for hosted in ["gpt-oss:120b-cloud", "qwen3-coder:cloud"] {
        assert_eq!(
            line("ollama", hosted, MILLION_EACH),
            is("null", "unknown_model")
        );
    }
    let kinds = ProviderKinds::new([("gcp_ollama".to_owned(), "ollama".to_owned())]);
    let mut record = call("gcp_ollama", "hermes3:latest", "2026-11-20");
    record.usage = Usage::of(5, 5);
    let cost = Book::market().price(&record, &kinds).cost;
    assert_eq!(cost.cost, Some(PicoUsd::ZERO));
    assert_eq!(cost.price_id.as_deref(), Some("rule/self_hosted"));
    assert_eq!(market(&record).cost.cost, None);
}

#[test]
fn r_23_a_gpu_hour_can_be_the_price_of_a_self_hosted_provider() {
    let book = Book::parse(
        "name = \"acme\"\nversion = \"1\"\n[[rules]]\nprovider = \"vllm\"\nbasis = \"self_hosted\"\n\
         gpu_hour = \"1.20\"\n[[models]]\nprovider = \"vllm\"\nmodel = \"dear\"\n\
         periods = [{ rates = { input = \"1\", output = \"1\" } }]",
    )
    .unwrap();
    let kinds = ProviderKinds::default();
    let mut record = call("vllm", "llama3.1:8b", "2026-11-20");
    record.usage = Usage::of(1_000_000, 0);
    record.duration_us = Some(1_500_000);
    let cost = book.price(&record, &kinds).cost;
    assert_eq!(cost.cost, Some("0.0005".parse().unwrap()));
    assert_eq!(cost.price_id.as_deref(), Some("rule/gpu_hour"));
    record.duration_us = None;
    let priced = book.price(&record, &kinds);
    assert_eq!(priced.reason().as_deref(), Some("missing_rate:duration"));
    // A price of the model itself is before the rule.
    record.model = Some("dear".into());
    assert_eq!(
        book.price(&record, &kinds).cost.cost,
        Some("1".parse().unwrap())
    );
    // The book below still knows the others.
    record.provider = Some("ollama".into());
    assert_eq!(book.price(&record, &kinds).cost.cost, Some(PicoUsd::ZERO));
}

#[test]
fn r_24_a_fine_tuned_model_is_the_entry_of_its_base_s_tuning_never_its_base() {
    let tuned = line(
        "openai",
        "ft:gpt-4o-mini-2024-07-18:acme:x:abc",
        MILLION_EACH,
    );
    assert_eq!(tuned, is("1.5", "normalised"));
    assert_eq!(
        line("openai", "gpt-4o-mini-2024-07-18", MILLION_EACH).0,
        "0.75"
    );
    let unknown = is("null", "unknown_model");
    assert_eq!(
        line("openai", "ft:gpt-nonesuch:acme:x:abc", MILLION_EACH),
        unknown
    );
    assert_eq!(
        line("openai", "ft:gpt-5-mini:acme:x:abc", MILLION_EACH),
        unknown
    );
}

#[test]
fn r_25_near_names_are_suggested_and_never_used() {
    let book = Book::market();
    let near = |provider, model| {
        let near = book.near(provider, model);
        near.first()
            .map(|near| format!("{}/{}", near.provider, near.model))
    };
    assert_eq!(
        near("openai", "gpt5-mini").as_deref(),
        Some("openai/gpt-5-mini")
    );
    assert_eq!(
        near("openai", "gpt-5-mni").as_deref(),
        Some("openai/gpt-5-mini")
    );
    let foreign = near("nobody", "claude-sonnet-4-6").unwrap();
    assert!(foreign.ends_with("/claude-sonnet-4-6"), "{foreign}");
    assert_eq!(near("openai", "zzz"), None);
    let mut record = call("openai", "gpt-image-1", "2026-11-20");
    record.usage = Usage::of(1, 1);
    let why = book.explain(&record, &ProviderKinds::default());
    assert!(why.is_disputed && why.priced.cost.cost.is_none());
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
    for name in ["azure.ai.openai", "az.ai.openai", "Azure-OpenAI", "azure"] {
        assert_eq!(line(name, "gpt-4o", MILLION_EACH).0, "12.5", "{name}");
    }
}
