//! Servers that die, other encodings, characters that no column takes: the rows stay whole, the words clear.

use callmeter_core::{Sink, SinkErrorKind};
use callmeter_store::{Adoption, AdoptionProgress, LegacyTable};
use callmeter_testkit::pooler::PgBouncer;
use callmeter_testkit::postgres::{Options, PostgresServer};

use super::support::{Place, TABLE, options, postgres, refused, shop_call, write};

#[test]
fn a_server_that_is_killed_in_the_middle_has_each_row_once_when_it_is_back() {
    // The server outlives the test's borrow of it; its watcher ends it with the process.
    let server: &'static PostgresServer =
        Box::leak(Box::new(PostgresServer::start(&Options::durable())));
    let place = Place::on(server.database(), TABLE);
    place.table().make_side_table().unwrap();
    let calls: Vec<_> = (0..400).map(|n| shop_call(n, n as u64)).collect();
    let mut store = place.store();
    write(&mut store, &calls[..100]);
    server.kill();
    let error = refused(&mut store, &calls);
    assert_eq!(error.kind(), SinkErrorKind::Retry, "{error}");
    server.run_again();
    while let Err(error) = store.write(&calls) {
        assert_eq!(error.kind(), SinkErrorKind::Retry, "{error}");
    }
    assert_eq!(
        place.rows("SELECT count(*), count(DISTINCT created_at) FROM ai_calls"),
        "400|400"
    );

    let adopt = |place: &Place| {
        let url = postgres(&place.url());
        let mut adoption = Adoption::new(
            url.postgres().unwrap(),
            options(),
            None,
            place.clock.clone(),
        )
        .unwrap();
        adoption.set_batch_rows(50);
        adoption
    };
    let mut batches = 0;
    let error = adopt(&place)
        .run(|progress| {
            batches += u32::from(matches!(progress, AdoptionProgress::Batch(_)));
            if batches == 3 {
                server.kill();
            }
        })
        .unwrap_err();
    assert!(error.to_string().starts_with("postgres: "), "{error}");
    server.run_again();
    let status = adopt(&place).status().unwrap();
    assert_eq!((status.adopted, status.waiting), (150, 250));
    adopt(&place).run(|_| {}).unwrap();
    assert_eq!(
        place.rows(
            "SELECT count(*), count(DISTINCT (callmeter_hi, callmeter_lo)), (SELECT count(*) FROM callmeter.calls),
                    (SELECT sum(n) FROM callmeter.roll_day) FROM ai_calls"
        ),
        "400|400|400|400"
    );
}

#[test]
fn a_text_that_the_databases_encoding_does_not_have_is_refused_alone_and_told_without_it() {
    let database = PostgresServer::shared()
        .database_with("ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
    let place = Place::on(database, TABLE);
    place.table().make_side_table().unwrap();
    let mut store = place.store();
    let mut call = shop_call(0, 1);
    call.caller = Some("größe".to_owned());
    write(&mut store, &[call]);
    let mut call = shop_call(1, 2);
    call.caller = Some("MARKER ✓".to_owned());
    let error = refused(&mut store, &[call]);
    assert_eq!(error.kind(), SinkErrorKind::Reject);
    assert!(
        error
            .to_string()
            .contains("the database's encoding does not have")
            && !error.to_string().contains("MARKER"),
        "{error}"
    );
    assert_eq!(
        place.rows("SELECT convert_to(caller, 'UTF8') FROM ai_calls"),
        "\\x6772c3b6c39f65"
    );
}

#[test]
fn a_nul_is_replaced_and_the_row_written() {
    let place = Place::new();
    let mut call = shop_call(0, 1);
    call.caller = Some("a\0b".to_owned());
    call.error = Some("c\0d".to_owned());
    write(&mut place.store(), &[call]);
    assert_eq!(
        place.rows("SELECT caller, error FROM ai_calls"),
        "a\u{fffd}b|c\u{fffd}d"
    );
}

#[test]
fn a_pooler_in_transaction_mode_before_the_table_changes_nothing() {
    let place = Place::new();
    // Two connections for three writers and those who ask: each transaction is on another.
    let pooler = PgBouncer::before(
        place.database.server(),
        &["pool_mode = transaction", "default_pool_size = 2"],
    );
    let url = place.database.url_by(pooler.address());
    let calls: Vec<_> = (0..300).map(|n| shop_call(n, n as u64)).collect();
    std::thread::scope(|scope| {
        for n in 0..3_usize {
            let (place, url, calls) = (&place, &url, &calls);
            scope.spawn(move || {
                let mut store = place.try_store(url, options()).unwrap();
                let mut batches: Vec<_> = calls.chunks(40 + n * 11).collect();
                let turn = batches.len() * n / 3;
                batches.rotate_left(turn);
                for batch in batches {
                    // Another writer may be at the same calls.
                    while let Err(error) = store.write(batch) {
                        assert_eq!(error.kind(), SinkErrorKind::Busy, "{error}");
                    }
                }
            });
        }
    });
    assert_eq!(
        place.rows("SELECT count(*), count(DISTINCT created_at), sum(input_tokens) FROM ai_calls"),
        "300|300|360000"
    );
    // What is learnt of a call later changes its row, and adoption goes through it as well.
    let mut store = place.try_store(&url, options()).unwrap();
    let mut later = calls[0].clone();
    later.rev += 1;
    later.usage.input_tokens = Some(1_300);
    write(&mut store, &[later]);
    assert_eq!(
        place.rows("SELECT sum(input_tokens) FROM ai_calls"),
        "360100"
    );
    let through = postgres(&url);
    let table = LegacyTable::new(through.postgres().unwrap(), None).unwrap();
    assert!(!table_is_new(table));
    let mut adoption = Adoption::new(
        through.postgres().unwrap(),
        options(),
        None,
        place.clock.clone(),
    )
    .unwrap();
    adoption.set_batch_rows(70);
    adoption.run(|_| {}).unwrap();
    assert_eq!(
        place.rows(
            "SELECT count(DISTINCT (callmeter_hi, callmeter_lo)), (SELECT count(*) FROM callmeter.calls),
                    (SELECT sum(n) FROM callmeter.roll_day) FROM ai_calls"
        ),
        "300|300|300"
    );
}

/// Whether its side table had to be made.
fn table_is_new(mut table: LegacyTable) -> bool {
    table.make_side_table().unwrap()
}
