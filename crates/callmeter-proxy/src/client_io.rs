//! A client's connection: bytes as they are, and three things that hyper leaves to its host.
//!
//! - a clock for heads: from a head's first byte to its last, and another for connections without a request. In
//!   HTTP/2 the first head alone is timed so, later ones by hyper's pings;
//! - interim answers (1xx) of the upstream, which are written between hyper's own writes, and only while it has
//!   none in hand;
//! - which phase the connection is in, told by the service.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// No byte of a head has come.
    Idle = 0,
    /// A head is coming.
    Head = 1,
    /// A request is in flight.
    Busy = 2,
    /// HTTP/2 after its first head.
    Framed = 3,
    /// No HTTP any more.
    Left = 4,
}

impl Phase {
    const fn of(code: u8) -> Self {
        match code {
            0 => Self::Idle,
            1 => Self::Head,
            2 => Self::Busy,
            3 => Self::Framed,
            _ => Self::Left,
        }
    }
}

/// What connection and service share.
#[derive(Debug, Default)]
pub(crate) struct ClientState {
    phase: AtomicU8,
    /// Requests so far, so that two silences with one between them are two.
    requests: AtomicU32,
    /// Requests of HTTP/2 in flight.
    streams: AtomicU32,
    interim: Mutex<Interim>,
}

#[derive(Debug, Default)]
struct Interim {
    bytes: Vec<u8>,
    waker: Option<Waker>,
    /// Whether hyper has bytes of an answer in hand.
    is_writing: bool,
}

/// Interim answers beyond this are dropped; there is seldom one.
const MAX_INTERIM: usize = 16 * 1024;

impl ClientState {
    fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    fn phase(&self) -> Phase {
        Phase::of(self.phase.load(Ordering::Relaxed))
    }

    /// A request's head has come.
    pub(crate) fn begin(&self, is_framed: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if is_framed {
            self.streams.fetch_add(1, Ordering::Relaxed);
            self.set(Phase::Framed);
        } else {
            self.set(Phase::Busy);
        }
    }

    /// What comes from now on is no HTTP: a tunnel, another protocol.
    pub(crate) fn leave(&self) {
        self.set(Phase::Left);
    }

    /// Its answer is complete.
    pub(crate) fn end(&self) {
        match self.phase() {
            Phase::Busy => self.set(Phase::Idle),
            Phase::Framed => {
                self.streams.fetch_sub(1, Ordering::Relaxed);
                // The silence behind it is another one than that before it.
                self.requests.fetch_add(1, Ordering::Relaxed);
            }
            Phase::Idle | Phase::Head | Phase::Left => {}
        }
    }

    /// Sends an interim answer, where none of an answer has been written yet.
    pub(crate) fn send_interim(&self, bytes: &[u8]) {
        if self.phase() != Phase::Busy {
            return;
        }
        let mut interim = self.interim.lock().unwrap_or_else(PoisonError::into_inner);
        let len = interim.bytes.len().saturating_add(bytes.len());
        if interim.is_writing || len > MAX_INTERIM {
            return;
        }
        interim.bytes.extend_from_slice(bytes);
        if let Some(waker) = interim.waker.take() {
            waker.wake();
        }
    }
}

/// See the module.
pub(crate) struct ClientIo {
    io: TcpStream,
    state: Arc<ClientState>,
    head_limit: Duration,
    idle_limit: Duration,
    clock: SilenceClock,
}

/// How long a client has been silent. A timer is set once and looked at again when it rings, not with each request:
/// setting one takes a lock that all connections share.
#[derive(Default)]
struct SilenceClock {
    /// The phase that is timed, and the request before it.
    timed: Option<(Phase, u32, Instant)>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl SilenceClock {
    /// Whether the phase has lasted for `limit`. No phase's limit is below `shortest`.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        (phase, request): (Phase, u32),
        limit: Duration,
        shortest: Duration,
    ) -> Poll<()> {
        let now = Instant::now();
        let since = match self.timed {
            Some((known, at, since)) if (known, at) == (phase, request) => since,
            _ => now,
        };
        self.timed = Some((phase, request, since));
        let deadline = since.checked_add(limit).unwrap_or(now);
        let timer = self.timer.get_or_insert_with(|| {
            let first = now.checked_add(shortest).unwrap_or(now);
            Box::pin(tokio::time::sleep_until(first.min(deadline)))
        });
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if now >= deadline {
                return Poll::Ready(());
            }
            let next = now.checked_add(shortest).unwrap_or(deadline);
            timer.as_mut().reset(next.min(deadline));
        }
        Poll::Pending
    }
}

impl ClientIo {
    pub(crate) fn new(
        stream: TcpStream,
        state: Arc<ClientState>,
        head_limit: Duration,
        idle_limit: Duration,
    ) -> Self {
        Self {
            io: stream,
            state,
            head_limit,
            idle_limit,
            clock: SilenceClock::default(),
        }
    }

    /// Writes interim answers; says whether none is left.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut interim = self
            .state
            .interim
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while !interim.bytes.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &interim.bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            interim.bytes.drain(..written);
        }
        let is_same = interim
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()));
        if !is_same {
            interim.waker = Some(cx.waker().clone());
        }
        Poll::Ready(Ok(()))
    }

    fn set_writing(&self, is_writing: bool) {
        let mut interim = self
            .state
            .interim
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        interim.is_writing = is_writing;
    }

    /// Whether the client has been silent for too long.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let phase = self.state.phase();
        let limit = match phase {
            Phase::Idle => self.idle_limit,
            Phase::Head => self.head_limit,
            Phase::Framed if self.state.streams.load(Ordering::Relaxed) == 0 => self.idle_limit,
            Phase::Busy | Phase::Framed | Phase::Left => return Poll::Pending,
        };
        let request = self.state.requests.load(Ordering::Relaxed);
        let shortest = self.idle_limit.min(self.head_limit);
        self.clock.poll(cx, (phase, request), limit, shortest)
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Poll::Ready(Err(error)) = this.poll_interim(cx) {
            return Poll::Ready(Err(error));
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.io).poll_read(cx, buf) {
            Poll::Ready(done) => {
                if buf.filled().len() > before && this.state.phase() == Phase::Idle {
                    this.state.set(Phase::Head);
                }
                Poll::Ready(done)
            }
            Poll::Pending => match this.poll_clock(cx) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.set_writing(true);
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.set_writing(true);
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        // hyper flushes when its own buffer is empty.
        self.set_writing(false);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
