//! Real faults under a store on PostgreSQL: servers killed, stopped and held, lines cut wherever it hurts, four
//! writers at once, a pooler between. Every row is there once, and the sums are those of the rows.
#![cfg(all(unix, feature = "postgres"))]

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callmeter_core::{CallRecord, Sink, SinkErrorKind};
use callmeter_store::{PostgresSchema, PostgresStore, StoreOptions, StoreUrl};
use callmeter_testkit::chaos::{ChaosProxy, Fault, Mode};
use callmeter_testkit::clock::ManualClock;
use callmeter_testkit::pooler::PgBouncer;
use callmeter_testkit::postgres::{Database, Options, PostgresServer};
use callmeter_testkit::store::{check, some_records};

use crate::contract::{Stand, postgres::Postgres};

/// A store in a database of `server`; what is asked of it goes to the server itself.
fn stand(server: &'static PostgresServer) -> Stand<Postgres> {
    stand_in(server.database())
}

fn stand_in(database: Database<'static>) -> Stand<Postgres> {
    let url = StoreUrl::parse(&database.url()).unwrap();
    let stand = Stand::new(url, Postgres(database));
    let url = stand.url.postgres().unwrap();
    let mut schema = PostgresSchema::new(url, stand.clock.clone()).unwrap();
    schema.migrate(&StoreOptions::default()).unwrap();
    stand
}

/// A server of this test's own that may be killed. It lives as long as the process: its watcher ends it.
fn durable() -> &'static PostgresServer {
    Box::leak(Box::new(PostgresServer::start(&Options::durable())))
}

/// Whoever ships: opens a sink when it needs one, and sends a batch until it is acknowledged.
struct Shipper {
    url: StoreUrl,
    clock: Arc<ManualClock>,
    sink: Option<PostgresStore>,
    limits: (Duration, Duration),
    /// Batches of so many calls on are copied, if not what the store thinks best.
    copying_from: Option<usize>,
    /// Told of each acknowledgement (`None`) and failure.
    events: Sender<Option<SinkErrorKind>>,
}

impl Shipper {
    fn new(url: &str, clock: &Arc<ManualClock>) -> (Self, Receiver<Option<SinkErrorKind>>) {
        let (events, told) = channel();
        let shipper = Self {
            url: StoreUrl::parse(url).unwrap(),
            clock: clock.clone(),
            sink: None,
            limits: (Duration::from_secs(30), Duration::from_secs(5)),
            copying_from: None,
            events,
        };
        (shipper, told)
    }

    /// Sends a batch until it is acknowledged; says how often it failed.
    fn send(&mut self, batch: &[CallRecord]) -> usize {
        for failures in 0.. {
            assert!(failures < 100_000, "the store does not come back");
            let sent = self.try_send(batch);
            let event = sent.as_ref().err().copied();
            let _ = self.events.send(event);
            if event.is_some() {
                // However slow the machine is, there comes a time that is long enough.
                let longer = |limit: Duration| (limit * 2).min(Duration::from_secs(60));
                self.limits = (longer(self.limits.0), longer(self.limits.1));
            }
            match event {
                None => return failures,
                Some(SinkErrorKind::Busy) => {}
                Some(_) => self.sink = None,
            }
        }
        unreachable!()
    }

    fn try_send(&mut self, batch: &[CallRecord]) -> Result<(), SinkErrorKind> {
        if self.sink.is_none() {
            let url = self.url.postgres().unwrap();
            let opened = PostgresStore::open(url, StoreOptions::default(), self.clock.clone());
            let mut store =
                opened.map_err(|error| callmeter_core::SinkError::from(error).kind())?;
            store.set_limits(self.limits.0, self.limits.1);
            if let Some(rows) = self.copying_from {
                store = store.copying_from(rows);
            }
            self.sink = Some(store);
        }
        let sink = self.sink.as_mut().unwrap();
        let written = sink.write(batch);
        written.map(|_| ()).map_err(|error| {
            assert_ne!(error.kind(), SinkErrorKind::Reject, "{error}");
            error.kind()
        })
    }
}

