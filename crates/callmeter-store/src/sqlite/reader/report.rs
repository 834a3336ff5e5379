//! Reports: sums by any bounded dimension and stretch of time.
//!
//! Whole accounting days come from `roll_day`; the edges of a range that begins or ends within a day, and
//! reports in another zone than the store's, from rows. Both give the same figures.

use std::collections::{BTreeMap, HashMap};

use callmeter_core::{Billing, CallId, UnpricedReason, UsdTotal};

use super::SqliteReader;
use super::calls::Condition;
use crate::question::{
    Dimension, Filter, Period, ReportQuery, ReportRow, Totals, Unpriced, billing_word,
};
use crate::sqlite::names::{NameKind, OTHER, ScopeWords};
use crate::sqlite::rollup::{Group, SUMS, read_group};
use crate::{AccountingZone, Histogram, StoreError};

const PICO_PER_MICRO: i128 = 1_000_000;

/// The numbers of a group: scope, caller, provider, model, status, fallback target.
type Key = [i64; 6];

/// What reports are made of: a group of calls on one day.
struct Piece {
    day: i64,
    key: Key,
    group: Group,
}

impl SqliteReader {
    /// A report, its rows by period and key.
    ///
    /// # Errors
    /// When the store cannot be read, or the zone is not known.
    pub fn report(&mut self, query: &ReportQuery) -> Result<Vec<ReportRow>, StoreError> {
        let mut rows: BTreeMap<(Option<i64>, Vec<Option<String>>), Totals> = BTreeMap::new();
        // One snapshot for all statements: a batch that arrives meanwhile is in all of them or in none.
        self.conn.execute_batch("BEGIN")?;
        let pieces = self.pieces(query);
        self.conn.execute_batch("COMMIT")?;
        for piece in pieces? {
            let (key, totals) = self.words_of(&piece, &query.by)?;
            rows.entry((query.period.start_of(piece.day), key))
                .or_default()
                .add(&totals);
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

    /// The sums over all calls of a filter.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn totals(&mut self, filter: &Filter) -> Result<Totals, StoreError> {
        let query = ReportQuery {
            filter: filter.clone(),
            ..ReportQuery::default()
        };
        let rows = self.report(&query)?;
        Ok(rows
            .into_iter()
            .next()
            .map(|row| row.totals)
            .unwrap_or_default())
    }

    /// Calls without a price, by provider, model and reason, the most first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn unpriced(&mut self, filter: &Filter) -> Result<Vec<Unpriced>, StoreError> {
        let Some(mut condition) = self.condition(filter)? else {
            return Ok(Vec::new());
        };
        condition.and("unpriced_reason IS NOT NULL", []);
        let sql = format!(
            "SELECT provider, model, unpriced_reason, count(*) FROM calls {} GROUP BY 1, 2, 3",
            condition.sql
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query(rusqlite::params_from_iter(condition.values))?;
        let mut unpriced = Vec::new();
        while let Some(row) = rows.next()? {
            let reason = UnpricedReason::from_code(row.get(2)?);
            unpriced.push(Unpriced {
                provider: self.names.word(&self.conn, row.get(0)?)?.to_string(),
                model: self.names.word(&self.conn, row.get(1)?)?.to_string(),
                reason: reason.map_or("unknown", UnpricedReason::as_str).to_owned(),
                calls: row.get::<_, i64>(3)?.cast_unsigned(),
            });
        }
        unpriced.sort_by(|a, b| b.calls.cmp(&a.calls).then_with(|| a.model.cmp(&b.model)));
        Ok(unpriced)
    }

    fn pieces(&mut self, query: &ReportQuery) -> Result<Vec<Piece>, StoreError> {
        let filter = &query.filter;
        let own_zone = query
            .zone
            .as_deref()
            .is_none_or(|name| name == self.zone.name());
        if !own_zone && query.period != Period::Whole {
            let zone = AccountingZone::named(query.zone.as_deref().unwrap_or("UTC"))?;
            return self.pieces_of_rows(filter, &zone);
        }
        let zone = self.zone.clone();
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
            return self.pieces_of_rows(filter, &zone);
        }
        let mut pieces = self.pieces_of_days(filter, first, last)?;
        if let (Some(since), Some(first)) = (filter.since, first)
            && zone.day_start(first) > since
        {
            let edge = Filter {
                until: Some(zone.day_start(first)),
                ..filter.clone()
            };
            pieces.extend(self.pieces_of_rows(&edge, &zone)?);
        }
        if let (Some(until), Some(last)) = (filter.until, last)
            && zone.day_start(last) < until
        {
            let edge = Filter {
                since: Some(zone.day_start(last)),
                ..filter.clone()
            };
            pieces.extend(self.pieces_of_rows(&edge, &zone)?);
        }
        Ok(pieces)
    }

