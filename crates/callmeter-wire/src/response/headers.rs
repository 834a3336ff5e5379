//! What is read of a response's headers: ids, token counts, error types; never a key or a cookie.
//!
//! Sources: Bedrock's and Text Generation Inference's documented count headers, and the request-id headers
//! that the providers name in their error references.

use crate::json::{ReadCount, read_count};
use crate::text::Text;

/// The ids of a request, the first that is there counts.
const REQUEST_IDS: &[&str] = &[
    "request-id",
    "x-amzn-requestid",
    "apim-request-id",
    "mistral-correlation-id",
    "x-generation-id",
    "x-request-id",
    "x-groq-request-id",
    "nvcf-reqid",
    "x-ms-request-id",
    "x-cloud-trace-context",
    "cf-ray",
];

/// The headers that matter.
#[derive(Clone, Copy, Default)]
pub(crate) struct Headers {
    pub(crate) content_type: Text,
    pub(crate) content_encoding: Text,
    pub(crate) request_id: Text,
    request_id_rank: usize,
    pub(crate) error_type: Text,
    pub(crate) service_tier: Text,
    pub(crate) provider: Option<&'static str>,
    pub(crate) input: Option<u64>,
    pub(crate) output: Option<u64>,
    pub(crate) cache_read: Option<u64>,
    pub(crate) cache_write: Option<u64>,
    pub(crate) compute_milli: Option<u64>,
}

impl Headers {
    /// Reads the headers; names may have any case.
    pub(crate) fn of<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut read = Self {
            request_id_rank: usize::MAX,
            ..Self::default()
        };
        for (name, value) in headers {
            read.take(name, value);
        }
        read
    }

    fn take(&mut self, name: &str, value: &str) {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let count = || match read_count(value.as_bytes()) {
            ReadCount::Count(count) => Some(count),
            _ => None,
        };
        if is("content-type") {
            self.content_type.set(value.as_bytes());
        } else if is("content-encoding") {
            self.content_encoding.set(value.as_bytes());
        } else if is("x-amzn-errortype") {
            // `ThrottlingException:http://…`
            let word = value.split(':').next().unwrap_or_default();
            self.error_type.set(word.as_bytes());
        } else if is("x-amzn-bedrock-input-token-count") || is("x-prompt-tokens") {
            self.input = count();
        } else if is("x-amzn-bedrock-output-token-count") || is("x-generated-tokens") {
            self.output = count();
        } else if is("x-amzn-bedrock-cache-read-input-token-count") {
            self.cache_read = count();
        } else if is("x-amzn-bedrock-cache-write-input-token-count") {
            self.cache_write = count();
        } else if is("x-amzn-bedrock-service-tier") {
            self.service_tier.set(value.as_bytes());
        } else if is("x-total-time") {
            self.compute_milli = count();
        } else if let Some(rank) = REQUEST_IDS.iter().position(|known| is(known))
            && rank < self.request_id_rank
            && !value.is_empty()
        {
            self.request_id_rank = rank;
            self.request_id.set(value.as_bytes());
        }
        self.provider = self.provider.or_else(|| evidence(name, value));
    }
}

/// Whose header it is, where only one provider sends it.
fn evidence(name: &str, value: &str) -> Option<&'static str> {
    let begins = |known: &str| {
        name.get(..known.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(known))
    };
    if begins("anthropic-ratelimit-") {
        Some("anthropic")
    } else if begins("x-groq-") {
        Some("groq")
    } else if begins("mistral-correlation-id") {
        Some("mistral")
    } else if begins("x-amzn-bedrock-") {
        Some("aws_bedrock")
    } else if begins("azureml-model-session") {
        Some("azure_openai")
    } else if name.eq_ignore_ascii_case("server") && value.starts_with("llama.cpp") {
        Some("llamacpp")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_providers_own_id_wins_over_a_proxys() {
        let headers = Headers::of([
            ("CF-Ray", "ray"),
            ("X-Request-Id", "b"),
            ("request-id", "a"),
        ]);
        assert_eq!(headers.request_id.as_str(), "a");
        let headers = Headers::of([("x-amzn-errortype", "ThrottlingException:http://internal/")]);
        assert_eq!(headers.error_type.as_str(), "ThrottlingException");
    }
}
