//! The same request with and without the proxy: what the upstream gets and what the client gets are the same, byte for
//! byte and header for header, but for the headers of a connection.

use std::net::SocketAddr;

use crate::http::{Ending, Message, Wire};
use crate::rig::Rig;
use crate::upstream::{Step, Upstream, send};

/// Sends a request, in which `{path}` and `{host}` stand for what is asked of whom.
async fn exchange(to: SocketAddr, path: &str, request: &[u8]) -> Option<Message> {
    let text = |name: &[u8], value: &str, from: Vec<u8>| match from
        .windows(name.len())
        .position(|part| part == name)
    {
        Some(at) => [&from[..at], value.as_bytes(), &from[at + name.len()..]].concat(),
        None => from,
    };
    let request = text(b"{path}", path, request.to_vec());
    let request = text(b"{host}", &to.to_string(), request);
    let method =
        String::from_utf8_lossy(request.split(|byte| *byte == b' ').next().unwrap()).into_owned();
    let mut wire = Wire::connect(to).await;
    wire.send(&request).await;
    wire.response(&method).await
}

/// The answers, and what the upstream got, directly and by way of the proxy.
async fn both_ways(request: &[u8], steps: Vec<Step>) -> [(Option<Message>, Message); 2] {
    let upstream = Upstream::always(steps).await;
    let rig = Rig::to(&upstream.url()).await;
    let direct = exchange(upstream.address, "", request).await;
    let direct = (
        direct.map(Message::end_to_end),
        upstream.request().await.end_to_end(),
    );
    let proxied = exchange(rig.address, "/u/fake", request).await;
    let proxied = (
        proxied.map(Message::end_to_end),
        upstream.request().await.end_to_end(),
    );
    assert!(upstream.got_no_more().await);
    [direct, proxied]
}

async fn is_the_same(request: impl AsRef<[u8]>, steps: Vec<Step>) -> Message {
    let [direct, proxied] = both_ways(request.as_ref(), steps).await;
    assert_eq!(proxied.1, direct.1, "what the upstream got");
    assert_eq!(proxied.0, direct.0, "what the client got");
    proxied.0.expect("an answer")
}

const GET: &str =
    "GET {path}/odd//path?a=%2F&b HTTP/1.1\r\nHost: {host}\r\nX-ODD-Case: 1\r\naccept: */*\r\n\r\n";

#[tokio::test]
async fn headers_keep_their_case_their_order_and_their_bytes() {
    let answer = b"HTTP/1.1 299 Rather Odd\r\nX-One: 1\r\nSET-Cookie: a=1\r\nset-cookie: b=2\r\nx-bytes: \xff\xfe\r\n\
        X-Empty:\r\nDate: never\r\nContent-Length: 3\r\nserver: odd/1\r\n\r\nab\xff";
    let request = b"POST {path}/odd HTTP/1.1\r\nUser-AGENT: x\r\nHost: {host}\r\nx-bytes: \xe9\r\nX-Empty:\r\nCookie: a\r\n\
        cookie: b\r\nAuthorization: Bearer sk-test\r\nContent-Length: 4\r\nZ-last: 1\r\n\r\n\x00\xff\r\n";
    let answer = is_the_same(request, vec![send(answer)]).await;
    assert_eq!(answer.first_line, "HTTP/1.1 299 Rather Odd");
    assert_eq!(answer.body, b"ab\xff");
}

#[tokio::test]
async fn chunks_of_any_size_and_their_trailers_pass() {
    let steps = vec![
        send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n1\r\na\r\n"),
        send("003;ext=1\r\nbcd\r\n"),
        send("10000\r\n"),
        send("x".repeat(0x10000)),
        send("\r\n0\r\nX-Sum: 7\r\n\r\n"),
    ];
    let request = "GET {path}/c HTTP/1.1\r\nHost: {host}\r\nTE: trailers\r\nConnection: TE\r\n\r\n";
    let answer = is_the_same(request, steps).await;
    assert_eq!(answer.body.len(), 4 + 0x10000);
    assert_eq!(answer.trailers.len(), 1);
}

