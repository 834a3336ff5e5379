//! The page of the record's fields, made from the table of fields: `docs/reference/record.md`.

use std::fmt::Write as _;

use callmeter_core::{
    CallId, CallRecord, Cost, CostSource, Field, Layer, Owner, PriceMatch, Timestamp,
    UnpricedReason,
};

const HEAD: &str = "# The row

This page is generated: `CALLMETER_BLESS=1 cargo test -p callmeter-core reference` writes it anew.

`callmeter calls --json` and `callmeter show ID --json` print one object a call with every field of this page; one that nobody knows is null, never 0
or empty. Fields are only ever added; `v` changes if one changes its meaning. Texts longer than their limit, in characters, are cut on a
character boundary and control characters are replaced; a row to which that happened carries the mark `cut`. A count that is negative or above 10¹² is no
count, and the row carries `usage_implausible`.

## Identity

| field | what it is | kind |
| --- | --- | --- |
| `v` | The version of this object: 1. | integer |
| `call_id` | The call: a UUID of version 7 whose time is `started_at`. | call id |
| `layer` | Which way in made the record; of a merged row the outermost. | {layers} |
| `rev` | The record's number within its layer; a later one completes an earlier one. | integer |
| `started_at` | When the call began, in UTC, to the microsecond. | moment |

## What was observed

*Decides* says who has the last word when several ways in saw the same call:

";

const AFTER_OWNERS: &str = "
| field | what it is | kind | limit | decides |
| --- | --- | --- | --- | --- |
";

const COST_HEAD: &str = "
## What the store worked out

These stand on rows that a store returns, and change only when the store prices the row again.

| field | what it is | kind |
| --- | --- | --- |
";

fn owner(owner: Owner) -> &'static str {
    match owner {
        Owner::Outer => "outer",
        Owner::Outcome => "outcome",
        Owner::Wire => "wire",
        Owner::Usage => "usage",
        Owner::Union => "all",
        _ => "another",
    }
}

fn words<'a>(words: impl Iterator<Item = &'a str>) -> String {
    format!("one of {}", words.collect::<Vec<_>>().join(", "))
}

/// The text of `docs/reference/record.md`.
fn page() -> String {
    let layers = words(Layer::ALL.iter().map(|layer| layer.as_str()));
    let mut page = HEAD.replace("{layers}", &layers);
    for (who, rule) in [
        (
            Owner::Outer,
            "the outermost layer: guard, sdk, proxy, span, import",
        ),
        (
            Owner::Outcome,
            "as outer, but a record of a process that died yields to any that finished",
        ),
        (
            Owner::Wire,
            "the layer nearest to the provider: proxy, sdk, span, guard, import",
        ),
        (
            Owner::Usage,
            "as wire, but guessed or estimated counts yield to reported ones",
        ),
        (Owner::Union, "all together"),
    ] {
        let _ = writeln!(page, "- **{}**: {rule}.", owner(who));
    }
    page.push_str(AFTER_OWNERS);
    for field in Field::ALL {
        let limit = match field.limit() {
            0 => String::new(),
            limit => limit.to_string(),
        };
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {limit} | {} |",
            json_name(*field),
            field.purpose(),
            field.kind(),
            owner(field.owner())
        );
    }
    page.push_str(COST_HEAD);
    let reasons = words(UnpricedReason::ALL.iter().map(|reason| reason.as_str()));
    let sources = words(CostSource::ALL.iter().map(|source| source.as_str()));
    let matches = words(PriceMatch::ALL.iter().map(|found| found.as_str()));
    for (name, what, kind) in [
        (
            "cost_usd",
            "The cost that counts; null when the call is unpriced or under a plan.",
            "decimal text",
        ),
        (
            "plan_value_usd",
            "What a call under a plan (`billing`) would cost by the token; it is no money and in no sum of `cost_usd`.",
            "decimal text",
        ),
        ("unpriced_reason", "Why there is no cost.", reasons.as_str()),
        (
            "computed_cost_usd",
            "What the price book says, also where the provider's own figure counts.",
            "decimal text",
        ),
        ("cost_source", "Whose figure counts.", sources.as_str()),
        ("price_id", "The price entry.", "text"),
        (
            "price_match",
            "How the model's name led to the price.",
            matches.as_str(),
        ),
        (
            "book_rev",
            "The revision of the store's price book that the row was last priced by.",
            "integer",
        ),
    ] {
        let _ = writeln!(page, "| `{name}` | {what} | {kind} |");
    }
    page
}

/// Money is a decimal text in JSON and an integer in stores.
fn json_name(field: Field) -> &'static str {
    match field {
        Field::ReportedCost => "reported_cost_usd",
        other => other.name(),
    }
}

#[test]
fn the_reference_lists_every_field_as_it_is() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/record.md"
    );
    if std::env::var_os("CALLMETER_BLESS").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap(),
        page(),
        "write it anew: CALLMETER_BLESS=1 cargo test -p callmeter-core reference"
    );
}

#[test]
fn every_key_of_a_row_in_json_is_in_the_reference() {
    let record = CallRecord::new(CallId::new(Timestamp::EPOCH, 1), Layer::Guard, 0);
    let json = record.to_json(Some(&Cost::default()));
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json).unwrap();
    let page = page();
    for key in object.keys() {
        assert!(page.contains(&format!("| `{key}` |")), "{key}");
    }
    let listed = page.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(listed, object.len());
}
