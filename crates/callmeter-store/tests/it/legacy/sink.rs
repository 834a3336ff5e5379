//! Rows as the contract wants them, once each, whatever is sent again and by whom.

use callmeter_core::{
    ErrorKind, Flags, Layer, Meta, MetaPolicy, Sink, SinkErrorKind, Status, Usage,
};
use callmeter_price::Book;
use callmeter_testkit::chaos::{ChaosProxy, Fault};
use callmeter_testkit::records::records;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::support::at;

use super::support::{OLD_INSERT, Place, options, refused, shop_call, write};

const COLUMNS: &str = "caller, provider, model, input_tokens, output_tokens, duration_ms, status, fallback_to, \
    cost_usd, cache_hit, rag_hit, request_id, error, meta, created_at AT TIME ZONE 'UTC'";

#[test]
fn a_call_is_a_row_as_the_module_wrote_it_with_the_calls_end_as_its_time() {
    let place = Place::new();
    let mut call = shop_call(0, 1);
    call.status = Some(Status::Fallback);
    call.fallback_to = Some("gemini_backup".to_owned());
    call.request_id = Some("req-ü".to_owned());
    call.error = Some("TimeoutError: größer".to_owned());
    let mut meta = Meta::default();
    meta.insert("größe", "weiß ✓", &MetaPolicy::default())
        .unwrap();
    call.meta = Some(meta);
    write(&mut place.store(), &[call]);
    assert_eq!(
        place.rows(&format!("SELECT {COLUMNS} FROM ai_calls")),
        "sales_copy|gemini|gemini-2.5-pro|1200|340|812|fallback|gemini_backup|0.004900|f|f|req-ü|\
         TimeoutError: größer|{\"größe\": \"weiß ✓\"}|2026-03-24 00:00:00.812345"
    );
}

