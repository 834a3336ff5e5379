//! Imports: R-28 to R-30, on excerpts of the files as other projects write them.

use callmeter_core::{Timestamp, Usage};
use callmeter_price::import::{Change, Comparison, ImportError, ImportFormat, ImportOptions, read};
use callmeter_price::{Book, ProviderKinds};

use crate::support::{call, line_by};

const LITELLM: &str = include_str!("../fixtures/import/litellm.json");
const GENAI: &str = include_str!("../fixtures/import/genai-prices.data.json");
const GENAI_V2: &str = include_str!("../fixtures/import/genai-prices.v2.data.json");
const MODELS_DEV: &str = include_str!("../fixtures/import/models.dev.api.json");

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn options() -> ImportOptions {
    ImportOptions::from(at("2026-11-25"))
}

/// A book with nothing in it.
fn empty() -> Book {
    Book::parse("name = \"own\"\nversion = \"1\"\nextends = \"none\"").unwrap()
}

/// What a file says, taken into a book with nothing below it.
fn alone(file: &str) -> Book {
    let comparison = read(file).unwrap().compare(&empty(), &options());
    comparison.book(&empty(), "2026-11-25", true).unwrap()
}

fn cost(book: &Book, provider: &str, model: &str, usage: &str, more: &str) -> String {
    line_by(book, provider, model, usage, "2026-11-20T12:00:00Z", more).0
}

#[test]
fn r_28_files_are_told_apart_by_their_content() {
    for (file, format) in [
        (LITELLM, ImportFormat::LiteLlm),
        (GENAI, ImportFormat::GenaiPrices),
        (GENAI_V2, ImportFormat::GenaiPrices),
        (MODELS_DEV, ImportFormat::ModelsDev),
        ("name = \"a\"\nversion = \"1\"", ImportFormat::Callmeter),
        (
            r#"{"name":"a","version":"1","models":[]}"#,
            ImportFormat::Callmeter,
        ),
    ] {
        assert_eq!(read(file).unwrap().format, format);
    }
    for file in ["{}", "[]", r#"{"a":{"b":1}}"#, "[1]"] {
        assert_eq!(read(file).unwrap_err(), ImportError::Unknown, "{file}");
    }
    assert!(matches!(read("{").unwrap_err(), ImportError::Json(_)));
    let error = read("name = \"a\"\nversion = \"1\"\nmodles = []").unwrap_err();
    assert!(error.to_string().contains("modles"), "{error}");
}

#[test]
fn r_28_litellm_s_dollars_a_token_are_read_as_text() {
    let book = alone(LITELLM);
    let tokens = r#""input_tokens":1000000,"output_tokens":1000000,"cache_read_tokens":500000"#;
    assert_eq!(cost(&book, "openai", "gpt-4o-mini", tokens, ""), "0.7125");
    let batch = r#","service_tier":"batch""#;
    // Batches of it have no price for cached input: the standard one.
    assert_eq!(cost(&book, "openai", "gpt-4o-mini", tokens, batch), "0.375");
    let long = r#""input_tokens":272001,"output_tokens":0,"cache_write_24h_tokens":272001"#;
    assert_eq!(cost(&book, "openai", "gpt-5.6-sol", long, ""), "5.44002");
    let flex = r#","service_tier":"flex""#;
    assert_eq!(cost(&book, "openai", "gpt-5.6-sol", long, flex), "2.72001");
}

#[test]
fn r_28_litellm_s_peak_price_becomes_a_window_of_the_day() {
    let book = alone(LITELLM);
    let usage = r#""input_tokens":1000000,"output_tokens":1000000"#;
    let at = |at| line_by(&book, "deepseek", "deepseek-v4-flash", usage, at, "").0;
    assert_eq!(at("2026-11-20T02:00:00Z"), "1.5");
    assert_eq!(at("2026-11-20T05:00:00Z"), "0.75");
    assert_eq!(at("2026-11-21T02:00:00Z"), "0.75");
    // A fee of 0 for writing means that writing costs as input does.
    let written = r#""input_tokens":1000000,"cache_write_tokens":1000000"#;
    let told = line_by(
        &book,
        "deepseek",
        "deepseek-v4-flash",
        written,
        "2026-11-21",
        "",
    );
    assert_eq!(told.0, "0.15");
}

