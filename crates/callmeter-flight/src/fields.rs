//! The fields of a call on their way into a slot, and the place that each of them has there.
//!
//! ```text
//! numbers   a word and a bit each         durations, token counts, marks, cost
//! small     a byte each, 0 = absent       status, error kind, usage source, operation, billing,
//!                                         four truths of two bits, HTTP status + 1 (two bytes)
//! names     four bytes each               provider and model that answered
//! text      all else, tag-length-value    recurring names as their place in the name table
//! ```
//! A tag is the field's number in the core's encoding ([`Field::tag`]), so a field of a later version
//! needs no new format: it goes into the text. A value that does not fit its place does so as well.

use callmeter_core::{
    Billing, CallId, CallRecord, ErrorKind, Field, Flags, Operation, PicoUsd, Status, UsageSource,
};

/// The value of a field, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// A number, the number of a listed word, a truth as 0 or 1.
    Int(u64),
    /// A text; cut where there is no room.
    Text(&'a str),
    /// Another call.
    Id(CallId),
    /// Bytes that are of use only whole, such as the JSON of meta; left out where there is no room.
    Whole(&'a [u8]),
}

macro_rules! values_from {
    ($($from:ty: $name:ident => $value:expr;)+) => { $(
        impl From<$from> for Value<'_> {
            fn from($name: $from) -> Self { $value }
        }
    )+ };
}

values_from! {
    u64: count => Self::Int(count);
    u32: count => Self::Int(u64::from(count));
    u16: count => Self::Int(u64::from(count));
    bool: truth => Self::Int(u64::from(truth));
    CallId: id => Self::Id(id);
    Flags: flags => Self::Int(flags.bits());
    ErrorKind: kind => Self::Int(u64::from(kind.code()));
    UsageSource: source => Self::Int(u64::from(source.code()));
    Operation: operation => Self::Int(u64::from(operation.code()));
    Billing: billing => Self::Int(u64::from(billing.code()));
    PicoUsd: money => Self::Int(zigzag(money.as_pico()));
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a Status> for Value<'a> {
    fn from(status: &'a Status) -> Self {
        Self::Text(status.as_str())
    }
}

const fn zigzag(value: i64) -> u64 {
    (value.wrapping_shl(1) ^ (value >> 63)).cast_unsigned()
}

