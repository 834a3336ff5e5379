//! The reader of one response.

use callmeter_core::{Flags, UsageSource};

use super::body::{Body, Listing};
use super::error::{Failure, Hint, classify};
use super::headers::Headers;
use super::ledger::Ledger;
use super::reading::Reading;
use super::usage::{self, Context};
use crate::compression::Decoder;
use crate::framing::Framing;
use crate::text::Text;
use crate::{Api, RequestFacts};

/// Reads a response as it passes: head first, then the body in any pieces.
///
/// Memory is bounded whatever the body: about 13 KiB, and what a content encoding needs for its window
/// (at most 16 MiB). Nothing that arrives can make it panic.
///
/// ```
/// use callmeter_wire::{RequestFacts, ResponseReader};
/// let facts = RequestFacts::from_line("POST", "/v1/chat/completions");
/// let mut reader = ResponseReader::new(&facts, Some(200), [("content-type", "application/json")]);
/// reader.push(br#"{"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"#);
/// reader.push(br#""completion_tokens":3,"total_tokens":12}}"#);
/// let reading = reader.finish();
/// assert_eq!(reading.usage.input_tokens, Some(9));
/// assert_eq!(reading.finish_reason.as_deref(), Some("stop"));
/// ```
pub struct ResponseReader {
    facts: RequestFacts,
    status: Option<u16>,
    headers: Headers,
    body: Box<Body>,
    decoder: Decoder,
}

impl ResponseReader {
    /// Begins with the status (`None` when it is not known) and the headers, whose names may have any case.
    pub fn new<'a>(
        facts: &RequestFacts,
        status: Option<u16>,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let headers = Headers::of(headers);
        let wild = facts.api == Api::Unknown;
        Self {
            facts: facts.clone(),
            status,
            body: Box::new(Body::new(headers.content_type.as_str(), wild)),
            decoder: Decoder::of(headers.content_encoding.as_str()),
            headers,
        }
    }

    /// The next bytes of the body as they came, in the content encoding that the headers name.
    pub fn push(&mut self, bytes: &[u8]) {
        let body = &mut self.body;
        self.decoder.feed(bytes, &mut |plain| body.push(plain));
    }

    /// Whether a part of the answer itself has arrived: the first time this is true after a
    /// [`push`](Self::push) is the time to the first token.
    pub fn has_content(&self) -> bool {
        self.body.has_content()
    }

    /// What the response said. A body that was cut yields what was known by then, marked.
    pub fn finish(mut self) -> Reading {
        let undecoded = {
            let body = &mut self.body;
            !self.decoder.finish(&mut |plain| body.push(plain))
        };
        let (ledger, framing, cut, listing) = self.body.finish();
        Verdict {
            facts: self.facts,
            status: self.status,
            headers: self.headers,
            ledger,
            framing,
            listing,
            cut: cut || undecoded,
        }
        .reading()
    }
}

impl std::fmt::Debug for ResponseReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseReader")
            .field("facts", &self.facts)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// All that is known at the end.
struct Verdict {
    facts: RequestFacts,
    status: Option<u16>,
    headers: Headers,
    ledger: Ledger,
    framing: Framing,
    listing: Listing,
    cut: bool,
}

impl Verdict {
    fn reading(self) -> Reading {
        let streaming = self.is_stream();
        let ledger = &self.ledger;
        let (error_kind, error_detail) = self.failure();
        let provider = self.facts.provider.or(self.headers.provider);
        let model = owned(&ledger.model);
        let context = Context {
            api: self.facts.api,
            provider,
            model: model
                .as_deref()
                .or(self.facts.model.as_deref())
                .unwrap_or_default(),
        };
        let (mut usage, mut flags) = usage::settle(ledger, &self.headers, context, streaming);
        if error_kind.is_none() && usage.usage_source == Some(UsageSource::None) {
            // Images that are charged each are counted by the request alone.
            let asked = self.facts.units.iter();
            let asked = asked.map(|(unit, count)| (unit.clone(), *count));
            usage.usage_extra.get_or_insert_default().extend(asked);
            usage.usage_extra = usage.usage_extra.filter(|extra| !extra.is_empty());
        }
        let stream_complete = streaming.then(|| self.is_complete(error_kind.is_some()));
        if stream_complete == Some(false) || (self.cut && !streaming) {
            flags.insert(Flags::STREAM_CUT);
        }
        if ledger.guessed {
            flags.insert(Flags::FORMAT_UNKNOWN);
        }
        let tier = match ledger.traffic_type.as_str() {
            "PROVISIONED_THROUGHPUT" => Some("provisioned".to_owned()),
            "ON_DEMAND_FLEX" => Some("flex".to_owned()),
            "ON_DEMAND_PRIORITY" => Some("priority".to_owned()),
            _ => owned(&ledger.service_tier).or_else(|| owned(&self.headers.service_tier)),
        };
        // Lists and files have ids of their own, and a refusal's is that of the request.
        let other = self.facts.api == Api::Other;
        let refused = self.status.is_some_and(|status| status >= 400);
        let id = owned(&ledger.id);
        let request_id = owned(&self.headers.request_id)
            .or_else(|| owned(&ledger.request_id))
            .or_else(|| id.clone().filter(|_| refused));
        Reading {
            provider,
            api: self.facts.api,
            is_call: self.facts.is_call,
            streaming,
            stream_complete,
            http_status: self.status,
            usage,
            model: model.filter(|_| !other),
            response_id: id.filter(|_| !other && !refused),
            provider_request_id: request_id,
            region: owned(&ledger.geography)
                .filter(|place| !matches!(place.as_str(), "global" | "not_available")),
            service_tier: tier,
            finish_reason: self.finish_reason(),
            error_kind,
            error_detail,
            reported_cost: self.cost(),
            flags,
        }
    }

