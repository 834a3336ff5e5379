//! Clocks that jump: rows keep the time that their host's clock said, durations and ids know nothing of it, and
//! the store marks or refuses what is ahead of its own clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use callmeter::Conservation;
use callmeter::seams::DrivenProcess;
use callmeter::settings::Settings;
use callmeter_core::{CallId, Clock, Flags, Status, Timestamp};
use callmeter_flight::Adopter;
use callmeter_store::{CallsQuery, Filter, SqliteOptions, SqliteReader, SqliteStore, StoredCall};
use callmeter_testkit::clock::ManualClock;

use crate::homes::START;
use crate::support::{PATIENCE, Place};

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;

fn start_plus(micros: i64) -> Timestamp {
    START.saturating_add_micros(micros)
}

/// A host whose clock is in the test's hand, with a store whose clock is right.
struct Host {
    clock: Arc<ManualClock>,
    place: Place,
    store: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let right: Arc<dyn Clock> = Arc::new(ManualClock::at(START));
        let store = tempfile::tempdir().unwrap();
        let path = store.path().join("store.sqlite");
        let place = Place::with(|builder| {
            let builder = builder.clock(Arc::clone(&clock) as Arc<dyn Clock>);
            builder.sink("store", move || {
                let store = SqliteStore::open(&path, SqliteOptions::default(), Arc::clone(&right))?;
                Ok(Box::new(store))
            })
        });
        Self {
            clock,
            place,
            store,
        }
    }

    /// A call of a second, made when the host's clock says `at`.
    fn call(&self, at: Timestamp) -> CallId {
        self.clock.jump_to(at);
        let call = self.place.callmeter.call("sales_copy", "openai", "gpt-5");
        let id = call.id().unwrap();
        self.clock.pass(1_000_000);
        call.finish();
        id
    }

    fn rows(&self) -> BTreeMap<CallId, StoredCall> {
        assert!(self.place.callmeter.flush(PATIENCE).is_complete());
        let mut store = SqliteReader::open(&self.store.path().join("store.sqlite")).unwrap();
        let all = CallsQuery {
            filter: Filter::default(),
            before: None,
            limit: 10_000,
        };
        let rows = store.calls(&all).unwrap();
        rows.into_iter()
            .map(|call| (call.record.call_id, call))
            .collect()
    }

    fn figures(&self) -> Conservation {
        let stats = self.place.callmeter.stats();
        assert!(stats.conservation.holds(), "{stats:?}");
        stats.conservation
    }
}

#[test]
fn a_row_keeps_the_time_of_its_host_and_is_marked_beyond_ten_minutes_and_refused_beyond_a_day() {
    let host = Host::new();
    // When the host's clock says so, ahead of the store's: is it marked, is it stored?
    let cases = [
        (0, false, true),
        (-5 * HOUR, false, true),
        (-30 * 24 * HOUR, false, true),
        (600 * SECOND, false, true),
        (600 * SECOND + 1, true, true),
        (5 * HOUR, true, true),
        (24 * HOUR, true, true),
        (24 * HOUR + 1, false, false),
        (40 * 24 * HOUR, false, false),
        (-401 * 24 * HOUR, false, false),
        (SECOND, false, true),
    ];
    let ids: Vec<CallId> = cases
        .iter()
        .map(|(ahead, ..)| host.call(start_plus(*ahead)))
        .collect();
    let rows = host.rows();
    for ((ahead, is_marked, is_stored), id) in cases.iter().zip(&ids) {
        let row = rows.get(id);
        assert_eq!(row.is_some(), *is_stored, "{ahead}");
        let Some(row) = row else { continue };
        assert_eq!(row.record.started_at(), start_plus(*ahead));
        assert_eq!(row.record.duration_us, Some(1_000_000), "{ahead}");
        let flags = row.record.flags;
        assert_eq!(flags.contains(Flags::CLOCK_AHEAD), *is_marked, "{ahead}");
    }
    let figures = host.figures();
    assert_eq!((figures.acknowledged, figures.rejected), (8, 3));
}

#[test]
fn a_call_during_which_the_clock_jumps_lasts_as_long_as_it_took() {
    let host = Host::new();
    let mut lasted = Vec::new();
    for jump in [-9 * HOUR, -1, 1, 3 * HOUR, -12 * HOUR] {
        let call = host.place.callmeter.call("sales_copy", "openai", "gpt-5");
        let (id, at) = (call.id().unwrap(), host.clock.now());
        host.clock.pass(250_000);
        host.clock.jump_to(at.saturating_add_micros(jump));
        host.clock.pass(500_000);
        call.finish();
        lasted.push((id, at));
    }
    let rows = host.rows();
    for (id, at) in lasted {
        let record = &rows.get(&id).unwrap().record;
        assert_eq!(
            (record.started_at(), record.duration_us),
            (at, Some(750_000))
        );
    }
}

#[test]
fn a_clock_that_shows_the_same_moments_twice_gives_no_id_twice() {
    let host = Host::new();
    let mut ids = Vec::new();
    for _ in 0..5 {
        // The same four hundred moments, and a clock that stands still at each for a while.
        host.clock.jump_to(START);
        for _ in 0..400 {
            let call = host.place.callmeter.call("sales_copy", "openai", "gpt-5");
            ids.push(call.id().unwrap());
            call.finish();
            if ids.len() % 4 == 0 {
                host.clock.pass(1);
            }
        }
        assert!(host.place.callmeter.flush(PATIENCE).is_complete());
    }
    assert_eq!(host.rows().len(), ids.len());
    assert_eq!(host.figures().acknowledged, 2_000);
}

#[test]
fn a_process_that_dies_after_its_clock_went_back_leaves_a_row_that_lasted_as_long_as_it_lived() {
    let home = crate::homes::place();
    let clock: Arc<dyn Clock> = home.clock.clone();
    let sink = home.sink.clone();
    let builder = callmeter::builder()
        .settings(Settings::default())
        .home(home.path())
        .clock(Arc::clone(&clock))
        .sink("memory", move || Ok(Box::new(sink.clone())));
    let mut process = DrivenProcess::new(builder, clock, 1).unwrap();
    let in_flight = process.call("sales_copy", "openai", "gpt-5");
    home.clock.pass(2_000_000);
    home.clock.jump_to(start_plus(-6 * HOUR));
    home.clock.pass(1_000_000);
    process.tick_worker();
    let left = process.kill();
    std::mem::forget(in_flight);
    let calls = Adopter::read(&left[0].1).unwrap();
    assert_eq!(calls.last_seen, start_plus(-6 * HOUR + SECOND));
    let aborted = &calls.aborted[0];
    assert_eq!(aborted.status, Some(Status::Aborted));
    assert_eq!(
        (aborted.started_at(), aborted.duration_us),
        (START, Some(3_000_000))
    );
}
