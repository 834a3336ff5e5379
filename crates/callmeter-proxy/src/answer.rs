//! The body of an answer: the upstream's, seen as it passes; or the proxy's own, where it refused.
//!
//! A frame goes on as it came, in the order in which it came; the row is made when the last one passes. A client that
//! goes away drops the body, which drops the upstream's connection and makes the row `cancelled`.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use callmeter_core::ErrorKind;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use crate::client_io::ClientState;
use crate::kept::UpstreamBody;
use crate::outer::OuterGuard;
use crate::record::Try;
use crate::tally::Tally;
use crate::usage_event::UsageEventFilter;

/// The body of every answer.
pub(crate) struct Answer {
    kind: Kind,
    live: Option<Live>,
}

enum Kind {
    Own(Option<Bytes>),
    Upstream(Box<Metered>),
}

/// A request in flight: until its answer is written, or its client is gone.
pub(crate) struct Live {
    client: Arc<ClientState>,
    tally: Tally,
}

impl Live {
    pub(crate) fn new(client: Arc<ClientState>, tally: Tally) -> Self {
        tally.begin();
        Self { client, tally }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.client.end();
        self.tally.end();
    }
}

impl Answer {
    pub(crate) const fn own(body: Option<Bytes>) -> Self {
        Self {
            kind: Kind::Own(body),
            live: None,
        }
    }

    pub(crate) fn upstream(metered: Metered) -> Self {
        Self {
            kind: Kind::Upstream(Box::new(metered)),
            live: None,
        }
    }

    pub(crate) fn keep(&mut self, live: Live) {
        self.live = Some(live);
    }
}

/// The upstream's body as it passes.
pub(crate) struct Metered {
    inner: UpstreamBody,
    /// What was read of it already.
    ahead: VecDeque<Frame<Bytes>>,
    call: Option<Box<Try>>,
    filter: Option<UsageEventFilter>,
}

impl Metered {
    pub(crate) fn new(inner: UpstreamBody, call: Option<Box<Try>>) -> Self {
        let mut metered = Self {
            inner,
            ahead: VecDeque::new(),
            call,
            filter: None,
        };
        if metered.inner.is_end_stream() {
            metered.end();
        }
        metered
    }

    /// Waits for the first frame, so that an upstream that dies before it can be replaced. `false` when it died.
    pub(crate) async fn has_begun(&mut self) -> bool {
        if self.inner.is_end_stream() {
            return true;
        }
        match std::future::poll_fn(|cx| Pin::new(&mut self.inner).poll_frame(cx)).await {
            Some(Ok(frame)) => {
                self.ahead.push_back(frame);
                true
            }
            Some(Err(_)) => false,
            None => {
                self.end();
                true
            }
        }
    }

    /// Reads the beginning of a body that nobody else will: what went wrong stands there.
    pub(crate) async fn read_error(&mut self, limit: usize) {
        let mut len = 0_usize;
        while len < limit {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut self.inner).poll_frame(cx)).await;
            let Some(Ok(frame)) = frame else { break };
            if let (Some(data), Some(call)) = (frame.data_ref(), &mut self.call) {
                call.see(data);
                len = len.saturating_add(data.len());
            }
        }
    }

    /// Lets the try that answers complete the outer call.
    pub(crate) fn complete(&mut self, outer: Option<OuterGuard>) {
        if let Some(call) = &mut self.call {
            call.complete(outer);
        }
    }

    pub(crate) fn take_call(&mut self) -> Option<Box<Try>> {
        self.call.take()
    }

    pub(crate) fn hide_usage(&mut self) {
        self.filter = Some(UsageEventFilter::default());
    }

    fn end(&mut self) {
        if let Some(call) = self.call.take() {
            call.end();
        }
    }

    fn is_over(&self) -> bool {
        self.ahead.is_empty() && self.inner.is_end_stream()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        loop {
            let frame = match self.ahead.pop_front() {
                Some(frame) => Some(Ok(frame)),
                None => ready!(Pin::new(&mut self.inner).poll_frame(cx)),
            };
            let frame = match frame {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    if let Some(call) = self.call.take() {
                        call.fail(ErrorKind::Network);
                    }
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.end();
                    let rest = self.rest();
                    return Poll::Ready(rest.map(|rest| Ok(Frame::data(rest))));
                }
            };
            let data = match frame.into_data() {
                Ok(data) => data,
                Err(trailers) => {
                    self.end();
                    if let Some(rest) = self.rest() {
                        self.ahead.push_back(trailers);
                        return Poll::Ready(Some(Ok(Frame::data(rest))));
                    }
                    return Poll::Ready(Some(Ok(trailers)));
                }
            };
            if let Some(call) = &mut self.call {
                call.see(&data);
            }
            if self.is_over() {
                self.end();
            }
            let Some(filter) = &mut self.filter else {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            };
            let shown = filter.feed(data);
            if !shown.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(shown))));
            }
        }
    }

    /// What the filter still holds; it is asked once.
    fn rest(&mut self) -> Option<Bytes> {
        let rest = self.filter.take()?.finish();
        (!rest.is_empty()).then_some(rest)
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.get_mut().kind {
            Kind::Own(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Kind::Upstream(metered) => metered.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own(body) => body.is_none(),
            Kind::Upstream(metered) => metered.filter.is_none() && metered.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own(body) => SizeHint::with_exact(body.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Upstream(metered) if metered.filter.is_some() => SizeHint::default(),
            Kind::Upstream(metered) => {
                let ahead: usize = metered
                    .ahead
                    .iter()
                    .filter_map(|frame| frame.data_ref().map(Bytes::len))
                    .sum();
                match metered.inner.size_hint().exact() {
                    Some(rest) => SizeHint::with_exact(rest.saturating_add(ahead as u64)),
                    None => SizeHint::default(),
                }
            }
        }
    }
}

/// An answer that the proxy gives itself.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// A name for programs, in the header `x-callmeter-error`.
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// In how many seconds the same may be answered.
    pub(crate) retry_after_s: Option<u64>,
}

const ERROR_CODE: HeaderName = HeaderName::from_static("x-callmeter-error");

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retry_after_s: None,
        }
    }

    /// The same, which says when to come again.
    pub(crate) const fn until(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// In the shape in which the providers' clients look for an error's message.
    pub(crate) fn response(self) -> Response<Answer> {
        let text = serde_json::json!({
            "type": "error",
            "error": {
                "type": "callmeter_proxy_error",
                "code": self.code,
                "message": format!("callmeter proxy: {}", self.message),
            },
        });
        let mut response = Response::new(Answer::own(Some(Bytes::from(text.to_string()))));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ERROR_CODE, HeaderValue::from_static(self.code));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
