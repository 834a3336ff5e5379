//! What the store does with names without end, in both rollups; the rest of its limits is in the contract.

use callmeter_core::Status;
use callmeter_price::Book;

use crate::oracle;
use crate::support::{Place, call, write};

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
