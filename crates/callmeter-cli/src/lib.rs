//! The command `callmeter`, as a library for those who carry it under another program's roof.
//!
//! Owns the way from arguments to settings to a command, and what is printed: figures on standard output,
//! everything else on standard error. Exit codes: 0 done, 1 failed or trouble found, 2 wrong usage, 3 calls
//! are left (`ship`).
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod commands;
mod context;
mod demo;
mod doubles;
mod failure;
mod filter;
mod log;
mod print;
#[cfg(test)]
mod reference;
mod span;
mod terminal;
mod traffic;

use std::ffi::OsString;
use std::process::{Command, ExitCode};
use std::sync::OnceLock;

use anyhow::Context as _;
use clap::Parser;

use crate::args::Args;

/// How this program is started once more, where that is not by its own file alone.
static PROGRAM: OnceLock<Vec<OsString>> = OnceLock::new();

/// Runs the command with the given arguments, of which the first is the name that it was called by; its exit code.
/// `program` says how it is started once more, where it is not a program of its own: `[python, "-m", "callmeter"]`.
pub fn run(arguments: Vec<OsString>, program: Option<Vec<OsString>>) -> u8 {
    if let Some(program) = program {
        // One process runs one command.
        let _ = PROGRAM.set(program);
    }
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    log::to_standard_error(args.global.quiet, args.global.verbose);
    match commands::run(args) {
        Ok(code) => number_of(code),
        // A reader that went away, as `| head` does, is no failure.
        Err(error) if print::is_closed_pipe(&error) => 0,
        Err(error) => {
            eprint!("{}", failure::shown(&error));
            1
        }
    }
}

/// An exit code says its number to the system alone.
fn number_of(code: ExitCode) -> u8 {
    (0..=u8::MAX)
        .find(|number| ExitCode::from(*number) == code)
        .unwrap_or(1)
}

/// This program, to be started once more.
fn this_program() -> anyhow::Result<Command> {
    let Some(program) = PROGRAM.get() else {
        let exe = std::env::current_exe().context("cannot find this program")?;
        return Ok(Command::new(exe));
    };
    let (first, rest) = program.split_first().context("cannot find this program")?;
    let mut command = Command::new(first);
    command.args(rest);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_its_number() {
        for number in [0, 1, 2, 3, 255] {
            assert_eq!(number_of(ExitCode::from(number)), number);
        }
    }
}
