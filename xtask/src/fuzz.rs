//! `cargo xtask fuzz`: fuzzes the wire readers and the flight adopter for a bounded number of runs.
//!
//! Uses LLVM's coverage passes, which stable Rust has, and libFuzzer from `libfuzzer-sys`: neither nightly nor
//! cargo-fuzz is needed, only a C++ compiler. Arithmetic is checked; an input that takes 10 s or 1 GiB is a
//! failure. What is found stays under cargo's target directory: `fuzz-corpus` and, if one failed, `fuzz-found`.
//! Each target ends with a line that `cargo xtask test` counts:
//!
//! ```text
//! fuzz json_body: ok, 200000 runs
//! ```

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::shell;
use crate::totals::Totals;

const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "--cfg=fuzzing",
];

/// Runs of each target, unless said otherwise.
const RUNS: u64 = 200_000;

/// Builds the targets and runs those named, or all: `[--runs N] [TARGET…]`.
pub(crate) fn run(args: &[&str]) -> Result<bool> {
    let (runs, named) = match args {
        ["--runs", runs, rest @ ..] => (runs.parse().context("--runs takes a number")?, rest),
        named => (RUNS, named),
    };
    let targets = targets()?;
    if let Some(unknown) = named
        .iter()
        .find(|name| !targets.iter().any(|known| known == *name))
    {
        bail!(
            "there is no target '{unknown}'; there are: {}",
            targets.join(", ")
        );
    }
    let triple = host_triple()?;
    let out = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| shell::root().join("target"), PathBuf::from);
    let built = out.join("fuzz");
    let mut cargo = shell::cargo();
    cargo
        .args([
            "build",
            "--locked",
            "--release",
            "--manifest-path",
            "fuzz/Cargo.toml",
        ])
        // With a triple the flags are for the targets alone, not for build scripts.
        .args(["--target", &triple])
        .arg("--target-dir")
        .arg(&built)
        .env("RUSTFLAGS", FLAGS.join(" "));
    shell::run(&mut cargo)?;
    let mut all_held = true;
    for target in targets
        .iter()
        .filter(|name| named.is_empty() || named.contains(&name.as_str()))
    {
        let binary = built.join(&triple).join("release").join(target);
        let held = fuzz(&binary, target, runs, &out)?;
        println!(
            "fuzz {target}: {}, {runs} runs",
            if held { "ok" } else { "FAILED" }
        );
        all_held &= held;
    }
    Ok(all_held)
}

/// The line of a target as a test.
pub(crate) fn count(line: &str) -> Option<Totals> {
    let (_, outcome) = line.strip_prefix("fuzz ")?.split_once(": ")?;
    let mut totals = Totals::default();
    match outcome.split(',').next()? {
        "ok" => totals.passed = 1,
        "FAILED" => totals.failed = 1,
        _ => return None,
    }
    Some(totals)
}

fn fuzz(binary: &Path, target: &str, runs: u64, out: &Path) -> Result<bool> {
    let grown = out.join("fuzz-corpus").join(target);
    let found = out.join("fuzz-found").join(target);
    std::fs::create_dir_all(&grown)?;
    std::fs::create_dir_all(&found)?;
    let mut command = Command::new(binary);
    command
        .arg(format!("-runs={runs}"))
        .args([
            "-max_len=4096",
            "-timeout=10",
            "-rss_limit_mb=1024",
            "-print_final_stats=0",
        ])
        .args(["-verbosity=0", "-close_fd_mask=0"])
        .arg(format!("-artifact_prefix={}/", found.display()))
        .arg(&grown);
    let kept = shell::root().join("fuzz/corpus").join(target);
    if kept.is_dir() {
        command.arg(kept);
    }
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {}", binary.display()))?;
    Ok(status.success())
}

/// The targets' names: the files that hold them.
fn targets() -> Result<Vec<String>> {
    let directory = shell::root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&directory).context("there is no directory of fuzz targets")? {
        let path = entry?.path();
        if let Some(name) = path.file_stem().and_then(|name| name.to_str()) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn host_triple() -> Result<String> {
    let mut rustc = Command::new("rustc");
    rustc.arg("-vV").current_dir(shell::root());
    let text = shell::output_of(&mut rustc)?;
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned).context("rustc names no host")
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_target_counts_as_one_test() {
        let passed = count("fuzz json_body: ok, 5 runs").map(|totals| totals.passed);
        let failed = count("fuzz json_body: FAILED, 5 runs").map(|totals| totals.failed);
        assert_eq!((passed, failed), (Some(1), Some(1)));
        assert!(count("INFO: Running with entropic power schedule").is_none());
    }
}
