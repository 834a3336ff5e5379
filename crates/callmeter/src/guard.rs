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

use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};

use callmeter_core::{CallId, ErrorKind, ErrorPolicy, Field, ScrubbedError};
use callmeter_flight::{FlightSlot, Refused, Value};

use crate::late::{Rest, Telling};
use crate::pipeline;
use crate::recorder::Recorder;
use crate::report::{ErrorClass, ErrorReport};
use crate::run::guarded;
use crate::site::Place;
use crate::station::{self, Station};

/// One call in flight. Made by [`call`](crate::call). Two words: it moves in registers.
#[must_use = "a guard that is dropped at once records an unfinished call"]
pub struct CallGuard {
    call: OpenCall,
}

/// A call in flight: its slot in the flight buffer, and what is told of it and finds no room there.
pub(crate) struct OpenCall {
    /// `None` while nothing is recorded, and once the call is ended. Marked: dropped without a word it is
    /// cancelled.
    pub(crate) slot: Option<FlightSlot>,
    pub(crate) rest: Option<Box<Rest>>,
}

const _: () = assert!(size_of::<CallGuard>() == 2 * size_of::<usize>() || size_of::<usize>() < 8);

impl std::fmt::Debug for CallGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallGuard")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

/// What a call is opened with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    pub(crate) caller: &'a str,
    pub(crate) provider: &'a str,
    pub(crate) model: &'a str,
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
    #[inline]
    pub(crate) const fn off() -> Self {
        Self {
            call: OpenCall {
                slot: None,
                rest: None,
            },
        }
    }

    /// The call, unless the guard is off.
    #[inline]
    pub(crate) fn open_call(&self) -> Option<&OpenCall> {
        self.call.slot.is_some().then_some(&self.call)
    }

    /// The call, unless the guard is off.
    #[inline]
    pub(crate) fn open_call_mut(&mut self) -> Option<&mut OpenCall> {
        self.call.slot.is_some().then_some(&mut self.call)
    }

    /// Opens a guard in the buffer whose id `current` says; 0 is off. `benches/guard.rs` watches it.
    #[inline(never)]
    pub(crate) fn open(
        current: &AtomicU64,
        names: &Names<'_>,
        site: &'static Location<'static>,
    ) -> Self {
        // Which kind of place it is, is known while compiling.
        let slot = open_by(current, |station| station.open(names, Place::Rust(site)));
        slot.map_or(Self::off(), Self::of)
    }

    /// The guard of a call that has its slot.
    #[inline]
    pub(crate) const fn of(slot: FlightSlot) -> Self {
        Self {
            call: OpenCall {
                slot: Some(slot),
                rest: None,
            },
        }
    }

    /// The call's id, to be given to a call within or after it; `None` while nothing is recorded of it:
    /// recording is off, the flight buffer was full, or this is a forked child and the call its parent's.
    pub fn id(&self) -> Option<CallId> {
        let slot = self.call.slot.as_ref()?;
        let id = station::with(slot.buffer_id(), |station| {
            station.buffer.open_slot(slot).ok()?.call_id()
        });
        id.flatten()
    }

    /// Ends the call: `ok`, unless a setter gave it another status.
    #[inline]
    pub fn finish(mut self) {
        if let Some(open) = self.open_call_mut() {
            open.settle();
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
        if let Some(open) = self.open_call_mut() {
            open.tell(|call| {
                if !call.has(Field::Error) {
                    call.text(Field::Error, TypeName::of::<E>().as_str());
                }
            });
            open.settle_failed(&report);
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
        if let Some(open) = self.open_call_mut() {
            open.note_error(class, message, &ErrorReport::new(ErrorKind::Other));
            open.settle();
        }
    }

    pub(crate) fn set_on_drop(&mut self, kind: DropKind) {
        if let Some(slot) = &mut self.call.slot {
            slot.set_marked(kind == DropKind::Cancelled);
        }
    }
}

/// Takes a slot in the buffer whose id `current` says, by way of `open`; `None` is off.
#[inline(always)]
pub(crate) fn open_by<T>(
    current: &AtomicU64,
    open: impl Fn(&Station) -> Result<T, Refused>,
) -> Option<T> {
    // A buffer may be replaced in between, and a forked child makes one of its own.
    for _ in 0..4 {
        let id = current.load(Ordering::Relaxed);
        if id == 0 {
            break;
        }
        match station::with(id, &open) {
            Some(Ok(opened)) => return Some(opened),
            Some(Err(Refused::Forked)) => pipeline::renew_after_fork(id),
            // Counted in the buffer.
            Some(Err(_)) => break,
            None => {}
        }
    }
    None
}

impl Drop for CallGuard {
    #[inline]
    fn drop(&mut self) {
        if let Some(open) = self.open_call_mut() {
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

    /// The first token has come.
    #[inline(never)]
    pub(crate) fn note_first_token(&mut self) {
        let Some(slot) = &self.slot else { return };
        station::with(slot.buffer_id(), |station| {
            if let Ok(slot) = station.buffer.open_slot(slot)
                && !slot.has(Field::TtftUs)
            {
                let elapsed_ns = station.recorder.time.ns().saturating_sub(slot.opened_ns());
                // A number has a place of its own: there is always room.
                let _ = slot.tell(Field::TtftUs, Value::Int(elapsed_ns / 1_000));
            }
        });
    }

    /// Ends the call. `benches/guard.rs` watches it.
    #[inline(never)]
    fn settle(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        let mut rest = self.rest.take();
        station::with(slot.buffer_id(), |station| {
            station.finish(slot, rest.as_deref_mut(), None);
        });
    }

    /// Ends the call and says how long it was, in microseconds: `lasted_us`, where that is known better than by
    /// the clock. `None` where it is no call of this process.
    #[inline(never)]
    pub(crate) fn settle_timed(&mut self, lasted_us: Option<u64>) -> Option<u64> {
        let slot = self.slot.take()?;
        let mut rest = self.rest.take();
        let lasted = station::with(slot.buffer_id(), |station| {
            station.finish(slot, rest.as_deref_mut(), lasted_us)
        });
        lasted.flatten()
    }

    /// Ends the call as a failure.
    #[cold]
    fn settle_failed(&mut self, report: &ErrorReport) {
        self.tell(|call| {
            call.fail(report.kind);
            // What the caller said of the error before is the better word, unless it is only that there was
            // one.
            call.set_if_new(Field::ErrorKind, report.kind);
            if let Some(status) = report.http_status {
                call.put(Field::HttpStatus, status.into());
            }
            if let Some(code) = &report.code {
                call.text(Field::ErrorDetail, code);
            }
        });
        self.settle();
    }

    /// The host says that the call failed.
    #[cold]
    pub(crate) fn say_error(&mut self, text: &str) {
        let policy = self.error_policy();
        let (own, _) = callmeter_core::clean_text(text, 2_000);
        self.put_error_text(own.into_owned());
        let is_kept = policy == ErrorPolicy::Scrubbed && !text.trim().is_empty();
        let error = is_kept.then(|| ScrubbedError::of(None, text));
        let kind = error.as_ref().and_then(ScrubbedError::kind);
        self.tell(|call| {
            call.fail(ErrorKind::Caller);
            call.put(Field::ErrorKind, kind.unwrap_or(ErrorKind::Caller).into());
            if let Some(error) = &error {
                keep(call, error);
                if let Some(text) = error.text(policy) {
                    call.text(Field::Error, text);
                }
            }
        });
    }

    /// The call failed by an error of that class and text. `told` is what is known of it beside them; kind `other`
    /// says nothing.
    #[cold]
    pub(crate) fn note_error(&mut self, class: &str, message: &str, told: &ErrorReport) {
        let policy = self.error_policy();
        let error = ScrubbedError::of(Some(class), message);
        self.tell(|call| {
            if let Some(status) = told.http_status {
                call.set_if_new(Field::HttpStatus, status);
            }
            keep(call, &error);
            if let Some(code) = &told.code {
                call.text(Field::ErrorDetail, code);
            }
            let said = call.error_kind().filter(|kind| *kind != ErrorKind::Caller);
            let told = Some(told.kind).filter(|kind| *kind != ErrorKind::Other);
            let kind = said.or(told).or(error.kind()).unwrap_or(ErrorKind::Other);
            call.put(Field::ErrorKind, kind.into());
            if !call.has(Field::Error)
                && let Some(text) = error.text(policy)
            {
                call.text(Field::Error, text);
            }
            call.fail(kind);
        });
    }

    fn error_policy(&self) -> ErrorPolicy {
        let policy = self.with_recorder(|recorder| recorder.privacy.errors);
        policy.unwrap_or_default()
    }

    /// Ends the call whose guard was dropped without a word.
    #[cold]
    fn leave(&mut self) {
        let is_marked = self.slot.as_ref().is_some_and(FlightSlot::is_marked);
        let kind = if std::thread::panicking() {
            ErrorKind::Panic
        } else if is_marked {
            ErrorKind::Cancelled
        } else {
            ErrorKind::Unfinished
        };
        self.settle_failed(&ErrorReport::new(kind));
    }
}

/// Keeps an error's code and HTTP status, which every policy lets through.
fn keep(call: &mut Telling<'_>, error: &ScrubbedError) {
    if let Some(status) = error.http_status() {
        call.set_if_new(Field::HttpStatus, status);
    }
    if let Some(code) = error.code() {
        call.text(Field::ErrorDetail, code);
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
