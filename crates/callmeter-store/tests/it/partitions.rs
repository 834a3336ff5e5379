//! Months of a store on PostgreSQL: made ahead, filled from the default partition, dropped for their age.
#![cfg(all(unix, feature = "postgres"))]

use callmeter_store::{PostgresSchema, StoreOptions, StoreUrl};
use callmeter_testkit::postgres::PostgresServer;
use callmeter_testkit::store::{Asked, ContractStore, call, check};

use crate::contract::{Stand, postgres::Postgres};

const DAY: i64 = 86_400_000_000;

fn stand() -> (Stand<Postgres>, PostgresSchema) {
    let database = PostgresServer::shared().database();
    let stand = Stand::new(
        StoreUrl::parse(&database.url()).unwrap(),
        Postgres(database),
    );
    let url = stand.url.postgres().unwrap();
    let mut schema = PostgresSchema::new(url, stand.clock.clone()).unwrap();
    schema.migrate(&StoreOptions::default()).unwrap();
    (stand, schema)
}

fn rows_in(stand: &Stand<Postgres>, table: &str) -> String {
    let sql = format!("SELECT count(*) FROM callmeter.{table}");
    stand.kind.0.psql(&sql)
}

#[test]
fn calls_of_a_month_without_a_partition_wait_in_the_default_one_and_move_with_everything() {
    let (stand, mut schema) = stand();
    let mut writer = stand.writer();
    // The first moment is 24 March; the partitions begin with March.
    let calls: Vec<_> = (0..60)
        .map(|n| call(-n * 2 * DAY, n.cast_unsigned()))
        .collect();
    assert_eq!(writer.write(&calls).unwrap().inserted, 60);
    assert_eq!(rows_in(&stand, "calls_default"), "48");
    let status = schema.status().unwrap();
    assert_eq!((status.rows_in_default, status.months_ahead), (48, 23));
    let changes = schema.maintain(400).unwrap();
    assert_eq!(changes.moved, 48);
    assert_eq!(
        changes.made,
        [
            "calls_2025_11",
            "calls_2025_12",
            "calls_2026_01",
            "calls_2026_02"
        ]
    );
    assert_eq!(rows_in(&stand, "calls_default"), "0");
    assert_eq!(schema.maintain(400).unwrap(), Default::default());
    // Each is still known, wherever it is now.
    assert_eq!(writer.write(&calls).unwrap().unchanged, 60);
    check(&stand, &calls);
    let indexes = "SELECT count(*) FROM pg_indexes WHERE tablename = ";
    let of = |table: &str| stand.kind.0.psql(&format!("{indexes}'{table}'"));
    assert_eq!(of("calls_2025_12"), of("calls_2026_04"));
}

#[test]
fn a_month_goes_when_all_of_it_is_beyond_the_horizon_and_what_was_dropped_is_refused_by_whoever_keeps_longer()
 {
    let (stand, mut schema) = stand();
    let mut writer = stand.writer();
    let old = [call(-60 * DAY, 1), call(-20 * DAY, 2), call(DAY, 3)];
    writer.write(&old).unwrap();
    // 36 days before 3 April is 26 February: that month stays, January goes, out of the default partition too.
    let changes = schema.maintain(36).unwrap();
    assert_eq!((changes.dropped.len(), changes.moved), (0, 0));
    assert_eq!(stand.rows(), 2);
    assert_eq!(stand.sums(&Asked::default()).calls, 3);
    // This writer would keep calls for 400 days; the store no longer knows whether it had the first.
    let ack = writer.write(&old).unwrap();
    assert_eq!((ack.expired, ack.unchanged), (1, 2));
    assert_eq!(stand.sums(&Asked::default()).calls, 3);
}
