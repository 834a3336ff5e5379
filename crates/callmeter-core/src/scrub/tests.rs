//! The scrubber on messages of every table, on hostile ones and on any text at all.

use callmeter_testkit::markers::{self, CONTENT, SECRET};
use proptest::prelude::*;

use super::template::{Part, first_part};
use super::*;
use crate::ErrorKind;

fn scrubbed(text: &str) -> String {
    let error = ScrubbedError::of(None, text);
    error.text(ErrorPolicy::Scrubbed).unwrap().to_owned()
}

/// Every template as a message: what its holes take, in their shapes.
fn examples() -> Vec<String> {
    fn written(pattern: &'static str, with_groups: bool) -> String {
        let mut out = String::new();
        let mut pattern = pattern;
        while let Some((part, rest)) = first_part(pattern) {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Group(group) if with_groups => out.push_str(&written(group, true)),
                Part::Group(_) => {}
                Part::Hole(hole) => out.push_str(filling(hole)),
            }
            pattern = rest;
        }
        assert!(pattern.is_empty(), "{pattern}");
        out
    }
    fn filling(hole: &'static str) -> &'static str {
        if let Some(text) = hole.strip_prefix('~') {
            return text;
        }
        match hole {
            "int" | "port" => "42",
            "num" => "1.5",
            "status" => "503",
            "dur" => "20s",
            "size" => "5.6 GiB",
            "hex" => "0xff",
            "q" => "'",
            "host" => "db.example",
            "sock" => "/run/.s.PGSQL.5432",
            "url" => "https://api.example:8443/v1/messages",
            "path" => "/api/chat",
            "caps" => "RPM",
            "type" => "OSError",
            "reason" => "Bad Gateway",
            "os" => "Connection refused",
            "cause" => "None",
            "pg" => "the database system is starting up",
            "pgfail" => "timeout expired",
            "my" => "Too many connections",
            "msg" => "Overloaded",
            "body" => "{'error': {'code': 'overloaded'}}",
            "words" => "tokens",
            "*" | "**" | "-" => "left_out",
            _ => "name",
        }
    }
    let named = ["os", "cause", "pg", "pgfail", "my", "msg"];
    let tables = named.iter().flat_map(|name| tables::named(name).unwrap());
    tables
        .copied()
        .flatten()
        .chain(tables::candidates(Some("KeyError")))
        .flat_map(|template| {
            [
                written(template.pattern, false),
                written(template.pattern, true),
            ]
        })
        .collect()
}

#[test]
fn a_template_reads_its_own_message() {
    for table in tables::candidates(None) {
        let hole_free = !table.pattern.contains(['{', '«']) && !table.pattern.ends_with(' ');
        if hole_free {
            let text = format!("SomeError: {}", table.pattern.trim());
            assert_eq!(scrubbed(&text), text);
        }
    }
}

#[test]
fn every_message_of_the_tables_comes_out_as_its_own_scrubbed_form() {
    for example in examples() {
        let once = scrubbed(&format!("SomeError: {example}"));
        assert_eq!(scrubbed(&once), once, "{example}");
    }
}

#[test]
fn what_stands_behind_a_known_message_is_left_out() {
    for example in examples() {
        for tail in [
            format!(" {CONTENT}"),
            format!(": {CONTENT}"),
            format!(" {CONTENT} sk-proj-{SECRET}"),
            format!("\n{CONTENT}"),
        ] {
            let text = scrubbed(&format!("SomeError: {example}{tail}"));
            assert_eq!(
                markers::found_in(text.as_bytes()),
                None,
                "{example}{tail}: {text}"
            );
        }
    }
}

#[test]
fn nothing_of_a_realistic_error_that_is_content_or_a_secret_is_kept() {
    for error in markers::realistic_errors() {
        let text = scrubbed(&error);
        assert_eq!(markers::found_in(text.as_bytes()), None, "{error}: {text}");
    }
}

#[test]
fn of_an_unknown_error_only_the_type_is_kept() {
    for (text, kept) in [
        ("ValueError: the patient's name is Jane", "ValueError"),
        ("RuntimeError: ", "RuntimeError"),
        ("TimeoutError", "TimeoutError"),
        (
            "my.module.OrderError: no stock for Jane",
            "my.module.OrderError",
        ),
        ("the patient's name is Jane", WITHHELD),
        ("Patient: Jane", WITHHELD),
        ("", WITHHELD),
    ] {
        assert_eq!(scrubbed(text), kept, "{text}");
    }
}

#[test]
fn a_type_that_the_host_names_is_kept_whatever_its_name() {
    let error = ScrubbedError::of(Some("Oops"), "something secret");
    assert_eq!(error.text(ErrorPolicy::Scrubbed), Some("Oops"));
    let error = ScrubbedError::of(Some("Oops"), "[Errno 111] Connection refused");
    assert_eq!(
        error.text(ErrorPolicy::Scrubbed),
        Some("Oops: [Errno 111] Connection refused")
    );
    let no_name = ScrubbedError::of(Some("A: b\nc"), "KeyError: 'usage'");
    assert_eq!(
        no_name.text(ErrorPolicy::Scrubbed),
        Some("KeyError: 'usage'")
    );
}