    fn is_stream(&self) -> bool {
        match self.framing {
            Framing::Events | Framing::EventStream => true,
            Framing::Opaque => false,
            Framing::Json => {
                let content_type = self.headers.content_type.as_str();
                let lines = ["ndjson", "jsonl", "stream+json", "json-seq"]
                    .iter()
                    .any(|kind| content_type.contains(kind));
                let list = self.listing.list && self.facts.api == Api::GenerateContent;
                lines || list || (!self.listing.list && self.listing.documents > 1)
            }
        }
    }

    fn is_complete(&self, failed: bool) -> bool {
        let ledger = &self.ledger;
        if self.cut || failed {
            return false;
        }
        // Formats without an end mark end with a finish reason.
        ledger.ended
            || (!ledger.finish.is_empty() && !ledger.anthropic)
            || !ledger.block_reason.is_empty()
    }

    fn finish_reason(&self) -> Option<String> {
        let ledger = &self.ledger;
        if self.facts.api == Api::Other {
            return None;
        }
        if !ledger.finish.is_empty() {
            return owned(&ledger.finish);
        }
        if !ledger.block_reason.is_empty() {
            return owned(&ledger.block_reason);
        }
        let has_status = matches!(
            self.facts.api,
            Api::Responses
                | Api::ResponsesRetrieve
                | Api::AssistantsRun
                | Api::Interactions
                | Api::Unknown
        );
        if !has_status || (ledger.failed && ledger.status.is_empty()) {
            return None;
        }
        owned(&ledger.incomplete).or_else(|| owned(&ledger.status))
    }

    fn failure(&self) -> (Option<callmeter_core::ErrorKind>, Option<String>) {
        let ledger = &self.ledger;
        let http = self.status.filter(|status| *status >= 400);
        let exception = !self.headers.error_type.is_empty();
        let finished_badly = ledger.finish.as_str().eq_ignore_ascii_case("error");
        if http.is_none() && !ledger.failed && !exception && !finished_badly {
            return (None, None);
        }
        let words = [
            ledger.error.kind.as_str(),
            ledger.error.code.as_str(),
            ledger.error.status.as_str(),
            ledger.error.reason.as_str(),
            ledger.error.inner.as_str(),
            self.headers.error_type.as_str(),
        ];
        let failure = Failure {
            status: http.or(ledger.code),
            words,
            hint: if ledger.failed || http.is_some() {
                ledger.hint
            } else {
                Hint::None
            },
        };
        let (kind, finer) = classify(&failure);
        let order = [words[1], words[0], words[2], words[5]];
        let named = order.iter().find(|word| is_name(word));
        let detail = finer.or(named.copied()).map(str::to_owned);
        (Some(kind), detail)
    }

    /// The cost that the provider charged: where one's own key paid, the upstream's share is on top.
    fn cost(&self) -> Option<callmeter_core::PicoUsd> {
        let costs = &self.ledger.costs;
        match (costs.cost, costs.upstream, costs.byok) {
            (Some(cost), Some(upstream), Some(true)) => cost.checked_add(upstream),
            (cost, _, _) => cost,
        }
    }
}

fn owned(text: &Text) -> Option<String> {
    text.filled()
        .map(|text| callmeter_core::clean_text(text, 128).0.into_owned())
}

/// Whether a word is a code or a type, not a sentence.
fn is_name(word: &str) -> bool {
    !word.is_empty()
        && word.len() <= 64
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}
