//! Known faults, one test each: what is done about a file that is damaged, cut, empty, newer or in the way.

use std::fs;
use std::path::PathBuf;

use callmeter::seams::Disk as _;

use crate::homes::{TestHome, call, calls, place};

/// Two spools of dead owners with three calls each, in files without logs: the first is to be damaged.
fn two_spools(home: &TestHome) -> PathBuf {
    let mut paths = Vec::new();
    for first in [0, 10] {
        let mut spool = home.spool();
        spool.append(&calls(first..first + 3), &[], true).unwrap();
        spool.append(&[], &[], true).unwrap();
        paths.push(
            home.path()
                .join("spool")
                .join(format!("{}.spool", spool.name())),
        );
    }
    for path in &paths {
        let db = rusqlite::Connection::open(path).unwrap();
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .unwrap();
    }
    paths.remove(0)
}

fn aside(path: &std::path::Path) -> PathBuf {
    path.with_extension("spool.damaged")
}

/// The damaged spool was set aside and named; the other was shipped.
fn assert_set_aside(home: &TestHome, path: &std::path::Path) {
    home.ship_all();
    assert_eq!(home.stored(), vec![10, 11, 12]);
    assert!(!path.exists() && aside(path).exists());
    let standing = home.home().standing().unwrap();
    assert_eq!(standing.set_aside, vec![aside(path)]);
    assert!(standing.conservation.holds() && standing.unreadable.is_empty());
}

#[test]
fn a_file_whose_header_is_garbage_is_set_aside() {
    let home = place();
    let path = two_spools(&home);
    let mut bytes = fs::read(&path).unwrap();
    bytes[..100].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    assert_set_aside(&home, &path);
}

#[test]
fn an_empty_file_is_set_aside() {
    let home = place();
    let path = two_spools(&home);
    fs::write(&path, "").unwrap();
    assert_set_aside(&home, &path);
}

#[test]
fn a_database_of_something_else_is_set_aside() {
    let home = place();
    let path = two_spools(&home);
    fs::remove_file(&path).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other
        .execute_batch("CREATE TABLE precious(id INTEGER)")
        .unwrap();
    drop(other);
    assert_set_aside(&home, &path);
}

#[test]
fn a_spool_that_lost_its_tables_with_its_log_is_set_aside() {
    let home = place();
    let path = two_spools(&home);
    fs::remove_file(&path).unwrap();
    // As an older build left it: marked, and the tables in a log that power took.
    let lost = rusqlite::Connection::open(&path).unwrap();
    lost.pragma_update(None, "application_id", 0x434d_5350)
        .unwrap();
    drop(lost);
    assert_set_aside(&home, &path);
}

#[test]
fn a_spool_has_its_tables_from_its_first_moment_without_its_log() {
    let home = place();
    let spool = home.spool();
    let dir = home.path().join("spool");
    let whole = fs::read(dir.join(format!("{}.spool", spool.name()))).unwrap();
    fs::write(dir.join("copy.spool"), whole).unwrap();
    let mut copy = home.disk().open("copy").unwrap();
    assert!(copy.is_spent().unwrap());
    assert_eq!(copy.store(), crate::homes::STORE);
}

#[test]
fn a_spool_whose_maker_died_midway_is_removed_and_one_that_is_being_made_stays() {
    let home = place();
    let dir = home.path().join("spool");
    fs::create_dir_all(&dir).unwrap();
    for name in [
        "dead.making",
        "dead.making-journal",
        "dead.lease",
        "living.making",
    ] {
        fs::write(dir.join(name), "").unwrap();
    }
    let living = callmeter_flight::Lease::try_take(&dir.join("living.lease")).unwrap();
    let spool = home.spool();
    let mut names: Vec<String> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with(spool.name()))
        .collect();
    names.sort();
    assert_eq!(names, ["living.lease", "living.making"]);
    home.ship_all();
    assert_eq!(
        home.home().standing().unwrap().set_aside,
        Vec::<PathBuf>::new()
    );
    drop(living);
}

#[test]
fn a_file_that_was_cut_short_is_set_aside_and_not_counted() {
    let home = place();
    let path = two_spools(&home);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 3]).unwrap();
    assert_set_aside(&home, &path);
}

