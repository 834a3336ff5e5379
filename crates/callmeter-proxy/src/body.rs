//! The body of a request on its way to an upstream: held whole where it may be changed or sent again, else
//! passed on as it comes.
//!
//! ```text
//! hold()  ─▶ Held      all of it, within the limits
//!         └▶ Passing   the beginning that was read, and the rest as it comes
//! ```
//! What all requests together hold is bounded by a budget; a request that finds it used up passes unchanged.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use callmeter_wire::{RequestFacts, RequestReader};
use hyper::HeaderMap;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Why a request's body did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the request's body is longer than is allowed")]
    TooLong,
    #[error("the request's body stopped coming")]
    TimedOut,
    #[error("the client went away")]
    Broken,
}

/// A whole body, cheap to send again.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    trailers: Option<Box<HeaderMap>>,
    /// Whether the client said how long it is.
    is_sized: bool,
    /// What it takes of the budget, for as long as it is held.
    _permit: Option<Arc<OwnedSemaphorePermit>>,
}

impl Held {
    /// The same with other bytes.
    pub(crate) fn with(&self, bytes: Bytes) -> Self {
        Self {
            bytes,
            ..self.clone()
        }
    }
}

/// The body of an outgoing request.
pub(crate) enum OutBody {
    Empty,
    Held(Held),
    Passing(Box<Passing>),
}

/// What `hold` came to.
pub(crate) enum Taken {
    Whole(Held),
    /// It is too long to be held.
    Beginning(Box<Passing>),
}

/// How much may be held.
#[derive(Clone)]
pub(crate) struct Budget {
    /// Permits of [`UNIT`] bytes each.
    all: Arc<Semaphore>,
    each: usize,
}

const UNIT: usize = 1_024;

impl Budget {
    pub(crate) fn new(each: usize, all: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new((all / UNIT).min(Semaphore::MAX_PERMITS))),
            each,
        }
    }

    /// Room for so many bytes more; joins what is there already.
    fn take(&self, bytes: usize, held: &mut Option<OwnedSemaphorePermit>) -> bool {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let Ok(permit) = Arc::clone(&self.all).try_acquire_many_owned(units) else {
            return false;
        };
        match held {
            Some(held) => held.merge(permit),
            None => *held = Some(permit),
        }
        true
    }
}

/// Reads a body whole, as far as the budget allows.
pub(crate) async fn hold(mut passing: Box<Passing>, budget: &Budget) -> Result<Taken, BodyError> {
    let is_sized = passing.inner.size_hint().exact().is_some();
    let expected = passing.inner.size_hint().lower();
    if expected > budget.each as u64 {
        return Ok(Taken::Beginning(passing));
    }
    let mut permit = None;
    let mut len = 0_usize;
    let mut room = 0_usize;
    let mut trailers = None;
    while let Some(frame) = std::future::poll_fn(|cx| passing.poll_inner(cx)).await {
        match frame?.into_data() {
            Ok(data) => {
                len = len.saturating_add(data.len());
                passing.ahead.push_back(data);
                if len > room {
                    // Doubling, so that a body in small pieces takes the semaphore seldom.
                    let more = len.max(room).max(usize::try_from(expected).unwrap_or(0));
                    if len > budget.each || !budget.take(more, &mut permit) {
                        return Ok(Taken::Beginning(passing));
                    }
                    room = room.saturating_add(more);
                }
            }
            Err(frame) => trailers = frame.into_trailers().ok().map(Box::new),
        }
    }
    let bytes = match (passing.ahead.pop_front(), passing.ahead.is_empty()) {
        (None, _) => Bytes::new(),
        (Some(only), true) => only,
        (Some(first), false) => {
            let mut whole = Vec::with_capacity(len);
            whole.extend_from_slice(&first);
            passing
                .ahead
                .drain(..)
                .for_each(|piece| whole.extend_from_slice(&piece));
            Bytes::from(whole)
        }
    };
    Ok(Taken::Whole(Held {
        bytes,
        trailers,
        is_sized,
        _permit: permit.map(Arc::new),
    }))
}

