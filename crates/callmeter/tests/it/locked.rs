//! A store that another process keeps locked for a minute: waited for, never failing, and every call arrives.
//!
//! The test starts this very binary again as the process that holds the lock; it lets go when its standard input
//! ends.

use std::io::{BufRead, BufReader, Lines, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use callmeter_core::Sink;
use callmeter_store::{SqliteOptions, SqliteStore};

use crate::homes::{calls, place};

const STORE: &str = "CALLMETER_TEST_LOCKS";
const HELD: &str = "the store is held";

#[test]
#[allow(clippy::print_stdout)]
fn child_that_holds_a_store() {
    let Some(path) = std::env::var_os(STORE) else {
        return;
    };
    let mut store = rusqlite::Connection::open(path).unwrap();
    let writing = store
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .unwrap();
    println!("\n{HELD}");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    writing.rollback().unwrap();
}

/// Another process that has begun to write to the store.
struct Holder {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Holder {
    fn of(store: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["locked::child_that_holds_a_store", "--exact", "--nocapture"])
            .env(STORE, store)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap() == HELD), "it died");
        Self { child, said }
    }

    fn lets_go(mut self) {
        drop(self.child.stdin.take());
        let said: Vec<String> = self.said.map(Result::unwrap).collect();
        assert!(self.child.wait().unwrap().success(), "{said:?}");
    }
}

#[test]
fn a_store_that_another_process_keeps_locked_for_a_minute_is_waited_for_and_never_failing() {
    let home = place();
    let path = home.path().join("store.sqlite");
    let mut spool = home.spool();
    let mut add = |numbers| {
        spool.append(&calls(numbers), &[], false).unwrap();
        spool.append(&[], &[], false).unwrap();
    };
    let open = {
        let (path, clock) = (path.clone(), home.clock.clone());
        move || {
            let mut store = SqliteStore::open(&path, SqliteOptions::default(), clock.clone())?;
            // Each trial waits so long in earnest, and meets the lock all the same.
            store.set_busy_limit(Duration::from_millis(10))?;
            Ok(Box::new(store) as Box<dyn Sink>)
        }
    };
    let mut shipper = home.shipper_with(open);
    add(0..50);
    home.drive(&mut shipper, Duration::from_secs(3));
    assert_eq!(home.standing().acknowledged, 50);

    let holder = Holder::of(&path);
    add(50..60);
    let mut trials = 0;
    for second in 1..=60 {
        shipper.tick();
        home.clock.pass(1_000_000);
        assert!(
            shipper.last_error().is_none(),
            "a busy store is no failing one"
        );
        assert!(!shipper.is_degraded());
        trials = second;
        if second == 30 {
            add(60..70);
        }
    }
    assert_eq!((trials, home.standing().spooled), (60, 20));
    let marks = std::fs::read_dir(home.path()).unwrap();
    let mut names = marks.map(|entry| entry.unwrap().file_name());
    assert!(!names.any(|name| name.to_string_lossy().ends_with(".failing")));

    holder.lets_go();
    home.drive(&mut shipper, Duration::from_secs(3));
    let standing = home.standing();
    assert_eq!((standing.acknowledged, standing.spooled), (70, 0));
    assert!(standing.holds());
}
