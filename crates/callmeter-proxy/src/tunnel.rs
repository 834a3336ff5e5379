//! Bytes that pass unread: connections that switched to another protocol (WebSocket), and those of CONNECT.

use std::sync::Arc;

use callmeter_wire::RequestFacts;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};

use crate::answer::{Answer, Refusal};
use crate::client_io::ClientState;
use crate::dial::DialError;
use crate::engine::{Engine, Stage};

/// Joins two connections that switched protocols, until one ends or the proxy stops.
pub(crate) fn join(engine: &Arc<Engine>, on_client: OnUpgrade, on_upstream: OnUpgrade) {
    let engine = Arc::clone(engine);
    tokio::spawn(async move {
        let (Ok(client), Ok(upstream)) = (on_client.await, on_upstream.await) else {
            return;
        };
        copy(&engine, TokioIo::new(client), TokioIo::new(upstream)).await;
    });
}

/// Answers CONNECT: a tunnel to where the client says, within what requests may reach.
pub(crate) async fn connect(
    engine: &Arc<Engine>,
    client: &ClientState,
    mut request: Request<Incoming>,
) -> Result<Response<Answer>, Refusal> {
    if !engine.config.is_forward_proxy {
        return Err(Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "no_tunnels",
            "this proxy does not tunnel; it is not a forward proxy",
        ));
    }
    let authority = request
        .uri()
        .authority()
        .filter(|authority| !authority.as_str().contains('@'));
    let target =
        authority.and_then(|authority| Some((authority.host().to_owned(), authority.port_u16()?)));
    let Some((host, port)) = target else {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "bad_target",
            "CONNECT needs a host and a port",
        ));
    };
    let facts = RequestFacts::from_line("CONNECT", "").with_host(&format!("{host}:{port}"));
    if facts.provider.is_some() {
        engine.recording.tally.unread(&host.to_ascii_lowercase());
    }
    let upstream = engine.dialer.tunnel(&host, port).await.map_err(|error| {
        let (status, code) = match error {
            DialError::Forbidden => (StatusCode::FORBIDDEN, "address_not_allowed"),
            DialError::Timeout => (StatusCode::GATEWAY_TIMEOUT, "upstream_timed_out"),
            _ => (StatusCode::BAD_GATEWAY, "upstream_unreachable"),
        };
        Refusal::new(status, code, error.to_string())
    })?;
    client.leave();
    let on_client = hyper::upgrade::on(&mut request);
    let engine = Arc::clone(engine);
    tokio::spawn(async move {
        if let Ok(client) = on_client.await {
            copy(&engine, TokioIo::new(client), upstream).await;
        }
    });
    Ok(Response::new(Answer::own(None)))
}

async fn copy(
    engine: &Engine,
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    mut upstream: impl AsyncRead + AsyncWrite + Unpin,
) {
    let mut stage = engine.stage.clone();
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut upstream) => {}
        _ = stage.wait_for(|stage| *stage == Stage::Stopped) => {}
    }
}
