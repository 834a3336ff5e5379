//! Makes a violation small: the fewest steps that still break a promise (delta debugging).

use std::path::Path;

use crate::oracle::Violation;
use crate::plan::{Mutation, Plan};
use crate::run::run;

/// How many runs it may take.
const MOST_RUNS: usize = 600;

/// The numbers of the plan's steps that are needed, and what they break.
pub fn shrink(
    plan: &Plan,
    root: &Path,
    mutation: Option<Mutation>,
    found: &Violation,
) -> (Vec<usize>, Violation) {
    let mut needed: Vec<usize> = (0..plan.steps.len()).collect();
    let mut last = found.clone();
    let mut runs = 0;
    let mut breaks = |steps: &[usize]| {
        runs += 1;
        if runs > MOST_RUNS {
            return None;
        }
        let outcome = run(&plan.only(steps), root, mutation, false);
        outcome.violation.filter(|new| new.promise == found.promise)
    };
    let mut size = needed.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut has_shrunk = false;
        while at < needed.len() {
            let end = (at + size).min(needed.len());
            let rest: Vec<usize> = needed[..at].iter().chain(&needed[end..]).copied().collect();
            match breaks(&rest) {
                Some(violation) => {
                    needed = rest;
                    last = violation;
                    has_shrunk = true;
                }
                None => at = end,
            }
        }
        if size == 1 && !has_shrunk {
            return (needed, last);
        }
        size = (size / 2).max(1);
    }
}