#[test]
fn figures_are_the_modules_row_for_row() {
    let place = Place::new();
    let golden = include_str!("../../../../callmeter-price/tests/golden/legacy.csv");
    let mut expected = Vec::new();
    let mut calls = Vec::new();
    for (at, line) in golden.lines().skip(1).enumerate() {
        let [model, input, output, cost] = line.split(',').collect::<Vec<_>>()[..] else {
            panic!()
        };
        // Beyond what the column holds there was no row to compare with.
        let (Ok(input), Ok(output)) = (input.parse::<i32>(), output.parse::<i32>()) else {
            continue;
        };
        let mut call = shop_call(i64::try_from(at).unwrap(), at as u64);
        call.model = Some(model.to_owned());
        call.usage = Usage::of(input, output);
        expected.push(format!("{model}|{input}|{output}|{cost}"));
        calls.push(call);
    }
    write(&mut place.store(), &calls);
    let rows =
        place.rows("SELECT model, input_tokens, output_tokens, cost_usd FROM ai_calls ORDER BY id");
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn sent_again_cut_otherwise_and_in_another_order_nothing_changes() {
    let place = Place::new();
    let mut runner = TestRunner::deterministic();
    let calls = prop::collection::vec(records(300), 500)
        .new_tree(&mut runner)
        .unwrap()
        .current();
    let mut store = place.store();
    for chunk in calls.chunks(70) {
        write(&mut store, chunk);
    }
    let all = "SELECT * FROM ai_calls ORDER BY id";
    let before = place.rows(all);
    let mut again = calls.clone();
    again.reverse();
    for chunk in again.chunks(31) {
        let ack = write(&mut store, chunk);
        assert_eq!(ack.inserted, 0);
    }
    assert_eq!(place.rows(all), before);
    let ids: std::collections::BTreeSet<_> = calls.iter().map(|call| call.call_id).collect();
    assert_eq!(
        place.rows("SELECT count(*) FROM ai_calls"),
        ids.len().to_string()
    );
    assert_eq!(
        place.rows(
            "SELECT count(DISTINCT row_id) FROM callmeter_ai_calls JOIN ai_calls ON row_id = id"
        ),
        ids.len().to_string()
    );
}

#[test]
fn four_writers_of_the_same_calls_make_one_row_each() {
    let place = Place::new();
    let calls: Vec<_> = (0..400)
        .map(|n| shop_call(i64::from(n), u64::from(n as u32)))
        .collect();
    std::thread::scope(|scope| {
        for writer in 0..4_usize {
            let (place, calls) = (&place, &calls);
            scope.spawn(move || {
                let mut store = place.store();
                let mut mine = calls.clone();
                mine.rotate_left(writer * 37);
                for chunk in mine.chunks(50) {
                    // Whoever was slower is told to come again, as the shipper does.
                    while let Err(error) = store.write(chunk) {
                        assert_eq!(error.kind(), SinkErrorKind::Busy, "{error}");
                    }
                }
            });
        }
    });
    assert_eq!(
        place.rows("SELECT count(*), count(DISTINCT created_at) FROM ai_calls"),
        "400|400"
    );
    assert_eq!(place.rows("SELECT count(*) FROM callmeter_ai_calls"), "400");
}

#[test]
fn what_is_learnt_later_changes_the_row_where_the_role_may() {
    let place = Place::new();
    let mut store = place.store();
    let mut guard = shop_call(0, 1);
    guard.usage = Usage::default();
    write(&mut store, std::slice::from_ref(&guard));
    let mut proxy = shop_call(0, 1);
    proxy.layer = Layer::Proxy;
    proxy.caller = None;
    proxy.duration_us = Some(700_000);
    proxy.usage = Usage::of(1_000_000_u64, 0_u64);
    assert_eq!(write(&mut store, std::slice::from_ref(&proxy)).merged, 1);
    assert_eq!(write(&mut store, &[proxy, guard]).unchanged, 1);
    assert_eq!(
        place.rows("SELECT caller, input_tokens, cost_usd, duration_ms FROM ai_calls"),
        "sales_copy|1000000|1.250000|812"
    );
}

#[test]
fn a_role_that_may_only_insert_and_select_keeps_the_first_record_and_counts_the_others() {
    let place = Place::new();
    let url = place.role(
        "GRANT SELECT, INSERT ON ai_calls TO ROLE; GRANT USAGE ON SEQUENCE ai_calls_id_seq TO ROLE;
         GRANT SELECT, INSERT, DELETE ON callmeter_ai_calls TO ROLE",
    );
    let mut store = place.try_store(&url, options()).unwrap();
    let call = shop_call(0, 1);
    assert_eq!(write(&mut store, std::slice::from_ref(&call)).inserted, 1);
    let mut later = call.clone();
    later.rev = 1;
    later.usage = Usage::of(9_u64, 9_u64);
    assert_eq!(
        write(&mut store, std::slice::from_ref(&later)).revision_not_applied,
        1
    );
    assert_eq!(write(&mut store, &[call]).unchanged, 1);
    assert_eq!(place.rows("SELECT input_tokens FROM ai_calls"), "1200");
}

#[test]
fn truth_that_the_columns_cannot_say_is_in_meta() {
    let place = Place::new();
    let mut store = place.store();
    let mut calls = Vec::new();
    for (at, word) in ["cancelled", "aborted", "retried", "partial"]
        .iter()
        .enumerate()
    {
        let mut call = shop_call(at as i64, at as u64);
        call.status = Some(Status::from_word(word));
        call.error_kind = (*word == "partial").then_some(ErrorKind::Server);
        calls.push(call);
    }
    let mut cached = shop_call(9, 9);
    cached.flags.insert(Flags::COUNTED_ELSEWHERE);
    cached.cache_hit = Some(true);
    calls.push(cached);
    write(&mut store, &calls);
    assert_eq!(
        place.rows("SELECT status, error, cost_usd, meta FROM ai_calls ORDER BY id"),
        "error||0.004900|{\"callmeter.status\": \"cancelled\"}\n\
         error||0.004900|{\"callmeter.status\": \"aborted\"}\n\
         ok||0.004900|{\"callmeter.status\": \"retried\"}\n\
         error|server|0.004900|{\"callmeter.status\": \"partial\"}\n\
         ok||0.000000|{\"callmeter.unpriced\": \"counted_elsewhere\"}"
    );
}

/// A guard's call that the proxy's row stands for.
fn elsewhere() -> callmeter_core::CallRecord {
    let mut call = shop_call(0, 1);
    call.flags.insert(Flags::COUNTED_ELSEWHERE);
    call
}

/// What the proxy knows of the same call, where the request named it.
fn on_the_wire() -> callmeter_core::CallRecord {
    let mut call = shop_call(0, 1);
    call.layer = Layer::Proxy;
    call.caller = Some("python".to_owned());
    call
}

#[test]
fn a_guard_whose_call_the_proxy_s_row_carries_is_no_second_row() {
    let place = Place::new();
    let mut store = place.store();
    let proxy = shop_call(0, 2);
    let ack = write(&mut store, &[elsewhere(), proxy]);
    assert_eq!((ack.inserted, ack.unchanged), (1, 1));
    // Sent again, and told more of by its guard: still none.
    assert_eq!(write(&mut store, &[elsewhere()]).unchanged, 1);
    let mut later = elsewhere();
    later.rev = 1;
    later.usage = Usage::of(9_u64, 9_u64);
    assert_eq!(write(&mut store, &[later]).merged, 1);
    assert_eq!(
        place.rows("SELECT count(*), sum(input_tokens), sum(cost_usd) FROM ai_calls"),
        "1|1200|0.004900"
    );
    assert_eq!(
        place.rows("SELECT count(*), count(row_id) FROM callmeter_ai_calls"),
        "2|1"
    );
}

#[test]
fn a_guard_and_the_proxy_s_record_of_one_call_are_one_row_whichever_comes_first() {
    let mut seen = std::collections::BTreeSet::new();
    for first in [elsewhere(), on_the_wire()] {
        let place = Place::new();
        let mut store = place.store();
        let second = if first.layer == Layer::Proxy {
            elsewhere()
        } else {
            on_the_wire()
        };
        write(&mut store, &[first]);
        write(&mut store, std::slice::from_ref(&second));
        assert_eq!(write(&mut store, &[second]).unchanged, 1);
        seen.insert(place.rows(
            "SELECT caller, input_tokens, cost_usd, meta, (SELECT count(*) FROM callmeter_ai_calls WHERE row_id = t.id)
             FROM ai_calls t",
        ));
    }
    let rows: Vec<_> = seen.into_iter().collect();
    assert_eq!(rows, ["sales_copy|1200|0.004900|{}|1"]);
}

#[test]
fn a_side_table_of_an_older_version_goes_on_until_the_schema_is_migrated() {
    let place = Place::new();
    place.rows("ALTER TABLE callmeter_ai_calls ALTER COLUMN row_id SET NOT NULL");
    let mut store = place.store();
    assert_eq!(write(&mut store, &[elsewhere()]).unchanged, 1);
    let counts = "SELECT (SELECT count(*) FROM ai_calls), count(*) FROM callmeter_ai_calls";
    assert_eq!(place.rows(counts), "0|0");
    assert!(!place.table().make_side_table().unwrap());
    write(&mut store, &[elsewhere()]);
    assert_eq!(place.rows(counts), "0|1");
}

#[test]
fn a_market_price_is_rounded_to_the_column_and_an_unknown_one_is_marked() {
    let place = Place::new();
    let mut options = options();
    options.book = Book::market();
    let mut store = place.try_store(&place.url(), options).unwrap();
    let mut unknown = shop_call(0, 1);
    unknown.model = Some("gemini-99".to_owned());
    write(&mut store, &[unknown]);
    assert_eq!(
        place.rows("SELECT cost_usd, meta FROM ai_calls"),
        "0.000000|{\"callmeter.unpriced\": \"unknown_model\"}"
    );
}

#[test]
fn a_number_beyond_its_column_is_refused_alone_and_the_others_are_stored() {
    let place = Place::new();
    let mut store = place.store();
    let mut huge = shop_call(0, 1);
    huge.usage = Usage::of(3_000_000_000_u64, 1_u64);
    let error = refused(&mut store, &[shop_call(1, 2), huge]);
    assert_eq!(error.kind(), SinkErrorKind::Reject);
    assert!(
        error.to_string().contains("22003") && !error.to_string().contains("3000000000"),
        "{error}"
    );
    write(&mut store, &[shop_call(1, 2)]);
    assert_eq!(place.rows("SELECT count(*) FROM ai_calls"), "1");
}

#[test]
fn calls_beyond_the_horizon_are_refused_and_their_ids_forgotten() {
    let place = Place::new();
    let mut options = options();
    options.raw_days = 35;
    let mut store = place.try_store(&place.url(), options.clone()).unwrap();
    write(&mut store, &[shop_call(0, 1)]);
    place.clock.jump_to(at(40 * 86_400_000_000));
    let error = refused(&mut store, &[shop_call(0, 1)]);
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (
            SinkErrorKind::Reject,
            "a call is older than the dedup horizon"
        )
    );
    // A store that is opened anew prunes with its first batch.
    let mut store = place.try_store(&place.url(), options).unwrap();
    write(&mut store, &[shop_call(40 * 86_400_000_000, 2)]);
    assert_eq!(place.rows("SELECT count(*) FROM ai_calls"), "2");
    assert_eq!(place.rows("SELECT count(*) FROM callmeter_ai_calls"), "1");
    assert_eq!(
        refused(&mut store, &[shop_call(50 * 86_400_000_000, 3)]).to_string(),
        "a call is more than a day ahead of the store's clock"
    );
}

