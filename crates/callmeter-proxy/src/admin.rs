//! What a host mounts beside the traffic: `/healthz`, `/metrics` and their like.
//!
//! Asked before a path is looked up among the routes, and only by requests that came to the proxy itself.

use std::borrow::Cow;

/// Answers requests about the proxy instead of through it.
pub trait Admin: Send + Sync + 'static {
    /// The answer to a request for `path` (no query), or `None` where it is none of its own. Runs on the
    /// proxy's runtime and must not block.
    fn answer(&self, method: &str, path: &str) -> Option<AdminAnswer>;
}

/// An answer of an [`Admin`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The `content-type`.
    pub content_type: Cow<'static, str>,
    /// The body.
    pub body: String,
}

impl AdminAnswer {
    /// A plain text with status 200.
    pub fn text(body: impl Into<String>) -> Self {
        Self {
            status: 200,
            content_type: Cow::Borrowed("text/plain; charset=utf-8"),
            body: body.into(),
        }
    }
}
