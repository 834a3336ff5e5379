//! The same command on a store of either kind: the same bytes, but for the store's address.
#![cfg(unix)]

use std::sync::Arc;

use callmeter_store::{CallsQuery, Filter, StoreOptions, StoreReader, StoreUrl, open_sink};
use callmeter_testkit::clock::ManualClock;
use callmeter_testkit::postgres::{Database, PostgresServer};
use callmeter_testkit::store::some_records;

use crate::support::Place;

/// A place whose home has the calls of [`Place::with_calls`] and many more, and a database with the same.
fn both() -> (Place, Database<'static>) {
    let place = Place::new().with_calls();
    let embedded = StoreUrl::sqlite(place.store());
    let now = "2026-11-02T00:00:00Z".parse().unwrap();
    let clock = Arc::new(ManualClock::at(now));
    let open = |url: &StoreUrl| open_sink(url, StoreOptions::default(), clock.clone()).unwrap();
    open(&embedded).write(&some_records(200, 300)).unwrap();

    let database = PostgresServer::shared().database();
    let url = database.url();
    let made = place.run(&["migrate", "--store", &url]);
    assert!(made.status.success(), "{}", place.shown(&made));
    let query = CallsQuery {
        filter: Filter::default(),
        before: None,
        limit: 10_000,
    };
    let calls = StoreReader::open(&embedded).unwrap().calls(&query).unwrap();
    let records: Vec<_> = calls.into_iter().map(|call| call.record).collect();
    let url = StoreUrl::parse(&url).unwrap();
    open(&url).write(&records).unwrap();
    (place, database)
}

#[test]
fn what_is_asked_of_a_database_is_answered_as_by_a_file() {
    let (place, database) = both();
    for args in [
        &["report"][..],
        &["report", "daily", "--by", "team,provider,status"],
        &["report", "weekly", "--timezone", "Asia/Kolkata"],
        &[
            "report",
            "monthly",
            "--by",
            "caller,model,fallback_to",
            "--json",
        ],
        &[
            "report",
            "--since",
            "2026-03-25T07:30:00Z",
            "--until",
            "2026-03-30T11:11:00Z",
        ],
        &[
            "report",
            "--csv",
            "--by",
            "project,billing,environment,service,cost_center",
        ],
        &["report", "--caller", "sales_copy", "--status", "error"],
        &["calls", "--limit", "50"],
        &["calls", "--json", "--limit", "1000"],
        &["calls", "--json", "--caller", "rag"],
        &[
            "calls",
            "--json",
            "--model",
            "gpt-5-mini",
            "--since",
            "2026-03-26",
        ],
        &["calls", "--status", "error", "--project", "shop"],
        &["show", "req-2"],
        &["show", "req-2", "--json"],
        &["show", "no-such-call"],
    ] {
        let seen = |store: &str| {
            let mut args = args.to_vec();
            args.extend(["--store", store]);
            place.seen(&args).replace(store, "[store]")
        };
        let in_file = seen(&format!("sqlite:{}", place.store().display()));
        let in_file = in_file.replace("sqlite:[place]/home/store.sqlite", "[store]");
        let in_database = seen(&database.url());
        assert!(in_file.contains("exit"), "{in_file}");
        assert_eq!(in_database, in_file, "{args:?}");
    }
}

