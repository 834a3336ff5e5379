//! What a row of `ai_calls` tells of a call, as far as its columns go.
//!
//! A row that callmeter wrote has its call id in the side table. Any other is known by the number that the
//! database gave it: its id is made from that and from its start, so that the same row is the same call whoever
//! reads it, before and after adoption.

use callmeter_core::{
    CallId, CallRecord, Cost, CostSource, Layer, Meta, MetaPolicy, MetaValue, Status, Timestamp,
    UnpricedReason, UsageSource,
};

use super::{DURATION_MARK, INPUT_MARK, OUTPUT_MARK, STATUS_MARK, UNPRICED_MARK};
use crate::StoredCall;

/// Makes the ids of rows that the replaced module wrote.
const NAMESPACE: &str = "ai_calls";
const UNKNOWN: &str = "unknown";
const MICROS_PER_MILLI: i64 = 1_000;

/// A row as the table holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredLegacyRow {
    /// The row's own id, as text.
    pub(crate) row_id: String,
    /// The time column: when the call ended, or when the row was written.
    pub(crate) at: Timestamp,
    pub(crate) caller: Option<String>,
    pub(crate) provider: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) input_tokens: Option<i64>,
    pub(crate) output_tokens: Option<i64>,
    pub(crate) duration_ms: Option<i64>,
    pub(crate) status: Option<String>,
    pub(crate) fallback_to: Option<String>,
    /// Decimal, as the database writes it.
    pub(crate) cost_usd: Option<String>,
    pub(crate) cache_hit: Option<bool>,
    pub(crate) rag_hit: Option<bool>,
    pub(crate) request_id: Option<String>,
    pub(crate) error: Option<String>,
    /// JSON.
    pub(crate) meta: Option<String>,
    /// The id that the side table has of it.
    pub(crate) known_id: Option<CallId>,
}

impl StoredLegacyRow {
    /// When the call started: by its id where that is known, else by its duration, back from its end.
    pub(crate) fn started_at(&self) -> Timestamp {
        match self.known_id {
            Some(id) => id.started_at(),
            None => {
                let duration = self.duration_ms.unwrap_or(0).max(0);
                let micros = duration.saturating_mul(MICROS_PER_MILLI);
                self.at.saturating_add_micros(micros.saturating_neg())
            }
        }
    }

    /// The call's id.
    pub(crate) fn call_id(&self) -> CallId {
        self.known_id
            .unwrap_or_else(|| CallId::foreign(self.started_at(), "", NAMESPACE, &self.row_id))
    }

    /// The call, with the error and the keys as they stand in the user's own table.
    pub(crate) fn to_call(&self) -> StoredCall {
        let meta = self.meta.as_deref().and_then(Meta::from_json_text);
        let mut call = self.call_with(meta);
        call.record.error.clone_from(&self.error);
        call
    }

    /// The call as it may enter another table: no text of an error, and of `meta` what the rules let through.
    #[allow(dead_code, reason = "what adoption takes over")]
    pub(crate) fn to_record(&self) -> CallRecord {
        let policy = MetaPolicy::default();
        let meta = self
            .meta
            .as_deref()
            .map(|text| Meta::from_foreign_json(text, &policy));
        let StoredCall { mut record, cost } = self.call_with(meta);
        // The row's own figure, which reports have shown: it counts as it stands.
        record.reported_cost = cost.cost;
        record.bound();
        record
    }

    fn call_with(&self, mut meta: Option<Meta>) -> StoredCall {
        let mut mark = |key: &str| match meta.as_mut()?.remove(key)? {
            MetaValue::Text(word) => Some(word),
            _ => None,
        };
        let status = mark(STATUS_MARK).or_else(|| self.status.clone());
        let unpriced = mark(UNPRICED_MARK).and_then(|word| UnpricedReason::from_word(&word));
        let mut number = |key: &str, column| match meta.as_mut().and_then(|meta| meta.remove(key)) {
            Some(MetaValue::Int(number)) => Some(number),
            _ => column,
        };
        let input_tokens = number(INPUT_MARK, self.input_tokens);
        let output_tokens = number(OUTPUT_MARK, self.output_tokens);
        let duration_ms = number(DURATION_MARK, self.duration_ms);

        let mut record = CallRecord::new(self.call_id(), Layer::Import, 0);
        if self.known_id.is_none() {
            record.source_id = Some(format!("{NAMESPACE}/{}", self.row_id));
        }
        record.caller = named(&self.caller);
        record.provider = named(&self.provider);
        record.model = named(&self.model);
        record.duration_us = Some(match self.known_id {
            // To the microsecond: the row's time is the call's end.
            Some(id) => self.at.micros_since(id.started_at()),
            None => duration_ms.unwrap_or(0).saturating_mul(MICROS_PER_MILLI),
        })
        .and_then(|micros| u64::try_from(micros).ok());
        // The replaced module wrote 0 for both where it had seen no usage.
        let count = |tokens: Option<i64>| tokens.and_then(|n| u64::try_from(n).ok());
        let (input, output) = (count(input_tokens), count(output_tokens));
        if input.unwrap_or(0) > 0 || output.unwrap_or(0) > 0 {
            record.usage.input_tokens = input;
            record.usage.output_tokens = output;
            record.usage.usage_source = Some(UsageSource::Import);
        }
        record.status = status.as_deref().map(Status::from_word);
        record.fallback_to = self.fallback_to.clone().filter(|text| !text.is_empty());
        record.cache_hit = self.cache_hit;
        record.rag_hit = self.rag_hit;
        record.request_id = self.request_id.clone().filter(|text| !text.is_empty());
        record.meta = meta.filter(|meta| !meta.is_empty());

        let mut cost = Cost::default();
        cost.unpriced_reason = unpriced;
        if unpriced.is_none() {
            cost.cost = self.cost_usd.as_deref().and_then(|usd| usd.parse().ok());
            cost.cost_source = cost.cost.map(|_| CostSource::Book);
            if cost.cost.is_none() {
                cost.unpriced_reason = Some(UnpricedReason::NoUsage);
            }
        }
        StoredCall { record, cost }
    }
}

fn named(column: &Option<String>) -> Option<String> {
    column
        .clone()
        .filter(|text| !text.is_empty() && text != UNKNOWN)
}
