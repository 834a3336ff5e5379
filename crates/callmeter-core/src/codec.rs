//! The encoding of a record for spool and flight buffer, and its JSON form.
//!
//! ```text
//! format   1 byte, RECORD_FORMAT
//! call id  16 bytes (UUIDv7)
//! layer    1 byte
//! rev      varint
//! fields   key varint = number << 1 | kind; kind 0: a varint, kind 1: length varint and bytes
//! parts    number 126 (merged records only): see merge.rs
//! ```
//! Fields stand in ascending order; absent ones are left out. A reader keeps a number, or a word of a
//! closed list, that it does not know and writes it back as it came: new fields need no new format.
//! Decoding any bytes yields a record or an error, never a panic.

use std::borrow::Cow;
use std::fmt;

use crate::field_value::{FieldValue, Wire};
use crate::merge::Part;
use crate::record::for_each_field;
use crate::{Billing, CallId, CallRecord, Cost, Field, FieldSet, Layer, PicoUsd};

/// The version of the encoding.
pub const RECORD_FORMAT: u8 = 1;

const PARTS: u32 = 126;

macro_rules! define_access {
    ($($tag:literal $variant:ident $name:literal ($($path:tt)+) $limit:literal $owner:ident
        $purpose:literal,)+) => {
        impl CallRecord {
            /// The value of a field in the encoding; `None` when absent.
            pub(crate) fn wire(&self, field: Field) -> Option<Wire<'_>> {
                match field { $(Field::$variant => self.$($path)+.wire(),)+ }
            }

            /// Encodes the fields in ascending order but those of `without`; `before` is told of each
            /// number before it comes. Straight code, field by field: every call passes here.
            fn put_fields(
                &self,
                without: FieldSet,
                out: &mut Vec<u8>,
                mut before: impl FnMut(u32, &mut Vec<u8>),
            ) {
                $(
                    before($tag, out);
                    if !without.contains(Field::$variant) {
                        self.$($path)+.put($tag, out);
                    }
                )+
            }

            /// Sets a field from its encoding; `None` when it is not understood.
            fn set_wire(&mut self, tag: u32, wire: &Wire<'_>) -> Option<()> {
                match tag {
                    $($tag => { self.$($path)+ = FieldValue::from_wire(wire)?; })+
                    _ => return None,
                }
                Some(())
            }

            /// Takes a field over from another record.
            pub(crate) fn copy_field(&mut self, field: Field, from: &Self) {
                match field { $(Field::$variant => self.$($path)+.clone_from(&from.$($path)+),)+ }
            }

            /// What a reader of JSON finds in a field, in words.
            fn kind_of(field: Field) -> String {
                fn of<T: FieldValue>(_: impl Fn(CallRecord) -> T) -> String { T::kind() }
                match field { $(Field::$variant => of(|record| record.$($path)+),)+ }
            }

            fn json_fields(&self, mut each: impl FnMut(&'static str, serde_json::Value)) {
                $(each($name, self.$($path)+.json());)+
            }
        }
    };
}

for_each_field!(define_access);

impl Field {
    /// What a reader of JSON finds in the field, in words: `text`, `integer`, `one of …`.
    pub fn kind(self) -> String {
        CallRecord::kind_of(self)
    }
}

