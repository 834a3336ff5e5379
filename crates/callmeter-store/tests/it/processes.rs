//! Several processes at once on one store: no row lost, none doubled, the rollups exact.

use std::process::{Command, Stdio};

use callmeter_core::{CallRecord, Sink, SinkErrorKind};
use callmeter_price::Book;

use crate::oracle;
use crate::support::{Place, call};

const WRITER: &str = "CALLMETER_TEST_WRITER";
const BATCHES: i64 = 12;

/// What writer `n` sends: batches that overlap with those of the others, cut at other places.
fn batches_of(n: i64) -> Vec<Vec<CallRecord>> {
    (0..BATCHES)
        .map(|batch| {
            let from = batch * 40 + n * 13;
            (from..from + 90)
                .map(|at| {
                    let mut record = call(at * 1_700_000_000, at.cast_unsigned());
                    record.caller = Some(format!("caller-{}", at % 7));
                    record.rev = u32::try_from(n).unwrap();
                    record.usage.input_tokens = Some(at.cast_unsigned() + n.cast_unsigned());
                    record.duration_us = Some(1_000 + at.cast_unsigned());
                    record
                })
                .collect()
        })
        .collect()
}

#[test]
fn three_processes_at_once_leave_what_one_group_by_says() {
    if let Ok(writer) = std::env::var(WRITER) {
        let (n, directory) = writer.split_once(' ').unwrap();
        return write_as(n.parse().unwrap(), directory);
    }
    let place = Place::new();
    let me = std::env::current_exe().unwrap();
    let children: Vec<_> = (0..3)
        .map(|n| {
            Command::new(&me)
                .args([
                    "--exact",
                    "processes::three_processes_at_once_leave_what_one_group_by_says",
                ])
                .env(WRITER, format!("{n} {}", place.directory.path().display()))
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let all: Vec<_> = (0..3).flat_map(batches_of).flatten().collect();
    oracle::check(&place, &oracle::merged(&all, &Book::market()));
}

fn write_as(n: i64, directory: &str) {
    let mut place = Place::new();
    place.directory = tempfile::TempDir::new_in(directory).unwrap();
    let path = std::path::Path::new(directory).join("store.sqlite");
    let mut store =
        callmeter_store::SqliteStore::open(&path, Default::default(), place.clock.clone()).unwrap();
    for batch in batches_of(n) {
        // As the shipper does: a busy store is asked again.
        loop {
            match store.write(&batch) {
                Ok(_) => break,
                Err(error) if error.kind() == SinkErrorKind::Busy => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}
