//! Gemini's and Vertex AI's shapes: thinking and tool results stand beside the counts.
//!
//! Total = prompt + candidates + tool use + thoughts, and the prompt includes cached content. Zeros are left
//! out, so an absent count beside a total is what the total leaves for it. Sources: python-genai
//! `types.py`, the Interactions reference.

use super::{Parts, sum};
use crate::json::{Counts, Key};

/// `usageMetadata`.
pub(crate) fn usage_metadata(c: &Counts) -> Parts {
    let mut parts = Parts::of("gemini");
    let prompt = c.get(Key::GeminiPrompt);
    parts.input = prompt.and_then(|prompt| sum(&[Some(prompt), c.get(Key::GeminiToolUse)]));
    parts.output = sum(&[c.get(Key::GeminiCandidates), c.get(Key::GeminiThoughts)]);
    parts.cache_read = c.get(Key::GeminiCached);
    parts.reasoning = c.get(Key::GeminiThoughts);
    parts.audio_in = c.get(Key::GeminiAudioIn);
    parts.audio_out = c.get(Key::GeminiAudioOut);
    parts.image_in = c.get(Key::GeminiImageIn);
    parts.image_out = c.get(Key::GeminiImageOut);
    parts.video_in = c.get(Key::GeminiVideoIn);
    if let (Some(total), Some(input)) = (c.get(Key::GeminiTotal), parts.input) {
        let left = total.checked_sub(input);
        match (left, parts.output) {
            (Some(left), None) if left > 0 => parts.output = Some(left),
            (Some(left), Some(output)) if left > output => {
                parts.output = Some(left);
                parts.notes.push("+hidden");
            }
            (None, _) => parts.notes.push("?total"),
            _ => {}
        }
    }
    parts
}

/// The Interactions API.
pub(crate) fn interactions(c: &Counts) -> Parts {
    let mut parts = Parts::of("interactions");
    parts.input = c
        .get(Key::InteractionInput)
        .and_then(|input| sum(&[Some(input), c.get(Key::InteractionToolUse)]));
    parts.reasoning = c.get(Key::InteractionThought);
    parts.output = sum(&[c.get(Key::InteractionOutput), parts.reasoning]);
    parts.cache_read = c.get(Key::InteractionCached);
    parts.audio_in = c.get(Key::InteractionAudioIn);
    parts.image_in = c.get(Key::GeminiImageIn);
    parts.video_in = c.get(Key::GeminiVideoIn);
    parts
}
