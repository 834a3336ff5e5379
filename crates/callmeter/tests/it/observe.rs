//! Guards that are fed a provider's response, through to the stored row.

use std::io::Read;
use std::sync::Arc;

use callmeter::{Callmeter, ErrorKind, ErrorReport, Operation, ResponseHead};
use callmeter_core::{CallRecord, Flags, Status, Timestamp, UsageSource};
use callmeter_testkit::clock::ManualClock;
use serde_json::Value;

use crate::support::Place;

const CHAT: &str = "https://api.openai.com/v1/chat/completions";
const MESSAGES: &str = "https://api.anthropic.com/v1/messages";
const EVENTS: [(&str, &str); 2] = [
    ("content-type", "text/event-stream"),
    ("request-id", "req_1"),
];

fn head<'a>(url: &'a str, status: u16) -> ResponseHead<'a> {
    ResponseHead::new(status)
        .request("POST", url)
        .headers(EVENTS)
}

fn events(payloads: &[&str]) -> Vec<String> {
    payloads
        .iter()
        .map(|payload| format!("data: {payload}\n\n"))
        .collect()
}

/// The row of a call that is fed these events and then ended so.
fn row_of(url: &str, payloads: &[&str], end: impl FnOnce(callmeter::ObservedStream)) -> CallRecord {
    let place = Place::new();
    let call = place.callmeter.call("sales_copy", "anthropic", "claude");
    let mut stream = call.observe_stream(&head(url, 200));
    for event in events(payloads) {
        stream.chunk(event.as_bytes());
    }
    end(stream);
    place.row()
}

#[test]
fn a_whole_body_fills_the_row() {
    let place = Place::new();
    let body = br#"{"id":"msg_1","type":"message","model":"claude-sonnet-4-5-20250929","stop_reason":"end_turn",
        "content":[{"type":"text","text":"CONTENT-NOBODY-KEEPS"}],"usage":{"input_tokens":10,
        "cache_read_input_tokens":2000,"cache_creation_input_tokens":300,"output_tokens":50,
        "cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200},
        "server_tool_use":{"web_search_requests":2},"service_tier":"priority","inference_geo":"us"}}"#;
    let mut call = place
        .callmeter
        .call("sales_copy", "claude", "claude-sonnet-4-5");
    let head = ResponseHead::new(200).request("POST", MESSAGES).headers([
        ("content-type", "application/json"),
        ("request-id", "req_9"),
    ]);
    call.observe_body(&head, body).request_id("mine");
    call.finish();
    let row = place.row();
    let usage = &row.usage;
    assert_eq!(
        (usage.input_tokens, usage.output_tokens),
        (Some(2_310), Some(50))
    );
    assert_eq!(
        (usage.cache_read_tokens, usage.cache_write_tokens),
        (Some(2_000), Some(300))
    );
    assert_eq!(
        (usage.cache_write_5m_tokens, usage.cache_write_1h_tokens),
        (Some(100), Some(200))
    );
    assert_eq!(usage.usage_source, Some(UsageSource::Body));
    assert_eq!(usage.usage_rule.as_deref(), Some("anthropic"));
    assert_eq!(usage.usage_extra.as_ref().unwrap()["web_search"], 2);
    let texts = [
        (&row.provider, "claude"),
        (&row.model_requested, "claude-sonnet-4-5"),
        (&row.model, "claude-sonnet-4-5-20250929"),
        (&row.response_id, "msg_1"),
        (&row.provider_request_id, "req_9"),
        (&row.request_id, "mine"),
        (&row.finish_reason, "end_turn"),
        (&row.service_tier, "priority"),
        (&row.host, "api.anthropic.com"),
        (&row.region, "us"),
    ];
    for (field, expected) in texts {
        assert_eq!(field.as_deref(), Some(expected));
    }
    assert_eq!((row.http_status, row.streaming), (Some(200), Some(false)));
    assert_eq!(
        (row.operation, row.status_or_ok()),
        (Some(Operation::Chat), &Status::Ok)
    );
    assert_eq!((row.ttft_us, row.stream_complete), (None, None));
    assert!(!format!("{row:?}").contains("CONTENT"));
}

