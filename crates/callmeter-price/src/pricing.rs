//! One call's cost by the layers of a book: key, time, tier, factors, sum.

use std::sync::Arc;

use callmeter_core::{
    CallRecord, Cost, CostSource, Flags, PicoUsd, PriceMatch, Timestamp, UnpricedReason,
};

use crate::amount::{Amount, Factor};
use crate::charge::{Charge, Tape, has_usage};
use crate::entry::{Entry, Period};
use crate::layer::{Basis, Layer, LayerKind};
use crate::matching::Target;
use crate::providers::{ProviderKinds, canonical_provider, same_name, sells_by_route};

/// A call's cost with what else came to light.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Priced {
    /// The cost, without the revision of the book.
    pub cost: Cost,
    /// Marks for the row.
    pub flags: Flags,
    /// What the price lacks: the kind of token or unit, or `tier`.
    pub missing: Option<&'static str>,
    /// The `legacy` book does not know the model and calls it free.
    pub is_unknown_to_legacy: bool,
}

impl Priced {
    fn unpriced(reason: UnpricedReason) -> Self {
        let mut priced = Self::default();
        priced.cost.unpriced_reason = Some(reason);
        priced
    }

    fn lacking(reason: UnpricedReason, what: &'static str) -> Self {
        Self {
            missing: Some(what),
            ..Self::unpriced(reason)
        }
    }

    /// The reason in words, with what is missing: `missing_rate:audio_in`.
    pub fn reason(&self) -> Option<String> {
        let reason = self.cost.unpriced_reason?;
        Some(match (self.missing, reason) {
            (Some(what), UnpricedReason::MissingRate | UnpricedReason::Tier) => {
                format!("missing_rate:{what}")
            }
            _ => reason.as_str().to_owned(),
        })
    }
}

/// Layers, the uppermost first.
pub(crate) type Layers = [Arc<Layer>];

/// Prices a call.
pub(crate) fn price<T: Tape>(
    layers: &Layers,
    record: &CallRecord,
    kinds: &ProviderKinds,
    tape: &mut T,
) -> Priced {
    if record.is_counted_elsewhere() {
        return Priced::unpriced(UnpricedReason::CountedElsewhere);
    }
    let mut priced = compute(layers, record, kinds, tape);
    let cost = &mut priced.cost;
    cost.cost = cost.computed_cost;
    // the provider's own figure counts, except a zero that no free model explains.
    if let Some(reported) = record.reported_cost {
        let is_free = cost.computed_cost == Some(PicoUsd::ZERO)
            || record.model_or_requested().ends_with(":free");
        if reported > PicoUsd::ZERO || (reported == PicoUsd::ZERO && is_free) {
            cost.cost = Some(reported);
            cost.cost_source = Some(CostSource::Provider);
            cost.unpriced_reason = None;
            priced.missing = None;
        }
    }
    priced
}

/// What a name led to: the layer and the entry in it.
struct Found<'a> {
    at: usize,
    layer: &'a Layer,
    entry: &'a Entry,
    how: PriceMatch,
}

fn compute<T: Tape>(
    layers: &Layers,
    record: &CallRecord,
    kinds: &ProviderKinds,
    tape: &mut T,
) -> Priced {
    let given = record.provider.as_deref().unwrap_or_default();
    let provider = provider(layers, kinds.meant(given));
    // The answered model beats the requested one.
    let model = record.model_or_requested();
    let mut found = find(layers, provider, model);
    if found.is_none()
        && sells_by_route(provider)
        && let Some(requested) = record.model_requested.as_deref()
    {
        // The answer names the maker's model, the request the id that this host sells.
        found = find(layers, provider, requested);
    }
    let depth = found.as_ref().map_or(layers.len(), |found| found.at);
    if let Some(priced) = by_rule(layers, depth, provider, model, record, tape) {
        return priced;
    }
    let Some(found) = found else {
        let knows = |layer: &Arc<Layer>| layer.index.names(provider).is_some();
        return Priced::unpriced(if layers.iter().any(knows) {
            UnpricedReason::UnknownModel
        } else {
            UnpricedReason::UnknownProvider
        });
    };
    tape.found(found.layer, found.entry);
    let Some((layer, entry, period)) = in_force(layers, &found, record.finished_at()) else {
        return Priced::unpriced(UnpricedReason::NoPriceAtTime);
    };
    let discount = discount(layers, record, given, provider);
    let mut priced = price_in(layer, (entry, period), provider, record, discount, tape);
    priced.cost.price_match = Some(found.how);
    priced
}

