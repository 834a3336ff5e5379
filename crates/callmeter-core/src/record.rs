//! The record of one call as one layer saw it, and the one table of its fields.
//!
//! Every field stands once in [`for_each_field`]: its number in the encoding, its name, its limit and
//! who owns it when records merge. The encoding ([`codec`](crate::codec)), the merge
//! ([`merge`](crate::merge)), the limits and the JSON form are made from that table, so none of them
//! can forget a field.
//!
//! A record says what was observed. What the store works out from it, the [`Cost`], stands beside it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::merge::Part;
use crate::{
    Billing, CallId, CostSource, ErrorKind, Flags, Layer, MAX_COUNT, MAX_DURATION_US, Meta,
    Operation, PicoUsd, PriceMatch, Status, Timestamp, UnpricedReason, Usage, clean_text,
};

/// Calls `$then!` with the table: number, variant, name, path in the record, limit in characters
/// (0 = none), owner, what it is for.
macro_rules! for_each_field {
    ($then:ident) => {
        $then! {
            1 SourceId "source_id" (source_id) 256 Outer "The id in the system that the record came from.",
            2 ParentId "parent_id" (parent_id) 0 Outer "The call that this one was made within.",
            3 ChainId "chain_id" (chain_id) 0 Outer "The first of the calls that were tries of one request.",
            4 Attempt "attempt" (attempt) 0 Outer "Which try of its chain, from 1.",
            5 RequestId "request_id" (request_id) 128 Outer "The host's own request id.",
            6 ResponseId "response_id" (response_id) 128 Wire "The id in the response's body.",
            7 ProviderRequestId "provider_request_id" (provider_request_id) 128 Wire "The request id in the provider's headers.",
            8 TraceId "trace_id" (trace_id) 64 Outer "The W3C trace id, in hex.",
            9 SpanId "span_id" (span_id) 32 Outer "The W3C span id, in hex.",
            10 SessionHash "session_hash" (session_hash) 64 Outer "A keyed hash of the session.",
            11 UserHash "user_hash" (user_hash) 64 Outer "A keyed hash of the user.",
            12 Project "project" (project) 64 Outer "The project.",
            13 Team "team" (team) 64 Outer "The team.",
            14 CostCenter "cost_center" (cost_center) 64 Outer "The cost centre.",
            15 Service "service" (service) 64 Outer "The service, in the sense of OpenTelemetry's `service.name`.",
            16 Environment "environment" (environment) 64 Outer "The deployment environment.",
            17 Billing "billing" (billing) 0 Outer "How the call is paid for.",
            18 Caller "caller" (caller) 64 Outer "Which call site or feature called.",
            19 CallSite "call_site" (call_site) 160 Outer "File and line of the call, relative to the package root; at most 160 bytes, of which the end is kept.",
            20 HostName "host_name" (host_name) 128 Outer "The machine.",
            21 Sdk "sdk" (sdk) 64 Outer "What recorded it, with its version.",
            22 Operation "operation" (operation) 0 Wire "What the model was asked to do.",
            23 Streaming "streaming" (streaming) 0 Wire "Whether the response was a stream.",
            24 StreamComplete "stream_complete" (stream_complete) 0 Wire "Whether the stream reached its end.",
            25 Provider "provider" (provider) 32 Outer "Who answered.",
            26 Host "host" (host) 128 Wire "The host that answered.",
            27 Region "region" (region) 64 Wire "The provider's region.",
            28 ServiceTier "service_tier" (service_tier) 32 Wire "The service tier that the response named.",
            29 ModelRequested "model_requested" (model_requested) 128 Outer "The model that was asked for.",
            30 Model "model" (model) 128 Wire "The model that answered.",
            31 DurationUs "duration_us" (duration_us) 0 Outcome "How long it took, in microseconds, by a monotonic clock; at most ten years.",
            32 TtftUs "ttft_us" (ttft_us) 0 Wire "The time to the first token, in microseconds.",
            33 InputTokens "input_tokens" (usage.input_tokens) 0 Usage "All that the model read, cached parts included.",
            34 OutputTokens "output_tokens" (usage.output_tokens) 0 Usage "All that the model wrote, reasoning included.",
            35 CacheReadTokens "cache_read_tokens" (usage.cache_read_tokens) 0 Usage "Input served from the provider's cache.",
            36 CacheWriteTokens "cache_write_tokens" (usage.cache_write_tokens) 0 Usage "Input written to the provider's cache, of any lifetime.",
            37 CacheWrite5mTokens "cache_write_5m_tokens" (usage.cache_write_5m_tokens) 0 Usage "Input written to a cache of five minutes.",
            38 CacheWrite1hTokens "cache_write_1h_tokens" (usage.cache_write_1h_tokens) 0 Usage "Input written to a cache of one hour.",
            39 CacheWrite24hTokens "cache_write_24h_tokens" (usage.cache_write_24h_tokens) 0 Usage "Input written to a cache of one day.",
            40 ReasoningTokens "reasoning_tokens" (usage.reasoning_tokens) 0 Usage "Output that was reasoning.",
            41 AudioInputTokens "audio_input_tokens" (usage.audio_input_tokens) 0 Usage "Input that was audio.",
            42 AudioOutputTokens "audio_output_tokens" (usage.audio_output_tokens) 0 Usage "Output that was audio.",
            43 ImageInputTokens "image_input_tokens" (usage.image_input_tokens) 0 Usage "Input that was images.",
            44 ImageOutputTokens "image_output_tokens" (usage.image_output_tokens) 0 Usage "Output that was images.",
            45 VideoInputTokens "video_input_tokens" (usage.video_input_tokens) 0 Usage "Input that was video.",
            46 UsageExtra "usage_extra" (usage.usage_extra) 64 Usage "Other billed units by name, such as searches, seconds, images; one that comes in fractions is in thousandths, its name ends in `_milli`.",
            47 UsageRule "usage_rule" (usage.usage_rule) 64 Usage "How the counts were combined, by the reader's name for it.",
            48 UsageSource "usage_source" (usage.usage_source) 0 Usage "Where the counts come from.",
            49 Status "status" (status) 16 Outcome "How it ended: `ok`, `error`, `fallback`, `cancelled`, `aborted`, or the caller's own word.",
            50 ErrorKind "error_kind" (error_kind) 0 Outcome "Why it failed.",
            51 HttpStatus "http_status" (http_status) 0 Wire "The HTTP status.",
            52 FinishReason "finish_reason" (finish_reason) 64 Wire "Why the model stopped, in the provider's word.",
            53 FallbackTo "fallback_to" (fallback_to) 64 Outer "Who took over.",
            54 CacheHit "cache_hit" (cache_hit) 0 Outer "Whether the host answered from its cache.",
            55 RagHit "rag_hit" (rag_hit) 0 Outer "Whether retrieved documents were used.",
            56 Error "error" (error) 2000 Outcome "The error, as far as the error policy allows: the name of its type.",
            57 ErrorDetail "error_detail" (error_detail) 256 Outcome "The provider's code or type of the error.",
            58 Flags "flags" (flags) 0 Union "Marks: what a reader of the row should know that is no outcome of the call.",
            59 Meta "meta" (meta) 0 Outer "The host's own keys: 32 keys, 4 KiB, texts of 256 characters, lists of 16, one level deep.",
            60 ReportedCost "reported_cost_picousd" (reported_cost) 0 Wire "The cost that the provider stated in its response.",
        }
    };
}
pub(crate) use for_each_field;

