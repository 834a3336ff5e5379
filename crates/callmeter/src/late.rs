//! What a guard is told while its call is in flight, kept in the guard and copied out at its end.
//!
//! Numbers, small words and short texts lie inline: the usual setters allocate nothing (promise CM-2).
//! Meta, other billed units, an error's text and texts beyond the inline room go into one box. All of it
//! is bounded: a text keeps at most one character more than its limit, by which its reader knows that it
//! was cut.

use callmeter_core::{
    Billing, CallId, CallRecord, ErrorKind, Field, Flags, Layer, Meta, Operation, PicoUsd, Status,
    Usage, UsageSource,
};
use callmeter_flight::{Fields, Packed, Value};

use crate::notes::{Note, Notes};

/// Late values of one call.
#[derive(Default)]
pub(crate) struct Late {
    pub(crate) input_tokens: Option<u64>,
    pub(crate) output_tokens: Option<u64>,
    pub(crate) ttft_us: Option<u64>,
    pub(crate) flags: Flags,
    status: Word,
    pub(crate) error_kind: Option<ErrorKind>,
    pub(crate) http_status: Option<u16>,
    pub(crate) usage_source: Option<UsageSource>,
    pub(crate) operation: Option<Operation>,
    pub(crate) billing: Option<Billing>,
    pub(crate) streaming: Option<bool>,
    pub(crate) stream_complete: Option<bool>,
    pub(crate) cache_hit: Option<bool>,
    pub(crate) rag_hit: Option<bool>,
    notes: Notes,
    rest: Option<Box<Rest>>,
}

/// What has no room inline, or seldom comes.
#[derive(Default)]
struct Rest {
    meta: Meta,
    extra: Option<CallRecord>,
    error_text: Option<String>,
    /// What found no room among the notes.
    more: Vec<(Field, Spilled)>,
}

/// A value without room among the notes.
enum Spilled {
    Text(Box<str>),
    Int(u64),
    Id(CallId),
}

impl Spilled {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Int(value) => Value::Int(*value),
            Self::Id(id) => Value::Id(*id),
        }
    }
}

/// The status so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Word {
    #[default]
    None,
    Ok,
    Error,
    Fallback,
    Cancelled,
    Aborted,
    /// Among the notes.
    Own,
}

impl Late {
    /// Puts a text in a field's place; an empty one is ignored.
    pub(crate) fn put_text(&mut self, field: Field, text: &str) {
        if text.is_empty() {
            return;
        }
        self.put(field, Note::Text(bounded(text, field.limit())));
    }

    /// Whether there is a text in a field's place.
    pub(crate) fn has_text(&self, field: Field) -> bool {
        let in_rest = |rest: &Rest| rest.more.iter().any(|(known, _)| *known == field);
        self.notes.has(field) || self.rest.as_deref().is_some_and(in_rest)
    }

    pub(crate) fn put_int(&mut self, field: Field, value: u64) {
        self.put(field, Note::Int(value));
    }

    pub(crate) fn put_id(&mut self, field: Field, id: Option<CallId>) {
        match id {
            Some(id) => self.put(field, Note::Id(id)),
            None => self.remove(field),
        }
    }

    fn put(&mut self, field: Field, note: Note<'_>) {
        if self.rest.is_some() {
            self.remove(field);
        }
        if !self.notes.put(field, note) {
            let value = match note {
                Note::Text(text) => Spilled::Text(text.into()),
                Note::Int(value) => Spilled::Int(value),
                Note::Id(id) => Spilled::Id(id),
            };
            self.rest().more.push((field, value));
        }
    }

    fn remove(&mut self, field: Field) {
        self.notes.remove(field);
        if let Some(rest) = &mut self.rest {
            rest.more.retain(|(known, _)| *known != field);
        }
    }

    pub(crate) fn put_cost(&mut self, cost: Option<PicoUsd>) {
        match cost.map(Value::from) {
            Some(Value::Int(coded)) => self.put_int(Field::ReportedCost, coded),
            _ => self.remove(Field::ReportedCost),
        }
    }

