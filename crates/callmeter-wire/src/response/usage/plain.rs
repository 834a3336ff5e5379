//! Formats with two plain counts: Ollama, llama.cpp, Llama and Titan on Bedrock, watsonx, LM Studio.
//!
//! Ollama leaves zeros out, so an absent count of the prompt stays absent: it may have been cached as a
//! whole. Sources: ollama `api/types.go`, llama.cpp `tools/server/README.md`, LM Studio's REST reference.

use super::{Context, Parts, sum};
use crate::Api;
use crate::json::{Counts, Key};

pub(crate) fn counts(c: &Counts, context: Context<'_>) -> Parts {
    let mut parts = Parts::of("plain");
    parts.input = c.get(Key::PlainInput);
    parts.output = c.get(Key::PlainOutput);
    parts.reasoning = c.get(Key::PlainReasoning);
    if context.api == Api::LlamaCompletion {
        parts.cache_read = c.get(Key::TimingCache).or(c.get(Key::TopCached));
    }
    parts
}

/// llama.cpp's timings, where there is no usage object.
pub(crate) fn timings(c: &Counts) -> Parts {
    let mut parts = Parts::of("timings");
    parts.cache_read = c.get(Key::TimingCache);
    parts.input = c
        .get(Key::TimingPrompt)
        .and_then(|fresh| sum(&[Some(fresh), parts.cache_read]));
    parts.output = c.get(Key::TimingPredicted);
    parts
}