/// One call as one layer saw it, or several layers' records merged.
///
/// Every field that a layer may not know is an `Option`; names and limits are in the reference
/// (`docs/reference/record.md`).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CallRecord {
    /// The call; its time half is `started_at`.
    pub call_id: CallId,
    /// Which way in made this record.
    pub layer: Layer,
    /// The record's number within its layer; a later one completes an earlier one.
    pub rev: u32,
    /// The id in the system that the record came from.
    pub source_id: Option<String>,
    /// The call that this one was made within.
    pub parent_id: Option<CallId>,
    /// The first of the calls that were tries of one request.
    pub chain_id: Option<CallId>,
    /// Which try of its chain, from 1.
    pub attempt: Option<u32>,
    /// The host's own request id.
    pub request_id: Option<String>,
    /// The id in the response's body.
    pub response_id: Option<String>,
    /// The request id in the provider's headers.
    pub provider_request_id: Option<String>,
    /// The W3C trace id.
    pub trace_id: Option<String>,
    /// The W3C span id.
    pub span_id: Option<String>,
    /// A keyed hash of the session.
    pub session_hash: Option<String>,
    /// A keyed hash of the user.
    pub user_hash: Option<String>,
    /// The project.
    pub project: Option<String>,
    /// The team.
    pub team: Option<String>,
    /// The cost centre.
    pub cost_center: Option<String>,
    /// The service, in the sense of OpenTelemetry's `service.name`.
    pub service: Option<String>,
    /// The deployment environment.
    pub environment: Option<String>,
    /// How the call is paid for.
    pub billing: Option<Billing>,
    /// Which call site or feature called.
    pub caller: Option<String>,
    /// File and line of the call, relative to the package root.
    pub call_site: Option<String>,
    /// The machine.
    pub host_name: Option<String>,
    /// What recorded it, with its version.
    pub sdk: Option<String>,
    /// What was asked for.
    pub operation: Option<Operation>,
    /// Whether the response was a stream.
    pub streaming: Option<bool>,
    /// Whether the stream reached its end.
    pub stream_complete: Option<bool>,
    /// Who answered.
    pub provider: Option<String>,
    /// The host that answered.
    pub host: Option<String>,
    /// The provider's region.
    pub region: Option<String>,
    /// The service tier that the response named.
    pub service_tier: Option<String>,
    /// The model that was asked for.
    pub model_requested: Option<String>,
    /// The model that answered.
    pub model: Option<String>,
    /// How long it took, in microseconds, by a monotonic clock.
    pub duration_us: Option<u64>,
    /// Time to the first token, in microseconds.
    pub ttft_us: Option<u64>,
    /// What it used.
    pub usage: Usage,
    /// How it ended.
    pub status: Option<Status>,
    /// Why it failed.
    pub error_kind: Option<ErrorKind>,
    /// The HTTP status.
    pub http_status: Option<u16>,
    /// Why the model stopped, in the provider's word.
    pub finish_reason: Option<String>,
    /// Who took over.
    pub fallback_to: Option<String>,
    /// Whether the host answered from its cache.
    pub cache_hit: Option<bool>,
    /// Whether retrieved documents were used.
    pub rag_hit: Option<bool>,
    /// The error, as far as the error policy allows.
    pub error: Option<String>,
    /// The provider's code or type of the error.
    pub error_detail: Option<String>,
    /// Marks.
    pub flags: Flags,
    /// The host's own keys.
    pub meta: Option<Meta>,
    /// The cost that the provider stated in its response.
    pub reported_cost: Option<PicoUsd>,
    /// Fields of a newer version, kept in passing.
    pub(crate) unknown: BTreeMap<u32, Vec<u8>>,
    /// Which records a merged one came from; empty while it came from one.
    pub(crate) parts: Vec<Part>,
}

