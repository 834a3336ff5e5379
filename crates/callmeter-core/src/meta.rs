//! The host's own keys on a row, and the rules that keep content and secrets out of them.
//!
//! ```text
//! value      scalar of at most 256 characters, a flat list of at most 16 such, or one level of keys
//! in all     32 keys, 4 KiB
//! refused    longer or deeper values; keys that name content (prompt, messages, …) or secrets
//!            (api_key, …); texts that look like a secret
//! ```
//! A refused value leaves its key with what it was, never with a part of it. `privacy.meta.allow` names
//! keys whose content is meant to be kept; secrets and the limits in all stay refused.

mod rules;

pub(crate) use self::rules::begins_like_a_secret;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

const MAX_KEYS: usize = 32;
const MAX_BYTES: usize = 4_096;
const MAX_KEY_CHARS: usize = 64;

/// A value of meta.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum MetaValue {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number; one that JSON cannot hold becomes text.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<MetaValue>),
    /// Further keys.
    Map(BTreeMap<String, MetaValue>),
}

macro_rules! meta_from {
    ($($from:ty => |$value:ident| $into:expr;)+) => { $(impl From<$from> for MetaValue {
        fn from($value: $from) -> Self { $into }
    })+ };
}

meta_from! {
    bool => |value| Self::Bool(value);
    i8 => |value| Self::Int(i64::from(value));
    u8 => |value| Self::Int(i64::from(value));
    i16 => |value| Self::Int(i64::from(value));
    u16 => |value| Self::Int(i64::from(value));
    i32 => |value| Self::Int(i64::from(value));
    u32 => |value| Self::Int(i64::from(value));
    i64 => |value| Self::Int(value);
    u64 => |value| i64::try_from(value).map_or_else(|_| Self::Text(value.to_string()), Self::Int);
    usize => |value| i64::try_from(value).map_or_else(|_| Self::Text(value.to_string()), Self::Int);
    f32 => |value| Self::from(f64::from(value));
    f64 => |value| if value.is_finite() { Self::Float(value) } else { Self::Text(value.to_string()) };
    &str => |value| Self::Text(value.to_owned());
    String => |value| Self::Text(value);
    BTreeMap<String, MetaValue> => |value| Self::Map(value);
}

impl<T: Into<MetaValue>> From<Option<T>> for MetaValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<MetaValue>> From<Vec<T>> for MetaValue {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

/// Which keys may hold what the rules refuse by name or length (`privacy.meta.allow`).
#[derive(Clone, Debug, Default)]
pub struct MetaPolicy {
    allow: BTreeSet<String>,
}

impl MetaPolicy {
    /// Allows the given keys.
    pub fn allowing<K: Into<String>>(keys: impl IntoIterator<Item = K>) -> Self {
        Self {
            allow: keys.into_iter().map(Into::into).collect(),
        }
    }

    /// The keys that are allowed.
    pub fn allowed(&self) -> impl Iterator<Item = &str> {
        self.allow.iter().map(String::as_str)
    }
}

/// A value of meta was refused. Says what it was, never what it held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaRefusal {
    key: String,
    what: String,
    allowable: bool,
}

impl MetaRefusal {
    /// The key, bounded and printable.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for MetaRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "meta key '{}' was not stored: {}", self.key, self.what)?;
        if self.allowable {
            write!(
                f,
                "; to store it, set privacy.meta.allow = [\"{}\"]",
                self.key
            )?;
        }
        Ok(())
    }
}

/// The host's own keys of one call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    values: BTreeMap<String, MetaValue>,
    bytes: usize,
}

impl Meta {
    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&MetaValue> {
        self.values.get(key)
    }

