//! Anthropic's shape: cached tokens stand beside `input_tokens`.
//!
//! `input_tokens` is only what follows the last cache breakpoint, so the input is the sum of three. Passes
//! of compaction stand outside the counts at the top and are added; an advisor's are another model's
//! and stay apart. Sources: Anthropic's prompt-caching page, anthropic-sdk-python `usage.py` and
//! `beta_usage.py`.

use super::super::draft::Passes;
use super::{Parts, split, sum};
use crate::json::{Counts, Key};

pub(crate) fn messages(c: &Counts, passes: &Passes) -> Parts {
    let mut parts = Parts::of("anthropic");
    parts.cache_read = c.get(Key::AnthropicRead);
    parts.cache_write = c.get(Key::AnthropicWrite);
    parts.input = c
        .get(Key::Input)
        .and_then(|fresh| sum(&[Some(fresh), parts.cache_read, parts.cache_write]));
    parts.output = c.get(Key::Output);
    parts.reasoning = c.get(Key::Thinking).or(c.get(Key::Reasoning));
    split(
        &mut parts,
        [
            c.get(Key::Write5m),
            c.get(Key::Write1h),
            c.get(Key::Write24h),
        ],
    );
    if passes.beside {
        let with = |total: Option<u64>, more: u64| total.map(|count| count.saturating_add(more));
        parts.input = with(parts.input, passes.beside_input);
        parts.output = with(parts.output, passes.beside_output);
        parts.cache_read = with(parts.cache_read, passes.beside_read);
        if passes.beside_write > 0 {
            parts.cache_write = with(parts.cache_write, passes.beside_write);
            // The split at the top does not cover the passes beside it.
            [parts.write_5m, parts.write_1h, parts.write_24h] = [None; 3];
        }
        parts.notes.push("+passes");
        parts.extra.push(("beside_input", passes.beside_input));
        parts.extra.push(("beside_output", passes.beside_output));
    }
    parts
}
