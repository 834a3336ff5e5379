//! What the encoding, the limits and the JSON form need of a field's type.
//!
//! Owns one implementation for each type that a field can have, so that the table of fields needs to say
//! only where a field stands. A value that this build does not understand is no value here; the
//! [`codec`](crate::codec) keeps it as it came.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::codec::{put_bytes, put_int};
use crate::{
    Billing, CallId, ErrorKind, Flags, Meta, Operation, PicoUsd, Status, UsageSource, clean_text,
};

/// A field's value in the encoding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wire<'a> {
    Int(u64),
    Bytes(Cow<'a, [u8]>),
}

/// What the encoding, the limits and the JSON form need of a field's type.
pub(crate) trait FieldValue: Sized {
    /// What a reader of JSON finds, in words.
    fn kind() -> String;
    /// The value in the encoding; `None` when absent.
    fn wire(&self) -> Option<Wire<'_>>;
    /// Appends the value to an encoding, unless it is absent.
    #[inline]
    fn put(&self, tag: u32, out: &mut Vec<u8>) {
        match self.wire() {
            Some(Wire::Int(value)) => put_int(out, tag, value),
            Some(Wire::Bytes(bytes)) => put_bytes(out, tag, &bytes),
            None => {}
        }
    }
    /// Reads the value; `None` when this build does not understand it.
    fn from_wire(wire: &Wire<'_>) -> Option<Self>;
    /// Brings a text within `limit` characters; says whether something was cut off.
    fn bound(&mut self, limit: usize) -> bool {
        let _ = limit;
        false
    }
    /// The JSON form.
    fn json(&self) -> serde_json::Value;
}

/// A type whose absence is `None`.
trait Scalar: Sized {
    fn kind() -> String;
    fn to_wire(&self) -> Wire<'_>;
    #[inline]
    fn put_scalar(&self, tag: u32, out: &mut Vec<u8>) {
        match self.to_wire() {
            Wire::Int(value) => put_int(out, tag, value),
            Wire::Bytes(bytes) => put_bytes(out, tag, &bytes),
        }
    }
    fn of_wire(wire: &Wire<'_>) -> Option<Self>;
    fn bound_scalar(&mut self, limit: usize) -> bool {
        let _ = limit;
        false
    }
    fn to_json(&self) -> serde_json::Value;
}

impl<T: Scalar> FieldValue for Option<T> {
    fn kind() -> String {
        T::kind()
    }
    fn wire(&self) -> Option<Wire<'_>> {
        self.as_ref().map(Scalar::to_wire)
    }
    #[inline]
    fn put(&self, tag: u32, out: &mut Vec<u8>) {
        if let Some(value) = self {
            value.put_scalar(tag, out);
        }
    }
    fn from_wire(wire: &Wire<'_>) -> Option<Self> {
        T::of_wire(wire).map(Some)
    }
    fn bound(&mut self, limit: usize) -> bool {
        self.as_mut().is_some_and(|value| value.bound_scalar(limit))
    }
    fn json(&self) -> serde_json::Value {
        self.as_ref()
            .map_or(serde_json::Value::Null, Scalar::to_json)
    }
}

fn text<'a>(wire: &'a Wire<'_>) -> Option<&'a str> {
    match wire {
        Wire::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
        Wire::Int(_) => None,
    }
}

fn bound_text(value: &mut String, limit: usize) -> bool {
    let (clean, cut) = clean_text(value, limit);
    if let Cow::Owned(clean) = clean {
        *value = clean;
    } else if cut {
        let end = clean.len();
        value.truncate(end);
    }
    cut
}

impl Scalar for String {
    fn kind() -> String {
        "text".to_owned()
    }
    fn to_wire(&self) -> Wire<'_> {
        Wire::Bytes(Cow::Borrowed(self.as_bytes()))
    }
    fn of_wire(wire: &Wire<'_>) -> Option<Self> {
        text(wire).map(str::to_owned)
    }
    fn bound_scalar(&mut self, limit: usize) -> bool {
        bound_text(self, limit)
    }
    fn to_json(&self) -> serde_json::Value {
        self.as_str().into()
    }
}

impl Scalar for Status {
    fn kind() -> String {
        "text".to_owned()
    }
    fn to_wire(&self) -> Wire<'_> {
        Wire::Bytes(Cow::Borrowed(self.as_str().as_bytes()))
    }
    fn of_wire(wire: &Wire<'_>) -> Option<Self> {
        text(wire).map(Self::from_word)
    }
    fn bound_scalar(&mut self, limit: usize) -> bool {
        let Self::Custom(word) = self else {
            return false;
        };
        let mut owned = word.to_string();
        let cut = bound_text(&mut owned, limit);
        *self = Self::from_word(&owned);
        cut
    }
    fn to_json(&self) -> serde_json::Value {
        self.as_str().into()
    }
}

impl Scalar for u64 {
    fn kind() -> String {
        "integer".to_owned()
    }
    fn to_wire(&self) -> Wire<'_> {
        Wire::Int(*self)
    }
    fn of_wire(wire: &Wire<'_>) -> Option<Self> {
        match wire {
            Wire::Int(value) => Some(*value),
            Wire::Bytes(_) => None,
        }
    }
    fn to_json(&self) -> serde_json::Value {
        (*self).into()
    }
}

