//! Nothing that arrives makes a reader panic, grow or slow down with the square of its length.

use callmeter_wire::{RequestFacts, RequestReader, ResponseReader, inspect_line};
use proptest::prelude::*;

use crate::support::{Exchange, tokens};

const PATHS: [&str; 7] = [
    "/v1/chat/completions",
    "/v1/messages",
    "/v1beta/models/g:streamGenerateContent",
    "/model/m/invoke-with-response-stream",
    "/api/chat",
    "/v2/chat",
    "/unknown",
];
const TYPES: [&str; 4] = [
    "application/json",
    "text/event-stream",
    "application/vnd.amazon.eventstream",
    "",
];

#[test]
fn brackets_nested_a_million_deep_are_only_counted() {
    for open in [
        "[",
        "{\"usage\":",
        "{\"choices\":[",
        "{\"error\":{\"details\":[",
    ] {
        for path in PATHS {
            let mut body = open.repeat(300_000).into_bytes();
            body.extend(b"\n{\"usage\":{\"prompt_tokens\":1}}");
            let _ = Exchange::json(path, std::str::from_utf8(&body).unwrap()).read();
        }
    }
}

#[test]
fn absurd_numbers_are_no_counts_and_are_marked() {
    for number in [
        "-5",
        "1e400",
        "99999999999999999999999999999999999999999",
        "1e18446744073709551616",
    ] {
        let body = format!("{{\"usage\":{{\"prompt_tokens\":{number},\"completion_tokens\":7}}}}");
        let reading = Exchange::json("/v1/chat/completions", &body).read();
        assert_eq!(tokens(&reading), (None, Some(7)), "{number}");
    }
    let endless = format!(
        "{{\"usage\":{{\"prompt_tokens\":{}}}}}",
        "9".repeat(5_000_000)
    );
    assert_eq!(
        tokens(&Exchange::json("/v1/chat/completions", &endless).read()),
        (None, None)
    );
}

#[test]
fn endless_lines_names_and_keys_cost_no_memory() {
    let long = "x".repeat(8 << 20);
    for body in [
        format!("data: {long}"),
        format!("event: {long}\ndata: {{\"usage\":{{\"prompt_tokens\":2}}}}\n\n"),
        format!("{long}: y\n\ndata: {{}}\n\n"),
        format!("{{\"{long}\":1,\"usage\":{{\"prompt_tokens\":2}}}}"),
        format!("{{\"model\":\"{long}\",\"id\":\"{long}\",\"usage\":{{\"prompt_tokens\":2}}}}"),
        format!("{{\"error\":{{\"message\":\"{long}\",\"code\":\"{long}\"}}}}"),
    ] {
        let reading = Exchange::new("/v1/chat/completions", "", body).read();
        assert!(reading.model.is_none_or(|model| model.len() <= 160));
        assert!(reading.error_detail.is_none());
    }
}

#[test]
fn one_event_of_fifty_megabytes_passes_through() {
    let mut body = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"".to_vec();
    body.resize(50 << 20, b'a');
    body.extend_from_slice(b"\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n");
    let reading = Exchange::new("/v1/chat/completions", "text/event-stream", body).read();
    assert_eq!(tokens(&reading), (Some(3), Some(4)));
    assert_eq!(reading.stream_complete, Some(true));
}

#[test]
fn bytes_that_are_no_text_do_not_disturb_what_stands_beside_them() {
    let body = b"{\"choices\":[{\"message\":{\"content\":\"\xff\xfe\xc3\"}}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}";
    let reading = Exchange::new("/v1/chat/completions", "application/json", body.as_slice()).read();
    assert_eq!(tokens(&reading), (Some(3), Some(4)));
}

#[test]
fn lines_that_are_no_exchange_are_refused_without_being_repeated() {
    for line in [
        "",
        "secret",
        "[]",
        "{}",
        "{\"request\":{},\"response\":{}}",
        "{\"request\":{\"path\":\"/\"},\"response\":{\"body\":7}}",
    ] {
        let refused = inspect_line(line, None).unwrap_err().to_string();
        assert!(
            !refused.contains("secret") && !refused.ends_with('.'),
            "{refused}"
        );
    }
}

/// Pieces of real formats, put together at random.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..24),
        prop::sample::select(
            &[
                "{",
                "}",
                "[",
                "]",
                ",",
                ":",
                "\"",
                "\\",
                "\\u",
                "\\ud800",
                "null",
                "true",
                "-",
                "1e9",
                "0",
                "\n",
                "\r\n",
                "\n\n",
                "data: ",
                "event: error\n",
                "error: ",
                "data: [DONE]\n\n",
                ": ping\n",
                "\"usage\":{",
                "\"prompt_tokens\":12",
                "\"input_tokens\":3",
                "\"usageMetadata\":{",
                "\"promptTokenCount\":5",
                "\"choices\":[{",
                "\"finish_reason\":\"stop\"",
                "\"error\":{\"message\":\"x\"}",
                "\"bytes\":\"eyJ1c2FnZSI6e319\"",
                "\"iterations\":[{\"type\":\"compaction\"}]",
                "\"meta\":{\"tokens\":{",
                "\"done\":true",
                "\u{feff}",
                "\0\0\0\u{10}",
                "\"cost\":1e-5",
                "\"details\":[{",
            ][..]
        )
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn any_bytes_are_read_to_the_end_and_alike_in_every_cutting(
        body in pieces(),
        path in prop::sample::select(&PATHS[..]),
        kind in prop::sample::select(&TYPES[..]),
        coding in prop::sample::select(&["", "", "", "gzip", "br", "zstd", "deflate"][..]),
        status in prop::sample::select(&[200_u16, 400, 429, 503][..]),
        chunk in 1_usize..9,
    ) {
        let facts = RequestFacts::from_line("POST", path);
        let head = [("content-type", kind), ("content-encoding", coding)];
        let mut whole = ResponseReader::new(&facts, Some(status), head);
        whole.push(&body);
        let mut cut = ResponseReader::new(&facts, Some(status), head);
        body.chunks(chunk).for_each(|piece| cut.push(piece));
        prop_assert_eq!(whole.has_content(), cut.has_content());
        prop_assert_eq!(whole.finish(), cut.finish());
    }

    #[test]
    fn any_request_is_read_to_the_end(
        method in "[A-Z]{0,7}", target in ".{0,60}", host in ".{0,40}", value in ".{0,60}", body in pieces(),
        kind in prop::sample::select(&["application/json", "multipart/form-data; boundary=x"][..]),
    ) {
        let head = [("host", host.as_str()), ("authorization", value.as_str()), ("content-type", kind)];
        let mut reader = RequestReader::new(&method, &target, head);
        body.chunks(3).for_each(|piece| reader.push(piece));
        let _ = reader.finish();
    }
}
