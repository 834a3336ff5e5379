//! A store that is down for long, and comes back. A binary of its own: memory is the process's.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use callmeter_simulate::outage::{Outage, outage};

#[test]
fn a_store_that_comes_back_gets_every_call_once_while_new_ones_flow_and_memory_stays_flat() {
    // In memory where there is such a place: a commit that syncs would wait for a disk 900 times.
    let in_memory = tempfile::tempdir_in("/dev/shm");
    let root = in_memory.or_else(|_| tempfile::tempdir()).unwrap();
    let report = outage(
        root.path(),
        Outage {
            down: Duration::from_secs(600),
            calls_per_second: 200,
            max_bytes: 1 << 30,
        },
    )
    .unwrap();
    assert_eq!(report.verdict(), None, "{report:?}");
    assert!(report.calls > 120_000, "{report:?}");
    assert!(report.replay_seconds >= 50, "at its rate: {report:?}");
}
