//! Forks without exec: parent and child both record, and neither spoils anything of the other's. A binary of
//! its own: a child finds every lock of the process as it was, those of other tests too.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "it/support.rs"]
#[allow(dead_code)]
mod support;

use std::collections::BTreeSet;
use std::sync::{Arc, Barrier, Mutex};

use callmeter_core::{Ack, CallId, CallRecord, Sink, SinkError, SinkErrorKind};
use callmeter_flight::Busy;
use callmeter_testkit::fork::in_forked_child;

use crate::support::{PATIENCE, Place};

/// How often the process is forked.
const FORKS: usize = 4;
/// How many calls each of the parent's threads makes meanwhile.
const CALLS: usize = 200;

#[test]
fn parent_and_child_both_record_while_the_parent_s_threads_go_on() {
    let place = Arc::new(Place::new());
    let inherited = Arc::new(Mutex::new(None));
    let begin = Barrier::new(4);
    let mut made: Vec<CallId> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut ids = Vec::new();
                    for _ in 0..FORKS {
                        begin.wait();
                        for _ in 0..CALLS {
                            let call = place.callmeter.call("parent", "openai", "gpt-5");
                            ids.extend(call.id());
                            call.finish();
                            std::thread::yield_now();
                        }
                    }
                    ids
                })
            })
            .collect();
        for fork in 0..FORKS {
            *inherited.lock().unwrap() = Some(place.callmeter.call("parent", "openai", "gpt-5"));
            let (place, inherited) = (Arc::clone(&place), Arc::clone(&inherited));
            begin.wait();
            assert!(
                in_forked_child(move || {
                    // The parent's call, which is not the child's to end.
                    drop(inherited.lock().unwrap().take());
                    let ids: BTreeSet<_> = (0..50)
                        .filter_map(|_| {
                            let call =
                                place
                                    .callmeter
                                    .call(format!("child_{fork}"), "openai", "gpt-5");
                            let id = call.id();
                            call.finish();
                            id
                        })
                        .collect();
                    // The parent ships what the child has spooled.
                    let flush = place.callmeter.flush(PATIENCE);
                    let stats = place.callmeter.stats();
                    ids.len() == 50
                        && flush.is_complete()
                        && (stats.conservation.finished, stats.moving) == (50, 0)
                        && stats.conservation.holds()
                }),
                "fork {fork}"
            );
        }
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    let mut finish = |call: callmeter::CallGuard| {
        made.extend(call.id());
        call.finish();
    };
    finish(inherited.lock().unwrap().take().unwrap());
    finish(place.callmeter.call("parent", "openai", "gpt-5"));

    let rows = place.rows();
    let ids: BTreeSet<CallId> = rows.iter().map(|row| row.call_id).collect();
    assert_eq!(ids.len(), rows.len());
    assert!(made.iter().all(|id| ids.contains(id)));
    for fork in 0..FORKS {
        let caller = Some(format!("child_{fork}"));
        let of_child = rows.iter().filter(|row| row.caller == caller);
        assert_eq!(of_child.count(), 50);
    }
    // The last inherited guard of each round but the last was replaced, which is one way to drop it.
    let of_parent = rows
        .iter()
        .filter(|row| row.caller.as_deref() == Some("parent"));
    assert_eq!(of_parent.count(), made.len() + FORKS - 1);
}

/// A sink on the other side of a network, or none.
struct DistantSink {
    is_distant: bool,
    inner: callmeter_testkit::sink::MemorySink,
    /// Whether a fork had to wait, and may go on now.
    seen: std::sync::mpsc::Sender<bool>,
}

impl Sink for DistantSink {
    fn write(&mut self, batch: &[CallRecord]) -> Result<Ack, SinkError> {
        let began = std::time::Instant::now();
        // The worker, and the recorders of other tests, are at work for moments.
        while self.is_distant && Busy::is_any() {
            if began.elapsed() > PATIENCE {
                return Err(SinkError::new(SinkErrorKind::Retry, "a fork would wait"));
            }
            std::thread::yield_now();
        }
        let _ = self.seen.send(Busy::is_any());
        self.inner.write(batch)
    }

    fn may_be_forked(&self) -> bool {
        self.is_distant
    }
}

#[test]
fn a_fork_waits_for_a_batch_on_its_way_into_a_file_and_not_for_one_in_a_network() {
    for is_distant in [true, false] {
        let (seen, has_seen) = std::sync::mpsc::channel();
        let place = Place::with(|builder| {
            let inner = callmeter_testkit::sink::MemorySink::default();
            builder.sink("distant", move || {
                Ok(Box::new(DistantSink {
                    is_distant,
                    inner: inner.clone(),
                    seen: seen.clone(),
                }))
            })
        });
        place.callmeter.call("host", "openai", "gpt-5").finish();
        assert!(place.callmeter.flush(PATIENCE).is_complete());
        let was_held = has_seen.recv_timeout(PATIENCE).unwrap();
        // A distant one may see another thread at work by now; one that is not distant always sees its own.
        assert!(was_held || is_distant);
    }
}

#[test]
fn a_child_that_makes_no_call_starts_nothing_and_ends_nothing() {
    let place = Arc::new(Place::new());
    let open = place.callmeter.call("parent", "openai", "gpt-5");
    let theirs = Arc::clone(&place);
    assert!(in_forked_child(move || {
        theirs.callmeter.flush(PATIENCE).is_complete()
            && theirs.callmeter.stats().conservation.finished == 0
            && theirs.callmeter.is_enabled()
    }));
    open.finish();
    assert_eq!(place.rows().len(), 1);
}
