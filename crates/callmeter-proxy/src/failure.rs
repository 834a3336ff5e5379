//! What becomes of a request that got no answer: the word in its row, and the answer to its client.
//!
//! A direct client would see its connection fail; through a proxy it sees a status. Neither holds anything of the
//! request but the upstream's host.

use callmeter_core::ErrorKind;
use hyper::StatusCode;

use crate::answer::Refusal;
use crate::body::BodyError;
use crate::config::Upstream;
use crate::dial::DialError;
use crate::pool::SendError;

/// The answer to a request whose body did not come to its end.
pub(crate) fn body_refusal(error: BodyError) -> Refusal {
    let (status, code) = match error {
        BodyError::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_long"),
        BodyError::TimedOut => (StatusCode::REQUEST_TIMEOUT, "body_timed_out"),
        BodyError::Broken => (StatusCode::BAD_REQUEST, "body_broken"),
    };
    Refusal::new(status, code, error.to_string())
}

/// The kind of failure that the row names.
pub(crate) fn kind_of(error: SendError) -> ErrorKind {
    match error {
        SendError::Dial(DialError::Timeout) => ErrorKind::Timeout,
        SendError::Dial(_) | SendError::Broken => ErrorKind::Network,
        SendError::Body(BodyError::TooLong) => ErrorKind::InvalidRequest,
        SendError::Body(BodyError::TimedOut) => ErrorKind::Timeout,
        SendError::Body(BodyError::Broken) => ErrorKind::Cancelled,
    }
}

/// The answer to a request that the last upstream did not answer.
pub(crate) fn refusal_of(error: SendError, upstream: &Upstream) -> Refusal {
    let host = upstream.url.authority.as_str();
    match error {
        SendError::Body(error) => body_refusal(error),
        SendError::Dial(DialError::Forbidden) => Refusal::new(
            StatusCode::FORBIDDEN,
            "address_not_allowed",
            DialError::Forbidden.to_string(),
        ),
        SendError::Dial(error @ DialError::Timeout) => Refusal::new(
            StatusCode::GATEWAY_TIMEOUT,
            "upstream_timed_out",
            format!("cannot reach {host}: {error}"),
        ),
        SendError::Dial(error) => Refusal::new(
            StatusCode::BAD_GATEWAY,
            "upstream_unreachable",
            format!("cannot reach {host}: {error}"),
        ),
        SendError::Broken => Refusal::new(
            StatusCode::BAD_GATEWAY,
            "upstream_broken",
            format!("{host} closed the connection without an answer"),
        ),
    }
}
