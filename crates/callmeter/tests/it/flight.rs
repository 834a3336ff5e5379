//! The flight buffer under the guards: threads, a full buffer, a file that goes away, no place at all.

use std::collections::BTreeSet;
use std::path::PathBuf;

use callmeter::DropReason;
use callmeter_core::CallId;

use crate::support::{PATIENCE, Place};

/// The flight files of a home.
fn flight_files(place: &Place) -> Vec<PathBuf> {
    let home = place.home.path();
    let dirs = [
        callmeter_flight::shared_memory_dir(home),
        Some(home.join("flight")),
    ];
    dirs.into_iter()
        .flatten()
        .filter_map(|dir| callmeter_flight::Adopter::files(&dir).ok())
        .flatten()
        .collect()
}

#[test]
fn two_hundred_threads_record_and_finish_one_another_s_calls() {
    let place = Place::new();
    let (give, take) = std::sync::mpsc::channel();
    let made: BTreeSet<CallId> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..200)
            .map(|thread| {
                let (give, callmeter) = (give.clone(), &place.callmeter);
                scope.spawn(move || {
                    let mut ids = Vec::new();
                    for n in 0..20 {
                        let mut call =
                            callmeter.call(format!("caller_{}", thread % 7), "openai", "gpt-5");
                        ids.extend(call.id());
                        call.tokens(n, thread);
                        if n % 2 == 0 {
                            call.finish();
                        } else {
                            give.send(call).unwrap();
                        }
                    }
                    ids
                })
            })
            .collect();
        drop(give);
        // By now most of the threads that opened them are gone.
        let other = scope.spawn(move || take.into_iter().for_each(callmeter::CallGuard::finish));
        other.join().unwrap();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    let rows = place.rows();
    let stored: BTreeSet<CallId> = rows.iter().map(|row| row.call_id).collect();
    assert_eq!((rows.len(), &stored), (made.len(), &made));
    let stats = place.callmeter.stats();
    assert_eq!((stats.moving, stats.conservation.finished), (0, 4_000));
    assert!(stats.conservation.holds());
    assert_eq!(
        stats.conservation.dropped_for(DropReason::FlightFull),
        4_000 - made.len() as u64
    );
}

#[test]
fn a_full_buffer_drops_and_counts_and_takes_calls_again() {
    let place = Place::new();
    let open: Vec<_> = (0..5_000)
        .map(|_| place.callmeter.call("many", "openai", "gpt-5"))
        .collect();
    let recorded = open.iter().filter(|call| call.id().is_some()).count();
    assert_eq!(recorded, 4_096);
    open.into_iter().for_each(callmeter::CallGuard::finish);
    assert_eq!(place.rows().len(), 4_096);
    place.callmeter.call("again", "openai", "gpt-5").finish();
    assert_eq!(place.rows().len(), 4_097);
    let stats = place.callmeter.stats();
    assert_eq!(
        (
            stats.conservation.finished,
            stats.conservation.dropped_for(DropReason::FlightFull)
        ),
        (5_001, 904)
    );
    assert!(stats.conservation.holds(), "{stats:?}");
    // The spool knows of it once the flight file is gone.
    let home = place.callmeter.home().clone();
    assert!(place.callmeter.shutdown(PATIENCE).is_complete());
    let conservation = home.standing().unwrap().conservation;
    assert_eq!(
        (
            conservation.finished,
            conservation.dropped_for(DropReason::FlightFull)
        ),
        (5_001, 904)
    );
}

#[test]
fn a_flight_file_that_is_removed_is_replaced_and_emptied_to_its_end() {
    let place = Place::new();
    let in_flight = place.callmeter.call("before", "openai", "gpt-5");
    let [old] = flight_files(&place).try_into().unwrap();
    std::fs::remove_file(&old).unwrap();
    let new = loop {
        if let [new] = flight_files(&place).as_slice() {
            break new.clone();
        }
        std::thread::yield_now();
    };
    assert_ne!(old, new);
    place.callmeter.call("after", "openai", "gpt-5").finish();
    std::thread::scope(|scope| {
        scope.spawn(|| in_flight.finish());
    });
    let callers: Vec<_> = place
        .rows()
        .into_iter()
        .filter_map(|row| row.caller)
        .collect();
    assert_eq!(callers, ["before", "after"]);
    let stats = place.callmeter.stats();
    assert_eq!((stats.conservation.finished, stats.moving), (2, 0));
}

#[test]
fn a_clean_end_leaves_no_flight_file_and_a_call_in_flight_leaves_one() {
    let place = Place::new();
    place.callmeter.call("done", "openai", "gpt-5").finish();
    assert_eq!(flight_files(&place).len(), 1);
    let Place {
        home,
        callmeter,
        sink,
    } = place;
    assert!(callmeter.shutdown(PATIENCE).is_complete());
    let place = Place {
        callmeter: crate::support::builder(home.path(), &sink).open().unwrap(),
        home,
        sink,
    };
    let in_flight = place.callmeter.call("in_flight", "openai", "gpt-5");
    let files = flight_files(&place);
    assert_eq!(files.len(), 1, "that of the first recorder is gone");
    let Place {
        home, callmeter, ..
    } = place;
    assert!(callmeter.shutdown(PATIENCE).is_complete());
    // Its file waits for an adopter, and the guard still finishes into it.
    in_flight.finish();
    let found = callmeter_flight::InFlight::of(&files[0]).unwrap();
    assert_eq!((found.calls.len(), found.standing.finished), (0, 1));
    drop(home);
    let _ = std::fs::remove_file(&files[0]);
}

#[test]
fn without_any_place_for_a_file_calls_are_recorded_from_memory() {
    let dir = tempfile::tempdir().unwrap();
    let sink = callmeter_testkit::sink::MemorySink::default();
    // The home is a file: neither its directory nor its spool can be made.
    let home = dir.path().join("home");
    std::fs::write(&home, "in the way").unwrap();
    let callmeter = crate::support::builder(&home, &sink).open().unwrap();
    // The store is down as well: the call waits in memory, and is not safe there.
    sink.set_down(true);
    let call = callmeter.call("sales_copy", "openai", "gpt-5");
    assert!(call.id().is_some());
    call.finish();
    let flush = callmeter.flush(std::time::Duration::from_millis(50));
    assert!(!flush.is_spooled() && !flush.is_complete());
    let conservation = callmeter.stats().conservation;
    assert!(conservation.holds(), "{conservation:?}");
    assert_eq!((conservation.finished, conservation.acknowledged), (1, 0));
    crate::host::eventually("what is wrong is told", || {
        callmeter.stats().last_error.is_some()
    });
    sink.set_down(false);
    assert!(callmeter.flush(crate::support::PATIENCE).is_complete());
    assert_eq!(sink.calls().len(), 1);
    let stats = callmeter.stats();
    assert_eq!(stats.conservation.acknowledged, 1);
    assert!(stats.conservation.holds());
}
