//! What every store promises, as one suite: exactly once, merges, rollups that equal rows, pages, filters,
//! percentiles, horizon, retention, prices, reprices.
//!
//! In short: implement [`ContractStore`], then `callmeter_testkit::store_contract!(make)` in a module of tests, where
//! `make()` gives a new, empty store; `store_contract_in_part!(make)` runs what a table with fewer columns can keep.
//! The suite knows the merge of core and nothing of a store's code.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

mod edges;
pub mod reprice;

use std::collections::BTreeMap;
use std::sync::Arc;

use callmeter_core::{
    Ack, CallId, CallRecord, Cost, Flags, Layer, PicoUsd, Sink, SinkErrorKind, Status, Timestamp,
};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

pub use self::edges::*;
pub use self::reprice::{Audited, Repricing, RepricingStore, SuiteBook};
use crate::clock::ManualClock;
use crate::records::{FIRST_MOMENT, records};

const DAY: i64 = 86_400_000_000;

/// Which calls are meant.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// Of this caller.
    pub caller: Option<String>,
    /// Of this model.
    pub model: Option<String>,
    /// Of this status.
    pub status: Option<String>,
    /// Of this project.
    pub project: Option<String>,
}

/// Sums over calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Calls.
    pub calls: u64,
    /// Input tokens.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Reasoning tokens.
    pub reasoning_tokens: u64,
    /// What they cost.
    pub cost_pico: i128,
    /// Calls without a price.
    pub unpriced: u64,
    /// Answered from a cache.
    pub cache_hits: u64,
    /// Calls whose duration is known.
    pub timed: u64,
}

/// A store, as the suite sees it.
pub trait ContractStore {
    /// The store's clock, on the eleventh day after [`FIRST_MOMENT`].
    fn clock(&self) -> Arc<ManualClock>;
    /// A writer of its own, as another process has it.
    fn writer(&self) -> Box<dyn Sink>;
    /// The call of an id.
    fn find(&self, id: CallId) -> Option<(CallRecord, Cost)>;
    /// A page of calls, the newest first.
    fn list(&self, asked: &Asked, before: Option<CallId>, limit: usize) -> Vec<CallId>;
    /// Sums over the calls that are meant.
    fn sums(&self, asked: &Asked) -> Sums;
    /// The duration of a rank, in thousandths.
    fn percentile_us(&self, asked: &Asked, per_mille: u32) -> Option<u64>;
    /// Sums by day, caller, provider, model, status, fallback target and project, absent words empty.
    fn groups(&self) -> BTreeMap<Vec<String>, Sums>;
    /// What the store's book says of a call: the call with what came to light on it, and its cost.
    fn price(&self, record: &CallRecord) -> (CallRecord, Cost);
    /// The accounting day of a moment.
    fn day_of(&self, at: Timestamp) -> i64;
    /// How many raw rows there are.
    fn rows(&self) -> u64;
    /// How many records were set aside.
    fn rejected(&self) -> u64;
    /// Removes raw rows that are beyond the horizon.
    fn retain(&self);
    /// Appends the book that there is as another revision.
    fn add_book_revision(&self);
}

/// Makes tests of what every store promises.
#[macro_export]
macro_rules! store_contract {
    ($make:expr) => {
        $crate::store_contract_in_part!($make);
        $crate::store_contract!(@each $make,
            records_of_one_call_merge_as_core_says,
            rollups_equal_rows_whatever_came_in_which_order,
            sums_of_any_range_and_filter_equal_the_rows,
            percentiles_are_within_the_bound_at_the_same_rank,
            names_beyond_the_limit_of_a_day_are_other,
            scopes_beyond_the_limit_keep_their_words_on_the_row,
            a_call_out_of_time_is_set_aside_once,
            rows_that_go_for_their_age_leave_their_sums_and_do_not_come_back,
            a_new_revision_of_the_book_prices_the_next_batch,
            a_row_whose_sum_does_not_fit_is_refused_and_leaves_nothing,
            a_name_of_any_characters_is_taken,
        );
        $crate::store_contract!(@each_reprice $make,
            any_order_of_inserts_and_reprices_leaves_rollups_equal_to_rows,
            a_reprice_done_twice_is_done_once,
            a_preview_says_what_the_reprice_does_and_writes_nothing,
            a_reprice_looks_only_at_what_was_asked_for,
            closed_days_stay_as_they_are,
            an_undo_brings_every_cost_and_revision_back,
            an_undo_ends_a_reprice_that_was_stopped,
            an_undo_takes_back_what_came_in_while_the_reprice_was_in_force,
            sums_of_the_dearest_calls_do_not_overflow,
            what_providers_stated_is_summed_beside_the_book,
        );
    };
    (@each_reprice $make:expr, $($name:ident,)+) => {$(
        #[test]
        fn $name() {
            $crate::store::reprice::$name(&$make());
        }
    )+};
    (@each $make:expr, $($name:ident,)+) => {$(
        #[test]
        fn $name() {
            $crate::store::$name(&$make());
        }
    )+};
}

