//! From a book's text to what look-ups need, with the checks of R-27.

use std::collections::{BTreeMap, BTreeSet};

use callmeter_core::Timestamp;

use crate::amount::{Rate, factor};
use crate::currency::Currency;
use crate::entry::{Dated, Entry, Period, Window, price_id};
use crate::format::{
    BookError, BookText, CurrencyText, DiscountText, ModelText, PeriodText, Problem, RuleText,
    TierText, WindowText,
};
use crate::layer::{Basis, Discount, Layer, LayerKind, Link, Rule};
use crate::providers::{canonical_provider, charges_cache_writes_as_input};
use crate::rates::{Rates, Tiered};

/// Compiles a book's text.
///
/// # Errors
/// The first value that breaks a rule, with its key.
pub(crate) fn layer(text: &BookText, kind: LayerKind) -> Result<Layer, BookError> {
    let mut entries = Vec::with_capacity(text.models.len());
    for (at, model) in text.models.iter().enumerate() {
        entries.push(entry(model).map_err(|problem| {
            let provider = canonical_provider(&model.provider);
            let name = format!("{provider}/{}", model.model);
            problem.within(&format!("models[{at}]")).of_entry(name)
        })?);
    }
    let within = |part: &str, at: usize, problem: Problem| {
        problem.within(&format!("{part}[{at}]")).of_entry(part)
    };
    let mut rules = Vec::with_capacity(text.rules.len());
    for (at, given) in text.rules.iter().enumerate() {
        rules.push(rule(given).map_err(|problem| within("rules", at, problem))?);
    }
    let mut discounts = Vec::with_capacity(text.discounts.len());
    for (at, given) in text.discounts.iter().enumerate() {
        discounts.push(discount(given).map_err(|problem| within("discounts", at, problem))?);
    }
    let links = text
        .names
        .iter()
        .flat_map(|link| {
            let provider = canonical_provider(&link.provider);
            link.names.iter().map(move |name| Link {
                provider: provider.into(),
                name: name.as_str().into(),
                model: link.model.as_str().into(),
            })
        })
        .collect();
    let currency = text
        .currency
        .as_ref()
        .map(|given| currency(given).map_err(|problem| problem.within("currency")))
        .transpose()
        .map_err(|problem| problem.of_entry("currency"))?;
    Layer::new(&text.name, &text.version, kind, entries, rules)?.with_extras(
        links,
        discounts,
        currency,
        text.write(),
    )
}

fn entry(text: &ModelText) -> Result<Entry, Problem> {
    let provider = canonical_provider(&text.provider);
    if text.model.trim().is_empty() || provider.is_empty() {
        let key = if provider.is_empty() {
            "provider"
        } else {
            "model"
        };
        return Err(Problem::new(key, "provider and model must not be empty"));
    }
    let mut periods: Vec<Period> = Vec::with_capacity(text.periods.len());
    for (at, given) in text.periods.iter().enumerate() {
        let key = format!("periods[{at}]");
        let compiled =
            period(given, provider, &text.model).map_err(|problem| problem.within(&key))?;
        let follows = match (periods.last().map(|last| last.until), compiled.from) {
            (None, _) => true,
            (Some(Some(until)), Some(from)) => from >= until,
            _ => false,
        };
        if !follows {
            return Err(Problem::new(
                format!("{key}.from"),
                "periods overlap or are out of order; close each with `until`",
            ));
        }
        periods.push(compiled);
    }
    if periods.is_empty() {
        return Err(Problem::new(
            "periods",
            "it has no period; add [[models.periods]]",
        ));
    }
    let mut regions = Vec::with_capacity(text.regions.len());
    for (region, given) in &text.regions {
        regions.push((
            region.to_ascii_lowercase().into(),
            factor_of(given)
                .map_err(|problem| Problem::new(format!("regions.{region}"), problem))?,
        ));
    }
    let has_write_rate = text.periods.iter().any(|period| {
        let mut names = period.rates.keys();
        names.any(|name| name.starts_with("cache_write"))
    });
    let writes_are_input = match text.cache_writes.as_deref() {
        None => charges_cache_writes_as_input(provider) && !has_write_rate,
        Some("input") => true,
        Some("rate") => false,
        Some(other) => {
            let problem = format!("'{other}' is no way to charge cache writes: input or rate");
            return Err(Problem::new("cache_writes", problem));
        }
    };
    Ok(Entry {
        provider: provider.into(),
        model: text.model.as_str().into(),
        aliases: text
            .aliases
            .iter()
            .map(|name| name.as_str().into())
            .collect(),
        dated: if text.dated { Dated::ANY } else { Dated::NONE },
        writes_are_input,
        regions: regions.into_boxed_slice(),
        periods: periods.into_boxed_slice(),
    })
}

