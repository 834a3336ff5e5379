//! The oracle: what rows and rollups must be, worked out from the records alone.
//!
//! It knows the merge (of core), the prices (of the price crate) and nothing of the store's code. Only
//! which names the rollups admitted is read from the store: that depends on who came first.

use std::collections::{BTreeMap, BTreeSet};

use callmeter_core::{CallId, CallRecord, Cost, PicoUsd};
use callmeter_price::{Book, ProviderKinds};
use callmeter_store::{AccountingZone, Histogram, StoredCall};
use rusqlite::Connection;

use crate::support::Place;

/// A group of a rollup in words: day or hour, scope, caller and so on; empty words for absent ones.
type Key = Vec<String>;
/// n, with_usage, five token sums, cost in pico-USD, unpriced, cache hits, rag hits, timed, duration.
type Sums = [i128; 13];
/// Every group of a rollup.
pub(crate) type Rollup = BTreeMap<Key, (Sums, Histogram)>;

/// What all records together come to, whatever their order and repetition.
pub(crate) fn merged(records: &[CallRecord], book: &Book) -> BTreeMap<CallId, (CallRecord, Cost)> {
    let mut calls: BTreeMap<CallId, CallRecord> = BTreeMap::new();
    for record in records {
        let call = calls.remove(&record.call_id);
        let call = call.map_or_else(|| record.clone(), |call| call.merge(record));
        calls.insert(record.call_id, call);
    }
    calls
        .into_iter()
        .map(|(id, mut call)| {
            let priced = book.price(&call, &ProviderKinds::default());
            call.flags.insert(priced.flags);
            let mut cost = priced.cost;
            cost.book_rev = Some(1);
            (id, (call, cost))
        })
        .collect()
}

/// Asserts that the store's rows and rollups are exactly those of the oracle.
pub(crate) fn check(place: &Place, expected: &BTreeMap<CallId, (CallRecord, Cost)>) {
    let mut reader = place.reader();
    let raw = place.raw();
    let stored: i64 = raw
        .query_row("SELECT count(*) FROM calls", [], |row| row.get(0))
        .unwrap();
    assert_eq!(stored as usize, expected.len(), "rows");
    for (id, (record, cost)) in expected {
        let StoredCall {
            record: got,
            cost: got_cost,
            ..
        } = reader.find(*id).unwrap().unwrap();
        // Marks of pricing stay once they were true of a piece of the call.
        assert!(got.flags.contains(record.flags));
        let mut got = got;
        got.flags = record.flags;
        assert_eq!(got.to_json(None), record.to_json(None));
        assert_eq!(&got_cost, cost, "{id}");
    }
    let zone = reader.zone().clone();
    let admitted = admitted(&raw);
    assert_eq!(
        read_rollup(&raw, "roll_day"),
        expected_days(expected, &zone, &admitted)
    );
    assert_eq!(
        read_rollup(&raw, "roll_hour"),
        expected_hours(expected, &zone, &admitted)
    );
}

type Admitted = BTreeSet<(i64, String, i64, String)>;

fn admitted(raw: &Connection) -> Admitted {
    let mut statement = raw
        .prepare(
            "SELECT day, scope, roll_names.kind, names.name FROM roll_names
             JOIN names ON names.id = roll_names.name",
        )
        .unwrap();
    let rows = statement
        .query_map([], |row| {
            Ok((
                row.get(0)?,
                scope_text(raw, row.get(1)?),
                row.get(2)?,
                row.get(3)?,
            ))
        })
        .unwrap();
    rows.map(Result::unwrap).collect()
}

fn scope_text(raw: &Connection, id: i64) -> String {
    raw.query_row(
        "SELECT ifnull(project, '') || '|' || ifnull(team, '') || '|' || ifnull(billing, '')
         FROM scopes WHERE id = ?1",
        [id],
        |row| row.get(0),
    )
    .unwrap_or_else(|_| "~other".to_owned())
}

fn scope_of(record: &CallRecord) -> String {
    let text = |word: &Option<String>| word.clone().unwrap_or_default();
    let billing = record
        .billing
        .map_or(String::new(), |billing| billing.code().to_string());
    format!("{}|{}|{billing}", text(&record.project), text(&record.team))
}

