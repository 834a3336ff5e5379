//! From counts as they were sent to totals and their parts: one rule per shape.
//!
//! The shape is found first, by its keys, because gateways put one provider's shape over another's
//! semantics; then a reported total is the referee of what stands outside what. The rule that was
//! applied is named on the row (`usage_rule`), with a `+word` for each correction:
//!
//! ```text
//! openai_chat openai_responses anthropic converse bedrock_metrics gemini interactions cohere plain timings
//! +reasoning +audio +cache +hidden +passes   what stood outside the counts and was added
//! ?total                                     a total that no rule explains: as reported, to be doubted
//! ```

mod amazon;
mod anthropic;
mod cohere;
mod gemini;
mod openai;
mod plain;
mod referee;

use callmeter_core::{Flags, Usage, UsageSource};

use super::headers::Headers;
use super::ledger::Ledger;
use crate::Api;
use crate::json::{Counts, Key};

/// The counts of a call, before they become a [`Usage`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    pub(crate) input: Option<u64>,
    pub(crate) output: Option<u64>,
    pub(crate) cache_read: Option<u64>,
    pub(crate) cache_write: Option<u64>,
    pub(crate) write_5m: Option<u64>,
    pub(crate) write_1h: Option<u64>,
    pub(crate) write_24h: Option<u64>,
    pub(crate) reasoning: Option<u64>,
    pub(crate) audio_in: Option<u64>,
    pub(crate) audio_out: Option<u64>,
    pub(crate) image_in: Option<u64>,
    pub(crate) image_out: Option<u64>,
    pub(crate) video_in: Option<u64>,
    pub(crate) rule: &'static str,
    /// What stood outside and was added.
    pub(crate) notes: Vec<&'static str>,
    pub(crate) extra: Vec<(&'static str, u64)>,
}

impl Parts {
    pub(crate) fn of(rule: &'static str) -> Self {
        Self {
            rule,
            ..Self::default()
        }
    }
}

/// What the rules look at besides the counts.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) api: Api,
    pub(crate) provider: Option<&'static str>,
    pub(crate) model: &'a str,
}

/// The sum of what is known; `None` when nothing is.
pub(crate) fn sum(counts: &[Option<u64>]) -> Option<u64> {
    counts.iter().flatten().copied().reduce(u64::saturating_add)
}

/// The usage of a response, and what is to be marked about it.
pub(crate) fn settle(
    ledger: &Ledger,
    headers: &Headers,
    context: Context<'_>,
    streaming: bool,
) -> (Usage, Flags) {
    if context.api == Api::Other {
        // Lists and files may hold anything under these names.
        return (usage(Parts::default(), UsageSource::None), Flags::NONE);
    }
    let mut parts = by_shape(&ledger.counts, ledger, context);
    // Cohere's usage objects may be empty or hold units that are no tokens, and a blocked prompt's on
    // Vertex AI holds no count: they were said all the same.
    let said = !parts.rule.is_empty() || (ledger.usage_seen && may_be_empty(context.api));
    let mut source = match (said, streaming) {
        (true, _) if ledger.guessed => UsageSource::Guessed,
        (true, true) => UsageSource::Stream,
        (true, false) => UsageSource::Body,
        (false, _) => UsageSource::None,
    };
    let lacks = |own: Option<u64>, sent: Option<u64>| own.is_none() && sent.is_some();
    if (lacks(parts.input, headers.input) || lacks(parts.output, headers.output))
        && let Some(found) = amazon::headers(headers)
    {
        source = UsageSource::Header;
        parts = found;
    }
    let mut flags = Flags::NONE;
    if ledger.implausible || is_implausible(&parts) {
        flags.insert(Flags::USAGE_IMPLAUSIBLE);
    }
    units(&mut parts, ledger, headers);
    (usage(parts, source), flags)
}

fn by_shape(counts: &Counts, ledger: &Ledger, context: Context<'_>) -> Parts {
    let c = counts;
    let anthropic = c.any(&[Key::AnthropicRead, Key::AnthropicWrite]) || ledger.anthropic;
    if c.any(&[Key::Prompt, Key::Completion]) {
        openai::chat(c, context)
    } else if c.any(&[Key::Input, Key::Output]) && anthropic && !c.any(&[Key::Total, Key::Cached]) {
        anthropic::messages(c, &ledger.passes)
    } else if c.any(&[Key::GeminiPrompt, Key::GeminiCandidates, Key::GeminiTotal]) {
        gemini::usage_metadata(c)
    } else if c.any(&[Key::InteractionInput, Key::InteractionOutput]) {
        gemini::interactions(c)
    } else if c.any(&[Key::ConverseInput, Key::ConverseOutput]) {
        amazon::converse(c)
    } else if c.any(&[
        Key::CohereInput,
        Key::CohereOutput,
        Key::BilledInput,
        Key::BilledOutput,
        Key::BilledImage,
    ]) {
        cohere::tokens(c)
    } else if c.any(&[Key::Input, Key::Output]) {
        openai::responses(c, context)
    } else if c.any(&[Key::MetricInput, Key::MetricOutput]) {
        amazon::metrics(c)
    } else if c.any(&[Key::PlainInput, Key::PlainOutput]) {
        plain::counts(c, context)
    } else if c.any(&[Key::TimingPrompt, Key::TimingPredicted]) {
        plain::timings(c)
    } else if c.has(Key::Total) {
        openai::chat(c, context)
    } else {
        Parts::default()
    }
}

