//! Clients that go away, and a proxy that is told to stop.

use callmeter_core::{ErrorKind, Status};

use crate::http::{Wire, post};
use crate::rig::Rig;
use crate::upstream::{Step, Upstream, send};

const HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> Step {
    send(format!("{:x}\r\n{text}\r\n", text.len()))
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_cancels_the_upstream() {
    let upstream = Upstream::always(vec![Step::Gate]).await;
    let rig = Rig::to(&upstream.url()).await;
    let mut wire = Wire::connect(rig.address).await;
    wire.send(post("/u/fake/v1/messages", &[], r#"{"model":"m"}"#))
        .await;
    upstream.request().await;
    drop(wire);
    upstream.lost_a_client().await;
    let rows = rig.rows_at_rest().await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].status, Some(Status::Cancelled));
    assert_eq!(rows[0].error_kind, Some(ErrorKind::Cancelled));
    assert_eq!(rows[0].model_requested.as_deref(), Some("m"));
}

/// Its end and that of a client that left look the same on the wire, and one who left is to cost nothing more.
#[tokio::test]
async fn a_client_that_ends_its_own_direction_before_the_answer_counts_as_one_that_left() {
    use tokio::io::AsyncWriteExt;
    let steps = vec![
        Step::Gate,
        send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ];
    let upstream = Upstream::always(steps).await;
    let rig = Rig::to(&upstream.url()).await;
    let mut wire = Wire::connect(rig.address).await;
    wire.send(post("/u/fake/v1/messages", &[], r#"{"model":"m"}"#))
        .await;
    upstream.request().await;
    wire.stream.shutdown().await.unwrap();
    upstream.lost_a_client().await;
    assert!(wire.response("POST").await.is_none());
    let rows = rig.rows_at_rest().await;
    assert_eq!(rows[0].status, Some(Status::Cancelled));
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_keeps_what_was_known_by_then() {
    let start = r#"data: {"type":"message_start","message":{"id":"msg_1","model":"claude-x","usage":{"input_tokens":9,"output_tokens":1}}}"#;
    let upstream = Upstream::always(vec![
        send(HEAD),
        chunk(&format!("event: message_start\n{start}\n\n")),
        Step::Gate,
    ])
    .await;
    let rig = Rig::to(&upstream.url()).await;
    let mut wire = Wire::connect(rig.address).await;
    wire.send(post(
        "/u/fake/v1/messages",
        &[],
        r#"{"model":"m","stream":true}"#,
    ))
    .await;
    wire.until(b"message_start\"").await.unwrap();
    drop(wire);
    upstream.lost_a_client().await;
    let rows = rig.rows_at_rest().await;
    assert_eq!(rows[0].status, Some(Status::Cancelled));
    assert_eq!(rows[0].usage.input_tokens, Some(9));
    assert_eq!(rows[0].model.as_deref(), Some("claude-x"));
    assert_eq!(rows[0].stream_complete, Some(false));
}

#[tokio::test]
async fn requests_in_flight_end_when_the_proxy_is_told_to_stop() {
    let upstream = Upstream::always(vec![
        send(HEAD),
        chunk("data: 1\n\n"),
        Step::Gate,
        chunk("data: 2\n\n"),
        send("0\r\n\r\n"),
    ])
    .await;
    let mut rig = Rig::to(&upstream.url()).await;
    let mut wire = Wire::connect(rig.address).await;
    wire.send(post("/u/fake/v1/messages", &[], r#"{"stream":true}"#))
        .await;
    wire.until(b"data: 1\n\n\r\n").await.unwrap();
    let stopping = rig.stop();
    let ending = async {
        upstream.open_gate();
        assert_eq!(wire.chunk().await.unwrap(), b"data: 2\n\n");
        assert!(wire.chunk().await.unwrap().is_empty());
    };
    let (summary, ()) = tokio::join!(stopping, ending);
    assert!(summary.is_drained);
    assert_eq!(summary.figures.in_flight, 0);
}

#[tokio::test]
async fn what_does_not_end_in_time_is_broken_off_and_recorded() {
    let upstream = Upstream::always(vec![send(HEAD), chunk("data: 1\n\n"), Step::Gate]).await;
    let url = upstream.url();
    let mut rig = Rig::with(|config| {
        config.routes.insert(
            "fake".into(),
            callmeter_proxy::Route::to(url.parse().unwrap()),
        );
        config.timeouts.drain = std::time::Duration::from_millis(20);
    })
    .await;
    let mut wire = Wire::connect(rig.address).await;
    wire.send(post("/u/fake/v1/messages", &[], r#"{"stream":true}"#))
        .await;
    wire.until(b"data: 1\n\n\r\n").await.unwrap();
    let summary = rig.stop().await;
    assert!(!summary.is_drained);
    upstream.lost_a_client().await;
    assert_eq!(rig.rows().await[0].status, Some(Status::Cancelled));
}

#[tokio::test]
async fn a_client_that_leaves_between_tries_cancels_the_outer_call_s_row() {
    let first = Upstream::always(vec![Step::Gate]).await;
    let last = Upstream::always(Vec::new()).await;
    let upstreams = crate::rig::route([(first.url(), None), (last.url(), None)]);
    let rig = Rig::of("ollama", upstreams).await;
    let guard = rig
        .recorder
        .as_ref()
        .unwrap()
        .call("sales_copy", "ollama", "m");
    let id = guard.id().unwrap().to_string();
    let mut wire = Wire::connect(rig.address).await;
    wire.send(post(
        "/ollama/api/chat",
        &[("x-callmeter-call", &id)],
        r#"{"model":"m"}"#,
    ))
    .await;
    first.request().await;
    drop(wire);
    first.lost_a_client().await;
    guard.cancel();
    let rows = rig.rows_at_rest().await;
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].status.clone(), rows[0].error_kind),
        (Some(Status::Cancelled), Some(ErrorKind::Cancelled))
    );
}
