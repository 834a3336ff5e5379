//! Kept connections to upstreams that speak HTTP/1.1, each driven by the request that uses it.
//!
//! ```text
//! shelf ── taken, or dialled ──▶ in use ── answer at its end ──▶ shelf
//!                                  └── dropped midway ──▶ closed
//! ```
//! Whoever waits for an answer, or reads its body, drives the connection that it comes on: nothing is handed from
//! task to task between client and upstream, and a client that goes away takes its connection with it. Only what
//! nobody waits for gets a task of its own: an upload that its answer overtook, another protocol.
//!
//! A connection that its upstream closed is noticed when it is taken, before a byte of the request is sent, and the
//! next one is; what lies unused is swept now and then.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::http::uri::Authority;
use hyper::{Request, Response};
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::rt::TokioIo;

use crate::body::OutBody;
use crate::dial::{Dialer, Reach};
use crate::pool::{SendError, absolute, reason};
use crate::url::UpstreamUrl;

/// Of the time that a connection may lie unused, how much passes between two looks at it.
const SWEEPS: u32 = 8;

/// The kept connections to all upstreams.
pub(crate) struct Keep {
    shelves: Arc<Shelves>,
    builder: Builder,
    dialer: Arc<Dialer>,
    reach: Reach,
}

/// Whether it is spoken to over TLS, and where it is.
type Place = (bool, Authority);

struct Shelves {
    by_place: Mutex<HashMap<Place, Arc<Shelf>>>,
    idle_for: Duration,
    is_swept: AtomicBool,
}

/// The connections to one upstream that nobody uses, the latest last.
#[derive(Default)]
struct Shelf(Mutex<Vec<Kept>>);

struct Kept {
    connection: Connection,
    since: Instant,
}

struct Connection {
    sender: SendRequest<OutBody>,
    /// What moves its bytes; `None` once it is closed, or has a task of its own.
    driver: Option<Driver>,
    is_proxied: bool,
}

type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

impl Keep {
    /// Connections made as `builder` says, kept for as long as `idle_for` unused.
    pub(crate) fn new(
        builder: Builder,
        dialer: &Arc<Dialer>,
        reach: Reach,
        idle_for: Duration,
    ) -> Self {
        Self {
            shelves: Arc::new(Shelves {
                by_place: Mutex::default(),
                idle_for,
                is_swept: AtomicBool::new(false),
            }),
            builder,
            dialer: Arc::clone(dialer),
            reach,
        }
    }

    /// Sends a request and waits for the head of its answer. A connection that turns out to be closed before
    /// anything was sent on it is replaced.
    pub(crate) async fn send(
        &self,
        upstream: &UpstreamUrl,
        mut request: Request<OutBody>,
    ) -> Result<Response<UpstreamBody>, SendError> {
        let shelf = self.shelves.shelf(upstream);
        let upload = request.body().upload();
        let origin = request.uri().clone();
        loop {
            let kept = shelf.take(self.shelves.idle_for);
            let is_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                // Boxed, as it is seldom and would make every request's future the larger.
                None => Box::pin(self.dial(upstream)).await?,
            };
            if connection.is_proxied {
                *request.uri_mut() = absolute(upstream, origin.path_and_query())?;
            }
            match connection.ask(request).await {
                Ok(response) => {
                    if upload.is_some_and(|upload| upload.strong_count() > 0) {
                        connection.work_alone();
                    }
                    let (parts, inner) = response.into_parts();
                    let lease = Lease { connection, shelf };
                    let body = UpstreamBody::leased(inner, lease).await;
                    return Ok(Response::from_parts(parts, body));
                }
                Err(mut error) => match error.take_message().filter(|_| is_kept) {
                    Some(unsent) => {
                        request = unsent;
                        request.uri_mut().clone_from(&origin);
                    }
                    None => return Err(reason(&error.into_error())),
                },
            }
        }
    }

    async fn dial(&self, upstream: &UpstreamUrl) -> Result<Connection, SendError> {
        let uri = absolute(upstream, None)?;
        let link = self
            .dialer
            .open(&uri, self.reach, false)
            .await
            .map_err(SendError::Dial)?;
        let is_proxied = link.connected().is_proxied();
        let (sender, driver) = self
            .builder
            .handshake(TokioIo::new(link))
            .await
            .map_err(|error| reason(&error))?;
        self.shelves.be_swept();
        Ok(Connection {
            sender,
            driver: Some(Box::pin(driver.with_upgrades())),
            is_proxied,
        })
    }
}

