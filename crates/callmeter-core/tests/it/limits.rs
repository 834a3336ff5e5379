//! The limits of a record: whatever came in, what leaves fits every store.

use callmeter_core::{CallId, CallRecord, Field, Flags, Layer, Status, Timestamp};
use callmeter_testkit::records::records;
use proptest::prelude::*;

proptest! {
    #[test]
    fn any_text_and_count_comes_out_within_limits(
        mut record in records(5), text in "\\PC{0,3000}|.{0,40}\0\n.{0,40}", count: u64, short: String
    ) {
        record.caller = Some(text.clone());
        record.error = Some(text.clone());
        record.call_site = Some(text.clone());
        record.status = Some(Status::from_word(&text));
        record.usage.input_tokens = Some(count);
        record.usage.usage_extra = Some([(short, count)].into());
        record.duration_us = Some(count);
        record.bound();
        prop_assert!(record.caller.as_ref().unwrap().chars().count() <= Field::Caller.limit());
        prop_assert!(record.error.as_ref().unwrap().chars().count() <= Field::Error.limit());
        prop_assert!(record.call_site.as_ref().unwrap().len() <= 160);
        prop_assert!(record.status_or_ok().as_str().chars().count() <= 16);
        prop_assert!(!record.to_json(None).chars().any(char::is_control));
        let once = record.clone();
        record.bound();
        prop_assert_eq!(record, once);
    }
}

#[test]
fn what_was_cut_or_dropped_is_marked() {
    let mut record = CallRecord::new(CallId::new(Timestamp::EPOCH, 1), Layer::Guard, 0);
    record.caller = Some("ü".repeat(65));
    record.usage.output_tokens = Some(u64::MAX);
    record.duration_us = Some(u64::MAX);
    record.bound();
    assert_eq!(record.caller.as_deref(), Some("ü".repeat(64).as_str()));
    assert_eq!(
        (record.usage.output_tokens, record.duration_us),
        (None, None)
    );
    assert!(
        record.flags.contains(
            Flags::CUT
                .union(Flags::USAGE_IMPLAUSIBLE)
                .union(Flags::DURATION_IMPLAUSIBLE)
        )
    );
}

#[test]
fn a_long_call_site_keeps_its_line() {
    let mut record = CallRecord::new(CallId::new(Timestamp::EPOCH, 1), Layer::Guard, 0);
    let site = format!("src/{}callers.rs:1234", "tiefer/größer/".repeat(20));
    record.call_site = Some(site.clone());
    record.bound();
    let kept = record.call_site.unwrap();
    assert!(kept.len() <= 160 && site.ends_with(&kept), "{kept}");
    assert!(record.flags.contains(Flags::CUT));
}
