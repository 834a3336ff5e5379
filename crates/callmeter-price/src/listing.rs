//! The prices of a book as text, for people and for other programs.

use crate::amount::factor_text;
use crate::book::Book;
use crate::entry::{Entry, Period};
use crate::explain::source;
use crate::layer::{Layer, LayerKind};
use crate::rates::{Rates, Tiered};

/// A price of a book, for listing.
#[derive(Clone, Copy, Debug)]
pub struct BookEntry<'a> {
    layer: &'a Layer,
    entry: &'a Entry,
}

/// One price of a model, for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedPeriod {
    /// From when it holds; `None` for always.
    pub from: Option<String>,
    /// Until when, exclusive.
    pub until: Option<String>,
    /// Whose figures they are, and when they were looked at.
    pub source: String,
    /// The name of the price on rows.
    pub price_id: String,
    /// Rates by (tier of service, input tokens that the call is above): `("", None)` is the plain price.
    pub rates: Vec<ListedRates>,
    /// Factors by time of day and region, in words.
    pub factors: Vec<String>,
}

/// Rates of one tier of service and one length.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedRates {
    /// `batch`, `flex`, … or nothing.
    pub service_tier: String,
    /// The number of input tokens that a call is above.
    pub over: Option<u64>,
    /// Names of rates and their amounts as printed: USD per million tokens, or as the name says.
    pub rates: Vec<(String, String)>,
}

impl<'a> BookEntry<'a> {
    pub(crate) fn new(layer: &'a Layer, entry: &'a Entry) -> Self {
        Self { layer, entry }
    }

    /// The provider's canonical name.
    pub fn provider(&self) -> &'a str {
        &self.entry.provider
    }

    /// The model's id.
    pub fn model(&self) -> &'a str {
        &self.entry.model
    }

    /// Its other ids.
    pub fn aliases(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.entry.aliases.iter().map(|alias| &**alias)
    }

    /// The layer that it is of.
    pub fn layer(&self) -> LayerKind {
        self.layer.kind
    }

    /// The layer's name.
    pub fn layer_name(&self) -> &'a str {
        &self.layer.name
    }

    /// Whether it answers to a name, by its own or an alias.
    pub fn is_named(&self, name: &str) -> bool {
        self.model().eq_ignore_ascii_case(name)
            || self.aliases().any(|alias| alias.eq_ignore_ascii_case(name))
    }

    /// Its prices, the oldest first.
    pub fn periods(&self) -> Vec<ListedPeriod> {
        let periods = self.entry.periods.iter();
        periods.map(|period| self.listed(period)).collect()
    }

    /// The price in force at a moment.
    pub fn at(&self, at: callmeter_core::Timestamp) -> Option<ListedPeriod> {
        self.entry.at(at).map(|period| self.listed(period))
    }

    fn listed(&self, period: &Period) -> ListedPeriod {
        let mut rates = Vec::new();
        list(&mut rates, "", &period.standard);
        for (name, variant) in &period.variants {
            list(&mut rates, name, variant);
        }
        let windows = period.windows.iter().map(|window| {
            let time =
                |minute: i64| format!("{:02}:{:02}", minute.div_euclid(60), minute.rem_euclid(60));
            let mut days = String::new();
            if window.weekdays != crate::entry::Window::DAILY {
                days = " on weekdays".to_owned();
                for day in 1..=7_u32 {
                    if window
                        .weekdays
                        .checked_shr(day)
                        .is_some_and(|bits| bits & 1 == 1)
                    {
                        days.push_str(&format!(" {day}"));
                    }
                }
            }
            let (start, end) = (time(window.start_minute), time(window.end_minute));
            format!(
                "x {} from {start} to {end} UTC{days}",
                factor_text(window.factor)
            )
        });
        let regions = self.entry.regions.iter().map(|(region, factor)| {
            let place = match &**region {
                "*" => "any other region".to_owned(),
                region => format!("region {region}"),
            };
            format!("x {} in {place}", factor_text(*factor))
        });
        let moment = |moment: Option<callmeter_core::Timestamp>| moment.map(|at| at.to_string());
        ListedPeriod {
            from: moment(period.from),
            until: moment(period.until),
            source: source(self.layer, period),
            price_id: period.price_id.to_string(),
            rates,
            factors: windows.chain(regions).collect(),
        }
    }
}

fn list(all: &mut Vec<ListedRates>, service_tier: &str, tiered: &Tiered) {
    let mut push = |over: Option<u64>, rates: &Rates| {
        all.push(ListedRates {
            service_tier: service_tier.to_owned(),
            over,
            rates: texts(rates).collect(),
        });
    };
    push(None, tiered.base());
    for (over, rates) in tiered.tiers() {
        push(Some(*over), rates);
    }
}

/// Rates and their printed amounts.
pub(crate) fn texts(rates: &Rates) -> impl Iterator<Item = (String, String)> {
    rates
        .all()
        .map(|(name, rate, units)| (name.to_owned(), rate.to_text(units)))
}

impl Book {
    /// The entries that answer to a name, `MODEL` or `PROVIDER/MODEL`, the uppermost layer first.
    pub fn named<'a>(&'a self, name: &str) -> Vec<BookEntry<'a>> {
        let is_meant = |entry: &BookEntry<'_>| {
            entry.is_named(name)
                || name.split_once('/').is_some_and(|(provider, model)| {
                    crate::canonical_provider(provider) == entry.provider() && entry.is_named(model)
                })
        };
        self.entries().filter(is_meant).collect()
    }
}
