//! Every direct dependency stands in `docs/internals/dependencies.md` with its reason, and no other does.
//!
//! Tests and benches count as well: whatever a contributor has to download has a reason. A row of the page is
//! a line that begins with the name: ``| `serde` | … |``.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::check::fail_with;
use crate::metadata::{self, dependencies, own_packages, text};
use crate::shell;

const PAGE: &str = "docs/internals/dependencies.md";

/// Compares the page with the manifests.
pub(crate) fn check() -> Result<()> {
    let page = std::fs::read_to_string(shell::root().join(PAGE)).context(PAGE)?;
    fail_with(&differences(&metadata::read()?, &page))
}

fn differences(metadata: &Value, page: &str) -> Vec<String> {
    let own: BTreeSet<&str> = own_packages(metadata)
        .map(|package| text(&package["name"]))
        .collect();
    let used: BTreeSet<&str> = own_packages(metadata)
        .flat_map(dependencies)
        .map(|dependency| text(&dependency["name"]))
        .filter(|name| !own.contains(name))
        .collect();
    let named: BTreeSet<&str> = page.lines().filter_map(named_in).collect();
    let missing = used
        .difference(&named)
        .map(|name| format!("{name} has no row in {PAGE}"));
    let spare = named
        .difference(&used)
        .map(|name| format!("{PAGE} has a row for {name}, which no crate depends on"));
    missing.chain(spare).collect()
}

/// The dependency that a row of the table is about.
fn named_in(line: &str) -> Option<&str> {
    let (name, rest) = line.strip_prefix("| `")?.split_once('`')?;
    rest.starts_with(" |").then_some(name)
}

#[cfg(test)]
mod unit {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_dependency_without_a_row_and_a_row_without_a_dependency_are_named() {
        let metadata = json!({
            "workspace_members": ["a", "b"],
            "packages": [
                { "id": "a", "name": "a", "dependencies": [
                    { "name": "serde", "kind": null }, { "name": "b", "kind": null },
                ] },
                { "id": "b", "name": "b", "dependencies": [{ "name": "toml", "kind": "dev" }] },
                { "id": "serde", "name": "serde", "dependencies": [{ "name": "serde_core" }] },
            ],
        });
        let page = "| dependency | in |\n| `serde` | a |\n| `rand` | no more |\n";
        assert_eq!(
            differences(&metadata, page),
            [
                format!("toml has no row in {PAGE}"),
                format!("{PAGE} has a row for rand, which no crate depends on")
            ]
        );
    }

    #[test]
    fn only_a_row_of_the_table_names_a_dependency() {
        assert_eq!(named_in("| `serde_json` | core | …"), Some("serde_json"));
        assert_eq!(named_in("| `serde` is used by | …"), None);
        assert_eq!(named_in("We use `serde`."), None);
    }
}