#[tokio::test]
async fn a_request_in_chunks_with_trailers_passes() {
    let request = "POST {path}/c HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
        3\r\nabc\r\n1;e\r\n\u{1}\r\n0\r\nx-sum: 9\r\n\r\n";
    let [direct, proxied] = both_ways(
        request.as_bytes(),
        vec![send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")],
    )
    .await;
    assert_eq!(proxied, direct);
    assert_eq!(proxied.1.trailers, [("x-sum".to_owned(), b"9".to_vec())]);
}

#[tokio::test]
async fn interim_answers_pass_before_the_answer() {
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
        HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let answer = is_the_same(GET, vec![send(answer)]).await;
    assert_eq!(answer.interim.len(), 2);
}

#[tokio::test]
async fn an_interim_answer_passes_while_the_answer_is_not_there_yet() {
    let upstream = Upstream::always(vec![
        send("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"),
        Step::Gate,
        send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ])
    .await;
    let rig = Rig::to(&upstream.url()).await;
    let mut wire = Wire::connect(rig.address).await;
    wire.send("GET /u/fake/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(
        wire.until(b"\r\n\r\n").await.unwrap(),
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    );
    upstream.open_gate();
    assert_eq!(wire.response("GET").await.unwrap().status(), 200);
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    for (method, answer) in [
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"x\"\r\n\r\n",
        ),
        ("GET", "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n"),
        (
            "HEAD",
            "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (
            "OPTIONS",
            "HTTP/1.1 200 OK\r\nAllow: A\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "PURGE",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "DELETE",
            "HTTP/1.1 302 Found\r\nLocation: https://example.test/else\r\nContent-Length: 0\r\n\r\n",
        ),
    ] {
        let request = format!("{method} {{path}}/x HTTP/1.1\r\nHost: {{host}}\r\n\r\n");
        let answer = is_the_same(request, vec![send(answer)]).await;
        assert!(answer.body.is_empty(), "{method}");
    }
}

#[tokio::test]
async fn a_body_that_the_end_of_the_connection_ends_is_whole() {
    let steps = vec![
        send("HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\nall of "),
        send("it"),
        Step::Finish,
    ];
    let [direct, proxied] = both_ways(GET.as_bytes(), steps).await;
    assert_eq!(proxied, direct);
    let steps = vec![send("HTTP/1.0 200 OK\r\nX-A: 1\r\n\r\nold"), Step::Finish];
    let [direct, proxied] = both_ways(GET.as_bytes(), steps).await;
    // The version is the connection's own.
    assert_eq!(direct.0.unwrap().body, proxied.0.unwrap().body);
}

#[tokio::test]
async fn a_body_that_is_cut_is_cut_for_the_client_too() {
    for (head, end) in [
        ("Content-Length: 10\r\n\r\nabc", Step::Reset),
        ("Content-Length: 10\r\n\r\nabc", Step::Finish),
        (
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            Step::Finish,
        ),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nabc", Step::Reset),
    ] {
        let upstream = Upstream::always(vec![
            send(format!("HTTP/1.1 200 OK\r\n{head}")),
            Step::Gate,
            end,
        ])
        .await;
        let rig = Rig::to(&upstream.url()).await;
        let mut wire = Wire::connect(rig.address).await;
        wire.send("GET /u/fake/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        let head = wire.until(b"abc").await.unwrap();
        assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"));
        upstream.open_gate();
        assert_eq!(
            wire.until(b"0\r\n\r\n").await,
            None,
            "it ends, and not as if it were whole"
        );
    }
}

#[tokio::test]
async fn compressed_bodies_and_huge_heads_pass_as_they_are() {
    let packed: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n",
        packed.len()
    );
    for number in 0..400 {
        answer.push_str(&format!("X-Number-{number}: {}\r\n", "v".repeat(200)));
    }
    answer.push_str("\r\n");
    let mut answer = answer.into_bytes();
    answer.extend_from_slice(&packed);
    let mut request =
        "GET {path}/h HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
            .to_owned();
    for number in 0..100 {
        request.push_str(&format!("x-Number-{number}: {}\r\n", "v".repeat(300)));
    }
    request.push_str("\r\n");
    let answer = is_the_same(request, vec![send(answer)]).await;
    assert_eq!(answer.body, packed);
    assert_eq!(answer.ending, Ending::Whole);
}

