//! The stored format: the schema is frozen, and a store made by the first version reads for ever and is brought up.

use callmeter_core::{Billing, ErrorKind, Meta, MetaPolicy, Status};
use callmeter_store::CallsQuery;
use rusqlite::Connection;

use crate::support::{Place, berlin_legacy, call, write};

/// The schema as SQLite keeps it.
fn schema_of(conn: &Connection) -> String {
    let mut statement = conn
        .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type DESC, tbl_name, name")
        .unwrap();
    let rows = statement
        .query_map([], |row| row.get::<_, String>(0))
        .unwrap();
    rows.map(|sql| format!("{};\n", sql.unwrap())).collect()
}

/// A store as a script of SQL: its marks, its schema, its rows.
fn dump_of(conn: &Connection) -> String {
    let one = |pragma: &str| -> i64 {
        conn.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))
            .unwrap()
    };
    let mut script = format!(
        "PRAGMA application_id = {};\nPRAGMA user_version = {};\n{}",
        one("application_id"),
        one("user_version"),
        schema_of(conn)
    );
    let mut tables = conn
        .prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql IS NOT NULL ORDER BY name",
        )
        .unwrap();
    let tables: Vec<String> = tables
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for table in tables {
        let mut columns = conn
            .prepare("SELECT 'quote(' || name || ')' FROM pragma_table_info(?1)")
            .unwrap();
        let columns: Vec<String> = columns
            .query_map([&table], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let sql = format!("SELECT {} FROM {table}", columns.join(" || ', ' || "));
        let mut rows = conn.prepare(&sql).unwrap();
        for row in rows.query_map([], |row| row.get::<_, String>(0)).unwrap() {
            script.push_str(&format!("INSERT INTO {table} VALUES ({});\n", row.unwrap()));
        }
    }
    script
}

/// Writes the golden files anew, for a format that was never released or for a new one: run with
/// `CALLMETER_BLESS=1`.
#[test]
fn golden_files_are_written_only_when_asked_for() {
    if std::env::var_os("CALLMETER_BLESS").is_none() {
        return;
    }
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let place = Place::new();
    let mut store = place.store_with(berlin_legacy());
    let mut full = call(1_000_001, 0x0123_4567_89ab_cdef);
    full.caller = Some("sales_copy".into());
    full.provider = Some("openai".into());
    full.model_requested = Some("gpt-4o".into());
    full.model = Some("gpt-4o-2024-08-06".into());
    full.project = Some("shop".into());
    full.team = Some("growth".into());
    full.billing = Some(Billing::Metered);
    full.call_site = Some("src/sales.rs:42".into());
    full.host_name = Some("web-1".into());
    full.usage.input_tokens = Some(1_200);
    full.usage.output_tokens = Some(340);
    full.usage.cache_read_tokens = Some(1_000);
    full.duration_us = Some(1_234_567);
    full.ttft_us = Some(200_000);
    full.request_id = Some("req-1".into());
    full.cache_hit = Some(false);
    let mut meta = Meta::default();
    meta.insert("campaign", "spring", &MetaPolicy::default())
        .unwrap();
    full.meta = Some(meta);
    let mut failed = call(2_000_000, 2);
    failed.caller = Some("größe".into());
    failed.provider = Some("gcp_ollama".into());
    failed.model_requested = Some("hermes3:latest".into());
    failed.status = Some(Status::Fallback);
    failed.error_kind = Some(ErrorKind::Timeout);
    failed.fallback_to = Some("gemini".into());
    failed.http_status = Some(504);
    write(&mut store, &[full.clone(), failed, call(3_000_000, 3)]);
    // One of them in two pieces.
    let mut later = full;
    later.rev = 1;
    later.finish_reason = Some("stop".into());
    write(&mut store, &[later, call(-500 * 86_400_000_000, 4)]);
    let query = CallsQuery {
        filter: Default::default(),
        before: None,
        limit: 100,
    };
    let calls: String = place
        .reader()
        .calls(&query)
        .unwrap()
        .iter()
        .map(|call| call.to_json() + "\n")
        .collect();
    std::fs::write(golden.join("schema-v2.sql"), schema_of(&place.raw())).unwrap();
    std::fs::write(golden.join("store-v2.sql"), dump_of(&place.raw())).unwrap();
    std::fs::write(golden.join("store-v2.jsonl"), calls).unwrap();
}

#[test]
fn schema_2_is_as_it_was_frozen() {
    let place = Place::new();
    drop(place.store());
    let frozen = include_str!("../golden/schema-v2.sql");
    assert_eq!(
        schema_of(&place.raw()),
        frozen,
        "a change of the schema needs a new format and a migration"
    );
}

#[test]
fn a_store_made_by_the_first_version_reads_the_same() {
    let place = Place::new();
    place
        .raw()
        .execute_batch(concat!(
            "PRAGMA journal_mode = WAL;",
            include_str!("../golden/store-v1.sql")
        ))
        .unwrap();
    assert_eq!(
        schema_of(&place.raw()),
        include_str!("../golden/schema-v1.sql")
    );
    check_golden(&place, 1, include_str!("../golden/store-v1.jsonl"));
    // It is written on, and has then all that a new one has.
    assert_eq!(
        write(&mut place.store(), &[call(86_400_000_000, 99)]).inserted,
        1
    );
    assert_eq!(place.reader().facts().unwrap().format, 2);
    let as_new = Place::new();
    drop(as_new.store());
    assert_eq!(schema_of(&place.raw()), schema_of(&as_new.raw()));
    // A build of the first version may go on using it.
    let gates: (i64, i64) = place
        .raw()
        .query_row("SELECT min_reader, min_writer FROM about", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(gates, (1, 1));
}

#[test]
fn a_store_made_by_the_second_version_reads_the_same() {
    let place = Place::new();
    place
        .raw()
        .execute_batch(concat!(
            "PRAGMA journal_mode = WAL;",
            include_str!("../golden/store-v2.sql")
        ))
        .unwrap();
    check_golden(&place, 2, include_str!("../golden/store-v2.jsonl"));
}

fn check_golden(place: &Place, format: i64, expected: &str) {
    let mut reader = place.reader();
    let query = CallsQuery {
        filter: Default::default(),
        before: None,
        limit: 100,
    };
    let calls: String = reader
        .calls(&query)
        .unwrap()
        .iter()
        .map(|call| call.to_json() + "\n")
        .collect();
    assert_eq!(calls, expected);
    let facts = reader.facts().unwrap();
    assert_eq!(
        (facts.format, facts.calls, facts.book.number),
        (format, 3, 1)
    );
}