    /// Sets a key. An empty key is ignored.
    ///
    /// # Errors
    /// When the rules refuse the value; the key then says what it was, where there is room for it.
    pub fn insert(
        &mut self,
        key: &str,
        value: impl Into<MetaValue>,
        policy: &MetaPolicy,
    ) -> Result<(), MetaRefusal> {
        if key.is_empty() {
            return Ok(());
        }
        let clean = crate::clean_text(key, MAX_KEY_CHARS).0.into_owned();
        let mut value = value.into();
        let refusal = match rules::check(&clean, &value, policy.allow.contains(&clean)) {
            Ok(()) => None,
            Err((what, allowable)) => {
                value = MetaValue::Text(format!("(not stored: {what})"));
                Some(MetaRefusal {
                    key: clean.clone(),
                    what,
                    allowable,
                })
            }
        };
        let old = self
            .values
            .get(&clean)
            .map_or(0, |old| size_of_entry(&clean, old));
        let bytes = self
            .bytes
            .saturating_sub(old)
            .saturating_add(size_of_entry(&clean, &value));
        let refuse = |what: &str| {
            Err(MetaRefusal {
                key: clean.clone(),
                what: what.to_owned(),
                allowable: false,
            })
        };
        if old == 0 && self.values.len() >= MAX_KEYS {
            return refuse("more than 32 keys");
        }
        if bytes > MAX_BYTES {
            return refuse("more than 4 KiB in all");
        }
        self.bytes = bytes;
        scrub_controls(&mut value);
        self.values.insert(clean, value);
        refusal.map_or(Ok(()), Err)
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &str) -> Option<MetaValue> {
        let value = self.values.remove(key)?;
        self.bytes = self.bytes.saturating_sub(size_of_entry(key, &value));
        Some(value)
    }

    /// The keys and values as JSON text.
    pub fn to_json_text(&self) -> String {
        self.to_json_value().to_string()
    }

    pub(crate) fn to_json_value(&self) -> serde_json::Value {
        self.values
            .iter()
            .map(|(key, value)| (key.clone(), value.to_json()))
            .collect()
    }

    /// Reads JSON that somebody else wrote: every value passes the rules, and one that they refuse leaves its key
    /// with what it was. Anything but an object has no keys.
    pub fn from_foreign_json(text: &str, policy: &MetaPolicy) -> Self {
        let mut meta = Self::default();
        if let Ok(serde_json::Value::Object(object)) = serde_json::from_str(text) {
            for (key, value) in object {
                // What is refused has left its mark in the key.
                let _ = meta.insert(&key, MetaValue::from_json(value), policy);
            }
        }
        meta
    }

    /// Reads what [`to_json_text`](Self::to_json_text) wrote, or `None` where the text is no JSON object; the
    /// rules were applied then.
    pub fn from_json_text(text: &str) -> Option<Self> {
        let serde_json::Value::Object(object) = serde_json::from_str(text).ok()? else {
            return None;
        };
        let values: BTreeMap<_, _> = object
            .into_iter()
            .map(|(key, value)| (key, MetaValue::from_json(value)))
            .collect();
        let bytes = values.iter().fold(0_usize, |sum, (key, value)| {
            sum.saturating_add(size_of_entry(key, value))
        });
        Some(Self { values, bytes })
    }
}

impl MetaValue {
    fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Int(value) => (*value).into(),
            Self::Float(value) => (*value).into(),
            Self::Text(value) => value.as_str().into(),
            Self::List(values) => values.iter().map(Self::to_json).collect(),
            Self::Map(values) => values
                .iter()
                .map(|(key, value)| (key.clone(), value.to_json()))
                .collect(),
        }
    }

    fn from_json(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(number) => number
                .as_i64()
                .map(Self::Int)
                .or_else(|| number.as_f64().map(Self::Float))
                .unwrap_or(Self::Null),
            serde_json::Value::String(text) => Self::Text(text),
            serde_json::Value::Array(values) => {
                Self::List(values.into_iter().map(Self::from_json).collect())
            }
            serde_json::Value::Object(values) => Self::Map(
                values
                    .into_iter()
                    .map(|(key, value)| (key, Self::from_json(value)))
                    .collect(),
            ),
        }
    }
}

fn size_of_entry(key: &str, value: &MetaValue) -> usize {
    key.len()
        .saturating_add(value.to_json().to_string().len())
        .saturating_add(4)
}