impl CallRecord {
    /// Makes a record of which nothing but its identity is known.
    pub fn new(call_id: CallId, layer: Layer, rev: u32) -> Self {
        Self {
            call_id,
            layer,
            rev,
            source_id: None,
            parent_id: None,
            chain_id: None,
            attempt: None,
            request_id: None,
            response_id: None,
            provider_request_id: None,
            trace_id: None,
            span_id: None,
            session_hash: None,
            user_hash: None,
            project: None,
            team: None,
            cost_center: None,
            service: None,
            environment: None,
            billing: None,
            caller: None,
            call_site: None,
            host_name: None,
            sdk: None,
            operation: None,
            streaming: None,
            stream_complete: None,
            provider: None,
            host: None,
            region: None,
            service_tier: None,
            model_requested: None,
            model: None,
            duration_us: None,
            ttft_us: None,
            usage: Usage::default(),
            status: None,
            error_kind: None,
            http_status: None,
            finish_reason: None,
            fallback_to: None,
            cache_hit: None,
            rag_hit: None,
            error: None,
            error_detail: None,
            flags: Flags::NONE,
            meta: None,
            reported_cost: None,
            unknown: BTreeMap::new(),
            parts: Vec::new(),
        }
    }

    /// When the call started: the time half of its id.
    pub const fn started_at(&self) -> Timestamp {
        self.call_id.started_at()
    }