#[test]
fn a_stream_fills_the_row_and_takes_the_time_to_the_first_token() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(
        1_774_310_400_000_000,
    )));
    let place = Place::with_clock(Arc::clone(&clock) as _);
    let call = place.callmeter.call("sales_copy", "anthropic", "claude");
    let mut stream = call.observe_stream(&head(MESSAGES, 200));
    let bytes = events(&[
        r#"{"type":"message_start","message":{"id":"msg_2","model":"claude-x","content":[],"usage":{"input_tokens":25,"output_tokens":1}}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{"output_tokens":15}}"#,
        r#"{"type":"message_stop"}"#,
    ])
    .concat();
    clock.pass(100_000);
    // One byte a millisecond: the text of the second event begins with its byte.
    for byte in bytes.as_bytes() {
        clock.pass(1_000);
        stream.chunk(&[*byte]);
    }
    let first = bytes.find("Hello").unwrap() + "Hello\"".len();
    stream.finish();
    let row = place.row();
    assert_eq!(
        (row.usage.input_tokens, row.usage.output_tokens),
        (Some(25), Some(15))
    );
    assert_eq!(row.ttft_us, Some(100_000 + 1_000 * first as u64));
    assert_eq!(
        (row.streaming, row.stream_complete),
        (Some(true), Some(true))
    );
    assert_eq!(
        (row.model.as_deref(), row.finish_reason.as_deref()),
        (Some("claude-x"), Some("max_tokens"))
    );
    assert_eq!(row.usage.usage_source, Some(UsageSource::Stream));
}

#[test]
fn an_error_in_the_response_is_the_call_s_error_unless_the_host_says_otherwise() {
    let body = br#"{"error":{"message":"Rate limit reached for CONTENT","type":"requests","code":"rate_limit_exceeded"}}"#;
    let ended = |end: &dyn Fn(callmeter::CallGuard)| {
        let place = Place::new();
        let mut call = place.callmeter.call("sales_copy", "openai", "gpt-5");
        call.observe_body(&head(CHAT, 429), body);
        end(call);
        place.row()
    };
    let row = ended(&|call| call.finish());
    assert_eq!(
        (row.status_or_ok(), row.error_kind, row.http_status),
        (&Status::Error, Some(ErrorKind::RateLimit), Some(429))
    );
    assert_eq!(row.error_detail.as_deref(), Some("rate_limit_exceeded"));
    assert!(!format!("{row:?}").contains("CONTENT"));
    let row = ended(&|mut call| {
        call.fallback_to("ollama");
        call.finish();
    });
    assert_eq!(
        (row.status_or_ok(), row.error_kind),
        (&Status::Fallback, Some(ErrorKind::RateLimit))
    );
    // The response knows better than an error that only says that there was one.
    let row = ended(&|call| call.fail(&std::io::Error::other("x")));
    assert_eq!(
        (row.error_kind, row.error.as_deref()),
        (Some(ErrorKind::RateLimit), Some("Error"))
    );
    let inside = row_of(
        CHAT,
        &[
            r#"{"choices":[{"delta":{"content":"x"}}]}"#,
            r#"{"error":{"code":503,"message":"x"}}"#,
        ],
        callmeter::ObservedStream::finish,
    );
    assert_eq!(
        (
            inside.error_kind,
            inside.stream_complete,
            inside.http_status
        ),
        (Some(ErrorKind::Overloaded), Some(false), Some(200))
    );
}

