//! What it costs to spool calls, against the same bytes into bare SQLite with the same batch and sync:
//! `cargo bench -p callmeter --bench spool`.
//!
//! Measured in CPU time of the process: the wait for the disk is the same on both sides and tells nothing. The
//! baseline inserts bytes that are ready; the spool also encodes the records and counts them. What the encoding alone
//! takes is a row of its own: without it the two sides are given the same bytes. Rows are deleted between the
//! measurements by another connection on both sides, as a shipper does.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use callmeter::Home;
use callmeter::seams::{Disk, HomeDisk, SpoolOwner};
use callmeter_core::{CallId, CallRecord, Layer, Status, Timestamp};
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rusqlite::{Connection, params};

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

/// Calls as a back office makes them.
fn calls(count: u64) -> Vec<CallRecord> {
    (0..count)
        .map(|n| {
            let mix = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let at = Timestamp::from_micros(1_793_534_400_000_000 + i64::try_from(n).unwrap());
            let mut record = CallRecord::new(CallId::new(at, mix), Layer::Guard, 0);
            record.caller = Some(format!("caller_{}", mix % 34));
            record.provider = Some("openai".to_owned());
            record.model_requested = Some("gpt-5-mini".to_owned());
            record.project = Some("shop".to_owned());
            record.service = Some("backoffice".to_owned());
            record.call_site = Some(format!("src/callers.rs:{}", mix % 34));
            record.host_name = Some("web-1".to_owned());
            record.sdk = Some("callmeter-rust/0.1.0".to_owned());
            record.duration_us = Some(200_000 + mix % 8_000_000);
            record.usage.input_tokens = Some(100 + mix % 4_000);
            record.usage.output_tokens = Some(10 + mix % 600);
            record.status = Some(Status::Ok);
            record
        })
        .collect()
}

/// A file with the spool's table of rows, and nothing else.
fn bare(path: &Path, table: &str, sync: bool) -> Connection {
    let db = Connection::open(path).unwrap();
    db.execute_batch(
        "PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL",
    )
    .unwrap();
    db.pragma_update(None, "synchronous", if sync { "FULL" } else { "NORMAL" })
        .unwrap();
    db.execute_batch(table).unwrap();
    db
}

/// The connection that deletes between the measurements, as a shipper's does: without a sync of its own.
fn deleter(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    db.pragma_update(None, "synchronous", "NORMAL").unwrap();
    db
}

/// A row as it lies in the spool: the halves of its id, and its bytes.
type Row = (i64, i64, Vec<u8>);

fn insert_bare(db: &Connection, next: &mut i64, rows: &[Row]) {
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut insert = db
        .prepare_cached("INSERT INTO rows VALUES (?1, 0, ?2, ?3, 1, 0, ?4)")
        .unwrap();
    for (hi, lo, bytes) in rows {
        insert.execute(params![*next, hi, lo, bytes]).unwrap();
        *next += 1;
    }
    drop(insert);
    db.execute_batch("COMMIT").unwrap();
}

fn spool(criterion: &mut Criterion<CpuTime>) {
    let directory = tempfile::tempdir().unwrap();
    let mut group = criterion.benchmark_group("spool");
    group
        .sample_size(40)
        .measurement_time(Duration::from_secs(6));
    for (batch, sync) in [(1_000, false), (1_000, true), (50, false)] {
        let name = format!("{batch} calls{}", if sync { ", synced" } else { "" });
        group.throughput(Throughput::Elements(batch));
        let records = calls(batch);
        let rows: Vec<Row> = records
            .iter()
            .map(|call| (call.call_id.hi(), call.call_id.lo(), call.encode()))
            .collect();

        let home = Home::at(directory.path().join(&name));
        let owner = SpoolOwner {
            home: home.path().display().to_string(),
            store: "sqlite:store.sqlite".to_owned(),
            made_at: Timestamp::from_micros(1_793_534_400_000_000),
        };
        let mut inlet = HomeDisk::new(home.clone()).create(&owner).unwrap();
        let file = home
            .path()
            .join("spool")
            .join(format!("{}.spool", inlet.name()));
        let other = deleter(&file);
        let table: String = other
            .query_row(
                "SELECT sql FROM sqlite_schema WHERE name = 'rows'",
                [],
                |row| row.get(0),
            )
            .unwrap();

        let path = directory.path().join(format!("{name}.sqlite"));
        let db = bare(&path, &table, sync);
        let deleter = deleter(&path);
        let mut next = 1;
        group.bench_function(BenchmarkId::new("bare SQLite", &name), |bencher| {
            bencher.iter_batched(
                || deleter.execute_batch("DELETE FROM rows").unwrap(),
                |()| insert_bare(&db, &mut next, &rows),
                BatchSize::PerIteration,
            );
        });
        group.bench_function(BenchmarkId::new("callmeter", &name), |bencher| {
            bencher.iter_batched(
                || other.execute_batch("DELETE FROM rows").unwrap(),
                |()| inlet.append(&records, &[], sync).unwrap(),
                BatchSize::PerIteration,
            );
        });
        let mut encoded = Vec::with_capacity(512);
        group.bench_function(BenchmarkId::new("encoding alone", &name), |bencher| {
            bencher.iter(|| {
                for record in &records {
                    encoded.clear();
                    record.encode_into(&mut encoded);
                    black_box(&encoded);
                }
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime(WallTime));
    targets = spool
}
criterion_main!(benches);
