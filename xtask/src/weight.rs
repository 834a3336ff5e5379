//! How heavy the SDK is for its host: the crates that `callmeter` with default features links in.
//!
//! Counted are foreign crates, those of procedural macros included, as cargo resolves them for this platform;
//! what only a build script needs is not in the host's program and does not count. No async runtime and no TLS
//! may be among them: a library that logs must not choose these for its host.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::check::fail_with;
use crate::shell;

/// The SDK has fewer dependencies than this.
const LIMIT: usize = 45;

/// Runtimes and TLS by the crates that every way to them goes through.
const TOO_HEAVY: &[&str] = &[
    "async-executor",
    "async-io",
    "async-std",
    "aws-lc-rs",
    "boring",
    "compio",
    "futures-executor",
    "glommio",
    "mbedtls",
    "mio",
    "monoio",
    "native-tls",
    "openssl",
    "openssl-sys",
    "ring",
    "rustls",
    "s2n-tls",
    "schannel",
    "security-framework",
    "smol",
    "tokio",
];

/// Checks the SDK.
pub(crate) fn check() -> Result<()> {
    let tree = shell::output_of(shell::cargo().args([
        "tree",
        "--package",
        "callmeter",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--locked",
        "--format",
        "{p}",
    ]))?;
    let foreign = foreign(&tree);
    println!("  the SDK has {} dependencies", foreign.len());
    fail_with(&findings(&foreign))
}

/// The names of a tree's crates that are not the workspace's own.
fn foreign(tree: &str) -> BTreeSet<&str> {
    tree.lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.is_empty() && !name.starts_with("callmeter"))
        .collect()
}

fn findings(foreign: &BTreeSet<&str>) -> Vec<String> {
    let mut findings: Vec<String> = TOO_HEAVY
        .iter()
        .filter(|name| foreign.contains(*name))
        .map(|name| format!("the SDK brings {name} to its host"))
        .collect();
    if foreign.len() >= LIMIT {
        let names: Vec<_> = foreign.iter().copied().collect();
        findings.push(format!(
            "the SDK has {} dependencies, fewer than {LIMIT} are allowed: {}",
            names.len(),
            names.join(", ")
        ));
    }
    findings
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_crate_met_twice_counts_once_and_our_own_do_not() {
        let tree =
            "callmeter v0.1.0 (/x)\nserde v1.0.0\nserde v1.0.0 (*)\n\ncallmeter-core v0.1.0\n";
        assert_eq!(foreign(tree), BTreeSet::from(["serde"]));
    }

    #[test]
    fn a_runtime_is_named() {
        assert_eq!(
            findings(&BTreeSet::from(["serde", "tokio"])),
            ["the SDK brings tokio to its host"]
        );
    }

    #[test]
    fn the_limit_itself_is_too_many() {
        let names: Vec<String> = (0..LIMIT).map(|n| format!("c{n}")).collect();
        let all: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(findings(&all).len(), 1);
        let one_less: BTreeSet<&str> = all.into_iter().skip(1).collect();
        assert_eq!(findings(&one_less), Vec::<String>::new());
    }
}
