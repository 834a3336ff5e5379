//! Counters and sequence numbers as ten years of work leave them. Seeds of the simulation begin with such
//! clocks and numbers on the model disk; here it is SQLite's file.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callmeter::Home;
use callmeter::seams::{DrivenProcess, DrivenShipper, HomeDisk, ShipperParts};
use callmeter::settings::Settings;
use callmeter_core::{Ack, CallRecord, Clock, HashKey, Sink, SinkError, Timestamp};
use callmeter_flight::shared_memory_dir;

use crate::seeds::root;

/// More than 28 million calls a second for ten years.
const MANY: i64 = 1 << 53;
const TEN_YEARS: Duration = Duration::from_secs(10 * 366 * 86_400);

/// A clock of a machine that has been up for ten years.
struct OldClock(Mutex<Duration>);

impl OldClock {
    fn pass(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }
}

impl Clock for OldClock {
    fn now(&self) -> Timestamp {
        let up = i64::try_from(self.0.lock().unwrap().as_micros()).unwrap();
        Timestamp::from_micros(1_774_310_400_000_000 + up)
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.0.lock().unwrap().as_nanos()).unwrap()
    }
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u64>>>);

impl Sink for Kept {
    fn write(&mut self, batch: &[CallRecord]) -> Result<Ack, SinkError> {
        let numbers = batch
            .iter()
            .map(|record| record.usage.input_tokens.unwrap());
        self.0.lock().unwrap().extend(numbers);
        Ok(Ack::default())
    }
}

fn only_spool(home: &Path) -> PathBuf {
    let entries = std::fs::read_dir(home.join("spool")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut spools = paths.filter(|path| path.extension().is_some_and(|end| end == "spool"));
    spools.next().unwrap()
}

#[test]
fn ten_years_of_calls_overflow_nothing() {
    let (root, kept) = (root(), Kept::default());
    let path = root.path().join("home");
    let clock = Arc::new(OldClock(Mutex::new(TEN_YEARS)));
    let mut settings = Settings::default();
    settings.privacy.hash_key = Some(HashKey::new(b"counters"));
    let sink = kept.clone();
    let builder = callmeter::builder()
        .settings(settings)
        .home(&path)
        .clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .sink("store", move || Ok(Box::new(sink.clone()) as Box<dyn Sink>));
    let mut process = DrivenProcess::new(builder, Arc::clone(&clock) as _, 1).unwrap();
    let call = |process: &DrivenProcess, numbers: std::ops::Range<u64>| {
        for number in numbers {
            let mut call = process.call("sales_copy", "openai", "gpt-5-mini");
            call.tokens(number, 1_u64);
            call.finish();
        }
    };
    let run = |process: &mut DrivenProcess, time: Duration| {
        for _ in 0..time.as_millis() / 50 {
            let _ = process.tick();
            clock.pass(Duration::from_millis(50));
        }
    };
    call(&process, 0..10);
    run(&mut process, Duration::from_secs(3));
    assert_eq!(kept.0.lock().unwrap().len(), 10);

    let db = rusqlite::Connection::open(only_spool(&path)).unwrap();
    db.execute(
        "UPDATE progress SET spooled = spooled + ?1, acknowledged = acknowledged + ?1",
        [MANY],
    )
    .unwrap();
    call(&process, 10..20);
    run(&mut process, Duration::from_secs(3));
    let standing = Home::at(&path).standing().unwrap().conservation;
    assert!(standing.holds(), "{standing:?}");
    assert_eq!(standing.acknowledged, MANY as u64 + 20);

    // Its numbers too, and then it is killed with calls in its flight file.
    call(&process, 20..30);
    let dir = shared_memory_dir(&path).filter(|dir| dir.is_dir());
    let dir = dir.unwrap_or_else(|| path.join("flight"));
    for (name, bytes) in process.kill() {
        std::fs::write(dir.join(&name).with_extension("lease"), b"").unwrap();
        std::fs::write(dir.join(&name).with_extension("flight"), bytes).unwrap();
    }
    db.execute(
        "UPDATE progress SET next_seq = ?1, ready_seq = ?1 - 1",
        [i64::MAX - 1_000],
    )
    .unwrap();
    drop(db);
    let disk = Arc::new(HomeDisk::new(Home::at(&path)));
    let sink = kept.clone();
    let make = move || Ok(Box::new(sink.clone()) as Box<dyn Sink>);
    let parts = ShipperParts::new(disk, make, Arc::clone(&clock) as Arc<dyn Clock>);
    let mut shipper = DrivenShipper::new(parts, 1_000);
    for _ in 0..100 {
        let _ = shipper.tick();
        clock.pass(Duration::from_millis(50));
    }
    let mut numbers = kept.0.lock().unwrap().clone();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..30).collect::<Vec<_>>());
    // The spool is retired: its figures are the ledger's.
    let standing = Home::at(&path).standing().unwrap();
    assert_eq!(standing.spools, 0);
    assert!(standing.conservation.holds());
    assert_eq!(standing.conservation.acknowledged, MANY as u64 + 30);
    let _ = std::fs::remove_dir_all(&dir);
    let _ = std::fs::remove_file(dir.with_extension("card"));
}
