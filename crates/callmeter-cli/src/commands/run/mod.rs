//! `callmeter run -- CMD`: a command, its calls recorded without a change to it.
//!
//! ```text
//! run ─┬─ a private proxy on a free port of this machine ─▶ recorder ─▶ spool ─▶ store        ([`session`])
//!      └─ the child: its variables lead there ([`variables`]), its signals and its end are as without us ([`child`])
//! ```
//! Promises: the child's result is its own (CM-1): its standard streams, its exit status, its authentication, account and
//! billing are not touched. What fails of callmeter is told, and the child runs all the same, unrecorded. Exit
//! codes are the child's; 128 + n when signal n ended it, 127 and 126 as shells have them when it cannot be
//! started.

mod address;
mod child;
mod codex;
mod dotenv;
mod session;
mod summary;
mod unread;
mod variables;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use callmeter_core::EnvVar;

use self::child::{Ended, Running};
use self::session::Session;
use self::summary::Summary;
use crate::args::RunArgs;
use crate::context::Context;
use crate::failure::{self, Failure};
use crate::traffic::files;

pub(crate) fn run(context: &Context, args: &RunArgs, is_quiet: bool) -> anyhow::Result<ExitCode> {
    let outer = variable(EnvVar::RunUrl.name());
    if let Some(outer) = outer.as_deref().filter(|outer| session::is_at_work(outer)) {
        return within_another(outer, args);
    }
    refuse_a_stranger_s_store(context)?;
    // One that is no more left its variables to what it had started.
    let session = match Session::start(context, args, outer.as_deref()) {
        Ok(session) => session,
        Err(error) => {
            eprint!("{}", failure::shown(&error));
            eprintln!("hint: the command runs all the same, unrecorded");
            return as_it_is(args, BTreeMap::new());
        }
    };
    let running = match start(session.command(), session.variables()) {
        Ok(running) => running,
        Err(code) => return Ok(ExitCode::from(code)),
    };
    // Now that the child has them as they were.
    files::raise();
    let told = running.told();
    let ended = running.wait()?;
    // Whoever is in a hurry gets the summary at once; what is not stored yet waits in the spool.
    let flush = context.settings.exit_flush;
    let flush = if told.to_end() { Duration::ZERO } else { flush };
    let summary = session.end(ended, flush);
    if let Some(path) = &args.summary {
        write_to(path, &summary);
    }
    if context.json {
        eprintln!("{}", summary.json());
    } else if !is_quiet {
        eprint!("{}", summary.text());
    }
    Ok(ExitCode::from(ended.code))
}

/// Agents are run in repositories that nobody has read: whom their calls are told to is not for such a file to say.
fn refuse_a_stranger_s_store(context: &Context) -> Result<(), Failure> {
    if !context.url.is_found_server() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} stands in a callmeter.toml that was merely found: the command's calls would be told to it",
        context.url
    ))
    .in_place("store.url")
    .with_hint("if you trust that file, name it: --config callmeter.toml, or CALLMETER_CONFIG; or say --store"))
}

/// A `run` within another: the calls come to the outer one's proxy, which records them. A second proxy before it
/// would make a second row of each.
fn within_another(outer: &str, args: &RunArgs) -> anyhow::Result<ExitCode> {
    tracing::info!(target: "callmeter", "this is a run within another, which records and sums up");
    let led = match &args.caller {
        Some(caller) => variables::with_caller(outer, caller, &variable),
        None => BTreeMap::new(),
    };
    as_it_is(args, led)
}

/// Runs the command with these variables and nothing else.
fn as_it_is(args: &RunArgs, led: BTreeMap<&'static str, String>) -> anyhow::Result<ExitCode> {
    let led = led
        .into_iter()
        .map(|(name, value)| (name, Some(OsString::from(value))));
    Ok(ExitCode::from(match start(&args.command, led.collect()) {
        Ok(running) => running.wait()?.code,
        Err(code) => code,
    }))
}

/// Starts a command; where that fails, tells why and gives the exit code that shells have for it.
fn start(
    command: &[OsString],
    variables: BTreeMap<&'static str, Option<OsString>>,
) -> Result<Running, u8> {
    child::start(command, variables).map_err(|error| {
        let name = session::name_of(command);
        let failure = Failure::new(format!("cannot start {name}: {error}"));
        eprint!("{}", failure::shown(&failure.into()));
        Ended::not_started(&error).code
    })
}

/// A summary that cannot be written is told; the child's result stays its own.
fn write_to(path: &Path, summary: &Summary) {
    if let Err(error) = std::fs::write(path, format!("{}\n", summary.json())) {
        let failure = Failure::new(format!("cannot write the summary: {error}"));
        let failure = failure.in_place(path.display().to_string());
        eprint!("{}", failure::shown(&failure.into()));
    }
}

/// A variable of ours that is a text and not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
