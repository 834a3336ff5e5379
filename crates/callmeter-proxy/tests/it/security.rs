//! What a request must not be able to do: choose an address, hide a second request, use the machine up, or come from a
//! page in a browser; and what must never be kept of it.

use std::time::Duration;

use callmeter_proxy::{Proxy, ProxyConfig, ProxyError, Route};
use hyper::Request;
use tokio::io::AsyncWriteExt;

use crate::http::{Wire, ask, post};
use crate::protocols::{Whole, h2_to};
use crate::rig::Rig;
use crate::upstream::{Upstream, json};

const OK: &str = r#"{"model":"m","usage":{"prompt_tokens":1,"completion_tokens":1}}"#;

/// Asks and gives status and error code.
async fn refused(rig: &Rig, request: &str) -> (u16, String) {
    let got = ask(rig.address, request).await;
    let code = got
        .header("x-callmeter-error")
        .unwrap_or_default()
        .to_owned();
    (got.status(), code)
}

#[tokio::test]
async fn a_path_cannot_name_an_address() {
    let upstream = Upstream::always(json(200, OK)).await;
    let rig = Rig::to(&upstream.url()).await;
    let address = upstream.address;
    for path in [
        format!("/u/{address}/x"),
        format!("/u/http://{address}/x"),
        format!("/u/http:%2F%2F{address}/x"),
        "/u/169.254.169.254/latest/meta-data/".to_owned(),
        "/u/[fe80::1]/x".to_owned(),
        format!("/{address}/x"),
        format!("//{address}/x"),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(
            refused(&rig, &request).await,
            (404, "no_route".into()),
            "{path}"
        );
    }
    for target in [
        format!("http://{address}/x"),
        "http://169.254.169.254/".to_owned(),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(
            refused(&rig, &request).await.0,
            if target.contains("169") { 421 } else { 404 }
        );
    }
    let request = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    assert_eq!(refused(&rig, &request).await, (405, "no_tunnels".into()));
    assert!(upstream.got_no_more().await);
}

