//! Books as text: the built-in ones are sound, bad ones are refused with the entry's name.

use callmeter_price::{Book, BookError};

#[test]
fn the_market_book_loads_and_survives_its_text() {
    let book = Book::market();
    assert!(book.entries().count() > 3_000);
    let again = Book::parse(&book.to_text()).unwrap();
    assert_eq!(again.content_id(), book.content_id());
    assert_eq!((again.name(), again.version()), ("market", book.version()));
    let legacy = Book::legacy();
    assert_eq!(
        Book::parse(&legacy.to_text()).unwrap().content_id(),
        legacy.content_id()
    );
}

#[test]
fn the_market_book_knows_the_contract_s_models_and_the_major_makers_latest() {
    let book = Book::market();
    let has = |provider: &str, model: &str| {
        book.entries().any(|entry| {
            entry.provider == provider
                && (entry.model == model || entry.aliases.iter().any(|alias| alias == model))
        })
    };
    for (provider, model) in [
        ("gemini", "gemini-2.5-flash"),
        ("gemini", "gemini-2.5-pro"),
        ("gemini", "gemini-2.0-flash"),
        ("gemini", "gemini-1.5-flash"),
        ("anthropic", "claude-opus-4-7"),
        ("anthropic", "claude-sonnet-4-6"),
        ("anthropic", "claude-haiku-4-5"),
        ("openai", "gpt-5-mini"),
        ("openai", "gpt-4o"),
        ("openai", "text-embedding-3-small"),
        ("mistral", "mistral-small-latest"),
        ("xai", "grok-4"),
        ("aws_bedrock", "us.anthropic.claude-sonnet-4-6"),
    ] {
        assert!(has(provider, model), "{provider}/{model}");
    }
}

fn refusal(models: &str) -> String {
    let text = format!("name = \"own\"\nversion = \"1\"\n{models}");
    Book::parse(&text).unwrap_err().to_string()
}

#[test]
fn a_bad_book_is_refused_and_the_entry_named() {
    let model = "[[models]]\nprovider = \"openai\"\nmodel = \"m\"\n";
    for (rest, says) in [
        ("periods = []", "has no period"),
        (
            "periods = [{ rates = { input = \"-1\" } }]",
            "rate 'input' is '-1'",
        ),
        (
            "periods = [{ rates = { input = \"cheap\" } }]",
            "decimal text",
        ),
        (
            "periods = [{ rates = { inptu = \"1\" } }]",
            "'inptu' is no kind of rate",
        ),
        (
            "periods = [{ rates = { input = \"1\", cache_read = \"2\" } }]",
            "cache_read costs more",
        ),
        (
            "periods = [{ from = \"2026-02-02\", until = \"2026-01-01\", rates = { input = \"1\" } }]",
            "ends before",
        ),
        (
            "periods = [{ rates = { input = \"1\" } }, { rates = { input = \"2\" } }]",
            "overlap",
        ),
        (
            "periods = [{ rates = { input = \"1\" }, tiers = [{ over = 9, rates = {} }, { over = 8, rates = {} }] }]",
            "ascend",
        ),
    ] {
        let message = refusal(&format!("{model}{rest}"));
        assert!(
            message.contains("openai/m") && message.contains(says),
            "{message}"
        );
    }
    let twice = format!(
        "{0}periods = [{{ rates = {{}} }}]\n{0}periods = [{{ rates = {{}} }}]",
        model
    );
    assert!(refusal(&twice).contains("stands twice"));
    assert!(matches!(
        Book::parse("nonsense ="),
        Err(BookError::Syntax(_))
    ));
    assert!(refusal("[[models]]\nprovider = \"x\"\nmodle = \"m\"").contains("modle"));
}
