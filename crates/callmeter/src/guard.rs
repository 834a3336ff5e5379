//! The guard around one call: opened before, told what happens, finished after.
//!
//! ```text
//! open ── setters ──┬─ finish()          ok, or the status that was set
//!                   ├─ fail(&error)      error, also where a fallback was set before
//!                   └─ dropped           error: panic while unwinding, else unfinished;
//!                                        cancelled when run() was dropped midway
//! ```
//! Every way out makes exactly one row (promise CM-3), and none of them panics, blocks or fails
//! (CM-1, CM-2). A guard made while recording is off does nothing; one made while it was on finishes as
//! it was opened (CM-9). Setters are in [`setters`](crate::setters), whole calls in
//! [`run`](crate::run).

use std::panic::Location;
use std::sync::Arc;

use callmeter_core::{CallId, CallRecord, ErrorKind, Flags, Layer, Meta, Status, Timestamp};

use crate::recorder::Recorder;
use crate::report::{ErrorClass, ErrorReport};
use crate::run::guarded;

/// One call in flight. Made by [`call`](crate::call).
#[must_use = "a guard that is dropped at once records an unfinished call"]
#[derive(Debug)]
pub struct CallGuard {
    pub(crate) open: Option<Box<OpenCall>>,
}

/// What is known of a call in flight.
pub(crate) struct OpenCall {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) record: CallRecord,
    pub(crate) meta: Meta,
    pub(crate) error_text: Option<String>,
    pub(crate) on_drop: DropKind,
    pub(crate) opened_ns: u64,
}

impl std::fmt::Debug for OpenCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenCall")
            .field("call_id", &self.record.call_id)
            .field("caller", &self.record.caller)
            .finish_non_exhaustive()
    }
}

/// What it means when the guard is dropped without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropKind {
    /// An early return.
    Unfinished,
    /// A future that nobody polls any more.
    Cancelled,
}

impl CallGuard {
    /// A guard that records nothing.
    pub(crate) const fn off() -> Self {
        Self { open: None }
    }

    pub(crate) fn open(
        recorder: &Arc<Recorder>,
        caller: &str,
        provider: &str,
        model: &str,
        site: &Location<'_>,
    ) -> Self {
        let started_at = recorder.clock.now();
        let opened_ns = recorder.clock.monotonic_ns();
        // A clock before 1970 cannot be an id's time; the row then starts at the epoch.
        let id = crate::identity::new_call_id(started_at.max(Timestamp::EPOCH));
        let mut record = CallRecord::new(id, Layer::Guard, 0);
        recorder.scope.stamp(&mut record);
        record.caller = some_text(caller);
        record.provider = some_text(provider);
        record.model_requested = some_text(model);
        record.model.clone_from(&record.model_requested);
        record.call_site = Some(call_site(site));
        recorder.meet_caller(&mut record);
        Self {
            open: Some(Box::new(OpenCall {
                recorder: Arc::clone(recorder),
                record,
                meta: Meta::default(),
                error_text: None,
                on_drop: DropKind::Unfinished,
                opened_ns,
            })),
        }
    }

    /// The call's id, to be given to a call within or after it; `None` while recording is off.
    pub fn id(&self) -> Option<CallId> {
        self.open.as_ref().map(|open| open.record.call_id)
    }

    /// Ends the call: `ok`, unless a setter gave it another status.
    pub fn finish(mut self) {
        if let Some(open) = self.open.take() {
            open.settle(None);
        }
    }

    /// Ends the call as an error. Of `error` the row keeps the name of its type, never its text.
    pub fn fail<E: ?Sized>(self, error: &E) {
        self.fail_as(error, ErrorReport::new(ErrorKind::Other));
    }

    /// Ends the call as an error that knows its class: the row keeps kind, HTTP status and code.
    pub fn fail_classified<E: ErrorClass + ?Sized>(self, error: &E) {
        let report = guarded(|| error.error_report());
        self.fail_as(error, report.unwrap_or(ErrorReport::new(ErrorKind::Other)));
    }

