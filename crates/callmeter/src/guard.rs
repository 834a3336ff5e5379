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

use callmeter_core::{CallId, ErrorKind, Field, Flags, Timestamp};
use callmeter_flight::{FlightSlot, Refused};

use crate::late::Late;
use crate::pipeline;
use crate::recorder::Recorder;
use crate::report::{ErrorClass, ErrorReport};
use crate::run::guarded;
use crate::station;

/// One call in flight. Made by [`call`](crate::call).
#[must_use = "a guard that is dropped at once records an unfinished call"]
#[derive(Debug)]
pub struct CallGuard {
    /// Blank while nothing is recorded. No `Option`: its tag would be written narrow and read wide.
    call: OpenCall,
}

/// A call in flight: its slot in the flight buffer, and what is told of it meanwhile.
pub(crate) struct OpenCall {
    /// `None` while nothing is recorded, and once the call is ended.
    pub(crate) slot: Option<FlightSlot>,
    pub(crate) call_id: CallId,
    pub(crate) opened_ns: u64,
    pub(crate) on_drop: DropKind,
    pub(crate) late: Late,
}

/// What a call is opened with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    pub(crate) caller: &'a str,
    pub(crate) provider: &'a str,
    pub(crate) model: &'a str,
}

impl std::fmt::Debug for OpenCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenCall")
            .field("call_id", &self.call_id)
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
    #[inline]
    pub(crate) fn off() -> Self {
        Self {
            call: OpenCall::blank(),
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
        // Filled in where it will lie: copied, its words would wait for their own stores.
        let mut guard = Self::off();
        // A buffer may be replaced in between, and a forked child makes one of its own.
        for _ in 0..4 {
            let id = current.load(Ordering::Relaxed);
            if id == 0 {
                break;
            }
            let call = &mut guard.call;
            match station::with(id, |station| station.open(call, names, site)) {
                Some(Err(Refused::Forked)) => pipeline::renew_after_fork(id),
                // Or counted in the buffer.
                Some(_) => break,
                None => {}
            }
        }
        guard
    }

    /// The call's id, to be given to a call within or after it; `None` while nothing is recorded of it:
    /// recording is off, or the flight buffer was full.
    pub fn id(&self) -> Option<CallId> {
        self.open_call().map(|open| open.call_id)
    }

    /// Ends the call: `ok`, unless a setter gave it another status.
    // Never inline: a call is handed its guard where it lies, and inlined code a copy. `benches/guard.rs`
    // watches it.
    #[inline(never)]
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
            if !open.late.has(Field::Error) {
                let name = TypeName::of::<E>();
                open.put_text(Field::Error, name.as_str());
            }
            open.settle_failed(report);
        }
    }

    pub(crate) fn set_on_drop(&mut self, kind: DropKind) {
        if let Some(open) = self.open_call_mut() {
            open.on_drop = kind;
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
    /// A call that is not open yet.
    #[inline]
    fn blank() -> Self {
        Self {
            slot: None,
            call_id: CallId::new(Timestamp::EPOCH, 0),
            opened_ns: 0,
            on_drop: DropKind::Unfinished,
            late: Late::default(),
        }
    }

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

    /// Ends the call.
    #[inline]
    fn settle(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        let late = &mut self.late;
        station::with(slot.buffer_id(), |station| {
            let elapsed_ns = station.recorder.time.ns().saturating_sub(self.opened_ns);
            late.end(elapsed_ns / 1_000);
            // In a forked child the call is its parent's, and the parent ends it.
            let _ = if late.has_more() {
                station.finish_more(slot, &late.pack())
            } else {
                station.buffer.finish_told(slot, &late.told, &())
            };
        });
    }

    /// Ends the call as a failure.
    #[cold]
    fn settle_failed(&mut self, report: ErrorReport) {
        self.put_failure(report.kind);
        // What the caller said of the error before is the better word, unless it is only that there was
        // one.
        if !self.late.has(Field::ErrorKind) {
            self.late.told.error_kind(report.kind);
        }
        if let Some(status) = report.http_status {
            self.late.told.http_status(status);
        }
        if let Some(code) = &report.code {
            self.put_text(Field::ErrorDetail, code);
        }
        self.settle();
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
        self.settle_failed(ErrorReport::new(kind));
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
