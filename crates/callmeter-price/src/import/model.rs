//! What an importer makes of one model: rates by tier of service and length, with what it had to leave out.

use std::collections::BTreeMap;

use crate::amount::Decimal;
use crate::format::{PeriodText, TierText, VariantText};
use crate::rates::{Rates, units_of};

/// No list price of a million tokens is above this, in USD: what is, is another unit's price.
const ABSURD: u32 = 10_000;

/// Where a rate of a file goes: tier of service, and the number of input tokens that it is above.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) service_tier: String,
    pub(super) over: Option<u64>,
}

/// The rates of one period of a model, as they are found.
#[derive(Debug, Default)]
pub(super) struct Found {
    rates: BTreeMap<Place, BTreeMap<String, String>>,
    /// Rates left out, and why.
    pub(super) notes: Vec<String>,
}

impl Found {
    /// Takes a price in: `text` times `10^shift` is USD as the rate's name says.
    pub(super) fn put(&mut self, place: Place, name: &str, text: &str, shift: i32) {
        if text.trim_start().starts_with('-') {
            self.notes.push(format!("{name} is negative: {text}"));
            return;
        }
        let Some(amount) = Decimal::parse(text) else {
            self.notes.push(format!("{name} is no price: {text}"));
            return;
        };
        let amount = amount.shifted(shift);
        let is_of_tokens = units_of(name).is_none();
        if is_of_tokens && amount.is_above(ABSURD) {
            self.notes.push(format!(
                "{name} is absurd: {amount} USD for a million tokens"
            ));
            return;
        }
        let rates = self.rates.entry(place).or_default();
        rates.insert(name.to_owned(), amount.printed());
    }

    /// A plain rate.
    pub(super) fn plain(&self, name: &str) -> Option<&str> {
        let plain = self.rates.get(&Place::default())?;
        plain.get(name).map(String::as_str)
    }

    /// The period; `None` when nothing was found.
    pub(super) fn period(&mut self, source: &str) -> Option<PeriodText> {
        for (place, rates) in &mut self.rates {
            // A cached read above the price of input is another thing's price: of storing, most often.
            let pair = ["cache_read", "input"].map(|name| rates.get_key_value(name));
            let pair = pair.into_iter().flatten();
            let pair = pair.map(|(name, text)| (name.as_str(), text.as_str()));
            if Rates::read(pair).is_err() {
                rates.remove("cache_read");
                let tier = &place.service_tier;
                self.notes.push(format!(
                    "cache_read above input{}{tier}: left out",
                    if tier.is_empty() { "" } else { " of " }
                ));
            }
        }
        let mut period = PeriodText {
            source: Some(source.to_owned()),
            ..PeriodText::default()
        };
        for (place, rates) in std::mem::take(&mut self.rates) {
            if rates.is_empty() {
                continue;
            }
            if place.service_tier.is_empty() {
                match place.over {
                    None => period.rates = rates,
                    Some(over) => period.tiers.push(TierText { over, rates }),
                }
            } else {
                let variant: &mut VariantText =
                    period.variants.entry(place.service_tier).or_default();
                match place.over {
                    None => variant.rates = rates,
                    Some(over) => variant.tiers.push(TierText { over, rates }),
                }
            }
        }
        (!period.rates.is_empty()).then_some(period)
    }
}

/// The factor that makes every one of `base`'s rates the one of the same name in `dear`; `None` unless it is one for all.
pub(super) fn common_factor(base: &[(&str, &str)], dear: &[(&str, &str)]) -> Option<String> {
    let mut found: Option<String> = None;
    for (name, amount) in dear {
        let (_, below) = base.iter().find(|(known, _)| known == name)?;
        let (one, two) = (
            crate::amount::Rate::parse(amount, 1)?,
            crate::amount::Rate::parse(below, 1)?,
        );
        let factor = one.ratio(two)?;
        if found.as_ref().is_some_and(|known| *known != factor) {
            return None;
        }
        found = Some(factor);
    }
    found
}
