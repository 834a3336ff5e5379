//! What a call used: totals, their parts, and other billed units.
//!
//! `input_tokens` and `output_tokens` are totals; every other token count is a part of one of them.
//! Absent is `None`, never 0 (promise CM-7).

use std::collections::BTreeMap;

use crate::{TokenCount, UsageSource};

/// The counts of one call.
///
/// ```
/// use callmeter_core::Usage;
/// let usage = Usage::of(1_200, 340);
/// assert_eq!((usage.input_tokens, usage.cache_read_tokens), (Some(1_200), None));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// All that the model read, cached parts included.
    pub input_tokens: Option<u64>,
    /// All that the model wrote, reasoning included.
    pub output_tokens: Option<u64>,
    /// Input served from the provider's cache.
    pub cache_read_tokens: Option<u64>,
    /// Input written to the provider's cache, of any lifetime.
    pub cache_write_tokens: Option<u64>,
    /// Input written to a cache of five minutes.
    pub cache_write_5m_tokens: Option<u64>,
    /// Input written to a cache of one hour.
    pub cache_write_1h_tokens: Option<u64>,
    /// Input written to a cache of one day.
    pub cache_write_24h_tokens: Option<u64>,
    /// Output that was reasoning.
    pub reasoning_tokens: Option<u64>,
    /// Input that was audio.
    pub audio_input_tokens: Option<u64>,
    /// Output that was audio.
    pub audio_output_tokens: Option<u64>,
    /// Input that was images.
    pub image_input_tokens: Option<u64>,
    /// Output that was images.
    pub image_output_tokens: Option<u64>,
    /// Input that was video.
    pub video_input_tokens: Option<u64>,
    /// Other billed units by name: searches, seconds, images, pages, characters. A unit that comes in
    /// fractions is given in thousandths, under a name that ends in `_milli`.
    pub usage_extra: Option<BTreeMap<String, u64>>,
    /// How the figures were combined, by the reader's name for it.
    pub usage_rule: Option<String>,
    /// Where the figures come from.
    pub usage_source: Option<UsageSource>,
}

impl Usage {
    /// Input and output tokens; either may be an integer of any type or an `Option` of one. A count
    /// that is not to be believed stays absent.
    pub fn of(input: impl Into<TokenCount>, output: impl Into<TokenCount>) -> Self {
        Self {
            input_tokens: input.into().known(),
            output_tokens: output.into().known(),
            ..Self::default()
        }
    }

    /// The token counts with their names, in the record's order.
    pub fn tokens(&self) -> [(&'static str, Option<u64>); 13] {
        [
            ("input_tokens", self.input_tokens),
            ("output_tokens", self.output_tokens),
            ("cache_read_tokens", self.cache_read_tokens),
            ("cache_write_tokens", self.cache_write_tokens),
            ("cache_write_5m_tokens", self.cache_write_5m_tokens),
            ("cache_write_1h_tokens", self.cache_write_1h_tokens),
            ("cache_write_24h_tokens", self.cache_write_24h_tokens),
            ("reasoning_tokens", self.reasoning_tokens),
            ("audio_input_tokens", self.audio_input_tokens),
            ("audio_output_tokens", self.audio_output_tokens),
            ("image_input_tokens", self.image_input_tokens),
            ("image_output_tokens", self.image_output_tokens),
            ("video_input_tokens", self.video_input_tokens),
        ]
    }

    /// Whether anything was counted.
    pub fn is_empty(&self) -> bool {
        self.tokens().iter().all(|(_, count)| count.is_none()) && self.usage_extra.is_none()
    }
}
