//! What a guard is told while its call is in flight.
//!
//! Nearly all of it goes straight into the call's slot, where the row will be read ([`OpenSlot::tell`]), so
//! the usual setters allocate nothing (promise CM-2) and a guard is two words. Meta, other billed units, an
//! error's text and texts beyond the slot's room go into one box, and at the end into the slot and its
//! continuations. All of it is bounded: a text keeps at most one character more than its limit, by which its
//! reader knows that it was cut.

use callmeter_core::{
    CallId, CallRecord, ErrorKind, Field, Flags, Layer, Meta, Status, Usage, UsageSource,
};
use callmeter_flight::{Fields, OpenSlot, Refused, Value};

use crate::guard::OpenCall;
use crate::station;

/// What has no room in the slot, or seldom comes.
#[derive(Default)]
pub(crate) struct Rest {
    meta: Meta,
    extra: Option<CallRecord>,
    error_text: Option<String>,
    flags: Flags,
    /// What found no room in the slot.
    more: Vec<(Field, Spilled)>,
}

/// A value without room in the slot.
enum Spilled {
    Text(Box<str>),
    Int(u64),
    Id(CallId),
}

impl Spilled {
    /// Only whole bytes are left out: no setter tells any.
    fn of(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Text(text) => Some(Self::Text(text.into())),
            Value::Int(value) => Some(Self::Int(value)),
            Value::Id(id) => Some(Self::Id(id)),
            _ => None,
        }
    }

    fn value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Int(value) => Value::Int(*value),
            Self::Id(id) => Value::Id(*id),
        }
    }
}

/// A call in flight with its buffer at hand.
pub(crate) struct Telling<'a> {
    slot: OpenSlot<'a>,
    rest: &'a mut Option<Box<Rest>>,
}

impl OpenCall {
    /// Tells the call several things at once; nothing happens when its recorder is no more.
    #[inline]
    pub(crate) fn tell(&mut self, action: impl FnOnce(&mut Telling<'_>)) {
        let Some(slot) = &self.slot else { return };
        let rest = &mut self.rest;
        station::with(slot.buffer_id(), |station| {
            // In a forked child the call is its parent's.
            if let Ok(slot) = station.buffer.open_slot(slot) {
                action(&mut Telling { slot, rest });
            }
        });
    }

    /// The same in a function of its own for each `action`: where that knows its field, little is left of it.
    #[inline(never)]
    pub(crate) fn tell_apart(&mut self, action: impl FnOnce(&mut Telling<'_>)) {
        self.tell(action);
    }

    /// Puts a text in a field's place; an empty one is ignored.
    #[inline(never)]
    pub(crate) fn put_text(&mut self, field: Field, text: &str) {
        self.tell(|call| call.text(field, text));
    }

    /// The host's own error text: readable here, in the row only as the error policy lets it.
    pub(crate) fn put_error_text(&mut self, text: String) {
        rest(&mut self.rest).error_text = Some(text);
    }

    pub(crate) fn error_text(&self) -> Option<&str> {
        self.rest.as_deref()?.error_text.as_deref()
    }

    pub(crate) fn meta(&mut self) -> &mut Meta {
        &mut rest(&mut self.rest).meta
    }

    pub(crate) fn flag(&mut self, flag: Flags) {
        if !flag.is_empty() {
            rest(&mut self.rest).flags.insert(flag);
        }
    }
}

#[cold]
fn rest(rest: &mut Option<Box<Rest>>) -> &mut Rest {
    rest.get_or_insert_with(Box::default)
}

impl Telling<'_> {
    /// Whether a value of a field was told and stands.
    #[inline]
    pub(crate) fn has(&self, field: Field) -> bool {
        self.slot.has(field) || self.rest.as_deref().is_some_and(|rest| rest.has(field))
    }

    #[inline(always)]
    pub(crate) fn put(&mut self, field: Field, value: Value<'_>) {
        if self.rest.is_some() || !self.slot.tell_in_place(field, value) {
            self.put_anywhere(field, value);
        }
    }

    #[inline(never)]
    fn put_anywhere(&mut self, field: Field, value: Value<'_>) {
        if let Some(rest) = self.rest {
            rest.remove(field);
        }
        if let Err(Refused::NoRoom) = self.slot.tell(field, value) {
            self.spill(field, value);
        }
    }

    #[cold]
    fn spill(&mut self, field: Field, value: Value<'_>) {
        if let Some(value) = Spilled::of(value) {
            rest(self.rest).more.push((field, value));
        }
    }

    /// Puts a text in a field's place; an empty one is ignored.
    #[inline(always)]
    pub(crate) fn text(&mut self, field: Field, text: &str) {
        if !text.is_empty() {
            self.put(field, Value::Text(bounded(text, field.limit())));
        }
    }

    /// Puts a value, or takes it away.
    pub(crate) fn set<'a>(&mut self, field: Field, value: Option<impl Into<Value<'a>>>) {
        match value {
            Some(value) => self.put(field, value.into()),
            None => self.take_away(field),
        }
    }

