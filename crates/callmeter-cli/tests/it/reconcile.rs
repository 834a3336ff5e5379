//! Promise CM-3 against the files: what `stats()`, `callmeter` and `callmeter doctor` say of the calls of a home is
//! what a stranger counts in its files with SQL.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use callmeter::seams::DrivenProcess;
use callmeter::settings::Settings;
use callmeter::{Builder, Callmeter, Home};
use callmeter_core::{
    Ack, CallRecord, Clock, Conservation, Sink, SinkError, SinkErrorKind, SystemClock,
};
use callmeter_flight::{AdoptedCalls, Adopter, Options};
use callmeter_store::{SqliteOptions, SqliteStore};
use callmeter_testkit::clock::ManualClock;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::Place;

const PATIENCE: Duration = Duration::from_secs(60);
const SLOTS: usize = 64;

/// The home's embedded store, out of reach while it is told so.
struct Gate {
    store: SqliteStore,
    is_shut: Arc<AtomicBool>,
}

impl Sink for Gate {
    fn write(&mut self, batch: &[CallRecord]) -> Result<Ack, SinkError> {
        if self.is_shut.load(Ordering::SeqCst) {
            return Err(SinkError::new(SinkErrorKind::Busy, "away"));
        }
        self.store.write(batch)
    }
}

/// A home whose calls are in every place that there is.
struct Scene {
    place: Place,
    clock: Arc<ManualClock>,
    is_shut: Arc<AtomicBool>,
}

impl Scene {
    fn new() -> Self {
        let now = SystemClock.now();
        Self {
            place: Place::new(),
            clock: Arc::new(ManualClock::at(now)),
            is_shut: Arc::default(),
        }
    }

    fn builder(&self) -> Builder {
        let (path, is_shut) = (self.place.store(), Arc::clone(&self.is_shut));
        let mut options = Options::default();
        options.slots = SLOTS;
        callmeter::builder()
            .settings(Settings::default())
            .home(self.place.home())
            .clock(Arc::clone(&self.clock) as Arc<dyn Clock>)
            .flight(options)
            .sink("gate", move || {
                let store =
                    SqliteStore::open(&path, SqliteOptions::default(), Arc::new(SystemClock))?;
                Ok(Box::new(Gate {
                    store,
                    is_shut: Arc::clone(&is_shut),
                }))
            })
    }

    /// Waits until the process's equation is as `is_so` says.
    fn until(callmeter: &Callmeter, is_so: impl Fn(&Conservation) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(&callmeter.stats().conservation) {
            assert!(Instant::now() < end, "{:?}", callmeter.stats());
            std::thread::yield_now();
        }
    }

    /// One number out of a file.
    fn count(path: &std::path::Path, sql: &str) -> u64 {
        let file = Connection::open(path).unwrap();
        let count: i64 = file.query_row(sql, [], |row| row.get(0)).unwrap();
        u64::try_from(count).unwrap()
    }

    fn spools(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.place.home().join("spool")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.extension().is_some_and(|end| end == "spool"))
            .collect()
    }

    /// What a stranger counts in the files: stored, spooled, kept in `rejected`, finished in a flight file, without
    /// a slot.
    fn counted(&self) -> [u64; 5] {
        let spools = self.spools();
        let sum = |sql: &str| {
            spools
                .iter()
                .map(|path| Self::count(path, sql))
                .sum::<u64>()
        };
        let store = |sql: &str| Self::count(&self.place.store(), sql);
        let home = Home::at(self.place.home());
        let processes = home.standing().unwrap().processes;
        let flights: Vec<AdoptedCalls> = processes
            .iter()
            .map(|process| Adopter::read_file(&process.path).unwrap())
            .collect();
        let flight = |count: fn(&AdoptedCalls) -> u64| flights.iter().map(count).sum::<u64>();
        [
            store("SELECT count(*) FROM calls"),
            sum("SELECT count(*) FROM rows"),
            store("SELECT count(*) FROM rejected") + sum("SELECT count(*) FROM rejected"),
            flight(|calls| calls.finished.len() as u64),
            flight(|calls| calls.standing.full),
        ]
    }
}

fn record(callmeter: &Callmeter, count: usize) {
    for _ in 0..count {
        callmeter
            .call("sales_copy", "openai", "gpt-5-mini")
            .finish();
    }
}

#[test]
fn the_equation_is_what_the_files_hold() {
    let scene = Scene::new();
    let callmeter = scene.builder().open().unwrap();
    record(&callmeter, 30);
    assert!(callmeter.flush(PATIENCE).is_complete());
    // Rows from a clock beyond belief are refused by the store and kept.
    let now = scene.clock.now();
    scene
        .clock
        .jump_to(now.saturating_add_micros(48 * 3_600 * 1_000_000));
    record(&callmeter, 2);
    assert!(callmeter.flush(PATIENCE).is_complete());
    scene.clock.jump_to(now);
    // The store is away: these wait in the spool. Five more find no slot.
    scene.is_shut.store(true, Ordering::SeqCst);
    let open: Vec<_> = (0..SLOTS)
        .map(|_| callmeter.call("held", "openai", "gpt-5"))
        .collect();
    record(&callmeter, 5);
    drop(open);
    Scene::until(&callmeter, |calls| {
        calls.spooled == SLOTS as u64 && calls.dropped_total() == 5
    });
    // Another process, at a standstill: its finished calls are in its flight file alone.
    let clock = Arc::clone(&scene.clock) as Arc<dyn Clock>;
    let other = DrivenProcess::new(scene.builder(), clock, 1).unwrap();
    for _ in 0..7 {
        other.call("other", "openai", "gpt-5").finish();
    }
    let in_flight = other.call("other", "openai", "gpt-5");

    assert_eq!(scene.counted(), [30, 64, 2, 7, 5]);
    let stats = callmeter.stats().conservation;
    assert_eq!(
        (
            stats.finished,
            stats.acknowledged,
            stats.spooled,
            stats.rejected
        ),
        (101, 30, 64, 2)
    );
    assert_eq!(
        (stats.dropped_total(), stats.buffered, stats.holds()),
        (5, 0, true)
    );

    let status = scene.place.run(&["--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(
        status["complete"],
        json!({"made": 108, "stored": 30, "pending": 71, "rejected": 2, "dropped": 5, "holds": true})
    );
    assert_eq!(status["calls"], 30);
    let doctor = scene.place.seen(&["doctor"]);
    assert!(
        doctor.contains("108 made = 30 stored + 71 pending + 2 rejected + 5 dropped"),
        "{doctor}"
    );

    // The store is back: what waited is stored, and the figures follow the files.
    scene.is_shut.store(false, Ordering::SeqCst);
    drop(in_flight);
    Scene::until(&callmeter, |calls| calls.acknowledged == 94);
    assert_eq!(scene.counted(), [94, 0, 2, 8, 5]);
    let doctor = scene.place.seen(&["doctor"]);
    assert!(
        doctor.contains("109 made = 94 stored + 8 pending + 2 rejected + 5 dropped"),
        "{doctor}"
    );
}
