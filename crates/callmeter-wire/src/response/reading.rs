//! What a response said.

use callmeter_core::{
    CallRecord, ErrorKind, Flags, Operation, PicoUsd, Status, Usage, UsageSource,
};

use super::finish::Finish;
use crate::Api;

/// The outcome of reading one response: everything a row takes from it, and no word of content.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reading {
    /// Who answered, by the request or else by a header that only one provider sends.
    pub provider: Option<&'static str>,
    /// The interface.
    pub api: Api,
    /// Whether the exchange deserves a row.
    pub is_call: bool,
    /// Whether the response is a stream: events, lines, a list of answers, frames.
    pub streaming: bool,
    /// Whether a stream came to its own end; `None` when the response is no stream.
    pub stream_complete: Option<bool>,
    /// The HTTP status.
    pub http_status: Option<u16>,
    /// The counts, their source and the rule by which they were combined.
    pub usage: Usage,
    /// The model that answered; `None` where the provider does not name it.
    pub model: Option<String>,
    /// The id in the body.
    pub response_id: Option<String>,
    /// The request's id in the headers, else in the body.
    pub provider_request_id: Option<String>,
    /// Where the model ran, where the answer says so and it is no place everywhere: `us`.
    pub region: Option<String>,
    /// The tier that served the call.
    pub service_tier: Option<String>,
    /// Why the generation ended, in the provider's word.
    pub finish_reason: Option<String>,
    /// What went wrong, also inside a success.
    pub error_kind: Option<ErrorKind>,
    /// The error's code or type, only if it looks like a name; never a message.
    pub error_detail: Option<String>,
    /// What the provider says the call cost.
    pub reported_cost: Option<PicoUsd>,
    /// Marks for the row.
    pub flags: Flags,
}

impl Reading {
    /// What the request asked the model to do.
    pub const fn operation(&self) -> Operation {
        self.api.operation()
    }

    /// Why the generation ended, in one vocabulary.
    pub fn finish(&self) -> Option<Finish> {
        self.finish_reason.as_deref().map(Finish::of)
    }

    /// Where the counts come from.
    pub fn usage_source(&self) -> UsageSource {
        self.usage.usage_source.unwrap_or(UsageSource::None)
    }

    /// Puts the reading into a record: what it knows replaces what was there, what it does not know
    /// changes nothing.
    pub fn fill(&self, record: &mut CallRecord) {
        fn put<T: Clone>(slot: &mut Option<T>, value: &Option<T>) {
            if value.is_some() {
                slot.clone_from(value);
            }
        }
        record.operation = record.operation.or(Some(self.operation()));
        if record.provider.is_none() {
            record.provider = self.provider.map(str::to_owned);
        }
        record.streaming = Some(self.streaming);
        put(&mut record.stream_complete, &self.stream_complete);
        put(&mut record.http_status, &self.http_status);
        put(&mut record.model, &self.model);
        put(&mut record.response_id, &self.response_id);
        put(&mut record.provider_request_id, &self.provider_request_id);
        put(&mut record.service_tier, &self.service_tier);
        if record.region.is_none() {
            record.region.clone_from(&self.region);
        }
        put(&mut record.finish_reason, &self.finish_reason);
        put(&mut record.error_kind, &self.error_kind);
        put(&mut record.error_detail, &self.error_detail);
        put(&mut record.reported_cost, &self.reported_cost);
        if self.error_kind.is_some() {
            record.status = Some(Status::Error);
        }
        if self.usage_source() != UsageSource::None || record.usage.usage_source.is_none() {
            record.usage = self.usage.clone();
        }
        record.flags.insert(self.flags);
    }
}
