//! What a binding for another language needs beyond the interface. No part of it: may change at any time.
//!
//! ```text
//! open ──▶ OpenedCall ──▶ into_guard ──┬─ finish_as             what most calls say, at once
//!                                      └─ setters ──▶ finish, or fail_timed
//! ```
//! A binding keeps what its host says in objects of its own until the call ends; so what it holds meanwhile
//! is only where the call lies in the flight buffer. Dropped without a word it is an unfinished call.

use std::sync::atomic::Ordering;
use std::time::Duration;

use callmeter_core::{CallId, EnvVar, Field, TokenCount};

use crate::global;
use crate::guard::{CallGuard, Names, open_by};
use crate::pipeline::Callmeter;
use crate::report::ErrorReport;
pub use crate::site::CallSite;
use crate::site::Place;
use crate::station;

/// The variables that switch recording off, each by itself.
pub const SWITCHES: [&str; 2] = [EnvVar::LegacyEnabled.name(), EnvVar::Enabled.name()];

/// A call in flight, of which nothing more has been said yet.
#[derive(Debug)]
pub struct OpenedCall {
    guard: CallGuard,
    call_id: CallId,
    start: CallStart,
}

/// When a call began, also for a forked child that is not to end it.
#[derive(Clone, Copy, Debug)]
pub struct CallStart {
    buffer: u64,
    opened_ns: u64,
}

impl CallStart {
    /// How long ago that is, in microseconds; 0 when the recorder is no more.
    pub fn elapsed_us(self) -> u64 {
        station::with(self.buffer, |station| station.recorder.time.ns())
            .map_or(0, |now| now.saturating_sub(self.opened_ns) / 1_000)
    }
}

/// Whether calls of the process's recorder are recorded. One load.
#[inline]
pub fn is_on() -> bool {
    global::current().load(Ordering::Relaxed) != 0
}

/// Opens a call on the process's recorder; one that began `ago` if it is told of afterwards. `None` while
/// nothing is recorded.
#[inline]
pub fn open(
    caller: &str,
    provider: &str,
    model: &str,
    site: Option<&'static CallSite>,
    ago: Duration,
) -> Option<OpenedCall> {
    let site = site.map_or(Place::Unknown, Place::Foreign);
    let ago_us = u64::try_from(ago.as_micros()).unwrap_or(u64::MAX);
    let names = Names {
        caller,
        provider,
        model,
    };
    let (slot, call_id, opened_ns) = open_by(global::current(), |station| {
        station.open_earlier(&names, site, ago_us)
    })?;
    let buffer = slot.buffer_id();
    Some(OpenedCall {
        guard: CallGuard::of(slot),
        call_id,
        start: CallStart { buffer, opened_ns },
    })
}

impl OpenedCall {
    /// The call's id.
    pub const fn id(&self) -> CallId {
        self.call_id
    }

    /// When the call began.
    pub const fn start(&self) -> CallStart {
        self.start
    }

    /// The guard of this call, to be told everything and to be ended.
    #[inline]
    pub fn into_guard(self) -> CallGuard {
        self.guard
    }
}

/// What most calls say by their end. A text that is empty says nothing.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The provider that really answered.
    pub provider: &'a str,
    /// The model that really answered.
    pub model: &'a str,
    /// The host's own id of the request.
    pub request_id: &'a str,
    /// Tokens of prompt and answer.
    pub tokens: (TokenCount, TokenCount),
    /// Whether the host answered from its cache.
    pub cache_hit: Option<bool>,
    /// Whether retrieved documents were used.
    pub rag_hit: Option<bool>,
    /// The status; `ok` without one.
    pub status: &'a str,
}

impl CallGuard {
    /// Ends the call with all that is known of it; says how long it was, in microseconds. The same as the setters
    /// and [`finish_timed`](Self::finish_timed), but the call is looked up once for all of them.
    /// `None` where it is no call of this process.
    #[doc(hidden)]
    pub fn finish_as(mut self, outcome: &Outcome<'_>) -> Option<u64> {
        let open = self.open_call_mut()?;
        open.tell(|call| {
            call.text(Field::Provider, outcome.provider);
            call.text(Field::Model, outcome.model);
            call.text(Field::RequestId, outcome.request_id);
            if let Some(hit) = outcome.cache_hit {
                call.put(Field::CacheHit, u64::from(hit).into());
            }
            if let Some(hit) = outcome.rag_hit {
                call.put(Field::RagHit, u64::from(hit).into());
            }
            call.text(Field::Status, outcome.status);
        });
        if outcome.tokens != (TokenCount::Absent, TokenCount::Absent) {
            open.put_tokens(outcome.tokens.0, outcome.tokens.1);
        }
        open.settle_timed(None)
    }

    /// Ends the call; says how long it was, in microseconds. `None` where it is no call of this process.
    #[doc(hidden)]
    #[inline]
    pub fn finish_timed(mut self) -> Option<u64> {
        self.open_call_mut()?.settle_timed(None)
    }

    /// Ends the call, which lasted so many microseconds.
    #[doc(hidden)]
    pub fn finish_lasting(mut self, lasted_us: u64) -> Option<u64> {
        self.open_call_mut()?.settle_timed(Some(lasted_us))
    }

    /// Ends the call as [`fail_with`](Self::fail_with) does, for an error of which more is known than its class
    /// and text; says how long it was, in microseconds.
    #[doc(hidden)]
    pub fn fail_timed(mut self, class: &str, text: &str, report: &ErrorReport) -> Option<u64> {
        let open = self.open_call_mut()?;
        open.note_error(class, text, report);
        open.settle_timed(None)
    }

    /// When the first token came, in microseconds from the start on; later ones change nothing.
    #[doc(hidden)]
    pub fn first_token_at(&mut self, ttft_us: Option<u64>) -> &mut Self {
        if let (Some(open), Some(ttft_us)) = (self.open_call_mut(), ttft_us) {
            open.tell(|call| call.set_if_new(Field::TtftUs, ttft_us));
        }
        self
    }
}

impl Callmeter {
    /// What stands for a prompt, as `privacy.prompt_hash` says; `None` where nothing should, or for none.
    #[doc(hidden)]
    pub fn prompt_hash(&self, prompt: &str) -> Option<String> {
        self.recorder.privacy.hash_of_prompt(prompt)
    }

    /// Puts the threads of this recorder to rest, so that a process can fork without them: everything that was
    /// finished before is in the spool. Says whether all of them rest within `limit`; what does not, as a
    /// shipper in the middle of a slow store, goes on.
    #[doc(hidden)]
    pub fn park(&self, limit: Duration) -> bool {
        self.park_threads(limit)
    }

    /// Lets the threads of this recorder work again after [`park`](Self::park). In a forked child, whose
    /// threads are started by its first call, it does nothing.
    #[doc(hidden)]
    pub fn resume(&self) {
        self.resume_threads();
    }
}
