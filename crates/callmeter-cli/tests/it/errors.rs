//! The errors that a beginner meets: what is wrong, where, and what to do.

use crate::support::Place;

#[test]
fn a_mistyped_command_names_the_one_that_was_meant() {
    insta::assert_snapshot!(Place::new().seen(&["reprot"]));
}

#[test]
fn an_id_that_no_call_has() {
    insta::assert_snapshot!(Place::new().with_calls().seen(&["show", "req-99"]));
}

#[test]
fn an_id_where_there_is_no_store_yet() {
    insta::assert_snapshot!(Place::new().seen(&["show", "req-99"]));
}

#[test]
fn a_moment_that_is_none() {
    insta::assert_snapshot!(
        Place::new()
            .with_calls()
            .seen(&["report", "--since", "yesterday"])
    );
}

#[test]
fn a_range_that_ends_before_it_begins() {
    insta::assert_snapshot!(Place::new().with_calls().seen(&[
        "report",
        "--since",
        "2026-11-05",
        "--until",
        "2026-11-01"
    ]));
}

#[test]
fn a_dimension_that_is_none() {
    insta::assert_snapshot!(Place::new().with_calls().seen(&["report", "--by", "color"]));
}

#[test]
fn a_zone_that_is_none() {
    insta::assert_snapshot!(Place::new().with_calls().seen(&[
        "report",
        "daily",
        "--timezone",
        "Berlin"
    ]));
}

#[test]
fn a_store_of_another_kind() {
    let seen = Place::new().seen(&["--store", "mysql://me:s3cr3t-hunter2@db/shop"]);
    assert!(!seen.contains("hunter2"), "{seen}");
    insta::assert_snapshot!(seen);
}

#[test]
fn a_file_that_is_no_store() {
    let place = Place::new();
    place.write("notes.txt", "a text of more than a hundred bytes is needed for SQLite to look at it: so here it goes on and on");
    insta::assert_snapshot!(place.seen(&["--store", "sqlite:notes.txt"]));
}

#[test]
fn a_store_of_a_newer_version() {
    let place = Place::new().with_calls();
    let raw = rusqlite::Connection::open(place.store()).unwrap();
    raw.execute_batch("UPDATE about SET format = 9, min_reader = 9, min_writer = 9")
        .unwrap();
    insta::assert_snapshot!(place.seen(&["report"]));
}

#[test]
fn a_price_book_that_is_not_there() {
    insta::assert_snapshot!(Place::new().seen(&["price", "--jsonl", "--book", "prices.toml"]));
}

#[test]
fn every_mistake_in_the_settings_with_its_line() {
    let place = Place::new();
    place.write(
        "callmeter.toml",
        "[store]\nulr = \"sqlite:calls.db\"\nraw_days = 30\n\n[shipper]\nbatch_age = 1\n",
    );
    insta::assert_snapshot!(place.seen(&["--config", "callmeter.toml", "config", "check"]));
}

#[test]
fn a_file_that_is_no_toml() {
    let place = Place::new();
    place.write("callmeter.toml", "[store]\nurl = sqlite:calls.db\n");
    insta::assert_snapshot!(place.seen(&["report"]));
}

#[test]
fn a_configuration_file_that_is_not_there() {
    insta::assert_snapshot!(Place::new().seen(&["--config", "nowhere.toml"]));
}

#[test]
fn a_variable_that_is_mistyped() {
    let place = Place::new();
    let output = place
        .command(&["status"])
        .env("CALLMETER_STORE__ULR", "sqlite:x.db")
        .output()
        .unwrap();
    insta::assert_snapshot!(place.shown(&output));
}

#[test]
fn doctor_names_what_is_wrong_and_goes_on() {
    let place = Place::new().with_calls();
    place.write("callmeter.toml", "[scope]\nbilling = \"cash\"\n");
    let seen = place.seen(&["doctor"]);
    assert!(seen.starts_with("exit 1"), "{seen}");
    insta::with_settings!({ filters => vec![(r"\d+ KiB", "[size]"), (r"market [0-9-]+", "market [date]")] }, {
        insta::assert_snapshot!(seen);
    });
}