/// The canonical provider. Nearly always the name is canonical already, which one look-up tells.
fn provider<'a>(layers: &Layers, name: &'a str) -> &'a str {
    match layers.last() {
        Some(layer) if layer.index.names(name).is_some() => name,
        _ => canonical_provider(name),
    }
}

/// The entry of a name: the strongest step that any layer hits, of equal steps the uppermost.
fn find<'a>(layers: &'a Layers, provider: &str, model: &str) -> Option<Found<'a>> {
    let mut best: Option<(PriceMatch, usize, Target<'a>)> = None;
    for (at, layer) in layers.iter().enumerate() {
        let Some(names) = layer.index.names(provider) else {
            continue;
        };
        if let Some((how, target)) = names.find(&layer.entries, model)
            && best.is_none_or(|(known, _, _)| how.code() < known.code())
        {
            best = Some((how, at, target));
        }
    }
    let (how, at, target) = best?;
    let (at, entry) = match target {
        Target::Entry(index) => (at, layers.get(at)?.entries.get(index)?),
        // A further name of a model that a layer has: of this one, else of one below.
        Target::Model(model) => layers
            .iter()
            .enumerate()
            .find_map(|(at, layer)| Some((at, layer.own(provider, model)?)))?,
    };
    Some(Found {
        at,
        layer: layers.get(at)?,
        entry,
        how,
    })
}

/// The price of a moment: of the uppermost layer that has one for this model then.
fn in_force<'a>(
    layers: &'a Layers,
    found: &Found<'a>,
    at: Timestamp,
) -> Option<(&'a Layer, &'a Entry, &'a Period)> {
    if let [layer] = layers {
        return Some((layer, found.entry, found.entry.at(at)?));
    }
    layers.iter().enumerate().find_map(|(index, layer)| {
        let entry = if index == found.at {
            found.entry
        } else {
            layer.own(&found.entry.provider, &found.entry.model)?
        };
        Some((&**layer, entry, entry.at(at)?))
    })
}

/// A price by a rule of the provider, unless a layer above the rule names the model.
fn by_rule<T: Tape>(
    layers: &Layers,
    depth: usize,
    provider: &str,
    model: &str,
    record: &CallRecord,
    tape: &mut T,
) -> Option<Priced> {
    for (at, layer) in layers.iter().enumerate() {
        let Some(place) = layer.index.names(provider).and_then(|names| names.rule) else {
            continue;
        };
        let place = usize::try_from(place).ok()?;
        let rule = layer.rules.get(place)?;
        if !rule.holds_for(model) || depth <= at {
            return None;
        }
        tape.rule(layer, rule);
        let mut priced = Priced::default();
        priced.cost.price_match = Some(PriceMatch::Rule);
        priced.cost.price_id = layer.rule_ids.get(place).cloned();
        let mut amount = Amount::ZERO;
        if let Basis::GpuHour(rate) = rule.basis {
            let Some(duration) = record.duration_us else {
                return Some(Priced::lacking(UnpricedReason::MissingRate, "duration"));
            };
            tape.line("microseconds", duration, rate);
            amount.add(duration, rate);
        }
        return Some(finish(priced, amount, layer.kind));
    }
    None
}

