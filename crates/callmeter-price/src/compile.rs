//! From a book's text to what look-ups need, with the checks of R-27.

use std::collections::BTreeMap;

use callmeter_core::Timestamp;

use crate::amount::{Rate, decimal, factor};
use crate::format::{BookError, ModelText, PeriodText, TierText, WindowText};

/// Kinds of tokens that a rate may be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Input,
    Output,
    CacheRead,
    CacheWrite5m,
    CacheWrite1h,
    CacheWrite24h,
    Reasoning,
    AudioIn,
    AudioOut,
    CacheReadAudio,
    ImageIn,
    ImageOut,
    CacheReadImage,
    VideoIn,
    VideoOut,
    Citation,
}

impl Kind {
    pub(crate) const ALL: [(Self, &'static str); 16] = [
        (Self::Input, "input"),
        (Self::Output, "output"),
        (Self::CacheRead, "cache_read"),
        (Self::CacheWrite5m, "cache_write_5m"),
        (Self::CacheWrite1h, "cache_write_1h"),
        (Self::CacheWrite24h, "cache_write_24h"),
        (Self::Reasoning, "reasoning"),
        (Self::AudioIn, "audio_in"),
        (Self::AudioOut, "audio_out"),
        (Self::CacheReadAudio, "cache_read_audio"),
        (Self::ImageIn, "image_in"),
        (Self::ImageOut, "image_out"),
        (Self::CacheReadImage, "cache_read_image"),
        (Self::VideoIn, "video_in"),
        (Self::VideoOut, "video_out"),
        (Self::Citation, "citation"),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("tokens", |(_, name)| name)
    }
}

/// Rates of one price, by kind of token, and fees by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates {
    tokens: [Option<Rate>; 16],
    fees: BTreeMap<String, Rate>,
}

impl Rates {
    pub(crate) fn token(&self, kind: Kind) -> Option<Rate> {
        self.tokens.get(kind as usize).copied().flatten()
    }

    pub(crate) fn fee(&self, name: &str) -> Option<Rate> {
        self.fees.get(name).copied()
    }

    /// These rates, with those of `base` where there is none (R-15: the standard rate of a dimension).
    fn over(mut self, base: &Self) -> Self {
        for (mine, theirs) in self.tokens.iter_mut().zip(base.tokens) {
            *mine = mine.or(theirs);
        }
        for (name, rate) in &base.fees {
            self.fees.entry(name.clone()).or_insert(*rate);
        }
        self
    }
}

/// Rates with their context tiers, the lowest threshold first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tiered {
    base: Rates,
    tiers: Vec<(u64, Rates)>,
}

impl Tiered {
    /// The rates for a request of so many input tokens in all.
    pub(crate) fn at(&self, input_tokens: u64) -> &Rates {
        let tier = self
            .tiers
            .iter()
            .rev()
            .find(|(over, _)| input_tokens > *over);
        tier.map_or(&self.base, |(_, rates)| rates)
    }
}

/// A daily window whose factor multiplies the price.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    start_minute: i64,
    end_minute: i64,
    weekdays: Option<Vec<u8>>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    pub(crate) factor: (i64, i64),
}

impl Window {
    pub(crate) fn holds(&self, at: Timestamp) -> bool {
        let minute = at.as_seconds().div_euclid(60).rem_euclid(24 * 60);
        let in_day = if self.start_minute <= self.end_minute {
            minute >= self.start_minute && minute < self.end_minute
        } else {
            minute >= self.start_minute || minute < self.end_minute
        };
        // 1970-01-01 was a Thursday; ISO numbers Monday 1.
        let weekday = at
            .utc_day()
            .saturating_add(3)
            .rem_euclid(7)
            .saturating_add(1);
        in_day
            && self
                .weekdays
                .as_ref()
                .is_none_or(|days| days.iter().any(|day| i64::from(*day) == weekday))
            && self.from.is_none_or(|from| at >= from)
            && self.until.is_none_or(|until| at < until)
    }
}

/// One price of a model, for a time.
#[derive(Clone, Debug)]
pub(crate) struct Period {
    pub(crate) from: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) standard: Tiered,
    pub(crate) variants: BTreeMap<String, Tiered>,
    pub(crate) windows: Vec<Window>,
    pub(crate) price_id: String,
}

impl Period {
    pub(crate) fn holds(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| at >= from) && self.until.is_none_or(|until| at < until)
    }
}

/// A model's prices.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) dated: bool,
    pub(crate) regions: Vec<(String, (i64, i64))>,
    pub(crate) periods: Vec<Period>,
}

