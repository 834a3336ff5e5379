//! Who may depend on whom: arrows go one way, never upward, never sideways between leaves.
//!
//! ```text
//! core ← price, wire, flight ← store ← callmeter (+ macros) ← proxy ← cli ← python
//! ```
//!
//! The table holds for normal and build dependencies, optional ones and those of one platform included. Tests
//! may use more: every crate may have the testkit, which nothing else may. Nobody depends on xtask, nor on the
//! simulation.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use crate::check::fail_with;
use crate::metadata::{self, dependencies, own_packages, text};

/// A crate and the crates of the workspace it may depend on outside of its tests.
const LAYERS: &[(&str, &[&str])] = &[
    ("callmeter-core", &[]),
    ("callmeter-price", &["callmeter-core"]),
    ("callmeter-wire", &["callmeter-core"]),
    ("callmeter-flight", &["callmeter-core"]),
    ("callmeter-macros", &[]),
    ("callmeter-store", &["callmeter-core", "callmeter-price"]),
    (
        "callmeter",
        &[
            "callmeter-core",
            "callmeter-flight",
            "callmeter-macros",
            "callmeter-price",
            "callmeter-store",
            "callmeter-wire",
        ],
    ),
    (
        "callmeter-proxy",
        &["callmeter", "callmeter-core", "callmeter-wire"],
    ),
    (
        "callmeter-cli",
        &[
            "callmeter",
            "callmeter-core",
            "callmeter-flight",
            "callmeter-price",
            "callmeter-proxy",
            "callmeter-store",
            "callmeter-wire",
        ],
    ),
    (
        "callmeter-python",
        &[
            "callmeter",
            "callmeter-cli",
            "callmeter-core",
            "callmeter-store",
        ],
    ),
    (
        SIMULATE,
        &["callmeter", "callmeter-core", "callmeter-flight"],
    ),
    (TESTKIT, &["callmeter-core"]),
    (XTASK, &[]),
];

const SIMULATE: &str = "callmeter-simulate";
const TESTKIT: &str = "callmeter-testkit";
const XTASK: &str = "xtask";

/// Checks the workspace.
pub(crate) fn check() -> Result<()> {
    fail_with(&wrong_edges(&metadata::read()?))
}

/// Edges between crates of the workspace that the layers do not allow.
fn wrong_edges(metadata: &Value) -> Vec<String> {
    let layers: BTreeMap<&str, &[&str]> = LAYERS.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in own_packages(metadata) {
        let from = text(&package["name"]);
        let Some(allowed) = layers.get(from) else {
            wrong.push(format!(
                "{from} has no layer: give it one in xtask/src/layers.rs"
            ));
            continue;
        };
        for dependency in dependencies(package) {
            let to = text(&dependency["name"]);
            let is_of_tests = text(&dependency["kind"]) == "dev";
            if !layers.contains_key(to) || allowed.contains(&to) {
                continue;
            }
            if !is_of_tests {
                wrong.push(format!("{from} must not depend on {to}"));
            } else if to == XTASK {
                wrong.push(format!("{from} must not depend on {to}, its tests neither"));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod unit {
    use super::*;
    use serde_json::json;

    /// Wrong edges of a workspace with one package that has one dependency.
    fn edge(from: &str, to: &str, kind: Value) -> Vec<String> {
        wrong_edges(&json!({
            "workspace_members": ["from"],
            "packages": [
                { "id": "from", "name": from, "dependencies": [{ "name": to, "kind": kind }] },
                { "id": "elsewhere", "name": "made-up", "dependencies": [] },
            ],
        }))
    }

    #[test]
    fn an_edge_upward_is_named() {
        assert_eq!(
            edge("callmeter-core", "callmeter-price", Value::Null),
            ["callmeter-core must not depend on callmeter-price"]
        );
        assert_eq!(edge("callmeter-store", "callmeter", Value::Null).len(), 1);
    }

    #[test]
    fn an_edge_sideways_between_leaves_is_named() {
        assert_eq!(
            edge("callmeter-wire", "callmeter-price", Value::Null).len(),
            1
        );
        assert_eq!(
            edge("callmeter-flight", "callmeter-wire", Value::Null).len(),
            1
        );
    }

    #[test]
    fn an_edge_downward_and_one_to_the_world_are_fine() {
        assert_eq!(
            edge("callmeter-price", "callmeter-core", Value::Null).len(),
            0
        );
        assert_eq!(edge("callmeter-core", "serde", Value::Null).len(), 0);
    }

    #[test]
    fn a_build_script_obeys_the_layers_as_well() {
        assert_eq!(
            edge("callmeter-core", "callmeter-store", json!("build")).len(),
            1
        );
    }

    #[test]
    fn the_testkit_is_for_tests_alone() {
        assert_eq!(edge("callmeter", TESTKIT, json!("dev")).len(), 0);
        assert_eq!(edge("callmeter", TESTKIT, Value::Null).len(), 1);
    }

    #[test]
    fn nobody_uses_xtask_in_tests_neither() {
        assert_eq!(edge("callmeter", XTASK, Value::Null).len(), 1);
        assert_eq!(edge("callmeter", XTASK, json!("dev")).len(), 1);
    }

    #[test]
    fn a_crate_without_a_layer_is_named() {
        assert_eq!(
            edge("callmeter-new", "serde", Value::Null),
            ["callmeter-new has no layer: give it one in xtask/src/layers.rs"]
        );
    }
}
