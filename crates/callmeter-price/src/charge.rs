//! What a call's counts cost by one set of rates: each token once, each unit that is billed by itself (R-7 to R-11,
//!

use std::collections::BTreeMap;

use callmeter_core::{Flags, Usage};

use crate::amount::{Amount, Factor, Rate};
use crate::entry::{Entry, Period};
use crate::layer::{Layer, Rule};
use crate::rates::{Kind, Rates};

/// Notes how a cost came about; `()` notes nothing and costs nothing.
pub(crate) trait Tape {
    fn line(&mut self, _what: &str, _count: u64, _rate: Rate) {}
    fn factor(&mut self, _what: &'static str, _factor: Factor) {}
    fn found(&mut self, _layer: &Layer, _entry: &Entry) {}
    fn period(
        &mut self,
        _layer: &Layer,
        _period: &Period,
        _tier: Option<&str>,
        _over: Option<u64>,
    ) {
    }
    fn rule(&mut self, _layer: &Layer, _rule: &Rule) {}
}

impl Tape for () {}

/// A sum on its way.
pub(crate) struct Charge<'t, T> {
    pub(crate) amount: Amount,
    pub(crate) flags: Flags,
    pub(crate) tape: &'t mut T,
}

/// What Cohere bills, where it says so beside its token counts.
fn billed_units(extra: &BTreeMap<String, u64>) -> Option<(u64, u64)> {
    let (input, output) = (extra.get("billed_input"), extra.get("billed_output"));
    (input.is_some() || output.is_some())
        .then(|| (input.copied().unwrap_or(0), output.copied().unwrap_or(0)))
}

/// Whether anything was counted that a price could be for.
pub(crate) fn has_usage(usage: &Usage) -> bool {
    let has_units = usage.usage_extra.as_ref().is_some_and(|extra| {
        let is_unit = |unit: &str| {
            unit == SECONDS
                || unit == VIDEO_SECONDS
                || unit.starts_with("billed_")
                || FEES.iter().any(|(known, _)| *known == unit)
        };
        extra
            .iter()
            .any(|(unit, count)| is_unit(unit) && (*count > 0 || unit.starts_with("billed_")))
    });
    usage.input_tokens.is_some() || usage.output_tokens.is_some() || has_units
}

/// The parts of a total, taken from it one by one.
struct Parts {
    left: u64,
    is_plausible: bool,
}

impl Parts {
    fn of(total: Option<u64>) -> Self {
        Self {
            left: total.unwrap_or(0),
            is_plausible: true,
        }
    }

    /// As much of a part as the total still holds.
    fn take(&mut self, count: Option<u64>) -> u64 {
        let count = count.unwrap_or(0);
        let taken = count.min(self.left);
        self.is_plausible &= taken == count;
        self.left = self.left.saturating_sub(taken);
        taken
    }
}

impl<'t, T: Tape> Charge<'t, T> {
    pub(crate) fn new(tape: &'t mut T) -> Self {
        Self {
            amount: Amount::ZERO,
            flags: Flags::NONE,
            tape,
        }
    }

    fn add(&mut self, what: &str, count: u64, rate: Rate) {
        self.tape.line(what, count, rate);
        self.amount.add(count, rate);
    }