    /// Takes a whole usage over, in place of what was said before.
    pub(crate) fn put_usage(&mut self, mut usage: Usage) {
        self.input_tokens = usage.input_tokens;
        self.output_tokens = usage.output_tokens;
        self.usage_source = usage.usage_source.or(Some(UsageSource::Caller));
        for (field, (_, count)) in PARTS.iter().zip(usage.tokens()).skip(2) {
            self.remove(*field);
            if let Some(count) = count {
                self.put_int(*field, count);
            }
        }
        self.remove(Field::UsageRule);
        if let Some(rule) = &usage.usage_rule {
            self.put_text(Field::UsageRule, rule);
        }
        let extra = usage.usage_extra.take().map(|extra| {
            let mut record = CallRecord::new(NO_ID, Layer::Guard, 0);
            record.usage.usage_extra = Some(extra);
            record
        });
        if extra.is_some() || self.rest.is_some() {
            self.rest().extra = extra;
        }
    }

    pub(crate) fn put_status(&mut self, word: &str) {
        self.status = match word {
            "" => return,
            "ok" => Word::Ok,
            "error" => Word::Error,
            "fallback" => Word::Fallback,
            "cancelled" => Word::Cancelled,
            "aborted" => Word::Aborted,
            own => {
                self.put_text(Field::Status, own);
                Word::Own
            }
        };
    }

    /// Whether the host said how the call ended.
    #[cfg(feature = "wire")]
    pub(crate) fn has_status(&self) -> bool {
        self.status != Word::None
    }

    /// The call failed.
    pub(crate) fn fail(&mut self, kind: ErrorKind) {
        self.status = if kind == ErrorKind::Cancelled {
            Word::Cancelled
        } else {
            Word::Error
        };
    }

    /// The host's own error text: readable here, in the row only as the error policy lets it.
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

    fn status(&self) -> Option<Status> {
        Some(match self.status {
            Word::None | Word::Ok => Status::Ok,
            Word::Error => Status::Error,
            Word::Fallback => Status::Fallback,
            Word::Cancelled => Status::Cancelled,
            Word::Aborted => Status::Aborted,
            Word::Own => return None,
        })
    }

    /// Makes the values ready to be copied out.
    #[inline]
    pub(crate) fn ended(&mut self, duration_us: u64) -> Outcome<'_> {
        if self.rest.is_some() {
            self.pack_meta();
        }
        Outcome {
            late: self,
            duration_us,
        }
    }

    #[cold]
    fn pack_meta(&mut self) {
        if let Some(rest) = &mut self.rest
            && !rest.meta.is_empty()
        {
            let meta = std::mem::take(&mut rest.meta);
            let record = rest
                .extra
                .get_or_insert_with(|| CallRecord::new(NO_ID, Layer::Guard, 0));
            record.meta = Some(meta);
        }
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

/// How a call ended, as the flight buffer takes it.
pub(crate) struct Outcome<'a> {
    late: &'a Late,
    duration_us: u64,
}

impl Fields for Outcome<'_> {
    #[inline]
    fn packed(&self) -> Packed {
        let late = self.late;
        let mut packed = Packed::default();
        packed.duration_us(self.duration_us);
        macro_rules! pack {
            ($($value:expr => $setter:ident,)+) => { $(
                if let Some(value) = $value {
                    packed.$setter(value);
                }
            )+ };
        }
        pack! {
            late.input_tokens => input_tokens,
            late.output_tokens => output_tokens,
            late.ttft_us => ttft_us,
            late.status().as_ref() => status,
            late.error_kind => error_kind,
            late.http_status => http_status,
            late.usage_source => usage_source,
            late.operation => operation,
            late.billing => billing,
        }
        for (field, truth) in [
            (Field::Streaming, late.streaming),
            (Field::StreamComplete, late.stream_complete),
            (Field::CacheHit, late.cache_hit),
            (Field::RagHit, late.rag_hit),
        ] {
            if let Some(truth) = truth {
                packed.truth(field, truth);
            }
        }
        packed
    }

    #[inline]
    fn each(&self, mut put: impl FnMut(u32, Value<'_>)) {
        let late = self.late;
        late.notes.each(|tag, value| {
            // A status of the caller's own that was replaced by one of the listed words.
            if tag != Field::Status.tag() || late.status == Word::Own {
                put(tag, value);
            }
        });
        if !late.flags.is_empty() || late.rest.is_some() {
            late.each_of_rest(&mut put);
        }
    }
}

impl Late {
    #[cold]
    fn each_of_rest(&self, put: &mut impl FnMut(u32, Value<'_>)) {
        if !self.flags.is_empty() {
            put(Field::Flags.tag(), self.flags.into());
        }
        let Some(rest) = &self.rest else { return };
        for (field, value) in &rest.more {
            if *field != Field::Status || self.status == Word::Own {
                put(field.tag(), value.value());
            }
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
