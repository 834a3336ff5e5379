//! What kind of failure a response tells of.
//!
//! Body first, status second: a 400 may be a context that is too long, a 429 an empty purse. Of an error's
//! message only a [`Hint`] is taken, by phrases the providers document; the text is never stored,
//! because it may quote the prompt. Sources: the providers' error references, botocore's
//! service model for Bedrock, and recorded responses.

use callmeter_core::ErrorKind;

/// What an error's message tells beyond its type and code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Hint {
    #[default]
    None,
    ContextLength,
    ContentFilter,
    BadKey,
    Quota,
    Overloaded,
    Timeout,
}

impl Hint {
    pub(crate) const fn or(self, other: Self) -> Self {
        match self {
            Self::None => other,
            known => known,
        }
    }

    /// Looks at the beginning of a message, at most 512 bytes of it.
    pub(crate) fn of(message: &[u8]) -> Self {
        let mut text = [0_u8; 512];
        let len = message.len().min(text.len());
        for (slot, byte) in text.iter_mut().zip(message) {
            *slot = byte.to_ascii_lowercase();
        }
        let text = text.get(..len).unwrap_or_default();
        let has = |phrase: &str| memchr::memmem::find(text, phrase.as_bytes()).is_some();
        let any = |phrases: &[&str]| phrases.iter().any(|phrase| has(phrase));
        if any(&[
            "prompt is too long",
            "prompt too long",
            "max context length",
            "maximum context length",
            "context length exceeded",
            "context_length_exceeded",
            "context window",
            "exceeds the context",
            "exceeds the available context size",
            "exceed context limit",
            "input is too long",
            "too many input tokens",
            "input length exceeds",
            "too many tokens",
            "larger than the max context size",
            "must have less than",
        ]) || (has("input token count") && has("exceeds"))
            || (has("inputs tokens") && has("max_new_tokens"))
        {
            Self::ContextLength
        } else if any(&[
            "content management policy",
            "content_filter",
            "content filter",
            "responsibleaipolicy",
            "content policy",
            "content_policy_violation",
            "rejected by the safety system",
            "flagged by moderation",
            "requires moderation",
            "guardrail",
        ]) {
            Self::ContentFilter
        } else if any(&[
            "api key not valid",
            "api_key_invalid",
            "incorrect api key",
            "invalid api key",
            "api key is invalid",
            "api key expired",
        ]) {
            Self::BadKey
        } else if any(&[
            "credit balance",
            "insufficient balance",
            "insufficient_quota",
            "insufficient credits",
            "exceeded your current quota, please check your plan and billing details. for more information on this error, read",
        ]) {
            Self::Quota
        } else if any(&[
            "overloaded",
            "no capacity",
            "capacity exceeded",
            "loading model",
            "model is loading",
        ]) {
            Self::Overloaded
        } else if any(&["deadline exceeded", "timed out", "request timeout"]) {
            Self::Timeout
        } else {
            Self::None
        }
    }
}

/// What is known of a failure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure<'a> {
    /// The HTTP status of the response, or the one that the body names inside a 200.
    pub(crate) status: Option<u16>,
    /// Type, code, status word, reason, exception: in this order, empty where there is none.
    pub(crate) words: [&'a str; 6],
    pub(crate) hint: Hint,
}

