//! Every dependency is under a licence that lets anybody use callmeter: SPDX expressions, evaluated.
//!
//! Looked at is the whole resolved graph: every platform, every feature, tests and benches. An expression
//! passes if one of its choices (`OR`) asks for no more than attribution in all its parts (`AND`); a licence
//! `WITH` an exception is one of its own. What does not parse, or says nothing, does not pass.

use anyhow::Result;
use serde_json::Value;

use crate::check::fail_with;
use crate::metadata::{self, packages, text};

/// Licences that ask for no more than attribution.
const PERMISSIVE: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "blessing",
];

/// Checks the graph.
pub(crate) fn check() -> Result<()> {
    fail_with(&offenders(&metadata::read()?))
}

/// Packages that are under no such licence.
fn offenders(metadata: &Value) -> Vec<String> {
    packages(metadata)
        .filter(|package| !is_permissive(text(&package["license"])))
        .map(|package| {
            let of = |key: &str| text(&package[key]).to_owned();
            format!(
                "{} {} is under '{}'",
                of("name"),
                of("version"),
                of("license")
            )
        })
        .collect()
}

/// Whether an SPDX expression lets one choose permissive licences only.
fn is_permissive(expression: &str) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let value = any_of(&mut rest);
    value == Some(true) && rest.is_empty()
}

fn any_of(words: &mut &[&str]) -> Option<bool> {
    let mut value = all_of(words)?;
    while let ["OR", rest @ ..] = words {
        *words = rest;
        value |= all_of(words)?;
    }
    Some(value)
}

fn all_of(words: &mut &[&str]) -> Option<bool> {
    let mut value = one(words)?;
    while let ["AND", rest @ ..] = words {
        *words = rest;
        value &= one(words)?;
    }
    Some(value)
}

fn one(words: &mut &[&str]) -> Option<bool> {
    match words {
        ["(", rest @ ..] => {
            *words = rest;
            let value = any_of(words)?;
            let [")", rest @ ..] = words else { return None };
            *words = rest;
            Some(value)
        }
        [name, "WITH", exception, rest @ ..] => {
            let licence = format!("{name} WITH {exception}");
            *words = rest;
            Some(PERMISSIVE.contains(&licence.as_str()))
        }
        [name, rest @ ..] if !matches!(*name, "AND" | "OR" | "WITH" | ")") => {
            *words = rest;
            Some(PERMISSIVE.contains(name))
        }
        _ => None,
    }
}

#[cfg(test)]
mod unit {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_offender_is_named_with_its_version_and_licence() {
        let metadata = json!({ "packages": [
            { "name": "good", "version": "1.0.0", "license": "MIT" },
            { "name": "bad", "version": "2.0.0", "license": "AGPL-3.0" },
            { "name": "mute", "version": "3.0.0", "license": null },
        ] });
        assert_eq!(
            offenders(&metadata),
            ["bad 2.0.0 is under 'AGPL-3.0'", "mute 3.0.0 is under ''"]
        );
    }

    #[test]
    fn and_binds_closer_than_or() {
        assert!(is_permissive("MIT OR GPL-3.0 AND GPL-2.0"));
        assert!(!is_permissive("(MIT OR GPL-3.0) AND GPL-2.0"));
    }

    #[test]
    fn one_permissive_choice_is_enough_and_all_its_parts_are_needed() {
        for expression in [
            "MIT",
            "MIT OR Apache-2.0",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR GPL-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
        ] {
            assert!(is_permissive(expression), "{expression}");
        }
        for expression in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "MPL-2.0",
            "MIT OR",
            "(MIT",
            "MIT Apache-2.0",
            "GPL-2.0 WITH Classpath-exception-2.0",
        ] {
            assert!(!is_permissive(expression), "{expression}");
        }
    }
}
