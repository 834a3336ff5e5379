//! Guards that read the provider's response as it passes and fill themselves.
//!
//! ```text
//! head (status, headers, what was asked) ─▶ observe_body(…)              a whole body
//!                                         └▶ observe_stream(…) ─ chunk(…)* ─▶ finish() · fail(&error) · into_call()
//! ```
//!
//! From the response come usage with its source and rule, the answering model, why it ended, kind and code of
//! an error (also inside a success), ids, service tier, the cost that the provider states, whether a stream
//! came to its end, and the time to the first token by the guard's own clock.
//!
//! Promises: the bytes are only looked at, never kept, changed or held back (CM-1, CM-6); memory is bounded
//! whatever the body (about 13 KiB, and the window of a content encoding); nothing that arrives fails or
//! panics (CM-2). What the host told the guard itself (status words, operation, billing) stays. A guard that
//! is off reads nothing.
//!
//! Leaves to others: how responses are read (`callmeter-wire`).

use std::fmt;

use callmeter_core::{Billing, Field, UsageSource};
use callmeter_wire::{Api, Reading, RequestFacts, RequestReader, ResponseReader};

use crate::guard::{CallGuard, DropKind, OpenCall};
use crate::report::ErrorReport;

/// The head of a response, and what is known of its request: what [`CallGuard::observe_body`] and
/// [`CallGuard::observe_stream`] need besides the body.
///
/// Only the status is needed; each of the others makes the reading better. Formats are told apart by what
/// they hold, so that a response without a URL is read all the same.
///
/// ```
/// use callmeter::ResponseHead;
/// let headers = [("content-type", "application/json"), ("x-request-id", "req_1")];
/// let head = ResponseHead::new(200)
///     .request("POST", "https://api.openai.com/v1/chat/completions")
///     .request_body(br#"{"model":"gpt-5-mini","service_tier":"flex","messages":[]}"#)
///     .headers(headers);
/// ```
#[derive(Clone, Default)]
pub struct ResponseHead<'a> {
    status: Option<u16>,
    request: Option<(&'a str, &'a str)>,
    request_body: &'a [u8],
    provider: Option<&'a str>,
    headers: Vec<(&'a str, &'a str)>,
}

impl<'a> ResponseHead<'a> {
    /// A response with this HTTP status; `None` where there is none to be seen.
    pub fn new(status: impl Into<Option<u16>>) -> Self {
        Self {
            status: status.into(),
            ..Self::default()
        }
    }

    /// The request's method and its URL or path: tell the interface, host and region, and from some paths
    /// the model.
    #[must_use]
    pub fn request(mut self, method: &'a str, url: &'a str) -> Self {
        self.request = Some((method, url));
        self
    }

    /// The request's JSON body: tells the service tier and how many images were asked for. Messages are
    /// skipped unseen.
    #[must_use]
    pub fn request_body(mut self, body: &'a [u8]) -> Self {
        self.request_body = body;
        self
    }

    /// The provider whose rules count apply, where no URL tells: its canonical name, such as `openrouter`. An
    /// unknown name changes nothing.
    #[must_use]
    pub fn provider(mut self, name: &'a str) -> Self {
        self.provider = Some(name);
        self
    }

    /// The response's headers: tell the format, the content encoding, ids and counts.
    #[must_use]
    pub fn headers(mut self, headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.headers.extend(headers);
        self
    }

    fn facts(&self) -> RequestFacts {
        let (method, url) = self.request.unwrap_or(("POST", ""));
        let facts = if self.request_body.is_empty() {
            RequestFacts::from_line(method, url)
        } else {
            let mut reader = RequestReader::new(method, url, []);
            reader.push(self.request_body);
            reader.finish()
        };
        match self.provider {
            Some(name) => facts.with_provider(name),
            None => facts,
        }
    }

    fn reader(&self) -> (RequestFacts, ResponseReader) {
        let facts = self.facts();
        let reader = ResponseReader::new(&facts, self.status, self.headers.iter().copied());
        (facts, reader)
    }
}

impl fmt::Debug for ResponseHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL may carry a key, a header a cookie.
        f.debug_struct("ResponseHead")
            .field("status", &self.status)
            .field("headers", &self.headers.len())
            .finish_non_exhaustive()
    }
}

impl CallGuard {
    /// Reads a whole response, as it came over the wire: the guard fills itself from it. The status becomes
    /// `error` where the response tells of a failure and the host has not said otherwise.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let callmeter = callmeter::builder().home(dir.path()).open()?;
    /// use callmeter::ResponseHead;
    /// let body = br#"{"id":"chatcmpl-1","model":"gpt-5-mini-2025-08-07","choices":[{"finish_reason":"stop"}],
    ///     "usage":{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}}"#;
    ///
    /// let mut call = callmeter.call("sales_copy", "openai", "gpt-5-mini");
    /// call.observe_body(&ResponseHead::new(200), body);
    /// call.finish();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn observe_body(&mut self, head: &ResponseHead<'_>, body: &[u8]) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            let (facts, mut reader) = head.reader();
            reader.push(body);
            open.take_over(&facts, reader.finish());
        }
        self
    }

    /// Reads a response as it arrives, chunk by chunk: the answer holds the guard, and gives it back filled.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let callmeter = callmeter::builder().home(dir.path()).open()?;
    /// use callmeter::ResponseHead;
    /// # let chunks = [
    /// #     &b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\ndata: {\"choices\":[],\"us"[..],
    /// #     b"age\":{\"prompt_tokens\":12,\"completion_tokens\":3,\"total_tokens\":15}}\n\ndata: [DONE]\n\n",
    /// # ];
    /// let head = ResponseHead::new(200).request("POST", "https://api.openai.com/v1/chat/completions");
    ///
    /// let call = callmeter.call("sales_copy", "openai", "gpt-5-mini");
    /// let mut stream = call.observe_stream(&head);
    /// for chunk in chunks {
    ///     stream.chunk(chunk); // … and pass the chunk on to whoever wants it
    /// }
    /// stream.finish();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn observe_stream(self, head: &ResponseHead<'_>) -> ObservedStream {
        let reading = self.open_call().map(|_| Box::new(head.reader()));
        ObservedStream {
            call: Some(self),
            reading,
            has_begun: false,
        }
    }
}