impl Connection {
    /// Does what there is to do, as far as it goes.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && driver.as_mut().poll(cx).is_ready()
        {
            self.driver = None;
        }
    }

    async fn ask(
        &mut self,
        request: Request<OutBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<OutBody>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|cx| {
            self.drive(cx);
            answer.as_mut().poll(cx)
        })
        .await
    }

    /// Gives it a task of its own.
    fn work_alone(&mut self) {
        if let Some(driver) = self.driver.take() {
            tokio::spawn(driver);
        }
    }
}

impl Shelves {
    fn shelf(&self, upstream: &UpstreamUrl) -> Arc<Shelf> {
        let place = (upstream.is_https(), upstream.authority.clone());
        let mut shelves = self.by_place.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(shelves.entry(place).or_default())
    }

    /// Lets unused connections be looked at from now on.
    fn be_swept(self: &Arc<Self>) {
        if self.is_swept.swap(true, Ordering::Relaxed) {
            return;
        }
        let shelves = Arc::downgrade(self);
        let pause = self.idle_for / SWEEPS;
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause.max(Duration::from_millis(1))).await;
                match Weak::upgrade(&shelves) {
                    Some(shelves) => shelves.sweep(),
                    None => return,
                }
            }
        });
    }

    /// Closes what was unused for too long or was closed by its upstream.
    fn sweep(&self) {
        let mut shelves = self.by_place.lock().unwrap_or_else(PoisonError::into_inner);
        shelves.retain(|_, shelf| {
            let is_in_use = Arc::strong_count(shelf) > 1;
            shelf.sweep(self.idle_for) || is_in_use
        });
    }
}

impl Shelf {
    /// The connection that was used last.
    fn take(&self, idle_for: Duration) -> Option<Connection> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = kept.pop()?;
        if latest.since.elapsed() < idle_for {
            return Some(latest.connection);
        }
        // The others are older still.
        kept.clear();
        None
    }

    fn put(&self, connection: Connection) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = Instant::now();
        kept.push(Kept { connection, since });
    }

    /// Says whether any is left.
    fn sweep(&self, idle_for: Duration) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain_mut(|kept| {
            // Nobody is to be woken: what happens to it is seen when it is taken.
            kept.connection
                .drive(&mut Context::from_waker(Waker::noop()));
            kept.since.elapsed() < idle_for && !kept.connection.sender.is_closed()
        });
        !kept.is_empty()
    }
}

/// A connection in use.
struct Lease {
    connection: Connection,
    shelf: Arc<Shelf>,
}

impl Lease {
    /// The answer is at its end.
    fn give_back(mut self, cx: &mut Context<'_>) {
        if !self.connection.sender.is_ready() {
            self.connection.drive(cx);
        }
        if self.connection.sender.is_ready() {
            return self.shelf.put(self.connection);
        }
        if self.connection.sender.is_closed() {
            return;
        }
        // The request is not all sent yet.
        self.connection.work_alone();
        tokio::spawn(async move {
            let Self {
                mut connection,
                shelf,
            } = self;
            if connection.sender.ready().await.is_ok() {
                shelf.put(connection);
            }
        });
    }
}

/// The body of an upstream's answer, and the connection that it comes on.
pub(crate) struct UpstreamBody {
    inner: Incoming,
    /// `None` where the connection is driven elsewhere, and at the end.
    lease: Option<Lease>,
}

impl UpstreamBody {
    /// A body whose connection is driven elsewhere.
    pub(crate) const fn driven(inner: Incoming) -> Self {
        Self { inner, lease: None }
    }

    async fn leased(inner: Incoming, lease: Lease) -> Self {
        let mut lease = Some(lease);
        if inner.is_end_stream() {
            // Nobody polls a body that is at its end.
            poll_fn(|cx| {
                if let Some(lease) = lease.take() {
                    lease.give_back(cx);
                }
                Poll::Ready(())
            })
            .await;
        }
        Self { inner, lease }
    }

    /// Lets the connection work on without anybody who reads the body: what follows is another protocol.
    pub(crate) fn work_alone(mut self) {
        if let Some(lease) = &mut self.lease {
            lease.connection.work_alone();
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let mut polled = Pin::new(&mut this.inner).poll_frame(cx);
        if polled.is_pending()
            && let Some(lease) = &mut this.lease
        {
            lease.connection.drive(cx);
            polled = Pin::new(&mut this.inner).poll_frame(cx);
        }
        let is_over = match &polled {
            Poll::Pending => false,
            Poll::Ready(Some(Err(_))) => {
                this.lease = None;
                false
            }
            // Whoever reads does not ask again after the last frame.
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers() || this.inner.is_end_stream(),
            Poll::Ready(None) => true,
        };
        if is_over && let Some(lease) = this.lease.take() {
            lease.give_back(cx);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