#[tokio::test]
async fn each_byte_is_passed_on_before_the_next_is_sent() {
    let mut steps = vec![send(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    )];
    for byte in "drip".chars() {
        steps.extend([Step::Gate, send(format!("1\r\n{byte}\r\n"))]);
    }
    steps.extend([Step::Gate, send("0\r\n\r\n")]);
    let upstream = Upstream::always(steps).await;
    let rig = Rig::to(&upstream.url()).await;
    let mut wire = Wire::connect(rig.address).await;
    wire.send("GET /u/fake/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    // The head comes before any of the body is sent.
    assert_eq!(wire.response_head().await.unwrap().status(), 200);
    for byte in "drip".bytes() {
        upstream.open_gate();
        assert_eq!(wire.chunk().await.unwrap(), [byte]);
    }
    upstream.open_gate();
    assert!(wire.chunk().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_request_is_passed_on_while_it_is_still_being_sent() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::to(&format!("http://{}", listener.local_addr().unwrap())).await;
    let mut client = Wire::connect(rig.address).await;
    client
        .send("POST /u/fake/up HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n")
        .await;
    client.send("a").await;
    let mut upstream = Wire::new(listener.accept().await.unwrap().0);
    upstream.until(b"\r\n\r\n").await.unwrap();
    assert_eq!(upstream.take(1).await.unwrap(), b"a");
    // An answer may come before the request has ended.
    upstream
        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        .await;
    assert_eq!(client.response_head().await.unwrap().status(), 200);
    assert_eq!(client.chunk().await.unwrap(), b"x");
    client.send("bc").await;
    assert_eq!(upstream.take(2).await.unwrap(), b"bc");
    upstream.send("0\r\n\r\n").await;
    assert!(client.chunk().await.unwrap().is_empty());
}

#[tokio::test]
async fn many_requests_share_connections_on_both_sides() {
    let upstream = Upstream::by(|request| {
        let body = request.first_line.clone();
        vec![send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))]
    })
    .await;
    let rig = Rig::to(&upstream.url()).await;
    let mut wire = Wire::connect(rig.address).await;
    for number in 0..50 {
        wire.send(format!(
            "GET /u/fake/{number} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ))
        .await;
        let answer = wire.response("GET").await.unwrap();
        assert_eq!(answer.text(), format!("GET /{number} HTTP/1.1"));
    }
    assert_eq!(rig.tally.figures().connections, 1);
    assert_eq!(rig.tally.figures().requests, 50);
}

#[tokio::test]
async fn a_client_that_waits_to_be_asked_for_its_body_is_asked() {
    let upstream =
        Upstream::always(vec![send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")]).await;
    let rig = Rig::to(&upstream.url()).await;
    for path in ["/u/fake/x", "/u/fake/v1/chat/completions"] {
        let mut wire = Wire::connect(rig.address).await;
        wire.send(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")).await;
        assert_eq!(
            wire.until(b"\r\n\r\n").await.unwrap(),
            b"HTTP/1.1 100 Continue\r\n\r\n"
        );
        wire.send("{}").await;
        assert_eq!(wire.response("POST").await.unwrap().text(), "ok");
        assert_eq!(upstream.request().await.text(), "{}");
    }
}

#[tokio::test]
async fn an_old_client_gets_no_interim_answer_and_a_body_that_ends_with_its_connection() {
    let answer = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let upstream = Upstream::always(vec![send(answer)]).await;
    let rig = Rig::to(&upstream.url()).await;
    let answer = exchange(rig.address, "/u/fake", b"GET {path}/ HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(
        (
            answer.interim.len(),
            answer.text(),
            answer.header("transfer-encoding")
        ),
        (0, "ok", None)
    );
}

#[tokio::test]
async fn of_two_framings_of_an_answer_the_chunks_count() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let upstream = Upstream::always(vec![send(answer)]).await;
    let rig = Rig::to(&upstream.url()).await;
    let answer = exchange(rig.address, "/u/fake", GET.as_bytes())
        .await
        .unwrap();
    assert_eq!(
        (answer.text(), answer.header("content-length")),
        ("ok", None)
    );
}

#[tokio::test]
async fn requests_that_are_sent_ahead_are_answered_in_their_order() {
    let upstream = Upstream::by(|request| {
        let body = request.first_line.clone();
        vec![
            send("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"),
            send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )),
        ]
    })
    .await;
    let rig = Rig::to(&upstream.url()).await;
    let mut wire = Wire::connect(rig.address).await;
    let ahead: String = (0..10)
        .map(|number| format!("GET /u/fake/{number} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .collect();
    wire.send(ahead).await;
    for number in 0..10 {
        assert_eq!(
            wire.response("GET").await.unwrap().text(),
            format!("GET /{number} HTTP/1.1")
        );
    }
}

#[tokio::test]
async fn a_client_that_reads_slowly_slows_its_upstream_down_and_fills_no_memory() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::AsyncWriteExt;
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 1_024;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let quick = Upstream::always(vec![send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]).await;
    let (slow_url, quick_url) = (
        format!("http://{}", listener.local_addr().unwrap()),
        quick.url(),
    );
    let rig = Rig::with(|config| {
        config.routes.insert(
            "slow".into(),
            callmeter_proxy::Route::to(slow_url.parse().unwrap()),
        );
        config.routes.insert(
            "quick".into(),
            callmeter_proxy::Route::to(quick_url.parse().unwrap()),
        );
    })
    .await;
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    tokio::spawn(async move {
        let mut wire = Wire::new(listener.accept().await.unwrap().0);
        wire.until(b"\r\n\r\n").await.unwrap();
        wire.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            PIECE * PIECES
        ))
        .await;
        for _ in 0..PIECES {
            wire.stream.write_all(&[b'x'; PIECE]).await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut wire = Wire::connect(rig.address).await;
    wire.send("GET /u/slow/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    // The upstream is at rest when a hundred other exchanges find its count unchanged.
    let mut other = Wire::connect(rig.address).await;
    loop {
        let before = sent.load(Ordering::SeqCst);
        for _ in 0..100 {
            other
                .send("GET /u/quick/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .await;
            assert_eq!(other.response("GET").await.unwrap().status(), 200);
        }
        if before > 0 && sent.load(Ordering::SeqCst) == before {
            break;
        }
    }
    let at_rest = sent.load(Ordering::SeqCst);
    assert!(
        at_rest < PIECES / 2,
        "{at_rest} of {PIECES} pieces went although nobody read"
    );
    let answer = wire.response("GET").await.unwrap();
    assert_eq!(
        (answer.body.len(), answer.ending),
        (PIECE * PIECES, Ending::Whole)
    );
}
