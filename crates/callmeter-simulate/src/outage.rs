//! A long outage: a store that is down for hours while calls go on, and what its return is like.
//!
//! Everything of callmeter is real here, the spool's files included; only time and the store are simulated.
//! The store keeps a bit for each call, so that what the process takes of memory is callmeter's own.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callmeter::Home;
use callmeter::seams::{Disk, DrivenProcess, HomeDisk};
use callmeter::settings::Settings;
use callmeter_core::{Ack, CallRecord, Clock, HashKey, Sink, SinkError, SinkErrorKind};

use crate::clock::{SimClock, nanos};

const STEP: Duration = Duration::from_millis(5);
const SAMPLE_EVERY: Duration = Duration::from_secs(30);
/// The store is well for so long before.
const BEFORE: Duration = Duration::from_secs(10);

/// What is to happen.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    /// How long the store is down.
    pub down: Duration,
    /// How many calls end in a second, before, meanwhile and after.
    pub calls_per_second: u64,
    /// The ceiling of the spools.
    pub max_bytes: u64,
}

/// What happened.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Calls that were made.
    pub calls: u64,
    /// Calls that the store has.
    pub stored: u64,
    /// Rows that the store was sent although it had answered for them.
    pub sent_again: u64,
    /// Rows of the backlog that came after a later one.
    pub out_of_order: u64,
    /// How long the backlog took, in simulated seconds.
    pub replay_seconds: u64,
    /// The longest that a call of that time took to the store, in milliseconds.
    pub slowest_fresh_ms: u64,
    /// What the process took of memory a tenth into the outage, and at most from then on; 0 where the system
    /// does not tell.
    pub memory_early_bytes: u64,
    /// See there.
    pub memory_peak_bytes: u64,
    /// The most that the spools took on the disk.
    pub spool_bytes: u64,
    /// Whether the home's equation holds in the end, and says that every call was acknowledged.
    pub is_conserved: bool,
}

/// How much memory may grow from a tenth of the outage on: what an allocator may keep, not a row in a hundred.
const GROWTH_BYTES: u64 = 16 << 20;
/// How long a fresh call may take: the second that its batch waits, and polls.
const FRESH_MS: u64 = 2_000;

impl Report {
    /// The first promise that is broken, if one is.
    pub fn verdict(&self) -> Option<(&'static str, String)> {
        let growth = self
            .memory_peak_bytes
            .saturating_sub(self.memory_early_bytes);
        if self.stored != self.calls || self.sent_again > 0 {
            let (stored, again) = (self.stored, self.sent_again);
            Some((
                "CM-5",
                format!("{stored} of {} calls are stored, {again} twice", self.calls),
            ))
        } else if !self.is_conserved {
            Some(("CM-3", "the home's equation says something else".to_owned()))
        } else if self.out_of_order > 0 {
            Some((
                "CM-10",
                format!("{} rows overtook others of the backlog", self.out_of_order),
            ))
        } else if self.slowest_fresh_ms > FRESH_MS {
            Some((
                "CM-10",
                format!("a fresh call took {} ms", self.slowest_fresh_ms),
            ))
        } else if growth > GROWTH_BYTES {
            Some(("CM-8", format!("memory grew by {growth} bytes")))
        } else {
            None
        }
    }
}

#[derive(Debug, Default)]
struct Seen {
    bits: Vec<u64>,
    count: u64,
    again: u64,
    out_of_order: u64,
    last_of_backlog: u64,
    slowest_fresh_ns: u64,
}

/// The store: which calls it has, by their numbers.
#[derive(Clone, Debug)]
struct BitStore {
    seen: Arc<Mutex<Seen>>,
    is_down: Arc<AtomicBool>,
    /// The numbers of the first call of the outage, the first after it, and the first after its end was
    /// noticed.
    bounds: Arc<[AtomicU64; 3]>,
    clock: Arc<SimClock>,
    began_ns: u64,
    calls_per_second: u64,
}

impl BitStore {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for BitStore {
    fn write(&mut self, batch: &[CallRecord]) -> Result<Ack, SinkError> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(SinkError::new(SinkErrorKind::Retry, "the store is down"));
        }
        let bounds = &self.bounds;
        let [first, end, fresh] = [0, 1, 2].map(|at: usize| bounds[at].load(Ordering::SeqCst));
        let now = self.clock.monotonic_ns();
        let mut seen = self.seen();
        for record in batch {
            let number = record.usage.input_tokens.unwrap_or(0);
            let (word, bit) = ((number / 64) as usize, number % 64);
            if seen.bits.len() <= word {
                seen.bits.resize(word + 1, 0);
            }
            if seen.bits[word] >> bit & 1 == 1 {
                seen.again += 1;
                continue;
            }
            seen.bits[word] |= 1 << bit;
            seen.count += 1;
            if (first..end).contains(&number) {
                seen.out_of_order += u64::from(number < seen.last_of_backlog);
                seen.last_of_backlog = seen.last_of_backlog.max(number);
            } else if number >= fresh {
                let ended = self.began_ns + number * 1_000_000_000 / self.calls_per_second;
                seen.slowest_fresh_ns = seen.slowest_fresh_ns.max(now.saturating_sub(ended));
            }
        }
        Ok(Ack::default())
    }
}

