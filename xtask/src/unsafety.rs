//! Where `unsafe` may stand: in `callmeter-flight`, whose shared memory needs it, and nowhere else.
//!
//! The compiler forbids it to whoever takes the workspace's lints, so this check reads that each crate takes
//! them. The exempt crates write their lints out; the testkit may have to, for a SQLite file system that fails
//! on demand.

use anyhow::{Context, Result};

use crate::check::fail_with;
use crate::metadata::{self, own_packages, text};

/// Crates that may write their lints out.
const EXEMPT: &[&str] = &["callmeter-flight", "callmeter-testkit"];

/// Checks the workspace.
pub(crate) fn check() -> Result<()> {
    let root = std::fs::read_to_string(crate::shell::root().join("Cargo.toml"))?;
    let mut findings = Vec::new();
    if !root
        .lines()
        .any(|line| line.trim() == r#"unsafe_code = "forbid""#)
    {
        findings.push("the workspace's lints do not forbid unsafe_code".to_owned());
    }
    for package in own_packages(&metadata::read()?) {
        let path = text(&package["manifest_path"]);
        let manifest = std::fs::read_to_string(path).with_context(|| path.to_owned())?;
        findings.extend(finding(text(&package["name"]), &manifest));
    }
    fail_with(&findings)
}

fn finding(name: &str, manifest: &str) -> Option<String> {
    if takes_the_lints(manifest) {
        return None;
    }
    if EXEMPT.contains(&name) {
        // Lints of its own are still lints.
        return (!manifest.contains("[lints.rust]")).then(|| format!("{name} has no lints"));
    }
    Some(format!(
        "{name} does not take the workspace's lints: add `[lints]` with `workspace = true`"
    ))
}

/// Whether a manifest has `workspace = true` in its table `[lints]`.
fn takes_the_lints(manifest: &str) -> bool {
    manifest
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "[lints]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .any(|line| line.replace(' ', "") == "workspace=true")
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_lints_must_be_the_workspace_s() {
        assert_eq!(finding("a", "[lints]\nworkspace = true\n"), None);
        for manifest in [
            "",
            "[lints]\n",
            "[lints]\nworkspace = false\n",
            "[lints]\n[package]\nworkspace = true\n",
            "[lints.rust]\nunsafe_code = \"forbid\"\n",
        ] {
            assert!(finding("a", manifest).is_some(), "{manifest}");
        }
    }

    #[test]
    fn the_flight_buffer_writes_its_lints_out_but_has_some() {
        assert_eq!(
            finding("callmeter-flight", "[lints.rust]\nunsafe_code = \"deny\"\n"),
            None
        );
        assert!(finding("callmeter-flight", "").is_some());
    }
}
