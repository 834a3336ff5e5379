//! `cargo xtask test`: runs every test of every area; the last line of its output are the totals.
//!
//! An area is one way to run tests and to count them: a row of [`AREAS`]. What it prints is passed on as it
//! comes. A failure in one area does not keep the others from running. A command that failed although no test
//! of it did (it did not compile, a test binary died) counts as one failed test, so the totals never look
//! better than the exit status; an area without a single test fails as well.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::fuzz;
use crate::parts;
use crate::python;
use crate::shell;
use crate::simulate;
use crate::totals::Totals;

/// A way to run tests and to count them.
struct Area {
    name: &'static str,
    when: When,
    /// Whether it runs against programs of the system: see [`parts`].
    needs_parts: bool,
    command: fn(is_full: bool) -> Command,
    count: fn(&str) -> Option<Totals>,
}

/// When an area runs; by its name it always does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    /// With `--full`.
    Full,
    /// Only by its name.
    Named,
}

const AREAS: &[Area] = &[
    Area {
        name: "rust",
        when: When::Always,
        needs_parts: true,
        command: rust,
        count: Totals::of_rust,
    },
    Area {
        name: "python",
        when: When::Always,
        needs_parts: true,
        command: python::tests,
        count: Totals::of_rust,
    },
    Area {
        name: "clients",
        when: When::Always,
        needs_parts: false,
        command: clients,
        count: Totals::of_rust,
    },
    Area {
        name: "loom",
        when: When::Full,
        needs_parts: false,
        command: loom,
        count: Totals::of_rust,
    },
    Area {
        name: "simulate",
        when: When::Full,
        needs_parts: false,
        command: simulate::full,
        count: Totals::of_simulation,
    },
    Area {
        name: "sanitiser",
        when: When::Full,
        needs_parts: false,
        command: sanitiser,
        count: Totals::of_rust,
    },
    Area {
        name: "differential",
        when: When::Full,
        needs_parts: false,
        command: differential,
        count: Totals::of_rust,
    },
    Area {
        name: "fuzz",
        when: When::Full,
        needs_parts: false,
        command: fuzz,
        count: fuzz::count,
    },
    Area {
        name: "llm",
        when: When::Named,
        needs_parts: false,
        command: llm,
        count: Totals::of_rust,
    },
];

/// The names of all areas.
pub(crate) fn names() -> Vec<&'static str> {
    AREAS.iter().map(|area| area.name).collect()
}

/// Unit tests, integration tests and the examples of the documentation, of every crate.
fn rust(is_full: bool) -> Command {
    let mut cargo = shell::cargo();
    cargo.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    if is_full {
        // Above every number that a property sets for itself; the variable has the last word.
        cargo.env("PROPTEST_CASES", "2048");
        // Rows of a table that is adopted.
        cargo.env("TEST_ROWS", "1000000");
    }
    cargo
}

/// Every interleaving of the flight buffer's states. These models need their own build of the crate.
fn loom(_: bool) -> Command {
    let mut cargo = shell::cargo();
    cargo.args([
        "test",
        "--package",
        "callmeter-flight",
        "--lib",
        "--release",
        "--locked",
        "--no-fail-fast",
    ]);
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| shell::root().join("target"), Into::into);
    cargo
        .env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", target.join("loom"));
    cargo
}

/// The crate with `unsafe` under the address sanitiser, on the stable toolchain by its bootstrap switch. The
/// sanitiser needs a target of its own, or it would be built into build scripts as well.
fn sanitiser(_: bool) -> Command {
    let mut cargo = shell::cargo();
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    cargo.args([
        "test",
        "--package",
        "callmeter-flight",
        "--lib",
        "--test",
        "it",
    ]);
    cargo.args([
        "--release",
        "--locked",
        "--no-fail-fast",
        "--target",
        &target,
    ]);
    let directory = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| shell::root().join("target"), Into::into);
    cargo
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=address")
        .env("PROPTEST_CASES", "64")
        .env("CARGO_TARGET_DIR", directory.join("sanitiser"));
    cargo
}

/// The wire readers against another project's, asked anew: needs Python and PyPI. What it answered last is
/// compared by `rust` as well.
fn differential(_: bool) -> Command {
    python("xtask/differential/run.py")
}

/// Real clients through `callmeter run`, to fake providers: needs Python and PyPI, node and npm, and curl.
fn clients(_: bool) -> Command {
    python("xtask/clients/run.py")
}

/// A real model on this machine, whose server is compiled first.
fn llm(_: bool) -> Command {
    python("xtask/llm/run.py")
}

fn python(script: &str) -> Command {
    let mut python = Command::new("python3");
    python.arg(script).current_dir(shell::root());
    python
}

/// The fuzz targets, for a bounded number of runs.
fn fuzz(_: bool) -> Command {
    let mut cargo = shell::cargo();
    cargo.args([
        "run",
        "--quiet",
        "--locked",
        "--package",
        "xtask",
        "--",
        "fuzz",
    ]);
    cargo
}

/// What became of an area.
struct Outcome {
    name: &'static str,
    totals: Totals,
    took: Duration,
}

