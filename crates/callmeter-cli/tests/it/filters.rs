//! `callmeter price --jsonl`: a line in, a line out, in order.

use std::process::Output;

use crate::support::Place;

fn price(args: &[&str], input: &[u8]) -> Output {
    Place::new().fed(args, input)
}

#[test]
fn a_line_is_priced_and_a_bad_line_is_an_error_in_its_place() {
    let input = br#"{"provider":"openai","model":"gpt-4o","at":"2026-01-05T00:00:00Z","usage":{"input_tokens":1000,"output_tokens":100}}
no json
{"provider":"nobody","model":"x","at":"2026-01-05T00:00:00Z","usage":{"input_tokens":1}}
"#;
    let output = price(&["price", "--jsonl"], input);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}

#[test]
fn a_line_without_end_is_refused_and_the_next_is_priced() {
    let mut input = vec![b'x'; 3 << 20];
    input.extend_from_slice(
        b"\n\xff\xfe\n{\"provider\":\"ollama\",\"model\":\"llama3.1:8b\",\"at\":\"2026-01-05T00:00:00Z\",\"usage\":{\"input_tokens\":1}}\n",
    );
    let output = price(&["price", "--jsonl"], &input);
    let lines: Vec<_> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].contains("longer than"), "{lines:?}");
    assert!(lines[1].contains("not UTF-8"), "{lines:?}");
    assert!(lines[2].contains("\"cost_usd\":\"0\""), "{lines:?}");
}

#[test]
fn the_legacy_book_calls_an_unknown_model_free() {
    let line = b"{\"provider\":\"openai\",\"model\":\"no-such\",\"at\":\"2026-01-05T00:00:00Z\",\"usage\":{\"input_tokens\":1}}\n";
    let output = price(&["price", "--jsonl", "--book", "legacy"], line);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\"cost_usd\":\"0\""), "{text}");
}
