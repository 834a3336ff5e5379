//! One try of a call: from the moment that an upstream is asked to the row, whatever happens in between.
//!
//! ```text
//! open ─ head ─ see* ─┬─ end          as the answer says
//!                     ├─ fail(kind)   no answer, or one that broke off
//!                     ├─ fall_back    another upstream is asked next
//!                     └─ dropped      cancelled: the client went away
//! ```
//! Nothing here may hold the traffic up or break it (CM-1): a reader that panicked is left out from then on, and a
//! recorder that is off is one look. An exchange in an unknown dialect is a call only if its answer counts tokens;
//! its row is made at its end, with the time of its beginning.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use callmeter::{CallGuard, CallId, Callmeter, PassingCall};
use callmeter_core::{ErrorKind, Status, UsageSource};
use callmeter_wire::{Api, Reading, RequestFacts, ResponseReader};
use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;

use crate::attribution::Attribution;
use crate::body::SharedReader;
use crate::observe::{CallObserver, EndedCall};
use crate::outer::{Claim, OuterCalls, OuterGuard};
use crate::routes::Entry;
use crate::tally::Tally;

/// Where tries are recorded.
pub(crate) struct Recording {
    pub(crate) callmeter: Option<Arc<Callmeter>>,
    pub(crate) observer: Option<Arc<dyn CallObserver>>,
    pub(crate) tally: Tally,
    pub(crate) outer_calls: Arc<OuterCalls>,
}

/// What the tries of one request have in common.
pub(crate) struct Request {
    pub(crate) recording: Arc<Recording>,
    pub(crate) route: Arc<Entry>,
    pub(crate) caller: String,
    attribution: Attribution,
    /// Its hold on the row of an outer call.
    claim: Option<Claim>,
    /// Whether it may take more than one try.
    is_chain: bool,
}

/// See the module.
pub(crate) struct Try {
    request: Arc<Request>,
    facts: RequestFacts,
    provider: String,
    guard: Guard,
    /// The reader of a request whose body still passes.
    passing: Option<SharedReader>,
    reader: Option<ResponseReader>,
    is_stream: bool,
    opened: Instant,
    ttft: Option<Duration>,
    attempt: u32,
    has_ended: bool,
}

// A try is boxed whole.
#[allow(clippy::large_enum_variant)]
enum Guard {
    /// Not yet known to be a call.
    Later,
    /// The outer call's, if this try answers it; else one of its own.
    Outer,
    /// A call; recorded if the guard is on.
    Call(Option<CallGuard>),
}

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End<'a> {
    Answered,
    Failed(ErrorKind),
    FellBack {
        kind: Option<ErrorKind>,
        to: &'a str,
    },
    Cancelled,
}

impl Request {
    pub(crate) fn new(
        recording: &Arc<Recording>,
        route: &Arc<Entry>,
        caller: String,
        attribution: Attribution,
    ) -> Self {
        let claim = attribution.call;
        let claim = claim.and_then(|call| recording.outer_calls.claim(call));
        Self {
            recording: Arc::clone(recording),
            route: Arc::clone(route),
            caller,
            attribution,
            claim,
            is_chain: route.upstreams.len() > 1,
        }
    }

    /// Opens the guard of the outer call, where there may be several tries.
    pub(crate) fn open_outer(&self, facts: &RequestFacts) -> Option<OuterGuard> {
        // What may turn out to be no call completes none.
        let is_to = self.is_chain && facts.api != Api::Unknown;
        let claim = self.claim.as_ref().filter(|_| is_to);
        let guard = self.guard(facts, Some(claim?), Duration::ZERO)?;
        Some(OuterGuard::new(guard))
    }

    /// Opens the guard of a try: that of the outer call, where it is to complete it.
    fn guard(
        &self,
        facts: &RequestFacts,
        completes: Option<&Claim>,
        open_for: Duration,
    ) -> Option<CallGuard> {
        let callmeter = self.recording.callmeter.as_ref()?;
        let mut guard = callmeter.passing_call(&PassingCall {
            caller: &self.caller,
            provider: self.provider(facts),
            model: facts.model.as_deref().unwrap_or_default(),
            completes: completes.map(|claim| claim.call),
            rev: completes.map_or(0, |claim| claim.rev),
            open_for,
        });
        self.attribution.tell(&mut guard);
        if self.claim.is_none() && self.attribution.call.is_some() {
            // Another request has the row.
            guard.parent(self.attribution.call);
        }
        Some(guard)
    }

    /// The outer call that this request completes.
    fn outer_call(&self) -> Option<CallId> {
        self.claim.as_ref().map(|claim| claim.call)
    }

