//! What a call costs its caller: opening and finishing a slot, against two clock reads and a v4 id.
//!
//! All variants take turns in one run, in bursts of half the slots on 1, 2 and 4 threads with a drainer
//! on a thread of its own between bursts, and paced at 200 calls a second, cold. Printed are nanoseconds
//! of CPU a call (paced: of wall time, median and 99th percentile) and the ratio to the floor.
//!
//! "told" is the way of a guard: names looked up once, then a call that is told what happens in its slot.
//! "by name" looks its names up and hands over all at the end. Each takes the system's clock or the TSC's.
//!
//! Run with `cargo bench -p callmeter-flight --bench open_finish`; `-- --quick` for a tenth of the rounds, and
//! `-- WORD` for the variants beside the floor whose name has it.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::cell::Cell;
use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use callmeter_core::{CallId, Field, Layer, Timestamp, UsageSource};
use callmeter_flight::{
    Drainer, Fields, FlightBuffer, MonotonicClock, Name, NameRef, Opening, Options, Place,
    Prepared, Value,
};
use rustix::time::{ClockId, clock_gettime};

const BURST: usize = 2_048;

thread_local! {
    static RANDOM: Cell<u64> = const { Cell::new(0x9e37_79b9_7f4a_7c15) };
}

/// The clocks of a recorder: one reading gives both the start and the monotonic time.
struct Clocks {
    wall_minus_monotonic_us: i64,
    monotonic: MonotonicClock,
}

impl Clocks {
    fn new(monotonic: MonotonicClock) -> Self {
        let wall = callmeter_core::Clock::now(&callmeter_core::SystemClock);
        Self {
            wall_minus_monotonic_us: wall.as_micros(),
            monotonic,
        }
    }

    fn ns(&self) -> u64 {
        self.monotonic.ns()
    }

    fn id(&self, ns: u64) -> CallId {
        let random = RANDOM.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        RANDOM.set(random);
        let mixed = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let at = self
            .wall_minus_monotonic_us
            .wrapping_add((ns / 1_000) as i64);
        CallId::new(Timestamp::from_micros(at), mixed ^ (mixed >> 27))
    }

    fn pair(&self) {
        let ns = self.ns();
        black_box(self.id(ns));
        black_box(self.ns());
    }
}

struct Bench {
    buffer: Arc<FlightBuffer>,
    system: Clocks,
    counter: Clocks,
    scope: NameRef,
    site: NameRef,
    prepared: Prepared,
}

impl Bench {
    fn floor(&self) {
        black_box(Instant::now());
        black_box(uuid::Uuid::new_v4());
        black_box(Instant::now());
    }

    fn clocks(&self) {
        self.system.pair();
    }

    fn clocks_tsc(&self) {
        self.counter.pair();
    }

    fn by_name(&self) {
        self.call_by_name(&self.system);
    }

    fn by_name_tsc(&self) {
        self.call_by_name(&self.counter);
    }

    fn told(&self) {
        self.call_told(&self.system);
    }

    fn told_tsc(&self) {
        self.call_told(&self.counter);
    }

    #[inline(always)]
    fn call_by_name(&self, clocks: &Clocks) {
        let opened_ns = clocks.ns();
        let opening = Opening {
            caller: black_box("sales_copy").into(),
            provider: black_box("openai").into(),
            model_requested: black_box("gpt-5-mini").into(),
            call_site: Name::Known(self.site),
            scope: Some(self.scope),
            ..Opening::new(clocks.id(opened_ns), Layer::Guard, opened_ns)
        };
        let Ok(slot) = self.buffer.open(&opening) else {
            return;
        };
        let duration_us = clocks.ns().saturating_sub(opened_ns) / 1_000;
        let outcome = Outcome {
            duration_us,
            input: black_box(1_200),
            output: black_box(340),
        };
        let _ = self.buffer.finish(slot, &outcome);
    }