    /// Ends the call as an error whose class is known here.
    ///
    /// ```
    /// # let call = callmeter::call("sales_copy", "openai", "gpt-5-mini");
    /// use callmeter::ErrorReport;
    /// let error = std::io::Error::other("…");
    /// call.fail_as(&error, ErrorReport::of_http_status(503));
    /// ```
    pub fn fail_as<E: ?Sized>(mut self, error: &E, report: ErrorReport) {
        let _ = error;
        if let Some(mut open) = self.open.take() {
            open.record
                .error
                .get_or_insert_with(|| short_type_name::<E>());
            open.settle(Some(report));
        }
    }

    pub(crate) fn set_on_drop(&mut self, kind: DropKind) {
        if let Some(open) = &mut self.open {
            open.on_drop = kind;
        }
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        let kind = if std::thread::panicking() {
            ErrorKind::Panic
        } else {
            match open.on_drop {
                DropKind::Unfinished => ErrorKind::Unfinished,
                DropKind::Cancelled => ErrorKind::Cancelled,
            }
        };
        open.settle(Some(ErrorReport::new(kind)));
    }
}

impl OpenCall {
    /// Makes the row and hands it over.
    fn settle(mut self: Box<Self>, failure: Option<ErrorReport>) {
        let elapsed_ns = self
            .recorder
            .clock
            .monotonic_ns()
            .saturating_sub(self.opened_ns);
        let record = &mut self.record;
        record.duration_us = Some(elapsed_ns / 1_000);
        if let Some(report) = failure {
            record.status = Some(if report.kind == ErrorKind::Cancelled {
                Status::Cancelled
            } else {
                Status::Error
            });
            // What the caller said of the error before is the better word, unless it is only that
            // there was one.
            if record.error_kind.is_none() {
                record.error_kind = Some(report.kind);
            }
            record.http_status = report.http_status.or(record.http_status);
            record.error_detail = report.code.or(record.error_detail.take());
        }
        if record.status.is_none() {
            record.status = Some(Status::Ok);
        }
        if !self.meta.is_empty() {
            record.meta = Some(std::mem::take(&mut self.meta));
        }
        record.bound();
        self.recorder.hand_over(self.record);
    }

    pub(crate) fn flag(&mut self, flag: Flags) {
        self.record.flags.insert(flag);
    }
}

/// The name of a type without the paths of its modules, at most 256 characters.
pub(crate) fn short_type_name<E: ?Sized>() -> String {
    let full = std::any::type_name::<E>();
    let mut short = String::with_capacity(full.len());
    let mut word = String::new();
    for c in full.chars() {
        if c.is_alphanumeric() || c == '_' || c == ':' {
            word.push(c);
        } else {
            short.push_str(word.rsplit("::").next().unwrap_or_default());
            word.clear();
            short.push(c);
        }
    }
    short.push_str(word.rsplit("::").next().unwrap_or_default());
    callmeter_core::clean_text(&short, 256).0.into_owned()
}

fn some_text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// File and line relative to the package root.
fn call_site(site: &Location<'_>) -> String {
    let file = site.file();
    let from = ["src/", "tests/", "examples/", "benches/"]
        .iter()
        .filter_map(|root| {
            let at = file.rfind(root)?;
            let before = file.get(..at)?;
            (before.is_empty() || before.ends_with('/')).then_some(at)
        })
        .min()
        .unwrap_or(0);
    format!("{}:{}", file.get(from..).unwrap_or(file), site.line())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_s_name_loses_its_paths_and_keeps_its_shape() {
        assert_eq!(short_type_name::<std::io::Error>(), "Error");
        assert_eq!(
            short_type_name::<Box<dyn std::error::Error>>(),
            "Box<dyn Error>"
        );
        assert_eq!(short_type_name::<str>(), "str");
    }
}
