//! No byte of content is kept: not in a reading, not in what `Debug` shows, not in the reader's memory.

use callmeter_wire::{RequestReader, ResponseReader};

use crate::support::{Exchange, frame};

const MARKER: &str = "ZXMARKERZX";

fn bodies() -> Vec<Exchange<'static>> {
    let m = MARKER;
    let chunk = format!("{{\"bytes\":\"{}\",\"p\":\"{m}\"}}", "WlhNQVJLRVJaWA==");
    vec![
        Exchange::json(
            "/v1/responses",
            &format!(
                "{{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"completed\",\"instructions\":\"{m}\",\"user\":\"{m}\",\
                 \"metadata\":{{\"usage\":\"{m}\",\"{m}\":1}},\"tools\":[{{\"name\":\"{m}\"}}],\"output\":[{{\"type\":\"message\",\
                 \"content\":[{{\"text\":\"{m}\"}}]}}],\"usage\":{{\"input_tokens\":1,\"output_tokens\":2}}}}"
            ),
        ),
        Exchange::json(
            "/completion",
            &format!("{{\"content\":\"{m}\",\"prompt\":\"{m}\",\"generation_settings\":{{\"grammar\":\"{m}\"}},\"tokens_evaluated\":3}}"),
        ),
        Exchange::json("/v2/embed", &format!("{{\"id\":\"e\",\"texts\":[\"{m}\"],\"meta\":{{\"billed_units\":{{\"input_tokens\":1}}}}}}")),
        Exchange::json("/v1/chat/completions", &format!("{{\"error\":{{\"message\":\"bad {m}\",\"type\":\"has spaces {m}\",\"param\":\"{m}\",\"code\":null}}}}")).status(400),
        Exchange::json("/v1/embeddings", &format!("{{\"detail\":[{{\"msg\":\"{m}\",\"input\":\"{m}\"}}]}}")).status(422),
        Exchange::json("/api/chat", &format!("{{\"error\":\"{m}\"}}")).status(500),
        Exchange::new("/v1/chat/completions", "text/html", format!("<html>{m}</html>")).status(502),
        Exchange::events(
            "/v1/chat/completions",
            &[&format!("{{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{m}\"}}}}],\"obfuscation\":\"{m}\"}}"), "[DONE]"],
        ),
        Exchange::json("/some/unknown/api", &format!("{{\"deep\":{{\"answer\":\"{m}\",\"usage\":{{\"prompt_tokens\":1,\"note\":\"{m}\"}}}}}}")),
        Exchange::new(
            "/model/x/invoke-with-response-stream",
            "application/vnd.amazon.eventstream",
            frame(&[(":message-type", "event"), (":event-type", "chunk"), ("x", m)], chunk.as_bytes()),
        ),
    ]
}

#[test]
fn no_reading_and_no_debug_output_holds_content() {
    for exchange in bodies() {
        for chunk in [1, usize::MAX] {
            let facts = callmeter_wire::RequestFacts::from_line("POST", exchange.path);
            let mut reader = ResponseReader::new(
                &facts,
                Some(exchange.status),
                exchange.headers.iter().copied(),
            );
            for piece in exchange.body.chunks(chunk) {
                reader.push(piece);
                assert!(!format!("{reader:?}").contains(MARKER), "{}", exchange.path);
            }
            let reading = format!("{:?}", reader.finish());
            assert!(!reading.contains(MARKER), "{}: {reading}", exchange.path);
        }
    }
}

#[test]
fn an_error_is_a_kind_and_a_name_never_a_sentence() {
    let reading = Exchange::json(
        "/v1/chat/completions",
        "{\"error\":{\"message\":\"Invalid image data: my secret\",\"type\":\"invalid request, said so\",\"code\":\"bad_image\"}}",
    )
    .status(400)
    .read();
    assert_eq!(reading.error_detail.as_deref(), Some("bad_image"));
    let reading = Exchange::json(
        "/v1/chat/completions",
        "{\"error\":{\"code\":\"a sentence that may quote\"}}",
    )
    .status(400)
    .read();
    assert_eq!(reading.error_detail, None);
}

#[test]
fn a_request_keeps_neither_messages_nor_credentials() {
    let key = format!("Bearer sk-{MARKER}");
    let headers = [
        ("host", "api.openai.com"),
        ("authorization", key.as_str()),
        ("cookie", MARKER),
    ];
    let mut reader = RequestReader::new("POST", "/v1/chat/completions", headers);
    let body = format!(
        "{{\"messages\":[{{\"content\":\"{MARKER}\"}}],\"user\":\"{MARKER}\",\"model\":\"gpt-5\",\"{MARKER}\":{{\"model\":\"{MARKER}\"}}}}"
    );
    for byte in body.bytes() {
        reader.push(&[byte]);
        assert!(!format!("{reader:?}").contains(MARKER));
    }
    let facts = reader.finish();
    assert!(!format!("{facts:?}").contains(MARKER));
    assert_eq!(facts.model.as_deref(), Some("gpt-5"));
}
