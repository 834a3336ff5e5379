//! What the library says through `tracing`, line by line, for every test of the process.
//!
//! Tests run side by side and share the lines; each looks for words that only it can have caused.

use std::fmt::Write as _;
use std::sync::{Mutex, Once, PoisonError};
use std::thread::ThreadId;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

static LINES: Mutex<Vec<(ThreadId, String)>> = Mutex::new(Vec::new());

/// Begins to listen, once a process.
pub(crate) fn listen() {
    static BEGIN: Once = Once::new();
    BEGIN.call_once(|| tracing::subscriber::set_global_default(Listener).unwrap());
}

/// Every line so far.
pub(crate) fn lines() -> Vec<String> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().map(|(_, line)| line.clone()).collect()
}

/// The lines that were said on this thread.
pub(crate) fn of_this_thread() -> Vec<String> {
    let this = std::thread::current().id();
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let ours = lines.iter().filter(|(thread, _)| *thread == this);
    ours.map(|(_, line)| line.clone()).collect()
}

/// The lines with `word` in them.
pub(crate) fn with(word: &str) -> Vec<String> {
    let mut lines = lines();
    lines.retain(|line| line.contains(word));
    lines
}

struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!(
            "{} {}",
            event.metadata().level(),
            event.metadata().target()
        ));
        event.record(&mut line);
        LINES
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((std::thread::current().id(), line.0));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}
