//! The guard around one call: opened before, told what happens, finished after.
//!
//! ```text
//! open ── setters ──┬─ finish()          ok, or the status that was set
//!                   ├─ fail(&error)      error, also where a fallback was set before
//!                   └─ dropped           error: panic while unwinding, else unfinished;
//!                                        cancelled when run() was dropped midway
//! ```
//! Every way out makes exactly one row (promise CM-3), which survives the process from the moment that it
//! returns (CM-4); none of them panics, blocks, fails or, as long as texts are short, allocates (CM-1,
//! CM-2). A guard made while recording is off does nothing; one made while it was on finishes as it was
//! opened (CM-9), on any thread. Setters are in [`setters`](crate::setters), whole calls in
//! [`run`](crate::run).

use std::sync::atomic::{AtomicU64, Ordering};

use callmeter_core::{CallId, ErrorKind, ErrorPolicy, Field, Flags, ScrubbedError};
use callmeter_flight::{FlightSlot, Refused};

use crate::late::Late;
use crate::pipeline;
use crate::recorder::Recorder;
use crate::report::{ErrorClass, ErrorReport};
use crate::run::guarded;
use crate::site::Place;
use crate::station::{self, Station};

/// One call in flight. Made by [`call`](crate::call).
#[must_use = "a guard that is dropped at once records an unfinished call"]
#[derive(Debug)]
pub struct CallGuard {
    pub(crate) open: Option<OpenCall>,
}

/// A call in flight: its slot in the flight buffer, and what is told of it meanwhile.
pub(crate) struct OpenCall {
    /// `None` once the call is ended.
    slot: Option<FlightSlot>,
    call_id: CallId,
    opened_ns: u64,
    pub(crate) on_drop: DropKind,
    pub(crate) late: Late,
}

impl std::fmt::Debug for OpenCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenCall")
            .field("call_id", &self.call_id)
            .finish_non_exhaustive()
    }
}

/// What a call in flight is known by.
pub(crate) struct Taken {
    pub(crate) slot: FlightSlot,
    pub(crate) call_id: CallId,
    pub(crate) opened_ns: u64,
}

impl Taken {
    /// Takes a slot in the buffer whose id `current` says, for a call that began `ago_us` microseconds ago;
    /// `None` is off. `benches/guard.rs` watches it.
    #[inline]
    pub(crate) fn open(
        current: &AtomicU64,
        names: (&str, &str, &str),
        site: Place,
        ago_us: u64,
    ) -> Option<Self> {
        Self::open_by(current, |station| station.open(names, site, ago_us))
    }

    /// The same, `open` being what takes the slot.
    #[inline(always)]
    fn open_by(
        current: &AtomicU64,
        open: impl Fn(&Station) -> Result<(FlightSlot, CallId, u64), Refused>,
    ) -> Option<Self> {
        // A buffer may be replaced in between, and a forked child makes one of its own.
        for _ in 0..4 {
            let id = current.load(Ordering::Relaxed);
            if id == 0 {
                break;
            }
            match station::with(id, &open) {
                Some(Ok((slot, call_id, opened_ns))) => {
                    return Some(Self {
                        slot,
                        call_id,
                        opened_ns,
                    });
                }
                Some(Err(Refused::Forked)) => pipeline::renew_after_fork(id),
                // Counted in the buffer.
                Some(Err(_)) => break,
                None => {}
            }
        }
        None
    }
}

impl Taken {
    pub(crate) fn elapsed_us(&self) -> u64 {
        station::with(self.slot.buffer_id(), |station| station.recorder.time.ns())
            .map_or(0, |now| now.saturating_sub(self.opened_ns) / 1_000)
    }
}

