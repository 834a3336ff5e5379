//! What a batch of 1,000 calls costs the embedded store, against bare SQLite with the same columns,
//! indexes, batch and sync: `cargo bench -p callmeter-store --bench ingest`.
//!
//! Measured in CPU time of the process: the wait for the disk is the same on both sides and tells
//! nothing. The baseline binds values that are ready; the store also looks words up, prices, encodes and
//! keeps the rollups.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use callmeter_core::{CallId, CallRecord, Clock, Layer, Sink, Status, SystemClock, Timestamp};
use callmeter_store::{SqliteOptions, SqliteStore};
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rusqlite::Connection;

const BATCH: u64 = 1_000;
const CALLERS: u64 = 34;
const MODELS: [(&str, &str); 6] = [
    ("openai", "gpt-5-mini"),
    ("openai", "gpt-4o"),
    ("anthropic", "claude-sonnet-4-6"),
    ("gemini", "gemini-2.5-flash"),
    ("ollama", "llama3.1:8b"),
    ("aws_bedrock", "amazon.nova-pro-v1:0"),
];

/// CPU time of this process.
struct CpuTime(WallTime);

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;
    fn start(&self) -> Duration {
        cpu_time()
    }
    fn end(&self, start: Duration) -> Duration {
        cpu_time().saturating_sub(start)
    }
    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }
    fn zero(&self) -> Duration {
        Duration::ZERO
    }
    fn to_f64(&self, value: &Duration) -> f64 {
        self.0.to_f64(value)
    }
    fn formatter(&self) -> &dyn ValueFormatter {
        self.0.formatter()
    }
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.cast_unsigned(),
        u32::try_from(time.tv_nsec).unwrap(),
    )
}

/// A batch of calls, a second apart, by callers and models as a back office has them.
fn batch(number: u64, start: Timestamp) -> Vec<CallRecord> {
    (0..BATCH)
        .map(|n| {
            let at = number * BATCH + n;
            let mix = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let micros = i64::try_from(at * 250_000 + mix % 200_000).unwrap();
            let id = CallId::new(start.saturating_add_micros(micros), mix);
            let mut record = CallRecord::new(id, Layer::Guard, 0);
            let (provider, model) = MODELS[(mix >> 20) as usize % MODELS.len()];
            record.caller = Some(format!("caller_{}", (mix >> 32) % CALLERS));
            record.provider = Some(provider.to_owned());
            record.model_requested = Some(model.to_owned());
            record.project = Some("shop".to_owned());
            record.service = Some("backoffice".to_owned());
            record.call_site = Some(format!("src/callers.rs:{}", (mix >> 32) % CALLERS));
            record.host_name = Some("web-1".to_owned());
            record.sdk = Some("callmeter-rust/0.1.0".to_owned());
            record.duration_us = Some(200_000 + mix % 8_000_000);
            record.usage.input_tokens = Some(100 + mix % 4_000);
            record.usage.output_tokens = Some(10 + mix % 600);
            record.status = Some(if mix.is_multiple_of(50) {
                Status::Error
            } else {
                Status::Ok
            });
            record.cache_hit = Some(mix.is_multiple_of(10));
            record
        })
        .collect()
}

/// The rows as they are stored, to be bound as they are.
type Row = Vec<rusqlite::types::Value>;

/// A store with the calls' table and its indexes, and nothing else.
fn bare(path: &Path, schema: &str) -> Connection {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch(
        "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY",
    )
    .unwrap();
    conn.execute_batch(schema).unwrap();
    conn
}

fn schema_of_calls(store: &Connection) -> String {
    let mut statement = store
        .prepare("SELECT sql FROM sqlite_schema WHERE tbl_name = 'calls' AND sql IS NOT NULL ORDER BY type DESC")
        .unwrap();
    let sql = statement
        .query_map([], |row| row.get::<_, String>(0))
        .unwrap();
    sql.map(|sql| sql.unwrap() + ";").collect()
}

fn insert_bare(conn: &Connection, rows: &[Row]) {
    conn.execute_batch("BEGIN IMMEDIATE").unwrap();
    let marks = vec!["?"; 34].join(", ");
    let mut statement = conn
        .prepare_cached(&format!(
            "INSERT INTO calls VALUES ({marks}) ON CONFLICT DO NOTHING"
        ))
        .unwrap();
    for row in rows {
        statement.execute(rusqlite::params_from_iter(row)).unwrap();
    }
    drop(statement);
    conn.execute_batch("COMMIT").unwrap();
}

fn ingest(criterion: &mut Criterion<CpuTime>) {
    let directory = tempfile::tempdir().unwrap();
    let now = SystemClock.now();
    let start = now.saturating_add_micros(-20 * 86_400_000_000);
    let open = |name: &str| {
        let path = directory.path().join(name);
        SqliteStore::open(&path, SqliteOptions::default(), Arc::new(SystemClock)).unwrap()
    };

    // The rows of the baseline are read from a store that took the same batches.
    let mut source = open("source.sqlite");
    let source_conn = Connection::open(directory.path().join("source.sqlite")).unwrap();
    let schema = schema_of_calls(&source_conn);
    let mut next_bare = 0;
    let mut rows_of = |number: u64| -> Vec<Row> {
        let calls = batch(number, start);
        source.write(&calls).unwrap();
        let mut statement = source_conn
            .prepare_cached("SELECT * FROM calls WHERE hi BETWEEN ?1 AND ?2 ORDER BY hi, lo")
            .unwrap();
        let ids = calls.iter().map(|call| call.call_id.hi());
        let range = (ids.clone().min().unwrap(), ids.max().unwrap());
        let rows = statement
            .query_map(range, |row| {
                (0..34).map(|at| row.get(at)).collect::<Result<Row, _>>()
            })
            .unwrap();
        rows.map(Result::unwrap).collect()
    };

    let mut group = criterion.benchmark_group("ingest/1000");
    group.throughput(Throughput::Elements(BATCH));
    group
        .sample_size(30)
        .measurement_time(Duration::from_secs(8));

    let conn = bare(&directory.path().join("bare.sqlite"), &schema);
    group.bench_function("bare SQLite", |bencher| {
        bencher.iter_batched_ref(
            || {
                next_bare += 1;
                rows_of(next_bare)
            },
            |rows| insert_bare(&conn, rows),
            BatchSize::PerIteration,
        );
    });

    let mut store = open("store.sqlite");
    let mut next = 0;
    group.bench_function("callmeter", |bencher| {
        bencher.iter_batched_ref(
            || {
                next += 1;
                batch(next, start)
            },
            |calls| store.write(calls).unwrap(),
            BatchSize::PerIteration,
        );
    });
    group.finish();

    let file = std::fs::metadata(directory.path().join("store.sqlite"))
        .unwrap()
        .len();
    let calls = next * BATCH;
    #[allow(clippy::print_stderr)]
    {
        eprintln!(
            "{} bytes a call in {calls} calls, the price book included",
            file / calls
        );
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime(WallTime));
    targets = ingest
}
criterion_main!(benches);