    /// When the call finished, as far as that is known: the time its price is looked up at.
    pub fn finished_at(&self) -> Timestamp {
        let duration = i64::try_from(self.duration_us.unwrap_or(0)).unwrap_or(i64::MAX);
        self.started_at().saturating_add_micros(duration)
    }

    /// The caller, or `unknown`.
    pub fn caller_or_unknown(&self) -> &str {
        self.caller.as_deref().unwrap_or("unknown")
    }

    /// The provider, or `unknown`.
    pub fn provider_or_unknown(&self) -> &str {
        self.provider.as_deref().unwrap_or("unknown")
    }

    /// The model that answered, else the one asked for, else `unknown`.
    pub fn model_or_requested(&self) -> &str {
        self.model
            .as_deref()
            .or(self.model_requested.as_deref())
            .unwrap_or("unknown")
    }

    /// The status; a record that says none means `ok`.
    pub fn status_or_ok(&self) -> &Status {
        self.status.as_ref().unwrap_or(&Status::Ok)
    }

    /// Brings every field within its limits: texts cut on a character boundary and made printable,
    /// counts and durations that no call has dropped. What was changed is marked in `flags`.
    pub fn bound(&mut self) {
        // Before the texts, whose ends are cut: of a path the end, with the line, tells most.
        let mut cut = false;
        if let Some(site) = &mut self.call_site
            && (site.len() > MAX_CALL_SITE_BYTES || site.chars().any(char::is_control))
        {
            let clean = clean_text(site, usize::MAX).0.into_owned();
            cut = clean.len() > MAX_CALL_SITE_BYTES;
            *site = tail_of(&clean, MAX_CALL_SITE_BYTES).to_owned();
        }
        cut |= self.bound_texts();
        if cut {
            self.flags.insert(Flags::CUT);
        }
        let usage = &mut self.usage;
        for count in [
            &mut usage.input_tokens,
            &mut usage.output_tokens,
            &mut usage.cache_read_tokens,
            &mut usage.cache_write_tokens,
            &mut usage.cache_write_5m_tokens,
            &mut usage.cache_write_1h_tokens,
            &mut usage.cache_write_24h_tokens,
            &mut usage.reasoning_tokens,
            &mut usage.audio_input_tokens,
            &mut usage.audio_output_tokens,
            &mut usage.image_input_tokens,
            &mut usage.image_output_tokens,
            &mut usage.video_input_tokens,
        ] {
            if count.is_some_and(|count| count > MAX_COUNT) {
                *count = None;
                self.flags.insert(Flags::USAGE_IMPLAUSIBLE);
            }
        }
        if let Some(extra) = &mut usage.usage_extra {
            let before = extra.len();
            extra.retain(|_, count| *count <= MAX_COUNT);
            while extra.len() > 32 {
                extra.pop_last();
            }
            if extra.len() < before {
                self.flags.insert(Flags::USAGE_IMPLAUSIBLE);
            }
            if extra.is_empty() {
                usage.usage_extra = None;
            }
        }
        for duration in [&mut self.duration_us, &mut self.ttft_us] {
            if duration.is_some_and(|duration| duration > MAX_DURATION_US) {
                *duration = None;
                self.flags.insert(Flags::DURATION_IMPLAUSIBLE);
            }
        }
    }
}

