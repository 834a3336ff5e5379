//! When each byte comes, with and without the proxy. The upstream sends nothing more until the client has what was
//! sent: a proxy that held any of it back would end the test, however fast the machine.

use std::net::SocketAddr;

use crate::http::Wire;
use crate::rig::{Rig, route};
use crate::upstream::{Step, Upstream, send};

/// An answer in pieces: its head, and bytes of which each waits for the client.
struct Drip {
    head: &'static str,
    pieces: &'static [&'static str],
    /// Whether the end of the connection ends it.
    is_open_ended: bool,
}

const SIZED: Drip = Drip {
    head: "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 6\r\n\r\n",
    pieces: &["{", "\"a\":", "}"],
    is_open_ended: false,
};
const CHUNKED: Drip = Drip {
    head: "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
    pieces: &["1\r\n{\r\n", "3\r\nabc\r\n", "0\r\n\r\n"],
    is_open_ended: false,
};
const EVENTS: Drip = Drip {
    head: "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    pieces: &[
        "28\r\ndata: {\"choices\":[{\"delta\":{},\"n\":1}]}\n\n\r\n",
        "28\r\ndata: {\"choices\":[{\"delta\":{},\"n\":2}]}\n\n\r\n",
        "E\r\ndata: [DONE]\n\n\r\n",
        "0\r\n\r\n",
    ],
    is_open_ended: false,
};
const PACKED: Drip = Drip {
    head: "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n",
    pieces: &["\u{1f}", "\u{8}\u{0}", "x"],
    is_open_ended: false,
};
const OPEN_ENDED: Drip = Drip {
    head: "HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n",
    pieces: &["a", "bc"],
    is_open_ended: true,
};

impl Drip {
    fn steps(&self) -> Vec<Step> {
        let mut steps = vec![send(self.head)];
        for piece in self.pieces {
            steps.extend([Step::Gate, send(piece)]);
        }
        if self.is_open_ended {
            steps.extend([Step::Gate, Step::Finish]);
        }
        steps
    }
}

/// What the client had when the upstream had sent each part, and nothing behind it.
async fn parts(drip: &Drip, upstream: &Upstream, to: SocketAddr, path: &str) -> Vec<Vec<u8>> {
    let body = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#;
    let mut wire = Wire::connect(to).await;
    let len = body.len();
    wire.send(format!(
        "POST {path} HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\nContent-Length: {len}\r\n\r\n{body}"
    ))
    .await;
    let head = wire.response_head().await.unwrap();
    let mut parts = vec![head.first_line.into_bytes()];
    for piece in drip.pieces {
        upstream.open_gate();
        parts.push(wire.take(piece.len()).await.unwrap());
    }
    if drip.is_open_ended {
        upstream.open_gate();
        parts.push(wire.until(b"never").await.unwrap_or_default());
    }
    parts
}

#[tokio::test]
async fn every_part_of_an_answer_comes_while_the_upstream_holds_the_next() {
    for (drip, path) in [
        (SIZED, "/v1/messages"),
        (CHUNKED, "/api/chat"),
        (EVENTS, "/v1/chat/completions"),
        (EVENTS, "/x"),
        (PACKED, "/v1/messages"),
        (OPEN_ENDED, "/x"),
    ] {
        let upstream = Upstream::always(drip.steps()).await;
        let rig = Rig::to(&upstream.url()).await;
        let direct = parts(&drip, &upstream, upstream.address, path).await;
        let proxied = format!("/u/fake{path}");
        // An answer that ends with its connection is chunked by the proxy, which keeps its own.
        if drip.is_open_ended {
            let mut wire = Wire::connect(rig.address).await;
            wire.send(format!("GET {proxied} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
                .await;
            wire.response_head().await.unwrap();
            for piece in drip.pieces {
                upstream.open_gate();
                assert_eq!(wire.chunk().await.unwrap(), piece.as_bytes());
            }
            upstream.open_gate();
            assert!(wire.chunk().await.unwrap().is_empty());
            continue;
        }
        let proxied = parts(&drip, &upstream, rig.address, &proxied).await;
        assert_eq!(proxied, direct, "{path}");
    }
}

#[tokio::test]
async fn on_a_route_with_a_next_upstream_head_and_first_byte_come_together() {
    let mut steps = vec![send(EVENTS.head), send(EVENTS.pieces[0])];
    for piece in &EVENTS.pieces[1..] {
        steps.extend([Step::Gate, send(piece)]);
    }
    let upstream = Upstream::always(steps).await;
    let next = Upstream::always(Vec::new()).await;
    let rig = Rig::of("fake", route([(upstream.url(), None), (next.url(), None)])).await;
    let mut wire = Wire::connect(rig.address).await;
    let body = r#"{"model":"m","stream":true}"#;
    wire.send(crate::http::post("/u/fake/v1/messages", &[], body))
        .await;
    assert_eq!(wire.response_head().await.unwrap().status(), 200);
    assert!(!wire.chunk().await.unwrap().is_empty());
    for _ in &EVENTS.pieces[1..] {
        upstream.open_gate();
        wire.chunk().await.unwrap();
    }
    assert!(next.got_no_more().await);
}
