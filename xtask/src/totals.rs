//! Counts of tests, read from what the harnesses print.
//!
//! Rust's harness ends with one line for each binary and one for each crate's examples:
//!
//! ```text
//! test result: ok. 25 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 8.03s
//! ```
//!
//! Some tests start their own binary again to have a process to kill, with a filter for one test, and its line
//! may get in between. Nobody else filters here, so a line with tests filtered out counts nothing.

use std::ops::AddAssign;

/// Tests by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

impl Totals {
    /// The counts in a line of Rust's harness; none in any other line.
    pub(crate) fn of_rust(line: &str) -> Option<Self> {
        // A test that prints without a line feed may stand before it.
        let (_, rest) = line.split_once("test result: ")?;
        let rest = rest
            .strip_prefix("ok. ")
            .or_else(|| rest.strip_prefix("FAILED. "))?;
        let mut totals = Self::default();
        for part in rest.split(';') {
            let (number, what) = part.trim().split_once(' ')?;
            match what {
                "passed" => totals.passed = number.parse().ok()?,
                "failed" => totals.failed = number.parse().ok()?,
                "ignored" => totals.ignored = number.parse().ok()?,
                "filtered out" if number != "0" => return None,
                _ => {}
            }
        }
        Some(totals)
    }

    /// The verdict of a part of the simulation; none in any other line.
    pub(crate) fn of_simulation(line: &str) -> Option<Self> {
        let mut totals = Self::default();
        if line == "every promise was kept" {
            totals.passed = 1;
        } else if line.contains(" breaks CM-") {
            totals.failed = 1;
        } else {
            return None;
        }
        Some(totals)
    }

    /// Whether every test passed, and there was one.
    pub(crate) fn are_good(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_line_of_a_harness_is_counted() {
        let line = "test result: FAILED. 25 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 8.03s";
        assert_eq!(
            Totals::of_rust(line),
            Some(Totals {
                passed: 25,
                failed: 2,
                ignored: 1
            })
        );
        let line = "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(Totals::of_rust(line).map(|totals| totals.passed), Some(3));
    }

    #[test]
    fn a_line_behind_what_a_test_printed_is_counted() {
        let line = "words without an endtest result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(Totals::of_rust(line).map(|totals| totals.passed), Some(3));
    }

    #[test]
    fn the_line_of_a_test_s_own_child_is_not_counted_twice() {
        let line = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 24 filtered out; finished in 0.01s";
        assert_eq!(Totals::of_rust(line), None);
    }

    #[test]
    fn other_lines_are_not_counted() {
        for line in [
            "",
            "running 3 tests",
            "test a_test ... ok",
            "test result: fine",
            "test result: ok. many passed; 0 failed",
        ] {
            assert_eq!(Totals::of_rust(line), None, "{line}");
        }
    }

    #[test]
    fn the_verdict_of_a_simulation_is_counted() {
        let verdict = |line| Totals::of_simulation(line).map(|all| (all.passed, all.failed));
        assert_eq!(verdict("every promise was kept"), Some((1, 0)));
        let broken = "seed 7 breaks CM-5: call 3 is stored more than once";
        assert_eq!(verdict(broken), Some((0, 1)));
        assert_eq!(verdict("500 seeds from 0: 9 calls"), None);
    }

    #[test]
    fn no_test_at_all_is_not_good() {
        let totals = |passed, failed| Totals {
            passed,
            failed,
            ignored: 1,
        };
        assert!(totals(1, 0).are_good());
        assert!(!totals(0, 0).are_good());
        assert!(!totals(9, 1).are_good());
    }
}
