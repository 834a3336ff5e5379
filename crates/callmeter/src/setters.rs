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

use crate::guard::CallGuard;
use crate::station;

/// Setters that only put a text into a field; an empty one is ignored.
macro_rules! text_setters {
    ($($(#[$doc:meta])* $name:ident => $field:ident;)+) => {
        impl CallGuard { $(
            $(#[$doc])*
            pub fn $name(&mut self, text: impl AsRef<str>) -> &mut Self {
                if let Some(open) = &mut self.open {
                    open.late.put_text(Field::$field, text.as_ref());
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
    pub fn tokens(
        &mut self,
        input: impl Into<TokenCount>,
        output: impl Into<TokenCount>,
    ) -> &mut Self {
        if let Some(open) = &mut self.open {
            let (input, output) = (input.into(), output.into());
            let late = &mut open.late;
            late.input_tokens = input.known().or(late.input_tokens);
            late.output_tokens = output.known().or(late.output_tokens);
            late.usage_source = Some(UsageSource::Caller);
            if input == TokenCount::Implausible || output == TokenCount::Implausible {
                open.flag(Flags::USAGE_IMPLAUSIBLE);
            }
        }
        self
    }

    /// All that the call used, with cached, reasoning and other parts. Replaces what was said before.
    pub fn usage(&mut self, usage: Usage) -> &mut Self {
        if let Some(open) = &mut self.open
            && !usage.is_empty()
        {
            open.late.put_usage(usage);
        }
        self
    }

    /// Whether the host answered from its cache.
    pub fn cache_hit(&mut self, hit: bool) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.late.cache_hit = Some(hit);
        }
        self
    }

    /// Whether retrieved documents were used.
    pub fn rag_hit(&mut self, hit: bool) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.late.rag_hit = Some(hit);
        }
        self
    }

    /// Who takes over; the status becomes `fallback`. The target records a call of its own.
    pub fn fallback_to(&mut self, target: impl AsRef<str>) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.late.put_text(Field::FallbackTo, target.as_ref());
            open.late.put_status(Status::Fallback.as_str());
        }
        self
    }

    /// The call failed, in the caller's words. Under the error policy `class` the row keeps only that
    /// the caller said so; under `scrubbed` it keeps what [`ScrubbedError`] keeps of the text, and the kind
    /// that it tells. The text itself stays readable here, cut at 2,000 characters.
    pub fn error(&mut self, text: impl AsRef<str>) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.say_error(text.as_ref());
        }
        self
    }

    /// The text given to [`error`](Self::error).
    pub fn error_text(&self) -> Option<&str> {
        self.open.as_ref()?.late.error_text()
    }

    /// The kind of the error, where the caller knows it.
    pub fn error_kind(&mut self, kind: ErrorKind) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.late.error_kind = Some(kind);
            open.late.put_status(Status::Error.as_str());
        }
        self
    }

    /// The status, one of callmeter's words or the caller's own; cut at 16 characters.
    pub fn status(&mut self, word: impl AsRef<str>) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.late.put_status(word.as_ref());
        }
        self
    }

    /// The HTTP status.
    pub fn http_status(&mut self, status: u16) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.late.http_status = Some(status);
        }
        self
    }

    /// What the model was asked to do.
    pub fn operation(&mut self, operation: Operation) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.late.operation = Some(operation);
        }
        self
    }

    /// How the call is paid for, instead of the way in the settings.
    pub fn billing(&mut self, billing: Billing) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.late.billing = Some(billing);
        }
        self
    }

    /// Whether the answer is a stream.
    pub fn streaming(&mut self, streaming: bool) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.late.streaming = Some(streaming);
        }
        self
    }

    /// Whether the stream reached its end.
    pub fn stream_complete(&mut self, complete: bool) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.late.stream_complete = Some(complete);
        }
        self
    }

    /// The first token has come: takes the time. Later ones change nothing.
    pub fn first_token(&mut self) -> &mut Self {
        if let Some(open) = &mut self.open
            && open.late.ttft_us.is_none()
        {
            open.late.ttft_us = Some(open.elapsed_us());
        }
        self
    }

    /// The call that this one is made within.
    pub fn parent(&mut self, parent: Option<CallId>) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.late.put_id(Field::ParentId, parent);
        }
        self
    }

    /// This is try number `attempt`, from 1, of the request whose first try was `first`.
    pub fn retry_of(&mut self, first: Option<CallId>, attempt: u32) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.late.put_id(Field::ChainId, first);
            open.late.put_int(Field::Attempt, u64::from(attempt));
        }
        self
    }

    /// The W3C trace and span that the call belongs to, in hex.
    pub fn trace(&mut self, trace_id: impl AsRef<str>, span_id: impl AsRef<str>) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.late.put_text(Field::TraceId, trace_id.as_ref());
            open.late.put_text(Field::SpanId, span_id.as_ref());
        }
        self
    }

    /// The session, kept as a keyed hash only.
    pub fn session(&mut self, session: impl AsRef<str>) -> &mut Self {
        if let Some(open) = &mut self.open {
            let hash = open.with_recorder(|recorder| recorder.privacy.key.hash(session.as_ref()));
            if let Some(hash) = hash.flatten() {
                open.late.put_text(Field::SessionHash, &hash);
            }
        }
        self
    }

    /// The user, kept as a keyed hash only.
    pub fn user(&mut self, user: impl AsRef<str>) -> &mut Self {
        if let Some(open) = &mut self.open {
            let hash = open.with_recorder(|recorder| recorder.privacy.key.hash(user.as_ref()));
            if let Some(hash) = hash.flatten() {
                open.late.put_text(Field::UserHash, &hash);
            }
        }
        self
    }

    /// A hash of the prompt under the meta key `prompt_hash`, as `privacy.prompt_hash` says; the prompt
    /// itself is not kept. An empty prompt is ignored.
    pub fn prompt_hash(&mut self, prompt: impl AsRef<str>) -> &mut Self {
        if let Some(open) = &mut self.open {
            let Some(buffer) = open.buffer_id() else {
                return self;
            };
            let late = &mut open.late;
            station::with(buffer, |station| {
                let privacy = &station.recorder.privacy;
                if let Some(hash) = privacy.hash_of_prompt(prompt.as_ref()) {
                    let _ = late.meta().insert("prompt_hash", hash, &privacy.meta);
                }
            });
        }
        self
    }

    /// A key of the host's own. What the rules of meta refuse is not stored; its key says so, and one
    /// warning a key names the setting that would allow it.
    pub fn meta(&mut self, key: impl AsRef<str>, value: impl Into<MetaValue>) -> &mut Self {
        if let Some(open) = &mut self.open {
            let Some(buffer) = open.buffer_id() else {
                return self;
            };
            let late = &mut open.late;
            station::with(buffer, |station| {
                let recorder = &station.recorder;
                let refused = late
                    .meta()
                    .insert(key.as_ref(), value, &recorder.privacy.meta);
                if let Err(refusal) = refused {
                    recorder.meta_refused(&refusal);
                    late.flags.insert(Flags::META_REFUSED);
                }
            });
        }
        self
    }

    /// The cost that the provider stated in its response, in USD as decimal text; other text is ignored.
    pub fn reported_cost(&mut self, usd: impl AsRef<str>) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.late.put_cost(usd.as_ref().parse::<PicoUsd>().ok());
        }
        self
    }
}
