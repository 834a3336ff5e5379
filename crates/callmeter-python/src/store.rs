//! The store that rows go to, asked in SQL; and the command.

use std::ffi::OsString;
use std::path::PathBuf;

use callmeter::settings::{Settings, StoreLayout};
use callmeter_store::StoreReader;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::recorder::{Flag, sources};

/// Asks the store that these settings name, read-only; each row as a JSON object.
#[pyfunction]
#[pyo3(signature = (flags, config, sql))]
pub(crate) fn query(
    py: Python<'_>,
    flags: Vec<Flag>,
    config: Option<PathBuf>,
    sql: &str,
) -> PyResult<Vec<String>> {
    let sources = sources(flags, config);
    py.detach(|| ask(&sources, sql))
        .map_err(PyRuntimeError::new_err)
}

fn ask(sources: &callmeter::settings::Sources, sql: &str) -> Result<Vec<String>, String> {
    let resolved = Settings::resolve(sources).map_err(|errors| errors.to_string())?;
    let settings = resolved.settings;
    let home = settings.home();
    let url = settings.store_url(&home);
    let opened = match settings.store.layout {
        StoreLayout::Full => StoreReader::open(&url),
        _ => {
            let options = settings
                .store_options()
                .map_err(|error| error.to_string())?;
            StoreReader::open_as(&url, &options)
        }
    };
    let answer = opened.and_then(|mut store| store.query(sql));
    answer.map_err(|error| match error.hint() {
        Some(hint) => format!("{error}\nhint: {hint}"),
        None => error.to_string(),
    })
}

/// Runs the command; its exit code. `program` says how it is started once more.
#[pyfunction]
pub(crate) fn run_command(py: Python<'_>, arguments: Vec<OsString>, program: Vec<OsString>) -> u8 {
    py.detach(|| callmeter_cli::run(arguments, Some(program)))
}
