//! The recorded exchanges written otherwise: what JSON leaves to the writer changes no figure.
//!
//! Providers reorder keys, put white space, escape what need not be escaped, write whole numbers as floats, add
//! fields, and gateways repeat keys. Each exchange is written anew in several such ways and must read the
//! same. Bodies of unknown dialects are left out where usage objects are added: there they are looked for.

use callmeter_wire::{Api, Reading, RequestFacts, ResponseReader, inspect};
use serde_json::{Map, Value};

use crate::support::{exchanges, text};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Keys from Z to A: usage before the content, types after what they are types of.
    Backwards,
    /// Blanks and tabs wherever they may stand.
    Spaced,
    /// Every letter of keys and texts as `\u0061`.
    Escaped,
    /// Whole numbers as `12.0` or `1.2e1`.
    Floats,
    /// Unknown fields in every object, with usage objects of their own.
    Extended,
    /// Every key twice, the first time null.
    Doubled,
}

const WAYS: [Way; 6] = [
    Way::Backwards,
    Way::Spaced,
    Way::Escaped,
    Way::Floats,
    Way::Extended,
    Way::Doubled,
];

const UNKNOWN: &str = r#"{"usage":{"prompt_tokens":77,"input_tokens":77,"completion_tokens":7,"total_tokens":9},"text":"}\"{"}"#;

fn write(value: &Value, way: Way, out: &mut String) {
    let gap = if way == Way::Spaced { " \t " } else { "" };
    match value {
        Value::Object(object) => write_object(object, way, gap, out),
        Value::Array(elements) => {
            out.push('[');
            for (at, element) in elements.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                out.push_str(gap);
                write(element, way, out);
                out.push_str(gap);
            }
            out.push(']');
        }
        Value::String(text) => write_text(text, way, out),
        Value::Number(number) => match number.as_u64().filter(|_| way == Way::Floats) {
            Some(whole) if whole % 10 == 0 && whole > 0 => {
                out.push_str(&format!("{}e1", whole / 10));
            }
            Some(whole) => out.push_str(&format!("{whole}.0")),
            None => out.push_str(&number.to_string()),
        },
        other => out.push_str(&other.to_string()),
    }
}

fn write_object(object: &Map<String, Value>, way: Way, gap: &str, out: &mut String) {
    let mut fields: Vec<(&String, &Value)> = object.iter().collect();
    if way == Way::Backwards {
        fields.reverse();
    }
    out.push('{');
    if way == Way::Extended {
        out.push_str(&format!("\"a_new_field\":{UNKNOWN},"));
    }
    for (at, (key, value)) in fields.iter().enumerate() {
        out.push_str(if at > 0 { "," } else { "" });
        out.push_str(gap);
        if way == Way::Doubled {
            write_text(key, way, out);
            out.push_str(":null,");
        }
        write_text(key, way, out);
        out.push_str(gap);
        out.push(':');
        out.push_str(gap);
        // A number that stands for a word, as Vertex AI's enums do, is no count.
        let is_word = key.as_str() == "finishReason" && way == Way::Floats;
        write(value, if is_word { Way::Backwards } else { way }, out);
        out.push_str(gap);
    }
    if way == Way::Extended {
        out.push_str(if fields.is_empty() { "" } else { "," });
        out.push_str(&format!("\"z_new_field\":[1,{UNKNOWN}]"));
    }
    out.push('}');
}

fn write_text(text: &str, way: Way, out: &mut String) {
    if way != Way::Escaped {
        out.push_str(&Value::from(text).to_string());
        return;
    }
    out.push('"');
    for unit in text.encode_utf16() {
        out.push_str(&format!("\\u{unit:04x}"));
    }
    out.push('"');
}

fn rewritten(json: &str, way: Way) -> Option<String> {
    let value: Value = serde_json::from_str(json).ok()?;
    let mut out = String::new();
    // An unknown field would make something of a value that is no object.
    value.is_object().then(|| write(&value, way, &mut out))?;
    Some(out)
}

/// A body anew: as one value, else line by line, the data of events and whole lines.
fn body_anew(body: &str, way: Way) -> String {
    if let Some(whole) = rewritten(body, way) {
        return whole;
    }
    let line_anew = |line: &str| {
        let (field, json) = match line.strip_prefix("data:") {
            Some(data) => ("data: ", data.trim()),
            None => ("", line),
        };
        rewritten(json, way).map_or_else(|| line.to_owned(), |json| format!("{field}{json}"))
    };
    body.split('\n')
        .map(line_anew)
        .collect::<Vec<_>>()
        .join("\n")
}

fn read(facts: &RequestFacts, exchange: &Value, body: &str) -> Reading {
    let response = &exchange["response"];
    let status = response["status"].as_u64().and_then(|n| n.try_into().ok());
    let headers = response["headers"].as_object().into_iter().flatten();
    let head = response["content_type"].as_str();
    let head = head.map(|value| ("content-type", value)).into_iter();
    let listed = headers.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    let mut reader = ResponseReader::new(facts, status, listed.chain(head));
    reader.push(body.as_bytes());
    reader.finish()
}

#[test]
fn what_json_leaves_to_the_writer_changes_no_figure() {
    let mut tried = [0; WAYS.len()];
    for (line, turn) in exchanges().iter().zip(0..) {
        let exchange: Value = serde_json::from_str(line).unwrap();
        if text(&exchange, "/response/body_encoding") != "utf8" {
            continue;
        }
        let body = text(&exchange, "/response/body");
        let facts = inspect(line, None).unwrap().facts;
        let expected = read(&facts, &exchange, body);
        let searched = facts.api == Api::Unknown;
        // Two ways for each exchange, all of them in turn.
        for at in [turn % WAYS.len(), (turn + 3) % WAYS.len()] {
            let way = WAYS[at];
            if way == Way::Extended && searched {
                continue;
            }
            let anew = body_anew(body, way);
            tried[at] += usize::from(anew != body);
            assert_eq!(
                read(&facts, &exchange, &anew),
                expected,
                "{} {way:?}\n{anew}",
                text(&exchange, "/id")
            );
        }
    }
    assert!(tried.iter().all(|count| *count > 600), "{tried:?}");
}
