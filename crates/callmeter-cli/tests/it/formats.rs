//! Two builds of one machine: what a newer one wrote is read where it says that it may be, else left as it is
//! and named, and this build's own calls go on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use callmeter::Home;
use callmeter::seams::{Disk, HomeDisk, SpoolOwner};
use callmeter::settings::Settings;
use callmeter_core::{CallId, CallRecord, Clock, Layer, SystemClock};
use callmeter_store::{Filter, SqliteReader};

use crate::support::Place;

const PATIENCE: Duration = Duration::from_secs(60);

/// Spools three calls of a process that is no more, and marks the file as one of format 3, for readers and
/// writers from these on.
fn spool_of(place: &Place, first: u64, min_reader: u32, min_writer: u32) -> PathBuf {
    let now = SystemClock.now();
    let owner = SpoolOwner {
        home: place.home().display().to_string(),
        store: format!("sqlite:{}", place.store().display()),
        made_at: now,
    };
    let disk = HomeDisk::new(Home::at(place.home()));
    let mut spool = disk.create(&owner).unwrap();
    let rows: Vec<_> = (first..first + 3)
        .map(|n| CallRecord::new(CallId::new(now, n), Layer::Guard, 0))
        .collect();
    spool.append(&rows, &[], false).unwrap();
    let path = place.home().join(format!("spool/{}.spool", spool.name()));
    drop(spool);
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute(
        "UPDATE header SET format = 3, min_reader = ?1, min_writer = ?2",
        [min_reader, min_writer],
    )
    .unwrap();
    path
}

/// A flight file of format 2, for readers of that format on, whose process is no more.
fn newer_flight(place: &Place) -> PathBuf {
    let dir = callmeter_flight::Place::directory(place.home().join("flight"));
    let options = callmeter_flight::Options::default();
    let buffer = callmeter_flight::FlightBuffer::create(&dir, &options).unwrap();
    let id = CallId::new(SystemClock.now(), 7);
    let opening = callmeter_flight::Opening::new(id, Layer::Guard, 0);
    let _in_flight = buffer.open(&opening).unwrap();
    let path = buffer.path().unwrap().to_owned();
    drop(buffer);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8..16].copy_from_slice(&[2, 0, 0, 0, 2, 0, 0, 0]);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// What this build records itself, up to its store.
fn record(place: &Place, calls: u64) {
    let callmeter = callmeter::builder()
        .settings(Settings::default())
        .home(place.home())
        .open()
        .unwrap();
    for _ in 0..calls {
        callmeter.call("sales_copy", "openai", "gpt-5").finish();
    }
    assert!(callmeter.flush(PATIENCE).is_complete());
    assert!(callmeter.shutdown(PATIENCE).is_complete());
}

fn stored(place: &Place) -> u64 {
    let mut store = SqliteReader::open(&place.store()).unwrap();
    store.totals(&Filter::default()).unwrap().calls
}

fn doctor(place: &Place) -> String {
    let output = place.run(&["doctor"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn assert_named(place: &Place, paths: &[&Path]) {
    let said = doctor(place);
    for path in paths {
        let told = said
            .lines()
            .find(|line| line.contains(&*path.display().to_string()))
            .unwrap_or_else(|| panic!("{said}"));
        assert!(
            told.contains("trouble") && told.contains("newer callmeter"),
            "{told}"
        );
    }
}

#[test]
fn newer_spools_and_flight_files_stay_where_they_are_and_doctor_names_them() {
    let place = Place::new();
    let newer = spool_of(&place, 0, 3, 3);
    // To ship a spool is to write to it.
    let only_to_be_read = spool_of(&place, 10, 2, 3);
    let flight = newer_flight(&place);
    let paths = [newer.as_path(), &only_to_be_read, &flight];
    let before = paths.map(|path| std::fs::read(path).unwrap());
    record(&place, 5);
    let output = place.run(&["ship", "--once"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(stored(&place), 5, "this build's own");
    assert_named(&place, &paths);
    assert!(paths.map(|path| std::fs::read(path).unwrap()) == before);
    record(&place, 2);
    assert_eq!(stored(&place), 7);
}

#[test]
fn a_newer_spool_that_this_build_may_use_is_shipped() {
    let place = Place::new();
    let path = spool_of(&place, 0, 2, 2);
    record(&place, 5);
    let output = place.run(&["ship", "--once"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(stored(&place), 8);
    assert!(!path.exists(), "all of it has left");
}

#[test]
fn a_newer_store_that_this_build_may_write_is_written_and_read() {
    let place = Place::new();
    record(&place, 3);
    let raw = rusqlite::Connection::open(place.store()).unwrap();
    raw.execute_batch("UPDATE about SET format = 2").unwrap();
    record(&place, 4);
    assert_eq!(stored(&place), 7);
    let output = place.run(&["report"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn calls_for_a_newer_store_wait_until_a_newer_build_ships_them() {
    // For readers of this build's format, and not even for those.
    for (min_reader, report) in [(1, Some(0)), (9, Some(1))] {
        let place = Place::new();
        record(&place, 3);
        let raw = rusqlite::Connection::open(place.store()).unwrap();
        raw.execute(
            "UPDATE about SET format = 9, min_writer = 9, min_reader = ?1",
            [min_reader],
        )
        .unwrap();
        let callmeter = callmeter::builder()
            .settings(Settings::default())
            .home(place.home())
            .open()
            .unwrap();
        for _ in 0..4 {
            callmeter.call("sales_copy", "openai", "gpt-5").finish();
        }
        let flush = callmeter.shutdown(Duration::from_millis(100));
        assert!(flush.is_spooled() && !flush.is_complete());
        let output = place.run(&["ship", "--once", "--drain", "300ms"]);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("4 calls left") && said.contains("upgrade callmeter"),
            "{said}"
        );
        assert_eq!(place.run(&["report"]).status.code(), report);
        // As the newer build would find it.
        raw.execute_batch("UPDATE about SET min_writer = 1, min_reader = 1")
            .unwrap();
        let output = place.run(&["ship", "--once"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(stored(&place), 7);
    }
}

#[test]
fn doctor_names_a_spool_that_lost_its_tables_with_power() {
    let place = Place::new();
    record(&place, 1);
    let path = place
        .home()
        .join("spool/00000000-0000-7000-8000-000000000000.spool");
    let lost = rusqlite::Connection::open(&path).unwrap();
    lost.pragma_update(None, "application_id", 0x434d_5350)
        .unwrap();
    drop(lost);
    assert_eq!(place.run(&["ship", "--once"]).status.code(), Some(0));
    let said = doctor(&place);
    assert!(
        said.contains(".spool.damaged was damaged and is set aside"),
        "{said}"
    );
    assert!(!path.exists());
}