#[test]
fn migrate_makes_a_schema_once_and_says_how_it_stands() {
    let place = Place::new();
    let database = PostgresServer::shared().database();
    let url = database.url();
    let run = |args: &[&str]| {
        let mut args = args.to_vec();
        args.extend(["--store", &url]);
        place.seen(&args)
    };
    assert!(run(&["migrate", "status"]).contains("schema    none"));
    let seen = run(&["report"]);
    assert!(seen.contains("has no callmeter store"), "{seen}");
    assert!(seen.contains("hint: run `callmeter migrate`"), "{seen}");
    let seen = run(&[]);
    assert!(
        seen.contains("has no callmeter store") && seen.contains("pending"),
        "{seen}"
    );
    assert!(run(&["migrate"]).contains("24 made, 0 dropped"));
    let again = run(&["migrate"]);
    assert!(
        again.contains("as it should be") && again.contains("0 made"),
        "{again}"
    );
    let status = run(&["migrate", "status"]);
    assert!(
        status.contains("format 2") && status.contains("23 ahead"),
        "{status}"
    );
    database.psql(
        "DROP TABLE callmeter.reprices, callmeter.reprice_sums, callmeter.reprice_runs;
         DROP INDEX callmeter.calls_reported, callmeter.calls_by_model; UPDATE callmeter.about SET format = 1",
    );
    let old = run(&["reprice"]);
    assert!(
        old.contains("hint: run `callmeter migrate` against it"),
        "{old}"
    );
    assert!(run(&["migrate", "status"]).contains("next      callmeter migrate"));
    assert!(run(&["migrate"]).contains("brought up from format 1"));
    assert!(run(&["migrate"]).contains("as it should be"));
    assert!(run(&["reprice"]).contains("no calls match"));
    assert!(run(&["status"]).contains("calls     0"));
    assert!(run(&["doctor"]).contains("partitions for 23 months"));
    database.psql(
        "DO $$ DECLARE t text; BEGIN FOR t IN SELECT inhrelid::regclass::text FROM pg_inherits
         WHERE inhparent = 'callmeter.calls'::regclass ORDER BY 1 OFFSET 3 LIMIT 18
         LOOP EXECUTE 'DROP TABLE ' || t; END LOOP; END $$",
    );
    let doctor = run(&["doctor"]);
    assert!(doctor.contains("hint: run `callmeter migrate`"), "{doctor}");
}

#[test]
fn whoever_ships_makes_the_months_to_come_where_its_role_may() {
    let place = Place::new();
    let database = PostgresServer::shared().database();
    let url = database.url();
    place.run(&["migrate", "--store", &url]);
    let drop_last = "DO $$ DECLARE t text; BEGIN
        SELECT max(inhrelid::regclass::text) INTO t FROM pg_inherits
          WHERE inhparent = 'callmeter.calls'::regclass AND inhrelid::regclass::text ~ '[0-9]$';
        EXECUTE 'DROP TABLE ' || t; END $$";
    let months = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'callmeter.calls'::regclass";
    database.psql(drop_last);
    assert_eq!(database.psql(months), "24");
    let name = database.name();
    database.psql(&format!("CREATE ROLE ships_{name} LOGIN"));
    let other = url.replace("callmeter@", &format!("ships_{name}@"));
    place.run(&["ship", "--once", "--store", &other]);
    assert_eq!(database.psql(months), "24");
    let shipped = place.run(&["ship", "--once", "--store", &url]);
    assert!(shipped.status.success(), "{}", place.shown(&shipped));
    assert_eq!(database.psql(months), "25");
}

#[test]
fn the_sql_that_is_printed_makes_the_store_that_migrate_would() {
    let place = Place::new();
    let [printed, migrated] = [(); 2].map(|()| PostgresServer::shared().database());
    let sql = place.run(&["migrate", "print", "--store", &printed.url()]);
    printed.psql(&String::from_utf8(sql.stdout).unwrap());
    place.run(&["migrate", "--store", &migrated.url()]);
    let columns = "SELECT table_name, column_name, data_type, is_nullable, column_default
        FROM information_schema.columns WHERE table_schema = 'callmeter' ORDER BY 1, 2";
    let indexes =
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'callmeter' ORDER BY 1";
    for sql in [
        columns,
        indexes,
        "SELECT rev, name, version, content_id, body FROM callmeter.book_revisions",
    ] {
        assert_eq!(printed.psql(sql), migrated.psql(sql));
    }
    assert!(
        place
            .seen(&["report", "--store", &printed.url()])
            .contains("no calls match")
    );
}

#[test]
fn migrate_leaves_an_embedded_store_to_itself() {
    let seen = Place::new().with_calls().seen(&["migrate"]);
    assert!(
        seen.contains("an embedded store makes and changes itself"),
        "{seen}"
    );
}
