//! A disk that fills up between a call's commit and its sync: the process rests, ends, and loses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use callmeter::seams::{DrivenProcess, SpoolError};
use callmeter::settings::Settings;
use callmeter_core::Clock;

use crate::homes::{STORE, TestHome, place};
use crate::watched::{Watch, WatchedDisk};

/// Whether the disk is full: it takes no more writes to its spools then.
#[derive(Debug, Default)]
struct Fullness(AtomicBool);

impl Fullness {
    fn set(&self, is_full: bool) {
        self.0.store(is_full, Ordering::SeqCst);
    }
}

impl Watch for Fullness {
    fn append(
        &self,
        _: bool,
        append: &mut dyn FnMut() -> Result<(), SpoolError>,
    ) -> Result<(), SpoolError> {
        if self.0.load(Ordering::SeqCst) {
            return Err(SpoolError::DiskFull);
        }
        append()
    }
}

/// A process whose disk is full once five of its calls are committed there, unsynced.
fn process(home: &TestHome) -> (DrivenProcess, Arc<Fullness>) {
    let fullness: Arc<Fullness> = Arc::default();
    let disk = WatchedDisk {
        disk: home.disk(),
        watch: Arc::clone(&fullness),
    };
    let sink = home.sink.clone();
    let clock = Arc::clone(&home.clock) as Arc<dyn Clock>;
    let builder = callmeter::builder()
        .settings(Settings::default())
        .home(home.path())
        .clock(Arc::clone(&clock))
        .disk(Arc::new(disk))
        .sink(STORE, move || Ok(Box::new(sink.clone())));
    let mut process = DrivenProcess::new(builder, clock, 1).unwrap();
    for _ in 0..5 {
        process.call("sales_copy", "openai", "gpt-5-mini").finish();
    }
    process.tick_worker();
    fullness.set(true);
    (process, fullness)
}

#[test]
fn a_process_ends_although_its_disk_is_full_and_its_calls_come_to_light() {
    let home = place();
    let (mut process, fullness) = process(&home);
    process.ask_for_flush();
    // Nothing can be done about it: the worker waits as one that has nothing to do, and does not spin.
    assert!(process.tick_worker() >= Duration::from_millis(50));
    assert!(!process.is_spooled());
    process.ask_to_end();
    process.tick_worker();
    assert!(process.has_ended());
    process.kill();
    fullness.set(false);
    home.ship_all();
    assert_eq!(home.sink.calls().len(), 5);
}

#[test]
fn a_process_whose_disk_has_room_again_ends_with_everything_on_it() {
    let home = place();
    let (mut process, fullness) = process(&home);
    process.ask_for_flush();
    process.tick_worker();
    fullness.set(false);
    while !process.is_spooled() {
        home.clock.pass(50_000);
        process.tick_worker();
    }
    process.ask_to_end();
    process.tick_worker();
    assert!(process.has_ended());
}
