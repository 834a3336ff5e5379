//! What an import would change in a book, and the book with it.
//!
//! Only what the file states is compared: a rate that it lacks keeps the price in force. A change that looks wrong (more
//! than ten times, to nothing) is taken only when it was accepted.

use std::collections::{BTreeMap, BTreeSet};

use callmeter_core::{PriceMatch, Timestamp};

use super::{ImportError, Imported};
use crate::amount::{Rate, factor_text};
use crate::book::Book;
use crate::compile;
use crate::entry::{Entry, Period, Window};
use crate::format::{
    BookText, ModelText, NamesText, PeriodText, TierText, VariantText, WindowText,
};
use crate::layer::{Layer, LayerKind};
use crate::listing::texts;
use crate::matching::Target;
use crate::rates::{Rates, TOKENS, Tiered, units_of};

/// More than so many times dearer or cheaper looks wrong.
const SUSPICIOUS: i128 = 10;

/// How an import is taken.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImportOptions {
    /// From when changed prices hold.
    pub effective: Timestamp,
    /// Whether the past is corrected: prices hold from the beginning, or from when the file says.
    pub corrects: bool,
}

impl ImportOptions {
    /// From a moment on, with the past as it is.
    pub fn from(effective: Timestamp) -> Self {
        Self {
            effective,
            corrects: false,
        }
    }
}

/// A model whose price would change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The provider's canonical name.
    pub provider: String,
    /// The model's id in the book, or the file's where the book has none.
    pub model: String,
    /// The book has no price for it yet.
    pub is_new: bool,
    /// What changes.
    pub rates: Vec<RateChange>,
    /// What looks wrong: it is taken only when accepted.
    pub warnings: Vec<String>,
}

/// A rate that would change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateChange {
    /// Its name, with the tier of service and the length that it is for: `batch input over 200000`.
    pub name: String,
    /// The price in force, as printed.
    pub old: Option<String>,
    /// The file's.
    pub new: String,
}

/// What an import would change.
#[derive(Debug)]
#[non_exhaustive]
pub struct Comparison {
    /// Models that change, by provider and model.
    pub changes: Vec<Change>,
    /// How many models the file prices as the book does.
    pub unchanged: usize,
    format: &'static str,
    models: Vec<ModelText>,
    names: Vec<NamesText>,
}

impl Imported {
    /// Compares with a book.
    pub fn compare(&self, book: &Book, options: &ImportOptions) -> Comparison {
        let mut comparison = Comparison {
            changes: Vec::new(),
            unchanged: 0,
            format: self.format.as_str(),
            models: Vec::new(),
            names: Vec::new(),
        };
        let mut seen = BTreeSet::new();
        for model in &self.models {
            let known = known(book, &model.provider, &model.model);
            let id = known.map_or(model.model.as_str(), |(_, entry)| &entry.model);
            // Several names of a file may be one model here: the first counts.
            if !seen.insert((model.provider.clone(), id.to_owned())) {
                continue;
            }
            match known {
                Some((_, entry)) => comparison.known(book, entry, model, options),
                None => comparison.new_model(book, model),
            }
        }
        comparison
            .changes
            .sort_by(|one, two| (&one.provider, &one.model).cmp(&(&two.provider, &two.model)));
        comparison
    }
}

/// The entry that a name means exactly, or by a list.
fn known<'a>(book: &'a Book, provider: &str, model: &str) -> Option<(&'a Layer, &'a Entry)> {
    book.layers().find_map(|layer| {
        let names = layer.index.names(provider)?;
        match names.find(&layer.entries, model)? {
            (PriceMatch::Exact | PriceMatch::Alias, Target::Entry(at)) => {
                Some((&**layer, layer.entries.get(at)?))
            }
            _ => None,
        }
    })
}

/// The entry and the period that price a model at a moment.
fn in_force<'a>(
    book: &'a Book,
    entry: &'a Entry,
    at: Timestamp,
) -> Option<(&'a Entry, &'a Period)> {
    book.layers().find_map(|layer| {
        let own = layer.own(&entry.provider, &entry.model)?;
        Some((own, own.at(at)?))
    })
}

impl Comparison {
    /// Whether anything would change.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// How many changes look wrong.
    pub fn suspicious(&self) -> usize {
        let changes = self.changes.iter();
        changes.filter(|change| !change.warnings.is_empty()).count()
    }

