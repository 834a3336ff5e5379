//! Changes to a request, every other byte staying as it is: another model, in the body or in the path, and the question
//! for usage.
//!
//! Of a body only the members of the outermost object are looked at. What does not read as such an object is not changed.

use std::ops::Range;

use memchr::memchr2;

/// What is to be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes<'a> {
    /// The model to ask for instead.
    pub(crate) model: Option<&'a str>,
    /// Whether to ask for usage in the stream, where the client left it open.
    pub(crate) ask_for_usage: bool,
}

/// A changed body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rewritten {
    pub(crate) body: Vec<u8>,
    /// Whether it asks for usage, and the client's did not.
    pub(crate) asks: bool,
}

/// The body with the changes; `None` where there is nothing to change, or it cannot be.
pub(crate) fn rewritten(body: &[u8], changes: Changes<'_>) -> Option<Rewritten> {
    let outline = Outline::of(body)?;
    let mut edits: Vec<(Range<usize>, Vec<u8>)> = Vec::new();
    if let Some(model) = changes.model {
        let text = serde_json::to_string(model).ok()?.into_bytes();
        for at in &outline.models {
            edits.push((at.clone(), text.clone()));
        }
    }
    let question = outline.question().filter(|_| changes.ask_for_usage);
    let asks = question.is_some();
    edits.extend(question);
    edits.retain(|(at, text)| body.get(at.clone()) != Some(text));
    if edits.is_empty() {
        return None;
    }
    edits.sort_by_key(|(at, _)| at.start);
    let grown: usize = edits.iter().map(|(_, text)| text.len()).sum();
    let mut out = Vec::with_capacity(body.len().saturating_add(grown));
    let mut from = 0;
    for (at, text) in edits {
        out.extend_from_slice(body.get(from..at.start)?);
        out.extend_from_slice(&text);
        from = at.end;
    }
    out.extend_from_slice(body.get(from..)?);
    Some(Rewritten { body: out, asks })
}

/// Providers that refuse the question, or answer it unasked.
const UNASKED: &[&str] = &[
    "ai21",
    "anthropic",
    "cloudflare",
    "cohere",
    "databricks",
    "mistral",
    "perplexity",
    "snowflake",
    "writer",
];

/// Whether a provider is asked for usage in a stream.
pub(crate) fn is_asked(provider: Option<&str>) -> bool {
    provider.is_none_or(|provider| !UNASKED.contains(&provider))
}

/// A path that names a model, naming another: `/v1beta/models/MODEL:verb`.
pub(crate) fn path_with_model(path: &str, model: &str) -> String {
    let named = path.split_once("/models/").and_then(|(before, rest)| {
        let (_, verb) = rest.split_once(':')?;
        Some((before, verb))
    });
    match named {
        Some((before, verb)) => format!("{before}/models/{}:{verb}", escaped(model)),
        None => path.to_owned(),
    }
}

/// A name as a path segment.
fn escaped(name: &str) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// Where the members that matter stand.
#[derive(Debug, Default)]
struct Outline {
    /// Behind the opening brace.
    inside: usize,
    is_empty: bool,
    /// The values of `model`.
    models: Vec<Range<usize>>,
    /// The value of `stream_options`; the last, where there are several.
    options: Option<Options>,
}

#[derive(Debug)]
enum Options {
    /// An object without the question: where it begins inside, and whether it is empty.
    Open { inside: usize, is_empty: bool },
    /// The client asked, or declined.
    Decided,
    /// Null or something else.
    Other(Range<usize>),
}

impl Outline {
    fn of(body: &[u8]) -> Option<Self> {
        let mut cursor = Cursor { body, at: 0 };
        let mut outline = Self::default();
        cursor.space();
        let mut is_empty = true;
        outline.inside = cursor.open_object()?;
        cursor.members(|key, value, cursor| {
            is_empty = false;
            match key {
                b"model" if cursor.body.get(value.start) == Some(&b'"') => {
                    outline.models.push(value)
                }
                b"stream_options" => outline.options = Some(Options::of(cursor.body, value)?),
                _ => {}
            }
            Some(())
        })?;
        outline.is_empty = is_empty;
        cursor.space();
        (cursor.at == body.len()).then_some(outline)
    }

