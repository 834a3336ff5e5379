//! From a question to an answer: which days the rollups answer, which edges are summed from rows, and how groups
//! of numbers become rows of words.
//!
//! Whole accounting days come from `roll_day`; the edges of a range that begins or ends within a day, and reports
//! in another zone than the store's, from rows. Both give the same figures. Reading groups and rows, in one
//! snapshot, is left to the store's module.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use callmeter_core::{Billing, Timestamp, UnpricedReason, UsdTotal};

use crate::names::{NameKind, OTHER, ScopeWords};
use crate::question::{
    Dimension, Filter, Period, ReportQuery, ReportRow, Totals, Unpriced, billing_word,
};
use crate::rollup::{AdmissionKey, Group, SUMS};
use crate::{AccountingZone, Histogram, StoreError};

const PICO_PER_MICRO: i128 = 1_000_000;

/// The numbers of a group: scope, caller, provider, model, status, fallback target (0 = none).
pub(crate) type Key = [i64; 6];

/// What rows are given to: a moment, a key, sums, durations.
pub(crate) type Take<'a> =
    dyn FnMut(Timestamp, Key, [i64; SUMS], &[i64]) -> Result<(), StoreError> + 'a;

/// What groups of `roll_day` are given to: a day, a key, sums, the stored form of a histogram.
pub(crate) type TakeDay<'a> =
    dyn FnMut(i64, Key, [i64; SUMS], &[u8]) -> Result<(), StoreError> + 'a;

/// Where groups come from: a store's tables, in one snapshot.
pub(crate) trait Source {
    /// The zone of the store's accounting days.
    fn zone(&self) -> &AccountingZone;

    /// Gives the groups of `roll_day` from day `first` on and before day `last` to `take`; the filter's times are not
    /// looked at.
    fn days(
        &mut self,
        filter: &Filter,
        first: Option<i64>,
        last: Option<i64>,
        take: &mut TakeDay<'_>,
    ) -> Result<(), StoreError>;

    /// Gives the rows of a filter to `take`, one by one or several of one key and quarter of an hour together: when
    /// they started, their key, their sums, and their durations.
    fn rows(&mut self, filter: &Filter, take: &mut Take<'_>) -> Result<(), StoreError>;

    /// Says which words will be asked for, so that they can be fetched together.
    fn expect_words(&mut self, _numbers: &[i64]) -> Result<(), StoreError> {
        Ok(())
    }

    /// Those of the names that the rollups know on their days.
    fn admitted(
        &mut self,
        names: &BTreeSet<AdmissionKey>,
    ) -> Result<HashSet<AdmissionKey>, StoreError>;

    /// The word of a number.
    fn word(&mut self, number: i64) -> Result<Arc<str>, StoreError>;

    /// The words of a scope; `None` for the one that stands for those beyond the limit.
    fn scope_words(&mut self, number: i64) -> Result<Option<Arc<ScopeWords>>, StoreError>;
}

/// A row of a report on its way: groups are added up by their numbers, and put into words once.
#[derive(Debug, Default)]
struct Sum {
    group: Group,
    /// Histograms in their stored form, one behind the other, and where each ends.
    blobs: Vec<u8>,
    ends: Vec<usize>,
}

impl Sum {
    fn add(&mut self, sums: [i64; SUMS], blob: &[u8]) {
        for (sum, share) in self.group.sums.iter_mut().zip(sums) {
            *sum = sum.saturating_add(share);
        }
        self.blobs.extend_from_slice(blob);
        self.ends.push(self.blobs.len());
    }

    fn add_group(&mut self, group: &Group) {
        self.add(group.sums, &[]);
        self.group.durations.merge(&group.durations);
    }

    fn finish(mut self) -> Group {
        let mut from = 0;
        let blobs = self.ends.iter().map(|end| {
            let blob = self.blobs.get(from..*end).unwrap_or_default();
            from = *end;
            blob
        });
        self.group.durations.merge(&Histogram::of_blobs(blobs));
        self.group
    }
}

/// Groups by period and numbers, of which only those are kept that are asked for.
#[derive(Debug)]
struct Sheet<'q> {
    query: &'q ReportQuery,
    sums: HashMap<(Option<i64>, Key), Sum>,
}

impl Sheet<'_> {
    fn at(&mut self, day: i64, key: Key) -> &mut Sum {
        let [scope, caller, provider, model, status, fallback_to] = key;
        let asked = |dimension, number| {
            if self.query.by.contains(&dimension) {
                number
            } else {
                0
            }
        };
        // Scope and status tell how calls are paid for and how they ended, whatever is asked for.
        let key = [
            scope,
            asked(Dimension::Caller, caller),
            asked(Dimension::Provider, provider),
            asked(Dimension::Model, model),
            status,
            asked(Dimension::FallbackTo, fallback_to),
        ];
        let period = self.query.period.start_of(day);
        self.sums.entry((period, key)).or_default()
    }
}