#[test]
fn host_port_numbers_and_short_names_stay_and_the_rest_goes() {
    for (text, kept) in [
        (
            "ConnectionError: HTTPConnectionPool(host='10.0.0.7', port=11434): Max retries exceeded with url: /api/generate?key=sk-1 (Caused by NewConnectionError('<urllib3.connection.HTTPConnection object at 0x7f>: Failed to establish a new connection: [Errno 111] Connection refused'))",
            "ConnectionError: HTTPConnectionPool(host='10.0.0.7', port=11434): Max retries exceeded with url: /api/generate… (Caused by NewConnectionError('<…>: Failed to establish a new connection: [Errno 111] Connection refused'))",
        ),
        (
            "UniqueViolation: duplicate key value violates unique constraint \"users_email_key\"\nDETAIL:  Key (email)=(jane@example.com) already exists.",
            "UniqueViolation: duplicate key value violates unique constraint \"users_email_key\" DETAIL: Key (email)=(…) already exists.",
        ),
        (
            "HTTPStatusError: Client error '401 Unauthorized' for url 'https://bob:pw@api.example:8443/v1/u/jane?key=AIzaSyA'\nFor more information check: https://developer.mozilla.org/en-US/docs/Web/HTTP/Status/401",
            "HTTPStatusError: Client error '401 Unauthorized' for url 'https://api.example:8443/…'",
        ),
        (
            "OperationalError: (1045, \"Access denied for user 'shop'@'172.17.0.1' (using password: YES)\")",
            "OperationalError: (1045, \"Access denied for user 'shop'@'172.17.0.1' (using password: YES)\")",
        ),
        (
            "OperationalError: (psycopg2.OperationalError) connection to server at \"db\" (10.0.0.5), port 5432 failed: FATAL:  password authentication failed for user \"shop\"\n\n(Background on this error at: https://sqlalche.me/e/20/e3q8)",
            "OperationalError: (psycopg2.OperationalError) connection to server at \"db\" (10.0.0.5), port 5432 failed: FATAL: password authentication failed for user \"shop\" …",
        ),
        (
            "RateLimitError: Error code: 429 - {'error': {'message': 'Rate limit reached for gpt-4o in organization org-Ab12Cd on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000. Please try again in 2s. Visit https://x', 'type': 'tokens', 'param': None, 'code': 'rate_limit_exceeded'}}",
            "RateLimitError: Error code: 429 - {'error': {'message': 'Rate limit reached for gpt-4o in organization … on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000. Please try again in 2s. …', 'type': 'tokens', 'param': None, 'code': 'rate_limit_exceeded'}}",
        ),
        (
            "KeyError: 'prompt_eval_count'",
            "KeyError: 'prompt_eval_count'",
        ),
        ("KeyError: 'Jane Doe'", "KeyError: '…'"),
        (
            "ConnectError('[Errno 111] Connection refused')",
            "ConnectError: [Errno 111] Connection refused",
        ),
        ("ReadTimeout('timed out')", "ReadTimeout: timed out"),
        ("ValueError('my secret')", "ValueError"),
        ("TimeoutError()", "TimeoutError"),
    ] {
        assert_eq!(scrubbed(text), kept);
    }
}

#[test]
fn the_kind_is_told_by_message_code_status_or_type() {
    for (text, kind) in [
        (
            "APIStatusError: Error code: 400 - {'error': {'message': \"prompt is too long: 205000 tokens > 200000 maximum\", 'type': 'invalid_request_error'}}",
            ErrorKind::ContextLength,
        ),
        (
            "ClientError: 429 RESOURCE_EXHAUSTED. {'error': {'code': 429, 'message': 'x', 'status': 'RESOURCE_EXHAUSTED'}}",
            ErrorKind::RateLimit,
        ),
        (
            "ResponseError: model 'x' not found (status code: 404)",
            ErrorKind::NotFound,
        ),
        (
            "HTTPError: 503 Server Error: Service Unavailable for url: http://x/",
            ErrorKind::Overloaded,
        ),
        ("ReadTimeout", ErrorKind::Timeout),
        ("CancelledError", ErrorKind::Cancelled),
        (
            "gaierror: [Errno -2] Name or service not known",
            ErrorKind::Network,
        ),
    ] {
        assert_eq!(ScrubbedError::of(None, text).kind(), Some(kind), "{text}");
    }
    assert_eq!(ScrubbedError::of(None, "ValueError: x").kind(), None);
}

#[test]
fn a_body_that_is_cut_off_or_nested_without_end_is_read_as_far_as_it_goes() {
    let cut = "BadRequestError: Error code: 400 - {'error': {'message': \"the secret";
    assert_eq!(
        scrubbed(cut),
        "BadRequestError: Error code: 400 - {'error': {'message': \"…\"}}"
    );
    let deep = format!("Error: Error code: 400 - {}", "{'error': [".repeat(3_000));
    assert!(scrubbed(&deep).len() < 200);
}

fn any_error() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<String>(),
        proptest::sample::select(examples()),
        proptest::sample::select(markers::realistic_errors()),
        "[{}'\"«»….:,() \\[\\]]{0,12}",
    ];
    proptest::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_comes_out_bounded_printable_and_as_its_own_scrubbed_form(text in any_error()) {
        let once = scrubbed(&text);
        prop_assert!(once.chars().count() <= LONGEST);
        prop_assert!(!once.chars().any(char::is_control));
        prop_assert_eq!(scrubbed(&once), once);
    }

    #[test]
    fn a_marker_never_comes_out_of_a_place_that_content_can_take(
        example in proptest::sample::select(examples()),
        prefix in "[a-z ]{1,12}",
    ) {
        // In front, where a message is known by its beginning, and as a message of a type of its own.
        for text in [
            format!("{prefix} {CONTENT} {example}"),
            format!("ValueError: {CONTENT}: {example}"),
            format!("SomeError: {prefix}{CONTENT}"),
        ] {
            let out = scrubbed(&text);
            prop_assert_eq!(markers::found_in(out.as_bytes()), None, "{}: {}", text, out);
        }
    }
}
