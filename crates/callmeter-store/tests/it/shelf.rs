//! The books of a store: looked at, added to, and kept under a newer build's prices; the embedded one and PostgreSQL.

use std::sync::Arc;

use callmeter_core::{CallRecord, Usage};
use callmeter_price::Book;
use callmeter_store::{BookShelf, StoreError, StoreOptions, StoreReader, StoreUrl, open_sink};
use callmeter_testkit::clock::ManualClock;

use crate::support::{Place, call};

const ACME: &str = "name = \"acme\"\nversion = \"1\"\n[[models]]\nprovider = \"acme\"\nmodel = \"m\"\n\
                    periods = [{ rates = { input = \"2\", output = \"8\" } }]";

fn of_acme(random: u64) -> CallRecord {
    let mut record = call(0, random);
    record.provider = Some("acme".to_owned());
    record.model = Some("m".to_owned());
    record.usage = Usage::of(1_000_000, 0);
    record
}

/// A store that was just made, with the built-in book.
fn every_store_keeps_its_books(url: &StoreUrl, clock: &Arc<ManualClock>) {
    let open = || open_sink(url, StoreOptions::default(), clock.clone()).unwrap();
    let mut sink = open();
    sink.write(&[of_acme(1)]).unwrap();
    let mut shelf = BookShelf::open(url, clock.clone()).unwrap();
    assert_eq!(shelf.current().unwrap().1.name(), "market");
    let acme = Book::parse(ACME).unwrap();
    assert_eq!(shelf.append(&acme).unwrap().number, 2);
    assert_eq!(
        shelf.current().unwrap().1.content_id(),
        acme.content_id(),
        "what was kept is the same book"
    );
    // A sink that was open before prices by the new revision; the row that was there keeps what it has.
    sink.write(&[of_acme(2)]).unwrap();
    let mut reader = StoreReader::open(url).unwrap();
    let mut cost = |random| {
        let found = reader.find(of_acme(random).call_id).unwrap().unwrap();
        (found.cost.book_rev, found.cost.cost)
    };
    assert_eq!(cost(1), (Some(1), None));
    assert_eq!(cost(2), (Some(2), Some("2".parse().unwrap())));
    // A book over an older built-in one gets this build's below it, as a revision, when a sink opens.
    let market = Book::market();
    let older = acme
        .to_text()
        .replace(
            &format!("market\\t{}", market.version()),
            "market\\t2020-01-01",
        )
        .replace(market.content_id(), "0000000000000000");
    shelf.append(&Book::parse(&older).unwrap()).unwrap();
    drop(open());
    let (revision, book) = shelf.current().unwrap();
    assert_eq!((revision.number, revision.name.as_str()), (4, "acme"));
    assert_eq!(book.content_id(), acme.content_id());
    drop(open());
    let revisions = shelf.revisions().unwrap();
    let numbers: Vec<u32> = revisions.iter().map(|kept| kept.revision.number).collect();
    assert_eq!(numbers, [4, 3, 2, 1]);
    assert_eq!(revisions[2].content_id, acme.content_id());
}

#[test]
fn the_embedded_store_keeps_its_books() {
    let place = Place::new();
    let url = StoreUrl::sqlite(place.path());
    let missing = BookShelf::open(&url, place.clock.clone());
    assert!(matches!(missing.unwrap_err(), StoreError::NotFound(_)));
    every_store_keeps_its_books(&url, &place.clock);
}

#[cfg(all(unix, feature = "postgres"))]
#[test]
fn a_store_on_postgresql_keeps_its_books() {
    use callmeter_store::PostgresSchema;
    use callmeter_testkit::postgres::PostgresServer;
    let database = PostgresServer::shared().database();
    let url = StoreUrl::parse(&database.url()).unwrap();
    let clock = Place::new().clock;
    let mut schema = PostgresSchema::new(url.postgres().unwrap(), clock.clone()).unwrap();
    schema.migrate(&StoreOptions::default()).unwrap();
    every_store_keeps_its_books(&url, &clock);
}
