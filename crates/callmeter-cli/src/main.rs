//! The command `callmeter`; everything it does is in the library beside this file.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(callmeter_cli::run(std::env::args_os().collect(), None))
}