fn period(text: &PeriodText, provider: &str, model: &str) -> Result<Period, Problem> {
    let (from, until) = span(text.from.as_deref(), text.until.as_deref())?;
    let standard = tiered(&text.rates, &text.tiers)?;
    let mut variants = Vec::with_capacity(text.variants.len());
    for (name, variant) in &text.variants {
        let own = tiered(&variant.rates, &variant.tiers)
            .map_err(|problem| problem.within(&format!("variants.{name}")))?;
        variants.push((name.as_str().into(), own.variant_of(&standard)));
    }
    let mut windows = Vec::with_capacity(text.windows.len());
    for (at, given) in text.windows.iter().enumerate() {
        let key = format!("windows[{at}]");
        windows.push(window(given).map_err(|problem| problem.within(&key))?);
    }
    Ok(Period {
        from,
        until,
        standard,
        variants: variants.into_boxed_slice(),
        windows: windows.into_boxed_slice(),
        price_id: price_id(provider, model, text.from.as_deref()),
        source: text.source.as_deref().unwrap_or_default().into(),
        verified_at: text.verified_at.as_deref().unwrap_or_default().into(),
    })
}

/// The beginning and the end of a time, which must not be empty.
fn span(
    from: Option<&str>,
    until: Option<&str>,
) -> Result<(Option<Timestamp>, Option<Timestamp>), Problem> {
    let bound = |key: &str, text: Option<&str>| {
        text.map(|text| moment(text).map_err(|problem| Problem::new(key, problem)))
            .transpose()
    };
    let (from, until) = (bound("from", from)?, bound("until", until)?);
    if let (Some(from), Some(until)) = (from, until)
        && until <= from
    {
        return Err(Problem::new("until", "a period ends before it begins"));
    }
    Ok((from, until))
}

fn tiered(base: &BTreeMap<String, String>, tiers: &[TierText]) -> Result<Tiered, Problem> {
    let base = rates(base)?;
    let mut steps = Vec::with_capacity(tiers.len());
    let mut last = 0;
    for (at, tier) in tiers.iter().enumerate() {
        let key = format!("tiers[{at}]");
        if tier.over <= last {
            return Err(Problem::new(
                format!("{key}.over"),
                "tiers must ascend by `over`",
            ));
        }
        last = tier.over;
        let rates = rates(&tier.rates).map_err(|problem| problem.within(&key))?;
        steps.push((tier.over, rates));
    }
    Ok(Tiered::new(base, steps))
}

fn rates(given: &BTreeMap<String, String>) -> Result<Rates, Problem> {
    let given = given
        .iter()
        .map(|(name, amount)| (name.as_str(), amount.as_str()));
    Rates::read(given).map_err(|(name, what)| Problem::new(format!("rates.{name}"), what))
}

fn window(text: &WindowText) -> Result<Window, Problem> {
    let weekdays = match &text.weekdays {
        None => Window::DAILY,
        Some(days) => weekdays(days).map_err(|problem| Problem::new("weekdays", problem))?,
    };
    let (from, until) = span(text.from.as_deref(), text.until.as_deref())?;
    let time = |text: &str| time_of_day(text).map_err(|problem| Problem::new("utc", problem));
    Ok(Window {
        start_minute: time(&text.utc.0)?,
        end_minute: time(&text.utc.1)?,
        weekdays,
        from,
        until,
        factor: factor_of(&text.factor).map_err(|problem| Problem::new("factor", problem))?,
    })
}