/// Fields with their values, as an opening or a finish hands them over.
///
/// Implemented for slices of pairs, and for a whole [`CallRecord`], which costs an encoding. What a guard is
/// told while its call is in flight has a shorter way: [`OpenSlot::tell`](crate::OpenSlot::tell).
///
/// ```
/// use callmeter_core::{ErrorKind, Field};
/// use callmeter_flight::Value;
/// let outcome = [
///     (Field::DurationUs, Value::from(1_204_000_u64)),
///     (Field::Status, "error".into()),
///     (Field::ErrorKind, ErrorKind::Timeout.into()),
/// ];
/// # fn takes(_: &impl callmeter_flight::Fields) {}
/// takes(&outcome);
/// ```
pub trait Fields {
    /// Hands each field to `put` once: its number ([`Field::tag`]) and its value. May be asked
    /// repeatedly and must say the same.
    fn each(&self, put: impl FnMut(u32, Value<'_>));
}

impl Fields for () {
    #[inline]
    fn each(&self, _: impl FnMut(u32, Value<'_>)) {}
}

impl Fields for [(Field, Value<'_>)] {
    #[inline]
    fn each(&self, mut put: impl FnMut(u32, Value<'_>)) {
        for (field, value) in self {
            put(field.tag(), *value);
        }
    }
}

impl<const N: usize> Fields for [(Field, Value<'_>); N] {
    #[inline]
    fn each(&self, put: impl FnMut(u32, Value<'_>)) {
        self.as_slice().each(put);
    }
}

impl<T: Fields + ?Sized> Fields for &T {
    #[inline]
    fn each(&self, put: impl FnMut(u32, Value<'_>)) {
        (**self).each(put);
    }
}

thread_local! {
    static SCRATCH: std::cell::Cell<Vec<u8>> = const { std::cell::Cell::new(Vec::new()) };
}

impl Fields for CallRecord {
    /// Takes the record's encoding apart, in a buffer that the thread keeps.
    fn each(&self, mut put: impl FnMut(u32, Value<'_>)) {
        let mut bytes = SCRATCH.try_with(std::cell::Cell::take).unwrap_or_default();
        bytes.clear();
        self.encode_into(&mut bytes);
        let mut rest = bytes.get(ENCODED_HEAD..).unwrap_or_default();
        let _rev = take_varint(&mut rest);
        while let Some((tag, value)) = take_field(&mut rest) {
            put(tag, value);
        }
        let _ = SCRATCH.try_with(|scratch| scratch.set(bytes));
    }
}

/// Format, call id and layer, before a record's revision.
const ENCODED_HEAD: usize = 18;

/// Takes the next field off a record's encoding.
fn take_field<'a>(rest: &mut &'a [u8]) -> Option<(u32, Value<'a>)> {
    let key = take_varint(rest)?;
    let tag = u32::try_from(key >> 1).ok()?;
    let number = take_varint(rest)?;
    if key & 1 == 0 {
        return Some((tag, Value::Int(number)));
    }
    let (bytes, after) = rest.split_at_checked(usize::try_from(number).ok()?)?;
    *rest = after;
    let value = match std::str::from_utf8(bytes) {
        Ok(text) if is_text(tag) => Value::Text(text),
        _ => Value::Whole(bytes),
    };
    Some((tag, value))
}

/// Whether a field may be cut: the JSON of other units may not.
fn is_text(tag: u32) -> bool {
    tag != Field::UsageExtra.tag()
        && Field::ALL
            .iter()
            .any(|field| field.tag() == tag && field.limit() > 0)
}

/// Where a field's value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The number with that place.
    Number(u32),
    /// The byte of `SMALL` with that place.
    Small(u32),
    /// The status: a byte for the five words, else text.
    Status,
    /// Two bits of the byte of truths.
    Truth(u32),
    /// Two bytes of `SMALL`.
    HttpStatus,
    /// The half of `ANSWERED` with that place, by the name table.
    Answered(u32),
    /// The text, by the name table.
    Recurring,
    /// The text.
    Text,
}

/// Which field each number is.
pub(crate) const NUMBERS: [Field; 17] = [
    Field::DurationUs,
    Field::InputTokens,
    Field::OutputTokens,
    Field::TtftUs,
    Field::CacheReadTokens,
    Field::CacheWriteTokens,
    Field::CacheWrite5mTokens,
    Field::CacheWrite1hTokens,
    Field::CacheWrite24hTokens,
    Field::ReasoningTokens,
    Field::AudioInputTokens,
    Field::AudioOutputTokens,
    Field::ImageInputTokens,
    Field::ImageOutputTokens,
    Field::VideoInputTokens,
    Field::Flags,
    Field::ReportedCost,
];
/// The place of the marks among the numbers.
pub(crate) const FLAGS_AT: usize = 15;
/// Which field each byte of `SMALL` is, from byte 1 on; byte 0 is the status.
pub(crate) const SMALL: [Field; 4] = [
    Field::ErrorKind,
    Field::UsageSource,
    Field::Operation,
    Field::Billing,
];
/// The byte of the truths, and which field each pair of bits is.
pub(crate) const TRUTHS_AT: u32 = 5;
pub(crate) const TRUTHS: [Field; 4] = [
    Field::Streaming,
    Field::StreamComplete,
    Field::CacheHit,
    Field::RagHit,
];
/// Where the HTTP status begins in `SMALL`: the status plus 1.
pub(crate) const HTTP_STATUS_SHIFT: u32 = 48;
/// The code of a listed status.
#[inline]
pub(crate) fn listed_status(word: &str) -> Option<u64> {
    // Compared by length first, so that a word known while compiling costs nothing.
    let at = STATUSES.iter().position(|status| *status == word)?;
    Some((at as u64).saturating_add(1))
}

/// Which field each half of `ANSWERED` is.
pub(crate) const ANSWERED: [Field; 2] = [Field::Provider, Field::Model];
/// The status words that are a byte, from 1 on.
pub(crate) const STATUSES: [&str; 5] = ["ok", "error", "fallback", "cancelled", "aborted"];

const RECURRING: [Field; 18] = [
    Field::Project,
    Field::Team,
    Field::CostCenter,
    Field::Service,
    Field::Environment,
    Field::Caller,
    Field::CallSite,
    Field::HostName,
    Field::Sdk,
    Field::Provider,
    Field::Host,
    Field::Region,
    Field::ServiceTier,
    Field::ModelRequested,
    Field::Model,
    Field::UsageRule,
    Field::FinishReason,
    Field::FallbackTo,
];

/// The place of every field, by its number. No static: where a field is known while compiling, so is its place.
const PLACES: [Place; 64] = places();

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "evaluated while compiling: an index out of range does not build"
)]
const fn places() -> [Place; 64] {
    let mut places = [Place::Text; 64];
    let mut at = 0;
    while at < RECURRING.len() {
        places[RECURRING[at].tag() as usize] = Place::Recurring;
        at += 1;
    }
    at = 0;
    while at < NUMBERS.len() {
        places[NUMBERS[at].tag() as usize] = Place::Number(at as u32);
        at += 1;
    }
    at = 0;
    while at < 4 {
        places[SMALL[at].tag() as usize] = Place::Small(at as u32 + 1);
        places[TRUTHS[at].tag() as usize] = Place::Truth(at as u32);
        at += 1;
    }
    at = 0;
    while at < 2 {
        places[ANSWERED[at].tag() as usize] = Place::Answered(at as u32);
        at += 1;
    }
    places[Field::Status.tag() as usize] = Place::Status;
    places[Field::HttpStatus.tag() as usize] = Place::HttpStatus;
    places
}

/// Where the field with that number goes.
#[inline]
pub(crate) fn place_of(tag: u32) -> Place {
    PLACES.get(tag as usize).copied().unwrap_or(Place::Text)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_one_place_and_the_core_s_numbers_fit_the_table() {
        for (at, field) in NUMBERS.iter().enumerate() {
            assert_eq!(place_of(field.tag()), Place::Number(at as u32));
        }
        let small = [
            Field::ErrorKind,
            Field::UsageSource,
            Field::Operation,
            Field::Billing,
        ];
        assert_eq!(SMALL, small);
        for (at, word) in STATUSES.iter().enumerate() {
            assert_eq!(listed_status(word), Some(at as u64 + 1));
        }
        assert_eq!(listed_status("odd"), None);
        assert_eq!(NUMBERS[FLAGS_AT], Field::Flags);
        assert_eq!(place_of(Field::Meta.tag()), Place::Text);
        assert_eq!(place_of(Field::Caller.tag()), Place::Recurring);
        assert_eq!(place_of(10_000), Place::Text);
        assert!(Field::ALL.iter().all(|field| field.tag() < 64));
    }
}
