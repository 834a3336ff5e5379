//! Links between the pages of the repository lead somewhere: the file exists, and so does the heading.
//!
//! Looked at are inline links and definitions (`[name]: target`) in every Markdown file, outside of code.
//! A target is relative to its page and stays in the repository. Addresses of other hosts are not followed:
//! a check must give the same answer offline.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use anyhow::Result;

use crate::check::fail_with;
use crate::shell;

/// Follows every link of every page.
pub(crate) fn check() -> Result<()> {
    let root = shell::root();
    let mut findings = Vec::new();
    for file in shell::files()? {
        if file.extension() != Some(OsStr::new("md")) {
            continue;
        }
        let page = std::fs::read_to_string(root.join(&file))?;
        for target in targets(&page) {
            if let Some(why) = broken(&root, &file, &page, &target) {
                findings.push(format!("{}: {target}: {why}", file.display()));
            }
        }
    }
    fail_with(&findings)
}

/// Why a link leads nowhere, if it does.
fn broken(root: &Path, file: &Path, page: &str, target: &str) -> Option<&'static str> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let other;
    let page = if path.is_empty() {
        page
    } else {
        let Some(path) = within(file.parent()?, path) else {
            return Some("it leaves the repository");
        };
        let path = root.join(path);
        if !path.exists() {
            return Some("there is no such file");
        }
        other = std::fs::read_to_string(path).unwrap_or_default();
        &other
    };
    (!anchor.is_empty() && !anchors(page).contains(anchor)).then_some("there is no such heading")
}

/// A path relative to a directory of the repository, as one relative to its root; none if it lies outside.
fn within(directory: &Path, path: &str) -> Option<PathBuf> {
    let mut found = PathBuf::new();
    for part in directory.join(path).components() {
        match part {
            Component::Normal(name) => found.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !found.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(found)
}

/// What a page links to.
fn targets(page: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for line in prose(page) {
        let line = without_code(line);
        let mut rest = line.as_str();
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, after)) = after.split_once(')') else {
                break;
            };
            targets.extend(first_word(target));
            rest = after;
        }
        // A definition; a footnote is none.
        if let Some((name, target)) = line.trim_start().split_once("]: ")
            && name.starts_with('[')
            && !name.starts_with("[^")
        {
            targets.extend(first_word(target));
        }
    }
    targets
}

/// The target without the title that may follow it.
fn first_word(text: &str) -> Option<String> {
    let word = text.split_whitespace().next()?;
    Some(word.trim_matches(['<', '>']).to_owned())
}

/// The anchors of a page's headings, as the hosts of repositories make them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in prose(page) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let anchor: String = heading
            .trim()
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        // The second heading of the same words gets a number.
        let numbered = (1..).map(|n| format!("{anchor}-{n}"));
        let mut names = std::iter::once(anchor.clone()).chain(numbered);
        anchors.extend(names.find(|name| !anchors.contains(name)));
    }
    anchors
}

/// The lines of a page that are no block of code.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    page.lines().filter(move |line| {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
            return false;
        }
        !is_code
    })
}

/// A line without what stands between backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("``")
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn links_are_found_in_prose_and_not_in_code() {
        let page = "[x](a.md#b) and [`y`](https://c.d \"title\"), `[n](o.md)`\n\
                    [z]: e.md\n[^1]: a footnote\n```\n[n](o.md)\n```\n";
        assert_eq!(targets(page), ["a.md#b", "https://c.d", "e.md"]);
    }

    #[test]
    fn headings_have_anchors_and_equal_ones_are_numbered() {
        let page = "# A `b`, c: title\n## Twice\n## Twice\n#no heading\n```\n# a comment\n```\n";
        let expected = ["a-b-c-title", "twice", "twice-1"].map(str::to_owned);
        assert_eq!(anchors(page), BTreeSet::from(expected));
    }

    #[test]
    fn a_link_to_nowhere_is_broken() {
        let root = shell::root();
        let of = |target| broken(&root, Path::new("docs/page.md"), "# Here\n", target);
        assert_eq!(of("#here"), None);
        assert_eq!(of("#there"), Some("there is no such heading"));
        assert_eq!(of("no-such-file.md"), Some("there is no such file"));
        assert_eq!(of("../Cargo.toml"), None);
        assert_eq!(of("../crates"), None);
        assert_eq!(of("../../Cargo.toml"), Some("it leaves the repository"));
        assert_eq!(of("/etc/hosts"), Some("it leaves the repository"));
        assert_eq!(of("https://example.org/x#y"), None);
    }
}
