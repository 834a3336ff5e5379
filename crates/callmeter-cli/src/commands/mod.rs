//! The commands, one file each.

#[cfg(feature = "postgres")]
pub(crate) mod adopt;
pub(crate) mod budget;
pub(crate) mod calls;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod inspect;
#[cfg(feature = "postgres")]
pub(crate) mod migrate;
pub(crate) mod price;
pub(crate) mod report;
pub(crate) mod reprice;
#[cfg(unix)]
pub(crate) mod run;
pub(crate) mod savings;
pub(crate) mod serve;
pub(crate) mod ship;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod switch;
pub(crate) mod top;
pub(crate) mod version;
pub(crate) mod what_if;

use std::process::ExitCode;

use crate::args::{Args, BudgetCommand, Command, ConfigCommand};
use crate::context::Context;
use crate::demo;

/// Runs what was asked for.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { global, command } = args;
    // These need no settings, and must work where settings cannot be read.
    match &command {
        Some(Command::Version) => return version::run(&global),
        Some(Command::Price(args)) => return price::run(args),
        Some(Command::Inspect(args)) => return inspect::run(args),
        Some(Command::Demo(args)) => return demo::run(args, &global),
        Some(Command::Config {
            command: ConfigCommand::Show,
        }) => return config::show(&global),
        Some(Command::Config {
            command: ConfigCommand::Check,
        }) => return config::check(&global),
        Some(Command::Doctor) => return doctor::run(&global),
        _ => {}
    }
    let context = Context::of(&global)?;
    match command.unwrap_or(Command::Status) {
        Command::Report(args) => report::run(&context, &args),
        Command::Calls(args) => calls::run(&context, &args),
        Command::Reprice(args) => reprice::run(&context, &args),
        Command::WhatIf(args) => what_if::run(&context, &args),
        Command::Savings(args) => savings::run(&context, &args),
        Command::Budget {
            command: BudgetCommand::Status,
        } => budget::status(&context),
        Command::Ship(args) => ship::run(&context, &args),
        Command::Serve(args) => serve::run(&context, &args, global.quiet),
        #[cfg(unix)]
        Command::Run(args) => run::run(&context, &args, global.quiet),
        #[cfg(not(unix))]
        Command::Run(_) => Err(
            crate::failure::Failure::new("`callmeter run` needs a Unix system")
                .with_hint(
                    "start `callmeter serve` and set the variables by hand: docs/guides/run.md",
                )
                .into(),
        ),
        Command::Show { id } => show::run(&context, &id),
        Command::Top(args) => top::run(&context, &args),
        Command::On(args) => switch::on(&context, &args),
        Command::Off(args) => switch::off(&context, &args),
        #[cfg(feature = "postgres")]
        Command::Migrate { command } => migrate::run(&context, command.as_ref()),
        #[cfg(not(feature = "postgres"))]
        Command::Migrate { .. } => Err(callmeter_store::StoreError::NotBuilt {
            store: "`callmeter migrate`".to_owned(),
            feature: "postgres",
        }
        .into()),
        _ => status::run(&context),
    }
}