#[test]
fn a_stream_that_is_dropped_is_cancelled_with_what_was_known_by_then() {
    let start = r#"{"type":"message_start","message":{"model":"claude-x","usage":{"input_tokens":25,"output_tokens":1}}}"#;
    let row = row_of(MESSAGES, &[start], drop);
    assert_eq!(
        (row.status_or_ok(), row.error_kind),
        (&Status::Cancelled, Some(ErrorKind::Cancelled))
    );
    assert_eq!(
        (row.usage.input_tokens, row.usage.output_tokens),
        (Some(25), None)
    );
    assert_eq!(row.stream_complete, Some(false));
    assert!(row.flags.contains(Flags::STREAM_CUT));
    // After the stream's own end there is nothing left to cancel.
    let end = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":4}}"#;
    let row = row_of(MESSAGES, &[start, end, r#"{"type":"message_stop"}"#], drop);
    assert_eq!(
        (row.status_or_ok(), row.usage.output_tokens),
        (&Status::Ok, Some(4))
    );
    let broken = row_of(MESSAGES, &[start], |stream| {
        stream.fail_as(
            &std::io::Error::other("reset"),
            ErrorReport::new(ErrorKind::Network),
        );
    });
    assert_eq!(
        (
            broken.status_or_ok(),
            broken.error_kind,
            broken.usage.input_tokens
        ),
        (&Status::Error, Some(ErrorKind::Network), Some(25))
    );
}

#[test]
fn a_panic_in_the_host_is_a_panic_with_what_was_known_by_then() {
    let place = Place::new();
    let call = place.callmeter.call("sales_copy", "ollama", "llama3.1:8b");
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut stream = call.observe_stream(&ResponseHead::new(200));
        stream.chunk(
            b"{\"model\":\"llama3.1:8b\",\"done\":true,\"prompt_eval_count\":7,\"eval_count\":2}\n",
        );
        panic!("the host's own");
    }));
    assert!(caught.is_err());
    let row = place.row();
    assert_eq!(
        (row.error_kind, row.usage.input_tokens),
        (Some(ErrorKind::Panic), Some(7))
    );
}

#[test]
fn what_the_host_said_stays_where_the_response_is_silent() {
    let place = Place::new();
    let mut call = place.callmeter.call("sales_copy", "openai", "gpt-5");
    call.tokens(11, 22).operation(Operation::Embedding);
    call.observe_body(&head(CHAT, 200), b"{\"choices\":[]}");
    call.finish();
    let row = place.row();
    assert_eq!(
        (row.usage.input_tokens, row.usage.output_tokens),
        (Some(11), Some(22))
    );
    assert_eq!(row.usage.usage_source, Some(UsageSource::Caller));
    assert_eq!(row.operation, Some(Operation::Embedding));
    let place = Place::new();
    let mut call = place.callmeter.call("sales_copy", "openai", "gpt-5");
    call.observe_body(&head(CHAT, 200), b"{\"choices\":[]}");
    call.finish();
    assert_eq!(place.row().usage.usage_source, Some(UsageSource::None));
}

