//! Many threads, one drainer: no call is lost, doubled or mixed up, wherever it is finished.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

use callmeter_core::{Field, Layer};
use callmeter_flight::{FlightBuffer, Opening, Place, Refused, Value};

use crate::support::{call, drained, in_file, in_memory, open};

/// Drains on a thread of its own until told to stop and nothing is left; what it saw, in order.
fn drain_until(buffer: &Arc<FlightBuffer>, stop: &AtomicBool) -> Vec<(u64, Option<u64>)> {
    let mut drainer = buffer.drainer().unwrap();
    let mut seen = Vec::new();
    loop {
        let is_last = stop.load(Ordering::Acquire);
        let count = drainer.drain(100, |row| {
            seen.push((row.call_id.lo().cast_unsigned(), row.usage.input_tokens));
        });
        drainer.committed();
        if is_last && count == 0 {
            return seen;
        }
        std::thread::yield_now();
    }
}

#[test]
fn every_call_of_eight_threads_is_drained_once_with_its_own_content_or_counted_as_dropped() {
    let (_dir, buffer) = in_file(256);
    let stop = AtomicBool::new(false);
    let dropped = AtomicU64::new(0);
    let seen = std::thread::scope(|scope| {
        let drainer = scope.spawn(|| drain_until(&buffer, &stop));
        let callers: Vec<_> = (0..8_u64)
            .map(|thread| {
                let (buffer, dropped) = (&buffer, &dropped);
                scope.spawn(move || {
                    for n in 0..5_000 {
                        if call(buffer, thread << 32 | n) == Err(Refused::Full) {
                            dropped.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        callers
            .into_iter()
            .for_each(|caller| caller.join().unwrap());
        stop.store(true, Ordering::Release);
        drainer.join().unwrap()
    });
    let dropped = dropped.into_inner();
    let ids: BTreeSet<u64> = seen.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids.len(), seen.len(), "none twice");
    assert_eq!(ids.len() as u64 + dropped, 40_000);
    assert!(
        seen.iter().all(|(id, tokens)| *tokens == Some(*id)),
        "none mixed up"
    );
    let standing = buffer.standing();
    assert_eq!(
        (standing.opened, standing.full, standing.moving()),
        (40_000, dropped, 0)
    );
    assert_eq!(standing.torn, 0);
}

#[test]
fn a_call_may_be_finished_by_any_thread_and_after_its_thread_is_gone() {
    let buffer = in_memory(1_024);
    let mut drainer = buffer.drainer().unwrap();
    let (send, receive) = mpsc::channel();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (send, buffer) = (send.clone(), &buffer);
            scope.spawn(move || {
                for n in 0..200 {
                    let number = thread * 1_000 + n;
                    send.send((open(buffer, number).unwrap(), number)).unwrap();
                }
            });
        }
    });
    drop(send);
    let mut slots: Vec<_> = receive.into_iter().collect();
    slots.reverse();
    for (slot, number) in slots {
        buffer
            .finish(slot, &[(Field::InputTokens, Value::from(number))])
            .unwrap();
    }
    assert_eq!(drained(&mut drainer).len(), 800);
    assert_eq!(buffer.standing().moving(), 0);
}

#[test]
fn thousands_of_threads_that_come_and_go_leave_every_slot_free() {
    let buffer = in_memory(64);
    let mut drainer = buffer.drainer().unwrap();
    for round in 0..100_u64 {
        std::thread::scope(|scope| {
            for n in 0..20 {
                let buffer = &buffer;
                scope.spawn(move || call(buffer, round * 100 + n).unwrap());
            }
        });
        assert_eq!(drained(&mut drainer).len(), 20);
    }
    for n in 0..64 {
        call(&buffer, n).unwrap();
    }
    assert_eq!(call(&buffer, 64), Err(Refused::Full));
    assert_eq!(drained(&mut drainer).len(), 64);
}

#[test]
fn a_call_is_recorded_while_the_thread_is_being_taken_down() {
    struct Late(Arc<FlightBuffer>);
    impl Drop for Late {
        fn drop(&mut self) {
            call(&self.0, 7).unwrap();
        }
    }
    thread_local! {
        static LATE: std::cell::OnceCell<Late> = const { std::cell::OnceCell::new() };
    }
    let buffer = in_memory(16);
    let mut drainer = buffer.drainer().unwrap();
    let late = Late(Arc::clone(&buffer));
    std::thread::spawn(move || LATE.with(|cell| cell.set(late).map_err(drop).unwrap()))
        .join()
        .unwrap();
    assert_eq!(drained(&mut drainer), [7]);
}

#[test]
fn names_that_several_threads_bring_at_once_are_on_every_row() {
    const THREADS: usize = 2;
    const CALLS: usize = 2_000;
    let mut options = crate::support::small(4_096);
    options.names_bytes = 256 << 10;
    let buffer = Arc::new(FlightBuffer::create(&Place::memory(), &options).unwrap());
    let mut drainer = buffer.drainer().unwrap();
    let arrived = AtomicU64::new(0);
    let names = |n: u64| [n, n + 2_000, n + 4_000].map(|n| format!("name {n}"));
    std::thread::scope(|scope| {
        for thread in 0..THREADS as u64 {
            let (buffer, arrived) = (&buffer, &arrived);
            scope.spawn(move || {
                for n in 0..CALLS as u64 {
                    let [caller, provider, model] = names(n);
                    let id = crate::support::id(thread << 32 | n);
                    let mut opening = Opening::new(id, Layer::Guard, 1_000);
                    opening.caller = caller.as_str().into();
                    opening.provider = provider.as_str().into();
                    opening.model_requested = model.as_str().into();
                    // At the same instant, as near as threads come.
                    arrived.fetch_add(1, Ordering::AcqRel);
                    let mut looks = 0;
                    while arrived.load(Ordering::Acquire) < (n + 1) * THREADS as u64 {
                        looks += 1;
                        if looks % 100_000 == 0 {
                            std::thread::yield_now();
                        }
                    }
                    let slot = buffer.open(&opening).unwrap();
                    let outcome = [(Field::InputTokens, Value::from(n))];
                    buffer.finish(slot, &outcome).unwrap();
                }
            });
        }
    });
    let mut rows = 0;
    drainer.drain(usize::MAX, |row| {
        let expected = names(row.usage.input_tokens.unwrap()).map(Some);
        assert_eq!([row.caller, row.provider, row.model_requested], expected);
        rows += 1;
    });
    assert_eq!(rows, THREADS * CALLS);
}
