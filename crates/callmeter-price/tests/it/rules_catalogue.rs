//! The catalogue and pricing anew: R-26, R-27, R-31. Imports (R-28 to R-30) have a module of their own.

use callmeter_core::Usage;
use callmeter_price::{Book, BookError, ProviderKinds};

use crate::support::{MILLION_IN, call, is, line_by, market};

const ACME: &str = r#"
name = "acme"
version = "2026-11-01"
[[models]]
provider = "openai"
model = "gpt-5-mini"
[[models.periods]]
from = "2026-10-01"
until = "2026-11-01"
rates = { input = "9", output = "9" }
"#;

#[test]
fn r_26_a_layer_replaces_a_whole_price_for_its_time_and_no_more() {
    let book = Book::parse(ACME).unwrap();
    let at = |at| line_by(&book, "openai", "gpt-5-mini", MILLION_IN, at, "").0;
    assert_eq!(at("2026-09-30T23:59:59Z"), "0.25");
    assert_eq!(at("2026-10-01T00:00:00Z"), "9");
    assert_eq!(at("2026-11-01T00:00:00Z"), "0.25");
    // Not its single rates: the period of the upper layer has none for cached reads.
    let cached = r#""input_tokens":10,"cache_read_tokens":10"#;
    let priced = line_by(&book, "openai", "gpt-5-mini", cached, "2026-10-05", "");
    assert_eq!(priced, is("null", "missing_rate:cache_read"));
    // A listed name of the lower layer leads to the price of the upper one.
    let alias = line_by(
        &book,
        "openai",
        "gpt-5-mini-2025-08-07",
        MILLION_IN,
        "2026-10-05",
        "",
    );
    assert_eq!(alias, is("9", "alias"));
}

#[test]
fn r_26_each_price_knows_its_layer_its_source_and_its_date() {
    let book = Book::parse(ACME).unwrap();
    let mut record = call("openai", "gpt-5-mini", "2026-10-05");
    record.usage = Usage::of(1, 1);
    let why = book.explain(&record, &ProviderKinds::default());
    assert_eq!(why.layer.as_deref(), Some("book acme 2026-11-01"));
    record.model = Some("gpt-4o".into());
    let why = book.explain(&record, &ProviderKinds::default());
    let version = Book::market().version().to_owned();
    assert_eq!(why.layer, Some(format!("built-in market {version}")));
    assert_eq!(why.source, Some(format!("GMLTFPDS, {version}")));
    assert_eq!(why.lines.len(), 2);
}

#[test]
fn r_26_a_book_stands_alone_when_it_says_so() {
    let text = ACME.replace("version =", "extends = \"none\"\nversion =");
    let book = Book::parse(&text).unwrap();
    let told = line_by(&book, "openai", "gpt-4o", MILLION_IN, "2026-10-05", "");
    assert_eq!(told, is("null", "unknown_model"));
    let told = line_by(&book, "ollama", "x", MILLION_IN, "2026-10-05", "");
    assert_eq!(told, is("null", "unknown_provider"));
    let error =
        Book::parse(&ACME.replace("version =", "extends = \"mine\"\nversion =")).unwrap_err();
    assert!(
        error.to_string().contains("'mine' is no book to extend"),
        "{error}"
    );
}

#[test]
fn r_26_discounts_are_for_a_provider_an_account_or_a_project() {
    let book = Book::parse(
        "name = \"acme\"\nversion = \"1\"\n\
         [[discounts]]\nproject = \"trial\"\nfactor = \"0\"\n\
         [[discounts]]\nprovider = \"azure_eu\"\nfactor = \"0.5\"\n\
         [[discounts]]\nprovider = \"anthropic\"\nfrom = \"2026-11-01\"\nfactor = \"0.85\"\n",
    )
    .unwrap();
    let kinds = ProviderKinds::new([("azure_eu".to_owned(), "azure_openai".to_owned())]);
    let cost = |provider: &str, model: &str, at: &str, project: Option<&str>| {
        let mut record = call(provider, model, at);
        record.usage = Usage::of(1_000_000, 0);
        record.project = project.map(str::to_owned);
        book.price(&record, &kinds).cost.cost.unwrap().to_string()
    };
    assert_eq!(
        cost("anthropic", "claude-sonnet-4-6", "2026-11-02", None),
        "2.55"
    );
    assert_eq!(
        cost("anthropic", "claude-sonnet-4-6", "2026-10-02", None),
        "3"
    );
    assert_eq!(cost("azure_eu", "gpt-4o", "2026-11-02", None), "1.25");
    assert_eq!(cost("azure_openai", "gpt-4o", "2026-11-02", None), "2.5");
    assert_eq!(cost("openai", "gpt-4o", "2026-11-02", Some("trial")), "0");
}

fn refusal(models: &str) -> BookError {
    let text = format!("name = \"own\"\nversion = \"1\"\n{models}");
    Book::parse(&text).unwrap_err()
}

