//! Calls beyond the horizon leave, their sums stay, and none of them is ever counted again.

use callmeter_core::Sink;
use callmeter_store::{Filter, SqliteOptions};

use crate::support::{Place, call, write};

const DAY: i64 = 86_400_000_000;

fn forty_days() -> SqliteOptions {
    let mut options = SqliteOptions::default();
    options.raw_days = 40;
    options
}

/// Lets days pass; the clock takes no more than an hour at a time.
fn pass_days(place: &Place, days: u32) {
    for _ in 0..days * 24 {
        place.clock.pass(3_600_000_000);
    }
}

fn count(place: &Place, table: &str) -> i64 {
    place
        .raw()
        .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
            row.get(0)
        })
        .unwrap()
}

#[test]
fn old_calls_leave_in_slices_and_their_sums_stay() {
    let place = Place::new();
    let mut store = place.store_with(forty_days());
    let old: Vec<_> = (0..3_000).map(|n| call(n * 1_000_000, 1)).collect();
    write(&mut store, &old);
    let kept: Vec<_> = (0..10).map(|n| call(9 * DAY + n, 1)).collect();
    write(&mut store, &kept);
    assert!(!store.expire().unwrap());
    assert_eq!(count(&place, "calls"), 3_010, "all within the horizon");
    pass_days(&place, 35);
    let mut slices = 1;
    while store.maintain().unwrap() {
        slices += 1;
    }
    assert!(slices > 1, "in slices");
    assert_eq!(count(&place, "calls"), 10);
    let totals = place.reader().totals(&Filter::default()).unwrap();
    assert_eq!(totals.calls, 3_010);
}

#[test]
fn a_call_that_was_removed_is_refused_by_whoever_sends_it_again() {
    let place = Place::new();
    let mut store = place.store_with(forty_days());
    write(&mut store, &[call(0, 1), call(DAY, 2), call(9 * DAY, 3)]);
    pass_days(&place, 35);
    assert!(!store.expire().unwrap());
    // A process whose settings keep calls for longer.
    let mut other = place.store();
    let ack = write(
        &mut other,
        &[call(0, 1), call(2 * DAY, 4), call(9 * DAY, 3)],
    );
    assert_eq!((ack.expired, ack.inserted, ack.unchanged), (2, 0, 1));
    assert_eq!(count(&place, "rejected"), 2);
    let totals = place.reader().totals(&Filter::default()).unwrap();
    assert_eq!(totals.calls, 3);
}

#[test]
fn refused_records_leave_as_well_when_their_time_has_come() {
    let place = Place::new();
    let mut store = place.store_with(forty_days());
    let ack = write(&mut store, &[call(-60 * DAY, 1)]);
    assert_eq!((ack.expired, count(&place, "rejected")), (1, 1));
    pass_days(&place, 41);
    assert!(!store.expire().unwrap());
    assert_eq!(count(&place, "rejected"), 0);
}

#[test]
fn calls_of_one_moment_leave_together() {
    let place = Place::new();
    let mut store = place.store_with(forty_days());
    let batch: Vec<_> = (0..1_500).map(|n| call(0, n)).collect();
    write(&mut store, &batch);
    pass_days(&place, 41);
    while store.expire().unwrap() {}
    assert_eq!(count(&place, "calls"), 0);
}
