//! One thread: what goes in comes out, and what has no room is said.

use callmeter_core::{CallRecord, Field, Flags, Layer, Status};
use callmeter_flight::{Fields, Name, Opening, Refused, Value};
use callmeter_testkit::records;
use proptest::prelude::*;

use crate::support::{START, call, drained, id, in_file, in_memory, open};

/// Everything about a record by way of the buffer: as an opening and an outcome.
fn round_trip(record: &CallRecord) -> CallRecord {
    let buffer = in_memory(64);
    let mut drainer = buffer.drainer().unwrap();
    let opening = Opening {
        rev: record.rev,
        ..Opening::new(record.call_id, record.layer, 0)
    };
    let slot = buffer.open(&opening).unwrap();
    buffer.finish(slot, record).unwrap();
    let mut out = None;
    assert_eq!(drainer.drain(10, |record| out = Some(record)), 1);
    drainer.committed();
    assert_eq!(buffer.standing().moving(), 0);
    out.unwrap()
}

proptest! {
    #[test]
    fn any_record_comes_out_as_it_went_in(record in records::records(50)) {
        prop_assert_eq!(round_trip(&record), record);
    }

    #[test]
    fn long_texts_come_out_whole_or_cut_at_a_character_and_marked(
        error in "\\PC{0,2000}", detail in "\\PC{0,256}", request in "[a-zé]{0,128}",
    ) {
        let mut record = CallRecord::new(id(7), Layer::Guard, 0);
        record.request_id = Some(request);
        record.error = Some(error.clone());
        record.error_detail = Some(detail);
        record.bound();
        let back = round_trip(&record);
        // 6,528 bytes are room for all of it but for the widest of characters.
        if error.len() < 5_000 {
            prop_assert_eq!(back, record);
        } else {
            prop_assert!(error.starts_with(back.error.as_deref().unwrap()));
            prop_assert_eq!(back.flags.contains(Flags::CUT), back.error != record.error);
        }
    }
}

#[test]
fn names_of_the_opening_and_of_the_scope_are_in_the_row_and_the_outcome_wins() {
    let buffer = in_memory(16);
    let mut drainer = buffer.drainer().unwrap();
    let shop = [
        (Field::Project, Value::from("shop")),
        (Field::Team, "web".into()),
    ];
    let site = buffer.name("src/sales.rs:42").unwrap();
    let opening = Opening {
        caller: "größe".into(),
        provider: "openai".into(),
        model_requested: "gpt-5-mini".into(),
        call_site: Name::Known(site),
        scope: buffer.scope(&shop),
        ..Opening::new(id(1), Layer::Sdk, 0)
    };
    let opening = opening.with([(Field::ParentId, Value::from(id(9)))]);
    let slot = buffer.open(&opening).unwrap();
    let outcome = [
        (Field::Provider, Value::from("anthropic")),
        (Field::Team, "billing".into()),
    ];
    buffer.finish(slot, &outcome).unwrap();
    let mut rows = Vec::new();
    drainer.drain(1, |record| rows.push(record));
    let row = &rows[0];
    assert_eq!(row.caller.as_deref(), Some("größe"));
    assert_eq!(row.provider.as_deref(), Some("anthropic"));
    assert_eq!(row.model_requested.as_deref(), Some("gpt-5-mini"));
    assert_eq!(row.call_site.as_deref(), Some("src/sales.rs:42"));
    assert_eq!(
        (row.project.as_deref(), row.team.as_deref()),
        (Some("shop"), Some("billing"))
    );
    assert_eq!((row.parent_id, row.layer), (Some(id(9)), Layer::Sdk));
}

#[test]
fn a_name_table_that_is_full_costs_no_name() {
    let buffer = in_memory(16);
    let mut drainer = buffer.drainer().unwrap();
    for n in 0..1_000 {
        let caller = format!("caller number {n}");
        let opening = Opening {
            caller: caller.as_str().into(),
            ..Opening::new(id(n), Layer::Guard, 0)
        };
        buffer.finish(buffer.open(&opening).unwrap(), &()).unwrap();
        let mut row = None;
        drainer.drain(1, |record| row = Some(record));
        drainer.committed();
        assert_eq!(row.unwrap().caller.as_deref(), Some(caller.as_str()));
    }
}

