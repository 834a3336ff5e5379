//! The merge table (promise CM-5): any order, any grouping, any repetition gives one record.

use callmeter_core::{CallId, CallRecord, ErrorKind, Layer, Status, Timestamp, UsageSource};
use callmeter_testkit::records::records;
use proptest::prelude::*;

fn record(layer: Layer, rev: u32) -> CallRecord {
    CallRecord::new(
        CallId::new(Timestamp::from_micros(1_774_310_400_000_000), 7),
        layer,
        rev,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_merge_is_commutative_associative_and_idempotent(
        a in records(1), b in records(1), c in records(1)
    ) {
        let ab = a.clone().merge(&b);
        prop_assert_eq!(&ab, &b.clone().merge(&a));
        prop_assert_eq!(ab.clone().merge(&c), a.clone().merge(&b.clone().merge(&c)));
        prop_assert_eq!(a.clone().merge(&a), a.clone());
        prop_assert_eq!(ab.clone().merge(&ab.clone()), ab.clone());
        prop_assert_eq!(ab.clone().merge(&a), ab.clone());
        prop_assert_eq!(b.merge(&ab), ab);
    }

    #[test]
    fn a_merged_record_survives_its_encoding_and_goes_on_merging(
        a in records(1), b in records(1), c in records(1)
    ) {
        let ab = a.clone().merge(&b);
        let stored = CallRecord::decode(&ab.encode()).unwrap();
        prop_assert_eq!(&stored, &ab);
        prop_assert_eq!(stored.merge(&c), ab.merge(&c));
    }
}

#[test]
fn the_wire_owns_usage_and_the_answered_model_the_guard_owns_the_words() {
    let mut guard = record(Layer::Guard, 0);
    guard.caller = Some("sales_copy".into());
    guard.model = Some("gpt-5".into());
    guard.status = Some(Status::Fallback);
    guard.usage.input_tokens = Some(100);
    guard.usage.output_tokens = Some(10);
    guard.usage.usage_source = Some(UsageSource::Caller);
    guard.duration_us = Some(2_000);
    let mut proxy = record(Layer::Proxy, 0);
    proxy.caller = Some("python".into());
    proxy.model = Some("gpt-5-2026-08-07".into());
    proxy.status = Some(Status::Ok);
    proxy.usage.input_tokens = Some(120);
    proxy.usage.usage_source = Some(UsageSource::Stream);
    proxy.duration_us = Some(1_500);
    proxy.http_status = Some(200);
    let merged = guard.merge(&proxy);
    assert_eq!(merged.caller.as_deref(), Some("sales_copy"));
    assert_eq!(merged.model.as_deref(), Some("gpt-5-2026-08-07"));
    assert_eq!(merged.status, Some(Status::Fallback));
    assert_eq!(
        (merged.usage.input_tokens, merged.usage.output_tokens),
        (Some(120), Some(10))
    );
    assert_eq!(
        (merged.duration_us, merged.http_status),
        (Some(2_000), Some(200))
    );
}

#[test]
fn an_aborted_record_yields_to_any_that_finished() {
    let mut aborted = record(Layer::Guard, 0);
    aborted.status = Some(Status::Aborted);
    aborted.duration_us = Some(50_000_000);
    aborted.caller = Some("sales_copy".into());
    let mut finished = record(Layer::Proxy, 0);
    finished.status = Some(Status::Error);
    finished.error_kind = Some(ErrorKind::Server);
    finished.duration_us = Some(900);
    finished.caller = Some("python".into());
    let merged = aborted.merge(&finished);
    assert_eq!(merged.status, Some(Status::Error));
    assert_eq!(merged.duration_us, Some(900));
    assert_eq!(merged.caller.as_deref(), Some("sales_copy"));
}

#[test]
fn guessed_counts_yield_to_those_the_caller_reported() {
    let mut guard = record(Layer::Guard, 0);
    guard.usage.input_tokens = Some(100);
    guard.usage.usage_source = Some(UsageSource::Caller);
    let mut proxy = record(Layer::Proxy, 0);
    proxy.usage.input_tokens = Some(9);
    proxy.usage.usage_source = Some(UsageSource::Guessed);
    let merged = proxy.merge(&guard);
    assert_eq!(merged.usage.input_tokens, Some(100));
    assert_eq!(merged.usage.usage_source, Some(UsageSource::Caller));
}

#[test]
fn a_later_revision_of_a_layer_completes_an_earlier_one_and_null_never_overwrites() {
    let mut first = record(Layer::Guard, 0);
    first.status = Some(Status::Ok);
    first.usage.input_tokens = Some(5);
    let mut later = record(Layer::Guard, 1);
    later.usage.output_tokens = Some(6);
    later.usage.input_tokens = Some(7);
    let merged = later.merge(&first);
    assert_eq!(
        (merged.usage.input_tokens, merged.usage.output_tokens),
        (Some(7), Some(6))
    );
    assert_eq!((merged.status, merged.rev), (Some(Status::Ok), 1));
}

#[test]
fn a_record_of_another_call_is_left_alone() {
    let mine = record(Layer::Guard, 0);
    let mut other = CallRecord::new(CallId::new(Timestamp::EPOCH, 1), Layer::Guard, 0);
    other.status = Some(Status::Error);
    assert_eq!(mine.clone().merge(&other), mine);
}
