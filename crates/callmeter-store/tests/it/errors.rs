//! What a store says when it cannot be used: which file, why, what to do; and it changes nothing.

use std::sync::Arc;

use callmeter_core::{Sink, SinkErrorKind, SystemClock};
use callmeter_store::{SqliteOptions, SqliteReader, SqliteStore, StoreError};

use crate::support::{Place, call};

fn open(place: &Place) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(
        &place.path(),
        SqliteOptions::default(),
        Arc::new(SystemClock),
    )
}

#[test]
fn a_missing_store_is_named_and_says_how_it_comes_to_be() {
    let place = Place::new();
    let error = SqliteReader::open(&place.path()).unwrap_err();
    assert!(error.to_string().contains("store.sqlite"), "{error}");
    assert!(error.hint().unwrap().contains("first call"));
    assert!(!place.path().exists());
}

#[test]
fn a_file_of_something_else_is_left_alone() {
    let place = Place::new();
    std::fs::write(
        place.path(),
        "dear diary, this is no database at all, it only looks like one",
    )
    .unwrap();
    let before = std::fs::read(place.path()).unwrap();
    assert!(matches!(open(&place), Err(StoreError::NotAStore(_))));
    assert!(matches!(
        SqliteReader::open(&place.path()),
        Err(StoreError::NotAStore(_))
    ));
    assert_eq!(std::fs::read(place.path()).unwrap(), before);
}

#[test]
fn another_application_s_database_is_left_alone() {
    let place = Place::new();
    place
        .raw()
        .execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        .unwrap();
    assert!(matches!(open(&place), Err(StoreError::NotAStore(_))));
    let tables: i64 = place
        .raw()
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .unwrap();
    assert_eq!(tables, 1);
}

#[test]
fn a_store_of_a_newer_version_is_refused_with_both_versions() {
    let place = Place::new();
    drop(open(&place).unwrap());
    place
        .raw()
        .execute_batch("UPDATE about SET format = 9, min_writer = 9, min_reader = 8")
        .unwrap();
    for error in [
        open(&place).unwrap_err(),
        SqliteReader::open(&place.path()).unwrap_err(),
    ] {
        assert!(
            matches!(
                error,
                StoreError::NewerFormat {
                    format: 9,
                    known: 2,
                    ..
                }
            ),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("upgrade callmeter"));
    }
}

#[test]
fn a_store_that_a_newer_version_upgrades_meanwhile_takes_no_more_rows() {
    let place = Place::new();
    let mut store = place.store();
    place
        .raw()
        .execute_batch("UPDATE about SET format = 3, min_writer = 3")
        .unwrap();
    let error = store.write(&[call(1, 1)]).unwrap_err();
    assert_eq!(error.kind(), SinkErrorKind::Fatal);
    // Its min_reader is still 1: this build may look.
    assert_eq!(place.reader().facts().unwrap().calls, 0);
}

#[test]
fn a_directory_that_is_not_there_is_a_clear_error() {
    let place = Place::new();
    let path = place.directory.path().join("missing").join("store.sqlite");
    let error =
        SqliteStore::open(&path, SqliteOptions::default(), Arc::new(SystemClock)).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn an_unknown_zone_is_an_error_before_a_file_is_made() {
    let place = Place::new();
    let mut options = SqliteOptions::default();
    options.accounting_zone = "Europe/Atlantis".to_owned();
    let error = SqliteStore::open(&place.path(), options, Arc::new(SystemClock)).unwrap_err();
    assert!(error.to_string().contains("Europe/Atlantis"), "{error}");
    assert!(!place.path().exists());
}

#[test]
fn a_writer_that_holds_the_store_makes_it_busy_and_nothing_else() {
    let place = Place::new();
    let mut store = place.store();
    store.set_busy_limit(std::time::Duration::ZERO).unwrap();
    let other = place.raw();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.write(&[call(1, 1)]).unwrap_err();
    assert_eq!(error.kind(), SinkErrorKind::Busy, "{error}");
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(store.write(&[call(1, 1)]).unwrap().inserted, 1);
}

#[cfg(unix)]
#[test]
fn the_file_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let mut store = place.store();
    store.write(&[call(1, 1)]).unwrap();
    for file in std::fs::read_dir(place.directory.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{file:?}"
        );
    }
}
