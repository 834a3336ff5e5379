//! Questions at so many rows of ninety days, to either store and to its raw rows.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callmeter_core::{CallId, Clock, Sink, SystemClock, Timestamp};
use callmeter_store::{
    CallsQuery, Dimension, Filter, Period, ReportQuery, SqliteStore, StoreOptions, StoreReader,
    StoreUrl,
};
use callmeter_testkit::postgres::{Options, PostgresServer};

use crate::ways::{BATCH, Raw, batch, make, open};

const DAYS: i64 = 90;
const DAY: i64 = 86_400_000_000;

/// A question to a store, and the same to raw rows: SQL of both databases, where `{t}` is the table.
struct Question {
    name: &'static str,
    ask: Box<dyn Fn(&mut StoreReader)>,
    raw: Option<String>,
}

fn questions(now: Timestamp, some: CallId) -> Vec<Question> {
    let ago = |days: i64| now.saturating_add_micros(-days * DAY);
    let hi = |days: i64| CallId::hi_at(ago(days));
    let since = |days: i64| Filter {
        since: Some(ago(days)),
        ..Filter::default()
    };
    let report = |days: i64, period: Period, by: &[Dimension]| -> Box<dyn Fn(&mut StoreReader)> {
        let query = ReportQuery {
            filter: since(days),
            period,
            by: by.to_vec(),
            zone: None,
        };
        Box::new(move |store| drop(store.report(&query).unwrap()))
    };
    let calls = |filter: Filter| -> Box<dyn Fn(&mut StoreReader)> {
        let query = CallsQuery {
            filter,
            before: None,
            limit: 100,
        };
        Box::new(move |store| drop(store.calls(&query).unwrap()))
    };
    let sums = "count(*), sum(input_tokens), sum(output_tokens), sum(cost_picousd), sum(duration_us), \
                sum(cache_hit), max(duration_us)";
    let raw = |days: i64, by: &str| {
        let group = if by.is_empty() {
            String::new()
        } else {
            format!("GROUP BY {by}")
        };
        let comma = if by.is_empty() { "" } else { ", " };
        Some(format!(
            "SELECT {by}{comma} {sums} FROM {{t}} WHERE hi >= {} {group}",
            hi(days)
        ))
    };
    let of = |caller: Option<&str>, model: Option<&str>, status: Option<&str>| Filter {
        caller: caller.map(str::to_owned),
        model: model.map(str::to_owned),
        status: status.map(str::to_owned),
        ..Filter::default()
    };
    let request = "req-777".to_owned();
    let question = |name, ask, raw| Question { name, ask, raw };
    vec![
        question("totals, 24 h", report(1, Period::Whole, &[]), raw(1, "")),
        question("totals, 30 d", report(30, Period::Whole, &[]), raw(30, "")),
        question(
            "by day and model, 7 d",
            report(7, Period::Day, &[Dimension::Model]),
            raw(7, "hi / 353894400000, model"),
        ),
        question(
            "top callers, 30 d",
            report(30, Period::Whole, &[Dimension::Caller]),
            raw(30, "caller"),
        ),
        question(
            "percentiles and errors by provider and day, 7 d",
            report(7, Period::Day, &[Dimension::Provider, Dimension::Status]),
            raw(7, "hi / 353894400000, provider, status"),
        ),
        question(
            "month by caller, all",
            report(DAYS + 1, Period::Month, &[Dimension::Caller]),
            raw(DAYS + 1, "hi / 10616832000000, caller"),
        ),
        question("newest 100", calls(Filter::default()), None),
        question(
            "newest 100 of a caller",
            calls(of(Some("caller_7"), None, None)),
            None,
        ),
        question(
            "newest 100 of a caller and model",
            calls(of(Some("caller_7"), Some("gpt-4o"), None)),
            None,
        ),
        question(
            "newest 100 that failed",
            calls(of(None, None, Some("error"))),
            None,
        ),
        question(
            "by call id",
            Box::new(move |store| drop(store.find(some).unwrap())),
            None,
        ),
        question(
            "by request id",
            Box::new(move |store| drop(store.find_by_foreign_id(&request).unwrap())),
            None,
        ),
    ]
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

pub(crate) fn measure(rows: u64, rounds: usize) {
    let server = PostgresServer::start(&Options {
        settings: vec![
            "shared_buffers=512MB".to_owned(),
            "max_wal_size=4GB".to_owned(),
        ],
        ..Options::default()
    });
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("store.sqlite");
    let now = SystemClock.now();
    let start = now.saturating_add_micros(-DAYS * DAY);
    let step = u64::try_from(DAYS * DAY).unwrap() / rows.max(1);
    let in_database = make(&server, "questions");
    build(&in_database, &file, rows, start, step);
    let raw = Raw::connect(&server.url("questions"));
    raw.run("VACUUM (ANALYZE)");
    let some = batch(rows / BATCH / 2, start, step)[0].call_id;
    let sqlite = rusqlite::Connection::open(&file).unwrap();
    sqlite.execute_batch("PRAGMA cache_size = -65536").unwrap();
    let mut stores =
        [StoreUrl::sqlite(&file), in_database].map(|url| StoreReader::open(&url).unwrap());
    println!("\nmilliseconds a question at {rows} rows, warm, median of {rounds}");
    println!(
        "  {:<50} {:>9} {:>9} {:>11} {:>9}",
        "", "SQLite", "raw rows", "PostgreSQL", "raw rows"
    );
    for question in questions(now, some) {
        let mut columns = Vec::new();
        for (at, store) in stores.iter_mut().enumerate() {
            (question.ask)(store);
            let times = (0..rounds).map(|_| {
                let began = Instant::now();
                (question.ask)(store);
                began.elapsed()
            });
            columns.push(Some(median(times.collect())));
            // Raw rows are read once to warm up, and a few times: at ten millions each time is long.
            columns.push(question.raw.as_ref().map(|sql| {
                let times = (0..rounds.div_ceil(3) + 1).map(|_| match at {
                    0 => time_sqlite(&sqlite, &sql.replace("{t}", "calls")),
                    _ => raw.time(&sql.replace("{t}", "callmeter.calls")),
                });
                median(times.skip(1).collect())
            }));
        }
        let shown = columns.iter().map(|time| match time {
            Some(time) => format!("{:.2}", time.as_secs_f64() * 1_000.0),
            None => "–".to_owned(),
        });
        let [a, b, c, d] = shown.collect::<Vec<_>>().try_into().unwrap_or_default();
        println!("  {:<50} {a:>9} {b:>9} {c:>11} {d:>9}", question.name);
    }
}

fn build(url: &StoreUrl, file: &Path, rows: u64, start: Timestamp, step: u64) {
    let options = StoreOptions::default();
    let mut embedded = SqliteStore::open(file, options, Arc::new(SystemClock)).unwrap();
    let mut team = open(url);
    let began = Instant::now();
    let mut spent = [Duration::ZERO; 2];
    // Batches of several thousand rows: what is measured is not how they came in.
    let batches = rows / BATCH;
    let mut number = 0;
    while number < batches {
        let many: Vec<_> = (number..batches.min(number + 5))
            .flat_map(|number| batch(number, start, step))
            .collect();
        let at = Instant::now();
        embedded.write(&many).unwrap();
        spent[0] += at.elapsed();
        let at = Instant::now();
        team.write(&many).unwrap();
        spent[1] += at.elapsed();
        number += 5;
    }
    println!(
        "\nbuilt {rows} rows in {:.0} s: SQLite {:.0} s, PostgreSQL {:.0} s (not durable)",
        began.elapsed().as_secs_f64(),
        spent[0].as_secs_f64(),
        spent[1].as_secs_f64()
    );
}

fn time_sqlite(conn: &rusqlite::Connection, sql: &str) -> Duration {
    let began = Instant::now();
    let mut statement = conn.prepare_cached(sql).unwrap();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        std::hint::black_box(row.get_ref(0).unwrap());
    }
    began.elapsed()
}
