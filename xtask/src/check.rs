//! `cargo xtask check`: everything that must hold of the repository besides its tests.
//!
//! Each check is a row of [`CHECKS`]. All run, quick ones first, and each says what it found with the place to
//! look at; the command fails if any did.

use std::time::Instant;

use anyhow::{Result, bail, ensure};

use crate::{dependencies, house, layers, licences, links, shell, unsafety, weight};

/// A check and its name on the command line.
type Check = (&'static str, fn() -> Result<()>);

const CHECKS: &[Check] = &[
    ("fmt", fmt),
    ("house", house::check),
    ("links", links::check),
    ("unsafe", unsafety::check),
    ("layers", layers::check),
    ("licences", licences::check),
    ("dependencies", dependencies::check),
    ("weight", weight::check),
    ("clippy", clippy),
    ("docs", docs),
];

/// The names of all checks.
pub(crate) fn names() -> Vec<&'static str> {
    CHECKS.iter().map(|(name, _)| *name).collect()
}

/// Runs the checks named, or all; says whether all passed.
pub(crate) fn run(chosen: &[&str]) -> Result<bool> {
    if let Some(unknown) = chosen.iter().find(|name| !names().contains(name)) {
        bail!(
            "there is no check '{unknown}'; there are: {}",
            names().join(", ")
        );
    }
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        if !chosen.is_empty() && !chosen.contains(name) {
            continue;
        }
        println!("check {name}");
        let began = Instant::now();
        match check() {
            Ok(()) => println!("  fine, {:.1} s", began.elapsed().as_secs_f64()),
            Err(error) => {
                eprintln!("error: {name}: {error:#}");
                failed.push(*name);
            }
        }
    }
    if failed.is_empty() {
        println!("every check passed");
    } else {
        println!("failed: {}", failed.join(", "));
    }
    Ok(failed.is_empty())
}

fn fmt() -> Result<()> {
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    shell::run(shell::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))
}

fn docs() -> Result<()> {
    let mut cargo = shell::cargo();
    cargo
        .args(["doc", "--workspace", "--no-deps", "--locked"])
        .env("RUSTDOCFLAGS", "-D warnings");
    shell::run(&mut cargo)
}

/// Fails with all findings, a line each, if there are any.
pub(crate) fn fail_with(findings: &[String]) -> Result<()> {
    ensure!(
        findings.is_empty(),
        "{} found\n  {}",
        findings.len(),
        findings.join("\n  ")
    );
    Ok(())
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_check_that_does_not_exist_is_an_error_with_the_ones_that_do() {
        let error = run(&["fmt", "spelling"])
            .err()
            .map(|error| error.to_string());
        let error = error.unwrap_or_default();
        assert!(
            error.starts_with("there is no check 'spelling'; there are: fmt, "),
            "{error}"
        );
    }

    #[test]
    fn all_findings_are_told() {
        assert!(fail_with(&[]).is_ok());
        let error = fail_with(&["a".to_owned(), "b".to_owned()]).err();
        assert_eq!(
            error.map(|error| error.to_string()).as_deref(),
            Some("2 found\n  a\n  b")
        );
    }
}