    /// The book with the import as a layer on top, below books of the user's own. Changes that look wrong are left out
    /// unless they are accepted.
    ///
    /// # Errors
    /// When the layer breaks a rule of books, which names the entry.
    pub fn book(&self, book: &Book, version: &str, accepts: bool) -> Result<Book, ImportError> {
        let refused: BTreeSet<(&str, &str)> = self
            .changes
            .iter()
            .filter(|change| !accepts && !change.warnings.is_empty())
            .map(|change| (change.provider.as_str(), change.model.as_str()))
            .collect();
        let is_taken = |provider: &str, model: &str| !refused.contains(&(provider, model));
        let models = self.models.iter();
        let names = self.names.iter();
        let text = BookText {
            name: self.format.to_owned(),
            version: version.to_owned(),
            models: models
                .filter(|model| is_taken(&model.provider, &model.model))
                .cloned()
                .collect(),
            names: names
                .filter(|names| is_taken(&names.provider, &names.model))
                .cloned()
                .collect(),
            ..BookText::default()
        };
        Ok(book.with_layer(compile::layer(&text, LayerKind::Import)?))
    }

    fn new_model(&mut self, book: &Book, model: &ModelText) {
        let mut model = model.clone();
        let mut rates = Vec::new();
        let last = model.periods.last().cloned().unwrap_or_default();
        each_rate(&last, |place, name, text| {
            rates.push(RateChange {
                name: named(place, name),
                old: None,
                new: text.to_owned(),
            });
        });
        model
            .aliases
            .retain(|alias| known(book, &model.provider, alias).is_none());
        self.changes.push(Change {
            provider: model.provider.clone(),
            model: model.model.clone(),
            is_new: true,
            rates,
            warnings: Vec::new(),
        });
        self.models.push(model);
    }

    fn known(&mut self, book: &Book, entry: &Entry, model: &ModelText, options: &ImportOptions) {
        let provider = model.provider.clone();
        let aliases: Vec<String> = model
            .aliases
            .iter()
            .filter(|alias| known(book, &provider, alias).is_none())
            .cloned()
            .collect();
        let Some(newest) = model.periods.last() else {
            return;
        };
        let current = in_force(book, entry, options.effective);
        let now = current
            .map(|(_, period)| period_text(period))
            .unwrap_or_default();
        let mut change = Change {
            provider: provider.clone(),
            model: entry.model.to_string(),
            is_new: current.is_none(),
            rates: Vec::new(),
            warnings: Vec::new(),
        };
        each_rate(newest, |place, name, new| {
            let old = rate_at(&now, place, name);
            differ(&mut change, place, name, old.as_deref(), new);
        });
        if windows_differ(&now, newest) {
            change.rates.push(RateChange {
                name: "hours of the day".to_owned(),
                old: Some(format!("{} windows", now.windows.len())),
                new: format!("{} windows", newest.windows.len()),
            });
        }
        if change.rates.is_empty() {
            self.unchanged = self.unchanged.saturating_add(1);
            self.add_names(&provider, &entry.model, aliases);
            return;
        }
        let base = current.map_or(entry, |(entry, _)| entry);
        let mut periods = Vec::new();
        if options.corrects {
            for period in &model.periods {
                periods.push(over(period, &now));
            }
        } else {
            let mut period = over(newest, &now);
            period.from = Some(options.effective.to_string());
            period.until = None;
            periods.push(period);
        }
        self.models.push(ModelText {
            provider: provider.clone(),
            model: entry.model.to_string(),
            aliases: Vec::new(),
            dated: false,
            cache_writes: Some(
                if base.writes_are_input {
                    "input"
                } else {
                    "rate"
                }
                .to_owned(),
            ),
            regions: base
                .regions
                .iter()
                .map(|(region, factor)| (region.to_string(), factor_text(*factor)))
                .collect(),
            periods,
        });
        self.changes.push(change);
        self.add_names(&provider, &entry.model, aliases);
    }

    fn add_names(&mut self, provider: &str, model: &str, names: Vec<String>) {
        if !names.is_empty() {
            self.names.push(NamesText {
                provider: provider.to_owned(),
                model: model.to_owned(),
                names,
            });
        }
    }
}

/// A tier of service and a length.
type Place<'a> = (&'a str, Option<u64>);

fn named((tier, over): Place<'_>, name: &str) -> String {
    let over = over.map(|over| format!(" over {over}")).unwrap_or_default();
    match tier {
        "" => format!("{name}{over}"),
        tier => format!("{tier} {name}{over}"),
    }
}

/// Calls `f` with every rate of a period.
fn each_rate<'a>(period: &'a PeriodText, mut f: impl FnMut(Place<'a>, &'a str, &'a str)) {
    let mut all = |tier: &'a str, rates: &'a BTreeMap<String, String>, tiers: &'a [TierText]| {
        for (name, text) in rates {
            f((tier, None), name, text);
        }
        for step in tiers {
            for (name, text) in &step.rates {
                f((tier, Some(step.over)), name, text);
            }
        }
    };
    all("", &period.rates, &period.tiers);
    for (name, variant) in &period.variants {
        all(name, &variant.rates, &variant.tiers);
    }
}

