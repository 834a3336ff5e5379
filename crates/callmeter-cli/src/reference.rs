//! The page of every command, made from the arguments as they are declared: `docs/reference/cli.md`.
//!
//! Owns the page alone. It stands with the tests, because only they write it.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory};

use crate::args::Args;

const HEAD: &str = "# The command

This page is generated: `CALLMETER_BLESS=1 cargo test -p callmeter-cli reference` writes it anew. `callmeter --help` and `callmeter COMMAND --help` print the same.

`callmeter` reads the settings that a recorder of this user reads ([settings](settings.md)), so that it looks at the same home and store. Figures go to standard output, everything
else to standard error; colour and progress appear on a terminal only, `NO_COLOR` and `--no-color` switch colour off.

| exit code | means |
| --- | --- |
| 0 | done; of `doctor`: nothing needs a hand |
| 1 | failed, with `error:`, the place and a hint on standard error; of `doctor`: trouble found; of `budget status`: a budget is overspent; of a filter such as `price --jsonl`: a line could not be read |
| 2 | wrong usage: an unknown command, option or value |
| 3 | `ship`, `serve`: some calls still wait in the spools |
| any | `run`: the exit code of the command that it runs |

Guides: [Rust](../guides/rust.md), [PostgreSQL](../guides/postgresql.md), [the table `ai_calls`](../guides/legacy-table.md), [reading responses](../guides/observing.md), [`callmeter run`](../guides/run.md), [`callmeter serve`](../guides/serve.md), [costs](../guides/costs.md), [budgets](../guides/budgets.md).

With `--json` a command prints one object, with `\"v\":1`, or one a line; fields are only ever added. Money is decimal text.

";

/// The text of `docs/reference/cli.md`.
fn page() -> String {
    let mut command = Args::command();
    command.build();
    let mut page = HEAD.to_owned();
    page.push_str("## Options of every command\n\n");
    table(
        &mut page,
        command.get_arguments().filter(|arg| arg.is_global_set()),
    );
    for sub in command.get_subcommands() {
        describe(&mut page, sub, "callmeter", 2);
    }
    page
}

fn describe(page: &mut String, command: &Command, parent: &str, level: usize) {
    if command.is_hide_set() {
        return;
    }
    let name = format!("{parent} {}", command.get_name());
    let about = command.get_about().map(ToString::to_string);
    let _ = writeln!(
        page,
        "\n{} {name}\n\n{}.",
        "#".repeat(level),
        about.unwrap_or_default()
    );
    let own: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_global_set() && !arg.is_hide_set() && arg.get_id() != "help")
        .collect();
    if !own.is_empty() {
        page.push('\n');
        table(page, own.into_iter());
    }
    if let Some(after) = command.get_after_help() {
        let _ = writeln!(page, "\n{after}.");
    }
    for sub in command.get_subcommands() {
        describe(page, sub, &name, level + 1);
    }
}

fn table<'a>(page: &mut String, args: impl Iterator<Item = &'a Arg>) {
    page.push_str("| option | what it does | default |\n| --- | --- | --- |\n");
    for arg in args {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let is_flag = !arg.get_action().takes_values();
        let defaults: Vec<_> = arg
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy())
            .collect();
        let default = if is_flag {
            String::new()
        } else {
            defaults.join(", ")
        };
        let _ = writeln!(
            page,
            "| `{}` | {help}{} | {default} |",
            spelling(arg, is_flag),
            words(arg, is_flag)
        );
    }
}

/// `-q, --quiet`, `--limit N` or `ID`.
fn spelling(arg: &Arg, is_flag: bool) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let value = names
        .iter()
        .map(|name| name.as_str())
        .collect::<Vec<_>>()
        .join(" ");
    let long = match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (None, Some(long)) => format!("--{long}"),
        (Some(short), None) => format!("-{short}"),
        (None, None) => return value,
    };
    if is_flag {
        long
    } else {
        format!("{long} {value}")
    }
}

/// The words that an option takes, where it takes only some.
fn words(arg: &Arg, is_flag: bool) -> String {
    let values = arg.get_possible_values();
    if is_flag || values.is_empty() {
        return String::new();
    }
    let words: Vec<_> = values
        .iter()
        .map(|value| value.get_name().to_owned())
        .collect();
    format!(": {}", words.join(", "))
}

#[test]
fn the_reference_lists_every_command_as_it_is() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/cli.md");
    if std::env::var_os("CALLMETER_BLESS").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap(),
        page(),
        "write it anew: CALLMETER_BLESS=1 cargo test -p callmeter-cli reference"
    );
}
