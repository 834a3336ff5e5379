//! What is found in the file of a process, as its adopter will find it.

use callmeter_core::{Field, Status, Timestamp};
use callmeter_flight::{Adopter, Value};

use crate::support::{START, call, id, in_file, open};

#[test]
fn finished_calls_become_rows_and_open_ones_aborted_rows_with_what_was_known() {
    let (_dir, buffer) = in_file(64);
    buffer.beat(START, 0);
    call(&buffer, 1).unwrap();
    let _in_flight = open(&buffer, 2).unwrap();
    let last_seen = START.saturating_add_micros(2_500_000);
    buffer.beat(last_seen, 2_500_001_000);
    let calls = Adopter::read(&std::fs::read(buffer.path().unwrap()).unwrap()).unwrap();
    assert_eq!(
        (calls.pid, calls.service.as_str()),
        (std::process::id(), "shop")
    );
    assert_eq!(calls.last_seen, last_seen);
    assert_eq!(calls.finished[0].usage.input_tokens, Some(1));
    let aborted = &calls.aborted[0];
    assert_eq!(
        (aborted.call_id, aborted.caller.as_deref()),
        (id(2), Some("sales_copy"))
    );
    assert_eq!(aborted.status, Some(Status::Aborted));
    assert_eq!(aborted.duration_us, Some(2_500_000), "to the last beat");
    assert_eq!(
        (calls.finished.len(), calls.aborted.len(), calls.torn),
        (1, 1, 0)
    );
    assert_eq!((calls.standing.opened, calls.standing.moving()), (2, 0));
}

#[test]
fn a_call_that_is_half_finished_is_still_open_and_keeps_its_opening() {
    let (_dir, buffer) = in_file(16);
    // The slot held another call before: what is left of its result must not show.
    let error = "x".repeat(900);
    let slot = open(&buffer, 1).unwrap();
    buffer
        .finish(slot, &[(Field::Error, Value::from(error.as_str()))])
        .unwrap();
    let mut drainer = buffer.drainer().unwrap();
    drainer.drain(1, |_| {});
    drainer.committed();
    let _in_flight = open(&buffer, 2).unwrap();
    let calls = Adopter::read(&std::fs::read(buffer.path().unwrap()).unwrap()).unwrap();
    assert_eq!(calls.aborted.len(), 1);
    assert_eq!(
        (calls.aborted[0].call_id, calls.aborted[0].error.clone()),
        (id(2), None)
    );
}

#[test]
fn calls_handed_out_but_not_committed_are_found_by_the_adopter() {
    let (_dir, buffer) = in_file(16);
    let mut drainer = buffer.drainer().unwrap();
    call(&buffer, 1).unwrap();
    assert_eq!(drainer.drain(1, |_| {}), 1);
    let bytes = || std::fs::read(buffer.path().unwrap()).unwrap();
    assert_eq!(Adopter::read(&bytes()).unwrap().finished.len(), 1);
    drainer.committed();
    assert_eq!(Adopter::read(&bytes()).unwrap().finished.len(), 0);
}

#[test]
fn the_file_of_a_living_process_is_not_adopted() {
    let (_dir, buffer) = in_file(16);
    assert!(Adopter::adopt(buffer.path().unwrap()).unwrap().is_none());
    assert!(buffer.is_linked());
}

#[test]
fn a_dead_owner_s_file_is_adopted_by_one_at_a_time_again_until_it_is_discarded_and_then_gone() {
    let (dir, buffer) = in_file(16);
    call(&buffer, 1).unwrap();
    // A copy, as of a process of another boot: no lease is held on it.
    let path = dir.path().join("dead.flight");
    std::fs::copy(buffer.path().unwrap(), &path).unwrap();
    std::fs::write(path.with_extension("lease"), "").unwrap();
    assert_eq!(
        Adopter::files(dir.path()).unwrap(),
        std::slice::from_ref(&path)
    );
    for _ in 0..2 {
        let adopted = Adopter::adopt(&path).unwrap().unwrap();
        assert_eq!(adopted.calls.finished[0].call_id, id(1));
        assert!(Adopter::adopt(&path).unwrap().is_none(), "one at a time");
    }
    Adopter::adopt(&path).unwrap().unwrap().discard();
    assert_eq!(
        Adopter::files(dir.path()).unwrap(),
        Vec::<std::path::PathBuf>::new()
    );
    assert!(!path.with_extension("lease").exists());
    assert!(Adopter::adopt(&path).unwrap().is_none());
}

#[test]
fn a_lease_that_somebody_removed_does_not_give_a_living_process_s_file_away() {
    let (dir, buffer) = in_file(16);
    let path = dir.path().join("alive.flight");
    std::fs::copy(buffer.path().unwrap(), &path).unwrap();
    // No lease beside it, and the process that the header names is this one.
    assert_eq!(
        Adopter::adopt(&path).unwrap().is_none(),
        cfg!(target_os = "linux")
    );
    assert!(path.exists());
}

#[test]
fn durations_of_broken_clocks_do_not_reach_an_aborted_row() {
    let (_dir, buffer) = in_file(16);
    let _in_flight = open(&buffer, 1).unwrap();
    buffer.beat(Timestamp::from_micros(-1), u64::MAX);
    let calls = Adopter::read(&std::fs::read(buffer.path().unwrap()).unwrap()).unwrap();
    assert!(
        calls.aborted[0]
            .duration_us
            .is_none_or(|us| us < 400 * 86_400 * 365 * 1_000_000)
    );
}