/// The bytes are no record of a format that this build reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// A newer version wrote it.
    NewerFormat(u8),
    /// It is cut short or corrupt.
    Corrupt,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewerFormat(format) => {
                write!(f, "record format {format} was written by a newer callmeter")
            }
            Self::Corrupt => f.write_str("the record is corrupt"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl CallRecord {
    /// Encodes the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        self.encode_into(&mut out);
        out
    }

    /// Encodes the record behind what `out` holds.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.push(RECORD_FORMAT);
        out.extend_from_slice(&self.call_id.to_bytes());
        self.encode_body(FieldSet::default(), out);
    }

    /// Encodes the record behind what `out` holds, for a store that keeps the id and the fields of
    /// `without` in columns of their own; [`decode_rest`](Self::decode_rest) reads it back.
    pub fn encode_rest(&self, without: FieldSet, out: &mut Vec<u8>) {
        out.push(RECORD_FORMAT);
        self.encode_body(without, out);
    }

    fn encode_body(&self, without: FieldSet, out: &mut Vec<u8>) {
        out.push(self.layer.code());
        put_varint(out, u64::from(self.rev));
        if self.unknown.is_empty() {
            self.put_fields(without, out, |_, _| {});
        } else {
            let mut unknown = self.unknown.iter().peekable();
            self.put_fields(without, out, |tag, out| {
                while let Some((_, raw)) = unknown.next_if(|(unknown, _)| **unknown < tag) {
                    out.extend_from_slice(raw);
                }
            });
            for (_, raw) in unknown {
                out.extend_from_slice(raw);
            }
        }
        if !self.parts.is_empty() {
            let mut bytes = Vec::new();
            for part in &self.parts {
                part.encode_into(&mut bytes);
            }
            put_bytes(out, PARTS, &bytes);
        }
    }

    /// Decodes a record.
    ///
    /// # Errors
    /// When the bytes are no record, or one of a newer format.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (id, body) = check_format(bytes)?
            .split_at_checked(16)
            .ok_or(DecodeError::Corrupt)?;
        let call_id = id
            .try_into()
            .ok()
            .and_then(CallId::from_bytes)
            .ok_or(DecodeError::Corrupt)?;
        decode_body(call_id, body).ok_or(DecodeError::Corrupt)
    }

    /// Decodes what [`encode_rest`](Self::encode_rest) wrote; the fields that it left out are absent.
    ///
    /// # Errors
    /// When the bytes are no record, or one of a newer format.
    pub fn decode_rest(call_id: CallId, bytes: &[u8]) -> Result<Self, DecodeError> {
        decode_body(call_id, check_format(bytes)?).ok_or(DecodeError::Corrupt)
    }

    /// The record as one line of JSON with every field of the record, `null` where it is unknown;
    /// money as decimal text.
    pub fn to_json(&self, cost: Option<&Cost>) -> String {
        let mut out = String::with_capacity(2_048);
        out.push('{');
        let mut each = |name: &str, value: serde_json::Value| {
            if out.len() > 1 {
                out.push(',');
            }
            out.push('"');
            out.push_str(name);
            out.push_str("\":");
            out.push_str(&value.to_string());
        };
        let money = |amount: Option<PicoUsd>| -> serde_json::Value {
            amount.map_or(serde_json::Value::Null, |amount| amount.to_string().into())
        };
        each("v", 1.into());
        each("call_id", self.call_id.to_string().into());
        each("layer", self.layer.as_str().into());
        each("rev", self.rev.into());
        each("started_at", self.started_at().to_string().into());
        self.json_fields(|name, value| {
            if name != Field::ReportedCost.name() {
                each(name, value);
            }
        });
        each("reported_cost_usd", money(self.reported_cost));
        if let Some(cost) = cost {
            // Plan usage is no money: whoever sums one column never sums the other with it.
            let is_plan = self.billing == Some(Billing::Plan);
            each("cost_usd", money(cost.cost.filter(|_| !is_plan)));
            each("plan_value_usd", money(cost.cost.filter(|_| is_plan)));
            each(
                "unpriced_reason",
                cost.unpriced_reason.map(|reason| reason.as_str()).into(),
            );
            each("computed_cost_usd", money(cost.computed_cost));
            each(
                "cost_source",
                cost.cost_source.map(|source| source.as_str()).into(),
            );
            each("price_id", cost.price_id.as_deref().into());
            each(
                "price_match",
                cost.price_match.map(|found| found.as_str()).into(),
            );
            each("book_rev", cost.book_rev.into());
        }
        out.push('}');
        out
    }
}

/// The bytes behind the format's number.
fn check_format(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    match bytes.split_first() {
        None => Err(DecodeError::Corrupt),
        Some((&RECORD_FORMAT, rest)) => Ok(rest),
        Some((&format, _)) => Err(DecodeError::NewerFormat(format)),
    }
}

fn decode_body(call_id: CallId, bytes: &[u8]) -> Option<CallRecord> {
    let (layer, mut rest) = bytes.split_first()?;
    let layer = Layer::from_code(*layer)?;
    let rev = u32::try_from(take_varint(&mut rest)?).ok()?;
    let mut record = CallRecord::new(call_id, layer, rev);
    let mut last = 0_u32;
    while !rest.is_empty() {
        let raw = rest;
        let key = take_varint(&mut rest)?;
        let tag = u32::try_from(key >> 1).ok()?;
        if tag <= last {
            return None;
        }
        last = tag;
        let wire = if key & 1 == 0 {
            Wire::Int(take_varint(&mut rest)?)
        } else {
            let length = usize::try_from(take_varint(&mut rest)?).ok()?;
            let (value, after) = rest.split_at_checked(length)?;
            rest = after;
            Wire::Bytes(Cow::Borrowed(value))
        };
        if tag == PARTS {
            let Wire::Bytes(bytes) = &wire else {
                return None;
            };
            record.parts = Part::decode_all(bytes)?;
        } else if record.set_wire(tag, &wire).is_none() {
            let length = raw.len().checked_sub(rest.len())?;
            record.unknown.insert(tag, raw.get(..length)?.to_vec());
        }
    }
    Some(record)
}

/// Appends a field that is a number.
#[inline]
pub(crate) fn put_int(out: &mut Vec<u8>, tag: u32, value: u64) {
    put_varint(out, u64::from(tag) << 1);
    put_varint(out, value);
}

/// Appends a field that is bytes.
#[inline]
pub(crate) fn put_bytes(out: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    put_varint(out, u64::from(tag) << 1 | 1);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends an unsigned LEB128 varint.
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes an unsigned LEB128 varint off the front; `None` when it is cut short or too long.
pub(crate) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if shift == 63 && part > 1 {
            return None;
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
