//! The page of every setting, made from the table.

use std::fmt::Write as _;

use callmeter_core::EnvVar;

use super::budgets;
use super::found;
use super::keys;

const HEAD: &str = "# Settings

This page is generated: `CALLMETER_BLESS=1 cargo test -p callmeter settings` writes it anew.

A flag wins over a variable, a variable over the file, the file over the default. `callmeter config show` prints every
setting, its value and where it comes from; `callmeter config check` says whether all can be used.

**File.** The one that `--config` or `CALLMETER_CONFIG` names; else `callmeter.toml` in the working directory or a parent up to the
root of its repository; else `callmeter/callmeter.toml` in `$XDG_CONFIG_HOME` or `~/.config`. Relative paths begin where the file
stands. An unknown key is an error with the key that was probably meant. A `callmeter.toml` that was merely found, in a working directory or its
repository, may not say everything: [below](#a-file-that-was-merely-found). `CALLMETER_CONFIG=callmeter.toml` names it.

**Variables.** `CALLMETER_` and the key in capitals, two underscores for each dot: `CALLMETER_STORE__RAW_DAYS`. With `_FILE` behind
it the variable names a file that holds the value, as mounted secrets do: `CALLMETER_HASH_KEY_FILE`.

In a command a setting that cannot be used is an error. In a host application it is one line in the log: the application runs on, calls
wait in the spool, and `callmeter doctor` names file, line and key.

";

const FOUND: &str = "
## A file that was merely found

Whoever clones a repository and starts a program in it has not read its `callmeter.toml`. What follows is an error in a file that nobody named, unless a flag or a variable says it as
well. A store on a server counts there, but `PGPASSWORD` is sent to it only where `PGHOST` names its host too, a password of `.pgpass` only where the line names the host, and `callmeter run`
does not start. Name the file, with `--config` or `CALLMETER_CONFIG`, and all of it counts. The user's own file (`~/.config/callmeter/callmeter.toml`) was not merely found.

| setting | why not |
| --- | --- |
";

/// The text of `docs/reference/settings.md`.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("| setting | what it is for | takes | default |\n| --- | --- | --- | --- |\n");
    for key in keys::all() {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            key.name, key.purpose, key.takes, key.default
        );
    }
    page.push_str("| `providers.NAME.kind` | what a provider name of your own stands for, such as `ollama` | a provider's name | none |\n");
    for (field, purpose, takes, default) in budgets::FIELDS {
        let _ = writeln!(
            page,
            "| `budgets.NAME.{field}` | {purpose} | {takes} | {default} |"
        );
    }
    let _ = writeln!(
        page,
        "| `proxy.routes.NAME.upstreams` | where the route `/u/NAME/` leads; a provider's name, such as `ollama`, stands for its own paths too | {} | none |",
        super::proxy::TAKES
    );
    page.push_str("\n## Other variables\n\n| variable | what it does |\n| --- | --- |\n");
    for variable in EnvVar::ALL {
        let _ = writeln!(page, "| `{}` | {} |", variable.name(), variable.purpose());
    }
    page.push_str(FOUND);
    for (setting, why) in found::refused() {
        let _ = writeln!(page, "| `{setting}` | {why} |");
    }
    page.push_str("\n## Known callers\n\n`registry.callers` names a file of `[[caller]]` tables: `name`, and optionally `owner`, `team`, `cost_center`, `description`. Calls of others are\n");
    page.push_str("recorded all the same, with one warning for each name; `Callmeter::check_caller` is for hosts that want to be strict.\n");
    page
}