    /// Charges tokens of a kind, by the rate of `instead` where the kind has none.
    fn tokens(
        &mut self,
        rates: &Rates,
        count: u64,
        kind: Kind,
        instead: Option<Kind>,
    ) -> Result<(), &'static str> {
        if count == 0 {
            return Ok(());
        }
        let rate = rates
            .token(kind)
            .or_else(|| rates.token(instead?))
            .or_else(|| free_of_charge(rates))
            .ok_or(kind.name())?;
        self.add(kind.name(), count, rate);
        Ok(())
    }

    /// Charges every token once, as its most special kind.
    ///
    /// # Errors
    /// The kind that has tokens and no rate.
    pub(crate) fn all_tokens(
        &mut self,
        rates: &Rates,
        writes_are_input: bool,
        usage: &Usage,
    ) -> Result<(), &'static str> {
        let extra = usage.usage_extra.as_ref();
        if let Some((input, output)) = extra.and_then(billed_units) {
            self.tokens(rates, input, Kind::Input, None)?;
            return self.tokens(rates, output, Kind::Output, None);
        }
        let mut input = Parts::of(usage.input_tokens);
        let (cached_audio, cached_image) = self.cached_media(rates, &mut input, usage)?;
        let other = |count: Option<u64>, media: u64| count.map(|count| count.saturating_sub(media));
        let cached = other(
            usage.cache_read_tokens,
            cached_audio.saturating_add(cached_image),
        );
        let count = input.take(cached);
        self.tokens(rates, count, Kind::CacheRead, None)?;
        let instead = writes_are_input.then_some(Kind::Input);
        for (written, kind) in writes(usage) {
            let count = input.take(Some(written));
            self.tokens(rates, count, kind, instead)?;
        }
        for (part, kind) in [
            (other(usage.audio_input_tokens, cached_audio), Kind::AudioIn),
            (other(usage.image_input_tokens, cached_image), Kind::ImageIn),
            (usage.video_input_tokens, Kind::VideoIn),
        ] {
            let count = input.take(part);
            self.tokens(rates, count, kind, None)?;
        }
        self.tokens(rates, input.left, Kind::Input, None)?;
        let mut output = Parts::of(usage.output_tokens);
        let count = output.take(usage.reasoning_tokens);
        self.tokens(rates, count, Kind::Reasoning, Some(Kind::Output))?;
        for (part, kind) in [
            (usage.audio_output_tokens, Kind::AudioOut),
            (usage.image_output_tokens, Kind::ImageOut),
        ] {
            let count = output.take(part);
            self.tokens(rates, count, kind, None)?;
        }
        self.tokens(rates, output.left, Kind::Output, None)?;
        // Read for the answer, and billed by some beside input and output.
        if let Some(count) = extra.and_then(|extra| extra.get("citation_tokens"))
            && rates.token(Kind::Citation).is_some()
        {
            self.tokens(rates, *count, Kind::Citation, None)?;
        }
        if !(input.is_plausible && output.is_plausible) {
            self.flags.insert(Flags::USAGE_IMPLAUSIBLE);
        }
        Ok(())
    }

    /// Charges what was both cached and audio or an image, where the provider says how much; without a rate of its
    /// own it is audio (an image), and marked.
    fn cached_media(
        &mut self,
        rates: &Rates,
        input: &mut Parts,
        usage: &Usage,
    ) -> Result<(u64, u64), &'static str> {
        let mut taken = [0, 0];
        let media = [
            (
                "cache_read_audio",
                usage.audio_input_tokens,
                Kind::CacheReadAudio,
                Kind::AudioIn,
            ),
            (
                "cache_read_image",
                usage.image_input_tokens,
                Kind::CacheReadImage,
                Kind::ImageIn,
            ),
        ];
        for ((unit, whole, kind, instead), taken) in media.into_iter().zip(&mut taken) {
            let said = usage.usage_extra.as_ref().and_then(|extra| extra.get(unit));
            let Some(said) = said.copied().filter(|count| *count > 0) else {
                continue;
            };
            let cached = usage.cache_read_tokens.unwrap_or(0);
            let both = said.min(whole.unwrap_or(0)).min(cached);
            *taken = input.take(Some(both));
            if rates.token(kind).is_none() || *taken != said {
                self.flags.insert(Flags::USAGE_IMPLAUSIBLE);
            }
            self.tokens(rates, *taken, kind, Some(instead))?;
        }
        let [audio, image] = taken;
        Ok((audio, image))
    }

    /// Charges what is billed by itself.
    ///
    /// # Errors
    /// The unit that has no rate.
    pub(crate) fn all_units(&mut self, rates: &Rates, usage: &Usage) -> Result<(), &'static str> {
        let Some(extra) = &usage.usage_extra else {
            return Ok(());
        };
        for (unit, count) in extra {
            if *count == 0 {
                continue;
            }
            if let Some((name, fees)) = FEES.iter().find(|(known, _)| known == unit) {
                let mut fees = fees.iter();
                let rate = fees.find_map(|fee| rates.fee(fee)).ok_or(*name)?;
                self.add(name, *count, rate);
            } else if let Some(rate) = own_fee(rates, unit) {
                self.add(unit, *count, rate);
            }
        }
        // Media that are charged by their length come without tokens, in thousandths of a second.
        if usage.input_tokens.is_none() {
            self.length(rates, extra, SECONDS, "seconds", &LENGTH_IN)?;
        }
        self.length(
            rates,
            extra,
            VIDEO_SECONDS,
            "video_seconds",
            &["per_second_out"],
        )
    }

    fn length(
        &mut self,
        rates: &Rates,
        extra: &BTreeMap<String, u64>,
        unit: &str,
        name: &'static str,
        fees: &[&str],
    ) -> Result<(), &'static str> {
        let Some(count) = extra.get(unit).copied().filter(|count| *count > 0) else {
            return Ok(());
        };
        let mut fees = fees.iter();
        let rate = fees.find_map(|fee| rates.fee(fee)).ok_or(name)?;
        let per = rate.per.saturating_mul(1_000);
        self.add(name, count, Rate { per, ..rate });
        Ok(())
    }
}

