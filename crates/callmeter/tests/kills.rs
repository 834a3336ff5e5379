//! Processes that die: by SIGKILL at any moment, by `_exit` right after a call; or are paused. Rows are the finished calls
//! exactly, once each; what was in flight is aborted (promises CM-4 and CM-5).
//!
//! A test starts this very binary again with `HOME_OF` naming a home; the child is the test `child`, which does
//! nothing when nobody asks. Its two threads number their calls and say in shared memory which call they begin and
//! which one's guard has returned: no system call, so that a kill meets them in the midst of recording, and their
//! process in the midst of spooling and shipping.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "it/support.rs"]
#[allow(dead_code)]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use callmeter::Callmeter;
use callmeter::settings::Settings;
use callmeter_core::Status;
use callmeter_store::{CallsQuery, Filter, SqliteReader};
use callmeter_testkit::fork::in_forked_child;
use callmeter_testkit::tally::SharedTally;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::PATIENCE;

const HOME_OF: &str = "CALLMETER_KILLS_HOME";
const NUMBER_OF: &str = "CALLMETER_KILLS_NUMBER";
const ROUNDS: usize = 10;
const WRITERS: usize = 10;
const THREADS: usize = 2;

/// Where a thread of a writer says what.
#[derive(Clone, Copy)]
struct Words {
    writer: usize,
    thread: usize,
}

impl Words {
    const fn at(self, what: usize) -> usize {
        (self.writer * THREADS + self.thread) * 4 + what
    }
    /// The call that it begins, or began last.
    const fn begun(self) -> usize {
        self.at(0)
    }
    /// The last call whose guard has returned.
    const fn finished(self) -> usize {
        self.at(1)
    }
    /// How many it may make.
    const fn allowed(self) -> usize {
        self.at(2)
    }
    fn caller(self) -> String {
        format!("writer-{}-{}", self.writer, self.thread)
    }
}

fn both(writer: usize) -> [Words; THREADS] {
    [0, 1].map(|thread| Words { writer, thread })
}

fn tally(home: &Path) -> SharedTally {
    SharedTally::open(&home.with_extension("tally"))
}

/// A home and its writers.
struct Scene {
    directory: tempfile::TempDir,
    tally: SharedTally,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tally = tally(&directory.path().join("home"));
        Self { directory, tally }
    }

    fn home(&self) -> std::path::PathBuf {
        self.directory.path().join("home")
    }

    fn spawn(&self, writer: usize) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture", "--test-threads=1"])
            .env(HOME_OF, self.home())
            .env(NUMBER_OF, writer.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn allow(&self, writer: usize, calls: u64) {
        for words in both(writer) {
            self.tally.set(words.allowed(), calls);
        }
    }

    fn finished(&self, writer: usize) -> u64 {
        let finished = |words: Words| self.tally.get(words.finished());
        both(writer).map(finished).iter().sum()
    }

    /// Waits until the writer has finished so many calls.
    fn until(&self, writer: usize, finished: u64) {
        while self.finished(writer) < finished {
            std::thread::yield_now();
        }
    }

    /// Everything that any process left is in the store: holds the rows of these writers against what they said.
    /// Gives how many are aborted.
    fn check(&self, writers: impl IntoIterator<Item = usize>) -> usize {
        let mut rows = rows(&self.home());
        let mut all_aborted = 0;
        for words in writers.into_iter().flat_map(both) {
            let (ok, aborted) = rows.remove(&words.caller()).unwrap_or_default();
            let (begun, finished) = (
                self.tally.get(words.begun()),
                self.tally.get(words.finished()),
            );
            let caller = words.caller();
            let numbers: BTreeSet<u64> = ok.iter().copied().collect();
            assert_eq!(numbers.len(), ok.len(), "{caller}: a call is there twice");
            // It may not have lived to say that the guard of its last call returned.
            let last = if numbers.contains(&(finished + 1)) {
                begun
            } else {
                finished
            };
            assert!(numbers.iter().copied().eq(1..=last), "{caller}: {last}");
            assert!(begun <= finished + 1 && aborted <= usize::from(begun > last));
            all_aborted += aborted;
        }
        assert!(rows.is_empty(), "rows of nobody: {rows:?}");
        all_aborted
    }
}

#[test]
fn child() {
    let (Some(home), Ok(writer)) = (std::env::var_os(HOME_OF), std::env::var(NUMBER_OF)) else {
        return;
    };
    let (home, writer) = (Path::new(&home), writer.parse().unwrap());
    let tally = tally(home);
    let callmeter = recorder(home);
    let record = |words: Words| {
        let caller = words.caller();
        let mut number = 1;
        loop {
            while number > tally.get(words.allowed()) {
                std::thread::yield_now();
            }
            tally.set(words.begun(), number);
            let mut call = callmeter.call(&caller, "openai", "gpt-5");
            if call.id().is_none() {
                // The buffer is full: nothing was begun.
                continue;
            }
            call.tokens(number, 1_u64);
            call.finish();
            tally.set(words.finished(), number);
            number += 1;
        }
    };
    std::thread::scope(|scope| {
        for words in both(writer) {
            scope.spawn(move || record(words));
        }
    });
}