fn price_in<T: Tape>(
    layer: &Layer,
    (entry, period): (&Entry, &Period),
    provider: &str,
    record: &CallRecord,
    discount: Option<Factor>,
    tape: &mut T,
) -> Priced {
    let usage = &record.usage;
    let tier = record.service_tier.as_deref().and_then(service_tier);
    let tiered = match tier {
        None => &period.standard,
        Some(tier) => match variant(period, provider, tier) {
            Some(variant) => variant,
            None => return Priced::lacking(UnpricedReason::Tier, "tier"),
        },
    };
    // All input counts for the threshold, and the whole request is charged at its tier.
    let input = usage.input_tokens.unwrap_or(0);
    let rates = tiered.at(input);
    tape.period(layer, period, tier, tiered.over(input));
    if !has_usage(usage) {
        return Priced::unpriced(UnpricedReason::NoUsage);
    }
    let mut charge = Charge::new(tape);
    let charged = charge
        .all_tokens(rates, entry.writes_are_input, usage)
        .and_then(|()| charge.all_units(rates, usage));
    if let Err(what) = charged {
        return Priced::lacking(UnpricedReason::MissingRate, what);
    }
    let Charge {
        mut amount, flags, ..
    } = charge;
    let at = record.finished_at();
    for window in period.windows.iter().filter(|window| window.holds(at)) {
        tape.factor("time of day", window.factor);
        amount.scale(window.factor);
    }
    if let Some(region) = record.region.as_deref()
        && let Some(factor) = entry.region(region)
    {
        tape.factor("region", factor);
        amount.scale(factor);
    }
    if let Some(factor) = discount {
        tape.factor("discount", factor);
        amount.scale(factor);
    }
    let mut priced = Priced {
        flags,
        ..Priced::default()
    };
    priced.cost.price_id = Some(Arc::clone(&period.price_id));
    finish(priced, amount, layer.kind)
}

/// Rounds, once.
fn finish(mut priced: Priced, amount: Amount, kind: LayerKind) -> Priced {
    let Some(pico) = amount.round() else {
        return Priced {
            flags: priced.flags,
            ..Priced::unpriced(UnpricedReason::Overflow)
        };
    };
    priced.cost.computed_cost = Some(PicoUsd::from_pico(pico));
    priced.cost.cost_source = Some(match kind {
        LayerKind::Book => CostSource::Book,
        _ => CostSource::Catalogue,
    });
    priced
}

/// The tier that changes the price; `None` for the standard one.
fn service_tier(tier: &str) -> Option<&str> {
    let tier = tier.trim();
    let is_standard = [
        "",
        "auto",
        "default",
        "standard",
        "on_demand",
        "ondemand",
        "standard_only",
    ];
    let is_standard = is_standard
        .iter()
        .any(|word| tier.eq_ignore_ascii_case(word));
    (!is_standard).then_some(tier)
}

/// The price under a tier, which providers and lists call by more than one name.
fn variant<'a>(period: &'a Period, provider: &str, tier: &str) -> Option<&'a crate::rates::Tiered> {
    let others: &[&str] = match provider {
        // OpenAI's `fast` is `priority` since 2026.
        "openai" | "azure_openai" if tier.eq_ignore_ascii_case("fast") => &["priority"],
        "openai" | "azure_openai" if tier.eq_ignore_ascii_case("priority") => &["fast"],
        _ if tier.eq_ignore_ascii_case("fast") => &["speed_fast"],
        _ => &[],
    };
    let mut others = others.iter();
    period
        .variant(tier)
        .or_else(|| others.find_map(|other| period.variant(other)))
}

/// The first discount, from the top, that is for this call.
fn discount(layers: &Layers, record: &CallRecord, given: &str, provider: &str) -> Option<Factor> {
    let mut discounts = layers.iter().flat_map(|layer| &layer.discounts);
    let at = record.finished_at();
    discounts
        .find(|discount| {
            let is_its_provider = discount
                .provider
                .as_deref()
                .is_none_or(|name| same_name(given, name) || canonical_provider(name) == provider);
            let project = record.project.as_deref();
            is_its_provider
                && discount
                    .project
                    .as_deref()
                    .is_none_or(|name| project == Some(name))
                && discount.from.is_none_or(|from| at >= from)
                && discount.until.is_none_or(|until| at < until)
        })
        .map(|discount| discount.factor)
}
