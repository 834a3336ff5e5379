//! Real processes: killed, forked, outlived.
//!
//! A test starts this very binary again with `CHILD` naming a directory and `ROLE` what to do there; the
//! child is the test `child`, which does nothing when nobody asks.
#![cfg(unix)]
#![allow(
    unsafe_code,
    reason = "what happens between fork and exec can be tried only there"
)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use callmeter_flight::{Adopter, FlightBuffer, Place, Refused};
use callmeter_testkit::fork::in_forked_child;

use crate::support::{call, id, in_file, open, small};

const CHILD: &str = "CALLMETER_FLIGHT_CHILD";
const ROLE: &str = "CALLMETER_FLIGHT_ROLE";

fn spawn(role: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "process::child",
            "--exact",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD, dir)
        .env(ROLE, role)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

#[test]
fn child() {
    let (Some(dir), Ok(role)) = (std::env::var_os(CHILD), std::env::var(ROLE)) else {
        return;
    };
    // The test's own name stands in the line that it has begun.
    say("");
    let place = Place::directory(dir);
    let buffer = Arc::new(FlightBuffer::create(&place, &small(64)).unwrap());
    match role.as_str() {
        "flat out" => record_for_ever(&buffer),
        "with a forked child" => live_with_a_forked_child(&buffer),
        role => panic!("no role {role}"),
    }
}

/// Says what it does before and after: `o` before an opening, `f` after a finish, `d` of a call that
/// is about to leave.
fn record_for_ever(buffer: &Arc<FlightBuffer>) {
    let mut drainer = buffer.drainer().unwrap();
    for n in 0.. {
        say(&format!("o {n}"));
        call(buffer, n).unwrap();
        say(&format!("f {n}"));
        if n % 20 == 19 {
            drainer.drain(usize::MAX, |row| say(&format!("d {}", row.call_id.lo())));
            drainer.committed();
        }
    }
}

fn live_with_a_forked_child(buffer: &Arc<FlightBuffer>) {
    call(buffer, 1).unwrap();
    let _in_flight = open(buffer, 2).unwrap();
    let forked = std::thread::spawn(|| {
        let mut command = Command::new("true");
        // SAFETY: the child only writes a line to a pipe and then waits.
        unsafe {
            command.pre_exec(|| {
                say(&format!("p {}", std::process::id()));
                loop {
                    std::thread::park();
                }
            });
        }
        let _ = command.spawn();
    });
    let _ = forked.join();
}

fn numbers(lines: &[String], kind: &str) -> BTreeSet<u64> {
    lines
        .iter()
        .filter_map(|line| line.strip_prefix(kind)?.trim().parse().ok())
        .collect()
}

#[test]
fn a_kill_at_any_moment_loses_no_finished_call_and_invents_none() {
    for round in 0..40 {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("flight");
        let mut child = spawn("flat out", &home);
        let mut out = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        // Let it come to another point each time, then kill it wherever it is by now.
        let mut lines: Vec<String> = out.by_ref().take(5 + round * 13).collect();
        child.kill().unwrap();
        lines.extend(out);
        child.wait().unwrap();
        let (asked, finished, left) = (
            numbers(&lines, "o "),
            numbers(&lines, "f "),
            numbers(&lines, "d "),
        );
        assert!(!finished.is_empty());
        let path = Adopter::files(&home).unwrap().remove(0);
        let adopted = Adopter::adopt(&path).unwrap().expect("its process is dead");
        let calls = &adopted.calls;
        let ids = |rows: &[callmeter_core::CallRecord]| -> BTreeSet<u64> {
            rows.iter()
                .map(|row| row.call_id.lo().cast_unsigned())
                .collect()
        };
        let (rows, aborted) = (ids(&calls.finished), ids(&calls.aborted));
        let lost: Vec<&u64> = finished
            .iter()
            .filter(|n| !rows.contains(n) && !left.contains(n))
            .collect();
        assert_eq!(lost, Vec::<&u64>::new(), "round {round}");
        assert!(
            rows.iter().chain(&aborted).all(|n| asked.contains(n)),
            "round {round}"
        );
        assert!(rows.iter().all(|n| !aborted.contains(n)));
        assert!(aborted.len() <= 1, "one thread, one call in flight");
        assert!(
            calls
                .finished
                .iter()
                .all(|row| { row.usage.input_tokens == Some(row.call_id.lo().cast_unsigned()) })
        );
        assert_eq!((calls.finished.len(), calls.torn), (rows.len(), 0));
        assert!(calls.standing.moving() <= 20, "{:?}", calls.standing);
        adopted.discard();
        assert!(std::fs::read_dir(&home).unwrap().next().is_none());
    }
}

