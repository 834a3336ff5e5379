//! Memory is bounded whatever the body, and nothing is allocated for content. A binary of its own: the
//! allocator counts for the whole process.
#![allow(clippy::unwrap_used, clippy::panic)]

use callmeter_testkit::allocations::{Counting, Measure, measured};
use callmeter_wire::{Reading, RequestFacts, RequestReader, ResponseReader};

#[global_allocator]
static COUNTING: Counting = Counting;

const MEGABYTE: usize = 1 << 20;

/// Reads a body of `filler`, repeated to `size` bytes between a head and a tail, in chunks of 64 KiB that are
/// made once.
fn read(
    path: &str,
    content_type: &str,
    (head, filler, tail): (&str, &str, &str),
    size: usize,
) -> (Reading, Measure) {
    let chunk = filler.repeat((64 << 10) / filler.len());
    measured(|| {
        let facts = RequestFacts::from_line("POST", path);
        let mut reader = ResponseReader::new(&facts, Some(200), [("content-type", content_type)]);
        reader.push(head.as_bytes());
        for _ in 0..size / chunk.len() {
            reader.push(chunk.as_bytes());
        }
        reader.push(tail.as_bytes());
        reader.finish()
    })
}

/// Of each framing and dialect: what a large body is made of.
fn bodies() -> Vec<(
    &'static str,
    &'static str,
    (&'static str, &'static str, &'static str),
)> {
    let (json, events) = ("application/json", "text/event-stream");
    let chat = "/v1/chat/completions";
    let usage = "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}";
    let usage: &'static str = Box::leak(format!("\"}}}}],{usage}").into_boxed_str());
    let embedded: &'static str =
        "0]}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}";
    let deep: &'static str =
        "\"\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}";
    let done = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}\n\ndata: [DONE]\n\n";
    vec![
        (
            chat,
            json,
            (
                "{\"choices\":[{\"message\":{\"content\":\"",
                "words and w\\u00f6rds \\n ",
                usage,
            ),
        ),
        (chat, json, ("{\"choices\":[{\"x\":", "{\"a\":", deep)),
        (
            "/v1/embeddings",
            json,
            ("{\"data\":[{\"embedding\":[", "0.0123,-0.5,1e-7,", embedded),
        ),
        (
            chat,
            events,
            (
                "",
                "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"w\"}}]}\n\n",
                done,
            ),
        ),
        // One event of the whole size.
        (
            chat,
            events,
            (
                "data: {\"choices\":[{\"delta\":{\"content\":\"",
                "x",
                "\"}}]}\n\ndata: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n",
            ),
        ),
        (
            "/api/chat",
            "application/x-ndjson",
            (
                "",
                "{\"message\":{\"content\":\"w\"},\"done\":false}\n",
                "{\"done\":true,\"prompt_eval_count\":3,\"eval_count\":4}\n",
            ),
        ),
    ]
}

#[test]
fn a_body_of_two_hundred_megabytes_costs_what_a_small_one_costs() {
    for (path, content_type, parts) in bodies() {
        let (_, small) = read(path, content_type, parts, MEGABYTE / 16);
        // 200 MB of the first, ten of the others: the same loop, a hundred times through and more.
        let size = if parts.0.contains("message") { 200 } else { 10 };
        let (reading, large) = read(path, content_type, parts, size * MEGABYTE);
        assert_eq!(large, small, "{path} {}", parts.1);
        assert!(large.peak_bytes < 48 << 10, "{large:?}");
        // Unclosed brackets leave the body inside of what they opened.
        if !parts.1.starts_with("{\"a\"") {
            assert_eq!(reading.usage.output_tokens, Some(4), "{path} {}", parts.1);
        }
    }
}

#[test]
fn an_event_costs_no_allocation() {
    let facts = RequestFacts::from_line("POST", "/v1/chat/completions");
    let mut reader =
        ResponseReader::new(&facts, Some(200), [("content-type", "text/event-stream")]);
    let event = b"data: {\"id\":\"chatcmpl-1\",\"model\":\"gpt-5\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" w\\u00f6rd\"},\
                  \"finish_reason\":null}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n";
    reader.push(event);
    let ((), measure) = measured(|| {
        for byte in event.repeat(100) {
            reader.push(&[byte]);
        }
        for _ in 0..100 {
            reader.push(event);
        }
    });
    // The repeated event itself is the one.
    assert_eq!(measure.allocations, 1);
}

#[test]
fn a_request_of_any_size_costs_what_a_small_one_costs() {
    let cost = |megabytes: usize| {
        let chunk = "words of a prompt ".repeat(4_096);
        let (facts, measure) = measured(|| {
            let head = [
                ("host", "api.openai.com"),
                ("content-type", "application/json"),
            ];
            let mut reader = RequestReader::new("POST", "/v1/chat/completions", head);
            reader.push(b"{\"messages\":[{\"content\":\"");
            for _ in 0..megabytes * MEGABYTE / chunk.len() {
                reader.push(chunk.as_bytes());
            }
            reader.push(b"\"}],\"model\":\"gpt-5\",\"stream\":true}");
            reader.finish()
        });
        assert_eq!(facts.model.as_deref(), Some("gpt-5"));
        measure
    };
    let small = cost(1);
    assert_eq!(cost(50), small);
    assert!(small.peak_bytes < 16 << 10, "{small:?}");
}

#[cfg(feature = "compression")]
#[test]
fn a_bomb_costs_its_window_and_no_more() {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(b"{\"choices\":[{\"message\":{\"content\":\"")
        .unwrap();
    let filler = vec![b'x'; MEGABYTE];
    (0..100).for_each(|_| gzip.write_all(&filler).unwrap());
    gzip.write_all(b"\"}}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}")
        .unwrap();
    let packed = gzip.finish().unwrap();
    assert!(packed.len() < 200 << 10);
    let (reading, measure) = measured(|| {
        let facts = RequestFacts::from_line("POST", "/v1/chat/completions");
        let head = [
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
        ];
        let mut reader = ResponseReader::new(&facts, Some(200), head);
        reader.push(&packed);
        reader.finish()
    });
    assert_eq!(reading.usage.output_tokens, Some(4));
    assert!(measure.peak_bytes < 512 << 10, "{measure:?}");
}