/// The kind, and a finer word where there is one.
pub(crate) fn classify(failure: &Failure<'_>) -> (ErrorKind, Option<&'static str>) {
    let status = failure.status.unwrap_or(0);
    let is = |known: &[&str]| {
        failure
            .words
            .iter()
            .any(|word| known.iter().any(|known| word.eq_ignore_ascii_case(known)))
    };
    let has = |part: &str| {
        failure.words.iter().any(|word| {
            word.as_bytes()
                .windows(part.len())
                .any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
        })
    };
    if failure.hint == Hint::ContentFilter
        || has("content_filter")
        || has("content_policy_violation")
        || has("ResponsibleAIPolicyViolation")
        || has("moderation")
        || has("guardrail")
    {
        return (ErrorKind::ContentFilter, None);
    }
    if has("context_length")
        || has("exceed_context_size")
        || is(&[
            "too_many_prompt_tokens",
            "string_above_max_length_context",
            "context_window_exceeded",
        ])
        || (failure.hint == Hint::ContextLength && !matches!(status, 401 | 403 | 404 | 429))
    {
        return (ErrorKind::ContextLength, None);
    }
    if failure.hint == Hint::Quota
        || status == 402
        || is(&[
            "insufficient_quota",
            "billing_error",
            "insufficient_balance",
            "billing_hard_limit_reached",
        ])
    {
        return (ErrorKind::RateLimit, Some("quota_exhausted"));
    }
    if has("overloaded") || is(&["UNAVAILABLE", "unavailable_error", "engine_overloaded"]) {
        return (ErrorKind::Overloaded, None);
    }
    if is(&["ServiceUnavailableException", "ModelNotReadyException"]) {
        return (ErrorKind::Overloaded, None);
    }
    if failure.hint == Hint::BadKey
        || is(&[
            "API_KEY_INVALID",
            "invalid_api_key",
            "authentication_error",
            "UNAUTHENTICATED",
        ])
        || has("UnrecognizedClient")
        || has("ExpiredToken")
    {
        return (ErrorKind::Auth, None);
    }
    if is(&[
        "permission_error",
        "PERMISSION_DENIED",
        "AccessDeniedException",
        "forbidden",
    ]) {
        return (ErrorKind::Auth, Some("permission"));
    }
    if is(&[
        "rate_limit_error",
        "rate_limit_exceeded",
        "RESOURCE_EXHAUSTED",
        "ThrottlingException",
        "RateLimitReached",
    ]) || has("TooManyRequests")
        || has("throttl")
    {
        return (ErrorKind::RateLimit, None);
    }
    if is(&[
        "DEADLINE_EXCEEDED",
        "gateway_timeout_error",
        "timeout_error",
        "ModelTimeoutException",
        "timeout",
    ]) {
        return (ErrorKind::Timeout, None);
    }
    if has("model_not_found")
        || is(&[
            "not_found_error",
            "NOT_FOUND",
            "DeploymentNotFound",
            "ResourceNotFoundException",
            "not_found",
        ])
    {
        return (ErrorKind::NotFound, None);
    }
    if is(&["request_too_large"]) {
        return (ErrorKind::InvalidRequest, Some("payload_too_large"));
    }
    match status {
        401 => (ErrorKind::Auth, None),
        403 => (ErrorKind::Auth, Some("permission")),
        404 => (ErrorKind::NotFound, None),
        408 | 504 | 524 => (ErrorKind::Timeout, None),
        413 => (ErrorKind::InvalidRequest, Some("payload_too_large")),
        424 => (ErrorKind::Server, None),
        429 if failure.hint == Hint::Overloaded => (ErrorKind::Overloaded, None),
        429 => (ErrorKind::RateLimit, None),
        503 | 529 => (ErrorKind::Overloaded, None),
        500..=599 => by_word(&is).unwrap_or((ErrorKind::Server, None)),
        400..=499 => (ErrorKind::InvalidRequest, None),
        // A failure inside a success: its words decide.
        _ => match failure.hint {
            Hint::Overloaded => (ErrorKind::Overloaded, None),
            Hint::Timeout => (ErrorKind::Timeout, None),
            _ => by_word(&is).unwrap_or((ErrorKind::Server, None)),
        },
    }
}

fn by_word(is: &dyn Fn(&[&str]) -> bool) -> Option<(ErrorKind, Option<&'static str>)> {
    is(&[
        "invalid_request_error",
        "invalid_request",
        "INVALID_ARGUMENT",
        "FAILED_PRECONDITION",
        "ValidationException",
        "validation",
        "invalid_prompt",
        "tool_use_failed",
    ])
    .then_some((ErrorKind::InvalidRequest, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, words: &[&str], message: &str) -> &'static str {
        let mut known = [""; 6];
        for (slot, word) in known.iter_mut().zip(words) {
            *slot = word;
        }
        let failure = Failure {
            status: Some(status),
            words: known,
            hint: Hint::of(message.as_bytes()),
        };
        classify(&failure).0.as_str()
    }

    #[test]
    fn the_documented_failures_have_their_kinds() {
        for (status, words, message, expected) in [
            (
                400,
                &["invalid_request_error", "context_length_exceeded"][..],
                "",
                "context_length",
            ),
            (
                400,
                &["invalid_request_error"],
                "prompt is too long: 3 tokens",
                "context_length",
            ),
            (
                400,
                &["INVALID_ARGUMENT"],
                "The input token count (9) exceeds the maximum",
                "context_length",
            ),
            (
                400,
                &["INVALID_ARGUMENT"],
                "API key not valid. Please pass a valid API key.",
                "auth",
            ),
            (
                400,
                &["content_filter", "ResponsibleAIPolicyViolation"],
                "",
                "content_filter",
            ),
            (
                400,
                &["invalid_request_error", "model_not_found"],
                "",
                "not_found",
            ),
            (
                400,
                &["invalid_request_error"],
                "Your credit balance is too low",
                "rate_limit",
            ),
            (402, &[], "", "rate_limit"),
            (408, &["ModelTimeoutException"], "", "timeout"),
            (413, &["request_too_large"], "", "invalid_request"),
            (424, &["ModelErrorException"], "", "server"),
            (429, &["insufficient_quota"], "", "rate_limit"),
            (429, &["overloaded"], "Model is overloaded", "overloaded"),
            (429, &["ModelNotReadyException"], "", "overloaded"),
            (429, &["ThrottlingException"], "", "rate_limit"),
            (500, &["api_error"], "", "server"),
            (503, &["UNAVAILABLE"], "", "overloaded"),
            (504, &["gateway_timeout_error"], "", "timeout"),
            (504, &["DEADLINE_EXCEEDED"], "", "timeout"),
            (529, &["overloaded_error"], "Overloaded", "overloaded"),
            (422, &[], "field required", "invalid_request"),
            (
                200,
                &["tool_use_failed", "invalid_request_error"],
                "",
                "invalid_request",
            ),
            (200, &["modelStreamErrorException"], "", "server"),
            (200, &["throttlingException"], "", "rate_limit"),
        ] {
            assert_eq!(
                kind(status, words, message),
                expected,
                "{status} {words:?} {message}"
            );
        }
    }
}
