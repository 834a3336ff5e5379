//! What the store does with names without end, calls out of time, and sums that do not fit.

use callmeter_core::{Flags, Sink, SinkErrorKind, Status};
use callmeter_price::Book;

use crate::oracle;
use crate::support::{Place, call, write};

const DAY: i64 = 86_400_000_000;

#[test]
fn names_beyond_the_limit_of_a_day_are_summed_as_other() {
    let place = Place::new();
    let mut store = place.store();
    let batch: Vec<_> = (0..40)
        .map(|n| {
            let mut record = call(n * 1_000, 1);
            record.status = Some(Status::from_word(&format!("word-{n}")));
            record
        })
        .collect();
    // Two sendings, so that the second meets a full day; and again, so that groups are taken out and in.
    write(&mut store, &batch[..20]);
    write(&mut store, &batch[10..]);
    let more: Vec<_> = batch
        .iter()
        .map(|record| {
            let mut more = record.clone();
            more.rev = 1;
            more.duration_us = Some(5);
            more
        })
        .collect();
    write(&mut place.store(), &more);
    let all: Vec<_> = batch.iter().chain(&more).cloned().collect();
    oracle::check(&place, &oracle::merged(&all, &Book::market()));
    let others: i64 = place
        .raw()
        .query_row("SELECT sum(n) FROM roll_day WHERE status = 1", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(others, 8, "32 statuses a day, the rest as ~other");
}

#[test]
fn scopes_beyond_the_limit_keep_their_words_on_the_row() {
    let place = Place::new();
    let mut store = place.store();
    let batch: Vec<_> = (0..1_005)
        .map(|n| {
            let mut record = call(n * 1_000, 1);
            record.project = Some(format!("project-{n}"));
            record
        })
        .collect();
    write(&mut store, &batch);
    let mut reader = place.reader();
    for record in &batch {
        let stored = reader.find(record.call_id).unwrap().unwrap();
        assert_eq!(stored.record.project, record.project);
    }
    let in_other: i64 = place
        .raw()
        .query_row("SELECT sum(n) FROM roll_day WHERE scope = 0", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(in_other, 5);
}

#[test]
fn a_call_ahead_of_the_clock_is_marked_and_one_a_day_ahead_is_set_aside() {
    let place = Place::new();
    let mut store = place.store();
    let batch = [
        call(10 * DAY + 300_000_000, 1),
        call(10 * DAY + 700_000_000, 2),
        call(11 * DAY + 1_000_000, 3),
    ];
    let ack = write(&mut store, &batch);
    assert_eq!((ack.inserted, ack.expired), (2, 1));
    let mut reader = place.reader();
    let mut is_marked = |at: usize| {
        let stored = reader.find(batch[at].call_id).unwrap().unwrap();
        stored.record.flags.contains(Flags::CLOCK_AHEAD)
    };
    assert!(!is_marked(0) && is_marked(1));
    assert_eq!(reader.facts().unwrap().rejected, 1);
}

#[test]
fn a_call_older_than_the_horizon_is_set_aside_once() {
    let place = Place::new();
    let mut store = place.store();
    let batch = [call(-391 * DAY, 1), call(-389 * DAY, 2)];
    for _ in 0..2 {
        assert_eq!(write(&mut store, &batch).expired, 1);
    }
    let facts = place.reader().facts().unwrap();
    assert_eq!((facts.calls, facts.rejected), (1, 1));
}

#[test]
fn a_row_whose_sum_does_not_fit_is_refused_and_leaves_nothing() {
    let place = Place::new();
    let mut store = place.store();
    let mut batch = [call(1, 1), call(2, 2)];
    for record in &mut batch {
        record.usage.input_tokens = Some(u64::from(u32::MAX) << 31);
    }
    let error = store.write(&batch).unwrap_err();
    assert_eq!(error.kind(), SinkErrorKind::Reject, "{error}");
    assert_eq!(place.reader().facts().unwrap().calls, 0);
    // The names that the transaction added are learnt anew.
    assert_eq!(write(&mut store, &batch[..1]).inserted, 1);
    oracle::check(&place, &oracle::merged(&batch[..1], &Book::market()));
}
