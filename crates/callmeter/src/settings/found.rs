//! What a configuration file may say that nobody named.
//!
//! A `callmeter.toml` is found where a program happens to be started, and in a cloned repository somebody else
//! wrote it. Owns the judgement of every setting by one question: what would its author gain, or the user lose? Such
//! a file may describe its project. It may not lead anything off the machine, touch files elsewhere, loosen what is
//! kept, or rule over what other programs of the user share (promises CM-6 and CM-11; ADR 0031).
//!
//! A setting that this table does not judge is refused. Its value is judged before anything of it is opened.

use std::path::{Component, Path};

use callmeter_store::StoreUrl;

use super::keys::{BUDGETS, PROVIDERS};
use super::proxy::ROUTES;
use super::value::{self, Raw};

/// How a setting is judged in such a file.
enum Rule {
    /// It describes the project or its own process.
    Counts,
    /// It says nothing.
    Never(&'static str),
    /// It counts, but for these words.
    Not(&'static [&'static str], &'static str),
    /// It counts if it is one of these words, or a file in the directory of the settings.
    Inside(&'static [&'static str]),
    /// It counts if it is an embedded store in the directory of the settings.
    Store,
}

use Rule::{Counts, Inside, Never, Not, Store};

const HOME: &str = "the home is shared by all programs of its user";
const LOOSENS: &str = "it would let rows keep more than their user knows of";
const KEYS_GO: &str = "calls, and the API keys in them, would go where it says";
const ROWS_GO: &str = "rows, and the password that the environment holds, would go where it says; it may name an embedded store \
     beside it (sqlite:calls.db)";
const OUTSIDE: &str = "it leads out of the directory of that file";
const UNJUDGED: &str = "it is not among the settings that may";

/// Every setting but those of providers, budgets and routes, by area.
const RULES: [(&str, Rule); 35] = [
    ("home", Never(HOME)),
    ("exit_flush", Counts),
    ("compat", Not(&["ai_call_logger"], LOOSENS)),
    ("store.url", Store),
    ("store.accounting_zone", Counts),
    (
        "store.raw_days",
        Never("older rows would be refused or deleted"),
    ),
    ("store.layout", Counts),
    ("store.legacy.time_column", Counts),
    ("scope.project", Counts),
    ("scope.team", Counts),
    ("scope.cost_center", Counts),
    ("scope.service", Counts),
    ("scope.environment", Counts),
    ("scope.billing", Counts),
    ("privacy.prompt_hash", Not(&["sha256-12"], LOOSENS)),
    ("privacy.errors", Not(&["scrubbed"], LOOSENS)),
    ("privacy.meta.allow", Never(LOOSENS)),
    ("spool.max_bytes", Never(HOME)),
    ("spool.when_full", Never(HOME)),
    ("spool.sync", Counts),
    ("spool.group_access", Never(HOME)),
    ("shipper.batch_rows", Counts),
    ("shipper.batch_age", Counts),
    ("shipper.replay_rows_per_second", Counts),
    ("prices.book", Inside(&["market", "legacy"])),
    ("prices.closed_until", Counts),
    ("log.style", Counts),
    ("registry.callers", Inside(&[])),
    ("proxy.listen", Counts),
    ("proxy.ask_usage", Counts),
    (
        "proxy.http_proxy",
        Never("only the user turns a forward proxy on"),
    ),
    ("proxy.ca_file", Never(KEYS_GO)),
    ("proxy.max_head_bytes", Counts),
    ("proxy.max_body_bytes", Counts),
    ("proxy.max_connections", Counts),
];

/// Why a setting may not stand in a file that was found in `directory`, if it may not.
pub(super) fn refusal(name: &str, raw: &Raw, directory: &Path) -> Option<&'static str> {
    if name.starts_with(ROUTES) {
        return Some(KEYS_GO);
    }
    if name.starts_with(PROVIDERS) || name.starts_with(BUDGETS) {
        return None;
    }
    let Some((_, rule)) = RULES.iter().find(|(known, _)| *known == name) else {
        return Some(UNJUDGED);
    };
    let text = value::text(raw).unwrap_or_default();
    match rule {
        Counts => None,
        Never(why) => Some(why),
        Not(words, why) => words.contains(&text.as_str()).then_some(*why),
        Inside(words) => {
            let may = words.contains(&text.as_str()) || lies_in(Path::new(&text), directory);
            (!may).then_some(OUTSIDE)
        }
        // What is no address is a mistake of its own.
        Store => match StoreUrl::parse(&text).ok()?.path() {
            None => Some(ROWS_GO),
            Some(path) => (!store_lies_in(path, directory)).then_some(OUTSIDE),
        },
    }
}

