//! The same of HTTP/2 as `security` of HTTP/1.1: what a request must not be able to do.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use callmeter_proxy::{ProxyConfig, Route};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::frames::{
    CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, End, Frames, HEADERS,
    REFUSED_STREAM, RST_STREAM, field, frame, kept_field, request,
};
use crate::http::{Ending, LIMIT, ask, post};
use crate::rig::Rig;
use crate::upstream::{Upstream, json};

const OK: &str = r#"{"model":"m","usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
/// A path whose body is held, and one whose body passes.
const HELD: &str = "/u/fake/v1/chat/completions";
const PASSING: &str = "/u/fake/x";

async fn rig(upstream: &Upstream, configure: impl FnOnce(&mut ProxyConfig)) -> Rig {
    let url = upstream.url();
    Rig::with(|config| {
        let route = Route::to(url.parse().unwrap());
        config.routes.insert("fake".into(), route);
        configure(config);
    })
    .await
}

/// A body of one piece that never ends, or of many that do.
struct Pieces {
    piece: Bytes,
    left: usize,
    ends: bool,
}

impl Pieces {
    fn none() -> Self {
        Self::of("", 0, true)
    }

    fn of(piece: &str, left: usize, ends: bool) -> Self {
        Self {
            piece: Bytes::copy_from_slice(piece.as_bytes()),
            left,
            ends,
        }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left > 0 {
            self.left -= 1;
            return Poll::Ready(Some(Ok(Frame::data(self.piece.clone()))));
        }
        if self.ends {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.ends
    }
}

/// Sends one sound request on a connection of its own.
async fn sent(rig: &Rig, request: Request<Pieces>) -> Response<Incoming> {
    let stream = TcpStream::connect(rig.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let response = tokio::time::timeout(LIMIT, sender.send_request(request)).await;
    response.expect("an answer in time").unwrap()
}

async fn refused(rig: &Rig, request: Request<Pieces>) -> (u16, String) {
    let response = sent(rig, request).await;
    let code = response.headers().get("x-callmeter-error");
    let code = code.map_or("", |code| code.to_str().unwrap());
    (response.status().as_u16(), code.to_owned())
}

#[tokio::test]
async fn what_is_malformed_reaches_no_upstream() {
    let upstream = Upstream::always(json(200, OK)).await;
    let rig = rig(&upstream, |_| {}).await;
    let with = |name: &str, value: &str| request("GET", PASSING, &[(name, value)]);
    let own = |fields: &[(&str, &str)]| -> Vec<u8> {
        let fields = fields.iter();
        fields
            .flat_map(|(name, value)| field(name, value))
            .collect()
    };
    let [method, scheme] = [(":method", "GET"), (":scheme", "http")];
    let [authority, path] = [(":authority", "localhost"), (":path", PASSING)];
    for fields in [
        with("transfer-encoding", "chunked"),
        with("connection", "keep-alive"),
        with("connection", "x-callmeter-caller"),
        with("keep-alive", "timeout=5"),
        with("proxy-connection", "close"),
        with("upgrade", "websocket"),
        with("te", "gzip"),
        with("X-Upper", "1"),
        with("x y", "1"),
        with("x:", "1"),
        with("x-cut", "1\r\nhost: evil.example"),
        with("x-nul", "a\0b"),
        with("content-length", "5"),
        with("content-length", "-1"),
        with("content-length", "+0"),
        with("content-length", "0, 5"),
        with(":x", "1"),
        with(":method", "POST"),
        request("GET", "/u/fake/ HTTP/1.1\r\nx: y", &[]),
        request("GET", "", &[]),
        request("GET /u/fake/ HTTP/1.1\r\nx:", PASSING, &[]),
        own(&[scheme, authority, path]),
        own(&[method, scheme, authority]),
        own(&[method, scheme, authority, ("x", "1"), path]),
    ] {
        let mut client = Frames::connect(rig.address).await;
        client.begin(1, &fields, END_STREAM).await;
        let end = client.end_of(1).await;
        assert_ne!(end, End::Gone, "{}", fields.escape_ascii());
        assert!(upstream.got_no_more().await, "{}", fields.escape_ascii());
    }
    // Two lengths that differ, with a body that fits one of them.
    let lengths = [("content-length", "5"), ("content-length", "6")];
    let mut client = Frames::connect(rig.address).await;
    client
        .begin(1, &request("POST", PASSING, &lengths), 0)
        .await;
    client.send(frame(DATA, END_STREAM, 1, b"hello")).await;
    assert!(matches!(
        client.end_of(1).await,
        End::Reset(_) | End::Closed(_)
    ));
    assert!(upstream.got_no_more().await);
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_it_says_is_whole_for_no_upstream() {
    let upstream = Upstream::always(json(200, OK)).await;
    let rig = rig(&upstream, |_| {}).await;
    for (path, body) in [
        (HELD, &b"{}"[..]),
        (HELD, b"{\"a\":12}"),
        (PASSING, b"{}"),
        (
            PASSING,
            b"hello, GET /u/fake/hidden HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ),
    ] {
        let mut client = Frames::connect(rig.address).await;
        let fields = request("POST", path, &[("content-length", "5")]);
        client.begin(1, &fields, 0).await;
        client.send(frame(DATA, END_STREAM, 1, body)).await;
        let end = client.end_of(1).await;
        assert!(matches!(end, End::Reset(_) | End::Closed(_)), "{end:?}");
        // Whoever comes next is the next, and nothing hides before it.
        assert_eq!(
            ask(rig.address, post("/u/fake/next", &[], "{}"))
                .await
                .status(),
            200
        );
        loop {
            let got = upstream.request().await;
            if got.first_line == "POST /next HTTP/1.1" {
                break;
            }
            assert_eq!((path, got.ending), (PASSING, Ending::Cut), "{got:?}");
        }
        assert!(upstream.got_no_more().await);
    }
}

#[tokio::test]
async fn a_request_names_one_host_and_it_is_of_this_machine() {
    let upstream = Upstream::always(json(200, OK)).await;
    let rig = rig(&upstream, |_| {}).await;
    let at = |authority: &str, host: Option<&str>| {
        let mut request = Request::get(format!("http://{authority}{PASSING}"));
        if let Some(host) = host {
            request = request.header("host", host);
        }
        request.body(Pieces::none()).unwrap()
    };
    for (authority, host, status) in [
        ("localhost", None, 200),
        ("127.0.0.1:1", Some("127.0.0.1:1"), 200),
        ("evil.example", None, 421),
        ("localhost@evil.example", None, 421),
        ("localhost", Some("evil.example"), 400),
        ("evil.example", Some("localhost"), 400),
    ] {
        let got = refused(&rig, at(authority, host)).await.0;
        assert_eq!(got, status, "{authority} {host:?}");
    }
    // A page of another host.
    let mut page = at("localhost", None);
    let origin = "https://evil.example".parse().unwrap();
    page.headers_mut().insert("origin", origin);
    assert_eq!(
        refused(&rig, page).await,
        (403, "origin_not_allowed".into())
    );
    upstream.request().await;
    upstream.request().await;
    // Host alone will do, as of a gateway from HTTP/1.1; without either there is none.
    let own = [(":method", "GET"), (":scheme", "http"), (":path", PASSING)];
    for (host, comes) in [
        (Some("localhost"), true),
        (Some("evil.example"), false),
        (None, false),
    ] {
        let mut client = Frames::connect(rig.address).await;
        let fields = own.iter().copied().chain(host.map(|host| ("host", host)));
        let fields: Vec<u8> = fields
            .flat_map(|(name, value)| field(name, value))
            .collect();
        client.begin(1, &fields, END_STREAM).await;
        assert_ne!(client.end_of(1).await, End::Gone);
        assert_eq!(!upstream.got_no_more().await, comes, "{host:?}");
    }
}

#[tokio::test]
async fn requests_have_limits() {
    let upstream = Upstream::always(json(200, OK)).await;
    let rig = rig(&upstream, |config| config.limits.body_bytes = 1_000).await;
    let get = || Request::get(format!("http://localhost{PASSING}"));
    let many = (0..300).fold(get(), |request, number| {
        request.header(format!("x-{number}"), "y")
    });
    let many = many.body(Pieces::none()).unwrap();
    assert_eq!(refused(&rig, many).await, (431, "too_many_headers".into()));
    let long = get().header("x", "y".repeat(100_000));
    assert_eq!(
        refused(&rig, long.body(Pieces::none()).unwrap()).await.0,
        431
    );
    for path in [PASSING, HELD] {
        let post = || Request::post(format!("http://localhost{path}"));
        let stated = post().header("content-length", "1001");
        let stated = stated.body(Pieces::of("y", 1_001, true)).unwrap();
        assert_eq!(refused(&rig, stated).await.0, 413, "{path}");
        let unstated = post().body(Pieces::of("y", 1_001, true)).unwrap();
        assert_eq!(refused(&rig, unstated).await.0, 413, "{path}");
    }
}

#[tokio::test]
async fn a_head_that_the_table_makes_long_is_long() {
    let upstream = Upstream::always(json(200, OK)).await;
    let rig = rig(&upstream, |_| {}).await;
    let mut client = Frames::connect(rig.address).await;
    let mut fields = request("GET", PASSING, &[]);
    fields.extend(kept_field("x", &"y".repeat(3_000)));
    // The newest entry of the table, in a byte each.
    fields.extend(std::iter::repeat_n(0xbe, 10_000));
    client.begin(1, &fields, END_STREAM).await;
    assert_ne!(client.end_of(1).await, End::Gone);
    assert!(upstream.got_no_more().await);
}

#[tokio::test]
async fn a_client_that_stalls_is_left() {
    let upstream = Upstream::always(json(200, OK)).await;
    let rig = rig(&upstream, |config| {
        config.timeouts.request_head = Duration::from_millis(30);
        config.timeouts.request_body = Duration::from_millis(30);
    })
    .await;
    for path in [PASSING, HELD] {
        let request = Request::post(format!("http://localhost{path}"))
            .header("content-length", "9")
            .body(Pieces::of("{", 1, false))
            .unwrap();
        let told = refused(&rig, request).await;
        assert_eq!(told, (408, "body_timed_out".into()), "{path}");
    }
    // Within its first head, and within a later one.
    for sound_ones in [0, 1] {
        let mut client = Frames::connect(rig.address).await;
        for number in 0..sound_ones {
            let sound = request("GET", PASSING, &[]);
            client.begin(number * 2 + 1, &sound, END_STREAM).await;
            assert_eq!(client.end_of(number * 2 + 1).await, End::Answered);
        }
        let stream = sound_ones * 2 + 1;
        client
            .send(frame(HEADERS, 0, stream, &field(":method", "GET")))
            .await;
        let end = client.end_of(stream).await;
        assert!(matches!(end, End::Gone | End::Closed(_)), "{end:?}");
    }
}

#[tokio::test]
async fn a_connection_without_a_request_ends_however_often_it_answers_pings() {
    let upstream = Upstream::always(json(200, OK)).await;
    let rig = rig(&upstream, |config| {
        config.timeouts.request_body = Duration::from_millis(10);
        config.timeouts.idle_client = Duration::from_millis(100);
    })
    .await;
    let mut client = Frames::connect(rig.address).await;
    client
        .begin(1, &request("GET", PASSING, &[]), END_STREAM)
        .await;
    assert_eq!(client.end_of(1).await, End::Answered);
    let end = client.end_of(3).await;
    assert!(matches!(end, End::Gone | End::Closed(_)), "{end:?}");
}

#[tokio::test]
async fn more_streams_than_are_served_at_a_time_are_refused() {
    let upstream = Upstream::always(json(200, OK)).await;
    let rig = rig(&upstream, |_| {}).await;
    let mut client = Frames::connect(rig.address).await;
    // Their bodies do not end: each stays.
    for number in 0..=256 {
        client
            .begin(number * 2 + 1, &request("POST", HELD, &[]), 0)
            .await;
    }
    assert_eq!(client.end_of(513).await, End::Reset(REFUSED_STREAM));
    client.send(frame(DATA, END_STREAM, 1, b"{}")).await;
    assert_eq!(client.end_of(1).await, End::Answered);
}

#[tokio::test]
async fn streams_that_are_given_up_as_fast_as_they_begin_end_the_connection() {
    let upstream = Upstream::always(json(200, OK)).await;
    let rig = rig(&upstream, |_| {}).await;
    let mut client = Frames::connect(rig.address).await;
    let fields = request("GET", PASSING, &[]);
    let mut flood = Vec::new();
    for number in 0..2_000 {
        let stream = number * 2 + 1;
        flood.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields));
        flood.extend(frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
    }
    client.send(flood).await;
    assert_eq!(
        client.end_of(u32::MAX).await,
        End::Closed(ENHANCE_YOUR_CALM)
    );
    // Others are served, and nothing is left of it.
    assert_eq!(
        ask(rig.address, post("/u/fake/x", &[], "{}"))
            .await
            .status(),
        200
    );
    rig.until(|rig| rig.tally.figures().in_flight == 0).await;
    assert!(
        rig.tally.figures().requests < 200,
        "{:?}",
        rig.tally.figures()
    );
}

#[tokio::test]
async fn a_head_in_pieces_without_end_ends_the_connection() {
    let upstream = Upstream::always(json(200, OK)).await;
    let rig = rig(&upstream, |_| {}).await;
    for piece in [&b""[..], &field("x", "y".repeat(100))] {
        let mut client = Frames::connect(rig.address).await;
        let fields = request("GET", PASSING, &[]);
        let mut flood = frame(HEADERS, END_STREAM, 1, &fields);
        for _ in 0..10_000 {
            flood.extend(frame(CONTINUATION, 0, 1, piece));
        }
        client.send(flood).await;
        let end = client.end_of(1).await;
        assert!(matches!(end, End::Closed(_) | End::Gone), "{end:?}");
    }
    assert!(upstream.got_no_more().await);
}