impl From<Taken> for CallGuard {
    #[inline]
    fn from(taken: Taken) -> Self {
        Self {
            open: Some(OpenCall {
                slot: Some(taken.slot),
                call_id: taken.call_id,
                opened_ns: taken.opened_ns,
                on_drop: DropKind::Unfinished,
                late: Late::default(),
            }),
        }
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

    /// Opens a guard in the buffer whose id `current` says; 0 is off. `benches/guard.rs` watches it.
    #[inline(never)]
    pub(crate) fn open(current: &AtomicU64, names: (&str, &str, &str), site: Place) -> Self {
        Taken::open(current, names, site, 0).map_or(Self::off(), Self::from)
    }

    /// The same, `open` being what takes the slot.
    pub(crate) fn open_by(
        current: &AtomicU64,
        open: impl Fn(&Station) -> Result<(FlightSlot, CallId, u64), Refused>,
    ) -> Self {
        Taken::open_by(current, open).map_or(Self::off(), Self::from)
    }

    /// The call's id, to be given to a call within or after it; `None` while nothing is recorded of it:
    /// recording is off, or the flight buffer was full.
    pub fn id(&self) -> Option<CallId> {
        self.open.as_ref().map(|open| open.call_id)
    }

    /// Ends the call: `ok`, unless a setter gave it another status.
    #[inline]
    pub fn finish(mut self) {
        if let Some(open) = &mut self.open {
            open.settle(None);
        }
    }

    /// Ends the call as given up by the host: `cancelled`.
    pub fn cancel(mut self) {
        self.set_on_drop(DropKind::Cancelled);
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
        if let Some(open) = &mut self.open {
            if !open.late.has_text(Field::Error) {
                let name = TypeName::of::<E>();
                open.late.put_text(Field::Error, name.as_str());
            }
            open.settle(Some(report));
        }
    }

    /// Ends the call as an error that is known by the name of its class and a text, as the exceptions of
    /// other languages are. An error that was told before stands. Under the policy `class` the row keeps class,
    /// code and HTTP status; under `scrubbed` also what is known of the text by template; the kind
    /// is derived from both.
    ///
    /// ```
    /// # let call = callmeter::call("sales_copy", "openai", "gpt-5-mini");
    /// call.fail_with("ConnectError", "[Errno 111] Connection refused");
    /// ```
    pub fn fail_with(mut self, class: &str, message: &str) {
        if let Some(open) = &mut self.open {
            open.fail_with(class, message, &ErrorReport::new(ErrorKind::Other));
        }
    }

    pub(crate) fn set_on_drop(&mut self, kind: DropKind) {
        if let Some(open) = &mut self.open {
            open.on_drop = kind;
        }
    }
}

impl Drop for CallGuard {
    #[inline]
    fn drop(&mut self) {
        if let Some(open) = &mut self.open
            && open.slot.is_some()
        {
            open.leave();
        }
    }
}

impl OpenCall {
    /// The buffer that the call is in.
    pub(crate) fn buffer_id(&self) -> Option<u64> {
        self.slot.as_ref().map(FlightSlot::buffer_id)
    }

    /// Does something with the recorder; `None` when it is no more.
    pub(crate) fn with_recorder<T>(&self, action: impl FnOnce(&Recorder) -> T) -> Option<T> {
        let buffer = self.buffer_id()?;
        station::with(buffer, |station| action(&station.recorder))
    }

    /// How long the call has been open.
    pub(crate) fn elapsed_us(&self) -> u64 {
        self.with_recorder(|recorder| recorder.time.ns())
            .map_or(0, |now| now.saturating_sub(self.opened_ns) / 1_000)
    }

    /// Ends the call; says how long it was, in microseconds. `benches/guard.rs` watches it.
    #[inline]
    pub(crate) fn settle(&mut self, failure: Option<ErrorReport>) -> Option<u64> {
        self.settle_after(failure, None)
    }

    /// Ends the call; `lasted_us` is how long it was, where that is known better than by the clock.
    #[inline(never)]
    pub(crate) fn settle_after(
        &mut self,
        failure: Option<ErrorReport>,
        lasted_us: Option<u64>,
    ) -> Option<u64> {
        let slot = self.slot.take()?;
        if let Some(report) = failure {
            self.note(report);
        }
        station::with(slot.buffer_id(), |station| {
            let elapsed_ns = station.recorder.time.ns().saturating_sub(self.opened_ns);
            let elapsed_us = lasted_us.unwrap_or(elapsed_ns / 1_000);
            station.finish(slot, &self.late.ended(elapsed_us));
            elapsed_us
        })
    }

    /// Ends the call whose guard was dropped without a word.
    #[cold]
    fn leave(&mut self) {
        let kind = if std::thread::panicking() {
            ErrorKind::Panic
        } else {
            match self.on_drop {
                DropKind::Unfinished => ErrorKind::Unfinished,
                DropKind::Cancelled => ErrorKind::Cancelled,
            }
        };
        self.settle(Some(ErrorReport::new(kind)));
    }

