//! What an open call is told: it is in the row when the call is finished, and nowhere before.

use callmeter_core::{CallRecord, Field, Layer, Status, UsageSource};
use callmeter_flight::{Adopter, FlightBuffer, Opening, Refused, Value};
use proptest::prelude::*;

use crate::support::{id, in_file, in_memory, open};

/// Finishes the one open call of a buffer and takes its row out.
fn row(
    buffer: &std::sync::Arc<FlightBuffer>,
    slot: callmeter_flight::FlightSlot,
    more: &[(Field, Value<'_>)],
) -> CallRecord {
    let mut drainer = buffer.drainer().unwrap();
    buffer.finish(slot, &more).unwrap();
    let mut out = None;
    assert_eq!(drainer.drain(10, |record| out = Some(record)), 1);
    drainer.committed();
    assert_eq!(buffer.standing().moving(), 0);
    out.unwrap()
}

#[test]
fn what_a_call_was_told_last_is_in_its_row() {
    let buffer = in_memory(16);
    let slot = open(&buffer, 1).unwrap();
    let told = buffer.open_slot(&slot).unwrap();
    for (field, value) in [
        (Field::InputTokens, Value::from(7_u64)),
        (Field::InputTokens, 26_u64.into()),
        (Field::CacheReadTokens, 5_u64.into()),
        (Field::UsageSource, UsageSource::Caller.into()),
        (Field::Status, "odd".into()),
        (Field::Status, (&Status::Fallback).into()),
        (Field::CacheHit, true.into()),
        (Field::CacheHit, false.into()),
        (Field::HttpStatus, 503_u16.into()),
        (Field::HttpStatus, 200_u16.into()),
        (Field::Model, "gpt-5".into()),
        (Field::Model, "gpt-5-mini-2026-01-01".into()),
        (Field::Provider, "azure_openai".into()),
        (Field::Team, "web".into()),
        (Field::RequestId, "req_1".into()),
        (Field::ParentId, id(9).into()),
        (Field::Attempt, 2_u32.into()),
        (Field::RequestId, "req_2".into()),
    ] {
        told.tell(field, value).unwrap();
        assert!(told.has(field), "{field:?}");
    }
    told.untell(Field::CacheReadTokens);
    told.untell(Field::Provider);
    told.untell(Field::Attempt);
    for field in [Field::CacheReadTokens, Field::Provider, Field::Attempt] {
        assert!(!told.has(field), "{field:?}");
    }
    let source = u64::from(UsageSource::Caller.code());
    assert_eq!(told.code(Field::UsageSource), Some(source));
    for field in [Field::ErrorKind, Field::InputTokens, Field::Model] {
        assert_eq!(told.code(field), None, "{field:?}");
    }
    assert_eq!((told.call_id(), told.opened_ns()), (Some(id(1)), 1_000));
    let row = row(&buffer, slot, &[(Field::DurationUs, Value::from(9_u64))]);
    assert_eq!(
        (row.usage.input_tokens, row.duration_us),
        (Some(26), Some(9))
    );
    assert_eq!(row.usage.cache_read_tokens, None);
    assert_eq!(row.usage.usage_source, Some(UsageSource::Caller));
    assert_eq!(row.status, Some(Status::Fallback));
    assert_eq!((row.cache_hit, row.http_status), (Some(false), Some(200)));
    assert_eq!(row.model.as_deref(), Some("gpt-5-mini-2026-01-01"));
    // The opening's word stands again.
    assert_eq!(row.provider.as_deref(), Some("openai"));
    assert_eq!(row.team.as_deref(), Some("web"));
    assert_eq!(row.request_id.as_deref(), Some("req_2"));
    assert_eq!((row.parent_id, row.attempt), (Some(id(9)), None));
}

#[test]
fn a_call_that_was_told_much_and_is_not_finished_is_what_it_was_at_its_opening() {
    let (_dir, buffer) = in_file(16);
    let bare = open(&buffer, 1).unwrap();
    let path = buffer.path().unwrap().to_owned();
    let before = Adopter::read_file(&path).unwrap();
    let told = buffer.open_slot(&bare).unwrap();
    told.tell(Field::InputTokens, 26_u64.into()).unwrap();
    told.tell(Field::Model, "gpt-5-mini".into()).unwrap();
    told.tell(Field::RequestId, "req_1".into()).unwrap();
    let after = Adopter::read_file(&path).unwrap();
    assert_eq!((after.aborted.len(), after.torn), (1, 0));
    assert_eq!(after.aborted, before.aborted);
    buffer.finish(bare, &()).unwrap();
}

#[test]
fn what_finds_no_room_is_refused_and_goes_on_in_other_slots_at_the_end() {
    let buffer = in_memory(16);
    let slot = open(&buffer, 1).unwrap();
    let told = buffer.open_slot(&slot).unwrap();
    let long = "r".repeat(120);
    told.tell(Field::RequestId, long.as_str().into()).unwrap();
    let other = "p".repeat(100);
    let value = Value::from(other.as_str());
    told.tell(Field::ProviderRequestId, value).unwrap();
    told.tell(Field::ResponseId, "short".into()).unwrap();
    let longer = "s".repeat(60);
    let refused = told.tell(Field::ResponseId, longer.as_str().into());
    assert_eq!(refused, Err(Refused::NoRoom));
    assert!(!told.has(Field::ResponseId), "the earlier one is gone");
    let row = row(
        &buffer,
        slot,
        &[(Field::ResponseId, longer.as_str().into())],
    );
    assert_eq!(row.request_id, Some(long));
    assert_eq!(row.provider_request_id, Some(other));
    assert_eq!(row.response_id, Some(longer));
}

#[test]
fn a_slot_of_another_buffer_is_told_nothing() {
    let (buffer, other) = (in_memory(16), in_memory(16));
    let slot = open(&buffer, 1).unwrap();
    assert_eq!(other.open_slot(&slot).err(), Some(Refused::Forked));
    buffer.finish(slot, &()).unwrap();
}

#[test]
fn a_mark_is_the_holder_s_and_changes_nothing_of_the_slot() {
    let buffer = in_memory(16);
    let mut slot = open(&buffer, 1).unwrap();
    assert!(!slot.is_marked());
    slot.set_marked(true);
    assert!(slot.is_marked() && slot.buffer_id() == buffer.id());
    assert_eq!(row(&buffer, slot, &[]).call_id, id(1));
}

#[test]
fn a_prepared_opening_opens_the_same_call_as_its_names_would() {
    let buffer = in_memory(32);
    let mut drainer = buffer.drainer().unwrap();
    let shop = [(Field::Project, Value::from("shop"))];
    let opening = |n: u64| Opening {
        caller: "größe".into(),
        provider: "openai".into(),
        model_requested: "gpt-5-mini".into(),
        call_site: "src/sales.rs:42".into(),
        scope: buffer.scope(&shop),
        ..Opening::new(id(n), Layer::Guard, 5)
    };
    let prepared = buffer.prepare(&opening(1)).unwrap();
    let slow = buffer.open(&opening(1)).unwrap();
    let quick = buffer.open_prepared(&prepared, id(1), 5).unwrap();
    buffer.finish(slow, &()).unwrap();
    buffer.finish(quick, &()).unwrap();
    let mut rows = Vec::new();
    drainer.drain(10, |record| rows.push(record));
    drainer.committed();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0], rows[1]);
    assert_eq!(rows[0].caller.as_deref(), Some("größe"));
    let revised = Opening {
        rev: 1,
        ..opening(2)
    };
    assert!(buffer.prepare(&revised).is_none());
    let refused = in_memory(16).open_prepared(&prepared, id(3), 5);
    assert_eq!(refused.err(), Some(Refused::Forked));
}

