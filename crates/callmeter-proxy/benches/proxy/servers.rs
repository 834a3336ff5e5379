//! The servers: an upstream, a pass-through that does nothing but pass, and the proxy with its recorder.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use callmeter_proxy::{Proxy, ProxyConfig, Route};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::time::{Instant, Sleep};

const ANSWER: &str = r#"{"id":"chatcmpl-bench","object":"chat.completion","created":1790000000,"model":"bench-model","choices":[{"index":0,"message":{"role":"assistant","content":"The weather in a town by the sea is never the same for long: wind in the morning, sun at noon, rain when the boats come home."},"finish_reason":"stop"}],"usage":{"prompt_tokens":104,"completion_tokens":31,"total_tokens":135}}"#;
const EVENTS: u32 = 20;
const PACE: Duration = Duration::from_millis(5);

/// Serves until it is killed.
pub(crate) fn serve(name: &str, upstream: Option<SocketAddr>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        match (name, upstream) {
            ("upstream", None) => upstream_server().await,
            ("pass", Some(upstream)) => pass_through(upstream).await,
            ("callmeter", Some(upstream)) => proxy(upstream).await,
            _ => panic!("no such server: {name}"),
        }
    });
}

async fn proxy(upstream: SocketAddr) {
    let home = tempfile::tempdir().unwrap();
    let recorder = Arc::new(callmeter::builder().home(home.path()).open().unwrap());
    let mut config = ProxyConfig::default();
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let route = Route::to(format!("http://{upstream}").parse().unwrap());
    config.routes.insert("bench".to_owned(), route);
    let proxy = Proxy::bind(config, recorder).await.unwrap();
    println!("{}", proxy.local_addr());
    proxy.serve(std::future::pending()).await;
}

async fn listen() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    listener
}

async fn pass_through(upstream: SocketAddr) {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<HttpConnector, Incoming> =
        Client::builder(TokioExecutor::new()).build(connector);
    let listener = listen().await;
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let client = client.clone();
        tokio::spawn(async move {
            let service = service_fn(move |mut request: Request<Incoming>| {
                let client = client.clone();
                async move {
                    let path = request.uri().path_and_query().unwrap().clone();
                    *request.uri_mut() = Uri::builder()
                        .scheme("http")
                        .authority(upstream.to_string())
                        .path_and_query(path)
                        .build()
                        .unwrap();
                    let host = HeaderValue::from_str(&upstream.to_string()).unwrap();
                    request.headers_mut().insert(HOST, host);
                    let mut response = client.request(request).await?;
                    response.headers_mut().remove(TRANSFER_ENCODING);
                    Ok::<_, hyper_util::client::legacy::Error>(response)
                }
            });
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn upstream_server() {
    let listener = listen().await;
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(async move {
            let service = service_fn(answer);
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Reply>, Infallible> {
    let mut body = request.into_body();
    let mut text = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(Ok(data)) = frame.map(Frame::into_data) {
            text.extend_from_slice(&data);
        }
    }
    let text = String::from_utf8_lossy(&text);
    let (kind, reply) = if text.contains(r#""model":"open""#) {
        (
            "text/event-stream",
            Reply::events(u32::MAX, Duration::from_secs(3_600)),
        )
    } else if text.contains(r#""stream":true"#) || text.contains(r#""stream": true"#) {
        ("text/event-stream", Reply::events(EVENTS, PACE))
    } else {
        (
            "application/json",
            Reply::Whole(Some(Bytes::from_static(ANSWER.as_bytes()))),
        )
    };
    let mut response = Response::new(reply);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

/// What the upstream says: all at once, or an event at a time.
pub(crate) enum Reply {
    Whole(Option<Bytes>),
    Events {
        left: u32,
        pace: Duration,
        timer: Pin<Box<Sleep>>,
    },
}

impl Reply {
    fn events(left: u32, pace: Duration) -> Self {
        Self::Events {
            left,
            pace,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }
}

/// An event with the time of its sending; the last two are usage and the end.
fn event(left: u32) -> String {
    match left {
        1 => "data: [DONE]\n\n".to_owned(),
        2 => "data: {\"id\":\"chatcmpl-bench\",\"choices\":[],\"usage\":{\"prompt_tokens\":104,\"completion_tokens\":18,\"total_tokens\":122}}\n\n".to_owned(),
        _ => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
            format!("data: {{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\"model\":\"bench-model\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"@{now}@\"}},\"finish_reason\":null}}],\"usage\":null}}\n\n")
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events { left: 0, .. } => Poll::Ready(None),
            Self::Events { left, pace, timer } => {
                std::task::ready!(timer.as_mut().poll(cx));
                timer.as_mut().reset(Instant::now() + *pace);
                let text = event(*left);
                *left -= 1;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from(text)))))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Events { .. } => SizeHint::default(),
        }
    }
}
