//! Spool format 2 is what `golden/spool-v2.sql` says; it and the format before it stay readable for ever.

use std::time::Duration;

use callmeter::seams::{Disk as _, SpoolError};
use callmeter_core::DropReason;
use rusqlite::Connection;

use crate::homes::{call, finish, name_of, place};

const GOLDEN: &str = "tests/golden/spool-v2.sql";
const OLDER: &str = "tests/golden/spool-v1.sql";

fn path_of(golden: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(golden)
}

fn read(golden: &str) -> String {
    std::fs::read_to_string(path_of(golden)).unwrap()
}

/// Everything in a spool file that decides its format, as SQL.
fn dump(db: &Connection) -> String {
    let mut text = String::new();
    for pragma in ["application_id", "user_version", "auto_vacuum", "page_size"] {
        let value: i64 = db
            .pragma_query_value(None, pragma, |row| row.get(0))
            .unwrap();
        text.push_str(&format!("PRAGMA {pragma} = {value};\n"));
    }
    let mut tables = db
        .prepare("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid")
        .unwrap();
    let tables: Vec<(String, String)> = tables
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for (name, sql) in tables {
        text.push_str(&format!("{sql};\n"));
        let columns = db.prepare(&format!("SELECT * FROM {name}")).unwrap();
        let columns: Vec<String> = columns
            .column_names()
            .map(|column| format!("quote({column})"))
            .collect();
        let values = format!("SELECT {} FROM {name}", columns.join(" || ', ' || "));
        let mut rows = db.prepare(&values).unwrap();
        for row in rows.query_map([], |row| row.get::<_, String>(0)).unwrap() {
            text.push_str(&format!("INSERT INTO {name} VALUES ({});\n", row.unwrap()));
        }
    }
    text
}

#[test]
fn a_new_spool_is_written_as_the_golden_file_says() {
    let home = place();
    let mut spool = home.spool();
    let at = callmeter_core::Clock::now(&*home.clock);
    spool
        .attach("0000-1111", "/dev/shm/callmeter-1000/home", at)
        .unwrap();
    spool
        .append(&[call(1), call(2)], &[(DropReason::FlightFull, 3)], true)
        .unwrap();
    let name = spool.name().to_owned();
    let mut outlet = home.disk().open(&name).unwrap();
    outlet.release_all().unwrap();
    let row = outlet.ready_rows(0, 9, 1).unwrap().remove(0);
    outlet.reject(&row, "no store takes it", at).unwrap();
    let path = home.path().join("spool").join(format!("{name}.spool"));
    let db = Connection::open(path).unwrap();
    let seen = dump(&db)
        .replace(&name, "00000000-0000-7000-8000-000000000000")
        .replace(
            concat!("callmeter ", env!("CARGO_PKG_VERSION")),
            "callmeter 0.1.0",
        )
        .replace(&home.path().display().to_string(), "/home/app/callmeter")
        .replace(&format!(", {});", std::process::id()), ", 4711);");
    if std::env::var_os("CALLMETER_BLESS").is_some() {
        std::fs::write(path_of(GOLDEN), &seen).unwrap();
    }
    assert_eq!(seen, read(GOLDEN));
}

/// A home with a spool file made from SQL.
fn home_with(sql: &str) -> crate::homes::TestHome {
    let home = place();
    let dir = home.path().join("spool");
    std::fs::create_dir_all(&dir).unwrap();
    let db = Connection::open(dir.join("00000000-0000-7000-8000-000000000000.spool")).unwrap();
    db.execute_batch(sql).unwrap();
    home
}

#[test]
fn the_golden_spools_are_read_and_shipped() {
    for golden in [OLDER, GOLDEN] {
        let home = home_with(&read(golden));
        home.ship_all();
        assert_eq!(home.sink.calls(), vec![call(2)], "{golden}");
        let standing = home.standing();
        assert_eq!(
            (standing.finished, standing.acknowledged, standing.rejected),
            (5, 1, 1)
        );
        assert_eq!(standing.dropped_for(DropReason::FlightFull), 3);
        assert!(standing.holds());
    }
}

/// The last appends of an owner that was killed may not be counted in `progress`.
#[test]
fn rows_that_no_owner_counted_any_more_are_counted_shipped_and_not_overwritten() {
    let uncounted = "UPDATE progress SET next_seq = 2, ready_seq = 1, spooled = 1;";
    let home = home_with(&format!("{}{uncounted}", read(GOLDEN)));
    let standing = home.standing();
    assert_eq!((standing.finished, standing.spooled), (5, 1));
    assert!(standing.holds());
    let buffer = home.flight();
    // The one that is there, and another.
    finish(&buffer, 2);
    finish(&buffer, 3);
    let name = name_of(&buffer);
    drop(buffer);
    let path = home
        .path()
        .join("spool/00000000-0000-7000-8000-000000000000.spool");
    Connection::open(path)
        .unwrap()
        .execute("UPDATE flights SET flight = ?1", [name])
        .unwrap();
    home.ship_all();
    assert_eq!(home.stored(), [2, 3]);
    let standing = home.standing();
    assert_eq!((standing.finished, standing.acknowledged), (6, 2));
    assert!(standing.holds());
}

#[test]
fn a_spool_of_a_newer_format_is_left_as_it_is_and_named() {
    let newer = read(GOLDEN).replacen("VALUES (1, 2, 2, 2, ", "VALUES (1, 3, 3, 2, ", 1);
    let home = home_with(&newer);
    let opened = home.disk().open("00000000-0000-7000-8000-000000000000");
    assert!(matches!(
        opened,
        Err(SpoolError::NewerFormat { format: 3, .. })
    ));
    let mut shipper = home.shipper();
    home.drive(&mut shipper, Duration::from_secs(3));
    assert_eq!(home.sink.calls(), Vec::new());
    let standing = home.home().standing().unwrap();
    assert!(standing.unreadable[0].1.contains("newer callmeter"));
    assert_eq!(home.disk().spools().unwrap().len(), 1);
}

#[test]
fn rows_of_a_newer_record_format_wait_and_hold_up_nobody() {
    let home = place();
    let mut spool = home.spool();
    spool
        .append(&[call(1), call(2), call(3)], &[], false)
        .unwrap();
    let path = home
        .path()
        .join("spool")
        .join(format!("{}.spool", spool.name()));
    let db = Connection::open(path).unwrap();
    db.execute("UPDATE rows SET record = x'02ffff' WHERE seq < 3", [])
        .unwrap();
    drop((db, spool));
    home.ship_all();
    assert_eq!(home.stored(), vec![3]);
    let standing = home.standing();
    assert_eq!((standing.spooled, standing.acknowledged), (2, 1));
    assert!(standing.holds());
}