/// The longest `call_site`, in bytes.
const MAX_CALL_SITE_BYTES: usize = 160;

/// The last `max` bytes of `text`, from a character boundary on.
fn tail_of(text: &str, max: usize) -> &str {
    let mut from = text.len().saturating_sub(max);
    while !text.is_char_boundary(from) {
        from = from.saturating_add(1);
    }
    text.get(from..).unwrap_or_default()
}

/// What the store worked out from a record and its price book.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cost {
    /// The cost that counts; `None` exactly when the call is unpriced.
    pub cost: Option<PicoUsd>,
    /// Why it is unpriced.
    pub unpriced_reason: Option<UnpricedReason>,
    /// What the price book says, also where the provider's own figure counts.
    pub computed_cost: Option<PicoUsd>,
    /// Whose figure counts.
    pub cost_source: Option<CostSource>,
    /// The price entry.
    pub price_id: Option<Arc<str>>,
    /// How the model's name led to it.
    pub price_match: Option<PriceMatch>,
    /// The revision of the store's book.
    pub book_rev: Option<u32>,
}

/// Who decides about a field when records of one call merge; see [`CallRecord::merge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Owner {
    /// The outermost layer: guard, sdk, proxy, span, import.
    Outer,
    /// As `Outer`, but an aborted record yields to any that finished.
    Outcome,
    /// The layer nearest to the provider: proxy, sdk, span, guard, import.
    Wire,
    /// As `Wire`, but guessed or estimated counts yield to reported ones.
    Usage,
    /// All together.
    Union,
}

macro_rules! define_fields {
    ($($tag:literal $variant:ident $name:literal ($($path:tt)+) $limit:literal $owner:ident
        $purpose:literal,)+) => {
        /// A field of the record, by its number in the encoding.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Field { $(#[doc = concat!("`", $name, "`: ", $purpose)] $variant = $tag,)+ }

        impl Field {
            /// Every field, in the order of the encoding.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The field's number in the encoding.
            pub const fn tag(self) -> u32 { self as u32 }

            /// The field's name in JSON and in stores.
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $name,)+ } }

            /// The longest text it takes, in characters; 0 when it is no text.
            pub const fn limit(self) -> usize { match self { $(Self::$variant => $limit,)+ } }

            /// Who decides about it when records merge.
            pub const fn owner(self) -> Owner { match self { $(Self::$variant => Owner::$owner,)+ } }

            /// What it is for, in a sentence; units where it has one.
            pub const fn purpose(self) -> &'static str { match self { $(Self::$variant => $purpose,)+ } }
        }

        impl CallRecord {
            fn bound_texts(&mut self) -> bool {
                let mut cut = false;
                $(cut |= crate::field_value::FieldValue::bound(&mut self.$($path)+, $limit);)+
                cut
            }
        }
    };
}

for_each_field!(define_fields);

/// A set of fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldSet(u128);

impl FieldSet {
    /// The set of the given bits; bit n is the field with number n.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The bits; bit n is the field with number n.
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// Whether `field` is in the set.
    pub const fn contains(self, field: Field) -> bool {
        self.0 >> field.tag() & 1 == 1
    }

    /// Puts `field` into the set.
    pub const fn insert(&mut self, field: Field) {
        self.0 |= 1 << field.tag();
    }

    /// The same set with `field`.
    #[must_use]
    pub const fn with(mut self, field: Field) -> Self {
        self.insert(field);
        self
    }

    /// Whether the set has no field.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}
