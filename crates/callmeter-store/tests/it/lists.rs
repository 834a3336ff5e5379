//! Lists on PostgreSQL look at as many rows as they show, however many callers there are.
#![cfg(all(unix, feature = "postgres"))]

use callmeter_core::{CallRecord, Sink};
use callmeter_store::{
    CallsQuery, Filter, PostgresReader, PostgresSchema, PostgresStore, StoreOptions, StoreUrl,
};
use callmeter_testkit::postgres::{Database, PostgresServer};

use crate::contract::{Stand, postgres::Postgres};
use crate::support::call;

const CALLERS: u64 = 3_000;
/// One call in so many is of the rare model.
const RARE: u64 = 60;

/// A store in which each of many callers made three calls, most of them of one model.
fn of_many_callers() -> (Stand<Postgres>, Vec<CallRecord>) {
    let database = PostgresServer::shared().database();
    let url = StoreUrl::parse(&database.url()).unwrap();
    let stand = Stand::new(url, Postgres(database));
    let url = stand.url.postgres().unwrap();
    let mut schema = PostgresSchema::new(url, stand.clock.clone()).unwrap();
    schema.migrate(&StoreOptions::default()).unwrap();
    let calls: Vec<CallRecord> = (0..CALLERS * 3)
        .map(|n| {
            let mut record = call(i64::try_from(n).unwrap() * 1_000, n);
            record.caller = Some(format!("caller_{}", n % CALLERS));
            record.provider = Some("openai".to_owned());
            let model = if n % RARE == 0 { "gpt-5" } else { "gpt-5-mini" };
            record.model = Some(model.to_owned());
            record
        })
        .collect();
    let mut store = PostgresStore::open(url, StoreOptions::default(), stand.clock.clone()).unwrap();
    for batch in calls.chunks(1_000) {
        store.write(batch).unwrap();
    }
    (stand, calls)
}

/// How many rows of `calls` were looked at so far, once every session but ours has reported it.
fn rows_looked_at(database: &Database<'_>) -> u64 {
    while database.psql(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
    ) != "0"
    {
        std::thread::yield_now();
    }
    let read = database.psql(
        "SELECT sum(seq_tup_read) + sum(coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables
         WHERE schemaname = 'callmeter' AND relname LIKE 'calls\\_%'",
    );
    read.parse().unwrap()
}

fn page(caller: Option<&str>, model: Option<&str>) -> CallsQuery {
    let filter = Filter {
        caller: caller.map(str::to_owned),
        model: model.map(str::to_owned),
        ..Filter::default()
    };
    CallsQuery {
        filter,
        before: None,
        limit: 50,
    }
}

#[test]
fn a_list_of_a_model_of_thousands_of_callers_looks_at_no_more_than_it_shows() {
    let (stand, calls) = of_many_callers();
    let database = &stand.kind.0;
    for (caller, model) in [
        (None, Some("gpt-5")),
        (None, Some("gpt-5-mini")),
        (Some("caller_60"), Some("gpt-5")),
        (Some("caller_60"), None),
        (None, None),
    ] {
        let before = rows_looked_at(database);
        let mut expected: Vec<_> = calls
            .iter()
            .filter(|call| caller.is_none() || call.caller.as_deref() == caller)
            .filter(|call| model.is_none() || call.model.as_deref() == model)
            .map(|call| call.call_id)
            .rev()
            .collect();
        expected.truncate(50);
        let mut reader = PostgresReader::open(stand.url.postgres().unwrap()).unwrap();
        let found = reader.calls(&page(caller, model)).unwrap();
        drop(reader);
        let found: Vec<_> = found.iter().map(|call| call.record.call_id).collect();
        assert_eq!(found, expected, "{caller:?} {model:?}");
        let looked = rows_looked_at(database) - before;
        assert!(looked < 200, "{caller:?} {model:?}: {looked} rows");
    }
}

#[test]
fn a_schema_of_an_older_build_gets_what_it_is_without() {
    let (stand, calls) = of_many_callers();
    stand.kind.0.psql(
        "DROP INDEX callmeter.calls_by_model, callmeter.calls_reported; \
         DROP TABLE callmeter.reprices, callmeter.reprice_sums, callmeter.reprice_runs; \
         UPDATE callmeter.about SET format = 1",
    );
    // Slower, and right.
    let rare = page(None, Some("gpt-5"));
    let list = |stand: &Stand<Postgres>| {
        let mut reader = PostgresReader::open(stand.url.postgres().unwrap()).unwrap();
        let found = reader.calls(&rare).unwrap();
        found
            .iter()
            .map(|call| call.record.call_id)
            .collect::<Vec<_>>()
    };
    let before = list(&stand);
    assert_eq!(
        before.first(),
        calls
            .iter()
            .rev()
            .find(|call| call.model.as_deref() == Some("gpt-5"))
            .map(|call| &call.call_id)
    );
    let url = stand.url.postgres().unwrap();
    let mut schema = PostgresSchema::new(url, stand.clock.clone()).unwrap();
    let options = StoreOptions::default();
    let done = schema.migrate(&options).unwrap();
    assert_eq!((done.is_made, done.upgraded_from), (false, Some(1)));
    assert_eq!(schema.migrate(&options).unwrap().upgraded_from, None);
    assert_eq!(list(&stand), before);
}