#[test]
fn the_guard_comes_back_filled_and_takes_more() {
    let row = row_of(
        CHAT,
        &[r#"{"usage":{"prompt_tokens":5,"completion_tokens":6,"total_tokens":11,"cost":0.25}}"#],
        |mut stream| {
            stream.call().unwrap().meta("variant", "b");
            let mut call = stream.into_call();
            call.cache_hit(false);
            call.finish();
        },
    );
    assert_eq!(row.usage.input_tokens, Some(5));
    assert_eq!(row.reported_cost, Some("0.25".parse().unwrap()));
    assert_eq!((row.cache_hit, row.meta.is_some()), (Some(false), true));
}

#[test]
fn a_compressed_answer_is_read_and_the_requests_body_tells_the_tier() {
    let place = Place::new();
    let body = br#"{"model":"gpt-5","choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#;
    let mut gzip = flate2::read::GzEncoder::new(&body[..], flate2::Compression::fast());
    let mut packed = Vec::new();
    gzip.read_to_end(&mut packed).unwrap();
    let mut call = place.callmeter.call("sales_copy", "openai", "gpt-5");
    let head = ResponseHead::new(200)
        .request("POST", CHAT)
        .request_body(
            br#"{"model":"gpt-5","service_tier":"flex","messages":[{"content":"SECRET"}]}"#,
        )
        .headers([
            ("Content-Type", "application/json"),
            ("Content-Encoding", "gzip"),
        ]);
    call.observe_body(&head, &packed);
    call.finish();
    let row = place.row();
    assert_eq!(
        (row.usage.input_tokens, row.usage.output_tokens),
        (Some(3), Some(4))
    );
    assert_eq!(row.service_tier.as_deref(), Some("flex"));
    assert!(!format!("{head:?} {row:?}").contains("SECRET"));
}

#[test]
fn while_recording_is_off_nothing_is_read_and_nothing_fails() {
    let place = Place::new();
    place.callmeter.set_enabled(false);
    let mut call = place.callmeter.call("sales_copy", "openai", "gpt-5");
    call.observe_body(&head(CHAT, 200), b"{\"usage\":{\"prompt_tokens\":5}}");
    let mut stream = call.observe_stream(&head(CHAT, 200));
    stream.chunk(b"data: {}\n\n").chunk(b"\xff\xfe");
    assert!(stream.call().is_some_and(|call| call.id().is_none()));
    stream.finish();
    assert!(place.rows().is_empty());
}

#[test]
fn a_stream_may_cross_threads_and_outlive_its_head() {
    fn assert_portable<T: Send + 'static>(_: &T) {}
    let place = Place::new();
    let call = place.callmeter.call("sales_copy", "openai", "gpt-5");
    let mut stream = {
        let url = String::from(CHAT);
        call.observe_stream(&head(&url, 200))
    };
    assert_portable(&stream);
    std::thread::spawn(move || {
        stream.chunk(
            b"data: {\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n",
        );
        stream.finish();
    })
    .join()
    .unwrap();
    assert_eq!(place.row().usage.input_tokens, Some(5));
}

/// Recorded exchanges, fed in pieces, and what their rows must hold.
#[test]
fn recorded_exchanges_give_rows_with_their_figures() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../callmeter-wire/tests/fixtures/exchanges.jsonl.gz"
    );
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    // Every seventh utf8 call with nothing left open.
    let chosen: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|exchange| exchange["undetermined"].as_object().unwrap().is_empty())
        .filter(|exchange| exchange["response"]["body_encoding"] == "utf8")
        .filter(|exchange| exchange["expected"]["is_call"] == true)
        .filter(|exchange| exchange["expected"]["usage_source"] != "header")
        .step_by(7)
        .collect();
    assert!(chosen.len() > 300);
    let place = Place::new();
    for exchange in &chosen {
        feed(&place.callmeter, exchange);
    }
    let rows = place.rows();
    assert_eq!(rows.len(), chosen.len());
    for exchange in &chosen {
        let (id, expected) = (exchange["id"].as_str().unwrap(), &exchange["expected"]);
        let row = rows
            .iter()
            .find(|row| row.request_id.as_deref() == Some(id))
            .unwrap();
        for (name, count) in row.usage.tokens() {
            if let Some(expected) = expected.get(name) {
                assert_eq!(count, expected.as_u64(), "{id} {name}");
            }
        }
        assert_eq!(
            row.finish_reason.as_deref(),
            expected["finish_reason"].as_str(),
            "{id}"
        );
        assert_eq!(row.streaming, expected["streaming"].as_bool(), "{id}");
        let failed = row.error_kind.is_some();
        assert_eq!(failed, !expected["error_kind"].is_null(), "{id}");
        assert_eq!(row.status_or_ok() == &Status::Error, failed, "{id}");
        let source = row.usage.usage_source.map(UsageSource::as_str);
        assert_eq!(source, expected["usage_source"].as_str(), "{id}");
    }
}

fn feed(callmeter: &Callmeter, exchange: &Value) {
    let text = |path: &str| {
        exchange
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let host = text("/request/host");
    let scheme = if host.is_empty() { "" } else { "https://" };
    let url = format!("{scheme}{host}{}", text("/request/path"));
    let status = exchange["response"]["status"]
        .as_u64()
        .map(|status| status as u16);
    let listed = exchange["response"]["headers"]
        .as_object()
        .into_iter()
        .flatten();
    let listed = listed.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    let head = ResponseHead::new(status)
        .request(text("/request/method"), &url)
        .headers([("content-type", text("/response/content_type"))])
        .headers(listed);
    let mut call = callmeter.call("replay", text("/expected/provider"), text("/request/model"));
    call.request_id(text("/id"));
    let body = text("/response/body").as_bytes();
    if exchange["expected"]["streaming"] == true {
        let mut stream = call.observe_stream(&head);
        for piece in body.chunks(97) {
            stream.chunk(piece);
        }
        stream.finish();
    } else {
        call.observe_body(&head, body);
        call.finish();
    }
}