#[test]
fn a_living_forked_child_does_not_keep_its_dead_parent_s_file_from_adoption() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("flight");
    let mut parent = spawn("with a forked child", &home);
    let lines = BufReader::new(parent.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let forked: i32 = lines
        .filter_map(|line| line.strip_prefix("p ")?.trim().parse().ok())
        .next()
        .unwrap();
    let path = Adopter::files(&home).unwrap().remove(0);
    assert!(Adopter::adopt(&path).unwrap().is_none(), "the parent lives");
    parent.kill().unwrap();
    parent.wait().unwrap();
    let adopted = Adopter::adopt(&path)
        .unwrap()
        .expect("the parent is dead, its child lives");
    assert_eq!(
        (adopted.calls.finished.len(), adopted.calls.aborted.len()),
        (1, 1)
    );
    let forked = rustix::process::Pid::from_raw(forked).unwrap();
    rustix::process::kill_process(forked, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_forked_child_touches_nothing_of_its_parent_s_and_records_in_a_buffer_of_its_own() {
    let (_dir, buffer) = in_file(64);
    call(&buffer, 1).unwrap();
    let inherited = Arc::new(Mutex::new(Some(open(&buffer, 2).unwrap())));
    let before = std::fs::read(buffer.path().unwrap()).unwrap();
    let (theirs, place) = (Arc::clone(&buffer), buffer.place().clone());
    let slot = Arc::clone(&inherited);
    assert!(in_forked_child(move || {
        let refuses = !theirs.is_ours()
            && call(&theirs, 3) == Err(Refused::Forked)
            && theirs.finish(slot.lock().unwrap().take().unwrap(), &()) == Err(Refused::Forked)
            && theirs.name("of the child").is_none();
        theirs.beat(crate::support::START, 99);
        theirs
            .drainer()
            .unwrap()
            .drain(10, |_| panic!("a call of the parent"));
        let own = Arc::new(FlightBuffer::create(&place, &small(64)).unwrap());
        call(&own, 4).unwrap();
        let _in_flight = open(&own, 5).unwrap();
        // As when it ends without a word.
        std::mem::forget(own);
        refuses
    }));
    assert!(buffer.is_linked());
    assert_eq!(
        std::fs::read(buffer.path().unwrap()).unwrap(),
        before,
        "not a byte has changed"
    );
    let slot = inherited.lock().unwrap().take().unwrap();
    buffer.finish(slot, &()).unwrap();
    assert_eq!(buffer.standing().finished, 2);

    let files = Adopter::files(buffer.place().dir()).unwrap();
    assert_eq!(files.len(), 2);
    let child_s = files
        .iter()
        .find(|path| *path != buffer.path().unwrap())
        .unwrap();
    let adopted = Adopter::adopt(child_s).unwrap().expect("the child is gone");
    assert_eq!(adopted.calls.finished[0].call_id, id(4));
    assert_eq!(adopted.calls.aborted[0].call_id, id(5));
}

#[test]
fn a_buffer_that_a_forked_child_drops_stays_its_parent_s() {
    let (_dir, buffer) = in_file(16);
    let path = buffer.path().unwrap().to_owned();
    let theirs = Mutex::new(Some(buffer));
    // The child drops the only buffer there is in its memory; the parent keeps its own.
    let theirs = Arc::new(theirs);
    let copy = Arc::clone(&theirs);
    assert!(in_forked_child(move || {
        drop(copy.lock().unwrap().take());
        true
    }));
    assert!(path.exists());
    let buffer = theirs.lock().unwrap().take().unwrap();
    call(&buffer, 1).unwrap();
    assert!(
        Adopter::adopt(&path).unwrap().is_none(),
        "the lease is still held"
    );
}