    /// Puts a value where there is none yet.
    pub(crate) fn set_if_new<'a>(&mut self, field: Field, value: impl Into<Value<'a>>) {
        if !self.has(field) {
            self.put(field, value.into());
        }
    }

    /// The kind of the error that was told.
    pub(crate) fn error_kind(&self) -> Option<ErrorKind> {
        let code = self.slot.code(Field::ErrorKind)?;
        u8::try_from(code).ok().and_then(ErrorKind::from_code)
    }

    fn take_away(&mut self, field: Field) {
        if let Some(rest) = self.rest {
            rest.remove(field);
        }
        self.slot.untell(field);
    }

    /// The call failed.
    pub(crate) fn fail(&mut self, kind: ErrorKind) {
        let status = if kind == ErrorKind::Cancelled {
            Status::Cancelled
        } else {
            Status::Error
        };
        self.put(Field::Status, (&status).into());
    }

    /// Takes a whole usage over, in place of what was said before.
    pub(crate) fn usage(&mut self, mut usage: Usage) {
        for (field, (_, count)) in PARTS.iter().zip(usage.tokens()) {
            self.set(*field, count);
        }
        let source = usage.usage_source.unwrap_or(UsageSource::Caller);
        self.put(Field::UsageSource, source.into());
        self.take_away(Field::UsageRule);
        if let Some(rule) = &usage.usage_rule {
            self.text(Field::UsageRule, rule);
        }
        let extra = usage.usage_extra.take().map(|extra| {
            let mut record = CallRecord::new(NO_ID, Layer::Guard, 0);
            record.usage.usage_extra = Some(extra);
            record
        });
        if extra.is_some() || self.rest.is_some() {
            rest(self.rest).extra = extra;
        }
    }
}

impl Rest {
    #[cold]
    fn remove(&mut self, field: Field) {
        self.more.retain(|(known, _)| *known != field);
    }

    /// Makes meta ready to be copied out.
    pub(crate) fn pack(&mut self) {
        if !self.meta.is_empty() {
            let meta = std::mem::take(&mut self.meta);
            let record = self
                .extra
                .get_or_insert_with(|| CallRecord::new(NO_ID, Layer::Guard, 0));
            record.meta = Some(meta);
        }
    }

    pub(crate) fn has(&self, field: Field) -> bool {
        self.more.iter().any(|(known, _)| *known == field)
    }
}

/// The counts of a usage as fields, in the order of [`Usage::tokens`].
const PARTS: [Field; 13] = [
    Field::InputTokens,
    Field::OutputTokens,
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
];

/// The id of a record that only carries fields.
const NO_ID: CallId = CallId::new(callmeter_core::Timestamp::EPOCH, 0);

impl Fields for Rest {
    fn each(&self, mut put: impl FnMut(u32, Value<'_>)) {
        if !self.flags.is_empty() {
            put(Field::Flags.tag(), self.flags.into());
        }
        for (field, value) in &self.more {
            put(field.tag(), value.value());
        }
        if let Some(extra) = &self.extra {
            extra.each(put);
        }
    }
}

/// The beginning of a text: `limit` characters and, where it is longer, one more.
#[inline]
pub(crate) fn bounded(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let end = text.char_indices().nth(limit.saturating_add(1));
    end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}