#[test]
fn a_batch_that_is_cut_anywhere_is_there_once_when_it_is_sent_again() {
    let stand = stand(PostgresServer::shared());
    let proxy = ChaosProxy::to(stand.kind.0.server().address());
    let (mut shipper, _told) = Shipper::new(&stand.kind.0.url_by(proxy.address()), &stand.clock);
    let records = some_records(120, 900);
    let statements = [
        "BEGIN",
        "pg_advisory_xact_lock_shared",
        "FROM callmeter.about",
        "INSERT INTO callmeter.calls",
        "FOR UPDATE OF c",
        "UPDATE callmeter.calls",
        "pg_advisory_xact_lock(",
        "FROM callmeter.roll_hour",
        "INSERT INTO callmeter.roll_hour",
        "INSERT INTO callmeter.roll_day",
        "COMMIT",
    ];
    let mut batches = records.chunks(25);
    // Known by then: names, groups and half of the calls, so that every statement above is sent.
    for batch in batches.by_ref().take(4) {
        shipper.send(batch);
    }
    for statement in statements {
        for fault in [Fault::CutBefore(statement), Fault::LoseAnswer(statement)] {
            let batch = batches.next().unwrap();
            let before = proxy.faulted();
            proxy.fault(fault.clone());
            let failures = shipper.send(batch);
            assert_eq!(proxy.faulted(), before + 1, "{fault:?} came to pass");
            // A line that breaks before anything was asked is made anew unseen.
            assert!(
                failures == 1 || statement == "BEGIN",
                "{fault:?}: {failures}"
            );
        }
    }
    for after in [1, 7, 150, 700, 2_000] {
        for fault in [Fault::CutAfter(after), Fault::HalfClose(after)] {
            proxy.fault(fault);
            shipper.send(batches.next().unwrap_or(&records[..25]));
        }
    }
    for batch in records.chunks(25) {
        shipper.send(batch);
    }
    check(&stand, &records);
    assert_hours_equal_rows(&stand);
}

#[test]
fn a_line_that_hangs_is_given_up_and_the_batch_is_there_once() {
    let stand = stand(PostgresServer::shared());
    let proxy = ChaosProxy::to(stand.kind.0.server().address());
    let url = format!("{}?connect_timeout=1", stand.kind.0.url_by(proxy.address()));
    let (mut shipper, told) = Shipper::new(&url, &stand.clock);
    shipper.limits = (Duration::from_millis(100), Duration::from_millis(100));
    let records = some_records(60, 200);
    shipper.send(&records[..50]);
    let _ = told.try_iter().count();
    std::thread::scope(|scope| {
        proxy.set(Mode::Blackhole);
        let sending = scope.spawn(|| shipper.send(&records));
        // It has failed once: now the network is back.
        assert_eq!(told.recv().unwrap(), Some(SinkErrorKind::Retry));
        proxy.set(Mode::Pass);
        sending.join().unwrap();
    });
    check(&stand, &records);
}

/// How writers write.
#[derive(Clone, Copy, Default)]
struct Way {
    limits: Option<(Duration, Duration)>,
    copying_from: Option<usize>,
}

/// Every batch is copied, if it can be.
const COPYING: Way = Way {
    limits: None,
    copying_from: Some(1),
};

/// Four writers send overlapping batches by ways of their own; `disturb` is told of what becomes of each batch.
fn four_writers(
    stand: &Stand<Postgres>,
    url: &str,
    records: &[CallRecord],
    way: Way,
    disturb: impl FnOnce(&Receiver<Option<SinkErrorKind>>),
) {
    let (events, told) = channel();
    let events = Mutex::new(events);
    let clock = &stand.clock;
    std::thread::scope(|scope| {
        for n in 0..4_usize {
            let (mut shipper, _) = Shipper::new(url, clock);
            shipper.events = events.lock().unwrap().clone();
            shipper.copying_from = way.copying_from;
            shipper.limits = way.limits.unwrap_or(shipper.limits);
            scope.spawn(move || {
                // Each sends everything, cut otherwise, and from another place on.
                let size = 20 + 7 * n;
                let mut batches: Vec<_> = records.chunks(size).collect();
                let turn = batches.len() * n / 4;
                batches.rotate_left(turn);
                for batch in batches {
                    shipper.send(batch);
                }
            });
        }
        drop(events);
        disturb(&told);
    });
}

