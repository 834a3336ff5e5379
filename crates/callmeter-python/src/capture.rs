//! Calls that are kept in memory as rows, for tests of hosts: the recorder of this process with a sink that only
//! collects, in a home of its own.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use callmeter_core::{Ack, CallRecord, Sink, SinkError};
use pyo3::prelude::*;

use crate::recorder::{self, Flag};

static ROWS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A sink whose rows are JSON in memory.
#[derive(Debug)]
struct Collector;

impl Sink for Collector {
    fn write(&mut self, batch: &[CallRecord]) -> Result<Ack, SinkError> {
        let mut rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
        rows.extend(batch.iter().map(|call| call.to_json(None)));
        let mut ack = Ack::default();
        ack.inserted = batch.len() as u64;
        Ok(ack)
    }
}

/// Starts recording into memory; the rows of before are forgotten.
#[pyfunction]
#[pyo3(signature = (flags, config, home))]
pub(crate) fn start_capture(
    py: Python<'_>,
    flags: Vec<Flag>,
    config: Option<PathBuf>,
    home: PathBuf,
) -> PyResult<()> {
    captured();
    recorder::start_with(py, flags, config, move |builder| {
        builder
            .home(home)
            .sink("memory", || Ok(Box::new(Collector)))
    })?;
    Ok(())
}

/// The rows since it was asked last, each a JSON object, in the order in which they were shipped.
#[pyfunction]
pub(crate) fn captured() -> Vec<String> {
    std::mem::take(&mut ROWS.lock().unwrap_or_else(PoisonError::into_inner))
}
