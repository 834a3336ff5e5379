//! The encoding: every record comes back, unknown fields pass through, any bytes are safe to read.

use callmeter_core::{
    CallId, CallRecord, Cost, DecodeError, Field, FieldSet, Layer, Meta, MetaPolicy, PicoUsd,
    RECORD_FORMAT, Status, Timestamp, UsageSource,
};
use callmeter_testkit::records::records;
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_record_survives_its_encoding(record in records(50)) {
        prop_assert_eq!(CallRecord::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn the_rest_of_a_record_leaves_out_what_stands_elsewhere(record in records(50)) {
        let without = FieldSet::default().with(Field::Caller).with(Field::InputTokens);
        let mut bytes = Vec::new();
        record.encode_rest(without, &mut bytes);
        let mut read = CallRecord::decode_rest(record.call_id, &bytes).unwrap();
        prop_assert_eq!((&read.caller, read.usage.input_tokens), (&None, None));
        read.caller.clone_from(&record.caller);
        read.usage.input_tokens = record.usage.input_tokens;
        prop_assert_eq!(read, record);
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = CallRecord::decode(&bytes);
    }

    #[test]
    fn a_damaged_record_is_a_record_or_an_error(
        record in records(50), at: prop::sample::Index, byte: u8, cut: prop::sample::Index
    ) {
        let mut bytes = record.encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = CallRecord::decode(&bytes);
        let _ = CallRecord::decode(&bytes[..cut.index(bytes.len())]);
    }
}

fn golden() -> CallRecord {
    let id = CallId::new(
        Timestamp::from_micros(1_774_310_400_123_456),
        0x0123_4567_89ab_cdef,
    );
    let mut record = CallRecord::new(id, Layer::Guard, 2);
    record.caller = Some("sales_copy".into());
    record.provider = Some("openai".into());
    record.model_requested = Some("gpt-5-mini".into());
    record.model = Some("gpt-5-mini-2025-08-07".into());
    record.parent_id = Some(CallId::new(
        Timestamp::from_micros(1_774_310_400_000_000),
        1,
    ));
    record.duration_us = Some(1_234_567);
    record.usage.input_tokens = Some(0);
    record.usage.output_tokens = Some(340);
    record.usage.usage_extra = Some([("web_search".to_owned(), 2)].into());
    record.usage.usage_source = Some(UsageSource::Body);
    record.status = Some(Status::Custom("retried".into()));
    record.http_status = Some(200);
    record.cache_hit = Some(false);
    record.reported_cost = Some(PicoUsd::from_pico(-1));
    let mut meta = Meta::default();
    meta.insert("größe", 3, &MetaPolicy::default()).unwrap();
    record.meta = Some(meta);
    record
}

#[test]
fn format_1_stays_readable_for_ever() {
    let stored = include_bytes!("../golden/record-v1.bin");
    assert_eq!(CallRecord::decode(stored).as_ref(), Ok(&golden()));
    assert_eq!(
        golden().encode(),
        stored,
        "a changed encoding needs a new format number"
    );
}

#[test]
fn json_names_every_field_and_writes_money_as_decimal_text() {
    let mut cost = Cost::default();
    cost.cost = Some(PicoUsd::from_pico(1_230_000_000));
    assert_eq!(
        golden().to_json(Some(&cost)),
        include_str!("../golden/record-v1.json").trim_end()
    );
}

#[test]
fn what_a_newer_version_added_passes_through_unchanged() {
    let record = golden();
    let mut bytes = record.encode();
    bytes.extend([
        (100 << 1 | 1) as u8 | 0x80,
        1,
        3,
        b'n',
        b'e',
        b'w',
        (101_u8 << 1) | 0x80,
        1,
        42,
    ]);
    let read = CallRecord::decode(&bytes).unwrap();
    assert_ne!(read, record);
    assert_eq!(read.encode(), bytes);
    assert_eq!(read.clone().merge(&record).encode(), bytes);
}

#[test]
fn a_newer_format_and_a_corrupt_record_are_told_apart() {
    let mut bytes = golden().encode();
    bytes[0] = RECORD_FORMAT + 1;
    assert_eq!(
        CallRecord::decode(&bytes),
        Err(DecodeError::NewerFormat(RECORD_FORMAT + 1))
    );
    assert_eq!(CallRecord::decode(&[]), Err(DecodeError::Corrupt));
    assert_eq!(
        CallRecord::decode(&[RECORD_FORMAT]),
        Err(DecodeError::Corrupt)
    );
}

#[test]
fn numbers_of_fields_fit_a_set_and_ascend() {
    assert!(
        Field::ALL
            .windows(2)
            .all(|pair| pair[0].tag() < pair[1].tag())
    );
    assert!(Field::ALL.iter().all(|field| field.tag() < 126));
}