/// Answers a report, its rows by period and key.
pub(crate) fn report(
    source: &mut impl Source,
    query: &ReportQuery,
) -> Result<Vec<ReportRow>, StoreError> {
    let mut sheet = Sheet {
        query,
        sums: HashMap::new(),
    };
    fill(source, &mut sheet)?;
    let mut numbers: Vec<i64> = sheet
        .sums
        .keys()
        .flat_map(|(_, key)| key.iter().copied().skip(1))
        .filter(|number| *number != 0)
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    source.expect_words(&numbers)?;
    let mut rows: BTreeMap<(Option<i64>, Vec<Option<String>>), Totals> = BTreeMap::new();
    for ((period, key), sum) in sheet.sums {
        let (key, totals) = words_of(source, key, &sum.finish(), &query.by)?;
        rows.entry((period, key)).or_default().add(&totals);
    }
    Ok(rows
        .into_iter()
        .map(|((period_start, key), totals)| ReportRow {
            period_start,
            key,
            totals,
        })
        .collect())
}

/// The report that is only the sums over all calls of a filter.
pub(crate) fn totals_query(filter: &Filter) -> ReportQuery {
    ReportQuery {
        filter: filter.clone(),
        ..ReportQuery::default()
    }
}

/// The sums of the report that [`totals_query`] asks for.
pub(crate) fn totals_of_rows(rows: Vec<ReportRow>) -> Totals {
    rows.into_iter()
        .next()
        .map(|row| row.totals)
        .unwrap_or_default()
}

/// Calls without a price in words: provider, model, code of the reason, how many; the most first.
pub(crate) fn unpriced(
    source: &mut impl Source,
    groups: Vec<[i64; 4]>,
) -> Result<Vec<Unpriced>, StoreError> {
    let mut unpriced = Vec::with_capacity(groups.len());
    for [provider, model, reason, calls] in groups {
        let reason = u8::try_from(reason)
            .ok()
            .and_then(UnpricedReason::from_code);
        unpriced.push(Unpriced {
            provider: source.word(provider)?.to_string(),
            model: source.word(model)?.to_string(),
            reason: reason.map_or("unknown", UnpricedReason::as_str).to_owned(),
            calls: calls.cast_unsigned(),
        });
    }
    unpriced.sort_by(|a, b| {
        let key = |of: &Unpriced| (of.model.clone(), of.provider.clone(), of.reason.clone());
        b.calls.cmp(&a.calls).then_with(|| key(a).cmp(&key(b)))
    });
    Ok(unpriced)
}

/// Puts whole days and edges on the sheet.
fn fill(source: &mut impl Source, sheet: &mut Sheet<'_>) -> Result<(), StoreError> {
    let query = sheet.query;
    let filter = &query.filter;
    let zone = source.zone().clone();
    let own_zone = query.zone.as_deref().is_none_or(|name| name == zone.name());
    if !own_zone && query.period != Period::Whole {
        let zone = AccountingZone::named(query.zone.as_deref().unwrap_or("UTC"))?;
        return fill_by_rows(source, sheet, filter, &zone);
    }
    if filter.cost_source.is_some() {
        return fill_by_rows(source, sheet, filter, &zone);
    }
    // The first day that begins in the range, and the first that does not end in it.
    let first = filter.since.map(|since| {
        let day = zone.day_of(since);
        if zone.day_start(day) == since {
            day
        } else {
            day.saturating_add(1)
        }
    });
    let last = filter.until.map(|until| zone.day_of(until));
    if let (Some(first), Some(last)) = (first, last)
        && last < first
    {
        return fill_by_rows(source, sheet, filter, &zone);
    }
    source.days(filter, first, last, &mut |day, key, sums, blob| {
        sheet.at(day, key).add(sums, blob);
        Ok(())
    })?;
    if let (Some(since), Some(first)) = (filter.since, first)
        && zone.day_start(first) > since
    {
        let edge = Filter {
            until: Some(zone.day_start(first)),
            ..filter.clone()
        };
        fill_by_rows(source, sheet, &edge, &zone)?;
    }
    if let (Some(until), Some(last)) = (filter.until, last)
        && zone.day_start(last) < until
    {
        let edge = Filter {
            since: Some(zone.day_start(last)),
            ..filter.clone()
        };
        fill_by_rows(source, sheet, &edge, &zone)?;
    }
    Ok(())
}