pub(crate) fn compile(text: &ModelText) -> Result<Entry, BookError> {
    let provider = crate::canonical_provider(&text.provider).to_owned();
    let entry = format!("{provider}/{}", text.model);
    let wrong = |problem: String| BookError::Entry {
        entry: entry.clone(),
        problem,
    };
    if text.model.trim().is_empty() || provider.is_empty() {
        return Err(wrong("provider and model must not be empty".to_owned()));
    }
    let mut periods = Vec::with_capacity(text.periods.len());
    let mut last_until = None;
    for (at, period) in text.periods.iter().enumerate() {
        let compiled = compile_period(period, &entry).map_err(wrong)?;
        let follows = match (last_until, compiled.from) {
            _ if at == 0 => true,
            (Some(until), Some(from)) => from >= until,
            _ => false,
        };
        if !follows {
            return Err(wrong(
                "periods overlap or are out of order; close each with `until`".to_owned(),
            ));
        }
        last_until = compiled.until;
        periods.push(compiled);
    }
    if periods.is_empty() {
        return Err(wrong("it has no period; add [[models.periods]]".to_owned()));
    }
    let regions = text
        .regions
        .iter()
        .map(|(region, text)| {
            let factor = factor(text).ok_or_else(|| wrong(format!("'{text}' is no factor")))?;
            Ok((region.to_ascii_lowercase(), factor))
        })
        .collect::<Result<_, BookError>>()?;
    Ok(Entry {
        provider,
        model: text.model.clone(),
        aliases: text.aliases.clone(),
        dated: text.dated,
        regions,
        periods,
    })
}

fn compile_period(text: &PeriodText, entry: &str) -> Result<Period, String> {
    let from = text.from.as_deref().map(moment).transpose()?;
    let until = text.until.as_deref().map(moment).transpose()?;
    if let (Some(from), Some(until)) = (from, until)
        && until <= from
    {
        return Err("a period ends before it begins".to_owned());
    }
    let base = rates(&text.rates)?;
    let standard = tiered(base.clone(), &text.tiers, None)?;
    let mut variants = BTreeMap::new();
    for (name, variant) in &text.variants {
        let own = rates(&variant.rates)?.over(&base);
        variants.insert(
            name.to_ascii_lowercase(),
            tiered(own, &variant.tiers, Some(&standard))?,
        );
    }
    let windows = text.windows.iter().map(window).collect::<Result<_, _>>()?;
    let price_id = match &text.from {
        Some(from) => format!("{entry}@{}", from.get(..10).unwrap_or(from)),
        None => entry.to_owned(),
    };
    Ok(Period {
        from,
        until,
        standard,
        variants,
        windows,
        price_id,
    })
}

fn tiered(base: Rates, tiers: &[TierText], fallback: Option<&Tiered>) -> Result<Tiered, String> {
    let mut result = Tiered {
        base,
        tiers: Vec::with_capacity(tiers.len()),
    };
    let mut last = 0;
    for tier in tiers {
        if tier.over <= last {
            return Err("tiers must ascend by `over`".to_owned());
        }
        last = tier.over;
        // A dimension that a tier lacks keeps the price below it.
        let below = result
            .tiers
            .last()
            .map_or(&result.base, |(_, rates)| rates)
            .clone();
        result
            .tiers
            .push((tier.over, rates(&tier.rates)?.over(&below)));
    }
    // A variant without tiers of its own, of a price that has some, would undercharge long prompts: it
    // keeps its flat rates, which is what the lists say.
    let _ = fallback;
    Ok(result)
}

fn rates(text: &BTreeMap<String, String>) -> Result<Rates, String> {
    let mut rates = Rates::default();
    for (name, amount) in text {
        let bad = || {
            format!(
                "rate '{name}' is '{amount}': expected decimal text such as \"0.25\", not negative"
            )
        };
        if let Some((kind, _)) = Kind::ALL.iter().find(|(_, known)| known == name) {
            let pico = decimal(amount, 6).ok_or_else(bad)?;
            if let Some(slot) = rates.tokens.get_mut(*kind as usize) {
                *slot = Some(Rate { pico, per: 1 });
            }
        } else {
            let per = per_of(name).ok_or_else(|| format!("'{name}' is no kind of rate"))?;
            let pico = decimal(amount, 12).ok_or_else(bad)?;
            rates.fees.insert(name.clone(), Rate { pico, per });
        }
    }
    if let (Some(read), Some(input)) = (rates.token(Kind::CacheRead), rates.token(Kind::Input))
        && read.pico > input.pico
    {
        return Err("cache_read costs more than input".to_owned());
    }
    Ok(rates)
}

fn per_of(name: &str) -> Option<u32> {
    if name.contains("_1k") || name.starts_with("kpage") {
        Some(1_000)
    } else if name.starts_with("mchar") {
        Some(1_000_000)
    } else if name.starts_with("audio_hour") {
        Some(3_600)
    } else if name.starts_with("per_") {
        Some(1)
    } else {
        None
    }
}

fn window(text: &WindowText) -> Result<Window, String> {
    let minute = |text: &str| {
        let (hours, minutes) = text.split_once(':')?;
        let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
        (hours < 24 && minutes < 60).then(|| hours.saturating_mul(60).saturating_add(minutes))
    };
    let bad = |text: &str| format!("'{text}' is no time of day such as 16:30");
    Ok(Window {
        start_minute: minute(&text.utc.0).ok_or_else(|| bad(&text.utc.0))?,
        end_minute: minute(&text.utc.1).ok_or_else(|| bad(&text.utc.1))?,
        weekdays: text
            .weekdays
            .as_ref()
            .map(|days| days.iter().copied().collect()),
        from: text.from.as_deref().map(moment).transpose()?,
        until: text.until.as_deref().map(moment).transpose()?,
        factor: factor(&text.factor).ok_or_else(|| format!("'{}' is no factor", text.factor))?,
    })
}

fn moment(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|error| format!("'{text}' is {error}"))
}
