//! Which Python runs the tests and benches of the package: see `xtask/python/run.py` and `bench.py`.

use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

/// The oldest Python that the package supports: 3.10.
const OLDEST: (u32, u32) = (3, 10);
const CANDIDATES: [&str; 6] = [
    "python3",
    "python3.14",
    "python3.13",
    "python3.12",
    "python3.11",
    "python3.10",
];

/// The tests of the package, on a wheel in a clean environment. `PYTHON` names another Python than the one found.
pub(crate) fn tests(_: bool) -> Command {
    script("xtask/python/run.py")
}

/// Measures the package on release wheels; arguments go to its bench of calls.
pub(crate) fn bench(args: &[&str]) -> Result<bool> {
    let mut command = script("xtask/python/bench.py");
    let status = command.args(args).status();
    let status = status.with_context(|| format!("cannot start `{}`", shell::shown(&command)))?;
    Ok(status.success())
}

/// A script of ours, by the Python that was named or found.
fn script(path: &str) -> Command {
    let named = std::env::var("PYTHON").ok();
    let found = named.or_else(|| {
        CANDIDATES
            .into_iter()
            .find(|python| version(python).is_some_and(|version| version >= OLDEST))
            .map(str::to_owned)
    });
    let Some(python) = found else {
        // A command that says what is missing, and fails as one that found failures does.
        let mut missing = Command::new("sh");
        missing.args([
            "-c",
            "echo 'the Python package needs Python 3.10 or newer with venv: \
             install python3 and python3-venv, or name one in PYTHON' >&2; exit 1",
        ]);
        return missing;
    };
    let mut command = Command::new(python);
    command.arg(path).current_dir(shell::root());
    command
}

/// The version of a Python that can be run.
fn version(python: &str) -> Option<(u32, u32)> {
    let output = Command::new(python).arg("--version").output().ok()?;
    parse(&String::from_utf8_lossy(&output.stdout)).filter(|_| output.status.success())
}

fn parse(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix("Python ")?.trim().split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_python_says_its_version() {
        assert_eq!(parse("Python 3.11.7\n"), Some((3, 11)));
        assert_eq!(
            parse("Python 3.9.18\n").map(|version| version >= OLDEST),
            Some(false)
        );
        assert_eq!(parse("pyenv: python3.13: command not found"), None);
    }
}
