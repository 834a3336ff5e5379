//! One client's connection: HTTP/1.1 or HTTP/2, as the client begins it.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;

use crate::client_io::{ClientIo, ClientState};
use crate::engine::{Engine, Stage};
use crate::tally::Tally;

/// Requests at a time on one HTTP/2 connection.
const STREAMS: u32 = 256;

/// Serves a connection to its end.
pub(crate) async fn serve(engine: Arc<Engine>, stream: TcpStream) {
    let _counted = Counted::new(engine.recording.tally.clone());
    let _ = stream.set_nodelay(true);
    let state = Arc::new(ClientState::default());
    let timeouts = &engine.config.timeouts;
    let io = ClientIo::new(
        stream,
        Arc::clone(&state),
        timeouts.request_head,
        timeouts.idle_client,
    );
    let builder = builder(&engine);
    let mut stage = engine.stage.clone();
    let service = service_fn(move |request| {
        let (engine, state) = (Arc::clone(&engine), Arc::clone(&state));
        async move { Ok::<_, Infallible>(engine.handle(state, request).await) }
    });
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(io), service));
    tokio::select! {
        // A connection that breaks is its client's affair.
        _ = &mut connection => return,
        _ = stage.wait_for(|stage| *stage >= Stage::Draining) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

fn builder(engine: &Engine) -> Builder<TokioExecutor> {
    let limits = &engine.config.limits;
    let timeouts = &engine.config.timeouts;
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .preserve_header_case(true)
        .auto_date_header(false)
        .max_headers(limits.headers)
        .max_buf_size(limits.head_bytes.max(8 * 1024))
        // Heads have a clock of their own, which leaves idle connections alone.
        .header_read_timeout(None);
    builder
        .http2()
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        // A silent client is asked whether it is there. One that stalls within a head or a body cannot say so: between
        // the frames of a head nothing else may stand.
        .keep_alive_interval(timeouts.request_body)
        .keep_alive_timeout(timeouts.request_head);
    builder
}

/// Counts a connection for as long as it stands.
struct Counted(Tally);

impl Counted {
    fn new(tally: Tally) -> Self {
        tally.connected();
        Self(tally)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.disconnected();
    }
}