/// A recorder that ships to the home's embedded store, what others left as fast as it takes it.
fn recorder(home: &Path) -> Callmeter {
    let mut settings = Settings::default();
    settings.shipper.replay_rows_per_second = 1_000_000;
    let builder = callmeter::builder().settings(settings).home(home);
    builder.open().unwrap()
}

/// Waits until everything that the dead left is shipped, while so many processes live.
fn settle(callmeter: &Callmeter, living: usize) {
    loop {
        let standing = callmeter.home().standing().unwrap();
        let is_adopted = standing.processes.len() == living;
        if is_adopted && standing.conservation.spooled == 0 && standing.spools <= living as u64 {
            assert!(living > 1 || standing.conservation.holds(), "{standing:?}");
            break;
        }
        std::thread::yield_now();
    }
}

/// The rows of a home once everything that the dead left is shipped: of each caller the numbers of its calls, and how
/// many are aborted.
fn rows(home: &Path) -> BTreeMap<String, (Vec<u64>, usize)> {
    let callmeter = recorder(home);
    settle(&callmeter, 1);
    assert!(callmeter.shutdown(PATIENCE).is_complete());
    let all = CallsQuery {
        filter: Filter::default(),
        before: None,
        limit: 10_000_000,
    };
    let mut store = SqliteReader::open(&home.join("store.sqlite")).unwrap();
    let mut rows: BTreeMap<String, (Vec<u64>, usize)> = BTreeMap::new();
    for call in store.calls(&all).unwrap() {
        let record = call.record;
        let (ok, aborted) = rows.entry(record.caller.clone().unwrap()).or_default();
        match record.status_or_ok() {
            Status::Ok => ok.push(record.usage.input_tokens.unwrap_or(0)),
            Status::Aborted => *aborted += 1,
            status => panic!("a call is {status}"),
        }
    }
    rows.values_mut().for_each(|(ok, _)| ok.sort_unstable());
    rows
}

#[test]
fn a_hundred_kills_lose_no_finished_call_and_double_none() {
    let mut aborted = 0;
    for round in 0..ROUNDS {
        let scene = Scene::new();
        // Each comes to another point at full speed, beside the next one, and is killed wherever it is by then.
        let point = |writer: usize| 1 + (round * 97 + writer * 211) as u64 % 700;
        let start = |writer: usize| {
            scene.allow(writer, point(writer) + 300);
            scene.spawn(writer)
        };
        let mut next = start(0);
        for writer in 0..WRITERS {
            let mut child = std::mem::replace(&mut next, start(writer + 1));
            scene.until(writer, point(writer));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        next.kill().unwrap();
        next.wait().unwrap();
        aborted += scene.check(0..=WRITERS);
    }
    assert!(aborted > 0, "not one of a hundred kills met an open call");
}

#[test]
fn a_process_that_is_paused_is_not_taken_for_dead_and_goes_on() {
    const PAUSED: usize = 0;
    const DYING: usize = 1;
    let scene = Scene::new();
    let callmeter = recorder(&scene.home());
    while !callmeter.stats().is_shipping {
        std::thread::yield_now();
    }
    let mut paused = scene.spawn(PAUSED);
    scene.allow(PAUSED, 4_000);
    scene.until(PAUSED, 100);
    let pid = Pid::from_child(&paused);
    kill_process(pid, Signal::STOP).unwrap();

    // Another dies meanwhile, and is adopted.
    let mut dying = scene.spawn(DYING);
    scene.allow(DYING, 1_000);
    scene.until(DYING, 100);
    dying.kill().unwrap();
    dying.wait().unwrap();
    loop {
        let standing = callmeter.home().standing().unwrap();
        let of = |pid| standing.processes.iter().find(|process| process.pid == pid);
        assert!(of(paused.id()).is_some_and(|process| process.is_alive));
        if of(dying.id()).is_none() {
            break;
        }
        std::thread::yield_now();
    }

    kill_process(pid, Signal::CONT).unwrap();
    let seen = scene.finished(PAUSED);
    scene.allow(PAUSED, seen + 4_000);
    scene.until(PAUSED, seen + 1_000);
    paused.kill().unwrap();
    paused.wait().unwrap();
    settle(&callmeter, 1);
    assert!(callmeter.shutdown(PATIENCE).is_complete());
    scene.check([PAUSED, DYING]);
}

#[test]
fn a_process_that_ends_by_exit_right_after_a_call_loses_nothing() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().to_owned();
    // The child ends by `_exit` as soon as this returns: no destructor runs, no flush.
    assert!(in_forked_child(move || {
        let callmeter = recorder(&path);
        for number in 1..=10_u64 {
            let mut call = callmeter.call("child", "openai", "gpt-5");
            call.tokens(number, 1_u64);
            call.finish();
        }
        std::mem::forget(callmeter.call("child", "openai", "gpt-5"));
        std::mem::forget(callmeter);
        true
    }));
    let rows = rows(home.path());
    assert_eq!(rows["child"], ((1..=10).collect(), 1));
}
