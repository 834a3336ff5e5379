//! `callmeter inspect --jsonl`: a recorded exchange in, what a reader makes of it out.
//!
//! A line holds `request` (method, host, path, query, model, stream, include_usage) and `response` (status,
//! content_type, headers, body_encoding, body); everything else in it is left alone. The answer has the
//! names of the exchanges' `expected`, and the same content whatever the size of the pieces the body
//! is fed in.

use callmeter_core::Timestamp;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::framing::decode_base64;
use crate::{Reading, RequestFacts, ResponseReader};

/// Why a line could not be inspected. No message holds anything of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InspectError {
    /// The line is no JSON object.
    #[error("not a JSON object (column {column}); expected one exchange a line")]
    NotAnObject {
        /// Where the text stops being JSON, from 1.
        column: usize,
    },
    /// A part is missing or of the wrong type.
    #[error("`{0}` is missing or of the wrong type; see the reference page on exchanges")]
    Part(&'static str),
    /// The body's encoding is none of the two.
    #[error("`response.body_encoding` is neither utf8 nor base64")]
    Encoding,
}

/// An exchange and what was read of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// What the request said.
    pub facts: RequestFacts,
    /// What the response said.
    pub reading: Reading,
    /// When the provider answered, by the response's `date` header.
    pub answered_at: Option<Timestamp>,
}

/// Reads one line; the body is fed whole, or in pieces of `chunk` bytes.
///
/// # Errors
/// When the line is no exchange.
///
/// ```
/// let line = r#"{"request":{"method":"POST","host":"api.openai.com","path":"/v1/embeddings"},
///     "response":{"status":200,"body":"{\"usage\":{\"prompt_tokens\":8,\"total_tokens\":8}}"}}"#;
/// let inspection = callmeter_wire::inspect(line, Some(1))?;
/// assert_eq!(inspection.reading.usage.input_tokens, Some(8));
/// assert_eq!(inspection.to_json()["output_tokens"], serde_json::Value::Null);
/// # Ok::<(), callmeter_wire::InspectError>(())
/// ```
pub fn inspect(line: &str, chunk: Option<usize>) -> Result<Inspection, InspectError> {
    let mut exchange: Value =
        serde_json::from_str(line).map_err(|error| InspectError::NotAnObject {
            column: error.column(),
        })?;
    let exchange = exchange
        .as_object_mut()
        .ok_or(InspectError::NotAnObject { column: 1 })?;
    let facts = facts(&part(exchange, "request")?)?;
    let mut response = part(exchange, "response")?;
    let body = body(&mut response)?;
    let answered_at = response
        .get("headers")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .find(|(name, _)| name.eq_ignore_ascii_case("date"))
        .and_then(|(_, value)| http_date(value.as_str()?));
    let reading = reading(&facts, &response, &body, chunk);
    Ok(Inspection {
        facts,
        reading,
        answered_at,
    })
}

/// Reads one line and answers with one: [`inspect`] for filters.
///
/// # Errors
/// When the line is no exchange.
pub fn inspect_line(line: &str, chunk: Option<usize>) -> Result<String, InspectError> {
    inspect(line, chunk).map(|inspection| Value::Object(inspection.to_json()).to_string())
}

/// Takes a part out of the exchange: a body is large and is not copied.
fn part(
    of: &mut Map<String, Value>,
    name: &'static str,
) -> Result<Map<String, Value>, InspectError> {
    match of.remove(name) {
        Some(Value::Object(part)) => Ok(part),
        _ => Err(InspectError::Part(name)),
    }
}

fn body(response: &mut Map<String, Value>) -> Result<Vec<u8>, InspectError> {
    match (response.remove("body"), response.get("body_encoding")) {
        (None | Some(Value::Null), _) => Ok(Vec::new()),
        (Some(Value::String(body)), None | Some(Value::Null)) => Ok(body.into_bytes()),
        (Some(Value::String(body)), Some(Value::String(encoding))) => match encoding.as_str() {
            "utf8" => Ok(body.into_bytes()),
            "base64" => Ok(decode_base64(&body)),
            _ => Err(InspectError::Encoding),
        },
        _ => Err(InspectError::Part("response.body")),
    }
}

/// `Wed, 19 Aug 2026 14:34:18 GMT`, the one form of a date that HTTP lets a server send.
fn http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let mut parts = text.split_once(", ")?.1.split(' ');
    let (day, month) = (parts.next()?, parts.next()?);
    let (year, time) = (parts.next()?, parts.next()?);
    if parts.next() != Some("GMT") || month.len() != 3 {
        return None;
    }
    let at = MONTHS.find(month).filter(|at| at % 3 == 0)?;
    let month = at.checked_div(3)?.saturating_add(1);
    format!("{year}-{month:02}-{day}T{time}Z").parse().ok()
}