/// Cache writes by lifetime; those of unknown lifetime are of the five-minute kind.
fn writes(usage: &Usage) -> [(u64, Kind); 3] {
    let of = |count: Option<u64>| count.unwrap_or(0);
    let (short, hour, day) = (
        of(usage.cache_write_5m_tokens),
        of(usage.cache_write_1h_tokens),
        of(usage.cache_write_24h_tokens),
    );
    let known = short.saturating_add(hour).saturating_add(day);
    let unknown = of(usage.cache_write_tokens).saturating_sub(known);
    [
        (unknown.saturating_add(short), Kind::CacheWrite5m),
        (hour, Kind::CacheWrite1h),
        (day, Kind::CacheWrite24h),
    ]
}

/// The rate of anything under a model that is free: every token of it costs 0.
fn free_of_charge(rates: &Rates) -> Option<Rate> {
    let (input, output) = (rates.token(Kind::Input)?, rates.token(Kind::Output)?);
    (input.pico == 0 && output.pico == 0).then_some(input)
}

/// Units that are billed beside tokens: the usage's name for each, and the rates' names.
const FEES: &[(&str, &[&str])] = &[
    ("web_search", &["web_search_1k"]),
    ("web_search_low", &["web_search_1k_low"]),
    ("web_search_medium", &["web_search_1k_medium"]),
    ("web_search_high", &["web_search_1k_high"]),
    ("file_search", &["file_search_1k"]),
    ("maps_grounding", &["per_maps_grounding"]),
    ("search_units", &["per_query"]),
    ("query", &["per_query"]),
    ("page", &["per_page", "kpage"]),
    ("page_annotated", &["per_page_annotated", "kpage_annotated"]),
    ("request", &["per_request", "request_1k"]),
    ("image", &["per_image_each_out"]),
    ("character", &["per_char_in", "mchar_in"]),
];

const SECONDS: &str = "seconds_milli";
const VIDEO_SECONDS: &str = "video_seconds_milli";
const LENGTH_IN: [&str; 4] = [
    "per_second_in",
    "per_audio_second_in",
    "audio_hour_in",
    "audio_hour",
];

/// The rate of a unit that the book names after it: `per_X` or `X_1k`.
fn own_fee(rates: &Rates, unit: &str) -> Option<Rate> {
    let is_for = |name: &str| {
        name.strip_prefix("per_") == Some(unit) || name.strip_suffix("_1k") == Some(unit)
    };
    rates
        .all()
        .find(|(name, _, _)| is_for(name))
        .map(|(_, rate, _)| rate)
}