/// Makes tests of what every table promises that holds calls.
#[macro_export]
macro_rules! store_contract_in_part {
    ($make:expr) => {
        $crate::store_contract!(@each $make,
            a_batch_sent_twice_is_stored_once,
            each_call_is_there_once_whatever_the_cut_and_the_order,
            pages_follow_each_other_without_gap_or_repetition,
            filters_find_what_they_name_and_nothing_else,
        );
    };
}

/// A call that started so many microseconds after the first moment.
pub fn call(after_us: i64, random: u64) -> CallRecord {
    let at = FIRST_MOMENT.saturating_add_micros(after_us);
    CallRecord::new(CallId::new(at, random), Layer::Guard, 0)
}

/// The same `count` records each time, of `calls` calls, some of them several times.
pub fn some_records(calls: u64, count: usize) -> Vec<CallRecord> {
    let mut runner = TestRunner::deterministic();
    let strategy = records(calls);
    (0..count)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect()
}

/// What records of calls come to, merged and priced.
pub fn expected(
    store: &dyn ContractStore,
    records: &[CallRecord],
) -> BTreeMap<CallId, (CallRecord, Cost)> {
    let mut calls: BTreeMap<CallId, CallRecord> = BTreeMap::new();
    for record in records {
        let call = calls.remove(&record.call_id);
        let call = call.map_or_else(|| record.clone(), |call| call.merge(record));
        calls.insert(record.call_id, call);
    }
    calls
        .into_iter()
        .map(|(id, call)| (id, store.price(&call)))
        .collect()
}

fn take(writer: &mut Box<dyn Sink>, batch: &[CallRecord]) -> Ack {
    let ack = writer.write(batch).unwrap();
    let answered = ack.inserted + ack.merged + ack.unchanged + ack.expired;
    assert_eq!(answered, batch.len() as u64, "{ack:?}");
    ack
}

/// Sends records by two writers in pieces that overlap, out of order, some again.
fn send_in_pieces(store: &dyn ContractStore, records: &[CallRecord]) {
    let mut writers = [store.writer(), store.writer()];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % below.max(1)
    };
    for _ in 0..12 {
        let from = next(records.len());
        let length = 1 + next(80);
        let to = (from + length).min(records.len());
        take(&mut writers[next(2)], &records[from..to]);
    }
    for piece in records.chunks(97).rev() {
        take(&mut writers[next(2)], piece);
    }
}

fn is_meant(asked: &Asked, record: &CallRecord) -> bool {
    let is = |wanted: &Option<String>, word: &str| wanted.as_deref().is_none_or(|w| w == word);
    asked.since.is_none_or(|since| record.started_at() >= since)
        && asked.until.is_none_or(|until| record.started_at() < until)
        && is(&asked.caller, record.caller_or_unknown())
        && is(&asked.model, record.model_or_requested())
        && is(&asked.status, record.status_or_ok().as_str())
        && (asked.project.is_none() || asked.project == record.project)
}

