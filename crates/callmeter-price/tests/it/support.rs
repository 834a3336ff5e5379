//! Calls as the filter that scripts use takes them, and what it answers.

use callmeter_core::{CallRecord, Layer};
use callmeter_price::filter::price_line;
use callmeter_price::{Book, Priced, ProviderKinds};

pub(crate) const MILLION_EACH: &str = r#""input_tokens":1000000,"output_tokens":1000000"#;
pub(crate) const MILLION_IN: &str = r#""input_tokens":1000000,"output_tokens":0"#;

/// (cost, match or reason) of one call on 2026-11-20.
pub(crate) fn line(provider: &str, model: &str, usage: &str) -> (String, String) {
    line_with(provider, model, usage, "2026-11-20T10:00:00Z", "")
}

pub(crate) fn line_with(
    provider: &str,
    model: &str,
    usage: &str,
    at: &str,
    more: &str,
) -> (String, String) {
    line_by(&Book::market(), provider, model, usage, at, more)
}

pub(crate) fn line_by(
    book: &Book,
    provider: &str,
    model: &str,
    usage: &str,
    at: &str,
    more: &str,
) -> (String, String) {
    let text = format!(
        r#"{{"provider":"{provider}","model":"{model}","at":"{at}","usage":{{{usage}}}{more}}}"#
    );
    let out: serde_json::Value = serde_json::from_str(&price_line(book, &text).unwrap()).unwrap();
    let cost = out["cost_usd"].as_str().unwrap_or("null").to_owned();
    let told = if cost == "null" {
        &out["reason"]
    } else {
        &out["match"]
    };
    (cost, told.as_str().unwrap_or_default().to_owned())
}

pub(crate) fn is(cost: &str, told: &str) -> (String, String) {
    (cost.to_owned(), told.to_owned())
}

/// A call that began at a moment.
pub(crate) fn call(provider: &str, model: &str, at: &str) -> CallRecord {
    let id = callmeter_core::CallId::new(at.parse().unwrap(), 1);
    let mut record = CallRecord::new(id, Layer::Guard, 0);
    record.provider = Some(provider.into());
    record.model = Some(model.into());
    record
}

pub(crate) fn market(record: &CallRecord) -> Priced {
    Book::market().price(record, &ProviderKinds::default())
}

/// A book of one model, `acme/m`, with nothing below it.
pub(crate) fn book_of(model: &str) -> Book {
    let text = format!(
        "name = \"own\"\nversion = \"1\"\nextends = \"none\"\n[[models]]\nprovider = \"acme\"\n\
         model = \"m\"\n{model}"
    );
    Book::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What a call of `acme/m` costs by a book of one model.
pub(crate) fn own(model: &str, usage: &str) -> (String, String) {
    let at = "2026-11-20T10:00:00Z";
    line_by(&book_of(model), "acme", "m", usage, at, "")
}