fn scrub_controls(value: &mut MetaValue) {
    match value {
        MetaValue::Text(text) => {
            if text.chars().any(char::is_control) {
                *text = crate::clean_text(text, usize::MAX).0.into_owned();
            }
        }
        MetaValue::List(values) => values.iter_mut().for_each(scrub_controls),
        MetaValue::Map(values) => {
            *values = std::mem::take(values)
                .into_iter()
                .map(|(key, mut value)| {
                    scrub_controls(&mut value);
                    (crate::clean_text(&key, MAX_KEY_CHARS).0.into_owned(), value)
                })
                .collect();
        }
        MetaValue::Null | MetaValue::Bool(_) | MetaValue::Int(_) | MetaValue::Float(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(key: &str, value: impl Into<MetaValue>) -> Option<String> {
        let mut meta = Meta::default();
        let refusal = meta.insert(key, value, &MetaPolicy::default()).err();
        refusal.map(|refusal| format!("{refusal} | {}", meta.to_json_text()))
    }

    #[test]
    fn ordinary_values_are_kept() {
        for (key, value) in [
            ("temperature", MetaValue::from(0.2)),
            ("retries", 3.into()),
            ("prompt_tokens", 17.into()),
            ("prompt_hash", "ba7816bf8f01".into()),
            ("promptVersion", "v3".into()),
            ("tags", vec!["a", "b"].into()),
            ("note", "grün\u{0}".into()),
            ("nothing", None::<bool>.into()),
        ] {
            assert_eq!(refused(key, value), None, "{key}");
        }
    }

    #[test]
    fn content_and_secrets_are_refused_and_leave_only_what_they_were() {
        let deep = BTreeMap::from([(
            "choice".to_owned(),
            MetaValue::Map(BTreeMap::from([(
                "x".to_owned(),
                MetaValue::from("MARKER"),
            )])),
        )]);
        for (key, value) in [
            ("prompt", MetaValue::from("MARKER")),
            ("userPrompt", "MARKER".into()),
            ("x", "MARKER".repeat(100).into()),
            ("x", vec!["MARKER"; 17].into()),
            ("x", vec![vec!["MARKER"]].into()),
            ("x", deep.into()),
            (
                "x",
                BTreeMap::from([("content".to_owned(), MetaValue::from("MARKER"))]).into(),
            ),
            ("api_key", "MARKER".into()),
            ("OPENAI_API_KEY", "MARKER".into()),
            ("auth-token", "MARKER".into()),
            ("x", "sk-MARKERMARKERMARKER".into()),
            ("x", "key=sk-proj-MARKERMARKER".into()),
            ("x", "postgres://app:MARKER@db/shop".into()),
        ] {
            let shown = refused(key, value).expect(key);
            assert!(!shown.contains("MARKER"), "{shown}");
            assert!(shown.contains("(not stored: "), "{shown}");
        }
    }

    #[test]
    fn allow_lifts_the_rules_on_names_and_length_but_not_on_secrets() {
        let policy = MetaPolicy::allowing(["query"]);
        let mut meta = Meta::default();
        assert!(meta.insert("query", "q".repeat(300), &policy).is_ok());
        assert!(meta.insert("query", "sk-abcdefghijkl", &policy).is_err());
        let refusal = meta.insert("answer", "a", &policy).unwrap_err().to_string();
        assert!(
            refusal.contains("privacy.meta.allow = [\"answer\"]"),
            "{refusal}"
        );
    }

    #[test]
    fn foreign_json_passes_the_rules() {
        let text = r#"{"ü":"ä","n":1.5,"prompt":"MARKER","tags":["a"],"auth_token":"MARKER"}"#;
        let shown = Meta::from_foreign_json(text, &MetaPolicy::default()).to_json_text();
        assert!(
            shown.contains(r#""ü":"ä""#) && !shown.contains("MARKER"),
            "{shown}"
        );
        for text in ["[1]", "nonsense", "", "null"] {
            assert!(Meta::from_foreign_json(text, &MetaPolicy::default()).is_empty());
        }
    }

    #[test]
    fn the_whole_is_bounded() {
        let mut meta = Meta::default();
        let policy = MetaPolicy::default();
        for at in 0..40 {
            assert_eq!(meta.insert(&format!("k{at}"), at, &policy).is_ok(), at < 32);
        }
        let mut meta = Meta::default();
        let kept = (0..32).filter(|at| {
            meta.insert(&format!("k{at}"), "é".repeat(200), &policy)
                .is_ok()
        });
        assert_eq!(kept.count(), 10);
        assert!(meta.to_json_text().len() <= MAX_BYTES);
        let again = Meta::from_json_text(&meta.to_json_text()).unwrap();
        assert_eq!(again, meta);
    }
}