#[test]
fn a_copy_that_is_cut_anywhere_is_there_once_when_it_is_sent_again() {
    let stand = stand(PostgresServer::shared());
    let proxy = ChaosProxy::to(stand.kind.0.server().address());
    let (mut shipper, _told) = Shipper::new(&stand.kind.0.url_by(proxy.address()), &stand.clock);
    shipper.copying_from = Some(1);
    let records = of_one_record_each(800);
    let statements = [
        "pg_advisory_xact_lock_shared",
        "SAVEPOINT copying",
        "COPY callmeter.calls",
        "INSERT INTO callmeter.roll_day",
        "COMMIT",
    ];
    let mut batches = records.chunks(25);
    for statement in statements {
        for fault in [Fault::CutBefore(statement), Fault::LoseAnswer(statement)] {
            shipper.send(batches.next().unwrap());
            let (batch, before) = (batches.next().unwrap(), proxy.faulted());
            proxy.fault(fault.clone());
            assert_eq!(shipper.send(batch), 1, "{fault:?}");
            assert_eq!(proxy.faulted(), before + 1, "{fault:?} came to pass");
        }
    }
    for after in [700, 2_000, 5_000, 9_000] {
        proxy.fault(Fault::CutAfter(after));
        shipper.send(batches.next().unwrap());
    }
    for batch in records.chunks(40) {
        shipper.send(batch);
    }
    check(&stand, &records);
    assert_hours_equal_rows(&stand);
}

#[test]
fn four_writers_that_copy_the_same_calls_leave_every_row_once_and_meet_no_deadlock() {
    let stand = stand(durable());
    let records = some_records(300, 800);
    let url = stand.kind.0.url();
    four_writers(&stand, &url, &records, COPYING, |told| {
        let failed = told.iter().flatten().count();
        assert_eq!(failed, 0);
    });
    check(&stand, &records);
    assert_hours_equal_rows(&stand);
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(stand.kind.0.psql(deadlocks), "0");
}

/// At most so many records, no two of them of one call.
fn of_one_record_each(count: usize) -> Vec<CallRecord> {
    let mut seen = std::collections::HashSet::new();
    let mut records = some_records(count as u64 * 2, count * 2);
    records.retain(|record| seen.insert(record.call_id));
    records.truncate(count);
    records
}

/// A batch, and what of it was new, merged, unchanged, expired and copied.
fn write(store: &mut PostgresStore, batch: &[CallRecord]) -> [u64; 5] {
    let before = store.copied();
    let ack = store.write(batch).unwrap();
    [
        ack.inserted,
        ack.merged,
        ack.unchanged,
        ack.expired,
        store.copied() - before,
    ]
}