#[test]
fn r_28_genai_prices_is_read_in_both_forms_with_its_history() {
    for file in [GENAI, GENAI_V2] {
        let book = alone(file);
        let usage = r#""input_tokens":200001,"output_tokens":0"#;
        let at = |at| line_by(&book, "anthropic", "claude-sonnet-4-6", usage, at, "").0;
        assert_eq!(at("2026-03-12"), "1.200006");
        assert_eq!(at("2026-03-13"), "0.600003");
    }
    let book = alone(GENAI_V2);
    let told = |model| {
        let usage = r#""input_tokens":1000000,"output_tokens":0"#;
        line_by(&book, "openai", model, usage, "2026-11-20", "").1
    };
    // A rule that says a name, and one that says a name with a date; what begins with something is no name.
    assert_eq!(told("gpt-5.6"), "alias");
    assert_eq!(told("gpt-5.6-sol-2026-07-09"), "snapshot");
    assert_eq!(told("gpt-5.6-sol-2"), "unknown_model");
    let claude = line_by(
        &book,
        "anthropic",
        "claude-haiku-4-5-x",
        "",
        "2026-11-20",
        "",
    );
    assert_eq!(claude.1, "unknown_model");
    // Hours have no first day: they belong to the newest price.
    let chat = |at| {
        let usage = r#""input_tokens":1000000,"output_tokens":0"#;
        line_by(&book, "deepseek", "deepseek-chat", usage, at, "").0
    };
    assert_eq!(chat("2026-11-20T00:29:00Z"), "0.135");
    assert_eq!(chat("2026-11-20T00:30:00Z"), "0.27");
}