    fn pieces_of_days(
        &self,
        filter: &Filter,
        first: Option<i64>,
        last: Option<i64>,
    ) -> Result<Vec<Piece>, StoreError> {
        let words = Filter {
            since: None,
            until: None,
            ..filter.clone()
        };
        let Some(mut condition) = self.condition(&words)? else {
            return Ok(Vec::new());
        };
        if let Some(first) = first {
            condition.and("day >= ?", [first.into()]);
        }
        if let Some(last) = last {
            condition.and("day < ?", [last.into()]);
        }
        let sql = format!(
            "SELECT day, scope, caller, provider, model, status, fallback_to, {}, durations FROM roll_day {}",
            crate::sqlite::rollup::SUM_COLUMNS,
            condition.sql
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let pieces = statement.query_map(rusqlite::params_from_iter(condition.values), |row| {
            let mut key = [0; 6];
            for (at, number) in key.iter_mut().enumerate() {
                *number = row.get(at + 1)?;
            }
            Ok(Piece {
                day: row.get(0)?,
                key,
                group: read_group(row, 7)?,
            })
        })?;
        Ok(pieces.collect::<Result<_, _>>()?)
    }

    /// The same from rows, for stretches of time that are no whole accounting days.
    fn pieces_of_rows(
        &self,
        filter: &Filter,
        zone: &AccountingZone,
    ) -> Result<Vec<Piece>, StoreError> {
        let Some(Condition { sql, values }) = self.condition(filter)? else {
            return Ok(Vec::new());
        };
        let sql = format!(
            "SELECT hi, lo, scope, caller, provider, model, status, ifnull(fallback_to, 0),
             1, input_tokens IS NOT NULL OR output_tokens IS NOT NULL, ifnull(input_tokens, 0),
             ifnull(output_tokens, 0), ifnull(cache_read_tokens, 0), ifnull(cache_write_tokens, 0),
             ifnull(reasoning_tokens, 0), 0, ifnull(cost_picousd, 0), cost_picousd IS NULL,
             ifnull(cache_hit, 0), ifnull(rag_hit, 0), duration_us IS NOT NULL, ifnull(duration_us, 0)
             FROM calls {sql}"
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query(rusqlite::params_from_iter(values))?;
        let mut pieces: HashMap<(i64, Key), Group> = HashMap::new();
        let mut known: HashMap<(i64, i64, i64, i64), bool> = HashMap::new();
        while let Some(row) = rows.next()? {
            let Some(id) = CallId::from_halves(row.get(0)?, row.get(1)?) else {
                continue;
            };
            let mut key = [0; 6];
            for (at, number) in key.iter_mut().enumerate() {
                *number = row.get(at + 2)?;
            }
            let own_day = self.zone.day_of(id.started_at());
            self.fold_unknown(&mut known, own_day, &mut key)?;
            let group = pieces
                .entry((zone.day_of(id.started_at()), key))
                .or_default();
            let mut shares = [0_i64; SUMS];
            for (at, share) in shares.iter_mut().enumerate() {
                *share = row.get(at + 8)?;
            }
            let is_timed = shares[12] == 1;
            if is_timed {
                group.durations.add(shares[13].cast_unsigned(), 1);
            }
            split_cost(&mut shares);
            for (sum, share) in group.sums.iter_mut().zip(shares) {
                *sum = sum.checked_add(share).ok_or(StoreError::Overflow)?;
            }
        }
        Ok(pieces
            .into_iter()
            .map(|((day, key), group)| Piece { day, key, group })
            .collect())
    }

    /// Puts `~other` for names that the rollups of that day do not know, as they do.
    fn fold_unknown(
        &self,
        known: &mut HashMap<(i64, i64, i64, i64), bool>,
        day: i64,
        key: &mut Key,
    ) -> Result<(), StoreError> {
        let scope = key[0];
        let kinds = [
            NameKind::Caller,
            NameKind::Provider,
            NameKind::Model,
            NameKind::Status,
            NameKind::Fallback,
        ];
        for (number, kind) in key[1..].iter_mut().zip(kinds) {
            if *number == 0 {
                continue;
            }
            let entry = (scope, day, kind as i64, *number);
            let is_known = match known.get(&entry) {
                Some(is_known) => *is_known,
                None => {
                    let found = self
                        .conn
                        .prepare_cached(
                            "SELECT EXISTS (SELECT 1 FROM roll_names WHERE scope = ?1 AND day = ?2
                             AND kind = ?3 AND name = ?4)",
                        )?
                        .query_row(entry, |row| row.get(0))?;
                    known.insert(entry, found);
                    found
                }
            };
            if !is_known {
                *number = OTHER;
            }
        }
        Ok(())
    }

    fn words_of(
        &mut self,
        piece: &Piece,
        by: &[Dimension],
    ) -> Result<(Vec<Option<String>>, Totals), StoreError> {
        let [scope, caller, provider, model, status, fallback_to] = piece.key;
        let scope = self.names.scope_words(&self.conn, scope)?;
        let mut word = |number: i64| -> Result<String, StoreError> {
            Ok(self.names.word(&self.conn, number)?.to_string())
        };
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
        Ok((key, totals_of(&piece.group, status_word, billing)))
    }
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

/// A row's cost comes whole in the place of the second half.
fn split_cost(shares: &mut [i64; SUMS]) {
    let pico = shares[8];
    shares[7] = pico.div_euclid(1_000_000);
    shares[8] = pico.rem_euclid(1_000_000);
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