fn add(sums: &mut Sums, record: &CallRecord, cost: &Cost) {
    sums.calls += 1;
    sums.input_tokens += record.usage.input_tokens.unwrap_or(0);
    sums.output_tokens += record.usage.output_tokens.unwrap_or(0);
    sums.reasoning_tokens += record.usage.reasoning_tokens.unwrap_or(0);
    sums.cost_pico += i128::from(cost.cost.map_or(0, PicoUsd::as_pico));
    sums.unpriced += u64::from(cost.cost.is_none());
    sums.cache_hits += u64::from(record.cache_hit == Some(true));
    sums.timed += u64::from(record.duration_us.is_some());
}

/// Filters of every kind, and ranges that begin and end within days, at days and at the same moment.
fn questions() -> Vec<Asked> {
    let at = |hours: i64| Some(FIRST_MOMENT.saturating_add_micros(hours * DAY / 24));
    let word = |word: &str| Some(word.to_owned());
    let none = Asked::default();
    vec![
        none.clone(),
        Asked {
            since: at(30),
            ..none.clone()
        },
        Asked {
            until: at(100),
            ..none.clone()
        },
        Asked {
            since: at(48),
            until: at(96),
            ..none.clone()
        },
        Asked {
            since: at(49),
            until: at(51),
            ..none.clone()
        },
        Asked {
            since: at(31),
            until: at(200),
            caller: word("sales_copy"),
            ..none.clone()
        },
        Asked {
            caller: word("größe"),
            ..none.clone()
        },
        Asked {
            model: word("gpt-5-mini"),
            ..none.clone()
        },
        Asked {
            status: word("error"),
            ..none.clone()
        },
        Asked {
            project: word("shop"),
            since: at(5),
            ..none.clone()
        },
        Asked {
            caller: word("rag"),
            model: word("gpt-5-mini"),
            status: word("odd"),
            ..none.clone()
        },
        Asked {
            caller: word("nobody-of-this-name"),
            ..none
        },
    ]
}

/// A batch that is sent again changes nothing.
pub fn a_batch_sent_twice_is_stored_once(store: &dyn ContractStore) {
    let mut writer = store.writer();
    let batch: Vec<_> = (0..50).map(|n| call(n * 1_000, 7)).collect();
    assert_eq!(take(&mut writer, &batch).inserted, 50);
    assert_eq!(take(&mut writer, &batch).inserted, 0);
    assert_eq!(take(&mut store.writer(), &batch).inserted, 0);
    assert_eq!(store.rows(), 50);
}

/// Two writers, overlapping pieces, out of order.
pub fn each_call_is_there_once_whatever_the_cut_and_the_order(store: &dyn ContractStore) {
    let records = some_records(150, 400);
    send_in_pieces(store, &records);
    let calls = expected(store, &records);
    assert_eq!(store.rows(), calls.len() as u64);
    let mut listed = store.list(&Asked::default(), None, 1_000);
    listed.reverse();
    assert_eq!(listed, calls.into_keys().collect::<Vec<_>>());
}

/// Keyset pages, with a writer at work between them.
pub fn pages_follow_each_other_without_gap_or_repetition(store: &dyn ContractStore) {
    let mut writer = store.writer();
    let batch: Vec<_> = (0..100)
        .map(|n| call(n * 7_000_000_000, n.cast_unsigned()))
        .collect();
    take(&mut writer, &batch);
    let mut listed: Vec<CallId> = Vec::new();
    let mut before = None;
    loop {
        let page = store.list(&Asked::default(), before, 7);
        listed.extend(&page);
        before = page.last().copied();
        // A newer call must not shift the pages that follow.
        let at = 800_000_000_000 + listed.len() as i64;
        take(&mut writer, &[call(at, 1)]);
        if page.len() < 7 {
            break;
        }
    }
    let mut ids: Vec<_> = batch.iter().map(|record| record.call_id).collect();
    ids.reverse();
    assert_eq!(listed, ids);
}

/// Every filter alone, with a range, and several together.
pub fn filters_find_what_they_name_and_nothing_else(store: &dyn ContractStore) {
    let records = some_records(200, 300);
    take(&mut store.writer(), &records);
    let calls = expected(store, &records);
    for asked in questions() {
        let mut ids: Vec<_> = calls
            .values()
            .filter(|(record, _)| is_meant(&asked, record))
            .map(|(record, _)| record.call_id)
            .collect();
        ids.reverse();
        assert_eq!(store.list(&asked, None, 1_000), ids, "{asked:?}");
    }
}

