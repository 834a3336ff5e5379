//! The reader of one request.

use callmeter_core::Billing;

use super::form::Form;
use super::paths::RequestNode;
use super::{RequestFacts, credential};
use crate::json::{ReadCount, Scalar, Scanner, Visit, read_count};
use crate::text::Text;

/// Reads a request as it passes: the head at once, the body in any pieces.
///
/// ```
/// use callmeter_wire::RequestReader;
/// let head = [("host", "api.openai.com"), ("content-type", "application/json")];
/// let mut reader = RequestReader::new("POST", "/v1/chat/completions", head);
/// reader.push(br#"{"messages":["never looked at"],"model":"gpt-5","stream":true}"#);
/// let facts = reader.finish();
/// assert_eq!((facts.provider, facts.model.as_deref()), (Some("openai"), Some("gpt-5")));
/// assert_eq!((facts.streaming, facts.asks_for_usage), (Some(true), None));
/// ```
pub struct RequestReader {
    facts: RequestFacts,
    scanner: Box<Scanner<RequestNode>>,
    form: Option<Box<Form>>,
    body: Body,
}

#[derive(Default)]
struct Body {
    model: Text,
    tier: Text,
    fast: bool,
    streaming: Option<bool>,
    asks_for_usage: Option<bool>,
    images: Option<u64>,
    /// The first document ended: a body has one.
    done: bool,
}

impl RequestReader {
    /// Begins with the request line and the headers. Header names may have any case; values of
    /// credentials are compared and forgotten.
    pub fn new<'a>(
        method: &str,
        target: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let mut facts = RequestFacts::from_line(method, target);
        let mut form = None;
        for (name, value) in headers {
            if name.eq_ignore_ascii_case("host") || name == ":authority" {
                facts = facts.with_host(value);
            } else if name.eq_ignore_ascii_case("content-type") {
                let is_form = value
                    .get(..19)
                    .is_some_and(|head| head.eq_ignore_ascii_case("multipart/form-data"));
                form = is_form.then(|| Box::new(Form::new()));
            } else if facts.billing == Billing::Unknown {
                facts.billing = credential::billing(name, value).unwrap_or(Billing::Unknown);
            }
        }
        if facts.billing == Billing::Unknown && credential::is_in_query(target) {
            facts.billing = Billing::Metered;
        }
        facts.settle();
        Self {
            facts,
            scanner: Box::new(Scanner::new(RequestNode::Root)),
            form,
            body: Body::default(),
        }
    }

    /// What the request line and the headers say; the body may yet say more.
    pub const fn facts(&self) -> &RequestFacts {
        &self.facts
    }

    /// The next bytes of the body, its content encoding already removed.
    pub fn push(&mut self, bytes: &[u8]) {
        match &mut self.form {
            Some(form) => form.feed(bytes),
            None => {
                if !self.body.done {
                    self.scanner.feed(bytes, &mut self.body);
                }
            }
        }
    }

    /// The facts; what the body did not say stays unknown.
    pub fn finish(mut self) -> RequestFacts {
        if let Some(form) = &self.form {
            self.body.model = form.model;
            self.body.streaming = form.streaming;
        }
        let body = &self.body;
        let facts = &mut self.facts;
        if let Some(model) = body.model.filled() {
            facts.model = Some(model.to_owned());
        }
        facts.streaming = body.streaming.or(facts.streaming);
        facts.asks_for_usage = body.asks_for_usage;
        let fast = body.fast.then_some("fast");
        facts.service_tier = fast.or(body.tier.filled()).map(str::to_owned);
        if facts.api == super::Api::Images {
            facts.units.insert("image".into(), body.images.unwrap_or(1));
        }
        self.facts
    }
}

impl std::fmt::Debug for RequestReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestReader")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

impl Visit<RequestNode> for Body {
    fn scalar(&mut self, node: RequestNode, value: Scalar<'_>) {
        if self.done {
            // What follows the document in the same piece is no more read than what comes later.
            return;
        }
        match (node, value) {
            (RequestNode::Model, Scalar::Text(text)) => self.model.set(text),
            (RequestNode::ServiceTier, Scalar::Text(text)) => self.tier.set(text),
            (RequestNode::Speed, Scalar::Text(text)) => self.fast = text == b"fast",
            (RequestNode::Stream, Scalar::Bool(on)) => self.streaming = Some(on),
            (RequestNode::IncludeUsage, Scalar::Bool(on)) => self.asks_for_usage = Some(on),
            (RequestNode::Images, Scalar::Number(text)) => {
                if let ReadCount::Count(count) = read_count(text) {
                    self.images = Some(count);
                }
            }
            _ => {}
        }
    }
    fn open(&mut self, _: RequestNode) {}
    fn close(&mut self, _: RequestNode) {}
    fn bytes(&mut self, _: RequestNode, _: &[u8]) {}
    fn document(&mut self) {
        self.done = true;
    }
}
