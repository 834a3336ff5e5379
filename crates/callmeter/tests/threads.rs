//! However many calls are made, recording takes two threads (the replaced module took one for each call).
//!
//! A binary of its own with a single test, because it counts the threads of the whole process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "it/host.rs"]
mod host;

use crate::host::Host;

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn ten_thousand_calls_take_as_many_threads_as_one() {
    let host = Host::new();
    host.call("one").finish();
    host.at_rest();
    let before = threads();
    for n in 0..10_000 {
        host.call("many").finish();
        if n % 1_000 == 0 {
            assert_eq!(threads(), before);
            // A burst of more calls than the flight buffer has slots would drop some.
            host.at_rest();
        }
    }
    assert_eq!(host.at_rest().conservation.finished, 10_001);
    assert_eq!(threads(), before);
    let sink = host.sink.clone();
    drop(host);
    // The test's own threads are left.
    assert!(threads() < before);
    assert_eq!(sink.calls().len(), 10_001);
}
