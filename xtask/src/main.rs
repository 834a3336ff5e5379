//! Developer commands: `cargo xtask test`, `check`, `simulate`, `fuzz`, `bench`, `prices`.
//!
//! Each command needs nothing but Rust, git and the package registries; of `test --full` two areas also need Python
//! and a C++ compiler. It runs from any directory of the
//! repository, as any user, and leaves nothing outside of cargo's target directory, except `prices`, which
//! writes the price book that the repository keeps.
//!
//! Exit status: 0 when all is well, 1 when a test or a check failed, 2 when the command was not understood.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod check;
mod dependencies;
mod fuzz;
mod house;
mod layers;
mod licences;
mod links;
mod metadata;
mod parts;
mod prices;
mod python;
mod shell;
mod simulate;
mod tests;
mod totals;
mod unsafety;
mod weight;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["test", rest @ ..] => tests::run(rest),
        ["check", rest @ ..] => check::run(rest),
        ["simulate", rest @ ..] => simulate::run(rest),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["bench", "python", rest @ ..] => python::bench(rest),
        ["prices", rest @ ..] => prices::build(rest),
        [] | ["help" | "--help" | "-h"] => {
            print!("{}", help());
            return ExitCode::SUCCESS;
        }
        [other, ..] => {
            eprint!("error: xtask does not understand '{other}'\n\n{}", help());
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn help() -> String {
    format!(
        "\
cargo xtask test [--full] [AREA…]   run every test and count; areas: {}
                                    --full adds what takes long
cargo xtask check [NAME…]           check all but the tests: {}
cargo xtask simulate [--seeds N]    run the fault simulation; --help tells more
cargo xtask fuzz [--runs N] [TARGET…]
                                    fuzz readers and adopter, bounded
cargo xtask bench python [ARG…]     measure the Python package; --help tells more
cargo xtask prices [--print]        write the built-in price book from its sources
",
        tests::names().join(", "),
        check::names().join(", "),
    )
}
