//! A service whose database goes away and comes back: every finished call is stored once, and the figures add up.
#![cfg(unix)]

use std::time::Duration;

use callmeter::StoreUrl;
use callmeter::settings::Settings;
use callmeter_store::{Filter, StoreReader};
use callmeter_testkit::chaos::{ChaosProxy, Fault, Mode};
use callmeter_testkit::postgres::{Options, PostgresServer};

use crate::support::Place;

const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_backlog_is_replayed_when_the_database_is_back_and_the_counters_add_up() {
    let place = Place::new();
    let server = PostgresServer::start(&Options::durable());
    let database = server.database();
    let made = place.run(&["migrate", "--store", &database.url()]);
    assert!(made.status.success(), "{}", place.shown(&made));
    let proxy = ChaosProxy::to(server.address());
    let mut settings = Settings::default();
    settings.home = Some(place.home());
    settings.store.url = Some(StoreUrl::parse(&database.url_by(proxy.address())).unwrap());
    settings.shipper.batch_age = Duration::from_millis(20);
    let callmeter = callmeter::builder().settings(settings).open().unwrap();
    let record = |count: u64| {
        for n in 0..count {
            let mut call = callmeter.call("sales_copy", "openai", "gpt-5-mini");
            call.tokens(Some(n), Some(1));
            call.finish();
        }
    };

    record(300);
    assert!(callmeter.flush(PATIENCE).is_complete());
    // An answer is lost between commit and acknowledgement, and the network is cut.
    proxy.fault(Fault::LoseAnswer("COMMIT"));
    record(300);
    assert!(callmeter.flush(PATIENCE).is_complete());
    // The server dies with calls on their way, and more come while it is away.
    record(200);
    server.kill();
    proxy.set(Mode::Refuse);
    record(400);
    server.run_again();
    proxy.set(Mode::Pass);
    record(100);
    assert!(callmeter.flush(PATIENCE).is_complete());

    let conservation = callmeter.home().standing().unwrap().conservation;
    assert!(conservation.holds(), "{conservation:?}");
    assert_eq!(
        (conservation.finished, conservation.acknowledged),
        (1_300, 1_300)
    );
    assert_eq!(
        (conservation.rejected, conservation.dropped_total()),
        (0, 0)
    );
    assert_eq!(
        database.psql("SELECT count(*) FROM callmeter.calls"),
        "1300"
    );
    let url = StoreUrl::parse(&database.url()).unwrap();
    let totals = StoreReader::open(&url)
        .unwrap()
        .totals(&Filter::default())
        .unwrap();
    assert_eq!((totals.calls, totals.output_tokens), (1_300, 1_300));
    assert!(callmeter.shutdown(PATIENCE).is_complete());
}