#[tokio::test]
async fn a_name_that_leads_here_from_a_page_is_refused() {
    let upstream = Upstream::always(json(200, OK)).await;
    let url = upstream.url();
    let rig = Rig::with(|config| {
        config
            .routes
            .insert("fake".into(), Route::to(url.parse().unwrap()));
        config.host_names.push("callmeter.test".into());
    })
    .await;
    for host in ["evil.example", "localhost.evil.example:2255", "10.0.0.1"] {
        let request = format!("GET /u/fake/ HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(
            refused(&rig, &request).await,
            (421, "host_not_allowed".into())
        );
    }
    for host in ["localhost", "127.0.0.1:1", "[::1]", "callmeter.test:9"] {
        let request = format!("GET /u/fake/ HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(refused(&rig, &request).await.0, 200);
    }
    for hosts in [
        "",
        "Host: localhost\r\nHost: evil.example\r\n",
        "Host: \u{e9}\r\n",
    ] {
        let request = format!("GET /u/fake/ HTTP/1.1\r\n{hosts}\r\n");
        assert_eq!(refused(&rig, &request).await.0, 400, "{hosts}");
    }
}

#[tokio::test]
async fn a_name_that_leads_here_is_refused_over_http_2_too() {
    let upstream = Upstream::always(json(200, OK)).await;
    let rig = Rig::to(&upstream.url()).await;
    let port = rig.address.port();
    for (authority, host, status) in [
        (format!("evil.example:{port}"), None, 421),
        // Two that differ are two readings of one request.
        (format!("evil.example:{port}"), Some("localhost"), 400),
        (format!("localhost:{port}"), None, 200),
    ] {
        let mut request = Request::get(format!("http://{authority}/u/fake/"));
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let request = request.body(Whole::of("")).unwrap();
        let answer = h2_to(rig.address).await.send_request(request).await;
        assert_eq!(answer.unwrap().status().as_u16(), status, "{authority}");
    }
}

#[tokio::test]
async fn a_head_of_http_2_has_the_same_limit() {
    let upstream = Upstream::always(json(200, OK)).await;
    let rig = Rig::to(&upstream.url()).await;
    let mut client = h2_to(rig.address).await;
    let bomb = Request::get(format!("http://{}/u/fake/", rig.address))
        .header("x", "y".repeat(100_000))
        .body(Whole::of(""))
        .unwrap();
    let status = client.send_request(bomb).await;
    assert!(
        status.is_err() || status.is_ok_and(|answer| answer.status() == 431),
        "it is no request that passes"
    );
    assert!(upstream.got_no_more().await);
    let request = Request::get(format!("http://{}/u/fake/", rig.address));
    let request = request.body(Whole::of("")).unwrap();
    let answer = h2_to(rig.address).await.send_request(request).await;
    assert_eq!(answer.unwrap().status(), 200, "others are served");
}

#[tokio::test]
async fn a_line_break_in_a_path_or_a_caller_makes_no_header() {
    let upstream = Upstream::always(json(200, OK)).await;
    let rig = Rig::to(&upstream.url()).await;
    let path = "/u/fake/v1/chat/completions%0d%0aX-Evil:%201?a=%0d%0aX-Evil:%202";
    assert_eq!(ask(rig.address, post(path, &[], "{}")).await.status(), 200);
    let sent = upstream.request().await;
    assert_eq!(
        sent.first_line,
        format!("POST {} HTTP/1.1", path.strip_prefix("/u/fake").unwrap())
    );
    assert_eq!(sent.header("x-evil"), None);
    let path = "/as/night%0d%0aX-Evil:%201/u/fake/v1/chat/completions";
    let body = r#"{"model":"m"}"#;
    assert_eq!(ask(rig.address, post(path, &[], body)).await.status(), 200);
    let sent = upstream.request().await;
    assert_eq!(sent.header("x-evil"), None);
    let rows = rig.rows_at_rest().await;
    let caller = rows.last().unwrap().caller.clone().unwrap();
    assert!(!caller.contains(['\r', '\n']), "{caller:?}");
}

#[tokio::test]
async fn a_page_of_another_host_may_not_ask() {
    let upstream = Upstream::always(json(200, OK)).await;
    let rig = Rig::to(&upstream.url()).await;
    for (origin, status) in [
        ("https://evil.example", 403),
        ("null", 403),
        ("http://localhost:3000", 200),
        ("vscode-webview://x", 200),
    ] {
        let request =
            format!("GET /u/fake/ HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n\r\n");
        assert_eq!(refused(&rig, &request).await.0, status, "{origin}");
    }
}

#[tokio::test]
async fn a_second_request_cannot_hide_in_the_body_of_a_first() {
    let upstream = Upstream::always(json(200, OK)).await;
    let rig = Rig::to(&upstream.url()).await;
    let hidden = "GET /u/fake/hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for framing in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: chunked\r\n X: obs-fold\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X: a\rb\r\n",
    ] {
        let request =
            format!("POST /u/fake/ HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n0\r\n\r\n{hidden}");
        let mut wire = Wire::connect(rig.address).await;
        wire.send(request).await;
        if let Some(answer) = wire.response("POST").await {
            assert_eq!(answer.status(), 400, "{framing}");
        }
        assert!(wire.response("GET").await.is_none(), "{framing}");
        assert!(upstream.got_no_more().await, "{framing}");
    }
    // Both framings at once: the chunks count, the length goes no further, and nothing follows.
    for both in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 60\r\n",
    ] {
        let request =
            format!("POST /u/fake/ HTTP/1.1\r\nHost: localhost\r\n{both}\r\n0\r\n\r\n{hidden}");
        let mut wire = Wire::connect(rig.address).await;
        wire.send(request).await;
        assert_eq!(wire.response("POST").await.unwrap().status(), 200);
        assert!(wire.response("GET").await.is_none());
        let sent = upstream.request().await;
        assert_eq!((sent.body.len(), sent.header("content-length")), (0, None));
        assert!(upstream.got_no_more().await);
    }
    // The same length twice is one length.
    let request = "POST /u/fake/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(refused(&rig, request).await.0, 200);
    let lengths = upstream.request().await.headers;
    assert_eq!(
        lengths
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .count(),
        1
    );
}

