//! `callmeter ship`: what dead processes left, what waits, what is left when the time is over.

use std::process::{Child, Stdio};

use callmeter::Home;
use callmeter::seams::{Disk, HomeDisk, SpoolOwner};
use callmeter_core::{CallId, CallRecord, Clock, Layer, SystemClock};
use callmeter_store::{Filter, SqliteReader};

use crate::support::Place;

/// Spools calls of a process that is no more.
pub(crate) fn spool(place: &Place, calls: u64) {
    let now = SystemClock.now();
    let owner = SpoolOwner {
        home: place.home().display().to_string(),
        store: format!("sqlite:{}", place.store().display()),
        made_at: now,
    };
    let disk = HomeDisk::new(Home::at(place.home()));
    let mut spool = disk.create(&owner).unwrap();
    let rows: Vec<_> = (0..calls)
        .map(|n| CallRecord::new(CallId::new(now, n), Layer::Guard, 0))
        .collect();
    spool.append(&rows, &[], false).unwrap();
}

pub(crate) fn stored(place: &Place) -> u64 {
    SqliteReader::open(&place.store())
        .and_then(|mut store| store.totals(&Filter::default()))
        .map_or(0, |totals| totals.calls)
}

fn tell_to_stop(child: &Child) {
    let told = std::process::Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(told.success());
}

#[test]
fn once_ships_what_waits_and_ends() {
    let place = Place::new();
    spool(&place, 2_500);
    spool(&place, 3);
    let output = place.run(&["ship", "--once"]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "shipped 2,503 calls\n"
    );
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stored(&place), 2_503);
    let again = place.run(&["ship", "--once", "--json"]);
    assert_eq!(
        String::from_utf8_lossy(&again.stdout),
        "{\"error\":null,\"left\":0,\"rejected\":0,\"shipped\":0,\"v\":1}\n"
    );
}

#[test]
fn a_home_that_was_never_made_has_nothing_to_ship() {
    let place = Place::new();
    let output = place.run(&["ship", "--once"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn once_gives_up_on_a_store_that_takes_nothing_and_says_how_many_are_left() {
    let place = Place::new();
    spool(&place, 3);
    std::fs::write(place.store(), "no store at all").unwrap();
    let output = place.run(&["ship", "--once", "--drain", "300ms"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("3 calls left in the spools"), "{said}");
    assert!(said.contains("is no callmeter store"), "{said}");
}

#[test]
fn the_agent_ships_until_it_is_told_to_stop() {
    let place = Place::new();
    spool(&place, 5);
    let mut command = place.command(&["ship"]);
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    while stored(&place) < 5 {
        std::thread::yield_now();
    }
    tell_to_stop(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "shipped 5 calls\n");
}

#[test]
fn a_drain_that_runs_out_of_time_exits_with_3_and_says_how_many_are_left() {
    let place = Place::new();
    spool(&place, 1);
    assert_eq!(place.run(&["ship", "--once"]).status.code(), Some(0));
    // Somebody writes to the store and does not end.
    let mut writer = rusqlite::Connection::open(place.store()).unwrap();
    let writing = writer
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .unwrap();
    spool(&place, 4);
    let mut command = place.command(&["ship", "--drain", "200ms"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It is at work when it has the office.
    let home = Home::at(place.home());
    let store = format!("sqlite:{}", place.store().display());
    while HomeDisk::new(home.clone())
        .hold_office(&store)
        .unwrap()
        .is_some()
    {
        std::thread::yield_now();
    }
    tell_to_stop(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("4 calls left in the spools"), "{said}");
    drop(writing);
    assert_eq!(place.run(&["ship", "--once"]).status.code(), Some(0));
    assert_eq!(stored(&place), 5);
}

#[test]
fn shippers_that_are_killed_at_any_moment_lose_nothing_and_double_nothing() {
    const KILLS: u64 = 40;
    const EACH: u64 = 60;
    let place = Place::new();
    for n in 0..KILLS {
        spool(&place, EACH);
        let before = stored(&place);
        let mut child = place
            .command(&["ship"])
            .env("CALLMETER_SHIPPER_BATCH_ROWS", "20")
            .env("CALLMETER_SHIPPER_REPLAY_ROWS_PER_SECOND", "1000000")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // None, one or two batches are stored; then a little more time passes, so that every moment of a batch is met:
        // before its commit, between commit and acknowledgement, and where the spool goes.
        let wanted = before + n % 4 * 20;
        let mut looks = 0;
        while stored(&place) < wanted || looks < n {
            looks += 1;
            assert!(child.try_wait().unwrap().is_none(), "an agent stays");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let output = place.run(&["ship", "--once", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(stored(&place), KILLS * EACH, "by the sums");
    let raw = rusqlite::Connection::open(place.store()).unwrap();
    let rows: i64 = raw
        .query_row("SELECT count(*) FROM calls", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows.cast_unsigned(), KILLS * EACH, "by the rows");
    let standing = Home::at(place.home()).standing().unwrap().conservation;
    assert!(standing.holds(), "{standing:?}");
    assert_eq!((standing.acknowledged, standing.spooled), (KILLS * EACH, 0));
}

#[test]
fn another_shipper_takes_over_when_the_one_at_work_is_killed() {
    let place = Place::new();
    spool(&place, 1);
    let start = || {
        place
            .command(&["ship"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut first = start();
    while stored(&place) < 1 {
        std::thread::yield_now();
    }
    let mut second = start();
    first.kill().unwrap();
    first.wait().unwrap();
    spool(&place, 1);
    while stored(&place) < 2 {
        std::thread::yield_now();
    }
    second.kill().unwrap();
    second.wait().unwrap();
}

#[test]
fn doctor_names_a_damaged_spool_and_what_dead_processes_left() {
    let place = Place::new();
    spool(&place, 1);
    let dir = place.home().join("spool");
    std::fs::write(
        dir.join("00000000-0000-7000-8000-000000000000.spool"),
        "no spool",
    )
    .unwrap();
    assert_eq!(place.run(&["ship", "--once"]).status.code(), Some(0));
    let home = callmeter_flight::Place::directory(place.home().join("flight"));
    let options = callmeter_flight::Options::default();
    let buffer = callmeter_flight::FlightBuffer::create(&home, &options).unwrap();
    let id = CallId::new(SystemClock.now(), 7);
    let opening = callmeter_flight::Opening::new(id, Layer::Guard, 0);
    let _in_flight = buffer.open(&opening).unwrap();
    drop(buffer);
    let output = place.run(&["doctor"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(".spool.damaged was damaged and is set aside"),
        "{said}"
    );
    assert!(
        said.contains("1 died with 1 call not adopted yet"),
        "{said}"
    );
    assert_eq!(place.run(&["ship", "--once"]).status.code(), Some(0));
    assert_eq!(stored(&place), 2, "the aborted call as well");
}
