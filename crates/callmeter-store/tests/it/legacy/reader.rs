//! Questions to `ai_calls` against the same questions to an embedded store of the same calls.

use callmeter_core::{CallId, CallRecord, Sink, Timestamp};
use callmeter_store::{
    CallsQuery, Dimension, Filter, LegacyReader, Period, ReportQuery, ReportRow, SqliteReader,
    SqliteStore, StoredCall, Totals,
};
use callmeter_testkit::records::records;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::support::{OLD_INSERT, Place, options, postgres, write};
use crate::support::{at, berlin_legacy};

/// The same calls in both stores.
struct Both {
    place: Place,
    legacy: LegacyReader,
    _directory: tempfile::TempDir,
    embedded: SqliteReader,
}

fn reader(place: &Place) -> LegacyReader {
    let url = postgres(&place.url());
    let mut options = options();
    options.accounting_zone = "Europe/Berlin".to_owned();
    LegacyReader::open(url.postgres().unwrap(), &options).unwrap()
}

impl Both {
    fn of(calls: &[CallRecord]) -> Self {
        let place = Place::new();
        let mut store = place.store();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.sqlite");
        let mut embedded = SqliteStore::open(&path, berlin_legacy(), place.clock.clone()).unwrap();
        for chunk in calls.chunks(100) {
            write(&mut store, chunk);
            embedded.write(chunk).unwrap();
        }
        Self {
            legacy: reader(&place),
            place,
            embedded: SqliteReader::open(&path).unwrap(),
            _directory: directory,
        }
    }
}

/// Calls of which everything is known that the columns can say.
fn calls(count: usize) -> Vec<CallRecord> {
    let mut runner = TestRunner::deterministic();
    let mut calls = prop::collection::vec(records(count as u64 * 2 / 3), count)
        .new_tree(&mut runner)
        .unwrap()
        .current();
    for call in &mut calls {
        call.project = None;
        call.duration_us = Some(call.duration_us.unwrap_or(7).max(1));
        call.usage.input_tokens = Some(call.usage.input_tokens.unwrap_or(3).max(1));
        call.usage.output_tokens = Some(call.usage.output_tokens.unwrap_or(0));
        call.reported_cost = None;
    }
    calls
}

/// What both stores can say.
fn comparable(mut totals: Totals) -> Totals {
    totals.cache_read_tokens = 0;
    totals.cache_write_tokens = 0;
    totals.reasoning_tokens = 0;
    totals
}

fn comparable_rows(rows: Vec<ReportRow>) -> Vec<(Option<i64>, Vec<Option<String>>, Totals)> {
    let row = |row: ReportRow| (row.period_start, row.key, comparable(row.totals));
    rows.into_iter().map(row).collect()
}

fn ids(calls: &[StoredCall]) -> Vec<CallId> {
    calls.iter().map(|call| call.record.call_id).collect()
}

fn filters() -> Vec<Filter> {
    let day = 86_400_000_000;
    let of = |change: fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        filter
    };
    let mut filters = vec![
        Filter::default(),
        of(|f| f.caller = Some("größe".to_owned())),
        of(|f| f.caller = Some("unknown".to_owned())),
        of(|f| f.provider = Some("gemini".to_owned())),
        of(|f| f.model = Some("llama3.1:8b".to_owned())),
        of(|f| f.status = Some("cancelled".to_owned())),
        of(|f| f.status = Some("error".to_owned())),
        of(|f| f.status = Some("odd".to_owned())),
        of(|f| f.team = Some("nobody's".to_owned())),
    ];
    filters.push(Filter {
        since: Some(at(day * 2 + 5)),
        until: Some(at(day * 5 + 77)),
        ..Filter::default()
    });
    filters.push(Filter {
        since: Some(at(day * 4)),
        caller: Some("rag".to_owned()),
        ..Filter::default()
    });
    filters
}

#[test]
fn reports_are_those_of_an_embedded_store() {
    let mut both = Both::of(&calls(900));
    for filter in filters() {
        for period in [Period::Whole, Period::Day, Period::Week, Period::Month] {
            for by in [
                vec![],
                vec![Dimension::Caller, Dimension::Status],
                vec![Dimension::Provider, Dimension::Model, Dimension::FallbackTo],
                vec![Dimension::Team],
            ] {
                for zone in [None, Some("Asia/Tokyo".to_owned())] {
                    let query = ReportQuery {
                        filter: filter.clone(),
                        period,
                        by: by.clone(),
                        zone,
                    };
                    assert_eq!(
                        comparable_rows(both.legacy.report(&query).unwrap()),
                        comparable_rows(both.embedded.report(&query).unwrap()),
                        "{query:?}"
                    );
                }
            }
        }
        assert_eq!(
            comparable(both.legacy.totals(&filter).unwrap()),
            comparable(both.embedded.totals(&filter).unwrap())
        );
        assert_eq!(
            both.legacy.unpriced(&filter).unwrap(),
            both.embedded.unpriced(&filter).unwrap()
        );
    }
}

