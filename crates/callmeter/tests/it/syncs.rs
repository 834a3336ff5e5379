//! How often a spool's commits reach the disk, by `spool.sync`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use callmeter::seams::{
    DeadFlight, Disk, DrivenProcess, FlightFigures, Hold, HomeDisk, MemorySpool, SpoolError,
    SpoolInlet, SpoolOutlet, SpoolOwner,
};
use callmeter::settings::{Settings, SpoolSync};
use callmeter_core::{CallRecord, Clock, DropReason, Timestamp};
use callmeter_flight::FlightError;

use crate::homes::{TestHome, place};

/// A real disk that counts the commits of spools, and those of them that are to reach it.
#[derive(Clone, Debug)]
struct CountingDisk {
    disk: HomeDisk,
    commits: Arc<AtomicUsize>,
    syncs: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct CountingInlet {
    inlet: Box<dyn SpoolInlet>,
    disk: CountingDisk,
}

impl Disk for CountingDisk {
    fn create(&self, owner: &SpoolOwner) -> Result<Box<dyn SpoolInlet>, SpoolError> {
        Ok(Box::new(CountingInlet {
            inlet: self.disk.create(owner)?,
            disk: self.clone(),
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

impl SpoolInlet for CountingInlet {
    fn name(&self) -> &str {
        self.inlet.name()
    }

    fn attach(&mut self, flight: &str, place: &str, at: Timestamp) -> Result<(), SpoolError> {
        self.inlet.attach(flight, place, at)
    }

    fn detach(&mut self, flight: &str, at: Timestamp) -> Result<(), SpoolError> {
        self.inlet.detach(flight, at)
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
        self.inlet.append(batch, dropped, sync)?;
        self.disk.commits.fetch_add(1, Ordering::Relaxed);
        self.disk
            .syncs
            .fetch_add(usize::from(sync), Ordering::Relaxed);
        Ok(())
    }

    fn has_unready(&self) -> bool {
        self.inlet.has_unready()
    }

    fn last_seq(&self) -> i64 {
        self.inlet.last_seq()
    }

    fn bytes_in_log(&self) -> i64 {
        self.inlet.bytes_in_log()
    }
}

struct Process {
    home: TestHome,
    disk: CountingDisk,
    process: DrivenProcess,
}

fn process(sync: SpoolSync) -> Process {
    let home = place();
    let disk = CountingDisk {
        disk: home.disk(),
        commits: Arc::default(),
        syncs: Arc::default(),
    };
    let mut settings = Settings::default();
    settings.spool.sync = sync;
    let sink = home.sink.clone();
    let clock: Arc<dyn Clock> = home.clock.clone();
    let builder = callmeter::builder()
        .settings(settings)
        .home(home.path())
        .clock(Arc::clone(&clock))
        .disk(Arc::new(disk.clone()))
        .sink("memory", move || Ok(Box::new(sink.clone())));
    let process = DrivenProcess::new(builder, clock, 1).unwrap();
    Process {
        home,
        disk,
        process,
    }
}

impl Process {
    /// Lets the worker work for so long, with a call every so often; says how many commits there were meanwhile,
    /// and how many of them reached the disk.
    fn works(&mut self, time: Duration, call_every: Option<Duration>) -> (usize, usize) {
        let now = |home: &TestHome| Duration::from_nanos(home.clock.monotonic_ns());
        let counts = |disk: &CountingDisk| {
            let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
            (count(&disk.commits), count(&disk.syncs))
        };
        let before = counts(&self.disk);
        let end = now(&self.home) + time;
        let mut next = now(&self.home);
        while now(&self.home) < end {
            if let Some(every) = call_every
                && now(&self.home) >= next
            {
                self.process.call("sales_copy", "openai", "gpt-5").finish();
                next += every;
            }
            let pause = self.process.tick_worker();
            let micros = u32::try_from(pause.as_micros()).unwrap();
            self.home.clock.pass(micros.max(1_000));
        }
        let after = counts(&self.disk);
        (after.0 - before.0, after.1 - before.1)
    }
}

const TEN_SECONDS: Duration = Duration::from_secs(10);
const OFTEN: Option<Duration> = Some(Duration::from_millis(20));

#[test]
fn by_default_a_commit_a_second_reaches_the_disk_while_rows_are_new_and_none_after() {
    assert_eq!(Settings::default().spool.sync, SpoolSync::Power);
    let mut process = process(SpoolSync::Power);
    let (commits, syncs) = process.works(TEN_SECONDS, OFTEN);
    assert!(commits >= 400, "{commits}");
    assert!((9..=11).contains(&syncs), "{syncs}");
    // The last rows are on the disk within a second; then nothing is new.
    let (_, syncs) = process.works(Duration::from_millis(1_100), None);
    assert_eq!(syncs, 1);
    assert_eq!(process.works(TEN_SECONDS, None), (0, 0));
    // A single call costs one.
    process.process.call("once", "openai", "gpt-5").finish();
    let (_, syncs) = process.works(TEN_SECONDS, None);
    assert_eq!(syncs, 1);
}

#[test]
fn where_a_crash_of_the_process_is_all_that_rows_outlive_the_disk_is_left_to_the_system_until_a_flush()
 {
    let mut process = process(SpoolSync::Process);
    let (commits, syncs) = process.works(TEN_SECONDS, OFTEN);
    assert!(commits >= 400, "{commits}");
    assert_eq!(syncs, 0);
    process.process.ask_for_flush();
    let (_, syncs) = process.works(Duration::from_millis(200), None);
    assert_eq!(syncs, 1, "the end of a process waits for the disk");
    assert!(process.process.is_spooled());
}