#[test]
fn new_calls_are_copied_and_calls_that_are_there_go_the_usual_way_for_a_while() {
    let stand = stand(PostgresServer::shared());
    let url = stand.url.postgres().unwrap();
    let mut store = PostgresStore::open(url, StoreOptions::default(), stand.clock.clone()).unwrap();
    let records = of_one_record_each(700);
    let batches: Vec<&[CallRecord]> = records.chunks(100).collect();
    assert_eq!(write(&mut store, batches[0]), [100, 0, 0, 0, 100]);
    // Its answer was lost: it comes again.
    assert_eq!(write(&mut store, batches[0]), [0, 0, 100, 0, 0]);
    assert_eq!(write(&mut store, batches[1]), [100, 0, 0, 0, 0], "a rest");
    assert_eq!(write(&mut store, batches[2]), [100, 0, 0, 0, 100]);
    // One call of many is there, and there is more to say of it.
    let mut later = batches[2][7].clone();
    later.rev += 1;
    later.usage.input_tokens = Some(4_711);
    let mut mixed = batches[3].to_vec();
    mixed.push(later.clone());
    assert_eq!(write(&mut store, &mixed), [100, 1, 0, 0, 0]);
    assert_eq!(write(&mut store, batches[4]), [100, 0, 0, 0, 0], "a rest");
    // Two records of one call are one by the time that they are copied; few rows are not worth it.
    let mut again = batches[5].to_vec();
    again.extend_from_slice(&batches[5][..50]);
    assert_eq!(write(&mut store, &again), [100, 50, 0, 0, 100]);
    assert_eq!(write(&mut store, &batches[6][..63]), [63, 0, 0, 0, 0]);
    let mut all = records[..663].to_vec();
    all.push(later);
    check(&stand, &all);
    assert_hours_equal_rows(&stand);
}

#[test]
fn a_database_that_leaves_rows_out_of_a_copy_or_refuses_it_gets_them_the_usual_way() {
    let stand = stand(PostgresServer::shared());
    let database = &stand.kind.0;
    let url = stand.url.postgres().unwrap();
    let mut store = PostgresStore::open(url, StoreOptions::default(), stand.clock.clone()).unwrap();
    let records = of_one_record_each(200);
    // A trigger of the user's that takes no copies.
    database.psql(
        "CREATE FUNCTION public.no_copies() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF current_query() LIKE 'COPY%' THEN RAISE EXCEPTION 'no copies here'; END IF; RETURN NEW;
         END $$;
         CREATE TRIGGER no_copies BEFORE INSERT ON callmeter.calls
           FOR EACH ROW EXECUTE FUNCTION public.no_copies()",
    );
    assert_eq!(write(&mut store, &records[..100]), [100, 0, 0, 0, 0]);
    database.psql(
        "CREATE OR REPLACE FUNCTION public.no_copies() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF current_query() LIKE 'COPY%' THEN RETURN NULL; END IF; RETURN NEW;
         END $$",
    );
    assert_eq!(write(&mut store, &[]), [0; 5]);
    let mut store = PostgresStore::open(url, StoreOptions::default(), stand.clock.clone()).unwrap();
    assert_eq!(write(&mut store, &records[100..]), [100, 0, 0, 0, 0]);
    check(&stand, &records);
    assert_hours_equal_rows(&stand);
}

#[test]
fn four_writers_at_once_leave_every_row_once_and_meet_no_deadlock() {
    let stand = stand(durable());
    let records = some_records(300, 800);
    let url = stand.kind.0.url();
    four_writers(&stand, &url, &records, Way::default(), |told| {
        let failed = told.iter().flatten().count();
        assert_eq!(failed, 0);
    });
    check(&stand, &records);
    assert_hours_equal_rows(&stand);
    // A session reports when it has been quiet for a second, or ends; those of the writers have ended.
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(stand.kind.0.psql(deadlocks), "0");
}

#[test]
fn a_server_that_is_killed_and_stopped_under_load_has_every_row_once() {
    let stand = stand(durable());
    let server = stand.kind.0.server();
    let records = some_records(300, 800);
    let url = stand.kind.0.url();
    four_writers(&stand, &url, &records, Way::default(), |told| {
        for round in 0..4 {
            // So many batches are in, others are on their way.
            let acknowledged = told
                .iter()
                .filter(Option::is_none)
                .take(5 + 3 * round)
                .count();
            if acknowledged == 0 {
                break;
            }
            if round % 2 == 0 {
                server.kill();
            } else {
                server.stop();
            }
            let failed = told.iter().flatten().take(4).count();
            server.run_again();
            if failed < 4 {
                break;
            }
        }
        told.iter().for_each(drop);
    });
    check(&stand, &records);
    assert_hours_equal_rows(&stand);
}

