//! What the proxy costs, in one run against no proxy, a bare hyper pass-through and, where asked, LiteLLM's proxy.
//!
//! ```text
//! cargo bench -p callmeter-proxy                         10 s a case
//! cargo bench -p callmeter-proxy -- --seconds 2          shorter cases
//! cargo bench -p callmeter-proxy -- --litellm            beside LiteLLM, first installed into target/bench-litellm (Python, PyPI)
//! cargo bench -p callmeter-proxy -- --only memory        plain, streams or memory
//! ```
//! Upstream and each subject are processes of their own on the same cores; this one makes the load. Load and upstream
//! are one thread each and speak no more HTTP than they need; the subjects have a thread for each core, TCP without
//! delay, and kept connections on both sides. What is compared:
//!
//! ```text
//! upstream    no proxy
//! pass        hyper's server and its pooled client, headers as they come out: no letter case kept, no limits, no clocks
//! unrecorded  this proxy without a recorder: routes, limits, clocks, letter case
//! callmeter   this proxy, each call read, priced and stored, in an embedded store of its own
//! ```
//! Ratios are to the pass-through of the same run. As all processes share the cores, requests a second are diluted by
//! load and upstream alike; the processor time of the subject's process for each request is not. Of the recorder's
//! threads it is counted until the last call is stored, and a run fails if one call was lost.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs
)]

mod litellm;
mod load;
mod process;
mod servers;
mod upstream;
mod wire;

use std::time::Duration;

use crate::load::{Case, Figures};
pub(crate) use crate::process::Server;

struct Options {
    seconds: u64,
    litellm: bool,
    only: Option<String>,
}

fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    raise_file_limit();
    if let [serve, name, rest @ ..] = args.as_slice()
        && serve == "--serve"
    {
        let upstream = rest.first().map(|address| address.parse().unwrap());
        return servers::serve(name, upstream);
    }
    let after = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1).cloned()
    };
    let options = Options {
        seconds: after("--seconds").map_or(10, |text| text.parse().unwrap()),
        litellm: args.iter().any(|arg| arg == "--litellm"),
        only: after("--only"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run(&options));
}

async fn run(options: &Options) {
    const PATH: &str = "/v1/chat/completions";
    const ROUTED: &str = "/u/bench/v1/chat/completions";
    let upstream = Server::start("upstream", PATH, None);
    let at = upstream.address;
    let pass = Server::start("pass", PATH, Some(at));
    let unrecorded = Server::start("unrecorded", ROUTED, Some(at));
    let proxy = Server::start("callmeter", ROUTED, Some(at));
    let litellm = options.litellm.then(|| litellm::start(at));
    let mut subjects: Vec<Server> = [upstream, pass, unrecorded, proxy]
        .into_iter()
        .chain(litellm)
        .collect();
    println!(
        "upstream at {at}; {} s a case; {} cores",
        options.seconds,
        std::thread::available_parallelism().unwrap()
    );
    let wants = |part: &str| options.only.as_deref().is_none_or(|only| only == part);
    let length = Duration::from_secs(options.seconds);
    if wants("plain") {
        plain(&mut subjects, length).await;
    }
    if wants("streams") {
        streams(&mut subjects, length).await;
    }
    if wants("memory") {
        // The upstream has nothing to hold, and LiteLLM does not hold so many.
        memory(&mut subjects[1..4]).await;
    }
}

/// A case with the processor time of each request, in microseconds: of the whole process, and of its recorder.
struct Measured {
    figures: Figures,
    cpu: f64,
    recorder: f64,
}

async fn measure(
    server: &mut Server,
    case: Case,
    connections: usize,
    length: Duration,
) -> Measured {
    let recorded = server.settle();
    let before = server.spent();
    let figures = load::run(server, case, connections, length).await;
    if let (Some(before), Some(after)) = (recorded, server.settle()) {
        assert_eq!(after.lost, before.lost, "calls were lost");
        assert_eq!(
            after.stored - before.stored,
            figures.answers,
            "a row for each"
        );
    }
    let after = server.spent();
    let answers = figures.answers as f64;
    Measured {
        cpu: (after.all - before.all) / answers,
        recorder: (after.recorder - before.recorder) / answers,
        figures,
    }
}

/// Requests and answers of a few hundred bytes, as fast as they go.
async fn plain(subjects: &mut [Server], length: Duration) {
    println!("\nplain: requests as fast as they go; processor time in µs a request");
    println!(
        "{:>5}  {:<10} {:>8} {:>8} {:>8} {:>8} {:>8}  {:>7} {:>6} {:>6} {:>6}",
        "conns",
        "subject",
        "req/s",
        "p50 µs",
        "p99 µs",
        "cpu",
        "recorder",
        "req/s ×",
        "p50 ×",
        "p99 ×",
        "cpu ×"
    );
    for connections in [1, 64, 512] {
        let mut base: Option<Measured> = None;
        let mut all = Vec::new();
        for server in &mut *subjects {
            let found = measure(server, Case::Plain, connections, length).await;
            let ratio = |of: fn(&Measured) -> f64| {
                base.as_ref().map_or(f64::NAN, |base| of(&found) / of(base))
            };
            println!(
                "{connections:>5}  {:<10} {:>8.0} {:>8.0} {:>8.0} {:>8.1} {:>8.1}  {:>7.2} {:>6.2} {:>6.2} {:>6.2}",
                server.name,
                found.figures.per_second,
                found.figures.p50,
                found.figures.p99,
                found.cpu,
                found.recorder,
                ratio(|of| of.figures.per_second),
                ratio(|of| of.figures.p50),
                ratio(|of| of.figures.p99),
                ratio(|of| of.cpu),
            );
            all.push((server.name, found.figures.clone()));
            // The pass-through is measured before the proxy.
            if server.name == "pass" {
                base = Some(found);
            }
        }
        litellm::compare(connections, &all);
    }
}

/// Streams of twenty events, at a pace that leaves the machine some time to itself.
async fn streams(subjects: &mut [Server], length: Duration) {
    println!(
        "\nstreams: {} events; delays in µs from the upstream's sending to the client's reading; processor time in µs a stream",
        upstream::EVENTS
    );
    println!(
        "{:>5} {:>5}  {:<10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8}",
        "conns",
        "pace",
        "subject",
        "streams/s",
        "ttfb p50",
        "ttfb p99",
        "event p50",
        "event p99",
        "cpu",
        "recorder"
    );
    for (connections, pace) in [(1, 5), (64, 20), (512, 80)] {
        for server in &mut *subjects {
            let found = measure(server, Case::Stream(pace), connections, length).await;
            println!(
                "{connections:>5} {pace:>5}  {:<10} {:>9.1} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>8.0} {:>8.0}",
                server.name,
                found.figures.per_second,
                found.figures.p50,
                found.figures.p99,
                found.figures.event_p50,
                found.figures.event_p99,
                found.cpu,
                found.recorder,
            );
        }
    }
}

/// What 2,000 open streams take.
async fn memory(subjects: &mut [Server]) {
    const STREAMS: u64 = 2_000;
    println!("\nmemory: {STREAMS} open streams");
    for server in subjects {
        let before = server.resident();
        let open = load::hold_open(server, STREAMS).await;
        let with = server.resident();
        println!(
            "{:<10} {:>8} KiB before, {:>8} KiB with, {:>6.1} KiB a stream",
            server.name,
            before,
            with,
            (with.saturating_sub(before)) as f64 / STREAMS as f64
        );
        drop(open);
    }
}

#[cfg(unix)]
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        println!("the limit of open files stays as it is: {error}");
    }
}

#[cfg(not(unix))]
fn raise_file_limit() {}
