//! What a guard costs its caller, beside what other libraries take for the same call.
//!
//! A call here is a guard opened with caller, provider and model, told tokens, the model that answered and
//! whether a cache did, and finished: eight fields, crash-safe. Beside it, in turns and in one run: two clock
//! reads and a v4 id; a span of `opentelemetry_sdk` with the same attributes through a batch processor; the
//! same through `tracing` and `tracing-opentelemetry`; exporters throw all away. Printed are nanoseconds of CPU
//! a call in bursts of half the slots on 1, 2 and 4 threads (and the ratio to the two clock reads), the wall
//! time of single calls flat out and paced at 200 a second, cold (median, p99, p99.9), and the CPU of the
//! threads behind an idle recorder.
//!
//! The guard stands there twice: timed by the processor's counter, as it is wherever the kernel's clock is that counter,
//! and by the system's clock, as it is elsewhere.
//!
//! `cargo bench -p callmeter --bench guard`; `-- --quick` for a tenth of the rounds, `-- WORD` for the rows beside
//! the floor whose name has it, `-- --bursts`, `--single`, `--paced`, `--idle` for those parts alone.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use callmeter::settings::Settings;
use callmeter::{CallGuard, Callmeter};
use callmeter_core::{Ack, CallRecord, Sink, SinkError};
use opentelemetry::trace::{Span, Tracer, TracerProvider as _};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanData, SpanExporter};
use rustix::time::{ClockId, clock_gettime};
use tracing_subscriber::layer::SubscriberExt;

const BURST: usize = 2_048;
const FLAT_OUT: usize = 200;

/// A store that throws all away.
struct NoSink;

impl Sink for NoSink {
    fn write(&mut self, batch: &[CallRecord]) -> Result<Ack, SinkError> {
        let mut ack = Ack::default();
        ack.inserted = batch.len() as u64;
        Ok(ack)
    }
}

/// An exporter that throws all away.
#[derive(Debug)]
struct Nowhere;

impl SpanExporter for Nowhere {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        drop(black_box(batch));
        Ok(())
    }
}

struct Bench {
    on: Callmeter,
    by_clock: Callmeter,
    off: Callmeter,
    full: Callmeter,
    tracer: SdkTracer,
    provider: SdkTracerProvider,
}

impl Bench {
    fn guard(callmeter: &Callmeter) {
        let mut call = callmeter.call(
            black_box("sales_copy"),
            black_box("openai"),
            black_box("gpt-5-mini"),
        );
        call.tokens(black_box(1_200), black_box(340))
            .model(black_box("gpt-5-mini-2026-01-01"))
            .cache_hit(black_box(false));
        call.finish();
    }

    fn empty(&self) {
        black_box(self);
    }

    fn floor(&self) {
        black_box(Instant::now());
        black_box(uuid::Uuid::new_v4());
        black_box(Instant::now());
    }

    fn on(&self) {
        Self::guard(&self.on);
    }

    fn by_clock(&self) {
        Self::guard(&self.by_clock);
    }

    fn off(&self) {
        Self::guard(&self.off);
    }

    fn full(&self) {
        Self::guard(&self.full);
    }