#[test]
fn pages_and_filters_give_the_calls_of_an_embedded_store_in_its_order() {
    let mut both = Both::of(&calls(900));
    for filter in filters() {
        for limit in [1_000, 37] {
            let mut before = None;
            loop {
                let query = CallsQuery {
                    filter: filter.clone(),
                    before,
                    limit,
                };
                let (legacy, embedded) = (
                    both.legacy.calls(&query).unwrap(),
                    both.embedded.calls(&query).unwrap(),
                );
                assert_eq!(ids(&legacy), ids(&embedded), "{query:?}");
                for (legacy, embedded) in legacy.iter().zip(&embedded) {
                    // The side table keeps all that is known of a call.
                    let mut expected = embedded.record.clone();
                    expected.flags = legacy.record.flags;
                    assert_eq!(legacy.record, expected);
                    assert_eq!(legacy.cost.cost, embedded.cost.cost);
                }
                match legacy.last() {
                    Some(last) => before = Some(last.record.call_id),
                    None => break,
                }
            }
        }
    }
    let newest = CallsQuery {
        filter: Filter::default(),
        before: None,
        limit: 3,
    };
    for call in both.legacy.calls(&newest).unwrap() {
        let id = call.record.call_id;
        assert_eq!(both.legacy.find(id).unwrap(), Some(call.clone()));
        assert_eq!(both.legacy.find_by_moment(id.hi()).unwrap(), [call]);
    }
    assert_eq!(both.place.rows("SELECT count(*) > 400 FROM ai_calls"), "t");
}

/// Rows of the replaced module: a call each quarter of an hour, as long as it is late in the hour.
fn old_rows(place: &Place, rows: u32) {
    place.rows(&format!(
        "INSERT INTO ai_calls (created_at, caller, provider, model, input_tokens, output_tokens, duration_ms, status,
           fallback_to, cost_usd, cache_hit, rag_hit, request_id, error, meta)
         SELECT timestamptz '2026-03-24 00:00:00.5Z' + interval '15 minutes' * n, 'caller' || n % 3, 'gemini',
           'gemini-2.5-pro', 100 * n, n, n % 60 * 60000, CASE n % 5 WHEN 0 THEN 'error' ELSE 'ok' END, NULL,
           round(((100 * n * 1.25 + n * 10) / 1e6)::numeric, 6), n % 2 = 0, false, 'r' || n, NULL, '{{}}'
         FROM generate_series(1, {rows}) n"
    ));
}

#[test]
fn old_rows_are_read_with_or_without_the_side_table_by_a_role_that_may_only_select() {
    let place = Place::of(super::support::TABLE);
    old_rows(&place, 200);
    place.rows(&format!(
        "{OLD_INSERT} VALUES ('', '', '', 0, 0, 0, 'ok', NULL, 0, false, false, NULL, 'old text', '{{\"k\": \"ü\"}}')"
    ));
    let url = place.role("GRANT SELECT ON ai_calls TO ROLE");
    let mut legacy = LegacyReader::open(postgres(&url).postgres().unwrap(), &options()).unwrap();
    let totals = legacy.totals(&Filter::default()).unwrap();
    assert_eq!(
        place.rows("SELECT count(*), sum(input_tokens), sum(cost_usd) FROM ai_calls"),
        format!(
            "{}|{}|{:0<8}",
            totals.calls,
            totals.input_tokens,
            totals.cost.to_string()
        )
    );
    assert_eq!(totals.with_usage, 200);
    let query = CallsQuery {
        filter: Filter::default(),
        before: None,
        limit: 10_000,
    };
    let all = legacy.calls(&query).unwrap();
    assert_eq!(all.len(), 201);
    assert!(all.is_sorted_by_key(|call| std::cmp::Reverse(call.record.call_id)));
    let newest = &all[0].record;
    assert_eq!(
        (newest.caller_or_unknown(), newest.error.as_deref()),
        ("unknown", Some("old text"))
    );
    // In pages, each call once, whatever its duration.
    let mut paged = Vec::new();
    let mut before = None;
    loop {
        let page = legacy
            .calls(&CallsQuery {
                limit: 7,
                before,
                ..query.clone()
            })
            .unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.record.call_id);
        paged.extend(page);
    }
    assert_eq!(paged, all);
    let one = &all[100];
    assert_eq!(legacy.find(one.record.call_id).unwrap().as_ref(), Some(one));
    let request = one.record.request_id.clone().unwrap();
    assert_eq!(
        legacy.find_by_foreign_id(&request).unwrap(),
        std::slice::from_ref(one)
    );
    let source = one.record.source_id.clone().unwrap();
    assert_eq!(
        legacy.find_by_foreign_id(&source).unwrap(),
        std::slice::from_ref(one)
    );
    assert_eq!(legacy.find(CallId::new(Timestamp::EPOCH, 1)).unwrap(), None);
    // The start decides, not the row's time: a call of 59 minutes belongs to the hour before.
    let early = Filter {
        until: Some("2026-03-24T00:15:00Z".parse().unwrap()),
        ..Filter::default()
    };
    let expected = place.rows(
        "SELECT count(*) FROM ai_calls WHERE created_at - duration_ms * interval '1 ms' < '2026-03-24 00:15:00Z'",
    );
    assert_eq!(legacy.totals(&early).unwrap().calls.to_string(), expected);
}
