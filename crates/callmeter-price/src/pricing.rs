//! One call's cost by a book of the common format: key, time, tier, factors, sum.

use callmeter_core::{
    CallRecord, Cost, CostSource, Flags, PicoUsd, PriceMatch, UnpricedReason, Usage,
};

use crate::amount::{Amount, Rate};
use crate::compile::{Entry, Kind, Period, Rates};
use crate::matching::{Found, Index};
use crate::providers::{
    ProviderKinds, charges_cache_writes_as_input, has_free_quota, is_self_hosted, sells_by_route,
};

/// A call's cost with what else came to light.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Priced {
    /// The cost, without the revision of the book.
    pub cost: Cost,
    /// Marks for the row.
    pub flags: Flags,
    /// What the price lacks: the kind of token or fee, or the service tier.
    pub missing: Option<String>,
    /// The `legacy` book does not know the model and calls it free.
    pub is_unknown_to_legacy: bool,
}

impl Priced {
    fn unpriced(reason: UnpricedReason) -> Self {
        let cost = Cost::default();
        Self {
            cost: with(cost, |cost| cost.unpriced_reason = Some(reason)),
            ..Self::default()
        }
    }

    fn lacking(reason: UnpricedReason, what: &str) -> Self {
        Self {
            missing: Some(what.to_owned()),
            ..Self::unpriced(reason)
        }
    }

    /// The reason in words, with what is missing: `missing_rate:audio_in`.
    pub fn reason(&self) -> Option<String> {
        let reason = self.cost.unpriced_reason?;
        Some(match (&self.missing, reason) {
            (Some(what), UnpricedReason::MissingRate) => format!("missing_rate:{what}"),
            (Some(_), UnpricedReason::Tier) => "missing_rate:tier".to_owned(),
            _ => reason.as_str().to_owned(),
        })
    }
}

fn with(mut cost: Cost, change: impl FnOnce(&mut Cost)) -> Cost {
    change(&mut cost);
    cost
}

pub(crate) fn price_by_market(
    entries: &[Entry],
    index: &Index,
    is_own_book: bool,
    record: &CallRecord,
    kinds: &ProviderKinds,
) -> Priced {
    if record.is_counted_elsewhere() {
        return Priced::unpriced(UnpricedReason::CountedElsewhere);
    }
    let mut priced = compute(entries, index, record, kinds);
    priced.cost.cost = priced.cost.computed_cost;
    if priced.cost.cost.is_some() {
        let source = if is_own_book {
            CostSource::Book
        } else {
            CostSource::Catalogue
        };
        priced.cost.cost_source = Some(source);
    }
    // the provider's own figure counts, except a zero that no free model explains.
    if let Some(reported) = record.reported_cost {
        let is_free = priced.cost.computed_cost == Some(PicoUsd::ZERO)
            || record.model_or_requested().ends_with(":free");
        if reported > PicoUsd::ZERO || (reported == PicoUsd::ZERO && is_free) {
            priced.cost.cost = Some(reported);
            priced.cost.cost_source = Some(CostSource::Provider);
            priced.cost.unpriced_reason = None;
            priced.missing = None;
        }
    }
    priced
}

fn compute(entries: &[Entry], index: &Index, record: &CallRecord, kinds: &ProviderKinds) -> Priced {
    let provider = kinds.resolve(record.provider.as_deref().unwrap_or_default());
    // The answered model beats the requested one.
    let model = record.model_or_requested();
    if is_self_hosted(provider) && !is_hosted_tag(model) {
        return by_rule("rule/self_hosted");
    }
    if has_free_quota(provider) {
        return by_rule("rule/free_quota");
    }
    let mut found = index.find(entries, provider, model);
    if matches!(found, Found::UnknownModel)
        && sells_by_route(provider)
        && let Some(requested) = record.model_requested.as_deref()
    {
        // The answer names the maker's model, the request the id that this host sells.
        found = index.find(entries, provider, requested);
    }
    let (entry, how) = match found {
        Found::Entry(at, how) => match entries.get(at) {
            Some(entry) => (entry, how),
            None => return Priced::unpriced(UnpricedReason::UnknownModel),
        },
        Found::UnknownProvider => {
            // A hosted tag of a self-hosted provider is a model that nobody priced.
            let reason = if is_self_hosted(provider) {
                UnpricedReason::UnknownModel
            } else {
                UnpricedReason::UnknownProvider
            };
            return Priced::unpriced(reason);
        }
        Found::UnknownModel => return Priced::unpriced(UnpricedReason::UnknownModel),
    };
    let at = record.finished_at();
    let Some(period) = entry.periods.iter().find(|period| period.holds(at)) else {
        return Priced::unpriced(UnpricedReason::NoPriceAtTime);
    };
    let mut priced = price_in(entry, period, provider, record);
    priced.cost.price_match = Some(how);
    priced
}

