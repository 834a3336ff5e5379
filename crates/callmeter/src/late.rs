//! What a guard is told while its call is in flight.
//!
//! Numbers, small words and names lie inline, texts in the slot itself ([`Told`]): the usual setters allocate
//! nothing (promise CM-2). Meta, other billed units, an error's text and texts beyond the slot's room go into
//! one box, and into the slot and its continuations at the end. All of it is bounded: a text keeps at most one
//! character more than its limit, by which its reader knows that it was cut.

use callmeter_core::{
    CallId, CallRecord, ErrorKind, Field, Flags, Layer, Meta, PicoUsd, Status, Usage, UsageSource,
};
use callmeter_flight::{Fields, Refused, Told, Value};

use crate::guard::OpenCall;
use crate::station;

/// Late values of one call.
#[derive(Default)]
pub(crate) struct Late {
    pub(crate) told: Told,
    pub(crate) flags: Flags,
    rest: Option<Box<Rest>>,
}

/// What has no room inline, or seldom comes.
#[derive(Default)]
struct Rest {
    meta: Meta,
    extra: Option<CallRecord>,
    error_text: Option<String>,
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

impl OpenCall {
    /// Puts a text in a field's place; an empty one is ignored.
    pub(crate) fn put_text(&mut self, field: Field, text: &str) {
        if !text.is_empty() {
            self.put(field, Value::Text(bounded(text, field.limit())));
        }
    }

    pub(crate) fn put_int(&mut self, field: Field, value: u64) {
        self.put(field, Value::Int(value));
    }

    pub(crate) fn put_id(&mut self, field: Field, id: Option<CallId>) {
        match id {
            Some(id) => self.put(field, Value::Id(id)),
            None => self.remove(field),
        }
    }

    #[inline]
    fn put(&mut self, field: Field, value: Value<'_>) {
        let late = &mut self.late;
        if late.rest.is_some() {
            late.remove_spilled(field);
        }
        let Some(slot) = &self.slot else { return };
        let kept = station::with(slot.buffer_id(), |station| {
            station.buffer.tell(slot, &mut late.told, field, value)
        });
        if let Some(Err(Refused::NoRoom)) = kept {
            late.spill(field, value);
        }
    }

    #[inline]
    fn remove(&mut self, field: Field) {
        if self.late.has(field) {
            self.take_away(field);
        }
    }

    #[cold]
    fn take_away(&mut self, field: Field) {
        let late = &mut self.late;
        late.remove_spilled(field);
        let Some(slot) = &self.slot else { return };
        station::with(slot.buffer_id(), |station| {
            station.buffer.untell(slot, &mut late.told, field);
        });
    }

    pub(crate) fn put_cost(&mut self, cost: Option<PicoUsd>) {
        match cost {
            Some(cost) => self.put(Field::ReportedCost, cost.into()),
            None => self.remove(Field::ReportedCost),
        }
    }

    /// Takes a whole usage over, in place of what was said before.
    pub(crate) fn put_usage(&mut self, mut usage: Usage) {
        for (field, (_, count)) in PARTS.iter().zip(usage.tokens()) {
            match count {
                Some(count) => self.put_int(*field, count),
                None => self.remove(*field),
            }
        }
        let source = usage.usage_source.unwrap_or(UsageSource::Caller);
        self.late.told.usage_source(source);
        self.remove(Field::UsageRule);
        if let Some(rule) = &usage.usage_rule {
            self.put_text(Field::UsageRule, rule);
        }
        let extra = usage.usage_extra.take().map(|extra| {
            let mut record = CallRecord::new(NO_ID, Layer::Guard, 0);
            record.usage.usage_extra = Some(extra);
            record
        });
        if extra.is_some() || self.late.rest.is_some() {
            self.late.rest().extra = extra;
        }
    }

    pub(crate) fn put_status(&mut self, word: &str) {
        let status = match word {
            "" => return,
            "ok" => Status::Ok,
            "error" => Status::Error,
            "fallback" => Status::Fallback,
            "cancelled" => Status::Cancelled,
            "aborted" => Status::Aborted,
            own => return self.put_text(Field::Status, own),
        };
        self.put_listed_status(&status);
    }

    #[inline]
    pub(crate) fn put_listed_status(&mut self, status: &Status) {
        // The caller's own word is a text elsewhere.
        self.remove(Field::Status);
        self.late.told.status(status);
    }

    /// The call failed.
    pub(crate) fn put_failure(&mut self, kind: ErrorKind) {
        self.put_listed_status(if kind == ErrorKind::Cancelled {
            &Status::Cancelled
        } else {
            &Status::Error
        });
    }
}

impl Late {
    /// Whether a value of a field was told and stands.
    #[inline]
    pub(crate) fn has(&self, field: Field) -> bool {
        self.told.has(field) || self.rest.as_deref().is_some_and(|rest| rest.has(field))
    }

    #[cold]
    fn spill(&mut self, field: Field, value: Value<'_>) {
        if let Some(value) = Spilled::of(value) {
            self.rest().more.push((field, value));
        }
    }

    #[cold]
    fn remove_spilled(&mut self, field: Field) {
        if let Some(rest) = &mut self.rest {
            rest.more.retain(|(known, _)| *known != field);
        }
    }

    /// The host's own error text: readable here, never in the row.
    pub(crate) fn put_error_text(&mut self, text: String) {
        self.rest().error_text = Some(text);
    }

    pub(crate) fn error_text(&self) -> Option<&str> {
        self.rest.as_deref()?.error_text.as_deref()
    }

    pub(crate) fn meta(&mut self) -> &mut Meta {
        &mut self.rest().meta
    }

    #[cold]
    fn rest(&mut self) -> &mut Rest {
        self.rest.get_or_insert_with(Box::default)
    }

    /// Notes the end: `ok`, unless something else was said. What was told is then whole, but for what
    /// [`has_more`](Self::has_more) says there is.
    #[inline]
    pub(crate) fn end(&mut self, duration_us: u64) {
        self.told.duration_us(duration_us);
        if !self.has(Field::Status) {
            self.told.status(&Status::Ok);
        }
    }

    /// Whether there is more than [`Told`] knows: marks, or what lies in the box.
    #[inline]
    pub(crate) fn has_more(&self) -> bool {
        !self.flags.is_empty() || self.rest.is_some()
    }

    /// Makes the box ready to be copied out.
    #[cold]
    pub(crate) fn pack(&mut self) -> More<'_> {
        if let Some(rest) = &mut self.rest
            && !rest.meta.is_empty()
        {
            let meta = std::mem::take(&mut rest.meta);
            let record = rest
                .extra
                .get_or_insert_with(|| CallRecord::new(NO_ID, Layer::Guard, 0));
            record.meta = Some(meta);
        }
        More(self)
    }
}

impl Rest {
    fn has(&self, field: Field) -> bool {
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

/// What of a call's late values its slot does not have yet.
pub(crate) struct More<'a>(&'a Late);

impl More<'_> {
    /// What lies in the slot already.
    pub(crate) fn told(&self) -> &Told {
        &self.0.told
    }
}

impl Fields for More<'_> {
    fn each(&self, mut put: impl FnMut(u32, Value<'_>)) {
        let Late { flags, rest, .. } = self.0;
        if !flags.is_empty() {
            put(Field::Flags.tag(), (*flags).into());
        }
        let Some(rest) = rest else { return };
        for (field, value) in &rest.more {
            put(field.tag(), value.value());
        }
        if let Some(extra) = &rest.extra {
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
