//! The oracle is honest: each deliberate fault of disk, store or driver is found within a hundred seeds.

use callmeter_simulate::plan::{Mutation, Plan};
use callmeter_simulate::{run, shrink};

use crate::seeds::root;

const WITHIN: u64 = 100;

/// The promise that the first seed to find a fault says is broken.
fn found(mutation: Mutation) -> &'static str {
    let root = root();
    for seed in 0..WITHIN {
        let outcome = run(&Plan::of_seed(seed), root.path(), Some(mutation), false);
        if let Some(violation) = outcome.violation {
            return violation.promise;
        }
    }
    panic!("{mutation:?} was not found within {WITHIN} seeds");
}

#[test]
fn rows_that_leave_the_spool_before_the_store_has_answered_are_missed() {
    assert_eq!(found(Mutation::AckBeforeStore), "CM-4");
}

#[test]
fn a_store_that_inserts_a_call_again_is_found() {
    assert_eq!(found(Mutation::BrokenDedup), "CM-5");
}

#[test]
fn a_lane_that_is_sent_from_its_end_is_found() {
    assert_eq!(found(Mutation::BrokenLaneOrder), "CM-10");
}

#[test]
fn a_commit_that_says_it_synced_and_did_not_is_found() {
    assert_eq!(found(Mutation::NeverSync), "CM-4");
}

#[test]
fn an_adopter_that_forgets_is_found() {
    assert_eq!(found(Mutation::ForgetfulAdopter), "CM-4");
}

#[test]
fn a_kill_that_takes_the_flight_file_along_is_found() {
    assert_eq!(found(Mutation::LostFlight), "CM-4");
}

#[test]
fn a_store_that_acknowledges_and_stores_nothing_is_found() {
    assert_eq!(found(Mutation::EmptyAck), "CM-4");
}

#[test]
fn fresh_rows_that_wait_for_the_backlog_are_found() {
    assert_eq!(found(Mutation::HoldsBackFresh), "CM-10");
}

#[test]
fn a_violation_is_made_small_and_stays_one() {
    let root = root();
    let mutation = Some(Mutation::EmptyAck);
    let broken = (0..WITHIN).find_map(|seed| {
        let plan = Plan::of_seed(seed);
        let violation = run(&plan, root.path(), mutation, false).violation?;
        Some((plan, violation))
    });
    let (plan, violation) = broken.unwrap();
    let (steps, _) = shrink(&plan, root.path(), mutation, &violation);
    assert!(steps.len() <= 4, "{steps:?} of {}", plan.len());
    let again = run(&plan.only(&steps), root.path(), mutation, false);
    assert_eq!(again.violation.unwrap().promise, violation.promise);
}
