//! What a reprice refuses, and what it does beside two at once; that it goes on from any slice is in the contract.

use std::sync::Arc;

use callmeter_core::{Billing, PicoUsd, UnpricedReason};
use callmeter_price::Book;
use callmeter_store::{
    Filter, RepriceError, RepriceQuery, Repricer, StoreError, StoreLayout, StoreOptions,
    StoreReader, StoreUrl,
};

use crate::support::{Place, call, write};

fn url(place: &Place) -> StoreUrl {
    StoreUrl::sqlite(place.path())
}

fn repricer(place: &Place) -> Repricer {
    Repricer::open(&url(place), StoreOptions::default(), place.clock.clone()).unwrap()
}

fn all() -> RepriceQuery {
    RepriceQuery {
        is_all: true,
        ..RepriceQuery::default()
    }
}

fn finish(repricer: &mut Repricer, rev: u32) {
    while repricer.slice(rev).unwrap() {}
}

#[track_caller]
fn refusal<T: std::fmt::Debug>(result: Result<T, StoreError>) -> RepriceError {
    match result.unwrap_err() {
        StoreError::Reprice(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_reprice_that_cannot_begin_says_why_and_changes_nothing() {
    let place = Place::new();
    let options = StoreOptions::default();
    let missing = Repricer::open(&url(&place), options.clone(), place.clock.clone());
    assert!(matches!(missing.unwrap_err(), StoreError::NotFound(_)));
    assert!(!place.path().exists());
    write(&mut place.store(), &[call(1, 1)]);
    let mut legacy = options;
    legacy.layout = StoreLayout::AiCalls;
    let refused = refusal(Repricer::open(&url(&place), legacy, place.clock.clone()));
    assert!(refused.hint().unwrap().contains("what-if"));

    let mut repricer = repricer(&place);
    assert_eq!(
        refusal(repricer.begin_undo(9, None, "")),
        RepriceError::Unknown { rev: 9 }
    );
    let first = repricer.begin(&all()).unwrap().rev;
    assert_eq!(repricer.unfinished().unwrap().unwrap().rev, first);
    assert_eq!(
        refusal(repricer.begin(&all())),
        RepriceError::Unfinished { rev: first }
    );
    finish(&mut repricer, first);
    assert_eq!(repricer.unfinished().unwrap(), None);
    let undo = repricer.begin_undo(first, None, "").unwrap().rev;
    finish(&mut repricer, undo);
    let again = refusal(repricer.begin_undo(first, None, ""));
    assert_eq!(
        again,
        RepriceError::Undone {
            rev: first,
            by: undo
        }
    );
    let of_undo = refusal(repricer.begin_undo(undo, None, ""));
    assert_eq!(
        of_undo,
        RepriceError::IsUndo {
            rev: undo,
            undoes: first
        }
    );
    let revisions: Vec<u32> = repricer
        .list()
        .unwrap()
        .iter()
        .map(|line| line.rev)
        .collect();
    assert_eq!(revisions, [undo, first]);
}

#[test]
fn two_that_run_one_reprice_take_turns_and_look_at_each_call_once() {
    let place = Place::new();
    let calls: Vec<_> = (0..300)
        .map(|n| call(n * 1_000, n.cast_unsigned()))
        .collect();
    write(&mut place.store(), &calls);
    let mut repricers = [repricer(&place), repricer(&place)];
    let rev = repricers[0].begin(&all()).unwrap().rev;
    repricers
        .iter_mut()
        .for_each(|repricer| repricer.set_slice(7));
    let mut turn = 0;
    while repricers[turn % 2].slice(rev).unwrap() {
        turn += 1;
    }
    let done = repricers[0].find(rev).unwrap().unwrap();
    assert_eq!(done.looked_at, 300);
    let audited = repricers[1].audit(rev).unwrap();
    assert_eq!(audited.iter().map(|group| group.calls).sum::<u64>(), 300);
}

#[test]
fn a_call_without_tokens_keeps_its_cost_and_plan_usage_is_apart() {
    let place = Place::new();
    let per_call = |fee: &str| {
        let text = format!(
            "name = \"fees\"\nversion = \"{fee}\"\n[[models]]\nprovider = \"openai\"\nmodel = \"gpt-5-mini\"\n\
             periods = [{{ rates = {{ input = \"{fee}\", output = \"{fee}\" }} }}]\n"
        );
        Arc::new(Book::parse(&text).unwrap())
    };
    let mut priced = call(1, 1);
    priced.provider = Some("openai".into());
    priced.model = Some("gpt-5-mini".into());
    priced.usage.input_tokens = Some(1_000_000);
    let mut planned = priced.clone();
    planned.call_id = call(2, 2).call_id;
    planned.billing = Some(Billing::Plan);
    let mut stated = call(3, 3);
    stated.reported_cost = Some(PicoUsd::from_pico(5));
    let mut options = StoreOptions::default();
    options.book = per_call("2");
    write(&mut place.store_with(options), &[priced, planned, stated]);

    let mut repricer = repricer(&place);
    let query = RepriceQuery {
        book: Some(per_call("3")),
        ..all()
    };
    let rev = repricer.begin(&query).unwrap().rev;
    finish(&mut repricer, rev);
    let groups = repricer.audit(rev).unwrap();
    let sums = |is_plan: bool| {
        let groups = groups.iter().filter(|group| group.is_plan == is_plan);
        groups.fold((0, 0), |sums, group| {
            (
                sums.0 + group.old_cost.as_pico(),
                sums.1 + group.new_cost.as_pico(),
            )
        })
    };
    let usd = 1_000_000_000_000;
    assert_eq!(sums(true), (2 * usd, 3 * usd));
    assert_eq!(sums(false), (2 * usd + 5, 3 * usd + 5));
    let mut reader = StoreReader::open(&url(&place)).unwrap();
    let totals = reader.totals(&Filter::default()).unwrap();
    assert_eq!(totals.cost.as_pico(), 3 * usd + 5);
    assert_eq!(totals.plan_value.as_pico(), 3 * usd);
    let stated = reader.find(call(3, 3).call_id).unwrap().unwrap();
    assert_eq!(stated.cost.cost, Some(PicoUsd::from_pico(5)));
    assert_eq!(
        (stated.cost.computed_cost, stated.cost.book_rev),
        (None, Some(rev))
    );
    let json: String = reader.find(call(2, 2).call_id).unwrap().unwrap().to_json();
    assert!(
        json.contains(r#""cost_usd":null,"plan_value_usd":"3","#),
        "{json}"
    );
    assert_eq!(stated.cost.unpriced_reason, None::<UnpricedReason>);
}

#[test]
fn a_book_that_cannot_be_read_stops_a_reprice_where_it_is() {
    let place = Place::new();
    write(&mut place.store(), &[call(1, 1), call(2, 2)]);
    let mut repricer = repricer(&place);
    let rev = repricer.begin(&all()).unwrap().rev;
    place
        .raw()
        .execute(
            "UPDATE book_revisions SET content_id = 'x', body = x'00' WHERE rev = ?1",
            [rev],
        )
        .unwrap();
    assert!(
        matches!(repricer.slice(rev), Err(StoreError::Book { revision, .. }) if revision == rev)
    );
    assert_eq!(repricer.find(rev).unwrap().unwrap().looked_at, 0);
}
