//! Processes that die: by SIGKILL at any moment, by `_exit` right after a call; or are paused. Rows are the finished calls
//! exactly, once each; what was in flight is aborted (promises CM-4 and CM-5).
//!
//! A test starts this very binary again with `HOME_OF` naming a home; the child is the test `child`, which does
//! nothing when nobody asks. A child writes a call's number, eight bytes, after its guard returned.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "it/support.rs"]
#[allow(dead_code)]
mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use callmeter::Callmeter;
use callmeter::settings::Settings;
use callmeter_testkit::fork::in_forked_child;
use callmeter_testkit::sink::MemorySink;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{PATIENCE, builder};

const HOME_OF: &str = "CALLMETER_KILLS_HOME";
const ROUNDS: usize = 10;
const WRITERS: usize = 10;

fn spawn(home: &Path) -> Child {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(HOME_OF, home)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It stands still once it is so far ahead of whoever listens.
    #[cfg(target_os = "linux")]
    rustix::pipe::fcntl_setpipe_size(child.stderr.as_ref().unwrap(), 4_096).unwrap();
    child
}

#[test]
fn child() {
    let Some(home) = std::env::var_os(HOME_OF) else {
        return;
    };
    // What it ships would be gone with it.
    let sink = MemorySink::default();
    sink.set_down(true);
    let callmeter = builder(Path::new(&home), &sink).open().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let call = callmeter.call("writer", "openai", "gpt-5");
                    let Some(id) = call.id() else { continue };
                    call.finish();
                    // Eight bytes to a pipe arrive whole or not at all.
                    let _ = std::io::stderr().write_all(&id.lo().to_le_bytes());
                }
            });
        }
    });
}

/// The rows of a home by the random half of their ids, once everything that the dead left is shipped.
fn rows(home: &Path) -> BTreeMap<i64, String> {
    let sink = MemorySink::default();
    let callmeter = shipping(home, &sink);
    settle(&callmeter, 1);
    assert!(callmeter.shutdown(PATIENCE).is_complete());
    statuses(&sink)
}

/// A recorder that ships what others left as fast as the store takes it.
fn shipping(home: &Path, sink: &MemorySink) -> Callmeter {
    let mut settings = Settings::default();
    settings.shipper.replay_rows_per_second = 1_000_000;
    builder(home, sink).settings(settings).open().unwrap()
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

/// The stored rows by the random half of their ids, and their status.
fn statuses(sink: &MemorySink) -> BTreeMap<i64, String> {
    let rows = sink.calls();
    let shown: BTreeMap<i64, String> = rows
        .iter()
        .map(|row| (row.call_id.lo(), row.status_or_ok().to_string()))
        .collect();
    assert_eq!(shown.len(), rows.len());
    shown
}

fn numbers(told: &[u8]) -> impl Iterator<Item = i64> {
    let numbers = told.as_chunks::<8>().0.iter();
    numbers.map(|bytes| i64::from_le_bytes(*bytes))
}

#[test]
fn a_hundred_kills_lose_no_finished_call_and_double_none() {
    for round in 0..ROUNDS {
        let home = tempfile::tempdir().unwrap();
        let mut writers: Vec<Child> = (0..WRITERS).map(|_| spawn(home.path())).collect();
        let mut finished = Vec::new();
        for (at, writer) in writers.iter_mut().enumerate() {
            // Let each come to another point, then kill it wherever it is by now.
            let mut told = vec![0_u8; 8 * (1 + (round * 37 + at * 11) % 400)];
            let mut out = writer.stderr.take().unwrap();
            out.read_exact(&mut told).unwrap();
            writer.kill().unwrap();
            out.read_to_end(&mut told).unwrap();
            writer.wait().unwrap();
            finished.extend(numbers(&told));
        }
        let rows = rows(home.path());
        let lost = finished
            .iter()
            .filter(|id| rows.get(id).is_none_or(|status| status != "ok"));
        assert_eq!(lost.count(), 0, "round {round}");
        // A thread may have finished a call that it did not live to tell of, and had one in flight.
        let untold = rows.len() - finished.len();
        assert!(untold <= WRITERS * 2 * 2, "round {round}: {untold}");
        let aborted = rows.values().filter(|status| *status == "aborted").count();
        assert!(aborted <= WRITERS * 2, "round {round}: {aborted}");
    }
}

#[test]
fn a_process_that_is_paused_is_not_taken_for_dead_and_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let sink = MemorySink::default();
    let callmeter = shipping(home.path(), &sink);
    while !callmeter.stats().is_shipping {
        std::thread::yield_now();
    }
    let mut paused = spawn(home.path());
    let mut out = paused.stderr.take().unwrap();
    let mut told = vec![0_u8; 8 * 100];
    out.read_exact(&mut told).unwrap();
    let pid = Pid::from_child(&paused);
    kill_process(pid, Signal::STOP).unwrap();

    // Another dies meanwhile, and is adopted.
    let mut dying = spawn(home.path());
    let mut told_by_it = vec![0_u8; 8 * 100];
    let mut its_out = dying.stderr.take().unwrap();
    its_out.read_exact(&mut told_by_it).unwrap();
    dying.kill().unwrap();
    its_out.read_to_end(&mut told_by_it).unwrap();
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
    let mut more = vec![0_u8; 8 * 2_000];
    out.read_exact(&mut more).unwrap();
    paused.kill().unwrap();
    out.read_to_end(&mut more).unwrap();
    paused.wait().unwrap();
    settle(&callmeter, 1);
    let rows = statuses(&sink);
    for id in [told, more, told_by_it]
        .iter()
        .flat_map(|told| numbers(told))
    {
        assert_eq!(rows.get(&id).map(String::as_str), Some("ok"));
    }
    let aborted = rows.values().filter(|status| *status == "aborted").count();
    assert!(aborted <= 4, "two threads each: {aborted}");
    assert!(callmeter.shutdown(PATIENCE).is_complete());
}

#[test]
fn a_process_that_ends_by_exit_right_after_a_call_loses_nothing() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().to_owned();
    // The child ends by `_exit` as soon as this returns: no destructor runs, no flush.
    assert!(in_forked_child(move || {
        let callmeter = builder(&path, &MemorySink::default()).open().unwrap();
        for _ in 0..10 {
            callmeter.call("child", "openai", "gpt-5").finish();
        }
        std::mem::forget(callmeter.call("in_flight", "openai", "gpt-5"));
        std::mem::forget(callmeter);
        true
    }));
    let rows = rows(home.path());
    let count = |wanted: &str| rows.values().filter(|status| *status == wanted).count();
    assert_eq!((count("ok"), count("aborted")), (10, 1));
}
