//! `cargo xtask simulate`: the fault simulation, built for speed; its arguments are those of its program.

use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

/// How many seeds and hours `cargo xtask test --full` takes.
const FULL: [&str; 4] = ["--seeds", "10000", "--outage-hours", "6"];

/// The program with some arguments.
fn command(args: &[&str]) -> Command {
    let mut cargo = shell::cargo();
    cargo.args([
        "run",
        "--quiet",
        "--release",
        "--locked",
        "--package",
        "callmeter-simulate",
        "--",
    ]);
    cargo.args(args);
    cargo
}

/// What the long tests run.
pub(crate) fn full(_: bool) -> Command {
    command(&FULL)
}

/// Runs the simulation; says whether every promise was kept.
pub(crate) fn run(args: &[&str]) -> Result<bool> {
    let status = command(args).status().context("cannot start cargo")?;
    Ok(status.success())
}
