//! A disk that fills up between a call's commit and its sync: the process rests, ends, and loses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use callmeter::seams::{
    DeadFlight, Disk, DrivenProcess, FlightFigures, Hold, HomeDisk, MemorySpool, SpoolError,
    SpoolInlet, SpoolOutlet, SpoolOwner,
};
use callmeter::settings::Settings;
use callmeter_core::{CallRecord, Clock, DropReason, Timestamp};
use callmeter_flight::FlightError;

use crate::homes::{STORE, TestHome, place};

/// A disk that takes no more writes to its spools once it is full.
#[derive(Debug)]
struct FullDisk {
    disk: HomeDisk,
    is_full: Arc<AtomicBool>,
}

impl Disk for FullDisk {
    fn create(&self, owner: &SpoolOwner) -> Result<Box<dyn SpoolInlet>, SpoolError> {
        Ok(Box::new(FullInlet {
            inlet: self.disk.create(owner)?,
            is_full: Arc::clone(&self.is_full),
        }))
    }
    fn create_in_memory(&self, owner: &SpoolOwner) -> MemorySpool {
        self.disk.create_in_memory(owner)
    }
    fn in_memory(&self) -> Vec<String> {
        Disk::in_memory(&self.disk)
    }
    fn spools(&self) -> Result<Vec<String>, SpoolError> {
        self.disk.spools()
    }
    fn open(&self, spool: &str) -> Result<Box<dyn SpoolOutlet>, SpoolError> {
        self.disk.open(spool)
    }
    fn hold_spool(&self, spool: &str) -> Result<Option<Hold>, SpoolError> {
        self.disk.hold_spool(spool)
    }
    fn hold_office(&self, store: &str) -> Result<Option<Hold>, SpoolError> {
        self.disk.hold_office(store)
    }
    fn used_bytes(&self) -> u64 {
        self.disk.used_bytes()
    }
    fn retire(
        &self,
        spool: &str,
        outlet: Box<dyn SpoolOutlet>,
        hold: Hold,
    ) -> Result<(), SpoolError> {
        self.disk.retire(spool, outlet, hold)
    }
    fn set_aside(&self, spool: &str) -> Result<(), SpoolError> {
        self.disk.set_aside(spool)
    }
    fn flights(&self) -> Vec<String> {
        self.disk.flights()
    }
    fn adopt_flight(&self, flight: &str) -> Result<Option<Box<dyn DeadFlight>>, FlightError> {
        self.disk.adopt_flight(flight)
    }
    fn set_flight_aside(&self, flight: &str) {
        self.disk.set_flight_aside(flight);
    }
}

#[derive(Debug)]
struct FullInlet {
    inlet: Box<dyn SpoolInlet>,
    is_full: Arc<AtomicBool>,
}

impl SpoolInlet for FullInlet {
    fn name(&self) -> &str {
        self.inlet.name()
    }
    fn detach(&mut self, flight: &str, at: Timestamp) -> Result<(), SpoolError> {
        self.inlet.detach(flight, at)
    }
    fn attach(&mut self, flight: &str, place: &str, at: Timestamp) -> Result<(), SpoolError> {
        self.inlet.attach(flight, place, at)
    }
    fn note(&mut self, figures: FlightFigures) {
        self.inlet.note(figures);
    }
    fn append(
        &mut self,
        batch: &[CallRecord],
        dropped: &[(DropReason, u64)],
        sync: bool,
    ) -> Result<(), SpoolError> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(SpoolError::DiskFull);
        }
        self.inlet.append(batch, dropped, sync)
    }
    fn has_unready(&self) -> bool {
        self.inlet.has_unready()
    }
    fn last_seq(&self) -> i64 {
        self.inlet.last_seq()
    }
}

/// A process whose disk is full once five of its calls are committed there, unsynced.
fn process(home: &TestHome) -> (DrivenProcess, Arc<AtomicBool>) {
    let is_full = Arc::new(AtomicBool::new(false));
    let disk = FullDisk {
        disk: home.disk(),
        is_full: Arc::clone(&is_full),
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
    is_full.store(true, Ordering::SeqCst);
    (process, is_full)
}

#[test]
fn a_process_ends_although_its_disk_is_full_and_its_calls_come_to_light() {
    let home = place();
    let (mut process, is_full) = process(&home);
    process.ask_for_flush();
    // Nothing can be done about it: the worker waits as one that has nothing to do, and does not spin.
    assert!(process.tick_worker() >= Duration::from_millis(50));
    assert!(!process.is_spooled());
    process.ask_to_end();
    process.tick_worker();
    assert!(process.has_ended());
    process.kill();
    is_full.store(false, Ordering::SeqCst);
    home.ship_all();
    assert_eq!(home.sink.calls().len(), 5);
}

#[test]
fn a_process_whose_disk_has_room_again_ends_with_everything_on_it() {
    let home = place();
    let (mut process, is_full) = process(&home);
    process.ask_for_flush();
    process.tick_worker();
    is_full.store(false, Ordering::SeqCst);
    while !process.is_spooled() {
        home.clock.pass(50_000);
        process.tick_worker();
    }
    process.ask_to_end();
    process.tick_worker();
    assert!(process.has_ended());
}
