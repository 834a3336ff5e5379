//! The Python package `callmeter`, the half of it that is compiled: `callmeter._native`.
//!
//! Owns what must be fast (the state of a call, which is its own context manager; the switch; the place of the
//! call) and what only Rust has (recorder, spool, shipper, stores). Everything a host sees by name stands in
//! `python/callmeter`, whose `_native.pyi` documents this module. Leaves recording to the SDK.
//!
//! Nothing here raises into the host and nothing panics (promise CM-1): what Python says in answer to a question
//! of ours is swallowed, an interrupt excepted.

#[cfg(feature = "baseline")]
mod baseline;
mod capture;
mod classify;
mod hooks;
mod kept;
mod log;
mod meta;
mod once;
mod ready;
mod recorder;
mod site;
mod state;
mod store;
mod switch;
mod text;
mod told;

use pyo3::prelude::*;

/// The compiled half of the package `callmeter`.
#[pymodule]
mod _native {
    #[cfg(feature = "baseline")]
    #[pymodule_export]
    use crate::baseline::BareCall;
    #[pymodule_export]
    use crate::capture::{captured, start_capture};
    #[pymodule_export]
    use crate::hooks::{set_compat, set_hooks, set_registry};
    #[pymodule_export]
    use crate::log::{close_log, next_log_line, open_log};
    #[pymodule_export]
    use crate::recorder::{
        close, flush, hold_back, is_enabled, is_started, mark_forked, park, resume, set_enabled,
        settings, start, stats,
    };
    #[pymodule_export]
    use crate::site::Site;
    #[pymodule_export]
    use crate::state::{CallState, log_ai_call, record};
    #[pymodule_export]
    use crate::store::{query, run_command};
    #[pymodule_export]
    use crate::switch::is_on_by_env;

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
