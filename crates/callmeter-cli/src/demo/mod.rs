//! `callmeter demo`: a recorded workload through the real SDK, from several processes, one of which is
//! killed midway; then a report.
//!
//! The demo has a home and a store of its own in the cache directory, made anew each time; it never touches
//! the user's. The killed process's calls come to light when another process of the home adopts its
//! spool. What it had not begun is then made by a second worker, so that every request of the trace was
//! made once.

mod clock;
mod worker;
mod workload;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use callmeter::Callmeter;
use callmeter_core::{Status, SystemClock};
use callmeter_store::{CallsQuery, Filter, StoreReader, StoreUrl};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::{DemoArgs, FilterArgs, GlobalArgs, ReportArgs};
use crate::commands::report;
use crate::context::Context;
use crate::failure::Failure;
use crate::print;

use self::worker::{Orders, request_id};

const WORKERS: u32 = 4;
const KILLED: u32 = 1;
/// How long the last rows may take to be stored.
const PATIENCE: Duration = Duration::from_secs(60);
/// A file that tells a directory of the demo from others.
const MARK: &str = "callmeter-demo";

pub(crate) fn run(args: &DemoArgs, global: &GlobalArgs) -> anyhow::Result<ExitCode> {
    if let Some(orders) = &args.worker {
        return worker::run(orders);
    }
    if global.store.is_some() {
        return Err(Failure::new("the demo has a store of its own")
            .with_hint("leave --store away; --dir chooses the demo's directory")
            .into());
    }
    let home = make_directory(args)?.join("home");
    let replay = Replay::run(args, &home)?;
    replay.tell(args, global)
}

/// Makes the demo's directory anew; refuses one that is not the demo's.
fn make_directory(args: &DemoArgs) -> anyhow::Result<PathBuf> {
    let directory = match &args.dir {
        Some(directory) => std::path::absolute(directory)?,
        None => cache_directory().join("callmeter").join("demo"),
    };
    let shown = directory.display().to_string();
    if directory.exists() {
        let is_empty =
            std::fs::read_dir(&directory).is_ok_and(|mut entries| entries.next().is_none());
        if !is_empty && !directory.join(MARK).exists() {
            return Err(
                Failure::new("this directory is not the demo's and is left alone")
                    .in_place(shown)
                    .with_hint("give --dir a directory that does not exist yet")
                    .into(),
            );
        }
        std::fs::remove_dir_all(&directory).with_context(|| format!("cannot remove {shown}"))?;
    }
    std::fs::create_dir_all(&directory)
        .and_then(|()| std::fs::write(directory.join(MARK), "made by `callmeter demo`\n"))
        .with_context(|| format!("cannot make {shown}"))?;
    Ok(directory)
}

