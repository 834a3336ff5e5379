//! The pricing rules that a store keeps. The others are tested with `callmeter-price`.

use std::sync::Arc;

use callmeter_core::{CallRecord, Usage};
use callmeter_price::Book;
use callmeter_store::{Reprice, RepriceQuery, Repricer, StoreOptions, StoreReader, StoreUrl};

use crate::support::{Place, call, write};

const NEW: &str = "name = \"acme\"\nversion = \"1\"\n[[models]]\nprovider = \"acme\"\nmodel = \"m\"\n\
                   periods = [{ rates = { input = \"2\", output = \"8\" } }]\n[[models]]\nprovider = \"openai\"\n\
                   model = \"gpt-4o\"\nperiods = [{ rates = { input = \"1\", output = \"4\" } }]";

fn million_of(random: u64, provider: &str, model: &str) -> CallRecord {
    let mut record = call(0, random);
    record.provider = Some(provider.to_owned());
    record.model = Some(model.to_owned());
    record.usage = Usage::of(1_000_000, 0);
    record
}

/// A store with a call without a price, one with, and one whose provider stated its cost.
fn stand() -> (Place, [CallRecord; 3]) {
    let place = Place::new();
    let mut stated = million_of(3, "openrouter", "openai/gpt-4o");
    stated.reported_cost = Some("0.5".parse().unwrap());
    let calls = [
        million_of(1, "acme", "m"),
        million_of(2, "openai", "gpt-4o"),
        stated,
    ];
    write(&mut place.store(), &calls);
    (place, calls)
}

fn reprice(place: &Place, is_all: bool) -> (Repricer, Reprice) {
    let url = StoreUrl::sqlite(place.path());
    let mut repricer = Repricer::open(&url, StoreOptions::default(), place.clock.clone()).unwrap();
    let query = RepriceQuery {
        is_all,
        book: Some(Arc::new(Book::parse(NEW).unwrap())),
        asked_by: "the test".to_owned(),
        ..RepriceQuery::default()
    };
    let rev = repricer.begin(&query).unwrap().rev;
    while repricer.slice(rev).unwrap() {}
    let done = repricer.find(rev).unwrap().unwrap();
    (repricer, done)
}

fn costs(place: &Place, calls: &[CallRecord; 3]) -> [Option<String>; 3] {
    let mut reader = StoreReader::open(&StoreUrl::sqlite(place.path())).unwrap();
    calls.each_ref().map(|call| {
        let found = reader.find(call.call_id).unwrap().unwrap();
        found.cost.cost.map(|cost| cost.to_string())
    })
}

#[test]
fn r_32_a_reprice_takes_unpriced_rows_or_all_twice_is_once_and_stated_costs_stay() {
    let (place, calls) = stand();
    let told = |costs: [&str; 3]| costs.map(|cost| (!cost.is_empty()).then(|| cost.to_owned()));
    assert_eq!(costs(&place, &calls), told(["", "2.5", "0.5"]));
    reprice(&place, false);
    assert_eq!(costs(&place, &calls), told(["2", "2.5", "0.5"]));
    let (_, all) = reprice(&place, true);
    assert_eq!(costs(&place, &calls), told(["2", "1", "0.5"]));
    assert_eq!(all.changed, 1);
    let (_, again) = reprice(&place, true);
    assert_eq!((again.looked_at, again.changed), (3, 0));
}

#[test]
fn r_33_a_reprice_leaves_who_when_and_what_it_cost_before_by_day_and_model() {
    let (place, _) = stand();
    let (mut repricer, done) = reprice(&place, true);
    assert_eq!(done.asked_by, "the test");
    assert!(done.ended_at.is_some());
    let audit = repricer.audit(done.rev).unwrap();
    let of = |model: &str| audit.iter().find(|group| group.model == model).unwrap();
    let changed = of("gpt-4o");
    assert_eq!(changed.old_rev, Some(1));
    assert_eq!(changed.old_cost.to_string(), "2.5");
    assert_eq!(changed.new_cost.to_string(), "1");
}
