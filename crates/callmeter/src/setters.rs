//! What a guard can be told while its call is in flight.
//!
//! No setter fails, panics or does I/O: a value that is absurd is left out and the row says so, a text
//! that is too long is cut when the row is made. While recording is off they do nothing.

use callmeter_core::{
    Billing, CallId, ErrorKind, Flags, MetaValue, Operation, PicoUsd, Status, TokenCount, Usage,
    UsageSource, legacy_prompt_hash,
};

use crate::guard::CallGuard;
use crate::settings::PromptHash;

/// Setters that only put a text into a field; an empty one is ignored.
macro_rules! text_setters {
    ($($(#[$doc:meta])* $name:ident => $field:ident;)+) => {
        impl CallGuard { $(
            $(#[$doc])*
            pub fn $name(&mut self, text: impl AsRef<str>) -> &mut Self {
                if let Some(open) = &mut self.open && !text.as_ref().is_empty() {
                    open.record.$field = Some(text.as_ref().to_owned());
                }
                self
            }
        )+ }
    };
}

text_setters! {
    /// The provider that really answered; cut at 32 characters.
    provider => provider;
    /// The model that really answered; cut at 128 characters.
    model => model;
    /// The host's own request id; cut at 128 characters.
    request_id => request_id;
    /// The id in the response.
    response_id => response_id;
    /// The request id in the provider's headers.
    provider_request_id => provider_request_id;
    /// The host that answered.
    host => host;
    /// The provider's region.
    region => region;
    /// The service tier that the response named.
    service_tier => service_tier;
    /// Why the model stopped, in the provider's word.
    finish_reason => finish_reason;
    /// The project, instead of the one in the settings.
    project => project;
    /// The team, instead of the one in the settings or the registry.
    team => team;
    /// The cost centre, instead of the one in the settings or the registry.
    cost_center => cost_center;
    /// The environment, instead of the one in the settings.
    environment => environment;
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
            let usage = &mut open.record.usage;
            usage.input_tokens = input.known().or(usage.input_tokens);
            usage.output_tokens = output.known().or(usage.output_tokens);
            usage.usage_source = Some(UsageSource::Caller);
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
            let source = usage.usage_source.or(Some(UsageSource::Caller));
            open.record.usage = usage;
            open.record.usage.usage_source = source;
        }
        self
    }

    /// Whether the host answered from its cache.
    pub fn cache_hit(&mut self, hit: bool) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.record.cache_hit = Some(hit);
        }
        self
    }

    /// Whether retrieved documents were used.
    pub fn rag_hit(&mut self, hit: bool) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.record.rag_hit = Some(hit);
        }
        self
    }

    /// Who takes over; the status becomes `fallback`. The target records a call of its own.
    pub fn fallback_to(&mut self, target: impl AsRef<str>) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.record.fallback_to = Some(target.as_ref().to_owned());
            open.record.status = Some(Status::Fallback);
        }
        self
    }

    /// The call failed, in the caller's words. Under the error policy `class` the row keeps only that
    /// the caller said so; the text stays readable here, cut at 2,000 characters.
    pub fn error(&mut self, text: impl AsRef<str>) -> &mut Self {
        if let Some(open) = &mut self.open {
            let (text, _) = callmeter_core::clean_text(text.as_ref(), 2_000);
            open.error_text = Some(text.into_owned());
            open.record.status = Some(Status::Error);
            open.record.error_kind = Some(ErrorKind::Caller);
        }
        self
    }

    /// The text given to [`error`](Self::error).
    pub fn error_text(&self) -> Option<&str> {
        self.open.as_ref()?.error_text.as_deref()
    }

    /// The kind of the error, where the caller knows it.
    pub fn error_kind(&mut self, kind: ErrorKind) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.record.error_kind = Some(kind);
            open.record.status = Some(Status::Error);
        }
        self
    }

    /// The status, one of callmeter's words or the caller's own; cut at 16 characters.
    pub fn status(&mut self, word: impl AsRef<str>) -> &mut Self {
        if let Some(open) = &mut self.open
            && !word.as_ref().is_empty()
        {
            open.record.status = Some(Status::from_word(word.as_ref()));
        }
        self
    }

    /// The HTTP status.
    pub fn http_status(&mut self, status: u16) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.record.http_status = Some(status);
        }
        self
    }

    /// What the model was asked to do.
    pub fn operation(&mut self, operation: Operation) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.record.operation = Some(operation);
        }
        self
    }

    /// How the call is paid for, instead of the way in the settings.
    pub fn billing(&mut self, billing: Billing) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.record.billing = Some(billing);
        }
        self
    }

    /// Whether the answer is a stream.
    pub fn streaming(&mut self, streaming: bool) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.record.streaming = Some(streaming);
        }
        self
    }

    /// Whether the stream reached its end.
    pub fn stream_complete(&mut self, complete: bool) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.record.stream_complete = Some(complete);
        }
        self
    }

    /// The first token has come: takes the time. Later ones change nothing.
    pub fn first_token(&mut self) -> &mut Self {
        if let Some(open) = &mut self.open
            && open.record.ttft_us.is_none()
        {
            let now_ns = open.recorder.clock.monotonic_ns();
            open.record.ttft_us = Some(now_ns.saturating_sub(open.opened_ns) / 1_000);
        }
        self
    }

    /// The call that this one is made within.
    pub fn parent(&mut self, parent: Option<CallId>) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.record.parent_id = parent;
        }
        self
    }

    /// This is try number `attempt`, from 1, of the request whose first try was `first`.
    pub fn retry_of(&mut self, first: Option<CallId>, attempt: u32) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.record.chain_id = first;
            open.record.attempt = Some(attempt);
        }
        self
    }

    /// The W3C trace and span that the call belongs to, in hex.
    pub fn trace(&mut self, trace_id: impl AsRef<str>, span_id: impl AsRef<str>) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.record.trace_id = Some(trace_id.as_ref().to_owned());
            open.record.span_id = Some(span_id.as_ref().to_owned());
        }
        self
    }

    /// The session, kept as a keyed hash only.
    pub fn session(&mut self, session: impl AsRef<str>) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.record.session_hash = open.recorder.privacy.key.hash(session.as_ref());
        }
        self
    }

    /// The user, kept as a keyed hash only.
    pub fn user(&mut self, user: impl AsRef<str>) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.record.user_hash = open.recorder.privacy.key.hash(user.as_ref());
        }
        self
    }

    /// A hash of the prompt under the meta key `prompt_hash`, as `privacy.prompt_hash` says; the prompt
    /// itself is not kept. An empty prompt is ignored.
    pub fn prompt_hash(&mut self, prompt: impl AsRef<str>) -> &mut Self {
        if let Some(open) = &mut self.open {
            let privacy = &open.recorder.privacy;
            let hash = match privacy.prompt_hash {
                PromptHash::None => None,
                PromptHash::Keyed => privacy.key.hash(prompt.as_ref()),
                PromptHash::Sha256_12 => legacy_prompt_hash(prompt.as_ref()),
            };
            if let Some(hash) = hash {
                let _ = open.meta.insert("prompt_hash", hash, &privacy.meta);
            }
        }
        self
    }

    /// A key of the host's own. What the rules of meta refuse is not stored; its key says so, and one
    /// warning a key names the setting that would allow it.
    pub fn meta(&mut self, key: impl AsRef<str>, value: impl Into<MetaValue>) -> &mut Self {
        if let Some(open) = &mut self.open
            && let Err(refusal) = open
                .meta
                .insert(key.as_ref(), value, &open.recorder.privacy.meta)
        {
            open.recorder.meta_refused(&refusal);
            open.flag(Flags::META_REFUSED);
        }
        self
    }

    /// The cost that the provider stated in its response, in USD as decimal text; other text is ignored.
    pub fn reported_cost(&mut self, usd: impl AsRef<str>) -> &mut Self {
        if let Some(open) = &mut self.open {
            open.record.reported_cost = usd.as_ref().parse::<PicoUsd>().ok();
        }
        self
    }
}
