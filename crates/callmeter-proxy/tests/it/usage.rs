//! OpenAI chat streams: usage is asked for where the client did not, and the answer to that is hidden from it.

use callmeter_core::UsageSource;

use crate::http::{Message, Wire, post};
use crate::rig::{Rig, route};
use crate::upstream::{Step, Upstream, send};

const PATH: &str = "/v1/chat/completions";
const ASKED: &str = r#"{"model":"gpt-5","stream":true,"stream_options":{"include_usage":true}}"#;
const UNASKED: &str = r#"{"model":"gpt-5","stream":true}"#;

const TEXT: &str = "data: {\"id\":\"c-1\",\"model\":\"gpt-5-x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\
    \"finish_reason\":\"stop\"}],\"usage\":null}\n\n";
const ANSWER: &str = "data: {\"id\":\"c-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":3,\"total_tokens\":15}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// As OpenAI does: the event comes only to those who asked.
fn openai(request: &Message) -> Vec<Step> {
    let answer = if request.text().contains(r#""include_usage":true"#) {
        ANSWER
    } else {
        ""
    };
    let body = format!("{TEXT}{answer}{DONE}");
    vec![send(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    ))]
}

async fn ask(rig: &Rig, body: &str) -> Message {
    let mut wire = Wire::connect(rig.address).await;
    wire.send(post(PATH, &[("Accept-Encoding", "gzip, zstd")], body))
        .await;
    wire.response("POST").await.unwrap()
}

#[tokio::test]
async fn usage_is_asked_for_and_its_event_is_hidden() {
    let upstream = Upstream::by(openai).await;
    let rig = Rig::of("openai", route([(upstream.url(), None)])).await;
    let got = ask(&rig, UNASKED).await;
    assert_eq!(got.text(), format!("{TEXT}{DONE}"));
    let sent = upstream.request().await;
    assert_eq!(
        sent.text(),
        r#"{"stream_options":{"include_usage":true},"model":"gpt-5","stream":true}"#
    );
    assert_eq!(
        sent.header("content-length"),
        Some(sent.body.len().to_string().as_str())
    );
    assert_eq!(sent.header("accept-encoding"), Some("identity"));
    let rows = rig.rows_at_rest().await;
    assert_eq!(
        (rows[0].usage.input_tokens, rows[0].usage.output_tokens),
        (Some(12), Some(3))
    );
    assert_eq!(rows[0].usage.usage_source, Some(UsageSource::Stream));
    assert_eq!(
        (rows[0].stream_complete, rows[0].streaming),
        (Some(true), Some(true))
    );
    assert!(rows[0].ttft_us.is_some());
}

#[tokio::test]
async fn a_client_that_asked_gets_its_answer() {
    let upstream = Upstream::by(openai).await;
    let rig = Rig::of("openai", route([(upstream.url(), None)])).await;
    assert_eq!(
        ask(&rig, ASKED).await.text(),
        format!("{TEXT}{ANSWER}{DONE}")
    );
    let sent = upstream.request().await;
    assert_eq!(
        (sent.text(), sent.header("accept-encoding")),
        (ASKED, Some("gzip, zstd"))
    );
    assert_eq!(rig.rows_at_rest().await[0].usage.input_tokens, Some(12));
}

#[tokio::test]
async fn nothing_is_asked_where_it_is_not_wanted() {
    let declined = r#"{"stream":true,"stream_options":{"include_usage":false}}"#;
    let whole = r#"{"model":"gpt-5"}"#;
    let upstream = Upstream::by(openai).await;
    let rig = Rig::of("openai", route([(upstream.url(), None)])).await;
    for body in [declined, whole] {
        ask(&rig, body).await;
        assert_eq!(upstream.request().await.text(), body);
    }
    let off = Rig::with(|config| {
        config
            .routes
            .insert("openai".into(), route([(upstream.url(), None)]));
        config.ask_for_usage = false;
    })
    .await;
    ask(&off, UNASKED).await;
    assert_eq!(upstream.request().await.text(), UNASKED);
    let mistral = Rig::of(
        "openai",
        route([(upstream.url(), None)]).of_provider("mistral"),
    )
    .await;
    ask(&mistral, UNASKED).await;
    assert_eq!(upstream.request().await.text(), UNASKED);
}

#[tokio::test]
async fn events_pass_as_they_come_although_one_is_hidden() {
    let chunk = |text: &str| send(format!("{:x}\r\n{text}\r\n", text.len()));
    let upstream = Upstream::always(vec![
        send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"),
        chunk(TEXT),
        Step::Gate,
        chunk(TEXT),
        chunk(ANSWER),
        chunk(DONE),
        Step::Gate,
        send("0\r\n\r\n"),
    ])
    .await;
    let rig = Rig::of("openai", route([(upstream.url(), None)])).await;
    let mut wire = Wire::connect(rig.address).await;
    wire.send(post(PATH, &[], UNASKED)).await;
    assert_eq!(wire.response_head().await.unwrap().status(), 200);
    assert_eq!(wire.chunk().await.unwrap(), TEXT.as_bytes());
    upstream.open_gate();
    let mut rest = Vec::new();
    while !rest.ends_with(DONE.as_bytes()) {
        rest.extend(wire.chunk().await.unwrap());
    }
    assert_eq!(String::from_utf8(rest).unwrap(), format!("{TEXT}{DONE}"));
    upstream.open_gate();
    assert!(wire.chunk().await.unwrap().is_empty());
}
