//! How long questions take at 1,000,000 calls, against the same question put to the raw rows in SQL:
//! `cargo bench -p callmeter-store --bench report`.
//!
//! The store is made first, with 60 days of calls by 34 callers and 6 models of 4 teams; `CALLMETER_BENCH_CALLS` sets
//! another number of calls. Every answer comes from a store that is open already and warm.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use callmeter_core::{
    CallId, CallRecord, Clock, ErrorKind, Layer, Sink, Status, SystemClock, Timestamp,
};
use callmeter_store::{
    CallsQuery, Dimension, Filter, Period, ReportQuery, SqliteOptions, SqliteReader, SqliteStore,
};
use criterion::{Criterion, criterion_group, criterion_main};
use rusqlite::Connection;

const DAY: i64 = 86_400_000_000;
const DAYS: i64 = 60;
const BATCH: u64 = 1_000;
const TEAMS: [&str; 4] = ["shop", "support", "marketing", "analytics"];
const MODELS: [(&str, &str); 6] = [
    ("openai", "gpt-5-mini"),
    ("openai", "gpt-4o"),
    ("anthropic", "claude-sonnet-4-6"),
    ("gemini", "gemini-2.5-flash"),
    ("ollama", "llama3.1:8b"),
    ("aws_bedrock", "amazon.nova-pro-v1:0"),
];

/// Spreads numbers (SplitMix64).
fn mix(n: u64) -> u64 {
    let z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Call number `n` of `calls`, spread evenly over the days before `now`.
fn call(n: u64, calls: u64, now: Timestamp) -> CallRecord {
    let mix = mix(n);
    let offset = i128::from(n) * i128::from(DAYS * DAY) / i128::from(calls);
    let start = now.saturating_add_micros(i64::try_from(offset).unwrap() - DAYS * DAY);
    let mut record = CallRecord::new(CallId::new(start, mix), Layer::Guard, 0);
    let (provider, model) = MODELS[usize::try_from(mix >> 20).unwrap() % MODELS.len()];
    let caller = (mix >> 32) % 34;
    record.caller = Some(format!("caller_{caller}"));
    record.team = Some(TEAMS[usize::try_from(caller).unwrap() % TEAMS.len()].to_owned());
    record.project = Some("shop".to_owned());
    record.service = Some("backoffice".to_owned());
    record.provider = Some(provider.to_owned());
    record.model_requested = Some(model.to_owned());
    record.request_id = Some(format!("req-{n}"));
    record.duration_us = Some(200_000 + mix % 8_000_000);
    record.usage.input_tokens = Some(100 + mix % 4_000);
    record.usage.output_tokens = Some(10 + mix % 600);
    record.status = Some(Status::Ok);
    if mix.is_multiple_of(50) {
        record.status = Some(Status::Error);
        record.error_kind = Some(ErrorKind::RateLimit);
    }
    record
}

fn make(path: &Path, calls: u64, now: Timestamp) {
    let options = SqliteOptions::default();
    let mut store = SqliteStore::open(path, options, Arc::new(SystemClock)).unwrap();
    for first in (0..calls).step_by(usize::try_from(BATCH).unwrap()) {
        let last = calls.min(first + BATCH);
        let batch: Vec<_> = (first..last).map(|n| call(n, calls, now)).collect();
        store.write(&batch).unwrap();
    }
}

/// Reads every row of an answer.
fn all(raw: &Connection, sql: &str) -> usize {
    let mut statement = raw.prepare_cached(sql).unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut count = 0;
    while let Some(row) = rows.next().unwrap() {
        std::hint::black_box(row.get_ref(0).unwrap());
        count += 1;
    }
    count
}

fn questions(criterion: &mut Criterion) {
    let calls = std::env::var("CALLMETER_BENCH_CALLS")
        .ok()
        .and_then(|number| number.parse().ok())
        .unwrap_or(1_000_000);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let now = SystemClock.now();
    make(&path, calls, now);
    let mut store = SqliteReader::open(&path).unwrap();
    let raw = Connection::open(&path).unwrap();
    let sums =
        "count(*), sum(input_tokens), sum(output_tokens), sum(cost_picousd), avg(duration_us)";

    let mut group = criterion.benchmark_group(format!("report/{calls}"));
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(5));
    let month = Filter {
        since: Some(now.saturating_add_micros(-30 * DAY)),
        ..Filter::default()
    };
    for (name, period, by, filter) in [
        (
            "whole, by caller and model",
            Period::Whole,
            vec![Dimension::Caller, Dimension::Model],
            Filter::default(),
        ),
        ("daily", Period::Day, vec![], Filter::default()),
        (
            "30 days, by team",
            Period::Whole,
            vec![Dimension::Team],
            month.clone(),
        ),
    ] {
        let query = ReportQuery {
            filter,
            period,
            by,
            zone: None,
        };
        group.bench_function(name, |bencher| {
            bencher.iter(|| store.report(&query).unwrap())
        });
    }
    group.bench_function("totals of today", |bencher| {
        let zone = store.zone().clone();
        let since = Some(zone.day_start(zone.day_of(now)));
        let filter = Filter {
            since,
            ..Filter::default()
        };
        bencher.iter(|| store.totals(&filter).unwrap());
    });
    group.sample_size(10);
    for (name, sql) in [
        (
            "baseline: rows by caller and model",
            format!("SELECT caller, model, {sums} FROM calls GROUP BY caller, model"),
        ),
        (
            "baseline: rows by day",
            format!("SELECT hi / 353894400000, {sums} FROM calls GROUP BY 1"),
        ),
    ] {
        group.bench_function(name, |bencher| bencher.iter(|| all(&raw, &sql)));
    }
    group.finish();

    let mut group = criterion.benchmark_group(format!("calls/{calls}"));
    for (name, filter) in [
        ("newest 20", Filter::default()),
        (
            "newest 20 of a caller",
            Filter {
                caller: Some("caller_7".to_owned()),
                ..Filter::default()
            },
        ),
        (
            "newest 20 of a model",
            Filter {
                model: Some("gpt-4o".to_owned()),
                ..Filter::default()
            },
        ),
        (
            "newest 20 errors",
            Filter {
                status: Some("error".to_owned()),
                ..Filter::default()
            },
        ),
    ] {
        let query = CallsQuery {
            filter,
            before: None,
            limit: 20,
        };
        group.bench_function(name, |bencher| {
            bencher.iter(|| store.calls(&query).unwrap())
        });
    }
    let id = call(calls / 2, calls, now).call_id;
    group.bench_function("one by its id", |bencher| {
        bencher.iter(|| store.find(id).unwrap().unwrap())
    });
    let request = format!("req-{}", calls / 2);
    group.bench_function("one by its request id", |bencher| {
        bencher.iter(|| store.find_by_foreign_id(&request).unwrap());
    });
    group.finish();

    let size = std::fs::metadata(&path).unwrap().len();
    #[allow(clippy::print_stderr)]
    {
        eprintln!("{} bytes a call in {calls} calls", size / calls);
    }
}

criterion_group!(benches, questions);
criterion_main!(benches);