    /// What to put where, so that usage is asked for.
    fn question(&self) -> Option<(Range<usize>, Vec<u8>)> {
        let member = |is_empty: bool, text: &str| {
            let mut text = text.as_bytes().to_vec();
            if !is_empty {
                text.push(b',');
            }
            text
        };
        Some(match &self.options {
            None => (
                self.inside..self.inside,
                member(self.is_empty, r#""stream_options":{"include_usage":true}"#),
            ),
            Some(Options::Open { inside, is_empty }) => (
                *inside..*inside,
                member(*is_empty, r#""include_usage":true"#),
            ),
            Some(Options::Other(at)) => (at.clone(), br#"{"include_usage":true}"#.to_vec()),
            Some(Options::Decided) => return None,
        })
    }
}

impl Options {
    fn of(body: &[u8], value: Range<usize>) -> Option<Self> {
        if body.get(value.start) != Some(&b'{') {
            return Some(Self::Other(value));
        }
        let mut cursor = Cursor {
            body,
            at: value.start,
        };
        let inside = cursor.open_object()?;
        let (mut is_empty, mut is_decided) = (true, false);
        cursor.members(|key, _, _| {
            is_empty = false;
            is_decided |= key == b"include_usage";
            Some(())
        })?;
        Some(if is_decided {
            Self::Decided
        } else {
            Self::Open { inside, is_empty }
        })
    }
}

struct Cursor<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.step();
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek() == Some(byte)).then(|| self.step())
    }

    /// Goes inside; says where that is.
    fn open_object(&mut self) -> Option<usize> {
        self.take(b'{')?;
        Some(self.at)
    }

    /// Visits the members up to the closing brace.
    fn members(
        &mut self,
        mut visit: impl FnMut(&[u8], Range<usize>, &Self) -> Option<()>,
    ) -> Option<()> {
        self.space();
        if self.take(b'}').is_some() {
            return Some(());
        }
        loop {
            self.space();
            let key = self.string()?;
            let inner = key.start.saturating_add(1)..key.end.saturating_sub(1);
            let key: &'a [u8] = self.body.get(inner)?;
            self.space();
            self.take(b':')?;
            self.space();
            let value = self.value()?;
            visit(key, value, self)?;
            self.space();
            if self.take(b'}').is_some() {
                return Some(());
            }
            self.take(b',')?;
        }
    }

    /// A string with its quotes.
    fn string(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        self.take(b'"')?;
        loop {
            let found = memchr2(b'"', b'\\', self.body.get(self.at..)?)?;
            self.at = self.at.saturating_add(found);
            if self.take(b'"').is_some() {
                return Some(start..self.at);
            }
            self.step();
            self.peek()?;
            self.step();
        }
    }