#[test]
fn pages_of_garbage_never_make_a_row_of_garbage() {
    // Whichever page it is: rows come whole, or the file goes aside; the other spool is shipped.
    let pages = {
        let home = place();
        fs::metadata(two_spools(&home)).unwrap().len() / 8_192
    };
    assert!(pages > 5);
    for page in 1..pages {
        let home = place();
        let path = two_spools(&home);
        let mut bytes = fs::read(&path).unwrap();
        let at = usize::try_from(page * 8_192).unwrap();
        bytes[at..at + 8_192].fill(0xa5);
        fs::write(&path, bytes).unwrap();
        home.ship_all();
        for stored in home.sink.calls() {
            assert_eq!(
                stored,
                call(stored.call_id.lo().cast_unsigned()),
                "page {page}"
            );
        }
        let stored = home.stored();
        assert!(stored.ends_with(&[10, 11, 12]), "page {page}: {stored:?}");
        // All of it was shipped, or it went aside.
        let is_whole = stored.len() == 6;
        assert!(is_whole || aside(&path).exists(), "page {page}: {stored:?}");
    }
}

#[test]
fn a_log_of_garbage_is_no_log() {
    let home = place();
    let mut spool = home.spool();
    spool.append(&calls(0..3), &[], true).unwrap();
    spool.append(&[], &[], true).unwrap();
    let path = home
        .path()
        .join("spool")
        .join(format!("{}.spool", spool.name()));
    let db = rusqlite::Connection::open(&path).unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    spool.append(&calls(3..6), &[], true).unwrap();
    // As a kill leaves it, before the last connection could put the log into the file.
    let kept = fs::read(&path).unwrap();
    let wal = path.with_extension("spool-wal");
    let mut log = fs::read(&wal).unwrap();
    drop((spool, db));
    log[60..].fill(0x5a);
    fs::write(&path, kept).unwrap();
    fs::write(&wal, log).unwrap();
    home.ship_all();
    assert_eq!(home.stored(), vec![0, 1, 2]);
    assert!(home.standing().holds());
}

#[test]
fn a_record_of_garbage_is_kept_in_rejected_and_the_others_are_shipped() {
    let home = place();
    let mut spool = home.spool();
    spool.append(&calls(0..3), &[], false).unwrap();
    let path = home
        .path()
        .join("spool")
        .join(format!("{}.spool", spool.name()));
    drop(spool);
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute("UPDATE rows SET record = x'01ff00' WHERE seq = 2", [])
        .unwrap();
    drop(db);
    home.ship_all();
    assert_eq!(home.stored(), vec![0, 2]);
    let standing = home.standing();
    assert_eq!((standing.acknowledged, standing.rejected), (2, 1));
    assert!(standing.holds());
    let db = rusqlite::Connection::open(&path).unwrap();
    let kept: String = db
        .query_row("SELECT reason FROM rejected WHERE seq = 2", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(kept, "the record is corrupt");
}

#[test]
fn a_link_in_place_of_a_spool_is_not_followed() {
    let home = place();
    let path = two_spools(&home);
    let elsewhere = home.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    home.ship_all();
    assert_eq!(home.stored(), vec![10, 11, 12]);
    assert!(elsewhere.exists());
}

#[test]
fn a_home_that_is_reached_by_a_link_is_a_home_as_any_other() {
    use callmeter::Home;
    use callmeter::seams::{Disk as _, HomeDisk, SpoolOwner};
    let home = place();
    let link = home.path().with_file_name("by a link");
    fs::create_dir(home.path()).unwrap();
    std::os::unix::fs::symlink(home.path(), &link).unwrap();
    let disk = HomeDisk::new(Home::at(&link));
    let owner = SpoolOwner {
        home: link.display().to_string(),
        store: crate::homes::STORE.to_owned(),
        made_at: crate::homes::START,
    };
    let mut spool = disk.create(&owner).unwrap();
    spool.append(&calls(0..3), &[], true).unwrap();
    spool.append(&[], &[], false).unwrap();
    assert_eq!(disk.spools().unwrap().len(), 1);
    home.ship_all();
    assert_eq!(home.stored(), vec![0, 1, 2]);
}

#[cfg(unix)]
#[test]
fn a_home_of_a_group_is_open_to_it_and_to_nobody_else_whatever_the_umask() {
    use callmeter::seams::{Disk as _, HomeDisk, SpoolOwner};
    use std::os::unix::fs::PermissionsExt as _;
    let home = place();
    let shared = home.home().with_group_access(true);
    let disk = HomeDisk::new(shared);
    let owner = SpoolOwner {
        home: String::new(),
        store: "store".to_owned(),
        made_at: crate::homes::START,
    };
    let mut spool = disk.create(&owner).unwrap();
    spool.append(&calls(0..3), &[], true).unwrap();
    let office = disk.hold_office("store").unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&home.path()), 0o2770);
    let mut files = 0;
    for dir in [home.path(), home.path().join("spool")] {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let wanted = if path.is_dir() { 0o2770 } else { 0o660 };
            assert_eq!(mode(&path), wanted, "{}", path.display());
            files += usize::from(path.is_file());
        }
    }
    // The spool, its log, the log's index, its lease, and the office.
    assert_eq!(files, 5);
    drop(office);
}