#[tokio::test]
async fn requests_have_limits() {
    let upstream = Upstream::always(json(200, OK)).await;
    let url = upstream.url();
    let rig = Rig::with(|config| {
        config
            .routes
            .insert("fake".into(), Route::to(url.parse().unwrap()));
        config.limits.body_bytes = 1_000;
    })
    .await;
    let many: String = (0..300)
        .map(|number| format!("x-{number}: y\r\n"))
        .collect();
    let long = format!("x: {}\r\n", "y".repeat(100_000));
    for headers in [many, long] {
        let mut wire = Wire::connect(rig.address).await;
        let request = format!("GET /u/fake/ HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        wire.send(request).await;
        assert_eq!(wire.response("GET").await.unwrap().status(), 431);
    }
    let too_long = post("/u/fake/", &[], &"y".repeat(1_001));
    assert_eq!(ask(rig.address, too_long).await.status(), 413);
    let chunks = format!("3e9\r\n{}\r\n0\r\n\r\n", "y".repeat(1_001));
    for path in ["/u/fake/", "/u/fake/v1/chat/completions"] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        assert_eq!(ask(rig.address, head + &chunks).await.status(), 413);
    }
}

#[tokio::test]
async fn a_client_that_sends_slowly_is_left() {
    let upstream = Upstream::always(json(200, OK)).await;
    let url = upstream.url();
    let rig = Rig::with(|config| {
        config
            .routes
            .insert("fake".into(), Route::to(url.parse().unwrap()));
        config.timeouts.request_head = Duration::from_millis(30);
        config.timeouts.request_body = Duration::from_millis(30);
    })
    .await;
    let mut wire = Wire::connect(rig.address).await;
    wire.send("GET /u/fa").await;
    assert!(!wire.more().await, "the connection ends");
    for path in ["/u/fake/", "/u/fake/v1/chat/completions"] {
        let mut wire = Wire::connect(rig.address).await;
        wire.send(format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{{"
        ))
        .await;
        let answer = wire.response("POST").await.unwrap();
        assert_eq!(
            (answer.status(), answer.header("x-callmeter-error")),
            (408, Some("body_timed_out"))
        );
    }
    // Nor does a byte now and then begin the time anew.
    let mut drip = Wire::connect(rig.address).await;
    drip.send("GET /u/fake/ HTTP/1.1\r\nx: ").await;
    let mut bytes = 0;
    while drip.stream.write_all(b"y").await.is_ok() {
        bytes += 1;
        assert!(bytes < 10_000, "it is not left, however slow");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // One that says nothing yet is none of these.
    let mut idle = Wire::connect(rig.address).await;
    let mut busy = Wire::connect(rig.address).await;
    busy.send("G").await;
    assert!(!busy.more().await);
    idle.send("GET /u/fake/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(idle.response("GET").await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_proxy_listens_on_loopback_alone_and_never_asks_itself() {
    let mut config = ProxyConfig::default();
    config.listen = "0.0.0.0:0".parse().unwrap();
    let refused = Proxy::bind(config, None).await;
    assert!(matches!(refused, Err(ProxyError::NotLoopback(_))));
    let port = Upstream::nobody().await.port();
    let rig = Rig::with(|config| {
        config.listen = format!("127.0.0.1:{port}").parse().unwrap();
        config.routes.insert(
            "self".into(),
            Route::to(format!("http://localhost:{port}").parse().unwrap()),
        );
    })
    .await;
    let request = "GET /u/self/ HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(self::refused(&rig, request).await, (508, "loop".into()));
}

#[tokio::test]
async fn keys_and_content_are_in_no_row_and_no_error() {
    const KEY: &str = "sk-proj-MARKER";
    const PROMPT: &str = "the secret PROMPT";
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{PROMPT}"}}]}}"#);
    let reply =
        format!(r#"{{"error":{{"message":"about {PROMPT}","type":"invalid_request_error"}}}}"#);
    let upstream = Upstream::always(json(400, &reply)).await;
    let rig = Rig::of("openai", Route::to(upstream.url().parse().unwrap())).await;
    let path = format!("/v1/chat/completions?key={KEY}");
    let headers = [
        ("Authorization", format!("Bearer {KEY}")),
        ("x-api-key", KEY.into()),
    ];
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    assert_eq!(
        ask(rig.address, post(&path, &headers, &body)).await.text(),
        reply
    );
    let nobody = format!("http://{}", Upstream::nobody().await);
    let broken = Rig::to(&nobody).await;
    let answer = ask(
        broken.address,
        post(&format!("/u/fake{path}"), &headers, &body),
    )
    .await;
    let mut seen = format!(
        "{:?}{:?}",
        rig.rows_at_rest().await,
        broken.rows_at_rest().await
    );
    seen.push_str(answer.text());
    seen.push_str(&format!("{:?}{:?}", rig.tally, broken.tally.figures()));
    assert!(seen.contains("invalid_request"));
    assert!(!seen.contains("MARKER") && !seen.contains("PROMPT"));
}
