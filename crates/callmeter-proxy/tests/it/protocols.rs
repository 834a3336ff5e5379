//! HTTP/2 on either side, TLS to upstreams, and proxies before them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use callmeter_core::{ErrorKind, Status};
use callmeter_proxy::{Outbound, Route};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::http::{Wire, ask, post};
use crate::rig::Rig;
use crate::upstream::{Step, Upstream, json, send};

pub(crate) const REPLY: &str = r#"{"model":"m","usage":{"prompt_tokens":1,"completion_tokens":2}}"#;

/// A body of one piece.
pub(crate) struct Whole(Option<Bytes>);

impl Whole {
    pub(crate) fn of(text: &str) -> Self {
        Self(Some(Bytes::copy_from_slice(text.as_bytes())))
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.get_mut().0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, Bytes::len) as u64)
    }
}

async fn text(mut body: Incoming) -> String {
    let mut all = Vec::new();
    while let Some(frame) =
        std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await
    {
        all.extend_from_slice(frame.unwrap().data_ref().unwrap());
    }
    String::from_utf8(all).unwrap()
}

pub(crate) type H2 = hyper::client::conn::http2::SendRequest<Whole>;

pub(crate) async fn h2_to(address: SocketAddr) -> H2 {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    sender
}

fn h2_post(address: SocketAddr, path: &str) -> Request<Whole> {
    Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/json")
        .header("x-callmeter-caller", "two")
        .body(Whole::of(r#"{"model":"m"}"#))
        .unwrap()
}

#[tokio::test]
async fn a_client_of_http_2_is_served_with_many_requests_at_a_time() {
    let upstream = Upstream::always(json(200, REPLY)).await;
    let rig = Rig::to(&upstream.url()).await;
    let mut client = h2_to(rig.address).await;
    let path = "/u/fake/v1/chat/completions";
    let sent: Vec<_> = (0..20)
        .map(|_| tokio::spawn(client.send_request(h2_post(rig.address, path))))
        .collect();
    for response in sent {
        let response = response.await.unwrap().unwrap();
        assert_eq!(
            (response.version(), response.status().as_u16()),
            (Version::HTTP_2, 200)
        );
        assert_eq!(text(response.into_body()).await, REPLY);
    }
    let sent = upstream.request().await;
    assert_eq!(sent.first_line, "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(
        sent.header("host"),
        Some(upstream.address.to_string().as_str())
    );
    let rows = rig.rows_at_rest().await;
    assert_eq!(rows.len(), 20);
    assert!(
        rows.iter()
            .all(|row| row.caller.as_deref() == Some("two") && row.status == Some(Status::Ok))
    );
}

#[tokio::test]
async fn a_stream_of_http_2_that_is_given_up_cancels_its_upstream_alone() {
    let upstream = Upstream::by(|request| {
        if request.first_line.contains("hang") {
            vec![Step::Gate]
        } else {
            json(200, REPLY)
        }
    })
    .await;
    let rig = Rig::to(&upstream.url()).await;
    let mut client = h2_to(rig.address).await;
    let hanging =
        tokio::spawn(client.send_request(h2_post(rig.address, "/u/fake/hang/v1/messages")));
    upstream.request().await;
    hanging.abort();
    upstream.lost_a_client().await;
    let response = client
        .send_request(h2_post(rig.address, "/u/fake/v1/messages"))
        .await
        .unwrap();
    assert_eq!(text(response.into_body()).await, REPLY);
    let rows = rig.rows_at_rest().await;
    let statuses: Vec<_> = rows.iter().map(|row| row.status.clone().unwrap()).collect();
    assert_eq!(statuses, [Status::Cancelled, Status::Ok]);
}

/// An upstream with a certificate for `name`, whose issuer is written to a file.
pub(crate) struct Secure {
    pub(crate) address: SocketAddr,
    _dir: tempfile::TempDir,
    pub(crate) ca: std::path::PathBuf,
}

pub(crate) async fn secure(name: &str, protocols: &[&[u8]]) -> Secure {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    // Issuers of one name would be told apart by their signatures alone.
    let common_name = rcgen::DnType::CommonName;
    params
        .distinguished_name
        .push(common_name, format!("issuer of {name}"));
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service = hyper::service::service_fn(|request: Request<Incoming>| async move {
                    let spoken = format!("{:?}", request.version());
                    Ok::<_, Infallible>(
                        Response::builder()
                            .header("x-spoken", spoken)
                            .body(Whole::of(REPLY))
                            .unwrap(),
                    )
                });
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, issuer.pem()).unwrap();
    Secure {
        address,
        _dir: dir,
        ca,
    }
}

async fn rig_to(url: &str, ca: Option<&Path>, outbound: Outbound) -> Rig {
    let route = Route::to(url.parse().unwrap());
    Rig::with(|config| {
        config.routes.insert("fake".into(), route);
        config.ca_file = ca.map(Path::to_owned);
        config.outbound = outbound;
    })
    .await
}

#[tokio::test]
async fn an_upstream_over_tls_is_verified_by_a_file_of_one_s_own() {
    let upstream = secure("localhost", &[b"h2", b"http/1.1"]).await;
    let url = format!("https://localhost:{}", upstream.address.port());
    let rig = rig_to(&url, Some(&upstream.ca), Outbound::Direct).await;
    let got = ask(rig.address, post("/u/fake/v1/messages", &[], "{}")).await;
    assert_eq!((got.status(), got.text()), (200, REPLY));
    // Each client is spoken for in its own version.
    assert_eq!(got.header("x-spoken"), Some("HTTP/1.1"));
    let response = h2_to(rig.address)
        .await
        .send_request(h2_post(rig.address, "/u/fake/v1/messages"))
        .await
        .unwrap();
    assert_eq!(response.headers()["x-spoken"], "HTTP/2.0");
    assert_eq!(text(response.into_body()).await, REPLY);
}

#[tokio::test]
async fn an_upstream_that_cannot_be_verified_is_not_asked() {
    let upstream = secure("elsewhere.test", &[b"http/1.1"]).await;
    let url = format!("https://localhost:{}", upstream.address.port());
    let rig = rig_to(&url, Some(&upstream.ca), Outbound::Direct).await;
    let got = ask(rig.address, post("/u/fake/v1/messages", &[], "{}")).await;
    assert_eq!(got.status(), 502);
    assert!(
        got.text().contains("the certificate is for another name"),
        "{}",
        got.text()
    );
    let rows = rig.rows_at_rest().await;
    assert_eq!(
        (rows[0].status.clone(), rows[0].error_kind),
        (Some(Status::Error), Some(ErrorKind::Network))
    );
    let other = secure("127.0.0.1", &[b"http/1.1"]).await;
    let url = format!("https://{}", other.address);
    let rig = rig_to(&url, Some(&upstream.ca), Outbound::Direct).await;
    let got = ask(rig.address, post("/u/fake/v1/messages", &[], "{}")).await;
    assert!(
        got.text().contains("issuer is not trusted"),
        "{}",
        got.text()
    );
}

/// A proxy for CONNECT that leads every name to one address, and says what it was asked.
pub(crate) async fn outbound_proxy(
    leads_to: SocketAddr,
) -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, asked) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut wire = Wire::new(stream);
                let head = wire.until(b"\r\n\r\n").await.unwrap();
                let head = String::from_utf8(head).unwrap();
                let is_tunnel = head.starts_with("CONNECT");
                tell.send(head).unwrap();
                if is_tunnel {
                    wire.send("HTTP/1.1 200 Connected\r\n\r\n").await;
                    let mut upstream = TcpStream::connect(leads_to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut wire.stream, &mut upstream).await;
                } else {
                    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                        .await;
                }
            });
        }
    });
    (address, asked)
}

