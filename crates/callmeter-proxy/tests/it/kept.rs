//! Connections to upstreams: kept, replaced, given up.

use std::time::Duration;

use tokio::net::TcpListener;

use crate::http::{Wire, ask, post};
use crate::rig::{Rig, route};
use crate::upstream::{Step, Upstream, json, send};

#[tokio::test]
async fn answers_of_every_framing_leave_their_connection_to_the_next_request() {
    let upstream = Upstream::by(|request| match request.first_line.split(' ').nth(1) {
        Some("/chunked") => vec![send(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n",
        )],
        Some("/nothing") => vec![send("HTTP/1.1 204 No Content\r\n\r\n")],
        Some("/head") => vec![send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")],
        _ => json(200, "{}"),
    })
    .await;
    let rig = Rig::to(&upstream.url()).await;
    let mut wire = Wire::connect(rig.address).await;
    for (method, path) in [
        ("GET", "/sized"),
        ("GET", "/chunked"),
        ("HEAD", "/head"),
        ("GET", "/nothing"),
        ("GET", "/sized"),
    ] {
        wire.send(format!(
            "{method} /u/fake{path} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ))
        .await;
        wire.response(method).await.unwrap();
        upstream.request().await;
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_its_upstream_closed_is_replaced_without_a_word() {
    let mut steps = json(200, "{}");
    steps.push(Step::Close);
    let upstream = Upstream::always(steps).await;
    let rig = Rig::to(&upstream.url()).await;
    let mut wire = Wire::connect(rig.address).await;
    let body = r#"{"model":"m"}"#;
    for _ in 0..3 {
        wire.send(post("/u/fake/v1/chat/completions", &[], body))
            .await;
        assert_eq!(wire.response("POST").await.unwrap().status(), 200);
        assert_eq!(upstream.request().await.text(), body);
        upstream.lost_a_client().await;
    }
    assert!(upstream.got_no_more().await);
    assert_eq!(upstream.connections(), 3);
}

#[tokio::test]
async fn an_unused_connection_is_closed_after_its_time() {
    let upstream = Upstream::always(json(200, "{}")).await;
    let url = upstream.url();
    let rig = Rig::with(|config| {
        config.timeouts.idle_upstream = Duration::from_millis(40);
        config
            .routes
            .insert("fake".to_owned(), route([(url, None)]));
    })
    .await;
    let request = "GET /u/fake/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(ask(rig.address, request).await.status(), 200);
    upstream.lost_a_client().await;
}

#[tokio::test]
async fn an_upload_goes_on_after_its_answer_is_over() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::to(&format!("http://{}", listener.local_addr().unwrap())).await;
    let mut client = Wire::connect(rig.address).await;
    client
        .send(
            "POST /u/fake/v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nfirst",
        )
        .await;
    let (stream, _) = listener.accept().await.unwrap();
    let mut upstream = Wire::new(stream);
    upstream.until(b"first").await.unwrap();
    upstream
        .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.response("POST").await.unwrap().text(), "ok");
    client.send("other").await;
    assert_eq!(upstream.take(5).await.as_deref(), Some(&b"other"[..]));
    // Both connections serve on.
    client
        .send("GET /u/fake/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    upstream.until(b"\r\n\r\n").await.unwrap();
    upstream
        .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
        .await;
    assert_eq!(client.response("GET").await.unwrap().text(), "no");
}