macro_rules! small_integers {
    ($($integer:ty),+) => { $(impl Scalar for $integer {
        fn kind() -> String { u64::kind() }
        fn to_wire(&self) -> Wire<'_> { Wire::Int(u64::from(*self)) }
        fn of_wire(wire: &Wire<'_>) -> Option<Self> { u64::of_wire(wire)?.try_into().ok() }
        fn to_json(&self) -> serde_json::Value { (*self).into() }
    })+ };
}
small_integers!(u16, u32);

impl Scalar for bool {
    fn kind() -> String {
        "boolean".to_owned()
    }
    fn to_wire(&self) -> Wire<'_> {
        Wire::Int(u64::from(*self))
    }
    fn of_wire(wire: &Wire<'_>) -> Option<Self> {
        match u64::of_wire(wire)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
    fn to_json(&self) -> serde_json::Value {
        (*self).into()
    }
}

impl Scalar for PicoUsd {
    fn kind() -> String {
        "decimal text in USD".to_owned()
    }
    fn to_wire(&self) -> Wire<'_> {
        let value = self.as_pico();
        Wire::Int((value.wrapping_shl(1) ^ (value >> 63)).cast_unsigned())
    }
    fn of_wire(wire: &Wire<'_>) -> Option<Self> {
        let value = u64::of_wire(wire)?;
        Some(Self::from_pico(
            (value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg(),
        ))
    }
    fn to_json(&self) -> serde_json::Value {
        self.as_pico().into()
    }
}

impl Scalar for CallId {
    fn kind() -> String {
        "call id".to_owned()
    }
    fn to_wire(&self) -> Wire<'_> {
        Wire::Bytes(Cow::Owned(self.to_bytes().to_vec()))
    }
    fn put_scalar(&self, tag: u32, out: &mut Vec<u8>) {
        put_bytes(out, tag, &self.to_bytes());
    }
    fn of_wire(wire: &Wire<'_>) -> Option<Self> {
        match wire {
            Wire::Bytes(bytes) => Self::from_bytes(bytes.as_ref().try_into().ok()?),
            Wire::Int(_) => None,
        }
    }
    fn to_json(&self) -> serde_json::Value {
        self.to_string().into()
    }
}

impl Scalar for Meta {
    fn kind() -> String {
        "object".to_owned()
    }
    fn to_wire(&self) -> Wire<'_> {
        Wire::Bytes(Cow::Owned(self.to_json_text().into_bytes()))
    }
    fn of_wire(wire: &Wire<'_>) -> Option<Self> {
        Self::from_json_text(text(wire)?)
    }
    fn to_json(&self) -> serde_json::Value {
        self.to_json_value()
    }
}

impl Scalar for BTreeMap<String, u64> {
    fn kind() -> String {
        "object of integers".to_owned()
    }
    fn to_wire(&self) -> Wire<'_> {
        Wire::Bytes(Cow::Owned(serde_json::to_vec(self).unwrap_or_default()))
    }
    fn of_wire(wire: &Wire<'_>) -> Option<Self> {
        serde_json::from_str(text(wire)?).ok()
    }
    fn bound_scalar(&mut self, limit: usize) -> bool {
        if self.keys().all(|key| clean_text(key, limit).0 == *key) {
            return false;
        }
        *self = std::mem::take(self)
            .into_iter()
            .map(|(key, count)| (clean_text(&key, limit).0.into_owned(), count))
            .collect();
        true
    }
    fn to_json(&self) -> serde_json::Value {
        self.iter()
            .map(|(key, count)| (key.clone(), serde_json::Value::from(*count)))
            .collect()
    }
}

macro_rules! listed_words {
    ($($list:ty),+) => { $(impl Scalar for $list {
        fn kind() -> String {
            let words: Vec<_> = Self::ALL.iter().map(|word| word.as_str()).collect();
            format!("one of {}", words.join(", "))
        }
        fn to_wire(&self) -> Wire<'_> { Wire::Int(u64::from(self.code())) }
        fn of_wire(wire: &Wire<'_>) -> Option<Self> {
            Self::from_code(u64::of_wire(wire)?.try_into().ok()?)
        }
        fn to_json(&self) -> serde_json::Value { self.as_str().into() }
    })+ };
}
listed_words!(Billing, ErrorKind, Operation, UsageSource);

impl FieldValue for Flags {
    fn kind() -> String {
        let all = Self::from_bits(u64::MAX).names();
        let named = all.into_iter().filter(|name| !name.starts_with("bit_"));
        format!("list of {}", named.collect::<Vec<_>>().join(", "))
    }
    fn wire(&self) -> Option<Wire<'_>> {
        (!self.is_empty()).then(|| Wire::Int(self.bits()))
    }
    fn from_wire(wire: &Wire<'_>) -> Option<Self> {
        u64::of_wire(wire).map(Self::from_bits)
    }
    fn json(&self) -> serde_json::Value {
        self.names().into()
    }
}
