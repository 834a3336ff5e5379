//! A model's prices as look-ups need them: periods, variants, windows, regions.

use std::sync::Arc;

use callmeter_core::Timestamp;

use crate::amount::Factor;
use crate::rates::Tiered;

/// Which dates a family's snapshots carry, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dated(u8);

impl Dated {
    pub(crate) const NONE: Self = Self(0);
    /// `-YYYY-MM-DD`.
    pub(crate) const DASHED: Self = Self(1);
    /// `-YYYYMMDD`.
    pub(crate) const COMPACT: Self = Self(2);
    /// `@YYYYMMDD`.
    pub(crate) const AT: Self = Self(4);
    /// `-YYYYMMDD` before `-v1:0`, as Bedrock writes it.
    pub(crate) const INFIX: Self = Self(8);
    /// Any suffix.
    pub(crate) const ANY: Self = Self(7);

    /// The letters of the packed form.
    pub(crate) fn of_letters(letters: &str) -> Self {
        letters.chars().fold(Self::NONE, |dated, letter| {
            dated.with(match letter {
                'd' => Self::DASHED,
                'c' => Self::COMPACT,
                '@' => Self::AT,
                'b' => Self::INFIX,
                _ => Self::NONE,
            })
        })
    }

    #[must_use]
    pub(crate) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn allows(self, style: Self) -> bool {
        self.0 & style.0 != 0
    }
}

/// A daily window whose factor multiplies the price.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Window {
    pub(crate) start_minute: i64,
    pub(crate) end_minute: i64,
    /// Bit n is the ISO weekday n, Monday 1.
    pub(crate) weekdays: u8,
    pub(crate) from: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) factor: Factor,
}

impl Window {
    /// Every day.
    pub(crate) const DAILY: u8 = 0b1111_1110;

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
        let is_its_day = u32::try_from(weekday)
            .ok()
            .and_then(|day| self.weekdays.checked_shr(day))
            .is_some_and(|bits| bits & 1 == 1);
        in_day
            && is_its_day
            && self.from.is_none_or(|from| at >= from)
            && self.until.is_none_or(|until| at < until)
    }
}

/// One price of a model, for a time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Period {
    pub(crate) from: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) standard: Tiered,
    pub(crate) variants: Box<[(Box<str>, Tiered)]>,
    pub(crate) windows: Box<[Window]>,
    pub(crate) price_id: Arc<str>,
    pub(crate) source: Box<str>,
    pub(crate) verified_at: Box<str>,
}

impl Period {
    pub(crate) fn holds(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| at >= from) && self.until.is_none_or(|until| at < until)
    }

    pub(crate) fn variant(&self, name: &str) -> Option<&Tiered> {
        let mut variants = self.variants.iter();
        variants
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, tiered)| tiered)
    }
}

/// A model's prices.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) provider: Arc<str>,
    pub(crate) model: Box<str>,
    pub(crate) aliases: Box<[Box<str>]>,
    pub(crate) dated: Dated,
    /// Cache writes without a rate cost what input costs.
    pub(crate) writes_are_input: bool,
    /// Factors by region; `*` stands for every region that is not named.
    pub(crate) regions: Box<[(Box<str>, Factor)]>,
    pub(crate) periods: Box<[Period]>,
}

impl Entry {
    /// The period of a moment.
    pub(crate) fn at(&self, at: Timestamp) -> Option<&Period> {
        // The newest is asked for most.
        self.periods.iter().rev().find(|period| period.holds(at))
    }

    /// The factor of a region.
    pub(crate) fn region(&self, region: &str) -> Option<Factor> {
        let named = |name: &str| {
            let mut regions = self.regions.iter();
            regions
                .find(|(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, factor)| *factor)
        };
        named(region).or_else(|| named("*"))
    }
}

/// What makes the price of a period known, for rows.
pub(crate) fn price_id(provider: &str, model: &str, from: Option<&str>) -> Arc<str> {
    match from {
        Some(from) => format!("{provider}/{model}@{}", from.get(..10).unwrap_or(from)).into(),
        None => format!("{provider}/{model}").into(),
    }
}
