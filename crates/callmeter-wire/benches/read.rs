//! The readers against plain parsing of the same bytes into `serde_json::Value`.
//!
//! One group for each format, over the largest recorded exchange of it; the throughput line gives MB/s, and
//! `event` the cost of one streamed event. The baseline parses only what a naive reader would have to: a
//! body, each event's data, each line, each frame's payload, with the framing already removed.
//! `nothing` is the cost of a reader that sees no byte: what a call pays at least.

use std::hint::black_box;
use std::io::Read;

use callmeter_wire::{RequestFacts, ResponseReader};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::Value;

struct Case {
    name: &'static str,
    facts: RequestFacts,
    content_type: &'static str,
    body: Vec<u8>,
    /// The JSON documents inside, for the baseline.
    documents: Vec<Vec<u8>>,
}

fn read(case: &Case) -> callmeter_wire::Reading {
    let mut reader = ResponseReader::new(
        &case.facts,
        Some(200),
        [("content-type", case.content_type)],
    );
    // Sockets deliver pieces of this size.
    for piece in case.body.chunks(8 * 1_024) {
        reader.push(piece);
    }
    reader.finish()
}

fn parse(case: &Case) -> usize {
    let parsed = |bytes: &Vec<u8>| serde_json::from_slice::<Value>(bytes).ok();
    case.documents
        .iter()
        .filter_map(parsed)
        .filter(|value| !black_box(value).is_null())
        .count()
}

fn exchanges() -> Vec<Value> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/exchanges.jsonl.gz"
    );
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).expect("the fixtures are here"))
        .read_to_string(&mut text)
        .expect("the fixtures are gzip");
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn largest<'v>(all: &'v [Value], api: &str, streaming: bool) -> &'v str {
    all.iter()
        .filter(|exchange| exchange["expected"]["api"] == api)
        .filter(|exchange| exchange["expected"]["streaming"] == streaming)
        .filter_map(|exchange| exchange["response"]["body"].as_str())
        .max_by_key(|body| body.len())
        .unwrap_or_default()
}

fn case(name: &'static str, path: &str, content_type: &'static str, body: Vec<u8>) -> Case {
    let text = String::from_utf8_lossy(&body).into_owned();
    let documents: Vec<Vec<u8>> = match content_type {
        "text/event-stream" => text
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(|data| data.trim().as_bytes().to_vec())
            .collect(),
        "application/x-ndjson" => text.lines().map(|line| line.as_bytes().to_vec()).collect(),
        _ => vec![body.clone()],
    };
    Case {
        name,
        facts: RequestFacts::from_line("POST", path),
        content_type,
        body,
        documents,
    }
}

fn frames(payload: &str, times: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut body = Vec::new();
    for _ in 0..times {
        let head =
            b"\x0d:message-type\x07\x00\x05event\x0b:event-type\x07\x00\x11contentBlockDelta";
        let total = u32::try_from(16 + head.len() + payload.len()).expect("small");
        let start = body.len();
        body.extend_from_slice(&total.to_be_bytes());
        body.extend_from_slice(&u32::try_from(head.len()).expect("small").to_be_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(&body[start..]);
        body.extend_from_slice(&crc.sum().to_be_bytes());
        body.extend_from_slice(head);
        body.extend_from_slice(payload.as_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(&body[start..]);
        body.extend_from_slice(&crc.sum().to_be_bytes());
    }
    (body, vec![payload.as_bytes().to_vec(); times])
}

fn cases() -> Vec<Case> {
    let all = exchanges();
    let of = |api, streaming| largest(&all, api, streaming).as_bytes().to_vec();
    let (json, events) = ("application/json", "text/event-stream");
    let payload = "{\"contentBlockIndex\":0,\"delta\":{\"text\":\"some words of an answer\"},\"p\":\"abcdefghijklmnop\"}";
    let (body, documents) = frames(payload, 500);
    vec![
        case(
            "chat_json",
            "/v1/chat/completions",
            json,
            of("chat_completions", false),
        ),
        case(
            "chat_events",
            "/v1/chat/completions",
            events,
            of("chat_completions", true),
        ),
        case(
            "responses_json",
            "/v1/responses",
            json,
            of("responses", false),
        ),
        case(
            "responses_events",
            "/v1/responses",
            events,
            of("responses", true),
        ),
        case("messages_json", "/v1/messages", json, of("messages", false)),
        case(
            "messages_events",
            "/v1/messages",
            events,
            of("messages", true),
        ),
        case(
            "gemini_json",
            "/v1beta/models/g:generateContent",
            json,
            of("generate_content", false),
        ),
        case(
            "gemini_events",
            "/v1beta/models/g:streamGenerateContent",
            events,
            of("generate_content", true),
        ),
        case(
            "embeddings_json",
            "/v1/embeddings",
            json,
            of("embeddings", false),
        ),
        case(
            "ollama_lines",
            "/api/chat",
            "application/x-ndjson",
            of("ollama_chat", true),
        ),
        Case {
            documents,
            ..case(
                "bedrock_frames",
                "/model/m/converse-stream",
                "application/vnd.amazon.eventstream",
                body,
            )
        },
    ]
}

fn bench(criterion: &mut Criterion) {
    for case in cases() {
        let mut group = criterion.benchmark_group(case.name);
        group.throughput(Throughput::Bytes(case.body.len() as u64));
        group.bench_function("read", |bencher| bencher.iter(|| read(&case)));
        group.bench_function("serde_json_value", |bencher| bencher.iter(|| parse(&case)));
        group.finish();
    }
    let nothing = case(
        "nothing",
        "/v1/chat/completions",
        "application/json",
        Vec::new(),
    );
    criterion.bench_function("nothing/read", |bencher| bencher.iter(|| read(&nothing)));
    let event = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-5\",\"choices\":[{\"index\":0,\
                 \"delta\":{\"content\":\" word\"},\"finish_reason\":null}],\"usage\":null,\"obfuscation\":\"abcdefgh\"}\n\n";
    let mut group = criterion.benchmark_group("event");
    group.throughput(Throughput::Elements(1));
    let facts = RequestFacts::from_line("POST", "/v1/chat/completions");
    group.bench_function("read", |bencher| {
        let mut reader =
            ResponseReader::new(&facts, Some(200), [("content-type", "text/event-stream")]);
        bencher.iter(|| reader.push(black_box(event.as_bytes())));
    });
    group.bench_function("serde_json_value", |bencher| {
        bencher.iter(|| serde_json::from_str::<Value>(black_box(event[6..].trim_end())));
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