fn weekdays(days: &BTreeSet<u8>) -> Result<u8, String> {
    days.iter().try_fold(0_u8, |bits, day| {
        let bit = 1_u8.checked_shl(u32::from(*day)).filter(|bit| *bit > 1);
        bit.map(|bit| bits | bit)
            .ok_or_else(|| format!("{day} is no weekday: 1 is Monday, 7 is Sunday"))
    })
}

/// Minutes since midnight.
pub(crate) fn time_of_day(text: &str) -> Result<i64, String> {
    let minute = text.split_once(':').and_then(|(hours, minutes)| {
        let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
        ((0..24).contains(&hours) && (0..60).contains(&minutes))
            .then(|| hours.saturating_mul(60).saturating_add(minutes))
    });
    minute.ok_or_else(|| format!("'{text}' is no time of day such as 16:30"))
}

pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|error| format!("'{text}' is {error}"))
}

fn factor_of(text: &str) -> Result<(i64, i64), String> {
    factor(text).ok_or_else(|| format!("'{text}' is no factor such as \"0.85\""))
}

fn rule(text: &RuleText) -> Result<Rule, Problem> {
    let provider = canonical_provider(&text.provider);
    if provider.is_empty() {
        return Err(Problem::new("provider", "a rule is for a provider"));
    }
    let basis = match (text.basis.as_str(), text.gpu_hour.as_deref()) {
        ("self_hosted", None) => Basis::SelfHosted,
        ("free_quota", None) => Basis::FreeQuota,
        ("self_hosted", Some(amount)) => {
            // An hour in microseconds, which durations are counted in.
            let rate = Rate::parse(amount, 3_600_000_000).ok_or_else(|| {
                Problem::new(
                    "gpu_hour",
                    format!("'{amount}' is no price of an hour in USD"),
                )
            })?;
            Basis::GpuHour(rate)
        }
        (other, _) => {
            let problem = format!(
                "'{other}' is no basis: self_hosted (with or without gpu_hour) or free_quota"
            );
            return Err(Problem::new("basis", problem));
        }
    };
    Ok(Rule {
        provider: provider.into(),
        basis,
        except: text.except.iter().map(|end| end.as_str().into()).collect(),
    })
}

fn discount(text: &DiscountText) -> Result<Discount, Problem> {
    if text.provider.is_none() && text.project.is_none() {
        let problem = "a discount is for a provider or a project";
        return Err(Problem::new("provider", problem));
    }
    let (from, until) = span(text.from.as_deref(), text.until.as_deref())?;
    let factor = factor_of(&text.factor).map_err(|problem| Problem::new("factor", problem))?;
    Ok(Discount {
        provider: text.provider.as_deref().map(Into::into),
        project: text.project.as_deref().map(Into::into),
        from,
        until,
        factor,
    })
}

fn currency(text: &CurrencyText) -> Result<Currency, Problem> {
    let is_code = text.code.len() == 3 && text.code.bytes().all(|byte| byte.is_ascii_uppercase());
    if !is_code {
        let problem = format!("'{}' is no currency code such as EUR", text.code);
        return Err(Problem::new("code", problem));
    }
    let mut rates: Vec<(Option<Timestamp>, (i64, i64))> = Vec::with_capacity(text.rates.len());
    for (at, given) in text.rates.iter().enumerate() {
        let key = |name: &str| format!("rates[{at}].{name}");
        let from = given.from.as_deref().map(moment).transpose();
        let from = from.map_err(|problem| Problem::new(key("from"), problem))?;
        if rates.last().is_some_and(|(last, _)| from <= *last) {
            let problem = "rates must ascend by `from`; only the first may go without";
            return Err(Problem::new(key("from"), problem));
        }
        let factor = factor_of(&given.per_usd)
            .ok()
            .filter(|(up, _)| *up > 0)
            .ok_or_else(|| {
                let problem = format!("'{}' is no rate such as \"0.92\"", given.per_usd);
                Problem::new(key("per_usd"), problem)
            })?;
        rates.push((from, factor));
    }
    if rates.is_empty() {
        return Err(Problem::new("rates", "a currency needs a rate"));
    }
    Ok(Currency::new(&text.code, rates))
}