    #[inline(always)]
    fn call_told(&self, clocks: &Clocks) {
        if !self.buffer.is_on() {
            return;
        }
        let opened_ns = clocks.ns();
        let id = clocks.id(opened_ns);
        let Ok(call) = self.buffer.open_prepared(&self.prepared, id, opened_ns) else {
            return;
        };
        // As a guard does, from setter to setter.
        macro_rules! tell {
            ($($field:ident => $value:expr),+) => { $(
                if let Ok(slot) = self.buffer.open_slot(black_box(&call)) {
                    let _ = slot.tell(Field::$field, $value);
                }
            )+ };
        }
        tell!(
            InputTokens => black_box(1_200_u64).into(),
            OutputTokens => black_box(340_u64).into(),
            UsageSource => UsageSource::Caller.into(),
            Model => black_box("gpt-5-mini-2026-01-01").into(),
            HttpStatus => black_box(200_u16).into(),
            CacheHit => black_box(false).into()
        );
        let _ = self.buffer.finish_told(call, |slot| {
            let duration_us = clocks.ns().saturating_sub(slot.opened_ns()) / 1_000;
            let _ = slot.tell(Field::DurationUs, duration_us.into());
            let _ = slot.tell(Field::Status, "ok".into());
        });
    }
}

/// A guard's late values, in a form of its own.
struct Outcome {
    duration_us: u64,
    input: u64,
    output: u64,
}

impl Fields for Outcome {
    #[inline(always)]
    fn each(&self, mut put: impl FnMut(u32, Value<'_>)) {
        put(Field::DurationUs.tag(), self.duration_us.into());
        put(Field::InputTokens.tag(), self.input.into());
        put(Field::OutputTokens.tag(), self.output.into());
        put(Field::UsageSource.tag(), UsageSource::Caller.into());
        put(Field::Status.tag(), black_box("ok").into());
        put(Field::HttpStatus.tag(), black_box(200_u16).into());
        put(Field::CacheHit.tag(), black_box(false).into());
        put(
            Field::Model.tag(),
            black_box("gpt-5-mini-2026-01-01").into(),
        );
    }
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// CPU nanoseconds a call of a burst shared by `threads`.
fn burst(bench: &Bench, threads: usize, call: fn(&Bench)) -> f64 {
    let start = Barrier::new(threads);
    let each = BURST / threads;
    let spent: Duration = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    RANDOM.set(Instant::now().elapsed().as_nanos() as u64);
                    // The thread's first block and thread-locals are not the question.
                    call(bench);
                    start.wait();
                    let before = thread_cpu();
                    for _ in 0..each {
                        call(bench);
                    }
                    thread_cpu() - before
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .sum()
    });
    spent.as_nanos() as f64 / (each * threads) as f64
}

fn drain(drainer: &mut Drainer) -> usize {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let drained = drainer.drain(usize::MAX, |record| drop(black_box(record)));
                drainer.committed();
                drained
            })
            .join()
            .unwrap()
    })
}

fn median(values: &mut [f64], rank: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * rank) as usize]
}

type Variant = (&'static str, fn(&Bench), bool);

const VARIANTS: [Variant; 8] = [
    ("floor: clock, v4 id, clock", Bench::floor, true),
    ("clock, v7 id of the thread, clock", Bench::clocks, true),
    ("TSC, v7 id of the thread, TSC", Bench::clocks_tsc, true),
    ("call told, clock", Bench::told, true),
    ("call told, TSC", Bench::told_tsc, true),
    ("call by name, clock", Bench::by_name, true),
    ("call by name, TSC", Bench::by_name_tsc, true),
    ("switched off", Bench::told, false),
];

/// The floor, and of the others those that were asked for.
fn variants() -> Vec<Variant> {
    let arguments = std::env::args().skip(1);
    let words: Vec<String> = arguments.filter(|word| !word.starts_with("--")).collect();
    let is_asked = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word));
    let mut variants = VARIANTS.to_vec();
    let mut is_floor = true;
    variants.retain(|(name, ..)| std::mem::take(&mut is_floor) || is_asked(name));
    variants
}

