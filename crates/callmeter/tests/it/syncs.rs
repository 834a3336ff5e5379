//! How often a spool's commits reach the disk, by `spool.sync`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use callmeter::seams::{DrivenProcess, SpoolError};
use callmeter::settings::{Settings, SpoolSync};
use callmeter_core::Clock;

use crate::homes::{TestHome, place};
use crate::watched::{Watch, WatchedDisk};

/// Commits of spools, and those of them that are to reach the disk.
#[derive(Debug, Default)]
struct Counts {
    commits: AtomicUsize,
    syncs: AtomicUsize,
}

impl Watch for Counts {
    fn append(
        &self,
        sync: bool,
        append: &mut dyn FnMut() -> Result<(), SpoolError>,
    ) -> Result<(), SpoolError> {
        append()?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.syncs.fetch_add(usize::from(sync), Ordering::Relaxed);
        Ok(())
    }
}

struct Process {
    home: TestHome,
    counts: Arc<Counts>,
    process: DrivenProcess,
}

fn process(sync: SpoolSync) -> Process {
    let home = place();
    let counts: Arc<Counts> = Arc::default();
    let disk = WatchedDisk {
        disk: home.disk(),
        watch: Arc::clone(&counts),
    };
    let mut settings = Settings::default();
    settings.spool.sync = sync;
    let sink = home.sink.clone();
    let clock: Arc<dyn Clock> = home.clock.clone();
    let builder = callmeter::builder()
        .settings(settings)
        .home(home.path())
        .clock(Arc::clone(&clock))
        .disk(Arc::new(disk))
        .sink("memory", move || Ok(Box::new(sink.clone())));
    let process = DrivenProcess::new(builder, clock, 1).unwrap();
    Process {
        home,
        counts,
        process,
    }
}

impl Process {
    /// Lets the worker work for so long, with a call every so often; says how many commits there were meanwhile,
    /// and how many of them reached the disk.
    fn works(&mut self, time: Duration, call_every: Option<Duration>) -> (usize, usize) {
        let now = |home: &TestHome| Duration::from_nanos(home.clock.monotonic_ns());
        let counts = |counts: &Counts| {
            let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
            (count(&counts.commits), count(&counts.syncs))
        };
        let before = counts(&self.counts);
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
        let after = counts(&self.counts);
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