fn cache_directory() -> PathBuf {
    let of = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    of("XDG_CACHE_HOME")
        .or_else(|| of("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
}

/// What a replay came to.
struct Replay {
    home: PathBuf,
    took: Duration,
    /// Of the killed worker: how many calls it had finished, and how many of those came to light.
    killed_finished: usize,
    killed_stored: usize,
}

/// A worker process and what it has finished.
struct Worker {
    child: Child,
    finished: JoinHandle<Vec<u8>>,
}

impl Replay {
    fn run(args: &DemoArgs, home: &Path) -> anyhow::Result<Self> {
        let began = Instant::now();
        let requests = workload::requests(args.calls)?;
        let real_us = i64::from(args.seconds) * 1_000_000;
        let orders = |share| Orders {
            share,
            of: WORKERS,
            calls: args.calls,
            // Processes take a moment to start.
            ends_us: clock::now_us() + real_us + 300_000,
            real_us,
            home: home.to_owned(),
        };
        let orders: Vec<Orders> = (0..WORKERS).map(orders).collect();
        // This process ships; the workers stand by.
        let shipper = worker::open(home, Arc::new(SystemClock), false)?;
        let done = Arc::new(AtomicU64::new(0));
        let bar = progress(requests.len() as u64);
        let mut workers = orders
            .iter()
            .map(|orders| Worker::start(orders, &[], &done))
            .collect::<anyhow::Result<Vec<_>>>()?;

        let half = requests.len() as u64 / 2;
        wait(&bar, &done, || {
            done.load(Ordering::Relaxed) >= half || all_ended(&mut workers)
        });
        let mut killed = workers.remove(KILLED as usize);
        killed.child.kill().context("cannot kill a worker")?;
        let killed_finished = killed.end()?;
        wait(&bar, &done, || all_ended(&mut workers));
        for worker in workers {
            let status = worker.wait()?;
            anyhow::ensure!(status, "a worker of the demo failed");
        }
        drain(&shipper)?;

        // Everything that came to light of the killed worker's share, and everything that it had finished,
        // was made; the rest is still to be.
        let stored = stored_requests(&shipper)?;
        let killed_stored = killed_finished
            .iter()
            .filter(|number| stored.contains(*number))
            .count();
        let share = requests
            .iter()
            .map(|request| request.number)
            .filter(|number| number % WORKERS == KILLED);
        let made: Vec<u32> = share
            .filter(|number| stored.contains(number) || killed_finished.contains(number))
            .collect();
        let second = Worker::start(&orders[KILLED as usize], &made, &done)?;
        let mut second = [second];
        wait(&bar, &done, || all_ended(&mut second));
        for worker in second {
            let status = worker.wait()?;
            anyhow::ensure!(status, "the second worker of the demo failed");
        }
        drain(&shipper)?;
        bar.finish_and_clear();
        let home = home.to_owned();
        let flush = shipper.shutdown(PATIENCE);
        anyhow::ensure!(flush.is_complete(), "not every call of the demo is stored");
        Ok(Self {
            home,
            took: began.elapsed(),
            killed_finished: killed_finished.len(),
            killed_stored,
        })
    }

    fn tell(&self, args: &DemoArgs, global: &GlobalArgs) -> anyhow::Result<ExitCode> {
        let mut settings = callmeter::settings::Settings::default();
        settings.home = Some(self.home.clone());
        let context = Context::with(settings, global);
        let mut store = context.existing_store()?;
        let report_args = ReportArgs {
            period: None,
            by: Vec::new(),
            filter: FilterArgs::default(),
            timezone: None,
            csv: false,
        };
        let report = report::make(&context, &mut store, &report_args)?;
        let lost = self.killed_finished - self.killed_stored;
        let aborted = report.totals.of_status(&Status::Aborted);
        if context.json {
            let report: serde_json::Value = serde_json::from_str(&report.json(&context)?)?;
            let object = serde_json::json!({
                "v": 1,
                "requests": args.calls,
                "home": self.home.display().to_string(),
                "store": context.url.to_string(),
                "killed": { "finished": self.killed_finished, "stored": self.killed_stored, "lost": lost, "aborted": aborted },
                "report": report,
            });
            print::out(&format!("{object}\n"))?;
            return Ok(ExitCode::SUCCESS);
        }
        let exe = std::env::args()
            .next()
            .unwrap_or_else(|| "callmeter".to_owned());
        let home = self.home.display();
        let text = format!(
            "Replayed {} requests of a recorded workload (Azure LLM inference trace 2023) in {}.{} s,\n\
             through {WORKERS} processes of {} threads each. One was killed with SIGKILL midway: of the {} calls\n\
             that it had finished, {} came to light, {} missing; {} that it had in flight {} stored as aborted.\n\n{}\n\
             Look around:\n  CALLMETER_HOME={home} {exe}\n  CALLMETER_HOME={home} {exe} report --by team,model\n  \
             CALLMETER_HOME={home} {exe} calls --status error --limit 5\n  CALLMETER_HOME={home} {exe} show {}\n",
            print::count(u64::from(args.calls)),
            self.took.as_secs(),
            self.took.subsec_millis() / 100,
            worker::THREADS,
            print::count(self.killed_finished as u64),
            print::count(self.killed_stored as u64),
            match lost {
                0 => "none is".to_owned(),
                1 => "1 is".to_owned(),
                lost => format!("{lost} are"),
            },
            print::calls(aborted),
            if aborted == 1 { "is" } else { "are" },
            report.text(&context)?,
            request_id(0),
        );
        print::out(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Worker {
    fn start(orders: &Orders, made: &[u32], done: &Arc<AtomicU64>) -> anyhow::Result<Self> {
        let mut child = crate::this_program()?
            .args(["demo", "--worker", &orders.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a worker")?;
        let mut input = child.stdin.take().context("a worker has no input")?;
        let mut output = child.stdout.take().context("a worker has no output")?;
        let done = Arc::clone(done);
        let finished = std::thread::spawn(move || {
            let (mut all, mut part) = (Vec::new(), [0_u8; 4_096]);
            while let Ok(read @ 1..) = output.read(&mut part) {
                all.extend_from_slice(&part[..read]);
                done.fetch_add(read as u64 / 4, Ordering::Relaxed);
            }
            all
        });
        let made: Vec<u8> = made
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        input.write_all(&made).context("a worker does not listen")?;
        Ok(Self { child, finished })
    }

    /// The numbers of the requests that a worker that is no more had finished.
    fn end(mut self) -> anyhow::Result<HashSet<u32>> {
        self.child.wait()?;
        let bytes = self.finished.join().unwrap_or_default();
        Ok(worker::numbers_in(&bytes).collect())
    }

    /// Whether the worker ended well.
    fn wait(mut self) -> anyhow::Result<bool> {
        Ok(self.child.wait()?.success())
    }
}

fn all_ended(workers: &mut [Worker]) -> bool {
    workers
        .iter_mut()
        .all(|worker| matches!(worker.child.try_wait(), Ok(Some(_)) | Err(_)))
}

fn progress(length: u64) -> ProgressBar {
    let target = if print::shows_progress() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(length), target);
    match ProgressStyle::with_template("replaying {bar:40} {pos} of {len} calls") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn wait(bar: &ProgressBar, done: &AtomicU64, mut is_over: impl FnMut() -> bool) {
    while !is_over() {
        bar.set_position(done.load(Ordering::Relaxed));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until every call of the home is stored.
fn drain(shipper: &Callmeter) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let standing = shipper.home().standing()?;
        // What a killed worker left in its flight file is adopted first.
        let is_adopted = standing.processes.iter().all(|process| process.is_alive);
        if is_adopted && standing.conservation.spooled == 0 && standing.unreadable.is_empty() {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            let why = shipper.stats().last_error.unwrap_or_default();
            return Err(
                Failure::new(format!("not every call of the demo is stored: {why}")).into(),
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The requests of the trace that are in the store.
fn stored_requests(shipper: &Callmeter) -> anyhow::Result<HashSet<u32>> {
    let mut store = StoreReader::open(&StoreUrl::sqlite(shipper.home().default_store()))?;
    let mut query = CallsQuery {
        filter: Filter::default(),
        before: None,
        limit: 1_000,
    };
    let mut numbers = HashSet::new();
    loop {
        let calls = store.calls(&query)?;
        for call in &calls {
            let id = call.record.request_id.as_deref().unwrap_or_default();
            numbers.extend(
                id.strip_prefix("azure-")
                    .and_then(|number| number.parse::<u32>().ok()),
            );
        }
        query.before = calls.last().map(|call| call.record.call_id);
        if calls.len() < query.limit {
            return Ok(numbers);
        }
    }
}
