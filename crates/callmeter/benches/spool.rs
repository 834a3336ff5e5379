//! What appending a batch to the spool costs, against the same bytes inserted into bare SQLite with the same
//! batch and sync: `cargo bench -p callmeter --bench spool`.
//!
//! The baseline encodes the records as well, and knows neither progress, nor losses, nor what an adopter
//! needs. Both sides delete what they inserted between two measurements, so that files stay small.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;

use callmeter::Home;
use callmeter::seams::{Disk, HomeDisk, SpoolInlet, SpoolOutlet, SpoolOwner};
use callmeter_core::{CallId, CallRecord, Clock, Layer, Status, SystemClock, Timestamp};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rusqlite::{Connection, params};

const BATCHES: [u64; 2] = [100, 1_000];

fn batch(rows: u64, start: Timestamp) -> Vec<CallRecord> {
    (0..rows)
        .map(|n| {
            let mix = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut record = CallRecord::new(CallId::new(start, mix), Layer::Guard, 0);
            record.caller = Some(format!("caller_{}", mix % 34));
            record.provider = Some("openai".to_owned());
            record.model_requested = Some("gpt-5-mini".to_owned());
            record.project = Some("shop".to_owned());
            record.service = Some("backoffice".to_owned());
            record.call_site = Some(format!("src/callers.rs:{}", mix % 34));
            record.host_name = Some("web-1".to_owned());
            record.sdk = Some("callmeter-rust/0.1.0".to_owned());
            record.status = Some(Status::Ok);
            record.duration_us = Some(mix % 20_000_000);
            record.usage.input_tokens = Some(mix % 4_000);
            record.usage.output_tokens = Some(mix % 900);
            record
        })
        .collect()
}

/// Bare SQLite with the same bytes, page size, journal and sync.
struct Bare(Connection);

impl Bare {
    fn new(dir: &Path) -> Self {
        let db = Connection::open(dir.join("bare.sqlite")).unwrap();
        db.pragma_update(None, "page_size", 8192).unwrap();
        db.pragma_update(None, "journal_mode", "WAL").unwrap();
        db.pragma_update(None, "synchronous", "NORMAL").unwrap();
        db.execute_batch("CREATE TABLE rows(seq INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT")
            .unwrap();
        Self(db)
    }

    fn append(&mut self, batch: &[CallRecord]) {
        let transaction = self.0.transaction().unwrap();
        let mut insert = transaction
            .prepare_cached("INSERT INTO rows(record) VALUES (?1)")
            .unwrap();
        let mut encoded = Vec::with_capacity(512);
        for record in batch {
            encoded.clear();
            record.encode_into(&mut encoded);
            insert.execute(params![encoded.as_slice()]).unwrap();
        }
        drop(insert);
        transaction.commit().unwrap();
    }

    fn clear(&self) {
        self.0.execute("DELETE FROM rows", []).unwrap();
    }
}

fn clear(outlet: &mut dyn SpoolOutlet, inlet: &mut dyn SpoolInlet) {
    inlet.append(&[], &[], false).unwrap();
    while let rows @ [_, ..] = &*outlet.ready_rows(0, i64::MAX, 10_000).unwrap() {
        let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
        outlet.acknowledge(&seqs, 0).unwrap();
    }
}

fn append(criterion: &mut Criterion) {
    let start = SystemClock.now();
    for rows in BATCHES {
        let mut group = criterion.benchmark_group(format!("append/{rows}"));
        group.throughput(Throughput::Elements(rows));
        let batch = batch(rows, start);
        let dir = tempfile::tempdir().unwrap();
        let mut bare = Bare::new(dir.path());
        group.bench_function("bare", |bencher| {
            bencher.iter(|| bare.append(&batch));
            bare.clear();
        });
        let disk = HomeDisk::new(Home::at(dir.path().join("home")));
        let owner = SpoolOwner {
            home: dir.path().display().to_string(),
            store: "store".to_owned(),
            made_at: start,
        };
        let mut inlet = disk.create(&owner).unwrap();
        let mut outlet = disk.open(inlet.name()).unwrap();
        group.bench_function("spool", |bencher| {
            bencher.iter(|| inlet.append(&batch, &[], false).unwrap());
            clear(&mut *outlet, &mut *inlet);
        });
        group.finish();
    }
}

criterion_group!(benches, append);
criterion_main!(benches);
