//! What a store on PostgreSQL says when it cannot be used: clear, with a hint, without a value or a password; and
//! when the fault is gone the same batch is taken.
#![cfg(all(unix, feature = "postgres"))]

use std::process::Command;
use std::sync::Arc;

use callmeter_core::{Sink, SinkError, SinkErrorKind};
use callmeter_store::{
    PostgresReader, PostgresSchema, PostgresStore, StoreError, StoreOptions, StoreUrl,
};
use callmeter_testkit::clock::ManualClock;
use callmeter_testkit::postgres::{Options, PostgresServer};
use callmeter_testkit::records::FIRST_MOMENT;
use callmeter_testkit::store::call;

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(
        FIRST_MOMENT.saturating_add_micros(10 * 86_400_000_000),
    ))
}

fn open(url: &str) -> Result<PostgresStore, StoreError> {
    let url = StoreUrl::parse(url).unwrap();
    PostgresStore::open(url.postgres().unwrap(), StoreOptions::default(), clock())
}

fn migrate(url: &str) -> Result<(), StoreError> {
    let url = StoreUrl::parse(url).unwrap();
    let mut schema = PostgresSchema::new(url.postgres().unwrap(), clock())?;
    schema.migrate(&StoreOptions::default()).map(|_| ())
}

/// A batch whose words and sums are not yet in any store.
fn batch() -> Vec<callmeter_core::CallRecord> {
    let mut record = call(1, 1);
    record.caller = Some("hunter2-caller".to_owned());
    record.error = Some("hunter2".to_owned());
    vec![record]
}

fn assert_says(error: &SinkError, kind: SinkErrorKind, says: &str, hint: &str) {
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(says), "{error}");
    let shown = error.hint().unwrap_or_default();
    assert!(shown.contains(hint), "{error}: {shown}");
    assert!(
        !format!("{error} {error:?}").contains("hunter2"),
        "{error:?}"
    );
}

#[test]
fn a_database_without_a_store_names_the_command_that_makes_one() {
    let database = PostgresServer::shared().database();
    let error = SinkError::from(open(&database.url()).unwrap_err());
    assert_says(
        &error,
        SinkErrorKind::Fatal,
        "has no callmeter store",
        "callmeter migrate",
    );
    assert!(error.to_string().contains(&database.url()), "{error}");
    let url = StoreUrl::parse(&database.url()).unwrap();
    let error = PostgresReader::open(url.postgres().unwrap()).unwrap_err();
    assert!(
        error.to_string().contains("has no callmeter store"),
        "{error}"
    );
}

#[test]
fn a_table_that_goes_missing_under_a_writer_is_named() {
    let database = PostgresServer::shared().database();
    migrate(&database.url()).unwrap();
    let mut store = open(&database.url()).unwrap();
    database.psql("ALTER TABLE callmeter.roll_day RENAME TO gone");
    let error = store.write(&batch()).unwrap_err();
    assert_says(
        &error,
        SinkErrorKind::Fatal,
        "callmeter.roll_day",
        "callmeter migrate",
    );
    assert_eq!(database.psql("SELECT count(*) FROM callmeter.calls"), "0");
    database.psql("ALTER TABLE callmeter.gone RENAME TO roll_day");
    assert_eq!(store.write(&batch()).unwrap().inserted, 1);
}

