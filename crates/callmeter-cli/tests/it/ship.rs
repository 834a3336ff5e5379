//! `callmeter ship`: what dead processes left, what waits, what is left when the time is over.

use std::process::{Child, Stdio};

use callmeter::Home;
use callmeter::seams::{Disk, HomeDisk, SpoolOwner};
use callmeter_core::{CallId, CallRecord, Clock, Layer, SystemClock};
use callmeter_store::{Filter, SqliteReader};

use crate::support::Place;

/// Spools calls of a process that is no more.
fn spool(place: &Place, calls: u64) {
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

fn stored(place: &Place) -> u64 {
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