fn facts(request: &Map<String, Value>) -> Result<RequestFacts, InspectError> {
    let text = |name: &str| request.get(name).and_then(Value::as_str);
    let method = text("method").unwrap_or("POST");
    let path = text("path").ok_or(InspectError::Part("request.path"))?;
    let mut facts = RequestFacts::from_line(method, path);
    if let Some(host) = text("host") {
        facts = facts.with_host(host);
    }
    // The recorder took the model from the body or, where that has none, from the path.
    if let Some(model) = text("model").filter(|model| !model.is_empty()) {
        facts.model = Some(model.to_owned());
    }
    let flag = |name: &str| request.get(name).and_then(Value::as_bool);
    facts.streaming = flag("stream").or(facts.streaming);
    facts.asks_for_usage = flag("include_usage");
    Ok(facts)
}

fn reading(
    facts: &RequestFacts,
    response: &Map<String, Value>,
    body: &[u8],
    chunk: Option<usize>,
) -> Reading {
    let status = response
        .get("status")
        .and_then(Value::as_u64)
        .and_then(|status| u16::try_from(status).ok());
    let content_type = response.get("content_type").and_then(Value::as_str);
    let headers = response.get("headers").and_then(Value::as_object);
    // The recordings' content encodings are removed already, whatever a header may still say.
    let listed = headers
        .into_iter()
        .flatten()
        .filter(|(name, _)| !name.eq_ignore_ascii_case("content-encoding"))
        .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    let head = content_type.map(|value| ("content-type", value));
    let mut reader = ResponseReader::new(facts, status, listed.chain(head));
    match chunk {
        Some(size) => body
            .chunks(size.max(1))
            .for_each(|piece| reader.push(piece)),
        None => reader.push(body),
    }
    reader.finish()
}

impl Inspection {
    /// The answer's fields, with the names of the exchanges' `expected` and those of a row beside them.
    pub fn to_json(&self) -> Map<String, Value> {
        let Self { facts, reading, .. } = self;
        let usage = &reading.usage;
        let mut out = Map::new();
        let mut put = |name: &str, value: Value| {
            out.insert(name.to_owned(), value);
        };
        // A host that is nobody's is said to be unknown; no host at all says nothing.
        let named = facts.host.as_ref().map(|_| "unknown");
        put("provider", reading.provider.or(named).into());
        put("api", reading.api.as_str().into());
        put("operation", reading.operation().as_str().into());
        put("is_call", reading.is_call.into());
        put("streaming", reading.streaming.into());
        put("stream_complete", reading.stream_complete.into());
        put("model_requested", facts.model.clone().into());
        put("model_answered", reading.model.clone().into());
        for (name, count) in usage.tokens() {
            put(name, count.into());
        }
        put("finish_reason", reading.finish_reason.clone().into());
        put(
            "finish",
            reading.finish().map(|finish| finish.as_str()).into(),
        );
        put("response_id", reading.response_id.clone().into());
        put(
            "provider_request_id",
            reading.provider_request_id.clone().into(),
        );
        put("service_tier", reading.service_tier.clone().into());
        let region = facts.region.clone().or_else(|| reading.region.clone());
        put("region", region.into());
        put("billing", facts.billing.as_str().into());
        put("http_status", reading.http_status.into());
        put(
            "error_kind",
            reading.error_kind.map(|kind| kind.as_str()).into(),
        );
        put("error_detail", reading.error_detail.clone().into());
        put("usage_source", reading.usage_source().as_str().into());
        put("usage_rule", usage.usage_rule.clone().into());
        let extra = usage.usage_extra.iter().flatten();
        let extra: Map<String, Value> = extra
            .map(|(name, count)| (name.clone(), (*count).into()))
            .collect();
        put("usage_extra", extra.into());
        let cost = reading.reported_cost.map(|cost| cost.to_string());
        put("reported_cost_usd", cost.into());
        put("flags", reading.flags.names().into());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_an_answer_is_read_in_the_one_form_that_http_has() {
        let at = http_date("Wed, 19 Aug 2026 14:34:18 GMT").unwrap();
        assert_eq!(at.to_string(), "2026-08-19T14:34:18.000000Z");
        for text in [
            "",
            "2026-08-19",
            "Wed, 19 Aug 2026 14:34:18 CET",
            "Wed, 31 Feb 2026 14:34:18 GMT",
            "x, 1 anF 2026 1:1:1 GMT",
        ] {
            assert_eq!(http_date(text), None, "{text}");
        }
    }
}
