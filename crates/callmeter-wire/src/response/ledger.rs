//! What the documents of one response say together.
//!
//! Streams repeat cumulative figures: of each count the last known one stays, nothing is added up and no
//! maximum is taken. Gemini's usage objects replace each other as wholes, because their zeros are left
//! out. Texts: the first id and the first model that are not empty, the last finish reason.

use super::draft::{Costs, Draft, Passes, status_code};
use super::error::Hint;
use crate::json::{Counts, Key, Slot};
use crate::text::Text;

const GEMINI: &[Key] = &[
    Key::GeminiPrompt,
    Key::GeminiCandidates,
    Key::GeminiThoughts,
    Key::GeminiToolUse,
    Key::GeminiCached,
    Key::GeminiTotal,
    Key::GeminiAudioIn,
    Key::GeminiImageIn,
    Key::GeminiVideoIn,
    Key::GeminiAudioOut,
    Key::GeminiImageOut,
];

/// The words of a failure.
#[derive(Clone, Copy, Default)]
pub(crate) struct ErrorWords {
    pub(crate) kind: Text,
    pub(crate) code: Text,
    pub(crate) status: Text,
    pub(crate) reason: Text,
    pub(crate) inner: Text,
}

/// See the module.
pub(crate) struct Ledger {
    pub(crate) counts: Counts,
    pub(crate) passes: Passes,
    pub(crate) costs: Costs,
    pub(crate) id: Text,
    pub(crate) model: Text,
    pub(crate) finish: Text,
    pub(crate) status: Text,
    pub(crate) incomplete: Text,
    pub(crate) block_reason: Text,
    pub(crate) service_tier: Text,
    pub(crate) traffic_type: Text,
    pub(crate) request_id: Text,
    /// Where the model ran, as Anthropic says it.
    pub(crate) geography: Text,
    pub(crate) error: ErrorWords,
    pub(crate) hint: Hint,
    pub(crate) code: Option<u16>,
    pub(crate) failed: bool,
    pub(crate) usage_seen: bool,
    pub(crate) guessed: bool,
    pub(crate) anthropic: bool,
    pub(crate) implausible: bool,
    pub(crate) content: bool,
    /// The stream's own last event was seen.
    pub(crate) ended: bool,
    pub(crate) output_calls: [u64; 4],
    pub(crate) documents: u64,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            counts: Counts::NONE,
            passes: Passes::default(),
            costs: Costs::default(),
            id: Text::EMPTY,
            model: Text::EMPTY,
            finish: Text::EMPTY,
            status: Text::EMPTY,
            incomplete: Text::EMPTY,
            block_reason: Text::EMPTY,
            service_tier: Text::EMPTY,
            traffic_type: Text::EMPTY,
            request_id: Text::EMPTY,
            geography: Text::EMPTY,
            error: ErrorWords::default(),
            hint: Hint::None,
            code: None,
            failed: false,
            usage_seen: false,
            guessed: false,
            anthropic: false,
            implausible: false,
            content: false,
            ended: false,
            output_calls: [0; 4],
            documents: 0,
        }
    }

    /// Takes over a document; `event` is the name it came under.
    pub(crate) fn post(&mut self, draft: &Draft, event: &str) {
        self.documents = self.documents.saturating_add(1);
        let kind = match draft.text(Slot::Type) {
            b"" => match draft.text(Slot::EventType) {
                b"" => event.as_bytes(),
                kind => kind,
            },
            kind => kind,
        };
        self.post_counts(draft, kind);
        self.post_texts(draft, kind);
        self.post_failure(draft, kind);
        self.content |= draft.content || kind == b"response.output_text.delta";
        self.ended |= matches!(
            kind,
            b"message_stop"
                | b"response.completed"
                | b"response.incomplete"
                | b"response.failed"
                | b"message-end"
                | b"stream-end"
                | b"response.done"
                | b"interaction.completed"
                | b"transcript.text.done"
                | b"speech.audio.done"
                | b"image_generation.completed"
                | b"image_edit.completed"
                | b"chat.end"
                | b"thread.run.completed"
                | b"thread.run.requires_action"
                | b"metadata"
        ) || draft.text(Slot::Done) == b"true";
    }

    fn post_counts(&mut self, draft: &Draft, kind: &[u8]) {
        if draft.gemini_whole {
            GEMINI.iter().for_each(|key| self.counts.remove(*key));
        }
        let placeholder = kind == b"message_start";
        let kept = if placeholder {
            self.counts.get(Key::Output)
        } else {
            None
        };
        let input = self.counts.get(Key::PlainInput).filter(|count| *count > 0);
        self.counts.overlay(&draft.counts);
        if let (Some(count), Some(0)) = (input, self.counts.get(Key::PlainInput)) {
            // watsonx counts the input in the first line only.
            self.counts.set(Key::PlainInput, count);
        }
        if placeholder {
            // The output of a message_start is a placeholder, no count.
            self.counts.remove(Key::Output);
            if let Some(kept) = kept {
                self.counts.set(Key::Output, kept);
            }
        }
        if let Some(passes) = draft.passes {
            self.passes = passes;
        }
        self.costs = Costs {
            cost: draft.costs.cost.or(self.costs.cost),
            upstream: draft.costs.upstream.or(self.costs.upstream),
            byok: draft.costs.byok.or(self.costs.byok),
        };
        for (sum, calls) in self.output_calls.iter_mut().zip(draft.output_calls) {
            *sum = (*sum).max(calls);
        }
        self.usage_seen |= draft.usage_seen;
        self.guessed |= draft.guessed;
        self.implausible |= draft.implausible;
        self.anthropic |= matches!(kind, b"message_start" | b"message_delta" | b"message");
    }

    fn post_texts(&mut self, draft: &Draft, kind: &[u8]) {
        let first = |slot: &mut Text, found: Slot| {
            if slot.is_empty() {
                slot.set(draft.text(found));
            }
        };
        let last = |slot: &mut Text, found: Slot| {
            if !draft.is_empty(found) {
                slot.set(draft.text(found));
            }
        };
        if closes_response(kind) {
            // Some servers give each event an id of its own; the last is the response's.
            last(&mut self.id, Slot::Id);
        }
        first(&mut self.id, Slot::Id);
        first(&mut self.id, Slot::GenerationId);
        first(&mut self.model, Slot::Model);
        first(&mut self.model, Slot::ModelVersion);
        first(&mut self.request_id, Slot::RequestId);
        last(&mut self.finish, Slot::DoneReason);
        last(&mut self.finish, Slot::Finish);
        last(&mut self.status, Slot::Status);
        last(&mut self.incomplete, Slot::Incomplete);
        last(&mut self.block_reason, Slot::BlockReason);
        last(&mut self.service_tier, Slot::ServiceTier);
        if draft.text(Slot::Speed) == b"fast" {
            self.service_tier.set(b"fast");
        }
        last(&mut self.traffic_type, Slot::TrafficType);
        last(&mut self.geography, Slot::Geography);
    }

    fn post_failure(&mut self, draft: &Draft, kind: &[u8]) {
        let is_error = draft.text(Slot::Object) == b"error";
        let failed = draft.failed || is_error || kind == b"error" || kind == b"response.failed";
        // The first failure of a body counts; what it says at the top matters only if it failed.
        if !self.failed {
            for (slot, found) in [
                (&mut self.error.kind, Slot::ErrorType),
                (&mut self.error.code, Slot::ErrorCode),
                (&mut self.error.status, Slot::ErrorStatus),
                (&mut self.error.reason, Slot::ErrorReason),
                (&mut self.error.inner, Slot::ErrorInner),
            ] {
                if !draft.is_empty(found) {
                    slot.set(draft.text(found));
                }
            }
            // A code that is an HTTP status is one, and no word.
            let top = draft.text(Slot::TopCode);
            let status = status_code(top);
            if self.error.code.is_empty() && status.is_none() && !top.is_empty() {
                self.error.code.set(top);
            }
            if self.error.kind.is_empty() && !draft.is_empty(Slot::TopErrorType) {
                self.error.kind.set(draft.text(Slot::TopErrorType));
            }
            if is_error && self.error.kind.is_empty() {
                // `{"object":"error", "type", "code", "message"}`: Mistral, vLLM.
                self.error.kind.set(draft.text(Slot::Type));
            }
            self.hint = draft.hint;
            self.code = draft.code.or(status);
        }
        self.failed |= failed;
    }
}

fn closes_response(kind: &[u8]) -> bool {
    matches!(
        kind,
        b"response.completed" | b"response.incomplete" | b"response.failed"
    )
}
