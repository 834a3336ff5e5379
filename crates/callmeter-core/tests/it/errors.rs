//! The golden table of real errors: what is stored of each under both policies.
//!
//! `tests/errors/collect.py` raises them with the real libraries and writes the inputs; `CALLMETER_BLESS=1` adds
//! what is stored of them, and writes the page that shows it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use callmeter_core::{ErrorPolicy, ScrubbedError};
use callmeter_testkit::markers::found_in;
use serde_json::{Value, json};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/errors.jsonl");
const PAGE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/reference/errors.md"
);

const GUIDE: &str = include_str!("../../../../docs/guides/switching.md");

const HEAD: &str = "# What is stored of an error

This page is generated from real errors: `CALLMETER_BLESS=1 cargo test -p callmeter-core errors` writes it anew. Where a message held a prompt, a
value, a key or a password, they are not on this page either: the first column says which library raised the error.

`privacy.errors = class`, the default, keeps the type, and beside it `error_kind`, `http_status` and the provider's code (`error_detail`). `scrubbed`, the default
under `compat`, also keeps the text of messages that callmeter knows: their fixed words, hosts, ports, numbers and short names; `…` stands for everything else. Of a
message that it does not know it keeps the type. A text that a host gives with `set_error` goes the same way; of one without a type
and without a known message the row keeps `(error text withheld)`.

| library | `class` | `scrubbed` | `error_kind` | HTTP | code |
| --- | --- | --- | --- | --- | --- |
";

fn cases() -> Vec<Value> {
    let table = std::fs::read_to_string(TABLE).unwrap();
    table
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap()
}

fn scrubbed(case: &Value) -> ScrubbedError {
    ScrubbedError::of(Some(text(case, "class")), text(case, "message"))
}

fn stored(case: &Value) -> Value {
    let error = scrubbed(case);
    json!({
        "class": error.text(ErrorPolicy::Class),
        "scrubbed": error.text(ErrorPolicy::Scrubbed),
        "error_kind": error.kind().map(|kind| kind.as_str()),
        "http_status": error.http_status(),
        "error_detail": error.code(),
    })
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    let cell = |value: &Value| match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => format!("`{}`", text.replace('|', "\\|")),
        other => other.to_string(),
    };
    let mut seen = BTreeSet::new();
    for case in cases() {
        let stored = &case["stored"];
        let cells: Vec<_> = [
            "class",
            "scrubbed",
            "error_kind",
            "http_status",
            "error_detail",
        ]
        .iter()
        .map(|key| cell(&stored[*key]))
        .collect();
        let row = format!("| {} | {} |", text(&case, "library"), cells.join(" | "));
        if seen.insert(row.clone()) {
            writeln!(page, "{row}").unwrap();
        }
    }
    page
}

#[test]
fn every_real_error_is_stored_as_the_table_says_and_the_page_shows_it() {
    if std::env::var_os("CALLMETER_BLESS").is_some() {
        let lines = cases().into_iter().map(|mut case| {
            case["stored"] = stored(&case);
            format!("{case}\n")
        });
        std::fs::write(TABLE, lines.collect::<String>()).unwrap();
        std::fs::write(PAGE, page()).unwrap();
    }
    for case in cases() {
        assert_eq!(case["stored"], stored(&case), "{}", case["message"]);
    }
    assert_eq!(std::fs::read_to_string(PAGE).unwrap(), page());
}

#[test]
fn the_table_covers_the_libraries_and_nothing_of_content_or_secrets_is_stored() {
    let cases = cases();
    assert!(cases.len() >= 40);
    let libraries: BTreeSet<_> = cases.iter().map(|case| text(case, "library")).collect();
    for library in [
        "requests",
        "httpx",
        "psycopg",
        "psycopg2",
        "asyncpg",
        "sqlite3",
        "pymysql",
        "sqlalchemy",
        "ollama",
        "openai",
        "anthropic",
        "google-genai",
    ] {
        assert!(libraries.contains(library), "{library}");
    }
    let inputs = cases
        .iter()
        .filter(|case| found_in(text(case, "message").as_bytes()).is_some());
    assert!(inputs.count() >= 15, "most errors quote something");
    for case in &cases {
        let stored = stored(case).to_string();
        assert_eq!(found_in(stored.as_bytes()), None, "{stored}");
    }
}

#[test]
fn a_text_with_its_type_in_front_is_stored_as_the_exception_itself() {
    for case in cases() {
        let (class, message) = (text(&case, "class"), text(&case, "message"));
        let one = ScrubbedError::of(None, &format!("{class}: {message}"));
        let both = scrubbed(&case);
        assert_eq!(
            one.text(ErrorPolicy::Scrubbed),
            both.text(ErrorPolicy::Scrubbed)
        );
        assert_eq!((one.kind(), one.code()), (both.kind(), both.code()));
        // What is stored is its own scrubbed form, also cut as the replaced module cut it.
        let again = ScrubbedError::of(None, one.text(ErrorPolicy::Scrubbed).unwrap());
        assert_eq!(
            again.text(ErrorPolicy::Scrubbed),
            one.text(ErrorPolicy::Scrubbed)
        );
    }
}

#[test]
fn every_real_error_is_known_by_its_message() {
    let unknown: Vec<_> = cases()
        .iter()
        .filter(|case| scrubbed(case).text(ErrorPolicy::Scrubbed) == scrubbed(case).class())
        .map(|case| format!("{}: {}", text(case, "class"), text(case, "message")))
        .collect();
    assert_eq!(unknown, Vec::<String>::new());
}

#[test]
fn the_texts_of_the_guide_on_switching_come_out_as_it_says() {
    let (_, section) = GUIDE.split_once("## Error texts").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let pairs: Vec<(&str, &str)> = section
        .lines()
        .filter_map(|line| {
            line.strip_prefix("| `")?
                .strip_suffix("` |")?
                .split_once("` | `")
        })
        .collect();
    assert_eq!(pairs.len(), 10);
    for (before, now) in pairs {
        let error = ScrubbedError::of(None, before);
        assert_eq!(error.text(ErrorPolicy::Scrubbed), Some(now), "{before}");
    }
}
