//! A batch on its way into a spool: every row, in its order, or none.

use std::path::PathBuf;

use callmeter::seams::{Disk as _, SpoolInlet};
use rusqlite::Connection;

use crate::homes::{TestHome, calls, place};

fn file_of(home: &TestHome, spool: &dyn SpoolInlet) -> PathBuf {
    let name = format!("{}.spool", spool.name());
    home.path().join("spool").join(name)
}

#[test]
fn batches_of_every_size_come_back_row_by_row_in_their_order() {
    let home = place();
    let mut spool = home.spool();
    let mut made = Vec::new();
    for size in (0..=40).chain([100, 1_000]) {
        let first = made.len() as u64;
        let batch = calls(first..first + size);
        spool.append(&batch, &[], false).unwrap();
        made.extend(batch);
    }
    let mut outlet = home.disk().open(spool.name()).unwrap();
    outlet.release_all().unwrap();
    let rows = outlet.ready_rows(0, i64::MAX, 10_000).unwrap();
    let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
    let all: Vec<i64> = (1..=spool.last_seq()).collect();
    assert_eq!(seqs, all);
    let read: Vec<_> = rows.into_iter().map(|row| row.record.unwrap()).collect();
    assert_eq!(read, made);
    assert_eq!(home.standing().spooled, made.len() as u64);
}

/// Where a statement of several rows fails in the middle, those before it go back as well.
#[test]
fn a_batch_that_fails_midway_leaves_nothing_and_can_be_appended_again() {
    let home = place();
    let mut spool = home.spool();
    spool.append(&calls(0..3), &[], false).unwrap();
    let raw = Connection::open(file_of(&home, &*spool)).unwrap();
    let count = || -> i64 {
        raw.query_row("SELECT count(*) FROM rows", [], |row| row.get(0))
            .unwrap()
    };
    for in_the_way in [4, 5, 25, 43] {
        raw.execute(
            "INSERT INTO rows SELECT ?1, lane, call_hi, call_lo, layer, rev, record FROM rows WHERE seq = 1",
            [in_the_way],
        )
        .unwrap();
        assert!(spool.append(&calls(3..43), &[], false).is_err());
        assert_eq!((count(), spool.last_seq()), (4, 3), "{in_the_way}");
        raw.execute("DELETE FROM rows WHERE seq = ?1", [in_the_way])
            .unwrap();
    }
    spool.append(&calls(3..43), &[], false).unwrap();
    assert_eq!((count(), spool.last_seq()), (43, 43));
    drop(spool);
    home.ship_all();
    assert_eq!(home.stored(), (0..43).collect::<Vec<_>>());
}

/// An owner that is busy raises the mark once in a while, and at once when no more comes: nothing waits for it in vain.
#[test]
fn rows_of_a_busy_owner_may_leave_after_a_few_commits_and_all_when_it_rests() {
    let home = place();
    let mut spool = home.spool();
    let mut outlet = home.disk().open(spool.name()).unwrap();
    for n in 0..1_000_u64 {
        spool.append(&calls(n..n + 1), &[], false).unwrap();
        let behind = spool.last_seq() - outlet.ready_seq().unwrap();
        assert!((1..=16).contains(&behind), "{behind}");
        assert_eq!(home.standing().spooled, n + 1);
    }
    for n in 1..5 {
        let batch = calls(n * 1_000..n * 1_000 + 700);
        spool.append(&batch, &[], false).unwrap();
        let behind = spool.last_seq() - outlet.ready_seq().unwrap();
        assert!((700..=1_716).contains(&behind), "{behind}");
    }
    assert!(spool.has_unready());
    spool.append(&[], &[], false).unwrap();
    assert!(!spool.has_unready());
    assert_eq!(outlet.ready_seq().unwrap(), 3_800);
}
