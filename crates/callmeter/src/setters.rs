//! What a guard can be told while its call is in flight.
//!
//! No setter fails, panics or does I/O: a value that is absurd is left out and the row says so, a text
//! that is too long is cut when the row is made. While recording is off they do nothing.

#[cfg(doc)]
use callmeter_core::ScrubbedError;
use callmeter_core::{
    Billing, CallId, ErrorKind, Field, Flags, MetaValue, Operation, PicoUsd, Status, TokenCount,
    Usage, UsageSource,
};

use crate::guard::{CallGuard, OpenCall};
use crate::station;

/// Setters that only put a text into a field; an empty one is ignored.
macro_rules! text_setters {
    ($($(#[$doc:meta])* $name:ident => $field:ident;)+) => {
        impl CallGuard { $(
            $(#[$doc])*
            #[inline]
            pub fn $name(&mut self, text: impl AsRef<str>) -> &mut Self {
                // Apart, for one copy of it however many kinds of text there are.
                fn put(open: &mut OpenCall, text: &str) {
                    open.tell_apart(|call| call.text(Field::$field, text));
                }
                if let Some(open) = self.open_call_mut() {
                    put(open, text.as_ref());
                }
                self
            }
        )+ }
    };
}

text_setters! {
    /// The provider that really answered; cut at 32 characters.
    provider => Provider;
    /// The model that really answered; cut at 128 characters.
    model => Model;
    /// The host's own request id; cut at 128 characters.
    request_id => RequestId;
    /// The id in the response.
    response_id => ResponseId;
    /// The request id in the provider's headers.
    provider_request_id => ProviderRequestId;
    /// The host that answered.
    host => Host;
    /// The provider's region.
    region => Region;
    /// The service tier that the response named.
    service_tier => ServiceTier;
    /// Why the model stopped, in the provider's word.
    finish_reason => FinishReason;
    /// The project, instead of the one in the settings.
    project => Project;
    /// The team, instead of the one in the settings or the registry.
    team => Team;
    /// The cost centre, instead of the one in the settings or the registry.
    cost_center => CostCenter;
    /// The environment, instead of the one in the settings.
    environment => Environment;
}

impl CallGuard {
    /// Input and output tokens; each an integer of any type or an `Option` of one. Absent stays absent.
    #[inline]
    pub fn tokens(
        &mut self,
        input: impl Into<TokenCount>,
        output: impl Into<TokenCount>,
    ) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            open.put_tokens(input.into(), output.into());
        }
        self
    }

    /// All that the call used, with cached, reasoning and other parts. Replaces what was said before.
    #[inline]
    pub fn usage(&mut self, usage: Usage) -> &mut Self {
        if let Some(open) = self.open_call_mut()
            && !usage.is_empty()
        {
            open.tell(|call| call.usage(usage));
        }
        self
    }

    /// Whether the host answered from its cache.
    #[inline]
    pub fn cache_hit(&mut self, hit: bool) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            open.tell_apart(|call| call.put(Field::CacheHit, hit.into()));
        }
        self
    }

    /// Whether retrieved documents were used.
    #[inline]
    pub fn rag_hit(&mut self, hit: bool) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            open.tell_apart(|call| call.put(Field::RagHit, hit.into()));
        }
        self
    }

    /// Who takes over; the status becomes `fallback`. The target records a call of its own.
    #[inline]
    pub fn fallback_to(&mut self, target: impl AsRef<str>) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            let target = target.as_ref();
            open.tell(|call| {
                call.text(Field::FallbackTo, target);
                call.put(Field::Status, (&Status::Fallback).into());
            });
        }
        self
    }

    /// The call failed, in the caller's words. Under the error policy `class` the row keeps only that
    /// the caller said so; under `scrubbed` it keeps what [`ScrubbedError`] keeps of the text, and the kind
    /// that it tells. The text itself stays readable here, cut at 2,000 characters.
    #[inline]
    pub fn error(&mut self, text: impl AsRef<str>) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            open.say_error(text.as_ref());
        }
        self
    }

    /// The text given to [`error`](Self::error).
    pub fn error_text(&self) -> Option<&str> {
        self.open_call()?.error_text()
    }

    /// The kind of the error, where the caller knows it.
    #[inline]
    pub fn error_kind(&mut self, kind: ErrorKind) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            open.put_error_kind(kind);
        }
        self
    }

    /// The status, one of callmeter's words or the caller's own; cut at 16 characters.
    #[inline]
    pub fn status(&mut self, word: impl AsRef<str>) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            open.put_text(Field::Status, word.as_ref());
        }
        self
    }

    /// The HTTP status.
    #[inline]
    pub fn http_status(&mut self, status: u16) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            open.put_http_status(status);
        }
        self
    }

    /// What the model was asked to do.
    #[inline]
    pub fn operation(&mut self, operation: Operation) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            open.tell_apart(|call| call.put(Field::Operation, operation.into()));
        }
        self
    }

    /// How the call is paid for, instead of the way in the settings.
    #[inline]
    pub fn billing(&mut self, billing: Billing) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            open.tell_apart(|call| call.put(Field::Billing, billing.into()));
        }
        self
    }

    /// Whether the answer is a stream.
    #[inline]
    pub fn streaming(&mut self, streaming: bool) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            open.tell_apart(|call| call.put(Field::Streaming, streaming.into()));
        }
        self
    }

    /// Whether the stream reached its end.
    #[inline]
    pub fn stream_complete(&mut self, complete: bool) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            open.tell_apart(|call| call.put(Field::StreamComplete, complete.into()));
        }
        self
    }

    /// The first token has come: takes the time. Later ones change nothing.
    #[inline]
    pub fn first_token(&mut self) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            open.note_first_token();
        }
        self
    }

    /// The call that this one is made within.
    #[inline]
    pub fn parent(&mut self, parent: Option<CallId>) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            open.tell(|call| call.set(Field::ParentId, parent));
        }
        self
    }

    /// This is try number `attempt`, from 1, of the request whose first try was `first`.
    #[inline]
    pub fn retry_of(&mut self, first: Option<CallId>, attempt: u32) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            open.tell(|call| {
                call.set(Field::ChainId, first);
                call.put(Field::Attempt, attempt.into());
            });
        }
        self
    }

    /// The W3C trace and span that the call belongs to, in hex.
    #[inline]
    pub fn trace(&mut self, trace_id: impl AsRef<str>, span_id: impl AsRef<str>) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            open.put_text(Field::TraceId, trace_id.as_ref());
            open.put_text(Field::SpanId, span_id.as_ref());
        }
        self
    }

    /// The session, kept as a keyed hash only.
    #[inline]
    pub fn session(&mut self, session: impl AsRef<str>) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            let hash = open.with_recorder(|recorder| recorder.privacy.key.hash(session.as_ref()));
            if let Some(hash) = hash.flatten() {
                open.put_text(Field::SessionHash, &hash);
            }
        }
        self
    }

    /// The user, kept as a keyed hash only.
    #[inline]
    pub fn user(&mut self, user: impl AsRef<str>) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            let hash = open.with_recorder(|recorder| recorder.privacy.key.hash(user.as_ref()));
            if let Some(hash) = hash.flatten() {
                open.put_text(Field::UserHash, &hash);
            }
        }
        self
    }

    /// A hash of the prompt under the meta key `prompt_hash`, as `privacy.prompt_hash` says; the prompt
    /// itself is not kept. An empty prompt is ignored.
    #[inline]
    pub fn prompt_hash(&mut self, prompt: impl AsRef<str>) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            let Some(buffer) = open.buffer_id() else {
                return self;
            };
            station::with(buffer, |station| {
                let privacy = &station.recorder.privacy;
                if let Some(hash) = privacy.hash_of_prompt(prompt.as_ref()) {
                    let _ = open.meta().insert("prompt_hash", hash, &privacy.meta);
                }
            });
        }
        self
    }

    /// A key of the host's own. What the rules of meta refuse is not stored; its key says so, and one
    /// warning a key names the setting that would allow it.
    #[inline]
    pub fn meta(&mut self, key: impl AsRef<str>, value: impl Into<MetaValue>) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            let Some(buffer) = open.buffer_id() else {
                return self;
            };
            station::with(buffer, |station| {
                let recorder = &station.recorder;
                let refused = open
                    .meta()
                    .insert(key.as_ref(), value, &recorder.privacy.meta);
                if let Err(refusal) = refused {
                    recorder.meta_refused(&refusal);
                    open.flag(Flags::META_REFUSED);
                }
            });
        }
        self
    }

    /// The cost that the provider stated in its response, in USD as decimal text; other text is ignored.
    #[inline]
    pub fn reported_cost(&mut self, usd: impl AsRef<str>) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            let cost = usd.as_ref().parse::<PicoUsd>().ok();
            open.tell(|call| call.set(Field::ReportedCost, cost));
        }
        self
    }
}

impl OpenCall {
    #[inline(never)]
    pub(crate) fn put_tokens(&mut self, input: TokenCount, output: TokenCount) {
        self.tell(|call| {
            if let Some(count) = input.known() {
                call.put(Field::InputTokens, count.into());
            }
            if let Some(count) = output.known() {
                call.put(Field::OutputTokens, count.into());
            }
            call.put(Field::UsageSource, UsageSource::Caller.into());
        });
        if input == TokenCount::Implausible || output == TokenCount::Implausible {
            self.flag(Flags::USAGE_IMPLAUSIBLE);
        }
    }

    fn put_error_kind(&mut self, kind: ErrorKind) {
        self.tell(|call| {
            call.put(Field::Status, (&Status::Error).into());
            call.put(Field::ErrorKind, kind.into());
        });
    }

    fn put_http_status(&mut self, status: u16) {
        // The last number is none, and no value of the row's.
        if status < u16::MAX {
            self.tell_apart(|call| call.put(Field::HttpStatus, status.into()));
        }
    }
}
