//! Cohere's shape: real tokens and billed units side by side.
//!
//! `tokens` is what the model read and wrote, `billed_units` what is charged, often far less because the
//! preamble is free. Tokens come from the former; where it is missing the latter is all there is.
//! Source: cohere-python's types.

use super::{Parts, sum};
use crate::json::{Counts, Key};

pub(crate) fn tokens(c: &Counts) -> Parts {
    let mut parts = Parts::of("cohere");
    let billed = sum(&[c.get(Key::BilledInput), c.get(Key::BilledImage)]);
    parts.input = c.get(Key::CohereInput).or(billed);
    parts.output = c.get(Key::CohereOutput).or(c.get(Key::BilledOutput));
    parts.cache_read = c.get(Key::CohereCached).or(c.get(Key::TopCached));
    parts.reasoning = c.get(Key::CohereReasoning);
    parts.image_in = c.get(Key::CohereImage).or(c.get(Key::BilledImage));
    parts
}