fn expected_days(
    calls: &BTreeMap<CallId, (CallRecord, Cost)>,
    zone: &AccountingZone,
    admitted: &Admitted,
) -> Rollup {
    let mut rollup = Rollup::new();
    for (record, cost) in calls.values() {
        let day = zone.day_of(record.started_at());
        let admit = |kind, word: &str| admit(admitted, day, record, kind, word);
        let key = vec![
            day.to_string(),
            scope_of(record),
            admit(1, record.caller_or_unknown()),
            admit(2, record.provider_or_unknown()),
            admit(3, record.model_or_requested()),
            admit(4, record.status_or_ok().as_str()),
            record
                .fallback_to
                .as_deref()
                .map_or(String::new(), |word| admit(5, word)),
        ];
        add(rollup.entry(key).or_default(), record, cost);
    }
    rollup
}

fn expected_hours(
    calls: &BTreeMap<CallId, (CallRecord, Cost)>,
    zone: &AccountingZone,
    admitted: &Admitted,
) -> Rollup {
    let mut rollup = Rollup::new();
    for (record, cost) in calls.values() {
        let day = zone.day_of(record.started_at());
        let admit = |kind, word: &str| admit(admitted, day, record, kind, word);
        let key = vec![
            record
                .started_at()
                .as_micros()
                .div_euclid(3_600_000_000)
                .to_string(),
            scope_of(record),
            admit(2, record.provider_or_unknown()),
            admit(3, record.model_or_requested()),
            admit(4, record.status_or_ok().as_str()),
        ];
        add(rollup.entry(key).or_default(), record, cost);
    }
    rollup
}

fn admit(admitted: &Admitted, day: i64, record: &CallRecord, kind: i64, word: &str) -> String {
    if admitted.contains(&(day, scope_of(record), kind, word.to_owned())) {
        word.to_owned()
    } else {
        "~other".to_owned()
    }
}

fn add((sums, durations): &mut (Sums, Histogram), record: &CallRecord, cost: &Cost) {
    let usage = &record.usage;
    let count = |count: Option<u64>| i128::from(count.unwrap_or(0));
    let shares = [
        1,
        i128::from(usage.input_tokens.or(usage.output_tokens).is_some()),
        count(usage.input_tokens),
        count(usage.output_tokens),
        count(usage.cache_read_tokens),
        count(usage.cache_write_tokens),
        count(usage.reasoning_tokens),
        i128::from(cost.cost.map_or(0, PicoUsd::as_pico)),
        i128::from(cost.cost.is_none()),
        i128::from(record.cache_hit == Some(true)),
        i128::from(record.rag_hit == Some(true)),
        i128::from(record.duration_us.is_some()),
        count(record.duration_us),
    ];
    for (sum, share) in sums.iter_mut().zip(shares) {
        *sum += share;
    }
    if let Some(duration) = record.duration_us {
        durations.add(duration, 1);
    }
}

/// Reads a rollup in words.
fn read_rollup(raw: &Connection, table: &str) -> Rollup {
    let keys: &[&str] = match table {
        "roll_hour" => &["hour", "scope", "provider", "model", "status"],
        _ => &[
            "day",
            "scope",
            "caller",
            "provider",
            "model",
            "status",
            "fallback_to",
        ],
    };
    let sql = format!(
        "SELECT {}, n, with_usage, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,
         reasoning_tokens, cost_microusd, cost_picousd, unpriced, cache_hits, rag_hits, timed,
         duration_us, durations FROM {table}",
        keys.join(", ")
    );
    let mut statement = raw.prepare(&sql).unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut rollup = Rollup::new();
    while let Some(row) = rows.next().unwrap() {
        let mut key = Vec::new();
        for (at, name) in keys.iter().enumerate() {
            let number: i64 = row.get(at).unwrap();
            key.push(match *name {
                "hour" | "day" => number.to_string(),
                "scope" => scope_text(raw, number),
                _ if number == 0 => String::new(),
                _ => raw
                    .query_row("SELECT name FROM names WHERE id = ?1", [number], |row| {
                        row.get(0)
                    })
                    .unwrap(),
            });
        }
        let stored: Vec<i128> = (0..14)
            .map(|at| i128::from(row.get::<_, i64>(keys.len() + at).unwrap()))
            .collect();
        let mut sums: Sums = [0; 13];
        sums[..7].copy_from_slice(&stored[..7]);
        sums[7] = stored[7] * 1_000_000 + stored[8];
        sums[8..].copy_from_slice(&stored[9..]);
        let blob: Vec<u8> = row.get(keys.len() + 14).unwrap();
        rollup.insert(key, (sums, Histogram::from_blob(&blob).unwrap()));
    }
    rollup
}