#[test]
fn r_27_a_bad_book_is_refused_with_the_entry_the_key_and_the_line() {
    let model = "[[models]]\nprovider = \"openai\"\nmodel = \"m\"\n";
    for (rest, says, key) in [
        ("periods = []", "has no period", "models[0].periods"),
        (
            "periods = [{ rates = { input = \"-1\" } }]",
            "rate 'input' is '-1'",
            "models[0].periods[0].rates.input",
        ),
        (
            "periods = [{ rates = { input = \"cheap\" } }]",
            "decimal text",
            "rates.input",
        ),
        (
            "periods = [{ rates = { inptu = \"1\" } }]",
            "'inptu' is no kind of rate",
            "rates.inptu",
        ),
        (
            "periods = [{ rates = { input = \"1\", cache_read = \"2\" } }]",
            "cache_read costs more",
            "rates.cache_read",
        ),
        (
            "periods = [{ from = \"2026-02-02\", until = \"2026-01-01\", rates = {} }]",
            "ends before",
            "periods[0].until",
        ),
        (
            "periods = [{ from = \"soon\", rates = {} }]",
            "'soon' is",
            "periods[0].from",
        ),
        (
            "periods = [{ rates = {} }, { rates = {} }]",
            "overlap",
            "periods[1].from",
        ),
        (
            "periods = [{ rates = {}, tiers = [{ over = 9, rates = {} }, { over = 8, rates = {} }] }]",
            "ascend",
            "tiers[1].over",
        ),
        (
            "periods = [{ rates = {}, windows = [{ utc = [\"25:00\", \"1:00\"], factor = \"2\" }] }]",
            "no time of day",
            "windows[0].utc",
        ),
        (
            "periods = [{ rates = {}, windows = [{ utc = [\"1:00\", \"2:00\"], weekdays = [8], factor = \"2\" }] }]",
            "no weekday",
            "windows[0].weekdays",
        ),
        (
            "regions = { eu = \"much\" }\nperiods = [{ rates = {} }]",
            "no factor",
            "regions.eu",
        ),
        (
            "cache_writes = \"free\"\nperiods = [{ rates = {} }]",
            "no way",
            "cache_writes",
        ),
    ] {
        let error = refusal(&format!("{model}{rest}"));
        let message = error.to_string();
        assert!(
            message.contains("openai/m") && message.contains(says),
            "{message}"
        );
        assert!(message.contains(key), "{message}");
        assert_eq!(error.line(), Some(6), "{message}");
    }
    for (text, says, line) in [
        (
            "[[discounts]]\nprovider = \"x\"\nfactor = \"half\"",
            "no factor",
            5,
        ),
        (
            "[[discounts]]\nfactor = \"0.5\"",
            "for a provider or a project",
            3,
        ),
        (
            "[[rules]]\nprovider = \"x\"\nbasis = \"luck\"",
            "'luck' is no basis",
            5,
        ),
        (
            "[currency]\ncode = \"euro\"\nrates = []",
            "no currency code",
            4,
        ),
        (
            "[currency]\ncode = \"EUR\"\nrates = [{ per_usd = \"0\" }]",
            "no rate",
            5,
        ),
    ] {
        let error = refusal(text);
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(error.line(), Some(line), "{error}");
    }
}

#[test]
fn r_27_no_name_stands_twice_under_a_provider() {
    let model = "[[models]]\nprovider = \"openai\"\nmodel = \"m\"\nperiods = [{ rates = {} }]\n";
    let alias = model.replace("\"m\"", "\"n\"\naliases = [\"m\"]");
    let names = "[[names]]\nprovider = \"openai\"\nmodel = \"x\"\nnames = [\"m\"]\n";
    for second in [model, alias.as_str(), names] {
        let error = refusal(&format!("{model}{second}")).to_string();
        assert!(error.contains("stands twice"), "{error}");
    }
    assert!(matches!(
        Book::parse("nonsense ="),
        Err(BookError::Syntax(_))
    ));
    let error = refusal("[[models]]\nprovider = \"x\"\nmodle = \"m\"").to_string();
    assert!(error.contains("modle"), "{error}");
}

#[test]
fn r_31_the_same_row_by_the_same_book_costs_the_same_to_the_pico() {
    let kept = Book::parse(&Book::market().to_text()).unwrap();
    let layered = Book::parse(&Book::parse(ACME).unwrap().to_text()).unwrap();
    assert_eq!(kept.content_id(), Book::market().content_id());
    for (at, entry) in Book::market().entries().enumerate() {
        let mut record = call(entry.provider(), entry.model(), "2026-11-20T02:30:00Z");
        let count = (at as u64 + 1) * 977;
        record.usage = Usage::of(count, count / 3);
        let first = market(&record);
        assert_eq!(market(&record), first);
        let kinds = ProviderKinds::default();
        assert_eq!(kept.price(&record, &kinds), first);
        assert_eq!(layered.price(&record, &kinds).cost.cost, first.cost.cost);
    }
}

#[test]
fn r_34_what_it_would_have_cost_at_another_time_is_a_question_that_changes_nothing() {
    let mut record = call("openai", "o3", "2025-01-01");
    record.usage = Usage::of(1_000_000, 1_000_000);
    let then = market(&record).cost;
    let mut today = call("openai", "o3", "2026-11-20");
    today.usage = record.usage.clone();
    assert_eq!(market(&today).cost.cost, Some("10".parse().unwrap()));
    assert_eq!(market(&record).cost, then);
    assert_eq!(then.cost, Some("50".parse().unwrap()));
}
