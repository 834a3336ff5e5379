//! The house rules that a program can see.
//!
//! - A Rust file opens with a header that says what it owns.
//! - It has at most 800 lines, and a warning from 500 on; tests, benches, tables and generated files are exempt.
//! - The repository speaks of the project alone: no paths of one machine, no numbers of a tracker.
//!
//! Leaves to others: what clippy and rustfmt see, and links ([`links`](crate::links)).

use std::ffi::OsStr;
use std::path::Path;

use anyhow::Result;

use crate::check::fail_with;
use crate::shell;

/// The most lines of a source file.
const MOST_LINES: usize = 800;
/// From here on a source file is told to think about a second one.
const MANY_LINES: usize = 500;

/// What a file speaks of that belongs to one machine or one tracker. Written in two parts, because this file
/// is read as well.
const FOREIGN: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/tmp/tar", "get"),
    concat!("shared/", "reference"),
    concat!("issue", " #"),
    concat!("Issue", " #"),
];

/// What a reader found in a file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Findings {
    errors: Vec<String>,
    warnings: Vec<String>,
}

/// Reads every text file that git knows or would add.
pub(crate) fn check() -> Result<()> {
    let root = shell::root();
    let mut errors = Vec::new();
    for file in shell::files()? {
        // What is no UTF-8 is no text.
        let Ok(text) = std::fs::read_to_string(root.join(&file)) else {
            continue;
        };
        let findings = read(&file, &text);
        errors.extend(findings.errors);
        for warning in findings.warnings {
            println!("  warning: {warning}");
        }
    }
    fail_with(&errors)
}

fn read(file: &Path, text: &str) -> Findings {
    let shown = file.display();
    let mut findings = Findings::default();
    if file.extension() == Some(OsStr::new("rs")) {
        if !text.starts_with("//!") {
            findings
                .errors
                .push(format!("{shown}:1: a file opens with a `//!` header"));
        }
        let lines = text.lines().count();
        if lines > MANY_LINES && !may_be_long(file, text) {
            let found = format!("{shown} has {lines} lines; ");
            if lines > MOST_LINES {
                findings
                    .errors
                    .push(found + &format!("more than {MOST_LINES} are too many"));
            } else {
                findings
                    .warnings
                    .push(found + &format!("more than {MANY_LINES} need a reason"));
            }
        }
    }
    for (number, line) in text.lines().enumerate() {
        for word in FOREIGN.iter().filter(|word| speaks_of(line, word)) {
            findings
                .errors
                .push(format!("{shown}:{}: speaks of '{word}'", number + 1));
        }
    }
    findings
}

/// Whether a source file is one of those that may be as long as they like.
fn may_be_long(file: &Path, text: &str) -> bool {
    let is_exempt = |name: &OsStr| {
        matches!(
            name.to_str(),
            Some("tests" | "tests.rs" | "benches" | "table.rs" | "tables" | "tables.rs")
        )
    };
    file.iter().any(is_exempt) || text.lines().take(5).any(|line| line.contains("@generated"))
}

/// Whether a line has a word that is not just the end of a longer path, such as `[place]/work/x`.
fn speaks_of(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        let is_inside =
            |c: char| c.is_alphanumeric() || matches!(c, ']' | '}' | '>' | '_' | '-' | '.');
        !before.is_some_and(is_inside)
    })
}

#[cfg(test)]
mod unit {
    use super::*;

    fn errors(file: &str, text: &str) -> Vec<String> {
        read(Path::new(file), text).errors
    }

    fn lines(count: usize) -> String {
        "//! A header.\n".repeat(count)
    }

    #[test]
    fn a_source_file_without_a_header_is_named() {
        assert_eq!(
            errors("a/src/lib.rs", "fn main() {}\n"),
            ["a/src/lib.rs:1: a file opens with a `//!` header"]
        );
        assert_eq!(errors("a/src/lib.rs", "//! Owns a.\n").len(), 0);
        assert_eq!(errors("a/notes.txt", "fn main() {}\n").len(), 0);
    }

    #[test]
    fn a_long_file_is_warned_of_and_a_very_long_one_fails() {
        let found = |count| {
            let found = read(Path::new("a/src/b.rs"), &lines(count));
            (found.warnings.len(), found.errors.len())
        };
        assert_eq!(found(500), (0, 0));
        assert_eq!(found(501), (1, 0));
        assert_eq!(found(800), (1, 0));
        assert_eq!(found(801), (0, 1));
    }

    #[test]
    fn tests_tables_and_generated_files_may_be_long() {
        for file in ["a/tests/it/b.rs", "a/src/b/tests.rs", "a/src/tables.rs"] {
            assert_eq!(
                read(Path::new(file), &lines(900)),
                Findings::default(),
                "{file}"
            );
        }
        let generated = format!("//! Rates. @generated by a program.\n{}", lines(900));
        assert_eq!(errors("a/src/rates.rs", &generated).len(), 0);
    }

    #[test]
    fn a_file_that_speaks_of_one_machine_is_named_with_its_line() {
        let text = format!("fine\nsee {}main\n", FOREIGN[0]);
        assert_eq!(
            errors("README.md", &text),
            [format!("README.md:2: speaks of '{}'", FOREIGN[0])]
        );
        assert_eq!(errors("a.sh", &format!("see {}12", FOREIGN[3])).len(), 1);
    }

    #[test]
    fn the_end_of_another_path_is_nobody_s_machine() {
        assert_eq!(
            errors("a.snap", &format!("[place]{}a.db", FOREIGN[0])).len(),
            0
        );
        assert_eq!(
            errors("a.md", &format!("~/home{}a.db", FOREIGN[0])).len(),
            0
        );
    }
}