    fn opentelemetry(&self) {
        let mut span = self.tracer.start("chat");
        let attributes: [(&'static str, Value); 7] = [
            ("caller", black_box("sales_copy").into()),
            ("gen_ai.provider.name", black_box("openai").into()),
            ("gen_ai.request.model", black_box("gpt-5-mini").into()),
            ("gen_ai.usage.input_tokens", black_box(1_200_i64).into()),
            ("gen_ai.usage.output_tokens", black_box(340_i64).into()),
            (
                "gen_ai.response.model",
                black_box("gpt-5-mini-2026-01-01").into(),
            ),
            ("cache_hit", black_box(false).into()),
        ];
        for (key, value) in attributes {
            span.set_attribute(KeyValue::new(key, value));
        }
        span.end();
    }

    fn tracing(&self) {
        let span = tracing::info_span!(
            "chat",
            caller = black_box("sales_copy"),
            gen_ai.provider.name = black_box("openai"),
            gen_ai.request.model = black_box("gpt-5-mini"),
            gen_ai.usage.input_tokens = tracing::field::Empty,
            gen_ai.usage.output_tokens = tracing::field::Empty,
            gen_ai.response.model = tracing::field::Empty,
            cache_hit = tracing::field::Empty,
        );
        span.record("gen_ai.usage.input_tokens", black_box(1_200_i64));
        span.record("gen_ai.usage.output_tokens", black_box(340_i64));
        span.record("gen_ai.response.model", black_box("gpt-5-mini-2026-01-01"));
        span.record("cache_hit", black_box(false));
    }

    /// Lets everybody behind the calls catch up.
    fn settle(&self) {
        let _ = self.on.flush(Duration::from_secs(60));
        let _ = self.by_clock.flush(Duration::from_secs(60));
        let _ = self.provider.force_flush();
    }
}

type Variant = (&'static str, fn(&Bench));

const VARIANTS: [Variant; 8] = [
    ("nothing", Bench::empty),
    ("clock, v4 id, clock", Bench::floor),
    ("callmeter, TSC", Bench::on),
    ("callmeter, clock", Bench::by_clock),
    ("callmeter, switched off", Bench::off),
    ("callmeter, buffer full", Bench::full),
    ("opentelemetry_sdk, batch", Bench::opentelemetry),
    ("tracing-opentelemetry, batch", Bench::tracing),
];
/// The place of the floor among them.
const FLOOR: usize = 1;

/// What of the bench was asked for.
struct Asked {
    words: Vec<String>,
    parts: Vec<String>,
    is_quick: bool,
}

impl Asked {
    fn of_arguments() -> Self {
        let arguments = std::env::args().skip(1).filter(|word| word != "--bench");
        let (mut parts, words): (Vec<String>, Vec<String>) =
            arguments.partition(|word| word.starts_with("--"));
        let is_quick = parts.iter().any(|part| part == "--quick");
        parts.retain(|part| part != "--quick");
        Self {
            words,
            parts,
            is_quick,
        }
    }

    fn has(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|asked| asked == part)
    }

    fn variants(&self) -> Vec<Variant> {
        let is_asked = |name: &str| self.words.iter().any(|word| name.contains(word));
        let variants = VARIANTS.iter().enumerate();
        variants
            .filter(|(at, (name, _))| *at <= FLOOR || self.words.is_empty() || is_asked(name))
            .map(|(_, variant)| *variant)
            .collect()
    }
}

fn cpu(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// CPU nanoseconds a call of a burst shared by `threads`.
fn burst(bench: &Bench, threads: usize, call: fn(&Bench)) -> f64 {
    let start = Barrier::new(threads);
    let each = BURST / threads;
    let work = || {
        // The thread's first use of anything is not the question.
        call(bench);
        start.wait();
        let before = cpu(ClockId::ThreadCPUTime);
        for _ in 0..each {
            call(bench);
        }
        cpu(ClockId::ThreadCPUTime) - before
    };
    let spent: Duration = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    spent.as_nanos() as f64 / (each * threads) as f64
}

fn rank(values: &mut [f64], rank: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = ((values.len() as f64 * rank).ceil() as usize).saturating_sub(1);
    values[at.min(values.len() - 1)]
}

fn tell_walls(variants: &[Variant], figures: &mut [Vec<f64>]) {
    let nothing = rank(&mut figures[0], 0.5);
    let floor = [0.5, 0.99, 0.999].map(|at| rank(&mut figures[FLOOR], at) - nothing);
    for ((name, _), figures) in variants.iter().zip(figures) {
        let shown = [0.5, 0.99, 0.999].map(|at| rank(figures, at) - nothing);
        let ratios: Vec<String> = shown
            .iter()
            .zip(floor)
            .map(|(ns, floor)| format!("{ns:8.0} ({:5.2})", ns / floor))
            .collect();
        println!("  {name:30} {}", ratios.join("  "));
    }
}

fn open(home: &std::path::Path, tsc: bool) -> Callmeter {
    callmeter::builder()
        .settings(Settings::default())
        .home(home)
        .tsc(tsc)
        .sink("nowhere", || Ok(Box::new(NoSink)))
        .open()
        .unwrap()
}

fn bursts(bench: &Bench, variants: &[Variant], rounds: usize) {
    println!(
        "bursts of {BURST} calls, ns of CPU a call (ratio to the floor), median of {rounds} rounds"
    );
    for threads in [1, 2, 4] {
        let mut figures = vec![Vec::new(); variants.len()];
        for _ in 0..rounds {
            for ((_, call), figures) in variants.iter().zip(&mut figures) {
                figures.push(burst(bench, threads, *call));
                bench.settle();
            }
        }
        let floor = rank(&mut figures[FLOOR], 0.5);
        println!("{threads} threads");
        for ((name, _), figures) in variants.iter().zip(&mut figures) {
            let (mid, high) = (rank(figures, 0.5), rank(figures, 0.9));
            println!(
                "  {name:30} {mid:8.1} ({:5.2})  p90 of rounds {high:8.1}",
                mid / floor
            );
        }
    }
    let lost = bench.on.stats().conservation.dropped_total();
    println!("calls dropped meanwhile: {lost}");
}

fn single(bench: &Bench, variants: &[Variant], rounds: usize) {
    println!("\nsingle calls flat out, ns of wall time: median, p99, p99.9 (ratio to the floor)");
    let mut figures = vec![Vec::new(); variants.len()];
    for _ in 0..rounds * 2 {
        for ((_, call), figures) in variants.iter().zip(&mut figures) {
            for _ in 0..FLAT_OUT {
                let before = Instant::now();
                call(bench);
                figures.push(before.elapsed().as_nanos() as f64);
            }
        }
        bench.settle();
    }
    tell_walls(variants, &mut figures);
}

fn paced(bench: &Bench, variants: &[Variant], rounds: usize) {
    println!(
        "\npaced at 200 calls a second, cold, ns of wall time: median, p99, p99.9 (ratio to the floor)"
    );
    let mut figures = vec![Vec::new(); variants.len()];
    // In runs of one variant, the first call of each left out: it finds its thread used to another recorder,
    // as no host has.
    for round in 0..rounds.div_ceil(2) * variants.len() {
        let at = round % variants.len();
        for call in 0..=30 {
            std::thread::sleep(Duration::from_millis(5));
            let before = Instant::now();
            (variants[at].1)(bench);
            if call > 0 {
                figures[at].push(before.elapsed().as_nanos() as f64);
            }
        }
    }
    tell_walls(variants, &mut figures);
}

fn idle(is_quick: bool) {
    let home = tempfile::tempdir().unwrap();
    let idle = open(home.path(), true);
    idle.call("sales_copy", "openai", "gpt-5-mini").finish();
    let _ = idle.flush(Duration::from_secs(60));
    // What was just called keeps a recorder awake for a while.
    std::thread::sleep(Duration::from_secs(4));
    let seconds = if is_quick { 5 } else { 30 };
    let before = cpu(ClockId::ProcessCPUTime);
    std::thread::sleep(Duration::from_secs(seconds));
    let spent = cpu(ClockId::ProcessCPUTime) - before;
    let a_minute = spent.as_secs_f64() * 60.0 / seconds as f64;
    println!(
        "\nan idle recorder with its store at hand: {:.0} ms of CPU a minute",
        a_minute * 1e3
    );
}

fn main() {
    let asked = Asked::of_arguments();
    let rounds: usize = if asked.is_quick { 20 } else { 200 };
    let homes = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(Nowhere)
        .build();
    let tracer = provider.tracer("bench");
    let layer = tracing_opentelemetry::layer().with_tracer(tracer.clone());
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).unwrap();
    let bench = Bench {
        on: open(homes[0].path(), true),
        by_clock: open(homes[1].path(), false),
        off: open(homes[2].path(), true),
        full: open(homes[3].path(), true),
        tracer,
        provider,
    };
    bench.off.set_enabled(false);
    let in_flight: Vec<CallGuard> = (0..4_200)
        .map(|_| bench.full.call("fills", "the", "buffer"))
        .collect();
    // The clock learns its counter's pace.
    std::thread::sleep(Duration::from_secs(1));

    let variants = asked.variants();
    if asked.has("--bursts") {
        bursts(&bench, &variants, rounds);
    }
    if asked.has("--single") {
        single(&bench, &variants, rounds);
    }
    if asked.has("--paced") {
        paced(&bench, &variants, rounds);
    }
    bench.settle();
    drop((bench, in_flight));
    if asked.has("--idle") {
        idle(asked.is_quick);
    }
}