/// The price in force for what a rate of the file is for.
fn rate_at(now: &PeriodText, (tier, over): Place<'_>, name: &str) -> Option<String> {
    let (rates, tiers) = match tier {
        "" => (&now.rates, &now.tiers),
        tier => {
            let variant = now.variants.get(tier)?;
            (&variant.rates, &variant.tiers)
        }
    };
    let mut steps = tiers.iter().rev();
    let step = over.and_then(|over| steps.find(|step| step.over <= over));
    step.and_then(|step| step.rates.get(name))
        .or_else(|| rates.get(name))
        .cloned()
}

fn differ(change: &mut Change, place: Place<'_>, name: &str, old: Option<&str>, new: &str) {
    let units = units_of(name).unwrap_or(TOKENS);
    let read = |text: &str| Rate::parse(text, units);
    let Some(after) = read(new) else { return };
    let before = old.and_then(read);
    if before == Some(after) {
        return;
    }
    let name = named(place, name);
    if let Some(before) = before {
        let (old, is_free) = (old.unwrap_or_default(), after.pico == 0);
        if after.exceeds(before, SUSPICIOUS) || before.exceeds(after, SUSPICIOUS) {
            let warning = format!("{name} from {old} to {new}: more than {SUSPICIOUS} times");
            change.warnings.push(warning);
        } else if is_free {
            change.warnings.push(format!("{name} from {old} to 0"));
        }
    }
    change.rates.push(RateChange {
        name,
        old: old.map(str::to_owned),
        new: after.to_text(units),
    });
}

fn windows_differ(now: &PeriodText, new: &PeriodText) -> bool {
    let plain = |windows: &[WindowText]| -> Vec<(String, String, String)> {
        let mut plain: Vec<_> = windows
            .iter()
            .map(|window| {
                (
                    window.utc.0.clone(),
                    window.utc.1.clone(),
                    window.factor.clone(),
                )
            })
            .collect();
        plain.sort();
        plain
    };
    !new.windows.is_empty() && plain(&now.windows) != plain(&new.windows)
}

/// The file's period, with the rates in force where it has none.
fn over(new: &PeriodText, now: &PeriodText) -> PeriodText {
    let mut merged = now.clone();
    (merged.from, merged.until) = (new.from.clone(), new.until.clone());
    (merged.source, merged.verified_at) = (new.source.clone(), new.verified_at.clone());
    merged.rates.extend(new.rates.clone());
    add_tiers(&mut merged.tiers, &new.tiers);
    for (name, variant) in &new.variants {
        let into = merged.variants.entry(name.clone()).or_default();
        into.rates.extend(variant.rates.clone());
        add_tiers(&mut into.tiers, &variant.tiers);
    }
    if !new.windows.is_empty() {
        merged.windows.clone_from(&new.windows);
    }
    // A cached read that is now dearer than input is no price that stays.
    let pair = ["cache_read", "input"].map(|name| merged.rates.get_key_value(name));
    let pair = pair.into_iter().flatten();
    if Rates::read(pair.map(|(name, text)| (name.as_str(), text.as_str()))).is_err() {
        merged.rates.remove("cache_read");
    }
    merged
}

fn add_tiers(into: &mut Vec<TierText>, new: &[TierText]) {
    for tier in new {
        match into.iter_mut().find(|known| known.over == tier.over) {
            Some(known) => known.rates.extend(tier.rates.clone()),
            None => into.push(tier.clone()),
        }
    }
    into.sort_by_key(|tier| tier.over);
}

/// A period as it is written.
fn period_text(period: &Period) -> PeriodText {
    let (rates, tiers) = tiered_text(&period.standard);
    let variants = period.variants.iter().map(|(name, tiered)| {
        let (rates, tiers) = tiered_text(tiered);
        (name.to_string(), VariantText { rates, tiers })
    });
    PeriodText {
        from: None,
        until: None,
        rates,
        tiers,
        variants: variants.collect(),
        windows: period.windows.iter().map(window_text).collect(),
        source: None,
        verified_at: None,
    }
}

fn tiered_text(tiered: &Tiered) -> (BTreeMap<String, String>, Vec<TierText>) {
    let tiers = tiered.tiers().iter().map(|(over, rates)| TierText {
        over: *over,
        rates: texts(rates).collect(),
    });
    (texts(tiered.base()).collect(), tiers.collect())
}

fn window_text(window: &Window) -> WindowText {
    let time = |minute: i64| format!("{:02}:{:02}", minute.div_euclid(60), minute.rem_euclid(60));
    let days = (1..=7_u8).filter(|day| {
        let bits = window.weekdays.checked_shr(u32::from(*day));
        bits.is_some_and(|bits| bits & 1 == 1)
    });
    WindowText {
        utc: (time(window.start_minute), time(window.end_minute)),
        weekdays: (window.weekdays != Window::DAILY).then(|| days.collect()),
        from: window.from.map(|at| at.to_string()),
        until: window.until.map(|at| at.to_string()),
        factor: factor_text(window.factor),
    }
}
