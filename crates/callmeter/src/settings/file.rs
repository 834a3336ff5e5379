//! The configuration file: where it is found, and what stands in it on which line.
//!
//! Named by flag or variable, or found as `callmeter.toml` in the working directory or a parent up to the
//! repository's root, or as `callmeter/callmeter.toml` in the user's configuration directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::error::SettingsError;
use super::value::Raw;

const NAME: &str = "callmeter.toml";
/// The longest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// An entry of the file: dotted name, value, line.
pub(super) type Entry = (String, Raw, usize);

/// The repository's file, as it is found from `directory`.
pub(super) fn find(directory: &Path) -> Option<PathBuf> {
    let root = directory
        .ancestors()
        .find(|parent| parent.join(".git").exists());
    let last = root.unwrap_or(directory);
    for parent in directory.ancestors() {
        let path = parent.join(NAME);
        if path.is_file() {
            return Some(path);
        }
        if parent == last {
            break;
        }
    }
    None
}

/// The user's own file, in the directory of their configuration.
pub(super) fn of_user(config: &Path) -> PathBuf {
    config.join("callmeter").join(NAME)
}

/// Reads a file of text.
pub(super) fn read_text(path: &Path) -> Result<String, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if metadata.is_dir() {
        return Err("it is a directory".to_owned());
    }
    if metadata.len() > MAX_BYTES {
        return Err(format!("it has more than {MAX_BYTES} bytes"));
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| {
        let line = error
            .as_bytes()
            .iter()
            .take(error.utf8_error().valid_up_to());
        let line = line
            .filter(|byte| **byte == b'\n')
            .count()
            .saturating_add(1);
        format!("line {line} is not UTF-8")
    })
}

/// Everything that stands in a file.
pub(super) fn entries(path: &Path) -> Result<Vec<Entry>, SettingsError> {
    let shown = path.display();
    let text = read_text(path).map_err(|why| {
        SettingsError::new(format!("the configuration file cannot be read: {why}"))
            .in_place(shown.to_string())
            .with_hint("check the path and its rights")
    })?;
    let table = DeTable::parse(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(&text, span.start));
        // The message tells the kind of mistake; the text itself may hold secrets and is left out.
        let message = callmeter_core::clean_text(error.message(), 160)
            .0
            .into_owned();
        SettingsError::new(format!("this is no TOML: {message}"))
            .in_place(format!("{shown}:{line}"))
            .with_hint("texts stand in quotes, tables in [brackets]")
    })?;
    let mut entries = Vec::new();
    flatten(&text, "", table.get_ref(), &mut entries);
    Ok(entries)
}

fn flatten(text: &str, prefix: &str, table: &DeTable<'_>, entries: &mut Vec<Entry>) {
    for (key, value) in table {
        let name = if prefix.is_empty() {
            key.get_ref().to_string()
        } else {
            format!("{prefix}.{}", key.get_ref())
        };
        match value.get_ref() {
            DeValue::Table(inner) => flatten(text, &name, inner, entries),
            other => entries.push((name, raw_of(other), line_of(text, key.span().start))),
        }
    }
}

fn raw_of(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => {
            Raw::Integer(number.as_str().to_owned())
        }
        DeValue::Boolean(value) => Raw::Boolean(*value),
        DeValue::Array(items) => {
            let texts = items.iter().map(|item| match item.get_ref() {
                DeValue::Integer(number) if number.radix() == 10 => {
                    Some(number.as_str().to_owned())
                }
                other => other.as_str().map(str::to_owned),
            });
            if let Some(texts) = texts.collect::<Option<Vec<_>>>() {
                return Raw::List(texts);
            }
            let tables = items.iter().map(|item| texts_of(item.get_ref()));
            tables.collect::<Option<Vec<_>>>().map_or(
                Raw::Other("a list that holds more than texts and numbers"),
                Raw::Tables,
            )
        }
        DeValue::Float(_) => Raw::Other("a fraction"),
        DeValue::Datetime(_) => Raw::Other("a date"),
        _ => Raw::Other("a value of another kind"),
    }
}

/// A table of texts, if it is one.
fn texts_of(value: &DeValue<'_>) -> Option<BTreeMap<String, String>> {
    let DeValue::Table(table) = value else {
        return None;
    };
    let entries = table.iter().map(|(key, value)| {
        let text = value.get_ref().as_str()?;
        Some((key.get_ref().to_string(), text.to_owned()))
    });
    entries.collect()
}

/// The line of a place in a text, from 1.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().iter().take(at);
    before
        .filter(|byte| **byte == b'\n')
        .count()
        .saturating_add(1)
}