    #[cold]
    fn note(&mut self, report: ErrorReport) {
        let late = &mut self.late;
        late.fail(report.kind);
        // What the caller said of the error before is the better word, unless it is only that there was
        // one.
        late.error_kind = late.error_kind.or(Some(report.kind));
        late.http_status = report.http_status.or(late.http_status);
        if let Some(code) = &report.code {
            late.put_text(Field::ErrorDetail, code);
        }
    }

    /// The host says that the call failed.
    #[cold]
    pub(crate) fn say_error(&mut self, text: &str) {
        let policy = self.error_policy();
        let late = &mut self.late;
        let (own, _) = callmeter_core::clean_text(text, 2_000);
        late.put_error_text(own.into_owned());
        late.fail(ErrorKind::Caller);
        late.error_kind = Some(ErrorKind::Caller);
        if policy == ErrorPolicy::Scrubbed && !text.trim().is_empty() {
            let error = ScrubbedError::of(None, text);
            self.keep(&error);
            self.late.error_kind = error.kind().or(Some(ErrorKind::Caller));
            if let Some(text) = error.text(policy) {
                self.late.put_text(Field::Error, text);
            }
        }
    }

    /// `told` is what is known of the error beside its class and text; kind `other` says nothing.
    #[cold]
    pub(crate) fn fail_with(
        &mut self,
        class: &str,
        message: &str,
        told: &ErrorReport,
    ) -> Option<u64> {
        let policy = self.error_policy();
        let error = ScrubbedError::of(Some(class), message);
        self.late.http_status = self.late.http_status.or(told.http_status);
        self.keep(&error);
        if let Some(code) = &told.code {
            self.late.put_text(Field::ErrorDetail, code);
        }
        let said = self
            .late
            .error_kind
            .filter(|kind| *kind != ErrorKind::Caller);
        let told = Some(told.kind).filter(|kind| *kind != ErrorKind::Other);
        let kind = said.or(told).or(error.kind()).unwrap_or(ErrorKind::Other);
        self.late.error_kind = Some(kind);
        if !self.late.has_text(Field::Error)
            && let Some(text) = error.text(policy)
        {
            self.late.put_text(Field::Error, text);
        }
        self.settle(Some(ErrorReport::new(kind)))
    }

    fn error_policy(&self) -> ErrorPolicy {
        let policy = self.with_recorder(|recorder| recorder.privacy.errors);
        policy.unwrap_or_default()
    }

    /// Keeps an error's code and HTTP status, which every policy lets through.
    fn keep(&mut self, error: &ScrubbedError) {
        self.late.http_status = self.late.http_status.or(error.http_status());
        if let Some(code) = error.code() {
            self.late.put_text(Field::ErrorDetail, code);
        }
    }

    pub(crate) fn flag(&mut self, flag: Flags) {
        self.late.flags.insert(flag);
    }
}

/// The name of a type without the paths of its modules, at most 256 bytes.
pub(crate) struct TypeName {
    bytes: [u8; Self::ROOM],
    len: usize,
}

impl TypeName {
    const ROOM: usize = 256;

    pub(crate) fn of<E: ?Sized>() -> Self {
        let mut name = Self {
            bytes: [0; Self::ROOM],
            len: 0,
        };
        let mut word_start = 0;
        for c in std::any::type_name::<E>().chars() {
            if c == ':' {
                name.len = word_start;
                continue;
            }
            if !name.push(c) {
                break;
            }
            if !c.is_alphanumeric() && c != '_' {
                word_start = name.len;
            }
        }
        name
    }

    /// Appends a character; says `false` where there is no room.
    fn push(&mut self, c: char) -> bool {
        let end = self.len.saturating_add(c.len_utf8());
        let Some(place) = self.bytes.get_mut(self.len..end) else {
            return false;
        };
        c.encode_utf8(place);
        self.len = end;
        true
    }

    pub(crate) fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.len).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_s_name_loses_its_paths_and_keeps_its_shape() {
        assert_eq!(TypeName::of::<std::io::Error>().as_str(), "Error");
        assert_eq!(
            TypeName::of::<Box<dyn std::error::Error>>().as_str(),
            "Box<dyn Error>"
        );
        assert_eq!(
            TypeName::of::<(Vec<std::fmt::Error>, [u8; 4])>().as_str(),
            "(Vec<Error>, [u8; 4])"
        );
        assert_eq!(TypeName::of::<str>().as_str(), "str");
    }
}
