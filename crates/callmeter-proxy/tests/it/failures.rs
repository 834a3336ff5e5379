//! A recorder that is off, a store that is down, a disk that takes nothing: traffic flows all the same.

use std::sync::Arc;

use callmeter_proxy::{CallObserver, EndedCall, Proxy, ProxyConfig, Route};
use callmeter_testkit::sink::MemorySink;

use crate::http::{LIMIT, ask, post};
use crate::rig::Rig;
use crate::upstream::{Upstream, json};

const REPLY: &str = r#"{"model":"m","usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
const PATH: &str = "/u/fake/v1/chat/completions";

async fn flows(rig: &Rig) {
    let got = ask(rig.address, post(PATH, &[], r#"{"model":"m"}"#)).await;
    assert_eq!((got.status(), got.text()), (200, REPLY));
}

#[tokio::test]
async fn a_recorder_that_is_off_records_nothing_and_holds_nothing_up() {
    let upstream = Upstream::always(json(200, REPLY)).await;
    let rig = Rig::to(&upstream.url()).await;
    let recorder = Arc::clone(rig.recorder.as_ref().unwrap());
    recorder.set_enabled(false);
    flows(&rig).await;
    recorder.set_enabled(true);
    flows(&rig).await;
    assert_eq!(rig.rows_at_rest().await.len(), 1);
    assert_eq!(rig.tally.figures().calls, 2);
}

#[tokio::test]
async fn a_proxy_without_a_recorder_forwards() {
    let upstream = Upstream::always(json(200, REPLY)).await;
    let mut config = ProxyConfig::default();
    config.listen = "127.0.0.1:0".parse().unwrap();
    config
        .routes
        .insert("fake".into(), Route::to(upstream.url().parse().unwrap()));
    let proxy = Proxy::bind(config, None).await.unwrap();
    let address = proxy.local_addr();
    let serving = tokio::spawn(proxy.serve(std::future::pending()));
    assert_eq!(ask(address, post(PATH, &[], "{}")).await.text(), REPLY);
    serving.abort();
}

#[tokio::test]
async fn rows_wait_while_the_store_is_down() {
    let upstream = Upstream::always(json(200, REPLY)).await;
    let rig = Rig::to(&upstream.url()).await;
    rig.sink.set_down(true);
    for _ in 0..5 {
        flows(&rig).await;
    }
    assert!(rig.sink.calls().is_empty());
    rig.sink.set_down(false);
    assert_eq!(rig.rows_at_rest().await.len(), 5);
}

#[tokio::test]
async fn traffic_flows_while_neither_disk_nor_store_take_a_row() {
    let upstream = Upstream::always(json(200, REPLY)).await;
    let dir = tempfile::tempdir().unwrap();
    // A home that no directory can be made for.
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let sink = MemorySink::default();
    sink.set_down(true);
    let shared = sink.clone();
    let recorder = callmeter::builder()
        .home(file.join("home"))
        .sink("memory", move || Ok(Box::new(shared.clone())))
        .open()
        .unwrap();
    let recorder = Arc::new(recorder);
    let mut config = ProxyConfig::default();
    config.listen = "127.0.0.1:0".parse().unwrap();
    config
        .routes
        .insert("fake".into(), Route::to(upstream.url().parse().unwrap()));
    let proxy = Proxy::bind(config, Arc::clone(&recorder)).await.unwrap();
    let address = proxy.local_addr();
    let serving = tokio::spawn(proxy.serve(std::future::pending()));
    for _ in 0..20 {
        assert_eq!(ask(address, post(PATH, &[], "{}")).await.text(), REPLY);
    }
    sink.set_down(false);
    let flush = tokio::task::spawn_blocking(move || recorder.flush(LIMIT));
    assert!(flush.await.unwrap().is_complete());
    assert_eq!(sink.calls().len(), 20);
    serving.abort();
}

#[tokio::test]
async fn an_observer_hears_of_every_call_and_may_panic() {
    struct Hearing(std::sync::mpsc::Sender<(String, u64, u32)>);
    impl CallObserver for Hearing {
        fn ended(&self, call: &EndedCall<'_>) {
            let heard = (
                call.status.as_str().to_owned(),
                call.usage.output_tokens.unwrap(),
                call.attempt,
            );
            self.0.send(heard).unwrap();
            panic!("a host's bug");
        }
    }
    let upstream = Upstream::always(json(200, REPLY)).await;
    let url = upstream.url();
    let (tell, heard) = std::sync::mpsc::channel();
    let configure = |config: &mut ProxyConfig| {
        config
            .routes
            .insert("fake".into(), Route::to(url.parse().unwrap()));
    };
    let rig = Rig::made(configure, |proxy| proxy.with_observer(Hearing(tell))).await;
    flows(&rig).await;
    assert_eq!(heard.try_recv().unwrap(), ("ok".into(), 2, 1));
    assert_eq!(rig.rows_at_rest().await.len(), 1);
}