/// A clock that reads the processor's counter, on a machine where it may.
fn learnt_clock() -> MonotonicClock {
    let clock = MonotonicClock::new();
    let start = Instant::now();
    while !clock.is_by_counter() && start.elapsed() < Duration::from_secs(2) {
        clock.adjust();
        std::thread::sleep(Duration::from_millis(5));
    }
    if !clock.is_by_counter() {
        println!("this machine has no counter that may tell the time: TSC is the system's clock");
    }
    clock
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let rounds = if quick { 60 } else { 600 };
    let home = tempfile::tempdir().unwrap();
    let shared = callmeter_flight::shared_memory_dir(home.path());
    let place = Place::directory(shared.clone().unwrap_or_else(|| home.path().join("flight")));
    let buffer = Arc::new(FlightBuffer::create(&place, &Options::default()).unwrap());
    println!("buffer in {place}");
    let scope = buffer
        .scope(&[(Field::Project, Value::from("shop"))])
        .unwrap();
    let site = buffer.name("src/sales.rs:42").unwrap();
    let opening = Opening {
        caller: "sales_copy".into(),
        provider: "openai".into(),
        model_requested: "gpt-5-mini".into(),
        call_site: Name::Known(site),
        scope: Some(scope),
        ..Opening::new(CallId::new(Timestamp::EPOCH, 0), Layer::Guard, 0)
    };
    let bench = Bench {
        scope,
        site,
        prepared: buffer.prepare(&opening).unwrap(),
        system: Clocks::new(MonotonicClock::of_system()),
        counter: Clocks::new(learnt_clock()),
        buffer: Arc::clone(&buffer),
    };
    let mut drainer = buffer.drainer().unwrap();
    let variants = variants();
    println!("\nbursts of {BURST} calls, ns of CPU a call (ratio to the floor)");
    for threads in [1, 2, 4] {
        let mut figures = vec![Vec::new(); variants.len()];
        for _ in 0..rounds {
            for ((_, call, on), figures) in variants.iter().zip(&mut figures) {
                if !on {
                    buffer.switch_off(None);
                }
                figures.push(burst(&bench, threads, *call));
                buffer.switch_on();
                drain(&mut drainer);
                bench.counter.monotonic.adjust();
            }
        }
        let floor = median(&mut figures[0], 0.5);
        for ((name, ..), figures) in variants.iter().zip(&mut figures) {
            let (mid, high) = (median(figures, 0.5), median(figures, 0.9));
            println!(
                "{threads} threads  {name:36} {mid:8.1} ({:4.2})  p90 of rounds {high:8.1}",
                mid / floor
            );
        }
    }
    let standing = buffer.standing();
    assert_eq!(
        (standing.full, standing.moving()),
        (0, 0),
        "no call was dropped"
    );

    println!("\npaced at 200 calls a second, cold, ns a call (ratio to the floor)");
    let mut figures = vec![Vec::new(); variants.len()];
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                drainer.drain(usize::MAX, |record| drop(black_box(record)));
                drainer.committed();
                bench.counter.monotonic.adjust();
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        for round in 0..rounds * 4 {
            let at = round % variants.len();
            std::thread::sleep(Duration::from_millis(5));
            let (_, call, on) = variants[at];
            if !on {
                buffer.switch_off(None);
            }
            let before = Instant::now();
            call(&bench);
            figures[at].push(before.elapsed().as_nanos() as f64);
            buffer.switch_on();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let (floor, floor_p99) = (median(&mut figures[0], 0.5), median(&mut figures[0], 0.99));
    for ((name, ..), figures) in variants.iter().zip(&mut figures) {
        let (mid, p99) = (median(figures, 0.5), median(figures, 0.99));
        println!(
            "{name:36} median {mid:8.0} ({:4.2})  p99 {p99:8.0} ({:4.2})",
            mid / floor,
            p99 / floor_p99
        );
    }
    drop(drainer);
    drop(bench);
    drop(buffer);
    if let Some(shared) = shared {
        let _ = std::fs::remove_dir_all(shared);
    }
}
