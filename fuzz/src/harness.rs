//! What the fuzz targets run, and what must hold for any bytes.
//!
//! Every function takes the bytes of one input. None may panic; the same bytes in pieces must give the
//! same reading; what is kept must be short. The stable tests of `callmeter-wire` include this file and
//! run it over the corpus and over random bytes.

use callmeter_wire::{RequestFacts, RequestReader, ResponseReader, inspect_line};

/// What a target runs.
pub type Target = fn(&[u8]);

/// The targets by name; the corpus has a folder for each.
pub const TARGETS: &[(&str, Target)] = &[
    ("json_body", json_body),
    ("event_lines", event_lines),
    ("event_stream", event_stream),
    ("compressed", compressed),
    ("request", request),
    ("inspect", inspect),
];

const PATHS: &[&str] = &[
    "/v1/chat/completions",
    "/v1/messages",
    "/v1/responses",
    "/v1beta/models/g:streamGenerateContent",
    "/model/m/invoke-with-response-stream",
    "/model/m/converse",
    "/api/chat",
    "/v2/chat",
    "/an/unknown/dialect",
];

/// JSON, a list of answers, or lines; the first byte chooses the interface.
pub fn json_body(bytes: &[u8]) {
    respond(bytes, "application/json", "");
}

/// Server-sent events.
pub fn event_lines(bytes: &[u8]) {
    respond(bytes, "text/event-stream", "");
}

/// AWS event streams.
pub fn event_stream(bytes: &[u8]) {
    respond(bytes, "application/vnd.amazon.eventstream", "");
}

/// Content encodings; the first byte also chooses the coding.
pub fn compressed(bytes: &[u8]) {
    let codings = ["gzip", "deflate", "br", "zstd", "gzip, br", "zstd, zstd"];
    let first = usize::from(bytes.first().copied().unwrap_or_default());
    let coding = codings[first % codings.len()];
    respond(bytes, "application/json", coding);
}

fn respond(bytes: &[u8], content_type: &str, coding: &str) {
    let (first, body) = bytes.split_first().unwrap_or((&0, &[]));
    let path = PATHS[usize::from(*first) % PATHS.len()];
    let facts = RequestFacts::from_line("POST", path);
    let head = [("content-type", content_type), ("content-encoding", coding)];
    let read = |chunk: usize| {
        let mut reader = ResponseReader::new(&facts, Some(200), head);
        for piece in body.chunks(chunk) {
            reader.push(piece);
        }
        reader.finish()
    };
    let whole = read(usize::MAX);
    assert_eq!(read(1 + usize::from(*first) % 17), whole);
    for text in [
        &whole.model,
        &whole.response_id,
        &whole.finish_reason,
        &whole.error_detail,
    ] {
        assert!(text.as_ref().is_none_or(|text| text.chars().count() <= 160));
    }
}

/// A request: the target up to the first line's end, then the body.
pub fn request(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (line, body) = bytes.split_at(at);
    let line = String::from_utf8_lossy(line);
    let kinds = ["application/json", "multipart/form-data; boundary=x"];
    for kind in kinds {
        let read = |chunk: usize| {
            let head = [
                ("content-type", kind),
                ("authorization", &*line),
                ("host", &*line),
            ];
            let mut reader = RequestReader::new("POST", &line, head);
            body.chunks(chunk).for_each(|piece| reader.push(piece));
            reader.finish()
        };
        assert_eq!(read(3), read(usize::MAX));
    }
}

/// A line of the inspection filter.
pub fn inspect(bytes: &[u8]) {
    let line = String::from_utf8_lossy(bytes);
    assert_eq!(inspect_line(&line, Some(1)), inspect_line(&line, None));
}
