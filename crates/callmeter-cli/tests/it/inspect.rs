//! `callmeter inspect --jsonl`: an exchange in, what was read of it and what it costs out.

use std::io::Read;

use serde_json::{Value, json};

use crate::support::Place;

/// Answers of the command, and whether it was content.
fn inspect(more: &[&str], input: &[u8]) -> (String, Option<i32>) {
    let args = [&["inspect", "--jsonl"], more].concat();
    let output = Place::new().fed(&args, input);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    (
        String::from_utf8(output.stdout).unwrap(),
        output.status.code(),
    )
}

fn exchange(host: &str, path: &str, model: &str, body: &str) -> Value {
    json!({
        "id": "left alone",
        "request": {"method": "POST", "host": host, "path": path, "model": model, "stream": null, "include_usage": null},
        "response": {
            "status": 200, "content_type": "application/json", "body_encoding": "utf8", "body": body,
            "headers": {"date": "Mon, 05 Jan 2026 10:00:00 GMT", "request-id": "req_1"},
        },
        "expected": "not looked at",
    })
}

fn pretty(lines: &str) -> String {
    lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|value| serde_json::to_string_pretty(&value).unwrap() + "\n")
        .collect()
}

#[test]
fn an_exchange_is_read_and_priced() {
    let message = r#"{"id":"msg_1","type":"message","model":"claude-sonnet-4-5-20250929","stop_reason":"end_turn",
        "usage":{"input_tokens":10,"cache_read_input_tokens":2000,"cache_creation_input_tokens":300,"output_tokens":50,
        "cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200},"service_tier":"standard"}}"#;
    let line = exchange(
        "api.anthropic.com",
        "/v1/messages",
        "claude-sonnet-4-5",
        message,
    );
    let (out, code) = inspect(&[], line.to_string().as_bytes());
    assert_eq!(code, Some(0));
    insta::assert_snapshot!(pretty(&out));
}

#[test]
fn bad_lines_are_errors_in_their_places_and_the_others_are_answered() {
    let good = exchange(
        "api.openai.com",
        "/v1/embeddings",
        "text-embedding-3-small",
        r#"{"model":"text-embedding-3-small","usage":{"prompt_tokens":8,"total_tokens":8}}"#,
    );
    let mut strange = good.clone();
    strange["response"]["body_encoding"] = "rot13".into();
    let mut input = format!("{good}\nno json, my secret\n\n[]\n{{}}\n").into_bytes();
    input.extend_from_slice(b"\xff\xfe\n");
    input.extend_from_slice(
        format!("{strange}\n{{\"request\":{{\"path\":\"/\"}}}}\n{good}").as_bytes(),
    );
    let (out, code) = inspect(&[], &input);
    assert_eq!(code, Some(1));
    let lines: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 8);
    for at in [0, 7] {
        assert_eq!(lines[at]["input_tokens"], 8);
        assert_eq!(lines[at]["cost_usd"], "0.00000016");
    }
    let errors: Vec<&str> = lines[1..7]
        .iter()
        .map(|line| line["error"].as_str().unwrap())
        .collect();
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn a_cost_is_the_providers_own_the_books_or_none() {
    let usage = r#""usage":{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100"#;
    let openrouter = format!(r#"{{"model":"openai/gpt-4o",{usage},"cost":0.0042}}}}"#);
    let openai = format!(r#"{{"model":"gpt-4o-2024-08-06",{usage}}}}}"#);
    let (chat, count) = ("/v1/chat/completions", "/v1/messages/count_tokens");
    let lines = [
        exchange(
            "openrouter.ai",
            "/api/v1/chat/completions",
            "openai/gpt-4o",
            &openrouter,
        ),
        exchange("api.openai.com", chat, "gpt-4o", &openai),
        exchange("llm.example.net", chat, "gpt-4o", &openai),
        exchange("localhost:11434", chat, "llama3.1:8b", &openai),
        exchange(
            "api.anthropic.com",
            count,
            "claude-sonnet-4-5",
            "{\"input_tokens\":14}",
        ),
        exchange("api.openai.com", chat, "gpt-4o", "{\"model\":\"gpt-4o\"}"),
    ];
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let told = |more: &[&str]| -> Vec<String> {
        let (out, code) = inspect(more, input.as_bytes());
        assert_eq!(code, Some(0));
        out.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|line| {
                format!(
                    "{} {} {}",
                    line["cost_usd"], line["cost_source"], line["unpriced_reason"]
                )
            })
            .collect()
    };
    assert_eq!(
        told(&[]),
        [
            r#""0.0042" "provider" null"#,
            r#""0.0035" "catalogue" null"#,
            r#"null null "unknown_provider""#,
            r#""0" "catalogue" null"#,
            "null null null",
            r#"null null "no_usage""#,
        ]
    );
    // The legacy book calls what it does not know free.
    assert!(told(&["--book", "legacy"])[2].starts_with("\"0\""));
}

#[test]
fn the_recorded_exchanges_give_the_same_answers_in_pieces_of_any_size() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../callmeter-wire/tests/fixtures/exchanges.jsonl.gz"
    );
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap())
        .read_to_end(&mut text)
        .unwrap();
    let (whole, code) = inspect(&[], &text);
    assert_eq!((whole.lines().count(), code), (2_661, Some(0)));
    assert_eq!(inspect(&["--chunk", "13"], &text).0, whole);
}

#[test]
fn a_body_of_eight_megabytes_on_one_line_is_read() {
    let content = "a long answer ".repeat(600_000);
    let body = json!({
        "choices": [{"index": 0, "message": {"content": content}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1_200_000, "total_tokens": 1_200_003},
    });
    let line = exchange(
        "api.openai.com",
        "/v1/chat/completions",
        "gpt-4o",
        &body.to_string(),
    );
    let (out, code) = inspect(&["--chunk", "65536"], line.to_string().as_bytes());
    assert_eq!(code, Some(0));
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(answer["output_tokens"], 1_200_000);
}

#[test]
fn a_piece_of_no_bytes_is_a_mistake() {
    insta::assert_snapshot!(Place::new().seen(&["inspect", "--jsonl", "--chunk", "0"]));
}
