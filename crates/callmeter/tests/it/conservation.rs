//! Promise CM-3: at every step of any schedule no call is counted twice, and at rest every one is counted once.

use std::time::Duration;

use callmeter_testkit::sink::Fault;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::host::{Host, PATIENCE};

/// A step of a schedule.
#[derive(Clone, Debug)]
enum Step {
    /// So many calls finish; fewer in a whole schedule than the flight buffer has slots.
    Finish(u16),
    /// A call is opened and left open.
    Open,
    /// The oldest open call ends.
    End,
    /// The next batches fail so.
    Faults(Vec<Fault>),
    /// The store goes or comes.
    Down(bool),
    /// The host waits for the store, a little.
    Flush,
    /// A caller whose rows no store takes finishes a call.
    Poison,
    /// Recording is switched.
    Enable(bool),
}

fn steps() -> impl Strategy<Value = Step> {
    let faults = select(&[Fault::BeforeCommit, Fault::AfterCommit, Fault::Busy][..]);
    prop_oneof![
        4 => (1..200_u16).prop_map(Step::Finish),
        2 => Just(Step::Open),
        2 => Just(Step::End),
        2 => vec(faults, 1..3).prop_map(Step::Faults),
        1 => any::<bool>().prop_map(Step::Down),
        3 => Just(Step::Flush),
        1 => Just(Step::Poison),
        1 => any::<bool>().prop_map(Step::Enable),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn every_finished_call_is_in_exactly_one_place(schedule in vec(steps(), 1..16)) {
        let host = Host::new();
        host.sink.poison("poison");
        let (mut finished, mut poisoned, mut is_on) = (0_u64, 0_u64, true);
        let mut open = std::collections::VecDeque::new();
        for step in &schedule {
            match step {
                Step::Finish(count) => {
                    for _ in 0..*count {
                        host.call("any").finish();
                    }
                    finished += if is_on { u64::from(*count) } else { 0 };
                }
                Step::Open => open.push_back(host.call("any")),
                Step::End => {
                    if let Some(call) = open.pop_front() {
                        finished += u64::from(call.id().is_some());
                        call.finish();
                    }
                }
                Step::Faults(faults) => host.sink.fail_next(faults.iter().copied()),
                Step::Down(down) => host.sink.set_down(*down),
                Step::Flush => {
                    let _ = host.callmeter.flush(Duration::from_millis(20));
                }
                Step::Poison => {
                    host.call("poison").finish();
                    finished += u64::from(is_on);
                    poisoned += u64::from(is_on);
                }
                Step::Enable(on) => {
                    host.callmeter.set_enabled(*on);
                    is_on = *on;
                }
            }
            let stats = host.callmeter.stats();
            let calls = stats.conservation;
            prop_assert_eq!(calls.finished, finished, "{:?}", step);
            prop_assert!(calls.accounted() <= finished, "{:?}: {:?}", step, calls);
            prop_assert_eq!(calls.accounted() + stats.moving, finished);
            prop_assert_eq!(calls.dropped_total(), 0);
        }
        // A guard that is open holds nothing up; what is left open ends as an error.
        finished += open.iter().filter(|call| call.id().is_some()).count() as u64;
        drop(open);
        host.sink.set_down(false);
        let flush = host.callmeter.flush(PATIENCE);
        prop_assert!(flush.is_complete());
        let stats = host.callmeter.stats();
        let calls = stats.conservation;
        prop_assert!(calls.holds() && stats.moving == 0, "{:?}", calls);
        prop_assert_eq!((calls.finished, calls.rejected), (finished, poisoned));
        prop_assert_eq!(calls.acknowledged, finished - poisoned);
        prop_assert_eq!(host.sink.calls().len() as u64, finished - poisoned);
        // The home tells the same to a stranger.
        let standing = host.callmeter.home().standing().unwrap();
        prop_assert_eq!(standing.conservation, calls);
    }
}
