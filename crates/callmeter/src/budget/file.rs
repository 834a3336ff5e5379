//! `HOME/budgets`: how the budgets of a home stand, and which thresholds were told.
//!
//! ```text
//! callmeter budgets 1
//! NAME <tab> limit <tab> period start <tab> period end <tab> spent <tab> thresholds told, between commas
//! ```
//! Amounts in pico-USD, moments in microseconds. Written whole or not at all; a file that says anything else counts as
//! none, and a line that cannot be read as no budget.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use callmeter_core::{PicoUsd, Timestamp, UsdTotal};

use crate::home::Home;
use crate::plain;
use crate::spool::Rights;
use crate::switch::write_aside;

const FILE: &str = "budgets";
const HEAD: &str = "callmeter budgets 1";
const MAX_BYTES: u64 = 1 << 20;

/// What the file says of a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) limit: PicoUsd,
    pub(super) period_start: Timestamp,
    pub(super) period_end: Timestamp,
    pub(super) spent: UsdTotal,
    /// Thresholds of this period and limit that were told, in percent.
    pub(super) told: Vec<u32>,
}

/// The file's entries by budget.
pub(super) type Entries = BTreeMap<String, Entry>;

pub(super) fn path_in(home: &Home) -> PathBuf {
    home.path().join(FILE)
}

/// Reads the file; one that is not there has no entries.
pub(super) fn read(path: &Path) -> io::Result<Entries> {
    let text = match plain::read_text(path, MAX_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Entries::new()),
        text => text?,
    };
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) {
        return Ok(Entries::new());
    }
    Ok(lines.filter_map(entry_of).collect())
}

fn entry_of(line: &str) -> Option<(String, Entry)> {
    let mut fields = line.split('\t');
    let name = fields.next()?;
    let entry = Entry {
        limit: PicoUsd::from_pico(fields.next()?.parse().ok()?),
        period_start: Timestamp::from_micros(fields.next()?.parse().ok()?),
        period_end: Timestamp::from_micros(fields.next()?.parse().ok()?),
        spent: UsdTotal::from_pico(fields.next()?.parse().ok()?),
        told: fields
            .next()?
            .split(',')
            .filter(|percent| !percent.is_empty())
            .map(|percent| percent.parse().ok())
            .collect::<Option<_>>()?,
    };
    Some((name.to_owned(), entry))
}

/// Writes the file.
pub(super) fn write(path: &Path, entries: &Entries, rights: Rights) -> io::Result<()> {
    let mut text = format!("{HEAD}\n");
    for (name, entry) in entries {
        let told: Vec<String> = entry.told.iter().map(u32::to_string).collect();
        text.push_str(&format!(
            "{name}\t{}\t{}\t{}\t{}\t{}\n",
            entry.limit.as_pico(),
            entry.period_start.as_micros(),
            entry.period_end.as_micros(),
            entry.spent.as_pico(),
            told.join(",")
        ));
    }
    write_aside(path, text.as_bytes(), rights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    proptest! {
        #[test]
        fn entries_survive_the_file(limit in 1..i64::MAX, spent in any::<i64>(), told in prop::collection::vec(1..1_000_u32, 0..4)) {
            let dir = tempfile::tempdir().unwrap();
            let entry = Entry {
                limit: PicoUsd::from_pico(limit),
                period_start: Timestamp::from_micros(1),
                period_end: Timestamp::from_micros(2),
                spent: UsdTotal::from_pico(i128::from(spent) * 1_000),
                told,
            };
            let entries = Entries::from([("größe, all".to_owned(), entry)]);
            let path = dir.path().join(FILE);
            write(&path, &entries, Rights::User).unwrap();
            prop_assert_eq!(read(&path).unwrap(), entries);
        }

        #[test]
        fn any_file_is_read_or_has_no_entries(text in "\\PC{0,60}") {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(FILE);
            fs::write(&path, format!("{HEAD}\n{text}\nok\t5\t1\t2\t3\t\n")).unwrap();
            prop_assert!(read(&path).unwrap().contains_key("ok"));
            fs::write(&path, text).unwrap();
            prop_assert!(read(&path).unwrap().is_empty());
        }
    }
}
