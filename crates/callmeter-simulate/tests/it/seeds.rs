//! Every promise is kept on the seeds of this test; `cargo xtask simulate` takes more.

use std::path::Path;

use callmeter_simulate::plan::Plan;
use callmeter_simulate::run;

/// One in ten of them runs on real files.
const SEEDS: u64 = 300;

pub(crate) fn root() -> tempfile::TempDir {
    let in_memory = tempfile::tempdir_in(Path::new("/dev/shm"));
    in_memory.or_else(|_| tempfile::tempdir()).unwrap()
}

#[test]
fn every_promise_is_kept_whatever_the_seed_lets_fail() {
    let root = root();
    let mut calls = 0;
    for seed in 0..SEEDS {
        let outcome = run(&Plan::of_seed(seed), root.path(), None, false);
        calls += outcome.calls;
        if let Some(violation) = outcome.violation {
            panic!("{violation:?}: cargo xtask simulate --seed {seed}");
        }
    }
    assert!(calls > SEEDS * 100, "{calls} calls");
}

#[test]
fn the_same_seed_takes_the_same_steps() {
    for seed in [1, 2, 3, 5, 8] {
        let (first, second) = (root(), root());
        let plan = Plan::of_seed(seed);
        let first = run(&plan, first.path(), None, true);
        let second = run(&plan, second.path(), None, true);
        assert!(first.trace.len() > 20);
        assert_eq!(first.trace, second.trace, "seed {seed}");
    }
}