    fn provider<'a>(&'a self, facts: &RequestFacts) -> &'a str {
        match (&self.route.stated, facts.provider, self.route.usual) {
            (Some(stated), _, _) => stated,
            (None, Some(known), _) | (None, None, Some(known)) => known,
            (None, None, None) => &self.route.name,
        }
    }
}

impl Try {
    /// Opens a try, which may be the one that answers the `outer` call.
    pub(crate) fn open(
        request: &Arc<Request>,
        facts: RequestFacts,
        attempt: u32,
        outer: Option<&OuterGuard>,
        passing: Option<SharedReader>,
    ) -> Self {
        let guard = if facts.api == Api::Unknown {
            Guard::Later
        } else if outer.is_some() {
            Guard::Outer
        } else {
            // With one upstream the only try completes the outer call's row.
            let completes = request.claim.as_ref().filter(|_| !request.is_chain);
            Guard::Call(request.guard(&facts, completes, Duration::ZERO))
        };
        Self {
            provider: request.provider(&facts).to_owned(),
            request: Arc::clone(request),
            facts,
            guard,
            passing,
            reader: None,
            is_stream: false,
            opened: Instant::now(),
            ttft: None,
            attempt,
            has_ended: false,
        }
    }

    /// The call's id, where one is recorded.
    pub(crate) fn id(&self) -> Option<CallId> {
        match &self.guard {
            Guard::Call(Some(guard)) => guard.id(),
            _ => None,
        }
    }

    /// Says that it is a try of the chain that `first` began.
    pub(crate) fn join(&mut self, first: Option<CallId>) {
        if let Guard::Call(Some(guard)) = &mut self.guard
            && first.is_some()
        {
            guard.retry_of(first, self.attempt);
        }
    }

    /// Takes over the outer call's guard: this try is the one that answers it.
    pub(crate) fn complete(&mut self, outer: Option<OuterGuard>) {
        let Some(mut guard) = outer.and_then(OuterGuard::take) else {
            return;
        };
        if let Some(model) = &self.facts.model {
            guard.model_requested(model);
        }
        guard.provider(&self.provider);
        let id = guard.id();
        self.guard = Guard::Call(Some(guard));
        self.join(id);
    }

    /// Takes over what the request said after the try was opened.
    fn learn(&mut self) {
        let Some(mut facts) = self.passing.take().and_then(|passing| passing.finish()) else {
            return;
        };
        facts.host.clone_from(&self.facts.host);
        facts.region = facts.region.or(self.facts.region.take());
        facts.provider = self.facts.provider;
        facts.billing = self.facts.billing;
        if let (Guard::Call(Some(guard)), Some(model)) = (&mut self.guard, &facts.model) {
            guard.model_requested(model);
        }
        self.facts = facts;
    }

    /// The answer's head.
    pub(crate) fn head(&mut self, status: u16, headers: &HeaderMap) {
        self.learn();
        if let Some(observer) = &self.request.recording.observer
            && !matches!(self.guard, Guard::Later)
        {
            let (route, provider) = (&self.request.route.name, &self.provider);
            let tell = || observer.answered(route, provider);
            let _ = catch_unwind(AssertUnwindSafe(tell));
        }
        let is_wanted = match &self.guard {
            Guard::Later | Guard::Outer => true,
            Guard::Call(Some(guard)) if !guard.is_off() => true,
            Guard::Call(_) => self.request.recording.observer.is_some(),
        };
        if !is_wanted {
            return;
        }
        let texts = headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        self.reader = Some(ResponseReader::new(&self.facts, Some(status), texts));
        let content_type = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let of_events = content_type.is_some_and(|kind| {
            ["event-stream", "eventstream", "ndjson", "jsonl"]
                .iter()
                .any(|stream| kind.contains(stream))
        });
        self.is_stream = of_events || self.facts.streaming == Some(true);
    }

    /// The next bytes of the answer.
    pub(crate) fn see(&mut self, bytes: &[u8]) {
        let Some(reader) = &mut self.reader else {
            return;
        };
        let wants_first = self.is_stream && self.ttft.is_none();
        let seen = catch_unwind(AssertUnwindSafe(|| {
            reader.push(bytes);
            wants_first && reader.has_content()
        }));
        match seen {
            Ok(false) => {}
            Ok(true) => {
                self.ttft = Some(self.opened.elapsed());
                if let Guard::Call(Some(guard)) = &mut self.guard {
                    guard.first_token();
                }
            }
            Err(_) => self.leave_reader_out(),
        }
    }