#[test]
fn names_too_long_for_an_opening_are_cut_and_the_row_says_so() {
    let buffer = in_memory(16);
    let mut drainer = buffer.drainer().unwrap();
    let caller = "ü".repeat(2_000);
    let opening = Opening {
        caller: caller.as_str().into(),
        ..Opening::new(id(1), Layer::Guard, 0)
    };
    buffer.finish(buffer.open(&opening).unwrap(), &()).unwrap();
    drainer.drain(1, |row| {
        assert_eq!(row.caller, Some("ü".repeat(64)));
        assert!(row.flags.contains(Flags::CUT));
    });
    assert_eq!(buffer.standing().cut, 1);
}

#[test]
fn a_full_buffer_refuses_counts_and_takes_calls_again_when_slots_are_free() {
    let buffer = in_memory(16);
    let mut drainer = buffer.drainer().unwrap();
    for n in 0..16 {
        call(&buffer, n).unwrap();
    }
    for n in 16..26 {
        assert_eq!(call(&buffer, n), Err(Refused::Full));
    }
    let standing = buffer.standing();
    assert_eq!(
        (standing.opened, standing.finished, standing.full),
        (26, 16, 10)
    );
    assert_eq!(drained(&mut drainer), (0..16).collect::<Vec<_>>());
    call(&buffer, 30).unwrap();
    assert_eq!(drained(&mut drainer), [30]);
    let standing = buffer.standing();
    assert_eq!(
        (standing.opened, standing.drained, standing.moving()),
        (27, 17, 0)
    );
}

#[test]
fn long_results_without_a_free_slot_are_cut_and_with_one_they_free_it_again() {
    let buffer = in_memory(16);
    let mut drainer = buffer.drainer().unwrap();
    let error = "x".repeat(1_500);
    let outcome = [(Field::Error, Value::from(error.as_str()))];
    let slots: Vec<_> = (0..15).map(|n| open(&buffer, n).unwrap()).collect();
    for slot in slots {
        buffer.finish(slot, &outcome).unwrap();
    }
    let mut lengths = Vec::new();
    drainer.drain(100, |row| {
        assert!(row.flags.contains(Flags::CUT));
        assert!(
            row.error
                .as_ref()
                .is_some_and(|text| error.starts_with(text))
        );
        lengths.push(row.error.unwrap().len());
    });
    lengths.sort_unstable();
    // One of them got the last slot as a continuation, the others what their own slot holds.
    assert!(lengths[13] < 256 && lengths[14] > 600, "{lengths:?}");
    drainer.committed();
    for n in 0..16 {
        call(&buffer, n).unwrap();
    }
    assert_eq!(drained(&mut drainer).len(), 16);
}

#[test]
fn what_the_spool_did_not_take_is_handed_out_again() {
    let buffer = in_memory(64);
    let mut drainer = buffer.drainer().unwrap();
    for n in 0..40 {
        call(&buffer, n).unwrap();
    }
    assert_eq!(drainer.drain(25, |_| {}), 25);
    assert_eq!(drainer.drain(25, |_| {}), 15, "nothing is handed out twice");
    drainer.put_back();
    assert_eq!(drained(&mut drainer), (0..40).collect::<Vec<_>>());
    assert_eq!(drained(&mut drainer), Vec::<u64>::new());
    for n in 40..50 {
        call(&buffer, n).unwrap();
    }
    assert_eq!(drainer.drain(5, |_| {}), 5);
    drop(drainer);
    let mut next = buffer.drainer().unwrap();
    assert_eq!(
        drained(&mut next),
        (40..50).collect::<Vec<_>>(),
        "nor lost with its drainer"
    );
}