#[tokio::test]
async fn upstreams_are_reached_through_a_proxy_where_there_is_one() {
    let upstream = secure("upstream.test", &[b"http/1.1"]).await;
    let (address, mut asked) = outbound_proxy(upstream.address).await;
    let through = Outbound::Through(format!("http://user:secret@{address}"));
    assert!(!format!("{through:?}").contains("secret"));
    let rig = rig_to("https://upstream.test", Some(&upstream.ca), through.clone()).await;
    let got = ask(rig.address, post("/u/fake/v1/messages", &[], "{}")).await;
    assert_eq!((got.status(), got.text()), (200, REPLY));
    let head = asked.recv().await.unwrap();
    assert!(head.starts_with("CONNECT upstream.test:443 HTTP/1.1\r\n"));
    assert!(head.contains("Proxy-Authorization: Basic dXNlcjpzZWNyZXQ="));
    // Plain http: the proxy is asked for the whole URL.
    let plain = rig_to("http://upstream.test", None, through).await;
    assert_eq!(
        ask(plain.address, post("/u/fake/x", &[], "")).await.text(),
        "ok"
    );
    assert!(
        asked
            .recv()
            .await
            .unwrap()
            .starts_with("POST http://upstream.test/x HTTP/1.1\r\n")
    );
}

#[tokio::test]
async fn compressed_answers_are_metered_and_pass_as_they_are() {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(REPLY.as_bytes()).unwrap();
    let brotli = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../callmeter-wire/tests/fixtures/chat.json.br"
    ))
    .unwrap();
    for (coding, packed) in [("gzip", gzip.finish().unwrap()), ("br", brotli)] {
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
            packed.len()
        )
        .into_bytes();
        answer.extend_from_slice(&packed);
        let upstream = Upstream::always(vec![send(answer)]).await;
        let rig = Rig::to(&upstream.url()).await;
        let got = ask(rig.address, post("/u/fake/v1/chat/completions", &[], "{}")).await;
        assert_eq!((got.body, got.headers.len()), (packed, 3));
        assert!(
            rig.rows_at_rest().await[0].usage.input_tokens.is_some(),
            "{coding}"
        );
    }
}
