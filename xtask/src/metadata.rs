//! What `cargo metadata` says about the workspace and all it depends on.
//!
//! The checks read the JSON as it is: each takes it as an argument, so that its tests can make one up.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::shell;

/// The resolved graph, every platform and feature of the workspace included.
pub(crate) fn read() -> Result<Value> {
    let text =
        shell::output_of(shell::cargo().args(["metadata", "--format-version", "1", "--locked"]))?;
    serde_json::from_str(&text).context("cargo metadata printed no JSON")
}

/// Every package of the graph, the workspace's own included.
pub(crate) fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    list(&metadata["packages"])
}

/// The packages of the workspace.
pub(crate) fn own_packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    let members: BTreeSet<&str> = list(&metadata["workspace_members"]).map(text).collect();
    packages(metadata).filter(move |package| members.contains(text(&package["id"])))
}

/// What a package declares to depend on, for any platform, of any kind.
pub(crate) fn dependencies(package: &Value) -> impl Iterator<Item = &Value> {
    list(&package["dependencies"])
}

/// The text of a JSON value; nothing if it is none.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
