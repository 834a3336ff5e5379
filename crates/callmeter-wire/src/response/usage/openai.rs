//! OpenAI's two shapes, and everyone's who copies them.
//!
//! Input includes cached tokens, output includes reasoning; where a compatible server does otherwise, its
//! total tells. Sources: openai-python `completion_usage.py`, `response_usage.py`; the compatible
//! providers' references.

use super::referee::{self, is_gemini};
use super::{Context, Parts, split};
use crate::json::{Counts, Key};

/// `prompt_tokens`, `completion_tokens`.
pub(crate) fn chat(c: &Counts, context: Context<'_>) -> Parts {
    let mut parts = Parts::of("openai_chat");
    parts.input = c.get(Key::Prompt);
    parts.output = c.get(Key::Completion);
    if parts.input.is_none() && parts.output.is_none() {
        // Embeddings that send a total alone: all of it was read.
        parts.input = c.get(Key::Total);
    }
    let hit = c.get(Key::CacheHit).or(c.get(Key::AnthropicRead));
    let cached = c.get(Key::Cached).or(c.get(Key::TopCached));
    // llama.cpp says the same in its timings, in older versions there alone.
    parts.cache_read = cached.or(hit).or(c.get(Key::TimingCache));
    // Gateways that add Anthropic's names beside mean the same tokens.
    parts.cache_write = c.get(Key::CacheWrite).or(c.get(Key::AnthropicWrite));
    details(&mut parts, c);
    lifetimes(&mut parts, c);
    referee::apply(&mut parts, c.get(Key::Total), context.model);
    if context.provider == Some("vercel_gateway")
        && is_gemini(context.model)
        && parts.notes.is_empty()
    {
        // This gateway leaves Gemini's thinking out of both the completion and the total.
        if let (Some(output), Some(thought)) = (parts.output, parts.reasoning.filter(|n| *n > 0)) {
            parts.output = Some(output.saturating_add(thought));
            parts.notes.push("+reasoning");
        }
    }
    parts
}

/// `input_tokens`, `output_tokens` with details: Responses, images, transcriptions.
pub(crate) fn responses(c: &Counts, context: Context<'_>) -> Parts {
    let mut parts = Parts::of("openai_responses");
    parts.input = c.get(Key::Input);
    parts.output = c.get(Key::Output);
    parts.cache_read = c
        .get(Key::Cached)
        .or(c.get(Key::AnthropicRead))
        .or(c.get(Key::TopCached));
    parts.cache_write = c.get(Key::CacheWrite).or(c.get(Key::AnthropicWrite));
    details(&mut parts, c);
    lifetimes(&mut parts, c);
    referee::apply(&mut parts, c.get(Key::Total), context.model);
    parts
}

fn details(parts: &mut Parts, c: &Counts) {
    parts.reasoning = c
        .get(Key::Reasoning)
        .or(c.get(Key::TopReasoning))
        .or(c.get(Key::Thinking));
    parts.audio_in = c.get(Key::AudioIn);
    parts.audio_out = c.get(Key::AudioOut);
    parts.image_in = c.get(Key::ImageIn);
    parts.image_out = c.get(Key::ImageOut);
    parts.video_in = c.get(Key::VideoIn);
}

/// Anthropic's split, where a gateway sends it beside: of nothing written it says nothing.
fn lifetimes(parts: &mut Parts, c: &Counts) {
    if parts.cache_write.is_some_and(|written| written > 0) {
        split(
            parts,
            [
                c.get(Key::Write5m),
                c.get(Key::Write1h),
                c.get(Key::Write24h),
            ],
        );
    }
}
