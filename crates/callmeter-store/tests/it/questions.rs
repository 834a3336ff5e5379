//! What the reader answers: lists and reports that agree with the records.

use callmeter_core::{Billing, CallRecord, Status};
use callmeter_price::{Book, ProviderKinds};
use callmeter_store::{CallsQuery, Dimension, Filter, Period, ReportQuery};
use callmeter_testkit::records::records;
use proptest::prelude::*;

use crate::oracle;
use crate::support::{Place, at, berlin_legacy, call, write};

fn page(filter: Filter, limit: usize) -> CallsQuery {
    CallsQuery {
        filter,
        before: None,
        limit,
    }
}

fn filters() -> impl Strategy<Value = Filter> {
    let word = |words: &'static [&'static str]| prop::option::of(prop::sample::select(words));
    (
        prop::option::of(0..864_000_000_000_i64),
        prop::option::of(0..864_000_000_000_i64),
        word(&["sales_copy", "hermes_analyst", "nobody-of-this-name"]),
        word(&["gpt-5-mini", "claude-sonnet-4-6"]),
        word(&["ok", "error", "odd"]),
        word(&["shop", "lab"]),
    )
        .prop_map(|(since, until, caller, model, status, project)| Filter {
            since: since.map(at),
            until: until.map(at),
            caller: caller.map(str::to_owned),
            model: model.map(str::to_owned),
            status: status.map(str::to_owned),
            project: project.map(str::to_owned),
            ..Filter::default()
        })
}

fn is_meant(filter: &Filter, record: &CallRecord) -> bool {
    let is =
        |wanted: &Option<String>, word: &str| wanted.as_deref().is_none_or(|wanted| wanted == word);
    filter
        .since
        .is_none_or(|since| record.started_at() >= since)
        && filter.until.is_none_or(|until| record.started_at() < until)
        && is(&filter.caller, record.caller_or_unknown())
        && is(&filter.model, record.model_or_requested())
        && is(&filter.status, record.status_or_ok().as_str())
        && (filter.project.is_none() || filter.project == record.project)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn lists_and_reports_agree_with_the_records(
        records in prop::collection::vec(records(60), 1..60), filter in filters(), berlin: bool,
    ) {
        let place = Place::new();
        let (options, book) =
            if berlin { (berlin_legacy(), Book::legacy()) } else { (Default::default(), Book::market()) };
        write(&mut place.store_with(options), &records);
        let merged = oracle::merged(&records, &book);
        let mut expected: Vec<_> =
            merged.values().filter(|(record, _)| is_meant(&filter, record)).collect();
        expected.sort_by_key(|(record, _)| std::cmp::Reverse(record.call_id));
        let mut reader = place.reader();

        // Pages of three, one after the other.
        let mut query = page(filter.clone(), 3);
        let mut listed = Vec::new();
        loop {
            let calls = reader.calls(&query).unwrap();
            query.before = calls.last().map(|call| call.record.call_id);
            listed.extend(calls.iter().map(|call| call.record.call_id));
            if calls.len() < 3 {
                break;
            }
        }
        let ids: Vec<_> = expected.iter().map(|(record, _)| record.call_id).collect();
        prop_assert_eq!(listed, ids);

        let totals = reader.totals(&filter).unwrap();
        let sum = |of: fn(&CallRecord) -> Option<u64>| -> u64 {
            expected.iter().filter_map(|(record, _)| of(record)).sum()
        };
        prop_assert_eq!(totals.calls, expected.len() as u64);
        prop_assert_eq!(totals.input_tokens, sum(|record| record.usage.input_tokens));
        prop_assert_eq!(totals.reasoning_tokens, sum(|record| record.usage.reasoning_tokens));
        prop_assert_eq!(totals.cost, expected.iter().filter_map(|(_, cost)| cost.cost).sum());
        let unpriced = expected.iter().filter(|(_, cost)| cost.cost.is_none()).count() as u64;
        prop_assert_eq!(totals.unpriced, unpriced);
        let named: u64 = reader.unpriced(&filter).unwrap().iter().map(|entry| entry.calls).sum();
        prop_assert_eq!(named, unpriced);
        prop_assert_eq!(totals.durations.count() as u64, sum(|record| record.duration_us.map(|_| 1)));

        // Cut by anything, the parts add up to the whole, in the store's zone and in another.
        for (period, zone) in [
            (Period::Day, None), (Period::Week, None), (Period::Month, Some("Asia/Kolkata")),
        ] {
            let query = ReportQuery {
                filter: filter.clone(),
                period,
                by: vec![Dimension::Caller, Dimension::Model, Dimension::Project],
                zone: zone.map(str::to_owned),
            };
            let mut together = callmeter_store::Totals::default();
            for row in reader.report(&query).unwrap() {
                together.add(&row.totals);
            }
            prop_assert_eq!(&together, &totals);
        }
    }
}