/// A hosted model behind a self-hosted provider's name, such as `gpt-oss:120b-cloud`.
fn is_hosted_tag(model: &str) -> bool {
    model.ends_with("-cloud") || model.ends_with(":cloud")
}

fn by_rule(rule: &str) -> Priced {
    let cost = with(Cost::default(), |cost| {
        cost.computed_cost = Some(PicoUsd::ZERO);
        cost.price_id = Some(rule.to_owned());
        cost.price_match = Some(PriceMatch::Rule);
    });
    Priced {
        cost,
        ..Priced::default()
    }
}

fn price_in(entry: &Entry, period: &Period, provider: &str, record: &CallRecord) -> Priced {
    let usage = &record.usage;
    if usage.input_tokens.is_none()
        && usage.output_tokens.is_none()
        && billed_units(usage).is_none()
        && !has_fees(usage)
    {
        return Priced::unpriced(UnpricedReason::NoUsage);
    }
    let tiered = match service_tier(record.service_tier.as_deref()) {
        None => &period.standard,
        Some(tier) => match variant(period, &tier) {
            Some(variant) => variant,
            None => return Priced::lacking(UnpricedReason::Tier, &tier),
        },
    };
    let rates = tiered.at(usage.input_tokens.unwrap_or(0));
    let mut amount = Amount::ZERO;
    let mut flags = Flags::NONE;
    if let Err(kind) = add_tokens(&mut amount, &mut flags, rates, provider, usage) {
        return Priced::lacking(UnpricedReason::MissingRate, kind.name());
    }
    if let Err(fee) = add_fees(&mut amount, rates, usage) {
        return Priced::lacking(UnpricedReason::MissingRate, fee);
    }
    let at = record.finished_at();
    for window in period.windows.iter().filter(|window| window.holds(at)) {
        amount.scale(window.factor);
    }
    if let Some(region) = &record.region
        && let Some((_, factor)) = entry
            .regions
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(region))
    {
        amount.scale(*factor);
    }
    let Some(pico) = amount.round() else {
        return Priced {
            flags,
            ..Priced::unpriced(UnpricedReason::Overflow)
        };
    };
    let cost = with(Cost::default(), |cost| {
        cost.computed_cost = Some(PicoUsd::from_pico(pico));
        cost.price_id = Some(period.price_id.clone());
    });
    Priced {
        cost,
        flags,
        ..Priced::default()
    }
}

/// The tier that changes the price; `None` for the standard one.
fn service_tier(tier: Option<&str>) -> Option<String> {
    let tier = tier?.trim().to_ascii_lowercase();
    let is_standard = [
        "",
        "auto",
        "default",
        "standard",
        "on_demand",
        "ondemand",
        "standard_only",
    ];
    (!is_standard.contains(&tier.as_str())).then_some(tier)
}

fn variant<'a>(period: &'a Period, tier: &str) -> Option<&'a crate::compile::Tiered> {
    period.variants.get(tier)
}

/// What Cohere bills, where it says so beside its token counts.
fn billed_units(usage: &Usage) -> Option<(u64, u64)> {
    let extra = usage.usage_extra.as_ref()?;
    let (input, output) = (extra.get("billed_input"), extra.get("billed_output"));
    (input.is_some() || output.is_some())
        .then(|| (input.copied().unwrap_or(0), output.copied().unwrap_or(0)))
}

