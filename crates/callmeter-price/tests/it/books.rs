//! Books as text: the built-in ones are sound, bad ones are refused with the entry's name.

use callmeter_price::Book;

#[test]
fn the_market_book_loads_and_survives_its_text() {
    let book = Book::market();
    assert!(book.entries().count() > 5_500);
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
        book.entries()
            .any(|entry| entry.provider() == provider && entry.is_named(model))
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

#[test]
fn the_built_in_book_is_small_and_its_id_is_that_of_its_text() {
    let packed = include_bytes!("../../data/market.book.z");
    assert!(packed.len() < 120_000, "{} bytes", packed.len());
    let text = Book::market().to_text();
    let (_, body) = text.split_once('\n').unwrap();
    let id: String = <sha2::Sha256 as sha2::Digest>::digest(body)
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(Book::market().content_id(), id);
}

#[test]
fn a_book_that_a_store_of_the_first_version_kept_is_still_read() {
    let kept = r#"{"name":"market","version":"2026-11-23","models":[{"dated":true,"model":"gpt-5-mini",
        "periods":[{"rates":{"input":"0.25","output":"2"}}],"provider":"openai"}]}"#;
    let book = Book::parse(kept).unwrap();
    assert_eq!((book.name(), book.version()), ("market", "2026-11-23"));
    assert_eq!(book.entries().count(), 1);
}

#[test]
fn a_newer_build_puts_its_own_book_under_the_user_s() {
    let market = Book::market();
    let acme = Book::parse("name = \"acme\"\nversion = \"7\"").unwrap();
    assert!(acme.refreshed().is_none());
    let older = acme
        .to_text()
        .replace(
            &format!("market\\t{}", market.version()),
            "market\\t2020-01-01",
        )
        .replace(market.content_id(), "0000000000000000");
    let older = Book::parse(&older).unwrap();
    assert_ne!(older.content_id(), acme.content_id());
    let newer = older.refreshed().unwrap();
    assert_eq!(
        (newer.name(), newer.content_id()),
        ("acme", acme.content_id())
    );
    assert!(Book::legacy().refreshed().is_none());
}