/// A body that passes as it comes.
pub(crate) struct Passing {
    inner: Incoming,
    /// What was read of it already.
    ahead: VecDeque<Bytes>,
    /// How much may still come.
    left: u64,
    pause: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    reader: Option<SharedReader>,
    /// Lives as long as there is more of it to send.
    upload: Arc<()>,
}

/// The reader of a request whose body passes: answers may come before its end.
#[derive(Clone)]
pub(crate) struct SharedReader(Arc<Mutex<Option<RequestReader>>>);

impl SharedReader {
    pub(crate) fn new(reader: RequestReader) -> Self {
        Self(Arc::new(Mutex::new(Some(reader))))
    }

    fn push(&self, bytes: &[u8]) {
        let mut reader = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reader) = &mut *reader {
            reader.push(bytes);
        }
    }

    /// What the request said so far; once.
    pub(crate) fn finish(&self) -> Option<RequestFacts> {
        let mut reader = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reader.take().map(RequestReader::finish)
    }
}

impl Passing {
    pub(crate) fn new(inner: Incoming, limit: u64, pause: Duration) -> Box<Self> {
        Box::new(Self {
            inner,
            ahead: VecDeque::new(),
            left: limit,
            pause,
            timer: None,
            reader: None,
            upload: Arc::default(),
        })
    }

    /// Lets a reader see what passes, what was read already included.
    pub(crate) fn read_by(&mut self, reader: &SharedReader) {
        self.ahead.iter().for_each(|piece| reader.push(piece));
        self.reader = Some(reader.clone());
    }

    /// The next frame of the client's, within length and time.
    fn poll_inner(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.timer = None;
                Poll::Ready(frame.map(|frame| {
                    let frame = frame.map_err(|_| BodyError::Broken)?;
                    if let Some(data) = frame.data_ref() {
                        let left = self.left.checked_sub(data.len() as u64);
                        self.left = left.ok_or(BodyError::TooLong)?;
                    }
                    Ok(frame)
                }))
            }
            Poll::Pending => {
                let pause = self.pause;
                let timer = self.timer.get_or_insert_with(|| {
                    let now = Instant::now();
                    let at = now.checked_add(pause).unwrap_or(now);
                    Box::pin(tokio::time::sleep_until(at))
                });
                timer
                    .as_mut()
                    .poll(cx)
                    .map(|()| Some(Err(BodyError::TimedOut)))
            }
        }
    }
}

impl OutBody {
    /// Stands for as long as the body is not sent to its end, where it passes as it comes.
    pub(crate) fn upload(&self) -> Option<Weak<()>> {
        match self {
            Self::Passing(passing) => Some(Arc::downgrade(&passing.upload)),
            Self::Empty | Self::Held(_) => None,
        }
    }
}

impl Body for OutBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match this {
            Self::Empty => Poll::Ready(None),
            Self::Held(held) => {
                let frame = if held.bytes.is_empty() {
                    held.trailers
                        .take()
                        .map(|trailers| Frame::trailers(*trailers))
                } else {
                    Some(Frame::data(std::mem::take(&mut held.bytes)))
                };
                Poll::Ready(frame.map(Ok))
            }
            Self::Passing(passing) => {
                if let Some(data) = passing.ahead.pop_front() {
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                let frame = std::task::ready!(passing.poll_inner(cx));
                if let (Some(Ok(frame)), Some(reader)) = (&frame, &passing.reader)
                    && let Some(data) = frame.data_ref()
                {
                    reader.push(data);
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Held(held) => held.bytes.is_empty() && held.trailers.is_none(),
            Self::Passing(passing) => passing.ahead.is_empty() && passing.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Held(held) if held.is_sized => SizeHint::with_exact(held.bytes.len() as u64),
            Self::Held(_) => SizeHint::default(),
            Self::Passing(passing) => {
                let ahead: usize = passing.ahead.iter().map(Bytes::len).sum();
                match passing.inner.size_hint().exact() {
                    Some(rest) => SizeHint::with_exact(rest.saturating_add(ahead as u64)),
                    None => SizeHint::default(),
                }
            }
        }
    }
}
