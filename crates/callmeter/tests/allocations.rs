//! Promise CM-2: a guard with the usual setters allocates nothing, on whichever thread it ends. A binary of
//! its own: the allocator counts for the whole process.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "it/support.rs"]
#[allow(dead_code)]
mod support;

use callmeter::{Callmeter, ErrorReport, Operation};
use callmeter_testkit::allocations::{Counting, measured};

use crate::support::Place;

#[global_allocator]
static COUNTING: Counting = Counting;

/// How often a call allocates, after the thread has made some.
fn allocations(callmeter: &Callmeter, call: impl Fn(&Callmeter)) -> u64 {
    for _ in 0..20 {
        call(callmeter);
    }
    let ((), measure) = measured(|| (0..100).for_each(|_| call(callmeter)));
    measure.allocations
}

#[test]
fn the_usual_calls_allocate_nothing() {
    let place = Place::new();
    let usual = |callmeter: &Callmeter| {
        let mut call = callmeter.call("sales_copy", "openai", "gpt-5-mini");
        call.tokens(1_200, 340)
            .model("gpt-5-mini-2026-01-01")
            .request_id("req_0123456789abcdef")
            .operation(Operation::Chat)
            .cache_hit(false)
            .first_token()
            .http_status(200)
            .retry_of(None, 2);
        call.finish();
    };
    let failed = |callmeter: &Callmeter| {
        let call = callmeter.call("sales_copy", "openai", "gpt-5-mini");
        call.fail_as(&std::fmt::Error, ErrorReport::of_http_status(429));
    };
    let left = |callmeter: &Callmeter| drop(callmeter.call("sales_copy", "openai", "gpt-5-mini"));
    let threads = |callmeter: &Callmeter| {
        (
            allocations(callmeter, usual),
            allocations(callmeter, failed),
            allocations(callmeter, left),
        )
    };
    assert_eq!(threads(&place.callmeter), (0, 0, 0));
    std::thread::scope(|scope| {
        let other = scope.spawn(|| threads(&place.callmeter));
        assert_eq!(other.join().unwrap(), (0, 0, 0));
    });
    place.callmeter.set_enabled(false);
    assert_eq!(threads(&place.callmeter), (0, 0, 0));
    place.callmeter.set_enabled(true);
    assert_eq!(place.rows().len(), 720);
}
