//! `callers.toml`: who may call, with owner, team and cost centre.
//!
//! ```toml
//! [[caller]]
//! name = "sales_copy"
//! owner = "ada"
//! team = "marketing"
//! cost_center = "4711"
//! description = "product texts for the shop"
//! ```

use std::path::Path;

use callmeter_core::{CallerEntry, CallerRegistry};
use serde::Deserialize;

use super::file::{line_of, read_text};
use super::value::Expected;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallersFile {
    #[serde(default)]
    caller: Vec<CallerEntry>,
}

/// Reads the file of known callers.
pub(super) fn read(path: &Path) -> Result<CallerRegistry, Expected> {
    let text =
        read_text(path).map_err(|why| Expected(format!("a readable file of callers ({why})")))?;
    let file: CallersFile = toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(&text, span.start));
        Expected(format!(
            "a file of [[caller]] tables ({}:{line}: {})",
            path.display(),
            callmeter_core::clean_text(error.message(), 160).0
        ))
    })?;
    if let Some(nameless) = file
        .caller
        .iter()
        .position(|entry| entry.name.trim().is_empty())
    {
        let number = nameless.saturating_add(1);
        return Err(Expected(format!(
            "a name for every caller ({}: caller {number} has none)",
            path.display()
        )));
    }
    Ok(CallerRegistry::new(file.caller))
}