    #[cold]
    fn leave_reader_out(&mut self) {
        self.reader = None;
        tracing::error!(target: "callmeter", "reading an answer failed; it passed on unread");
    }

    /// The answer came to its end.
    pub(crate) fn end(mut self: Box<Self>) {
        self.conclude(End::Answered);
    }

    /// There was no answer, or it broke off.
    pub(crate) fn fail(mut self: Box<Self>, kind: ErrorKind) {
        self.conclude(End::Failed(kind));
    }

    /// Another upstream is asked next. `kind` is why, where the answer's own status does not tell.
    pub(crate) fn fall_back(mut self: Box<Self>, kind: Option<ErrorKind>, to: &str) {
        if matches!(self.guard, Guard::Outer) {
            // The outer call goes on; this try is a row of its own, told afterwards.
            let open_for = self.opened.elapsed();
            let guard = self.request.guard(&self.facts, None, open_for);
            self.guard = Guard::Call(guard);
            let first = self.request.outer_call();
            self.join(first);
        }
        self.conclude(End::FellBack { kind, to });
    }

    fn conclude(&mut self, end: End<'_>) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        self.learn();
        let duration = self.opened.elapsed();
        let reader = self.reader.take();
        let reader = reader.unwrap_or_else(|| {
            ResponseReader::new(&self.facts, None, std::iter::empty::<(&str, &str)>())
        });
        let Ok(reading) = catch_unwind(AssertUnwindSafe(|| reader.finish())) else {
            return self.leave_reader_out();
        };
        if matches!(self.guard, Guard::Later) {
            if reading.usage_source() == UsageSource::None {
                return;
            }
            let completes = self.request.claim.as_ref();
            self.guard = Guard::Call(self.request.guard(&self.facts, completes, duration));
        }
        self.request.recording.tally.call(&self.provider);
        // A stream that was whole when its client left is an answer.
        let end = match end {
            End::Cancelled if reading.stream_complete == Some(true) => End::Answered,
            end => end,
        };
        let (status, kind) = outcome(end, &reading);
        if let Some(claim) = self.request.claim.as_ref().filter(|_| status == Status::Ok) {
            claim.answered();
        }
        self.tell(end, &status, kind, &reading, duration);
        if let Guard::Call(Some(guard)) = std::mem::replace(&mut self.guard, Guard::Call(None)) {
            settle(guard, end, &self.facts, reading);
        }
    }

    fn tell(
        &self,
        end: End<'_>,
        status: &Status,
        error_kind: Option<ErrorKind>,
        reading: &Reading,
        duration: Duration,
    ) {
        if matches!(end, End::FellBack { .. }) {
            self.request.recording.tally.fell_back();
        }
        let Some(observer) = &self.request.recording.observer else {
            return;
        };
        let call = EndedCall {
            caller: &self.request.caller,
            provider: &self.provider,
            route: &self.request.route.name,
            model_requested: self.facts.model.as_deref().unwrap_or_default(),
            model: reading.model.as_deref(),
            operation: reading.operation(),
            billing: self.facts.billing,
            status,
            error_kind,
            http_status: reading.http_status,
            usage: &reading.usage,
            reported_cost: reading.reported_cost,
            duration,
            ttft: self.ttft,
            is_streaming: reading.streaming,
            attempt: self.attempt,
        };
        // The host's code: if it panics, the traffic is none the worse.
        let _ = catch_unwind(AssertUnwindSafe(|| observer.ended(&call)));
    }
}

fn outcome(end: End<'_>, reading: &Reading) -> (Status, Option<ErrorKind>) {
    match end {
        End::Answered if reading.error_kind.is_some() => (Status::Error, reading.error_kind),
        End::Answered => (Status::Ok, None),
        End::Failed(kind) => (Status::Error, Some(kind)),
        End::FellBack { kind, .. } => (Status::Fallback, kind.or(reading.error_kind)),
        End::Cancelled => (Status::Cancelled, Some(ErrorKind::Cancelled)),
    }
}

fn settle(mut guard: CallGuard, end: End<'_>, facts: &RequestFacts, reading: Reading) {
    match end {
        End::Answered => {
            guard.observed(facts, reading);
        }
        End::Failed(kind) => {
            guard.error_kind(kind).observed(facts, reading);
        }
        End::FellBack { kind, to } => {
            if let Some(kind) = kind {
                guard.error_kind(kind);
            }
            guard.observed(facts, reading).fallback_to(to);
        }
        End::Cancelled => {
            guard.observed(facts, reading);
            return guard.cancel();
        }
    }
    guard.finish();
}

impl Drop for Try {
    fn drop(&mut self) {
        self.conclude(End::Cancelled);
    }
}