struct Process {
    driven: DrivenProcess,
    clock: Arc<SimClock>,
    began_ns: u64,
    calls_per_second: u64,
    calls: u64,
    worker_due: u64,
    shipper_due: u64,
}

impl Process {
    /// Lets a moment pass, with the calls that end in it.
    fn step(&mut self) {
        self.clock.pass(STEP);
        let now = self.clock.monotonic_ns();
        let passed = u128::from(now - self.began_ns) * u128::from(self.calls_per_second);
        let due = u64::try_from(passed / 1_000_000_000).unwrap_or(0);
        while self.calls < due {
            let mut call = self.driven.call("sales_copy", "openai", "gpt-5-mini");
            call.tokens(self.calls, 100_u64);
            call.finish();
            self.calls += 1;
        }
        self.tick(now);
    }

    fn tick(&mut self, now: u64) {
        if now >= self.worker_due {
            self.worker_due = now.saturating_add(nanos(self.driven.tick_worker()));
        }
        // Only a moment passes while it is busy; the shipper sends one batch after the other.
        let mut batches = 0;
        while now >= self.shipper_due && batches < 20 {
            self.shipper_due = now.saturating_add(nanos(self.driven.tick_shipper()));
            batches += 1;
        }
    }
}

/// Lets it happen in `root`.
///
/// # Errors
/// When no recorder can be started there.
pub fn outage(root: &Path, outage: Outage) -> std::io::Result<Report> {
    let path = root.join("home");
    let disk = HomeDisk::new(Home::at(&path));
    let clock = Arc::new(SimClock::after(Duration::from_secs(1)));
    let began_ns = clock.monotonic_ns();
    let store = BitStore {
        seen: Arc::default(),
        is_down: Arc::default(),
        bounds: Arc::new([const { AtomicU64::new(u64::MAX) }; 3]),
        clock: Arc::clone(&clock),
        began_ns,
        calls_per_second: outage.calls_per_second,
    };
    let mut settings = Settings::default();
    settings.spool.max_bytes = outage.max_bytes;
    settings.privacy.hash_key = Some(HashKey::new(b"simulation"));
    let sink = store.clone();
    let builder = callmeter::builder()
        .settings(settings)
        .home(&path)
        .clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .disk(Arc::new(disk.clone()))
        .sink("store", move || Ok(Box::new(sink.clone()) as Box<dyn Sink>));
    let driven = DrivenProcess::new(builder, Arc::clone(&clock) as Arc<dyn Clock>, 7)?;
    let mut process = Process {
        driven,
        clock,
        began_ns,
        calls_per_second: outage.calls_per_second,
        calls: 0,
        worker_due: 0,
        shipper_due: 0,
    };
    let mut report = Report::default();
    let steps_of = |time: Duration| time.as_nanos() / STEP.as_nanos();
    for _ in 0..steps_of(BEFORE) {
        process.step();
    }
    let [first, end, fresh] = &*store.bounds;
    first.store(process.calls, Ordering::SeqCst);
    store.is_down.store(true, Ordering::SeqCst);
    let steps = steps_of(outage.down);
    for step in 0..steps {
        process.step();
        if step % steps_of(SAMPLE_EVERY) == 0 || step + 1 == steps {
            look(&mut report, step > steps / 10, &disk);
        }
    }
    store.is_down.store(false, Ordering::SeqCst);
    let backlog = process.calls;
    end.store(backlog, Ordering::SeqCst);
    while process.driven.is_degraded() {
        process.step();
    }
    fresh.store(process.calls, Ordering::SeqCst);
    let back = process.clock.monotonic_ns();
    let (mut step, patience) = (0_u128, steps_of(outage.down * 2 + Duration::from_secs(600)));
    while store.seen().last_of_backlog + 1 < backlog && step < patience {
        process.step();
        step += 1;
        if step % steps_of(SAMPLE_EVERY) == 0 {
            look(&mut report, true, &disk);
        }
    }
    report.replay_seconds = (process.clock.monotonic_ns() - back) / 1_000_000_000;
    for _ in 0..steps_of(Duration::from_secs(5)) {
        process.step();
    }
    finish(&mut process, &mut report, &store, &path);
    crate::disk::forget_home(&path);
    Ok(report)
}

/// Ends the process and takes stock.
fn finish(process: &mut Process, report: &mut Report, store: &BitStore, path: &Path) {
    process.driven.ask_to_end();
    for _ in 0..2_000 {
        process.clock.pass(STEP);
        let now = process.clock.monotonic_ns();
        process.tick(now);
    }
    let seen = store.seen();
    report.calls = process.calls;
    report.stored = seen.count;
    report.sent_again = seen.again;
    report.out_of_order = seen.out_of_order;
    report.slowest_fresh_ms = seen.slowest_fresh_ns / 1_000_000;
    report.is_conserved = Home::at(path).standing().is_ok_and(|standing| {
        let all = standing.conservation;
        all.holds() && all.finished == process.calls && all.acknowledged == process.calls
    });
}

fn look(report: &mut Report, is_late: bool, disk: &HomeDisk) {
    report.spool_bytes = report.spool_bytes.max(disk.used_bytes());
    let taken = memory_bytes();
    if !is_late {
        report.memory_early_bytes = taken;
    }
    report.memory_peak_bytes = report.memory_peak_bytes.max(taken);
}

/// What this process takes of memory, as the system counts it: allocations of Rust and of SQLite alike.
fn memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}