/// The lines of the reference: the setting, and what of it is refused.
pub(super) fn refused() -> impl Iterator<Item = (String, &'static str)> {
    let routes = (format!("{ROUTES}NAME"), KEYS_GO);
    let keys = RULES.iter().filter_map(|(name, rule)| match rule {
        Counts => None,
        Never(why) => Some(((*name).to_owned(), *why)),
        Not(words, why) => Some((format!("{name} = {}", words.join(", ")), *why)),
        Inside(_) => Some((format!("{name}, a path"), OUTSIDE)),
        Store => Some(((*name).to_owned(), ROWS_GO)),
    });
    keys.chain(std::iter::once(routes))
}

/// Whether a path, with the links followed that are there, lies in the directory.
fn lies_in(path: &Path, directory: &Path) -> bool {
    if path.components().any(|part| part == Component::ParentDir) {
        return false;
    }
    let path = directory.join(path);
    // A link that leads nowhere yet is there as well.
    let there = path
        .ancestors()
        .find(|path| path.symlink_metadata().is_ok());
    match (there.map(Path::canonicalize), directory.canonicalize()) {
        (Some(Ok(there)), Ok(directory)) => there.starts_with(directory),
        _ => false,
    }
}

/// The same of a store, which has files beside it whose names begin with its own: none may be a link.
fn store_lies_in(path: &Path, directory: &Path) -> bool {
    let path = directory.join(path);
    let (Some(beside), Some(name)) = (path.parent(), path.file_name()) else {
        return false;
    };
    if !lies_in(&path, directory) {
        return false;
    }
    let Ok(entries) = beside.read_dir() else {
        return true;
    };
    let name = name.as_encoded_bytes();
    !entries.flatten().any(|entry| {
        entry.file_name().as_encoded_bytes().starts_with(name)
            && entry.file_type().is_ok_and(|kind| kind.is_symlink())
    })
}

#[cfg(test)]
mod tests {
    use super::super::keys::KEYS;
    use super::*;

    #[test]
    fn every_setting_is_judged() {
        let mut judged: Vec<_> = RULES.iter().map(|(name, _)| *name).collect();
        let mut known: Vec<_> = KEYS.iter().map(|key| key.name).collect();
        judged.sort_unstable();
        known.sort_unstable();
        assert_eq!(judged, known);
    }

    #[test]
    fn a_path_lies_in_the_directory_or_it_does_not_wherever_links_lead() {
        let place = tempfile::tempdir().unwrap();
        let project = place.path().join("project");
        std::fs::create_dir_all(project.join("data")).unwrap();
        std::fs::create_dir(place.path().join("other")).unwrap();
        std::os::unix::fs::symlink(place.path().join("other"), project.join("away")).unwrap();
        std::os::unix::fs::symlink(place.path().join("nothing"), project.join("dangling")).unwrap();
        std::os::unix::fs::symlink("data", project.join("near")).unwrap();
        let inside = project.join("data/x.db");
        for (path, lies) in [
            ("calls.db", true),
            ("data/new/calls.db", true),
            ("near/calls.db", true),
            (inside.to_str().unwrap(), true),
            ("../other/calls.db", false),
            ("data/../../other/calls.db", false),
            ("away/calls.db", false),
            ("dangling", false),
            ("/dev/zero", false),
        ] {
            assert_eq!(lies_in(Path::new(path), &project), lies, "{path}");
        }
        assert!(store_lies_in(Path::new("calls.db"), &project));
        std::os::unix::fs::symlink("/tmp/x", project.join("calls.db-wal")).unwrap();
        assert!(!store_lies_in(Path::new("calls.db"), &project));
    }
}