    fn value(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        match self.peek()? {
            b'"' => return self.string(),
            b'{' | b'[' => {
                let mut depth = 0_usize;
                loop {
                    match self.peek()? {
                        b'"' => {
                            self.string()?;
                            continue;
                        }
                        b'{' | b'[' => depth = depth.saturating_add(1),
                        b'}' | b']' => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                    self.step();
                    if depth == 0 {
                        break;
                    }
                }
            }
            _ => {
                while !matches!(
                    self.peek()?,
                    b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n'
                ) {
                    self.step();
                }
            }
        }
        (self.at > start).then_some(start..self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn asked(body: &str) -> Option<String> {
        let changes = Changes {
            ask_for_usage: true,
            ..Changes::default()
        };
        rewritten(body.as_bytes(), changes).map(|changed| String::from_utf8(changed.body).unwrap())
    }

    fn renamed(body: &str) -> Option<String> {
        let changes = Changes {
            model: Some("sm\"all"),
            ..Changes::default()
        };
        rewritten(body.as_bytes(), changes).map(|changed| String::from_utf8(changed.body).unwrap())
    }

    #[test]
    fn usage_is_asked_for_where_the_client_left_it_open() {
        for (body, changed) in [
            (
                r#"{"stream":true}"#,
                r#"{"stream_options":{"include_usage":true},"stream":true}"#,
            ),
            (
                r#" { "stream" : true , "messages":[{"a":"}\"{"}] } "#,
                r#" {"stream_options":{"include_usage":true}, "stream" : true , "messages":[{"a":"}\"{"}] } "#,
            ),
            (
                r#"{"stream_options":{"include_obfuscation":false},"x":1e3}"#,
                r#"{"stream_options":{"include_usage":true,"include_obfuscation":false},"x":1e3}"#,
            ),
            (
                r#"{"stream_options": {} }"#,
                r#"{"stream_options": {"include_usage":true} }"#,
            ),
            (
                r#"{"stream_options":null,"b":"\\"}"#,
                r#"{"stream_options":{"include_usage":true},"b":"\\"}"#,
            ),
            ("{}", r#"{"stream_options":{"include_usage":true}}"#),
        ] {
            assert_eq!(asked(body).as_deref(), Some(changed));
            let value: serde_json::Value = serde_json::from_str(changed).unwrap();
            assert_eq!(value["stream_options"]["include_usage"], true);
        }
    }

    #[test]
    fn what_the_client_decided_and_what_is_no_object_stays() {
        for body in [
            r#"{"stream_options":{"include_usage":false}}"#,
            r#"{"stream_options":{"include_usage":true}}"#,
            "",
            "[]",
            "[{}]",
            "{",
            r#"{"a":1"#,
            r#"{"a":1}}"#,
            r#"{"a":"x"#,
            r#"{"a":[}"#,
            r#"{"a" 1}"#,
            r#"{"a":,"b":1}"#,
            "{\"a\":\"\\",
            "null",
        ] {
            assert_eq!(asked(body), None, "{body}");
        }
    }

    #[test]
    fn the_model_is_replaced_at_the_top_alone() {
        assert_eq!(
            renamed("{\"a\":{\"model\":\"x\"},\"model\" : \"big\" ,\"b\":\"\u{e9}\"}").as_deref(),
            Some("{\"a\":{\"model\":\"x\"},\"model\" : \"sm\\\"all\" ,\"b\":\"\u{e9}\"}")
        );
        assert_eq!(
            renamed(r#"{"model":"a","model":"b"}"#).as_deref(),
            Some(r#"{"model":"sm\"all","model":"sm\"all"}"#)
        );
        assert_eq!(renamed(r#"{"model":7}"#), None);
        assert_eq!(renamed(r#"{"model":"sm\"all"}"#), None);
    }

    #[test]
    fn a_model_in_the_path_is_replaced() {
        assert_eq!(
            path_with_model("/v1beta/models/big:generateContent?alt=sse", "small/x"),
            "/v1beta/models/small%2Fx:generateContent?alt=sse"
        );
        assert_eq!(
            path_with_model("/v1/chat/completions", "small"),
            "/v1/chat/completions"
        );
        assert_eq!(path_with_model("/v1/models/x", "small"), "/v1/models/x");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((any_key(), inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn any_key() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("model".to_owned()),
            Just("stream_options".to_owned()),
            Just("include_usage".to_owned()),
            any::<String>(),
        ]
    }

    proptest! {
        #[test]
        fn a_changed_body_means_the_same_but_for_the_change(
            members in prop::collection::vec((any_key(), any_json()), 0..6),
            is_pretty: bool,
        ) {
            let before = Value::Object(members.into_iter().collect());
            let text = if is_pretty {
                serde_json::to_string_pretty(&before).unwrap()
            } else {
                before.to_string()
            };
            let changes = Changes { model: Some("small"), ask_for_usage: true };
            let mut after = before.clone();
            if after["model"].is_string() {
                after["model"] = "small".into();
            }
            let is_decided = after["stream_options"].get("include_usage").is_some();
            if !is_decided {
                if !after["stream_options"].is_object() {
                    after["stream_options"] = Value::Object(serde_json::Map::new());
                }
                after["stream_options"]["include_usage"] = true.into();
            }
            let Some(changed) = rewritten(text.as_bytes(), changes) else {
                prop_assert_eq!(before, after);
                return Ok(());
            };
            prop_assert_eq!(changed.asks, !is_decided);
            // Numbers are compared as they were written.
            let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
            prop_assert_eq!(read(&changed.body), read(after.to_string().as_bytes()));
        }

        #[test]
        fn what_is_no_object_is_never_changed(text in r#"[\[\]"0-9a-z ,:\\]{0,40}"#) {
            let changes = Changes { model: Some("small"), ask_for_usage: true };
            prop_assert_eq!(rewritten(text.as_bytes(), changes), None);
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>, braces in "[{}\"model:,]{0,60}") {
            let changes = Changes { model: Some("small"), ask_for_usage: true };
            let _ = rewritten(&bytes, changes);
            let _ = rewritten(braces.as_bytes(), changes);
        }
    }
}