#[test]
fn the_rights_that_are_printed_are_enough_and_fewer_are_an_error_that_names_the_table() {
    let database = PostgresServer::shared().database();
    migrate(&database.url()).unwrap();
    let name = database.name();
    let url = StoreUrl::parse(&database.url()).unwrap();
    let sql = PostgresSchema::new(url.postgres().unwrap(), clock())
        .unwrap()
        .print(&StoreOptions::default());
    // The grants stand in comments at the end.
    let grants: String = sql
        .lines()
        .filter_map(|line| line.strip_prefix("--   "))
        .map(|line| format!("{line}\n"))
        .collect();
    let grants = grants
        .replace("TO writer", &format!("TO writer_{name}"))
        .replace("TO reader", &format!("TO reader_{name}"));
    database.psql(&format!(
        "CREATE ROLE writer_{name} LOGIN; CREATE ROLE reader_{name} LOGIN; {grants}"
    ));
    let as_role = |role: &str| {
        database
            .url()
            .replace("callmeter@", &format!("{role}_{name}@"))
    };
    let mut store = open(&as_role("writer")).unwrap();
    assert_eq!(store.write(&batch()).unwrap().inserted, 1);
    let mut more = batch();
    more[0].rev = 1;
    more[0].duration_us = Some(5);
    assert_eq!(store.write(&more).unwrap().merged, 1);
    let reader = StoreUrl::parse(&as_role("reader")).unwrap();
    let facts = PostgresReader::open(reader.postgres().unwrap())
        .unwrap()
        .facts()
        .unwrap();
    assert_eq!(facts.calls, 1);
    let error = open(&as_role("reader"))
        .unwrap()
        .write(&[call(2, 2)])
        .unwrap_err();
    assert_says(
        &error,
        SinkErrorKind::Fatal,
        "permission denied for",
        "migrate print",
    );
    database.psql(&format!(
        "REVOKE UPDATE ON callmeter.roll_hour FROM writer_{name}"
    ));
    let error = store.write(&[call(3, 3)]).unwrap_err();
    assert_says(&error, SinkErrorKind::Fatal, "roll_hour", "migrate print");
    database.psql(&format!(
        "GRANT UPDATE ON callmeter.roll_hour TO writer_{name}"
    ));
    assert_eq!(store.write(&[call(3, 3)]).unwrap().inserted, 1);
}

#[test]
fn a_standby_takes_no_rows_and_answers_questions() {
    let primary = PostgresServer::start(&Options::default());
    let database = primary.database();
    migrate(&database.url()).unwrap();
    open(&database.url()).unwrap().write(&batch()).unwrap();
    let standby = PostgresServer::standby_of(&primary);
    let url = standby.url(database.name());
    let error = open(&url).unwrap().write(&[call(2, 2)]).unwrap_err();
    assert_says(
        &error,
        SinkErrorKind::Retry,
        "read-only",
        "target_session_attrs",
    );
    let parsed = StoreUrl::parse(&url).unwrap();
    let facts = PostgresReader::open(parsed.postgres().unwrap())
        .unwrap()
        .facts()
        .unwrap();
    assert_eq!(facts.calls, 1);
    // Of several hosts the one that takes rows is found.
    let (first, second, name) = (standby.address(), primary.address(), database.name());
    let both = format!("postgres://callmeter@{first},{second}/{name}");
    assert_eq!(
        open(&both).unwrap().write(&[call(2, 2)]).unwrap().inserted,
        1
    );
}

#[test]
fn a_full_disk_keeps_the_batch_out_and_room_lets_it_in() {
    let place = tempfile::tempdir().unwrap();
    // A disk of its own where one may be mounted; elsewhere the server is made to say the same.
    let disk = Disk::mount(place.path());
    let server = match &disk {
        Some(disk) => PostgresServer::start(&Options {
            place: Some(disk.0.clone()),
            settings: vec!["wal_recycle=off".to_owned(), "max_wal_size=32MB".to_owned()],
            ..Options::default()
        }),
        None => PostgresServer::start(&Options::default()),
    };
    let database = server.database();
    migrate(&database.url()).unwrap();
    let mut store = open(&database.url()).unwrap();
    store.write(&batch()).unwrap();
    database.psql(
        "CREATE TABLE ballast (bytes bytea); ALTER TABLE ballast ALTER bytes SET STORAGE EXTERNAL",
    );
    let fill = match &disk {
        Some(disk) => {
            disk.fill();
            None
        }
        None => Some(database.psql(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
             CREATE TRIGGER full_disk BEFORE INSERT ON callmeter.calls FOR EACH ROW EXECUTE FUNCTION full_disk()",
        )),
    };
    // Pages that are there have room for some rows.
    let error = (0..2_000)
        .find_map(|n| {
            let many: Vec<_> = (0..500)
                .map(|m| call(2_000_000 + n * 1_000 + m, 2))
                .collect();
            store.write(&many).err()
        })
        .expect("the disk is full");
    assert_says(
        &error,
        SinkErrorKind::Retry,
        "No space left on device",
        "make room",
    );
    match (&disk, fill) {
        (Some(disk), _) => disk.clear(),
        (None, _) => drop(database.psql("DROP TRIGGER full_disk ON callmeter.calls")),
    }
    // A server that could not write its log has restarted itself.
    let taken = (0..600).find_map(|_| {
        let mut store = open(&database.url()).ok()?;
        store.write(&[call(9_000_000_000, 7)]).ok()
    });
    assert_eq!(taken.map(|ack| ack.inserted + ack.unchanged), Some(1));
    drop(server);
}

