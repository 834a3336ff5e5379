//! What is read of a request's body: names and switches at the top, never a message.

use crate::json::{Allow, Want};

/// A place in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestNode {
    Skip,
    Root,
    StreamOptions,
    Model,
    Stream,
    IncludeUsage,
    ServiceTier,
    Speed,
    Images,
}

impl Allow for RequestNode {
    const SKIP: Self = Self::Skip;

    fn child(self, key: &[u8]) -> Self {
        match (self, key) {
            (Self::Root, b"model" | b"model_id") => Self::Model,
            (Self::Root, b"stream") => Self::Stream,
            (Self::Root, b"stream_options") => Self::StreamOptions,
            (Self::Root, b"service_tier" | b"serviceTier") => Self::ServiceTier,
            (Self::Root, b"speed") => Self::Speed,
            (Self::Root, b"n") => Self::Images,
            (Self::StreamOptions, b"include_usage") => Self::IncludeUsage,
            _ => Self::Skip,
        }
    }

    fn element(self) -> Self {
        Self::Skip
    }

    fn want(self) -> Want {
        match self {
            Self::Skip | Self::Root | Self::StreamOptions => Want::Nothing,
            _ => Want::Value,
        }
    }
}