/// Runs the areas named, or all; says whether every test passed.
pub(crate) fn run(args: &[&str]) -> Result<bool> {
    let is_full = args.contains(&"--full");
    let chosen: Vec<&str> = args
        .iter()
        .copied()
        .filter(|arg| *arg != "--full")
        .collect();
    if let Some(unknown) = chosen.iter().find(|name| !names().contains(name)) {
        bail!(
            "there is no area '{unknown}'; there are: {}",
            names().join(", ")
        );
    }
    let is_wanted = |area: &&Area| match chosen.as_slice() {
        [] => area.when == When::Always || is_full && area.when == When::Full,
        names => names.contains(&area.name),
    };
    let mut outcomes = Vec::new();
    for area in AREAS.iter().filter(is_wanted) {
        let began = Instant::now();
        outcomes.push(Outcome {
            name: area.name,
            totals: run_area(area, is_full),
            took: began.elapsed(),
        });
    }
    std::io::stderr().flush()?;
    print!("\n{}", summary(&outcomes));
    std::io::stdout().flush()?;
    Ok(!outcomes.is_empty() && outcomes.iter().all(|outcome| outcome.totals.are_good()))
}

/// Runs an area; that it could not be run is a failed test.
fn run_area(area: &Area, is_full: bool) -> Totals {
    let mut command = (area.command)(is_full);
    let mut totals = Totals::default();
    let shown = shell::shown(&command);
    println!("{}: {shown}", area.name);
    // The tests that need no part run all the same; those that do say what is missing.
    if area.needs_parts
        && let Err(error) = parts::provide()
    {
        eprintln!("{}: {error:#}", area.name);
        totals.failed += 1;
    }
    match run_counting(&mut command, area.count, &mut totals) {
        Ok(true) => {}
        Ok(false) if totals.failed > 0 => {}
        Ok(false) => {
            eprintln!("{}: `{shown}` failed, see above", area.name);
            totals.failed += 1;
        }
        Err(error) => {
            eprintln!("{}: {error:#}", area.name);
            totals.failed += 1;
        }
    }
    if totals == Totals::default() {
        eprintln!("{}: `{shown}` ran no test", area.name);
    }
    totals
}

/// Runs a command, passes on what it prints and counts; says whether it succeeded.
fn run_counting(
    command: &mut Command,
    count: fn(&str) -> Option<Totals>,
    totals: &mut Totals,
) -> Result<bool> {
    let mut child = with_usual_signals(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", shell::shown(command)))?;
    let output = child.stdout.take().context("a child without output")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if let Some(counted) = count(&line) {
            *totals += counted;
        }
    }
    Ok(child.wait()?.success())
}

/// The same command, which does not ignore interrupts. What a script starts in the background does, and hands that down:
/// the tests of `run`, whose children wait for one, would wait for ever.
fn with_usual_signals(command: &Command) -> Command {
    if !cfg!(target_os = "linux") {
        let mut same = Command::new(command.get_program());
        same.args(command.get_args());
        return with_surroundings(same, command);
    }
    let mut env = Command::new("env");
    env.arg("--default-signal=INT,QUIT")
        .arg(command.get_program())
        .args(command.get_args());
    with_surroundings(env, command)
}

fn with_surroundings(mut command: Command, of: &Command) -> Command {
    for (name, value) in of.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some(directory) = of.get_current_dir() {
        command.current_dir(directory);
    }
    command
}

/// The table of areas and, as its last line, the totals.
fn summary(outcomes: &[Outcome]) -> String {
    let mut all = Totals::default();
    let mut text = format!(
        "{:<12} {:>8} {:>8} {:>8} {:>8}\n",
        "area", "passed", "failed", "ignored", "seconds"
    );
    for outcome in outcomes {
        let Totals {
            passed,
            failed,
            ignored,
        } = outcome.totals;
        all += outcome.totals;
        text += &format!(
            "{:<12} {passed:>8} {failed:>8} {ignored:>8} {:>8}\n",
            outcome.name,
            outcome.took.as_secs()
        );
    }
    text + &format!("{} passed, {} failed\n", all.passed, all.failed)
}

#[cfg(test)]
mod unit {
    use super::*;

    fn shell_area(script: &'static str) -> Totals {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut totals = Totals::default();
        let success = run_counting(&mut command, Totals::of_rust, &mut totals);
        assert!(success.is_ok());
        totals
    }

    #[test]
    fn the_totals_are_the_last_line() {
        let outcome = |name, passed, failed| Outcome {
            name,
            totals: Totals {
                passed,
                failed,
                ignored: 1,
            },
            took: Duration::from_millis(12_900),
        };
        assert_eq!(
            summary(&[outcome("rust", 25, 1), outcome("loom", 7, 0)]),
            "area           passed   failed  ignored  seconds\n\
             rust               25        1        1       12\n\
             loom                7        0        1       12\n\
             32 passed, 1 failed\n"
        );
    }

    #[test]
    fn the_lines_of_several_binaries_are_added_up() {
        let totals = shell_area(
            "echo 'test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s';
             echo 'test result: FAILED. 1 passed; 1 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.1s'",
        );
        assert_eq!(
            totals,
            Totals {
                passed: 3,
                failed: 1,
                ignored: 3
            }
        );
    }

    /// An area whose command fails before any test ran.
    #[test]
    fn a_command_that_fails_without_a_failed_test_counts_as_one() {
        let area = Area {
            name: "made up",
            when: When::Always,
            needs_parts: false,
            command: |_| Command::new("false"),
            count: Totals::of_rust,
        };
        assert_eq!(run_area(&area, false).failed, 1);
        let area = Area {
            command: |_| Command::new("no-such-program-anywhere"),
            ..area
        };
        assert_eq!(run_area(&area, false).failed, 1);
    }

    #[test]
    fn an_area_that_does_not_exist_is_an_error_with_the_ones_that_do() {
        let error = run(&["nowhere"]).err().map(|error| error.to_string());
        assert_eq!(
            error.as_deref(),
            Some(
                "there is no area 'nowhere'; there are: rust, python, clients, loom, simulate, sanitiser, differential, fuzz, llm"
            )
        );
    }
}
