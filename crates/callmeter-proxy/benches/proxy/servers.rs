//! The subjects: a pass-through that does nothing but pass, and the proxy with and without its recorder.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callmeter::Callmeter;
use callmeter_proxy::{Proxy, ProxyConfig, Route};
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::upstream;
use crate::wire::listen;

/// Serves until it is killed.
pub(crate) fn serve(name: &str, upstream: Option<SocketAddr>) {
    let Some(upstream) = upstream else {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        return runtime.block_on(upstream::serve());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        match name {
            "pass" => pass_through(upstream).await,
            "unrecorded" => proxy(upstream, None).await,
            "callmeter" => {
                let home = tempfile::tempdir().unwrap();
                let recorder = callmeter::builder().home(home.path()).open().unwrap();
                proxy(upstream, Some(Arc::new(recorder))).await;
            }
            _ => panic!("no such server: {name}"),
        }
    });
}

async fn proxy(upstream: SocketAddr, recorder: Option<Arc<Callmeter>>) {
    let mut config = ProxyConfig::default();
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let route = Route::to(format!("http://{upstream}").parse().unwrap());
    config.routes.insert("bench".to_owned(), route);
    let proxy = Proxy::bind(config, recorder.clone()).await.unwrap();
    println!("{}", proxy.local_addr());
    if let Some(recorder) = recorder {
        std::thread::spawn(move || answer_for(&recorder));
    }
    proxy.serve(std::future::pending()).await;
}

/// Says what was recorded, once all of it is stored, whenever it is asked.
fn answer_for(recorder: &Callmeter) {
    for _ in std::io::stdin().lines() {
        assert!(recorder.flush(Duration::from_secs(60)).is_complete());
        let all = recorder.stats().conservation;
        println!("{} {}", all.acknowledged, all.dropped_total());
    }
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