/// A small disk.
struct Disk(std::path::PathBuf);

impl Disk {
    fn mount(place: &std::path::Path) -> Option<Self> {
        let disk = place.join("disk");
        std::fs::create_dir(&disk).unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=160m", "callmeter-test"])
            .arg(&disk);
        let is_mounted = mount.output().is_ok_and(|output| output.status.success());
        is_mounted.then_some(Self(disk))
    }

    fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.0.join("ballast")).unwrap();
        while file.write_all(&[0; 1 << 12]).is_ok() {}
    }

    fn clear(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_database_of_another_encoding_is_refused_before_anything_is_made() {
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let database = PostgresServer::shared().database_with(&format!(
            "ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        ));
        let error = SinkError::from(migrate(&database.url()).unwrap_err());
        assert_says(&error, SinkErrorKind::Fatal, encoding, "ENCODING 'UTF8'");
        let made = "SELECT count(*) FROM pg_namespace WHERE nspname = 'callmeter'";
        assert_eq!(database.psql(made), "0");
    }
}

#[test]
fn a_trigger_that_refuses_a_row_makes_it_one_that_is_set_aside() {
    let database = PostgresServer::shared().database();
    migrate(&database.url()).unwrap();
    database.psql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF NEW.lo % 2 = 1 THEN RAISE 'not this: hunter2 %', NEW; END IF; RETURN NEW; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON callmeter.calls FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    let mut store = open(&database.url()).unwrap();
    let error = store.write(&[call(1, 1), call(2, 2)]).unwrap_err();
    assert_says(&error, SinkErrorKind::Reject, "P0001", "");
    assert_eq!(store.write(&[call(2, 2)]).unwrap().inserted, 1);
}

#[test]
fn a_store_that_a_newer_version_upgrades_meanwhile_takes_no_more_rows() {
    let database = PostgresServer::shared().database();
    migrate(&database.url()).unwrap();
    let mut store = open(&database.url()).unwrap();
    // A newer schema that older builds may still write has columns they do not know.
    database.psql(
        "UPDATE callmeter.about SET format = 3;
         ALTER TABLE callmeter.calls ADD COLUMN mood text DEFAULT 'fine'",
    );
    assert_eq!(store.write(&batch()).unwrap().inserted, 1);
    assert_eq!(database.psql("SELECT mood FROM callmeter.calls"), "fine");
    database.psql("UPDATE callmeter.about SET min_writer = 3");
    let error = store.write(&[call(2, 2)]).unwrap_err();
    assert_says(
        &error,
        SinkErrorKind::Fatal,
        "needs a newer callmeter",
        "upgrade callmeter",
    );
    let url = StoreUrl::parse(&database.url()).unwrap();
    assert_eq!(
        PostgresReader::open(url.postgres().unwrap())
            .unwrap()
            .facts()
            .unwrap()
            .calls,
        1
    );
}
