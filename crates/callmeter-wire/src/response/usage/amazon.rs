//! Bedrock's own shapes: Converse, the metrics of invoke streams, the count headers.
//!
//! In all of them the input excludes what was read from and written to the cache. Of several sources
//! the vendor's own body comes first, metrics and headers only where it has no counts. Source: botocore's
//! service model `bedrock-runtime/2023-09-30`.

use super::super::headers::Headers;
use super::{Parts, split, sum};
use crate::json::{Counts, Key};

/// `inputTokens`, `outputTokens`: Converse, and Nova's own format.
pub(crate) fn converse(c: &Counts) -> Parts {
    let mut parts = exclusive(
        "converse",
        c.get(Key::ConverseInput),
        c.get(Key::ConverseOutput),
        c.get(Key::ConverseRead),
        c.get(Key::ConverseWrite),
    );
    split(
        &mut parts,
        [c.get(Key::Converse5m), c.get(Key::Converse1h), None],
    );
    parts
}

/// `amazon-bedrock-invocationMetrics`.
pub(crate) fn metrics(c: &Counts) -> Parts {
    exclusive(
        "bedrock_metrics",
        c.get(Key::MetricInput),
        c.get(Key::MetricOutput),
        c.get(Key::MetricRead),
        c.get(Key::MetricWrite),
    )
}

/// The count headers, which Text Generation Inference has too.
pub(crate) fn headers(headers: &Headers) -> Option<Parts> {
    if headers.input.is_none() && headers.output.is_none() {
        return None;
    }
    Some(exclusive(
        "bedrock_metrics",
        headers.input,
        headers.output,
        headers.cache_read,
        headers.cache_write,
    ))
}

fn exclusive(
    rule: &'static str,
    input: Option<u64>,
    output: Option<u64>,
    read: Option<u64>,
    write: Option<u64>,
) -> Parts {
    let mut parts = Parts::of(rule);
    parts.input = input.and_then(|fresh| sum(&[Some(fresh), read, write]));
    parts.output = output;
    parts.cache_read = read;
    parts.cache_write = write;
    parts
}