/// The same from rows, for stretches of time that are no whole accounting days.
fn fill_by_rows(
    source: &mut impl Source,
    sheet: &mut Sheet<'_>,
    filter: &Filter,
    zone: &AccountingZone,
) -> Result<(), StoreError> {
    let mut groups: HashMap<(i64, i64, Key), Group> = HashMap::new();
    let own_zone = source.zone().clone();
    source.rows(filter, &mut |started_at, key, sums, durations| {
        let days = (zone.day_of(started_at), own_zone.day_of(started_at), key);
        groups.entry(days).or_default().add_sums(sums, durations)
    })?;
    let names = groups
        .keys()
        .flat_map(|(_, own_day, key)| names_of(*own_day, key));
    let known = source.admitted(&names.collect())?;
    for ((day, own_day, mut key), group) in groups {
        fold_unknown(&known, own_day, &mut key);
        sheet.at(day, key).add_group(&group);
    }
    Ok(())
}

const KINDS: [NameKind; 5] = [
    NameKind::Caller,
    NameKind::Provider,
    NameKind::Model,
    NameKind::Status,
    NameKind::Fallback,
];

/// The names of a key as the rollups of a day admit them.
fn names_of(day: i64, key: &Key) -> impl Iterator<Item = AdmissionKey> + use<> {
    let [scope, names @ ..] = *key;
    names
        .into_iter()
        .zip(KINDS)
        .filter(|(name, _)| *name != 0)
        .map(move |(name, kind)| (day, scope, kind, name))
}

/// Puts `~other` for names that the rollups of that day do not know, as they do.
fn fold_unknown(known: &HashSet<AdmissionKey>, day: i64, key: &mut Key) {
    let [scope, names @ ..] = key;
    for (name, kind) in names.iter_mut().zip(KINDS) {
        if *name != 0 && !known.contains(&(day, *scope, kind, *name)) {
            *name = OTHER;
        }
    }
}

fn words_of(
    source: &mut impl Source,
    key: Key,
    group: &Group,
    by: &[Dimension],
) -> Result<(Vec<Option<String>>, Totals), StoreError> {
    let [scope, caller, provider, model, status, fallback_to] = key;
    let scope = source.scope_words(scope)?;
    let mut word =
        |number: i64| -> Result<String, StoreError> { Ok(source.word(number)?.to_string()) };
    let status_word = word(status)?;
    let mut key = Vec::with_capacity(by.len());
    for dimension in by {
        key.push(match dimension {
            Dimension::Caller => Some(word(caller)?),
            Dimension::Provider => Some(word(provider)?),
            Dimension::Model => Some(word(model)?),
            Dimension::Status => Some(status_word.clone()),
            Dimension::FallbackTo if fallback_to == 0 => None,
            Dimension::FallbackTo => Some(word(fallback_to)?),
            of_scope => match &scope {
                Some(words) => scope_word(words, *of_scope),
                None => Some("~other".to_owned()),
            },
        });
    }
    let billing = scope.and_then(|words| words.billing);
    Ok((key, totals_of(group, status_word, billing)))
}

fn scope_word(words: &ScopeWords, dimension: Dimension) -> Option<String> {
    match dimension {
        Dimension::Project => words.project.clone(),
        Dimension::Team => words.team.clone(),
        Dimension::CostCenter => words.cost_center.clone(),
        Dimension::Service => words.service.clone(),
        Dimension::Environment => words.environment.clone(),
        Dimension::Billing => billing_word(words.billing),
        _ => None,
    }
}

fn totals_of(group: &Group, status: String, billing: Option<Billing>) -> Totals {
    let Group { sums, durations } = group;
    let [
        n,
        with_usage,
        input,
        output,
        read,
        written,
        reasoning,
        micro,
        pico,
        unpriced,
        cached,
        rag,
        ..,
    ] = sums.map(i64::cast_unsigned);
    let money = i128::from(micro.cast_signed()) * PICO_PER_MICRO + i128::from(pico.cast_signed());
    let money = UsdTotal::from_pico(money);
    let (cost, plan_value) = if billing == Some(Billing::Plan) {
        (UsdTotal::default(), money)
    } else {
        (money, UsdTotal::default())
    };
    Totals {
        calls: n,
        with_usage,
        input_tokens: input,
        output_tokens: output,
        cache_read_tokens: read,
        cache_write_tokens: written,
        reasoning_tokens: reasoning,
        cost,
        plan_value,
        unpriced,
        cache_hits: cached,
        rag_hits: rag,
        by_status: BTreeMap::from([(status, n)]),
        durations: Histogram::clone(durations),
    }
}