proptest! {
    /// Texts of every length at every place: each is found whole, whatever was told and taken away between.
    #[test]
    fn texts_told_in_any_order_are_read_back(
        steps in proptest::collection::vec((0_usize..4, "[a-zé]{0,60}"), 1..40),
    ) {
        let fields = [Field::RequestId, Field::ResponseId, Field::TraceId, Field::SpanId];
        let buffer = in_memory(16);
        let slot = open(&buffer, 1).unwrap();
        let told = buffer.open_slot(&slot).unwrap();
        let mut expected: [Option<String>; 4] = Default::default();
        for (at, text) in steps {
            if text.is_empty() {
                told.untell(fields[at]);
                expected[at] = None;
            } else {
                let kept = told.tell(fields[at], text.as_str().into()).is_ok();
                expected[at] = kept.then_some(text);
            }
        }
        for (field, expected) in fields.iter().zip(&expected) {
            prop_assert_eq!(told.has(*field), expected.is_some());
        }
        let row = row(&buffer, slot, &[]);
        // The limits of the fields cut afterwards.
        let mut whole = CallRecord::new(row.call_id, Layer::Guard, 0);
        [whole.request_id, whole.response_id, whole.trace_id, whole.span_id] = expected;
        whole.bound();
        prop_assert_eq!(
            (row.request_id, row.response_id, row.trace_id, row.span_id),
            (whole.request_id, whole.response_id, whole.trace_id, whole.span_id)
        );
    }
}
