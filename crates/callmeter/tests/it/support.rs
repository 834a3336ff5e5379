//! Recorders that the tests share.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use callmeter::settings::Settings;
use callmeter::{Builder, Callmeter};
use callmeter_core::{CallRecord, Clock};
use callmeter_testkit::sink::MemorySink;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A builder with a home of its own, that ships into memory.
pub(crate) fn builder(home: &Path, sink: &MemorySink) -> Builder {
    let sink = sink.clone();
    callmeter::builder()
        .settings(Settings::default())
        .home(home)
        .sink("memory", move || Ok(Box::new(sink.clone())))
}

/// A recorder with a home of its own.
pub(crate) struct Place {
    pub(crate) home: tempfile::TempDir,
    pub(crate) sink: MemorySink,
    pub(crate) callmeter: Callmeter,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self::with(|builder| builder.clock(clock))
    }

    pub(crate) fn with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let (home, sink) = (tempfile::tempdir().unwrap(), MemorySink::default());
        let callmeter = change(builder(home.path(), &sink)).open().unwrap();
        Self {
            home,
            sink,
            callmeter,
        }
    }

    /// Every call that was stored, once all are.
    pub(crate) fn rows(&self) -> Vec<CallRecord> {
        assert!(self.callmeter.flush(PATIENCE).is_complete());
        self.sink.calls()
    }

    /// The only call.
    pub(crate) fn row(&self) -> CallRecord {
        let mut rows = self.rows();
        assert_eq!(rows.len(), 1);
        rows.remove(0)
    }
}