fn may_be_empty(api: Api) -> bool {
    matches!(
        api,
        Api::GenerateContent
            | Api::CohereV1Chat
            | Api::CohereV1Generate
            | Api::CohereV1Embed
            | Api::CohereV1Rerank
            | Api::CohereV2Chat
            | Api::CohereV2Embed
            | Api::CohereV2Rerank
    )
}

fn is_implausible(parts: &Parts) -> bool {
    let exceeds =
        |part: Option<u64>, total: Option<u64>| part.zip(total).is_some_and(|(p, t)| p > t);
    exceeds(parts.cache_read, parts.input)
        || exceeds(parts.cache_write, parts.input)
        || exceeds(parts.reasoning, parts.output)
        || parts.notes.contains(&"?total")
}

/// Other billed units, from the body and the headers.
fn units(parts: &mut Parts, ledger: &Ledger, headers: &Headers) {
    let c = &ledger.counts;
    let named = [
        ("billed_input", c.get(Key::BilledInput)),
        ("billed_output", c.get(Key::BilledOutput)),
        ("billed_image", c.get(Key::BilledImage)),
        ("billed_images", c.get(Key::Images)),
        ("search_units", c.get(Key::SearchUnits)),
        ("web_search", c.get(Key::WebSearch)),
        ("web_fetch", c.get(Key::WebFetch)),
        ("code_run", c.get(Key::CodeRuns)),
        ("file_search", c.get(Key::FileSearch)),
        ("citation_tokens", c.get(Key::Citations)),
        ("page", c.get(Key::Pages)),
        ("seconds_milli", c.get(Key::SecondsMilli)),
        ("accepted_prediction", c.get(Key::AcceptedPrediction)),
        ("rejected_prediction", c.get(Key::RejectedPrediction)),
        (
            "tool_use_prompt",
            c.get(Key::GeminiToolUse).or(c.get(Key::InteractionToolUse)),
        ),
        ("compute_milli", headers.compute_milli),
    ];
    parts.extra.extend(
        named
            .iter()
            .filter_map(|(name, count)| Some((*name, (*count)?))),
    );
    let calls = ["web_search", "file_search", "code_run", "image_generation"];
    for (name, count) in calls.iter().zip(ledger.output_calls) {
        if count > 0 && !parts.extra.iter().any(|(known, _)| known == name) {
            parts.extra.push((name, count));
        }
    }
    if ledger.passes.advisor {
        parts
            .extra
            .push(("advisor_input", ledger.passes.advisor_input));
        parts
            .extra
            .push(("advisor_output", ledger.passes.advisor_output));
    }
}

fn usage(parts: Parts, source: UsageSource) -> Usage {
    let mut usage = Usage::default();
    usage.input_tokens = parts.input;
    usage.output_tokens = parts.output;
    usage.cache_read_tokens = parts.cache_read;
    usage.cache_write_tokens = parts.cache_write;
    usage.cache_write_5m_tokens = parts.write_5m;
    usage.cache_write_1h_tokens = parts.write_1h;
    usage.cache_write_24h_tokens = parts.write_24h;
    usage.reasoning_tokens = parts.reasoning;
    usage.audio_input_tokens = parts.audio_in;
    usage.audio_output_tokens = parts.audio_out;
    usage.image_input_tokens = parts.image_in;
    usage.image_output_tokens = parts.image_out;
    usage.video_input_tokens = parts.video_in;
    usage.usage_source = Some(source);
    if !parts.rule.is_empty() {
        usage.usage_rule = Some(format!("{}{}", parts.rule, parts.notes.concat()));
    }
    if !parts.extra.is_empty() {
        let extra = parts
            .extra
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count));
        usage.usage_extra = Some(extra.collect());
    }
    usage
}

/// The split of cache writes by lifetime, unless it is stale: where its sum is not the whole, it was said
/// before the cache was written.
pub(crate) fn split(parts: &mut Parts, lifetimes: [Option<u64>; 3]) {
    if sum(&lifetimes) == parts.cache_write {
        [parts.write_5m, parts.write_1h, parts.write_24h] = lifetimes;
    }
}