/// Charges each token once, as its most special kind.
fn add_tokens(
    amount: &mut Amount,
    flags: &mut Flags,
    rates: &Rates,
    provider: &str,
    usage: &Usage,
) -> Result<(), Kind> {
    let mut charge = |count: u64, kind: Kind, fallback: Option<Kind>| {
        if count == 0 {
            return Ok(());
        }
        let rate = rates
            .token(kind)
            .or_else(|| rates.token(fallback?))
            .ok_or(kind)?;
        amount.add(count, rate);
        Ok(())
    };
    if let Some((input, output)) = billed_units(usage) {
        charge(input, Kind::Input, None)?;
        return charge(output, Kind::Output, None);
    }
    let write_falls_back = charges_cache_writes_as_input(provider).then_some(Kind::Input);
    let known_writes = [
        usage.cache_write_5m_tokens,
        usage.cache_write_1h_tokens,
        usage.cache_write_24h_tokens,
    ]
    .iter()
    .fold(0_u64, |sum, count| sum.saturating_add(count.unwrap_or(0)));
    // Writes of unknown lifetime are of the five-minute kind.
    let short_writes = usage
        .cache_write_tokens
        .unwrap_or(0)
        .saturating_sub(known_writes)
        .saturating_add(usage.cache_write_5m_tokens.unwrap_or(0));
    let mut input_left = usage.input_tokens.unwrap_or(0);
    let mut is_plausible = true;
    let mut take = |count: Option<u64>, left: &mut u64| {
        let count = count.unwrap_or(0);
        let taken = count.min(*left);
        is_plausible &= taken == count;
        *left = left.saturating_sub(taken);
        taken
    };
    charge(
        take(usage.cache_read_tokens, &mut input_left),
        Kind::CacheRead,
        None,
    )?;
    charge(
        take(Some(short_writes), &mut input_left),
        Kind::CacheWrite5m,
        write_falls_back,
    )?;
    charge(
        take(usage.cache_write_1h_tokens, &mut input_left),
        Kind::CacheWrite1h,
        write_falls_back,
    )?;
    charge(
        take(usage.cache_write_24h_tokens, &mut input_left),
        Kind::CacheWrite24h,
        write_falls_back,
    )?;
    charge(
        take(usage.audio_input_tokens, &mut input_left),
        Kind::AudioIn,
        None,
    )?;
    charge(
        take(usage.image_input_tokens, &mut input_left),
        Kind::ImageIn,
        Some(Kind::Input),
    )?;
    charge(
        take(usage.video_input_tokens, &mut input_left),
        Kind::VideoIn,
        Some(Kind::Input),
    )?;
    charge(input_left, Kind::Input, None)?;
    let mut output_left = usage.output_tokens.unwrap_or(0);
    charge(
        take(usage.reasoning_tokens, &mut output_left),
        Kind::Reasoning,
        Some(Kind::Output),
    )?;
    charge(
        take(usage.audio_output_tokens, &mut output_left),
        Kind::AudioOut,
        None,
    )?;
    charge(
        take(usage.image_output_tokens, &mut output_left),
        Kind::ImageOut,
        None,
    )?;
    charge(output_left, Kind::Output, None)?;
    if !is_plausible {
        flags.insert(Flags::USAGE_IMPLAUSIBLE);
    }
    Ok(())
}

/// Units that are billed beside tokens: the usage's name for each, and the rate's.
const FEES: &[(&str, &str)] = &[
    ("web_search", "web_search_1k"),
    ("file_search", "file_search_1k"),
    ("maps_grounding", "per_maps_grounding"),
    ("search_units", "per_query"),
    ("query", "per_query"),
    ("page", "per_page"),
    ("request", "per_request"),
    ("image", "per_image_each_out"),
];

const SECONDS: &str = "seconds_milli";

/// Whether a unit was used that is charged by itself, as ranking and reading pages are.
fn has_fees(usage: &Usage) -> bool {
    let extra = usage.usage_extra.as_ref();
    extra.is_some_and(|extra| {
        let units = FEES.iter().map(|(unit, _)| *unit).chain([SECONDS]);
        units
            .filter_map(|unit| extra.get(unit))
            .any(|count| *count > 0)
    })
}

fn add_fees(amount: &mut Amount, rates: &Rates, usage: &Usage) -> Result<(), &'static str> {
    let Some(extra) = &usage.usage_extra else {
        return Ok(());
    };
    for (unit, fee) in FEES {
        let Some(count) = extra.get(*unit).copied().filter(|count| *count > 0) else {
            continue;
        };
        match rates.fee(fee) {
            Some(rate) => amount.add(count, rate),
            None => return Err(unit),
        }
    }
    // Speech that is charged by its length comes without tokens, in thousandths of a second.
    let length = extra.get(SECONDS).copied().filter(|count| *count > 0);
    if let Some(count) = length.filter(|_| usage.input_tokens.is_none()) {
        let rate = rates.fee("per_second_in").ok_or("seconds")?;
        let per = rate.per.saturating_mul(1_000);
        amount.add(count, Rate { per, ..rate });
    }
    Ok(())
}