#[test]
fn r_28_models_dev_has_tiers_and_modes() {
    let book = alone(MODELS_DEV);
    let usage = |input: u64| format!(r#""input_tokens":{input},"output_tokens":0"#);
    let cost = |provider, model, input, more: &str| {
        let usage = usage(input);
        line_by(&book, provider, model, &usage, "2026-11-20", more).0
    };
    assert_eq!(cost("openai", "gpt-5.4", 272_000, ""), "0.68");
    assert_eq!(cost("openai", "gpt-5.4", 272_001, ""), "1.360005");
    let fast = r#","service_tier":"fast""#;
    assert_eq!(cost("anthropic", "claude-opus-4-7", 1_000_000, fast), "30");
    assert_eq!(cost("gemini", "gemini-2.5-flash", 1_000_000, ""), "0.3");
}

fn compared(models: &str) -> Comparison {
    let file = format!("name = \"new\"\nversion = \"1\"\n{models}");
    read(&file).unwrap().compare(&Book::market(), &options())
}

fn one(comparison: &Comparison) -> &Change {
    let [change] = comparison.changes.as_slice() else {
        panic!("{:?}", comparison.changes)
    };
    change
}

const CHEAPER: &str = "[[models]]\nprovider = \"openai\"\nmodel = \"gpt-5-mini\"\n\
                       periods = [{ rates = { input = \"0.20\", output = \"2\" } }]\n";

#[test]
fn r_29_a_changed_price_begins_with_the_import_and_leaves_the_past_alone() {
    let comparison = compared(CHEAPER);
    let change = one(&comparison);
    assert_eq!((change.rates.len(), change.is_new), (1, false));
    assert_eq!(change.rates[0].old.as_deref(), Some("0.25"));
    assert_eq!(change.rates[0].new, "0.2");
    let book = comparison
        .book(&Book::market(), "2026-11-25", false)
        .unwrap();
    assert_eq!(book.name(), "market+callmeter");
    let usage = r#""input_tokens":1000000,"output_tokens":0,"cache_read_tokens":0"#;
    let at = |at| line_by(&book, "openai", "gpt-5-mini", usage, at, "").0;
    assert_eq!(at("2026-11-24T23:59:59Z"), "0.25");
    assert_eq!(at("2026-11-25T00:00:00Z"), "0.2");
    // What the file does not state keeps its price: cached reads, batches.
    let cached = r#""input_tokens":1000000,"cache_read_tokens":1000000"#;
    assert_eq!(
        line_by(&book, "openai", "gpt-5-mini", cached, "2026-11-26", "").0,
        "0.025"
    );
    let batch = r#","service_tier":"batch""#;
    assert_eq!(
        line_by(&book, "openai", "gpt-5-mini", usage, "2026-11-26", batch).0,
        "0.125"
    );
    // Read back from a store, it is the same book.
    let kept = Book::parse(&book.to_text()).unwrap();
    assert_eq!(kept.content_id(), book.content_id());
    assert_eq!(kept.to_text(), book.to_text());
}

#[test]
fn r_29_the_past_is_corrected_only_when_that_is_asked_for() {
    let file = format!("name = \"new\"\nversion = \"1\"\n{CHEAPER}");
    let mut options = options();
    options.corrects = true;
    let comparison = read(&file).unwrap().compare(&Book::market(), &options);
    let book = comparison
        .book(&Book::market(), "2026-11-25", false)
        .unwrap();
    let usage = r#""input_tokens":1000000,"output_tokens":0"#;
    assert_eq!(
        line_by(&book, "openai", "gpt-5-mini", usage, "2025-11-25", "").0,
        "0.2"
    );
}

#[test]
fn r_29_an_import_lies_below_the_user_s_own_book_and_above_the_built_in_one() {
    let own = Book::parse(
        "name = \"acme\"\nversion = \"1\"\n[[models]]\nprovider = \"openai\"\nmodel = \"gpt-4o\"\n\
         periods = [{ rates = { input = \"1\", output = \"1\" } }]",
    )
    .unwrap();
    let file = format!(
        "name = \"new\"\nversion = \"1\"\n{CHEAPER}{}",
        CHEAPER.replace("gpt-5-mini", "gpt-4o")
    );
    let comparison = read(&file).unwrap().compare(&own, &options());
    let book = comparison.book(&own, "2026-11-25", true).unwrap();
    assert_eq!(book.name(), "acme");
    assert_eq!(book.layer_names().len(), 3);
    let usage = r#""input_tokens":1000000,"output_tokens":0"#;
    assert_eq!(
        line_by(&book, "openai", "gpt-4o", usage, "2026-11-26", "").0,
        "1"
    );
    assert_eq!(
        line_by(&book, "openai", "gpt-5-mini", usage, "2026-11-26", "").0,
        "0.2"
    );
}

#[test]
fn r_30_what_looks_wrong_is_taken_only_when_it_is_accepted() {
    for (input, says) in [
        ("2.6", "more than 10 times"),
        ("0", "0.25 to 0"),
        ("0.02", "more than 10"),
    ] {
        let comparison = compared(&CHEAPER.replace("0.20", input));
        let change = one(&comparison);
        assert_eq!(comparison.suspicious(), 1);
        assert!(change.warnings[0].contains(says), "{:?}", change.warnings);
        let usage = r#""input_tokens":1000000,"output_tokens":0"#;
        let cost = |accepts| {
            let book = comparison.book(&Book::market(), "1", accepts).unwrap();
            line_by(&book, "openai", "gpt-5-mini", usage, "2026-11-26", "").0
        };
        assert_eq!((cost(false).as_str(), cost(true).as_str()), ("0.25", input));
    }
    assert_eq!(compared(&CHEAPER.replace("0.20", "2.5")).suspicious(), 0);
}

#[test]
fn r_30_what_is_no_price_is_left_out_and_said() {
    let file = r#"{
        "m-negative": {"litellm_provider": "openai", "input_cost_per_token": -1e-06, "output_cost_per_token": 1e-06},
        "m-storage": {"litellm_provider": "openai", "input_cost_per_token": 1e-06, "cache_read_input_token_cost": 4.5e-06},
        "m-absurd": {"litellm_provider": "openai", "input_cost_per_token": 2.0},
        "m-dirt": {"litellm_provider": "openai", "input_cost_per_token": 2.9999900000000002e-06}
    }"#;
    let imported = read(file).unwrap();
    let said: Vec<String> = imported
        .skipped
        .iter()
        .map(|(name, why)| format!("{name}: {why}"))
        .collect();
    let said = said.join("\n");
    for part in [
        "openai/m-negative: input is negative",
        "openai/m-storage: cache_read above input",
        "openai/m-absurd: input is absurd: 2000000 USD",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let comparison = imported.compare(&Book::market(), &options());
    let new = |model| {
        comparison
            .changes
            .iter()
            .find(|change| change.model == model)
    };
    assert_eq!(new("m-dirt").unwrap().rates[0].new, "3");
    assert!(new("m-absurd").is_none());
    assert_eq!(new("m-negative").unwrap().rates.len(), 1);
}

#[test]
fn an_import_of_what_the_book_says_changes_nothing() {
    let same = CHEAPER.replace("0.20", "0.25");
    let comparison = compared(&same);
    assert!(comparison.is_empty());
    assert_eq!(comparison.unchanged, 1);
    // The samples are of the lists that the book was made of: most of it is the same.
    for file in [LITELLM, GENAI_V2, MODELS_DEV] {
        let comparison = read(file).unwrap().compare(&Book::market(), &options());
        let doubtful = comparison.suspicious();
        assert!(comparison.unchanged + comparison.changes.len() > 5);
        assert_eq!(doubtful, 0, "{:#?}", comparison.changes);
    }
}

#[test]
fn a_name_that_the_book_lacks_is_priced_after_an_import_also_before_it() {
    let file = "name = \"new\"\nversion = \"1\"\n[[models]]\nprovider = \"openai\"\nmodel = \"gpt-99\"\n\
                aliases = [\"gpt-99-latest\", \"gpt-4o\"]\nperiods = [{ rates = { input = \"1\", output = \"2\" } }]";
    let comparison = read(file).unwrap().compare(&Book::market(), &options());
    assert!(one(&comparison).is_new);
    let book = comparison.book(&Book::market(), "1", false).unwrap();
    let mut record = call("openai", "gpt-99-latest", "2026-01-01");
    record.usage = Usage::of(1_000_000, 0);
    let priced = book.price(&record, &ProviderKinds::default());
    assert_eq!(priced.cost.cost, Some("1".parse().unwrap()));
    // A name that another model has stays that model's.
    record.model = Some("gpt-4o".into());
    let priced = book.price(&record, &ProviderKinds::default());
    assert_eq!(priced.cost.cost, Some("2.5".parse().unwrap()));
}