#[test]
fn the_replaced_module_and_callmeter_write_the_same_table_side_by_side() {
    let place = Place::new();
    let mut store = place.store();
    write(&mut store, &[shop_call(0, 1)]);
    place.rows(&format!(
        "{OLD_INSERT} VALUES ('old', 'gemini', 'gemini-2.5-pro', 1, 2, 3, 'ok', NULL, 0.5, false, false, NULL, NULL, '{{}}')"
    ));
    write(&mut store, &[shop_call(1, 2)]);
    assert_eq!(
        place.rows("SELECT string_agg(caller, ',' ORDER BY id) FROM ai_calls"),
        "sales_copy,old,sales_copy"
    );
}

#[test]
fn a_row_that_the_user_deleted_stays_deleted() {
    let place = Place::new();
    let mut store = place.store();
    write(&mut store, &[shop_call(0, 1)]);
    place.rows("DELETE FROM ai_calls");
    assert_eq!(write(&mut store, &[shop_call(0, 1)]).unchanged, 1);
    let mut later = shop_call(0, 1);
    later.rev = 1;
    later.usage = Usage::of(9_u64, 9_u64);
    assert_eq!(write(&mut store, &[later]).merged, 1);
    assert_eq!(place.rows("SELECT count(*) FROM ai_calls"), "0");
}

#[test]
fn a_batch_whose_answer_was_lost_is_there_once_after_it_is_sent_again() {
    let place = Place::new();
    let proxy = ChaosProxy::to(place.database.server().address());
    let url = place.database.url_by(proxy.address());
    let mut store = place.try_store(&url, options()).unwrap();
    let calls: Vec<_> = (0..50).map(|n| shop_call(n, n as u64)).collect();
    for fault in [
        Fault::CutBefore("INSERT INTO public.ai_calls"),
        Fault::LoseAnswer("INSERT INTO public.ai_calls"),
        Fault::CutBefore("INSERT INTO public.callmeter_ai_calls"),
        Fault::CutBefore("COMMIT"),
        Fault::LoseAnswer("COMMIT"),
    ] {
        proxy.fault(fault.clone());
        let error = refused(&mut store, &calls);
        assert_eq!(error.kind(), SinkErrorKind::Retry, "{fault:?}: {error}");
    }
    // The last answer was lost after the server had it all.
    assert_eq!(write(&mut store, &calls).unchanged, 50);
    assert_eq!(place.rows("SELECT count(*) FROM ai_calls"), "50");
    assert_eq!(place.rows("SELECT count(*) FROM callmeter_ai_calls"), "50");
}
