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

use callmeter_core::{CallId, ErrorKind, Field};
use callmeter_flight::{FlightSlot, Refused, Value};

use crate::late::Rest;
use crate::pipeline;
use crate::recorder::Recorder;
use crate::report::{ErrorClass, ErrorReport};
use crate::run::guarded;
use crate::station;

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
        let mut guard = Self::off();
        // A buffer may be replaced in between, and a forked child makes one of its own.
        for _ in 0..4 {
            let id = current.load(Ordering::Relaxed);
            if id == 0 {
                break;
            }
            match station::with(id, |station| station.open(names, site)) {
                Some(Ok(slot)) => {
                    guard.call.slot = Some(slot);
                    break;
                }
                Some(Err(Refused::Forked)) => pipeline::renew_after_fork(id),
                // Counted in the buffer.
                Some(Err(_)) => break,
                None => {}
            }
        }
        guard
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

    pub(crate) fn set_on_drop(&mut self, kind: DropKind) {
        if let Some(slot) = &mut self.call.slot {
            slot.set_marked(kind == DropKind::Cancelled);
        }
    }
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
            station.finish(slot, rest.as_deref_mut());
        });
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