/// Asserts that a store holds what `records` come to: its rows are those of the merge of core, and its groups by day
/// and every dimension those of a GROUP BY over them.
pub fn check(store: &dyn ContractStore, records: &[CallRecord]) {
    let expected = expected(store, records);
    assert_eq!(store.rows(), expected.len() as u64, "rows");
    check_rows(store, &expected);
    check_groups(store, &expected);
}

fn check_rows(store: &dyn ContractStore, expected: &BTreeMap<CallId, (CallRecord, Cost)>) {
    for (id, (record, cost)) in expected {
        let (mut got, got_cost) = store.find(*id).unwrap();
        // Marks of pricing stay once they were true of a piece of the call.
        assert!(got.flags.contains(record.flags));
        got.flags = record.flags;
        assert_eq!(got.to_json(None), record.to_json(None));
        assert_eq!(&got_cost, cost, "{id}");
    }
}

fn check_groups(store: &dyn ContractStore, expected: &BTreeMap<CallId, (CallRecord, Cost)>) {
    let mut groups: BTreeMap<Vec<String>, Sums> = BTreeMap::new();
    for (record, cost) in expected.values() {
        let text = |word: &Option<String>| word.clone().unwrap_or_default();
        let key = vec![
            store.day_of(record.started_at()).to_string(),
            record.caller_or_unknown().to_owned(),
            record.provider_or_unknown().to_owned(),
            record.model_or_requested().to_owned(),
            record.status_or_ok().as_str().to_owned(),
            text(&record.fallback_to),
            text(&record.project),
        ];
        add(groups.entry(key).or_default(), record, cost);
    }
    assert_eq!(store.groups(), groups);
}

/// Rows are those that the merge of core makes of all records.
pub fn records_of_one_call_merge_as_core_says(store: &dyn ContractStore) {
    let records = some_records(60, 400);
    send_in_pieces(store, &records);
    check_rows(store, &expected(store, &records));
}

/// Groups by day and every dimension are those of a GROUP BY over the merged records.
pub fn rollups_equal_rows_whatever_came_in_which_order(store: &dyn ContractStore) {
    let records = some_records(80, 500);
    send_in_pieces(store, &records);
    check_groups(store, &expected(store, &records));
}

/// Whole days come from rollups, edges from rows: together they are the rows.
pub fn sums_of_any_range_and_filter_equal_the_rows(store: &dyn ContractStore) {
    let records = some_records(200, 400);
    send_in_pieces(store, &records);
    let calls = expected(store, &records);
    for asked in questions() {
        let mut sums = Sums::default();
        for (record, cost) in calls
            .values()
            .filter(|(record, _)| is_meant(&asked, record))
        {
            add(&mut sums, record, cost);
        }
        assert_eq!(store.sums(&asked), sums, "{asked:?}");
    }
}

/// 2.19 % of the exact duration of rank ⌈p · n⌉.
pub fn percentiles_are_within_the_bound_at_the_same_rank(store: &dyn ContractStore) {
    let records = some_records(300, 500);
    send_in_pieces(store, &records);
    let calls = expected(store, &records);
    for asked in questions() {
        let mut durations: Vec<u64> = calls
            .values()
            .filter(|(record, _)| is_meant(&asked, record))
            .filter_map(|(record, _)| record.duration_us)
            .collect();
        durations.sort_unstable();
        for per_mille in [1, 250, 500, 950, 990, 1_000] {
            let shown = store.percentile_us(&asked, per_mille);
            if durations.is_empty() {
                assert_eq!(shown, None, "{asked:?}");
                continue;
            }
            let rank = (durations.len() * per_mille as usize)
                .div_ceil(1_000)
                .max(1);
            let exact = durations[rank - 1] as f64;
            let shown = shown.unwrap() as f64;
            assert!(
                (shown - exact).abs() <= exact * 0.0219 + 1.0,
                "{shown} for {exact}, {per_mille} of {asked:?}"
            );
        }
    }
}
