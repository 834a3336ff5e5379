//! How many calls a second a reprice takes, on either store, and what its preview takes.
//!
//! ```text
//! cargo bench -p callmeter-store --features postgres --bench reprice                   1 million calls
//! cargo bench -p callmeter-store --features postgres --bench reprice -- --rows 100000
//! cargo bench -p callmeter-store --bench reprice                                       the embedded store alone
//! cargo bench -p callmeter-store --bench reprice -- --quick                            that it runs
//! ```
//! The baseline is what a statement takes that changes the same columns of all rows at once, without prices, rollups,
//! audit, or room for anybody else. Nearly every cost changes. The server is one of its own, durable.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use callmeter_core::{CallId, CallRecord, Clock, Layer, SystemClock, Timestamp};
use callmeter_price::{Book, ProviderKinds};
use callmeter_store::{RepriceQuery, Repricer, StoreOptions, StoreReader, StoreUrl, open_sink};

const DAYS: i64 = 60;
const DAY: i64 = 86_400_000_000;
const BATCH: u64 = 2_000;
const MODELS: [(&str, &str); 4] = [
    ("openai", "gpt-5-mini"),
    ("openai", "gpt-4o"),
    ("anthropic", "claude-sonnet-4-6"),
    ("gemini", "gemini-2.5-flash"),
];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    // `cargo test --benches` and `cargo bench -- --quick` only want to know that it runs.
    let is_quick = args.iter().any(|arg| arg == "--quick" || arg == "--test");
    let rows = args
        .iter()
        .position(|arg| arg == "--rows")
        .and_then(|at| args.get(at + 1)?.parse().ok())
        .unwrap_or(if is_quick { 2_000 } else { 1_000_000 });
    embedded(rows);
    #[cfg(all(unix, feature = "postgres"))]
    postgres(rows);
}

fn embedded(rows: u64) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let url = StoreUrl::sqlite(path.clone());
    measure("embedded", &url, rows, || {
        let raw = rusqlite::Connection::open(&path).unwrap();
        raw.execute_batch("PRAGMA synchronous = FULL; UPDATE calls SET cost_picousd = cost_picousd + 1, price = price + 1, book_rev = book_rev")
            .unwrap();
    });
}

#[cfg(all(unix, feature = "postgres"))]
fn postgres(rows: u64) {
    use callmeter_store::PostgresSchema;
    use callmeter_testkit::postgres::{Options, PostgresServer};

    let server = PostgresServer::start(&Options::durable());
    let database = server.database();
    let url = StoreUrl::parse(&database.url()).unwrap();
    let mut schema = PostgresSchema::new(url.postgres().unwrap(), Arc::new(SystemClock)).unwrap();
    schema.migrate(&StoreOptions::default()).unwrap();
    measure("postgres", &url, rows, || {
        database.psql("UPDATE callmeter.calls SET cost_picousd = cost_picousd + 1, price = price + 1, book_rev = book_rev");
    });
}

fn measure(store: &str, url: &StoreUrl, rows: u64, all_at_once: impl FnOnce()) {
    fill(url, rows);
    let query = RepriceQuery {
        is_all: true,
        book: Some(book()),
        asked_by: "the bench".to_owned(),
        ..RepriceQuery::default()
    };
    let began = Instant::now();
    let mut reader = StoreReader::open(url).unwrap();
    let preview = reader
        .preview_reprice(&query, &ProviderKinds::default())
        .unwrap();
    tell(store, "preview", rows, began.elapsed());
    assert_eq!(preview.iter().map(|group| group.calls).sum::<u64>(), rows);

    let options = StoreOptions::default();
    let mut repricer = Repricer::open(url, options, Arc::new(SystemClock)).unwrap();
    let began = Instant::now();
    let rev = repricer.begin(&query).unwrap().rev;
    let slices = walk(&mut repricer, rev);
    tell(store, "reprice", rows, began.elapsed());
    tell_slices(store, slices);
    assert_eq!(repricer.find(rev).unwrap().unwrap().looked_at, rows);

    let began = Instant::now();
    let undo = repricer.begin_undo(rev, None, "the bench").unwrap().rev;
    let slices = walk(&mut repricer, undo);
    tell(store, "undo", rows, began.elapsed());
    tell_slices(store, slices);

    let began = Instant::now();
    all_at_once();
    tell(store, "baseline", rows, began.elapsed());
}

/// How long each slice took, the one that finds nothing more among them.
fn walk(repricer: &mut Repricer, rev: u32) -> Vec<Duration> {
    let mut slices = Vec::new();
    loop {
        let began = Instant::now();
        let has_more = repricer.slice(rev).unwrap();
        slices.push(began.elapsed());
        if !has_more {
            return slices;
        }
    }
}

fn tell_slices(store: &str, mut slices: Vec<Duration>) {
    slices.sort();
    let at = |percent: usize| slices[(slices.len() - 1) * percent / 100].as_millis();
    println!(
        "{store:<9} {} slices: median {} ms, 99 of 100 within {} ms, the longest {} ms",
        slices.len(),
        at(50),
        at(99),
        at(100)
    );
}

fn tell(store: &str, what: &str, rows: u64, took: Duration) {
    let micros = u64::try_from(took.as_micros()).unwrap().max(1);
    let per_second = rows * 1_000_000 / micros;
    println!(
        "{store:<9} {what:<9} {rows} calls in {} ms: {per_second} a second",
        took.as_millis()
    );
}

fn fill(url: &StoreUrl, rows: u64) {
    let now = SystemClock.now();
    let mut store = open_sink(url, StoreOptions::default(), Arc::new(SystemClock)).unwrap();
    for first in (0..rows).step_by(usize::try_from(BATCH).unwrap()) {
        let batch: Vec<_> = (first..rows.min(first + BATCH))
            .map(|n| call(n, rows, now))
            .collect();
        store.write(&batch).unwrap();
    }
}

/// Call number `n`, spread evenly over the days before `now`.
fn call(n: u64, rows: u64, now: Timestamp) -> CallRecord {
    let offset = i128::from(n) * i128::from(DAYS * DAY) / i128::from(rows);
    let start = now.saturating_add_micros(i64::try_from(offset).unwrap() - DAYS * DAY);
    let mut record = CallRecord::new(CallId::new(start, n), Layer::Guard, 0);
    let (provider, model) = MODELS[usize::try_from(n).unwrap() % MODELS.len()];
    record.caller = Some(format!("caller_{}", n % 34));
    record.provider = Some(provider.to_owned());
    record.model_requested = Some(model.to_owned());
    record.model = Some(model.to_owned());
    record.duration_us = Some(200_000 + n % 8_000_000);
    record.usage.input_tokens = Some(100 + n % 4_000);
    record.usage.output_tokens = Some(10 + n % 600);
    record
}

/// Other prices for the same models.
fn book() -> Arc<Book> {
    let models: String = MODELS
        .iter()
        .map(|(provider, model)| {
            format!(
                "[[models]]\nprovider = \"{provider}\"\nmodel = \"{model}\"\n\
                 periods = [{{ rates = {{ input = \"0.123\", output = \"4.567\" }} }}]\n"
            )
        })
        .collect();
    let text = format!("name = \"bench\"\nversion = \"1\"\n{models}");
    Arc::new(Book::parse(&text).unwrap())
}
