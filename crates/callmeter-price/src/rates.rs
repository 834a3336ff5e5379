//! What a price charges for: kinds of tokens, units billed by themselves, and context tiers.

use crate::amount::Rate;

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

    fn of(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(kind, _)| *kind)
    }
}

/// How many units the printed price of a kind of token is for.
pub(crate) const TOKENS: u32 = 1_000_000;

/// Rates of one price: a few, so that a search from the front is the fastest.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    tokens: Box<[(Kind, Rate)]>,
    fees: Box<[(Box<str>, Rate)]>,
}

impl Rates {
    /// Reads names of rates and their amounts.
    ///
    /// # Errors
    /// The name of the rate, and what is wrong.
    pub(crate) fn read<'t>(
        given: impl Iterator<Item = (&'t str, &'t str)>,
    ) -> Result<Self, (&'t str, String)> {
        let (mut tokens, mut fees) = (Vec::with_capacity(4), Vec::new());
        for (name, amount) in given {
            let kind = Kind::of(name);
            let units = match kind {
                Some(_) => TOKENS,
                None => {
                    units_of(name).ok_or_else(|| (name, format!("'{name}' is no kind of rate")))?
                }
            };
            let rate = Rate::parse(amount, units).ok_or_else(|| {
                let problem = format!(
                    "rate '{name}' is '{amount}', expected USD as decimal text, such as \"0.25\""
                );
                (name, problem)
            })?;
            match kind {
                Some(kind) => tokens.push((kind, rate)),
                None => fees.push((Box::from(name), rate)),
            }
        }
        tokens.sort_by_key(|(kind, _)| *kind);
        let rates = Self {
            tokens: tokens.into_boxed_slice(),
            fees: fees.into_boxed_slice(),
        };
        if let (Some(read), Some(input)) = (rates.token(Kind::CacheRead), rates.token(Kind::Input))
            && read.is_above(input)
        {
            return Err((
                Kind::CacheRead.name(),
                "cache_read costs more than input".to_owned(),
            ));
        }
        Ok(rates)
    }

    pub(crate) fn token(&self, kind: Kind) -> Option<Rate> {
        let mut tokens = self.tokens.iter();
        tokens
            .find(|(known, _)| *known == kind)
            .map(|(_, rate)| *rate)
    }

    pub(crate) fn fee(&self, name: &str) -> Option<Rate> {
        let mut fees = self.fees.iter();
        fees.find(|(known, _)| **known == *name)
            .map(|(_, rate)| *rate)
    }

    /// Every rate with its name and the number of units that its printed price is for.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, Rate, u32)> {
        let tokens = self.tokens.iter();
        let fees = self.fees.iter();
        tokens
            .map(|(kind, rate)| (kind.name(), *rate, TOKENS))
            .chain(fees.map(|(name, rate)| (&**name, *rate, units_of(name).unwrap_or(1))))
    }

    /// These rates, with those of `base` where there is none.
    fn over(&self, base: &Self) -> Self {
        let mut tokens = self.tokens.to_vec();
        tokens.extend(
            base.tokens
                .iter()
                .filter(|(kind, _)| self.token(*kind).is_none()),
        );
        tokens.sort_by_key(|(kind, _)| *kind);
        let mut fees = self.fees.to_vec();
        let missing = base
            .fees
            .iter()
            .filter(|(name, _)| self.fee(name).is_none());
        fees.extend(missing.cloned());
        Self {
            tokens: tokens.into_boxed_slice(),
            fees: fees.into_boxed_slice(),
        }
    }
}

/// For how many units a fee is printed, by its name.
pub(crate) fn units_of(name: &str) -> Option<u32> {
    if name.ends_with("_1k") || name.contains("_1k_") || name.starts_with("kpage") {
        Some(1_000)
    } else if name.starts_with("mchar") {
        Some(1_000_000)
    } else if name.starts_with("audio_hour") {
        Some(3_600)
    } else if name.len() > "per_".len() && name.starts_with("per_") {
        Some(1)
    } else {
        None
    }
}

/// Rates with their context tiers, the lowest threshold first. What a tier lacks keeps the price below it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tiered {
    base: Rates,
    tiers: Box<[(u64, Rates)]>,
}

impl Tiered {
    pub(crate) fn new(base: Rates, tiers: Vec<(u64, Rates)>) -> Self {
        let mut whole: Vec<(u64, Rates)> = Vec::with_capacity(tiers.len());
        for (over, rates) in tiers {
            let below = whole.last().map_or(&base, |(_, rates)| rates);
            let rates = rates.over(below);
            whole.push((over, rates));
        }
        Self {
            base,
            tiers: whole.into_boxed_slice(),
        }
    }

    /// A variant, with the standard rate of a dimension, at the same length, where it has none. A variant
    /// without tiers keeps its own rates at every length, as the lists do.
    pub(crate) fn variant_of(self, standard: &Self) -> Self {
        let mut thresholds: Vec<u64> = self.tiers.iter().map(|(over, _)| *over).collect();
        thresholds.extend(standard.tiers.iter().map(|(over, _)| *over));
        thresholds.sort_unstable();
        thresholds.dedup();
        let tiers = thresholds.iter().map(|over| {
            let above = over.saturating_add(1);
            (*over, self.at(above).over(standard.at(above)))
        });
        Self {
            tiers: tiers.collect(),
            base: self.base.over(&standard.base),
        }
    }

    /// The rates for a request of so many input tokens in all.
    pub(crate) fn at(&self, input_tokens: u64) -> &Rates {
        let mut tiers = self.tiers.iter().rev();
        tiers
            .find(|(over, _)| input_tokens > *over)
            .map_or(&self.base, |(_, rates)| rates)
    }

    /// The threshold that a request of so many input tokens is above.
    pub(crate) fn over(&self, input_tokens: u64) -> Option<u64> {
        let mut tiers = self.tiers.iter().rev();
        tiers
            .find(|(over, _)| input_tokens > *over)
            .map(|(over, _)| *over)
    }

    pub(crate) fn base(&self) -> &Rates {
        &self.base
    }

    pub(crate) fn tiers(&self) -> &[(u64, Rates)] {
        &self.tiers
    }
}