#[test]
fn a_server_that_is_held_under_load_and_goes_on_has_every_row_once() {
    let stand = stand(durable());
    let server = stand.kind.0.server();
    let records = some_records(200, 500);
    let url = format!("{}?connect_timeout=1", stand.kind.0.url());
    let way = Way {
        limits: Some((Duration::from_millis(150), Duration::from_millis(150))),
        copying_from: Some(1),
    };
    four_writers(&stand, &url, &records, way, |told| {
        for _ in 0..2 {
            let acknowledged = told.iter().filter(Option::is_none).take(6).count();
            if acknowledged < 6 {
                break;
            }
            server.pause();
            let _ = told
                .iter()
                .find(|event| *event == Some(SinkErrorKind::Retry));
            server.resume();
        }
        told.iter().for_each(drop);
    });
    check(&stand, &records);
    assert_hours_equal_rows(&stand);
}

#[test]
fn new_calls_are_copied_through_a_pooler_that_keeps_no_statement() {
    let stand = stand(PostgresServer::shared());
    let database = &stand.kind.0;
    // One connection for two writers, each of which names its statements alike.
    let settings = ["pool_mode = transaction", "default_pool_size = 1"];
    let pooler = PgBouncer::before(database.server(), &settings);
    let url = StoreUrl::parse(&database.url_by(pooler.address())).unwrap();
    let records = of_one_record_each(800);
    let (left, right) = records.split_at(400);
    std::thread::scope(|scope| {
        for records in [left, right] {
            let (url, clock) = (&url, &stand.clock);
            scope.spawn(move || {
                let url = url.postgres().unwrap();
                let opened = PostgresStore::open(url, StoreOptions::default(), clock.clone());
                let mut store = opened.unwrap();
                for batch in records.chunks(100) {
                    assert_eq!(write(&mut store, batch), [100, 0, 0, 0, 100]);
                }
            });
        }
    });
    check(&stand, &records);
}

#[test]
fn a_pooler_in_transaction_mode_between_changes_nothing() {
    let stand = stand(PostgresServer::shared());
    let database = &stand.kind.0;
    // Two connections for four writers: each transaction is on another.
    let pooler = PgBouncer::before(
        database.server(),
        &["pool_mode = transaction", "default_pool_size = 2"],
    );
    let records = some_records(200, 500);
    let url = database.url_by(pooler.address());
    four_writers(&stand, &url, &records, COPYING, |told| {
        told.iter().for_each(drop);
    });
    check(&stand, &records);
    // And what was written through it is read through it.
    let through = Stand::new(StoreUrl::parse(&url).unwrap(), Postgres(stand.kind.0));
    check(&through, &records);
    let mut schema =
        PostgresSchema::new(through.url.postgres().unwrap(), through.clock.clone()).unwrap();
    assert!(!schema.migrate(&StoreOptions::default()).unwrap().is_made);
}

/// The hours' sums, which no report reads, against one GROUP BY over the rows.
fn assert_hours_equal_rows(stand: &Stand<Postgres>) {
    let differing = "
        WITH of_rows AS (
          SELECT scope::bigint, (hi >> 12) / 3600000 AS hour, provider::bigint, model::bigint, status::bigint,
            count(*) AS n, sum(coalesce(input_tokens, 0)) AS input, sum(coalesce(output_tokens, 0)) AS output,
            sum(coalesce(cost_picousd, 0)) AS cost, sum(coalesce(duration_us, 0)) AS duration
          FROM callmeter.calls GROUP BY 1, 2, 3, 4, 5
        ), of_rollup AS (
          SELECT scope, hour, provider, model, status, n, input_tokens::numeric, output_tokens::numeric,
            cost_microusd::numeric * 1000000 + cost_picousd, duration_us::numeric FROM callmeter.roll_hour
        )
        SELECT count(*) FROM (
          (TABLE of_rows EXCEPT TABLE of_rollup) UNION ALL (TABLE of_rollup EXCEPT TABLE of_rows)
        ) AS differing";
    assert_eq!(stand.kind.0.psql(differing), "0");
}
