//! A reprice that is killed anywhere goes on, on both stores: no call twice, no call left, rollups as the rows.
#![cfg(unix)]

use std::process::Stdio;
use std::sync::Arc;

use callmeter_core::Sink;
use callmeter_store::{SqliteStore, StoreOptions};
use callmeter_testkit::clock::ManualClock;
use callmeter_testkit::store::some_records;

use crate::support::Place;

const BOOK: &str = "name = \"own\"\nversion = \"1\"\n\
    [[models]]\nprovider = \"openai\"\nmodel = \"gpt-5-mini\"\nperiods = [{ rates = { input = \"7\", output = \"9\" } }]\n";

const CALLS: u64 = 4_000;

/// Rows, rows of the last revision, whether the day's and the hour's sums are those of the rows, calls looked at.
const STANDING: &str = "SELECT count(*), sum(CASE WHEN book_rev = (SELECT max(rev) FROM {s}book_revisions) THEN 1 ELSE 0 END),
    sum(coalesce(cost_picousd, 0) / 1000000) * 1000000 + sum(coalesce(cost_picousd, 0) % 1000000)
      = (SELECT sum(cost_microusd) * 1000000 + sum(cost_picousd) FROM {s}roll_day),
    sum(CASE WHEN cost_picousd IS NULL THEN 1 ELSE 0 END) = (SELECT sum(unpriced) FROM {s}roll_hour)
    FROM {s}calls";

fn some() -> (Vec<callmeter_core::CallRecord>, Arc<ManualClock>) {
    let now = "2026-04-03T00:00:00Z".parse().unwrap();
    (some_records(CALLS, 5_000), Arc::new(ManualClock::at(now)))
}

/// Starts a reprice, kills it when it has looked at so many calls, and goes on until it is done.
fn reprice_with_kills(place: &Place, store: &str, looked_at: impl Fn() -> i64) {
    place.write("own.toml", BOOK);
    let mut args = vec!["reprice", "--all", "--book", "own.toml", "--store", store];
    for least in [1, 800, 1_700, 2_600] {
        let mut child = place
            .command(&args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while looked_at() < least && child.try_wait().unwrap().is_none() {}
        child.kill().unwrap();
        child.wait().unwrap();
        args = vec!["reprice", "--resume", "--store", store];
    }
    let text = place.seen(&args);
    if !text.contains("there is nothing to resume") {
        assert!(text.contains("revision 2:"), "{text}");
    }
}

#[test]
fn a_reprice_of_a_file_that_is_killed_goes_on() {
    let place = Place::new();
    std::fs::create_dir(place.home()).unwrap();
    let (records, clock) = some();
    let mut store = SqliteStore::open(&place.store(), StoreOptions::default(), clock).unwrap();
    store.write(&records).unwrap();
    let rows = rusqlite::Connection::open(place.store()).unwrap();
    rows.busy_timeout(std::time::Duration::from_secs(5))
        .unwrap();
    let url = format!("sqlite:{}", place.store().display());
    reprice_with_kills(&place, &url, || {
        let line = "SELECT coalesce(max(looked_at), 0) FROM reprices";
        rows.query_row(line, [], |row| row.get(0)).unwrap()
    });
    // Writers went on, and what they wrote since has the new prices.
    store.write(&records).unwrap();
    let standing: (i64, i64, bool, bool) = rows
        .query_row(&STANDING.replace("{s}", ""), [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .unwrap();
    assert_eq!(standing, (standing.0, standing.0, true, true));
    let looked_at: (i64, i64) = rows
        .query_row(
            "SELECT looked_at, (SELECT sum(n) FROM reprice_sums) FROM reprices",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!(looked_at, (standing.0, standing.0));
}

#[cfg(feature = "postgres")]
#[test]
fn a_reprice_of_a_database_that_is_killed_goes_on() {
    use callmeter_store::{StoreUrl, open_sink};
    use callmeter_testkit::postgres::PostgresServer;

    let place = Place::new();
    let database = PostgresServer::shared().database();
    let url = database.url();
    assert!(place.run(&["migrate", "--store", &url]).status.success());
    let (records, clock) = some();
    let parsed = StoreUrl::parse(&url).unwrap();
    let mut store = open_sink(&parsed, StoreOptions::default(), clock).unwrap();
    store.write(&records).unwrap();
    reprice_with_kills(&place, &url, || {
        let line = "SELECT coalesce(max(looked_at), 0) FROM callmeter.reprices";
        database.psql(line).parse().unwrap()
    });
    store.write(&records).unwrap();
    let standing = database.psql(&STANDING.replace("{s}", "callmeter."));
    let rows = standing.split('|').next().unwrap().to_owned();
    assert_eq!(standing, format!("{rows}|{rows}|t|t"));
    let looked_at =
        "SELECT looked_at, (SELECT sum(n) FROM callmeter.reprice_sums) FROM callmeter.reprices";
    assert_eq!(database.psql(looked_at), format!("{rows}|{rows}"));
}
