//! The built-in book and the page beside it are what `cargo xtask prices` makes of the sources that are committed.
//!
//! A binary of its own, because it takes in the builder.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::Read;

use callmeter_price::Book;

#[allow(dead_code)] // its `main` writes files
#[path = "../examples/market_book/main.rs"]
mod builder;

fn records() -> Vec<serde_json::Value> {
    let packed = include_bytes!("../data/sources.jsonl.gz").as_slice();
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed)
        .read_to_string(&mut text)
        .unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_book_is_made_of_its_sources() {
    let made = builder::book(&records()).unwrap();
    assert!(made == Book::market().to_text(), "run `cargo xtask prices`");
}

#[test]
fn the_page_of_disputed_prices_is_made_of_the_sources() {
    let page = include_str!("../../../docs/reference/prices-disputed.md");
    let made = builder::page::disputed(&records());
    assert!(made == page, "run `cargo xtask prices`");
}

#[test]
fn every_record_of_the_sources_is_in_the_book_or_known_as_disputed() {
    let book = Book::market();
    let text = book.to_text();
    let disputed = text.lines().filter(|line| line.starts_with("X\t")).count();
    let records = records();
    let in_book = book.entries().count();
    let left = records.len() - in_book - disputed;
    // Ids with a resource prefix, and geographic profiles that Bedrock's own list has as well.
    assert!(left < 60, "{left} of {} are nowhere", records.len());
}
