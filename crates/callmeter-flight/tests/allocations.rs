//! Promise CM-2: opening and finishing a call allocates nothing, long texts included, once a thread has
//! recorded before. A binary of its own: the allocator counts for the whole process.
#![allow(clippy::unwrap_used, clippy::panic)]
#![allow(unsafe_code, reason = "an allocator is unsafe to implement")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use callmeter_core::{CallId, CallRecord, Field, Layer, Timestamp};
use callmeter_flight::{FlightBuffer, Opening, Options, Place, Value};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How often `action` allocates, after it was done once.
fn allocations(mut action: impl FnMut(u64)) -> u64 {
    action(0);
    let before = COUNT.get();
    for n in 1..=100 {
        action(n);
    }
    COUNT.get() - before
}

#[test]
fn a_call_allocates_nothing() {
    let buffer = FlightBuffer::create(&Place::memory(), &Options::default()).unwrap();
    let start = Timestamp::from_micros(1_774_310_400_000_000);
    let error = "it broke. ".repeat(100);
    let opening = |n: u64| {
        let mut opening = Opening::new(CallId::new(start, n), Layer::Guard, n);
        opening.caller = "sales_copy".into();
        opening.provider = "openai".into();
        opening.model_requested = "gpt-5-mini".into();
        opening
    };
    let short = allocations(|n| {
        let opening = opening(n).with([(Field::RequestId, Value::from("req_1"))]);
        let outcome = [
            (Field::InputTokens, Value::from(n)),
            (Field::Status, "ok".into()),
            (Field::Model, "gpt-5-mini-2026-01-01".into()),
        ];
        buffer
            .finish(buffer.open(&opening).unwrap(), &outcome)
            .unwrap();
    });
    let long = allocations(|n| {
        let outcome = [(Field::Error, Value::from(error.as_str()))];
        buffer
            .finish(buffer.open(&opening(n)).unwrap(), &outcome)
            .unwrap();
    });
    let mut record = CallRecord::new(CallId::new(start, 1), Layer::Guard, 0);
    record.caller = Some("sales_copy".to_owned());
    record.duration_us = Some(7);
    let whole_records = allocations(|n| {
        buffer
            .finish(buffer.open(&opening(n)).unwrap(), &record)
            .unwrap();
    });
    assert_eq!((short, long, whole_records), (0, 0, 0));
    let standing = buffer.standing();
    assert_eq!(
        (standing.finished, standing.full, standing.cut),
        (303, 0, 0)
    );
}

#[test]
fn a_call_that_finds_no_slot_allocates_nothing() {
    let mut options = Options::default();
    options.slots = 16;
    let buffer = FlightBuffer::create(&Place::memory(), &options).unwrap();
    let opening = Opening::new(CallId::new(Timestamp::EPOCH, 1), Layer::Guard, 0);
    let count = allocations(|_| {
        let _ = buffer.open(&opening).map(std::mem::forget);
    });
    assert_eq!(count, 0);
    assert_eq!(buffer.standing().full, 101 - 16);
}
