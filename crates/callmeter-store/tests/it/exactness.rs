//! Promise CM-5: whatever the order, the cut and the repetition of batches, rows and rollups are those of
//! the merged records.

use callmeter_core::CallRecord;
use callmeter_price::Book;
use callmeter_testkit::records::records;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::oracle;
use crate::support::{Place, berlin_legacy, write};

/// Records of few calls, and in which pieces they are sent, each piece any number of records long and
/// some of them sent again.
fn sendings() -> impl Strategy<Value = (Vec<CallRecord>, Vec<(Index, Index, bool)>)> {
    (
        prop::collection::vec(records(20), 1..60),
        prop::collection::vec((any::<Index>(), any::<Index>(), any::<bool>()), 1..12),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_order_cutting_and_repetition_leaves_what_one_group_by_says(
        (records, cuts) in sendings()
    ) {
        let place = Place::new();
        // Two writers, as two processes have them: each with its own memory of names and groups.
        let mut stores = [place.store(), place.store()];
        for (from, to, second) in cuts {
            let (from, to) = (from.index(records.len()), to.index(records.len()));
            let piece = &records[from.min(to)..=from.max(to)];
            write(&mut stores[usize::from(second)], piece);
        }
        write(&mut stores[0], &records);
        oracle::check(&place, &oracle::merged(&records, &Book::market()));
    }

    #[test]
    fn days_of_another_zone_and_another_book_are_as_exact(records in prop::collection::vec(records(15), 1..40)) {
        let place = Place::new();
        let mut store = place.store_with(berlin_legacy());
        for piece in records.chunks(7) {
            write(&mut store, piece);
        }
        oracle::check(&place, &oracle::merged(&records, &Book::legacy()));
    }
}

#[test]
fn a_batch_sent_twice_is_stored_once() {
    let place = Place::new();
    let mut store = place.store();
    let batch: Vec<_> = (0..50)
        .map(|n| crate::support::call(n * 1_000, 7))
        .collect();
    assert_eq!(write(&mut store, &batch).inserted, 50);
    assert_eq!(write(&mut store, &batch).unchanged, 50);
    oracle::check(&place, &oracle::merged(&batch, &Book::market()));
}
