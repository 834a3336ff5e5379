//! What passes unread: WebSockets and CONNECT; and the forward proxy for clients whose host cannot be changed.

use callmeter_core::Status;
use callmeter_proxy::Outbound;

use crate::http::{Wire, ask};
use crate::protocols::outbound_proxy;
use crate::rig::Rig;
use crate::upstream::{Upstream, json};

async fn forward_rig() -> Rig {
    Rig::with(|config| config.is_forward_proxy = true).await
}

#[tokio::test]
async fn a_websocket_passes_both_ways() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::to(&format!("http://{}", listener.local_addr().unwrap())).await;
    let mut client = Wire::connect(rig.address).await;
    client
        .send(
            "GET /u/fake/v1/realtime?model=m HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
        )
        .await;
    let mut upstream = Wire::new(listener.accept().await.unwrap().0);
    let head = String::from_utf8(upstream.until(b"\r\n\r\n").await.unwrap()).unwrap();
    assert!(head.starts_with("GET /v1/realtime?model=m HTTP/1.1\r\n"));
    assert!(head.contains("Connection: Upgrade\r\n") && head.contains("Upgrade: websocket\r\n"));
    upstream.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\nhello").await;
    let head = client.response_head().await.unwrap();
    assert_eq!(
        (head.status(), head.header("sec-websocket-accept")),
        (101, Some("y"))
    );
    assert_eq!(client.take(5).await.unwrap(), b"hello");
    client.send("\x00\u{1}ping").await;
    assert_eq!(upstream.take(6).await.unwrap(), b"\x00\x01ping");
    drop(upstream);
    assert!(!client.more().await);
    assert!(rig.rows_at_rest().await.is_empty());
}

#[tokio::test]
async fn a_refused_upgrade_is_an_answer_like_any_other() {
    let upstream = Upstream::always(json(426, "{}")).await;
    let rig = Rig::to(&upstream.url()).await;
    let request = "GET /u/fake/ HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(ask(rig.address, request).await.status(), 426);
}

#[tokio::test]
async fn a_request_in_absolute_form_is_forwarded_and_metered() {
    let reply = r#"{"model":"llama3","done":true,"done_reason":"stop","prompt_eval_count":7,"eval_count":3}"#;
    let upstream = Upstream::always(json(200, reply)).await;
    let rig = forward_rig().await;
    let body = r#"{"model":"llama3","stream":false}"#;
    let request = format!(
        "POST http://{}/api/chat HTTP/1.1\r\nHost: {}\r\nProxy-Connection: keep-alive\r\nContent-Length: {}\r\n\r\n{body}",
        upstream.address,
        upstream.address,
        body.len()
    );
    assert_eq!(ask(rig.address, request).await.text(), reply);
    let sent = upstream.request().await;
    assert_eq!(
        (sent.first_line.as_str(), sent.header("proxy-connection")),
        ("POST /api/chat HTTP/1.1", None)
    );
    let rows = rig.rows_at_rest().await;
    assert_eq!(
        (rows[0].provider.as_deref(), rows[0].usage.input_tokens),
        (Some("ollama"), Some(7))
    );
    assert_eq!(rows[0].status, Some(Status::Ok));
}

#[tokio::test]
async fn connect_is_tunnelled_unread_and_counted_by_known_provider() {
    let upstream = Upstream::always(json(200, "{}")).await;
    let rig = forward_rig().await;
    let mut wire = Wire::connect(rig.address).await;
    wire.send(format!(
        "CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n",
        upstream.address
    ))
    .await;
    assert_eq!(wire.response_head().await.unwrap().status(), 200);
    wire.send("POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(wire.response("POST").await.unwrap().text(), "{}");
    assert!(rig.rows_at_rest().await.is_empty());
    assert!(rig.tally.figures().unread_hosts.is_empty());
    // A provider's host, by way of a proxy that leads elsewhere.
    let (outbound, _asked) = outbound_proxy(upstream.address).await;
    let rig = Rig::with(|config| {
        config.is_forward_proxy = true;
        config.outbound = Outbound::Through(format!("http://{outbound}"));
    })
    .await;
    for host in [
        "API.Mistral.AI:443",
        "api.mistral.ai:443",
        "example.test:443",
    ] {
        let mut wire = Wire::connect(rig.address).await;
        wire.send(format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        assert_eq!(wire.response_head().await.unwrap().status(), 200);
    }
    assert_eq!(
        rig.tally.figures().unread_hosts,
        [("api.mistral.ai".to_owned(), 2)]
    );
}

#[tokio::test]
async fn a_forward_proxy_leads_to_no_address_of_credentials() {
    let rig = forward_rig().await;
    for host in [
        "169.254.169.254",
        "169.254.170.2:80",
        "[fe80::1]",
        "[::ffff:169.254.169.254]",
        "0.0.0.0:80",
        "metadata.google.internal",
        "METADATA.google.internal.:80",
        "100.100.100.200",
        "2852039166",
        "0xa9fea9fe",
    ] {
        let request = format!("GET http://{host}/latest HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let got = ask(rig.address, request).await;
        assert_eq!(
            got.header("x-callmeter-error"),
            Some("address_not_allowed"),
            "{host}"
        );
        assert_eq!(got.status(), 403, "{host}");
    }
    for target in [
        "169.254.169.254:80",
        "[fe80::1]:443",
        "metadata.google.internal:80",
    ] {
        let got = ask(
            rig.address,
            format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"),
        )
        .await;
        assert_eq!(got.status(), 403, "{target}");
    }
    for bad in [
        "GET https://example.test/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET http://a@127.0.0.1/ HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        assert_eq!(ask(rig.address, bad).await.status(), 400, "{bad}");
    }
}

#[tokio::test]
async fn a_forward_proxy_still_has_its_routes() {
    let upstream = Upstream::always(json(200, "{}")).await;
    let url = upstream.url();
    let rig = Rig::with(|config| {
        config.is_forward_proxy = true;
        config.routes.insert(
            "fake".into(),
            callmeter_proxy::Route::to(url.parse().unwrap()),
        );
    })
    .await;
    let own = format!(
        "GET http://{0}/u/fake/x HTTP/1.1\r\nHost: {0}\r\n\r\n",
        rig.address
    );
    assert_eq!(ask(rig.address, own).await.status(), 200);
    assert_eq!(upstream.request().await.first_line, "GET /x HTTP/1.1");
}