#[test]
fn a_question_in_sql_is_answered_row_by_row_and_writes_nothing() {
    let place = Place::new();
    let calls: Vec<_> = (1..21).map(|n| call(n, 1)).collect();
    write(&mut place.store(), &calls);
    let reader = place.reader();
    let asked = reader
        .query("SELECT caller, count(*) AS n FROM recorded_calls GROUP BY 1 ORDER BY 1;")
        .unwrap();
    let columns = asked[0].split(',').collect::<Vec<_>>();
    assert!(
        columns[0].starts_with("{\"caller\":"),
        "in the order of the question: {asked:?}"
    );
    let calls = reader.query("SELECT count(*) AS n FROM calls").unwrap();
    assert_eq!(calls, ["{\"n\":20}"]);
    for sql in [
        "DELETE FROM calls",
        "SELECT 1; DELETE FROM calls",
        "SELECT",
        "",
        "SELECT no_such FROM calls",
    ] {
        assert!(reader.query(sql).is_err(), "{sql}");
    }
    assert_eq!(
        reader.query("SELECT count(*) AS n FROM calls").unwrap(),
        calls
    );
}

#[test]
fn a_call_is_found_by_the_ids_that_host_and_provider_gave() {
    let place = Place::new();
    let mut record = call(1, 1);
    record.request_id = Some("req-7".into());
    record.response_id = Some("chatcmpl-9".into());
    record.trace_id = Some("4bf92f3577b34da6a3ce929d0e0e4736".into());
    write(
        &mut place.store(),
        &[record.clone(), call(2, 2), call(3 * 86_400_000_000, 3)],
    );
    let mut reader = place.reader();
    for id in ["req-7", "chatcmpl-9", "4bf92f3577b34da6a3ce929d0e0e4736"] {
        let found = reader.find_by_foreign_id(id).unwrap();
        assert_eq!(found.len(), 1, "{id}");
        assert_eq!(found[0].record, record);
    }
    assert!(reader.find_by_foreign_id("req-8").unwrap().is_empty());
}

#[test]
fn plan_usage_and_metered_money_never_share_a_sum() {
    let place = Place::new();
    let calls: Vec<_> = [Billing::Metered, Billing::Plan]
        .into_iter()
        .zip(1..)
        .map(|(billing, n)| {
            let mut record = call(n, 1);
            record.billing = Some(billing);
            record.provider = Some("openai".into());
            record.model = Some("gpt-5-mini".into());
            record.usage.input_tokens = Some(1_000_000);
            record.usage.output_tokens = Some(0);
            record
        })
        .collect();
    write(&mut place.store(), &calls);
    let one = Book::market()
        .price(&calls[0], &ProviderKinds::default())
        .cost
        .cost
        .unwrap();
    let totals = place.reader().totals(&Filter::default()).unwrap();
    assert_eq!(totals.cost.as_pico(), i128::from(one.as_pico()));
    assert_eq!(totals.plan_value, totals.cost);
}

#[test]
fn the_error_rate_leaves_out_what_the_host_gave_up() {
    let place = Place::new();
    let words = ["ok", "ok", "error", "aborted", "cancelled"];
    let calls: Vec<_> = words
        .into_iter()
        .zip(1..)
        .map(|(word, n)| {
            let mut record = call(n, 1);
            record.status = Some(Status::from_word(word));
            record
        })
        .collect();
    write(&mut place.store(), &calls);
    assert_eq!(
        place
            .reader()
            .totals(&Filter::default())
            .unwrap()
            .error_per_mille(),
        Some(500)
    );
}
