//! Makes the built-in price book from the merged price lists, and the page of what they disagree about.
//!
//! `cargo xtask prices` runs it. It reads `data/sources.jsonl.gz` (where that comes from: the README beside it), writes
//! `data/market.book.z` and `docs/reference/prices-disputed.md`, and reads the book back before anything is written. The
//! same input gives the same bytes. With `--print` the book's text goes to standard output instead.
#![allow(clippy::print_stdout, clippy::print_stderr)]

pub(crate) mod page;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::Path;

use flate2::read::GzDecoder;
use flate2::write::DeflateEncoder;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The day of the merged lists.
const VERSION: &str = "2026-11-23";

/// Providers that run on one's own machines: every model costs nothing, but for hosted tags.
const SELF_HOSTED: &[&str] = &[
    "ollama",
    "llamacpp",
    "lmstudio",
    "vllm",
    "tgi",
    "mistralrs",
    "localai",
    "gpustack",
];

/// Providers whose models are free under a quota, which is a zero of its own kind.
const FREE_QUOTA: &[&str] = &["nvidia_nim"];

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packed = std::fs::read(root.join("data/sources.jsonl.gz"))?;
    let mut text = String::new();
    GzDecoder::new(packed.as_slice()).read_to_string(&mut text)?;
    let records = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<Vec<Value>, _>>()?;
    let book = book(&records)?;
    let read = callmeter_price::Book::parse(&book)?;
    if std::env::args().any(|arg| arg == "--print") {
        std::io::stdout().write_all(book.as_bytes())?;
        return Ok(());
    }
    let mut deflate = DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    deflate.write_all(book.as_bytes())?;
    let deflated = deflate.finish()?;
    println!(
        "{} models, {} bytes of text, {} bytes in the binary",
        read.entries().count(),
        book.len(),
        deflated.len()
    );
    std::fs::write(root.join("data/market.book.z"), deflated)?;
    let pages = root.join("../../docs/reference");
    std::fs::write(pages.join("prices-disputed.md"), page::disputed(&records))?;
    Ok(())
}

/// The book as text, in the packed form.
pub(crate) fn book(records: &[Value]) -> Outcome<String> {
    let mut body = String::new();
    for (providers, basis) in [(SELF_HOSTED, "self_hosted"), (FREE_QUOTA, "free_quota")] {
        for provider in providers {
            let except = if basis == "self_hosted" {
                "\t-cloud\t:cloud"
            } else {
                ""
            };
            body.push_str(&format!("S\t{provider}\t{basis}{except}\n"));
        }
    }
    let mut by_provider: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for record in records {
        // A resource prefix is no part of an id; one list keeps it. Geographic profiles are ids of Bedrock.
        let model = text_of(record, "model");
        if model.starts_with("models/") || model.starts_with("bedrock/") {
            continue;
        }
        let provider = match text_of(record, "provider") {
            "bedrock_geo" => "bedrock",
            provider => provider,
        };
        by_provider.entry(provider).or_default().push(record);
    }
    for (provider, records) in by_provider {
        body.push_str(&format!("P\t{provider}\n"));
        let mut names: BTreeSet<&str> = BTreeSet::new();
        let mut own: Vec<&Value> = Vec::new();
        for record in records {
            if names.insert(text_of(record, "model")) {
                own.push(record);
            }
        }
        for record in own {
            match record::lines(provider, record, &mut names) {
                Some(lines) => body.push_str(&lines),
                None => body.push_str(&format!("X\t{}\n", text_of(record, "model"))),
            }
        }
    }
    let id: String = Sha256::digest(body.as_bytes())
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(format!(
        "callmeter-book\t1\tmarket\t{VERSION}\t{id}\n{body}"
    ))
}

/// A text of a record, or nothing.
fn text_of<'a>(record: &'a Value, key: &str) -> &'a str {
    record.get(key).and_then(Value::as_str).unwrap_or_default()
}