/// A guard that is fed the chunks of its response; made by [`CallGuard::observe_stream`].
///
/// Dropped midway it makes a `cancelled` row with what was known by then; dropped after the stream's own end
/// it is a finished call.
#[must_use = "an observed stream that is dropped at once records a cancelled call"]
pub struct ObservedStream {
    /// There until the call is ended or given back.
    call: Option<CallGuard>,
    reading: Option<Box<(RequestFacts, ResponseReader)>>,
    has_begun: bool,
}

impl ObservedStream {
    /// The next bytes of the body, as they came; where they are cut does not matter.
    pub fn chunk(&mut self, bytes: &[u8]) -> &mut Self {
        if let Some((_, reader)) = self.reading.as_deref_mut() {
            reader.push(bytes);
            if !self.has_begun && reader.has_content() {
                self.has_begun = true;
                if let Some(call) = &mut self.call {
                    call.first_token();
                }
            }
        }
        self
    }

    /// The guard, to be told more.
    pub fn call(&mut self) -> Option<&mut CallGuard> {
        self.call.as_mut()
    }

    /// Gives the guard back, filled with what the response said so far.
    pub fn into_call(mut self) -> CallGuard {
        self.settle();
        self.call.take().unwrap_or(CallGuard::off())
    }

    /// Ends the call: as the response says, or `ok`.
    pub fn finish(self) {
        self.into_call().finish();
    }

    /// Ends the call as an error, such as a connection that broke, with what was known by then.
    pub fn fail<E: ?Sized>(self, error: &E) {
        self.into_call().fail(error);
    }

    /// As [`fail`](Self::fail), for an error whose class is known here.
    pub fn fail_as<E: ?Sized>(self, error: &E, report: ErrorReport) {
        self.into_call().fail_as(error, report);
    }

    /// Puts what was read into the guard; says whether the response came to its end.
    fn settle(&mut self) -> bool {
        let Some(reading) = self.reading.take() else {
            return false;
        };
        let (facts, reader) = *reading;
        let reading = reader.finish();
        let is_whole = reading.stream_complete == Some(true);
        if let Some(open) = self.call.as_mut().and_then(CallGuard::open_call_mut) {
            open.take_over(&facts, reading);
        }
        is_whole
    }
}

impl Drop for ObservedStream {
    fn drop(&mut self) {
        let is_whole = self.settle();
        let Some(mut call) = self.call.take() else {
            return;
        };
        if is_whole && !std::thread::panicking() {
            call.finish();
        } else {
            call.set_on_drop(DropKind::Cancelled);
        }
    }
}

impl fmt::Debug for ObservedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedStream")
            .field("call", &self.call)
            .finish_non_exhaustive()
    }
}

impl OpenCall {
    pub(crate) fn take_over(&mut self, facts: &RequestFacts, mut reading: Reading) {
        self.flag(reading.flags);
        let source = reading.usage_source();
        let usage = std::mem::take(&mut reading.usage);
        let texts = [
            (Field::Model, &reading.model),
            (Field::ResponseId, &reading.response_id),
            (Field::ProviderRequestId, &reading.provider_request_id),
            (Field::FinishReason, &reading.finish_reason),
            (Field::ErrorDetail, &reading.error_detail),
            (Field::Host, &facts.host),
            (
                Field::Region,
                facts
                    .region
                    .as_ref()
                    .map_or(&reading.region, |_| &facts.region),
            ),
            (
                Field::ServiceTier,
                reading
                    .service_tier
                    .as_ref()
                    .map_or(&facts.service_tier, |_| &reading.service_tier),
            ),
        ];
        self.tell(|call| {
            for (field, text) in texts {
                if let Some(text) = text {
                    call.text(field, text);
                }
            }
            call.put(Field::Streaming, reading.streaming.into());
            if let Some(complete) = reading.stream_complete {
                call.put(Field::StreamComplete, complete.into());
            }
            if let Some(status) = reading.http_status {
                call.put(Field::HttpStatus, status.into());
            }
            if facts.api != Api::Unknown {
                call.set_if_new(Field::Operation, reading.operation());
            }
            if facts.billing != Billing::Unknown {
                call.set_if_new(Field::Billing, facts.billing);
            }
            if reading.reported_cost.is_some() {
                call.set(Field::ReportedCost, reading.reported_cost);
            }
            if let Some(kind) = reading.error_kind {
                call.set_if_new(Field::ErrorKind, kind);
                if !call.has(Field::Status) {
                    call.fail(kind);
                }
            }
            // A response without figures does not take away what the host said.
            if source != UsageSource::None || !call.has(Field::UsageSource) {
                call.usage(usage);
            }
        });
    }
}