#[test]
fn a_buffer_has_one_drainer() {
    let buffer = in_memory(16);
    let drainer = buffer.drainer();
    assert!(drainer.is_some() && buffer.drainer().is_none());
    drop(drainer);
    assert!(buffer.drainer().is_some());
}

#[test]
fn off_refuses_new_calls_and_lets_open_ones_finish() {
    let buffer = in_memory(16);
    let mut drainer = buffer.drainer().unwrap();
    let slot = open(&buffer, 1).unwrap();
    buffer.switch_off(None);
    assert_eq!(call(&buffer, 2), Err(Refused::Off));
    buffer
        .finish(slot, &[(Field::Status, Value::from(&Status::Ok))])
        .unwrap();
    assert_eq!(drained(&mut drainer), [1]);
    buffer.beat(START.saturating_add_micros(1 << 50), 0);
    assert!(!buffer.is_on(), "without a moment it stays off");
    buffer.switch_on();
    call(&buffer, 3).unwrap();
}

#[test]
fn off_for_a_while_ends_by_itself() {
    let buffer = in_memory(16);
    let end = START.saturating_add_micros(3_600_000_000);
    buffer.switch_off(Some(end));
    buffer.beat(end.saturating_add_micros(-1), 0);
    assert!(!buffer.is_on());
    buffer.beat(end, 0);
    assert!(buffer.is_on());
}

#[test]
fn a_slot_of_another_buffer_is_refused_and_its_call_stays_open() {
    let (one, other) = (in_memory(16), in_memory(16));
    let slot = open(&one, 1).unwrap();
    assert_eq!(other.finish(slot, &()), Err(Refused::Forked));
    assert_eq!((one.standing().open, other.standing().opened), (1, 0));
}

#[test]
fn a_name_of_another_buffer_names_nothing() {
    let (one, other) = (in_memory(16), in_memory(16));
    let mut drainer = other.drainer().unwrap();
    other.name("somebody else").unwrap();
    let foreign = Name::Known(one.name("me").unwrap());
    let opening = Opening {
        caller: foreign,
        ..Opening::new(id(1), Layer::Guard, 0)
    };
    other.finish(other.open(&opening).unwrap(), &()).unwrap();
    drainer.drain(1, |row| assert_eq!(row.caller, None));
}

#[test]
fn the_file_goes_with_an_empty_buffer_and_stays_with_a_full_one() {
    let (_dir, buffer) = in_file(16);
    let path = buffer.path().unwrap().to_owned();
    call(&buffer, 1).unwrap();
    let mut drainer = buffer.drainer().unwrap();
    assert_eq!(drained(&mut drainer), [1]);
    drop(drainer);
    drop(buffer);
    assert!(!path.exists() && !path.with_extension("lease").exists());

    let (_dir, buffer) = in_file(16);
    let path = buffer.path().unwrap().to_owned();
    let _in_flight = open(&buffer, 1).unwrap();
    drop(buffer);
    assert!(path.exists());
}

#[test]
fn a_file_that_was_removed_is_noticed_and_costs_no_call() {
    let (_dir, buffer) = in_file(16);
    let mut drainer = buffer.drainer().unwrap();
    assert!(buffer.is_linked());
    std::fs::remove_file(buffer.path().unwrap()).unwrap();
    assert!(!buffer.is_linked());
    call(&buffer, 1).unwrap();
    assert_eq!(drained(&mut drainer), [1]);
}

#[test]
fn fields_of_a_record_are_handed_over_once_each() {
    let mut record = CallRecord::new(id(1), Layer::Guard, 3);
    record.caller = Some("sales".to_owned());
    record.usage.input_tokens = Some(26);
    let mut seen = Vec::new();
    record.each(|tag, value| seen.push((tag, format!("{value:?}"))));
    assert_eq!(
        seen,
        [
            (Field::Caller.tag(), "Text(\"sales\")".to_owned()),
            (Field::InputTokens.tag(), "Int(26)".to_owned()),
        ]
    );
}
