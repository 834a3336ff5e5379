//! The command `callmeter`.
//!
//! Owns the way from arguments to settings to a command, and what is printed: figures on standard output,
//! everything else on standard error. Exit codes: 0 done, 1 failed or trouble found, 2 wrong usage, 3 calls
//! are left (`ship`).
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod commands;
mod context;
mod demo;
mod failure;
mod filter;
mod log;
mod print;
#[cfg(test)]
mod reference;
mod span;
mod terminal;
mod traffic;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;

fn main() -> ExitCode {
    let args = Args::parse();
    log::to_standard_error(args.global.quiet, args.global.verbose);
    match commands::run(args) {
        Ok(code) => code,
        // A reader that went away, as `| head` does, is no failure.
        Err(error) if print::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("{}", failure::shown(&error));
            ExitCode::FAILURE
        }
    }
}
