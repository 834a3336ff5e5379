//! What the proxy costs, in one run against no proxy, a bare hyper pass-through and, where asked, LiteLLM's proxy.
//!
//! ```text
//! cargo bench -p callmeter-proxy                         10 s a case
//! cargo bench -p callmeter-proxy -- --seconds 2          shorter cases
//! cargo bench -p callmeter-proxy -- --litellm            beside LiteLLM, first installed into target/bench-litellm (Python, PyPI)
//! cargo bench -p callmeter-proxy -- --only memory        plain, streams or memory
//! ```
//! Upstream and each subject are processes of their own; this one makes the load. Recording is on, into an embedded store
//! of its own. Ratios are to the pass-through of the same run; a machine with fewer than four cores measures its
//! scheduler as well.
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
mod servers;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::load::{Case, Figures};

/// A server in a process of its own.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) path: &'static str,
    child: Child,
}

impl Server {
    /// This program again, as a server.
    fn start(name: &'static str, path: &'static str, upstream: Option<SocketAddr>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--serve", name]).stdout(Stdio::piped());
        if let Some(upstream) = upstream {
            command.arg(upstream.to_string());
        }
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self {
            name,
            address: line.trim().parse().unwrap(),
            path,
            child,
        }
    }

    pub(crate) const fn of(
        name: &'static str,
        address: SocketAddr,
        path: &'static str,
        child: Child,
    ) -> Self {
        Self {
            name,
            address,
            path,
            child,
        }
    }

    /// Resident memory in KiB.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .unwrap_or_default();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap_or_default();
        line.split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse().ok())
            .unwrap_or(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has workers of its own ends them, unless it is killed.
        if Command::new("kill")
            .arg(self.child.id().to_string())
            .status()
            .is_err()
        {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run(&options));
}

async fn run(options: &Options) {
    let upstream = Server::start("upstream", "/v1/chat/completions", None);
    let pass = Server::start("pass", "/v1/chat/completions", Some(upstream.address));
    let proxy = Server::start(
        "callmeter",
        "/u/bench/v1/chat/completions",
        Some(upstream.address),
    );
    let litellm = options.litellm.then(|| litellm::start(upstream.address));
    let at = upstream.address;
    let subjects: Vec<&Server> = [&upstream, &pass, &proxy]
        .into_iter()
        .chain(&litellm)
        .collect();
    println!(
        "upstream at {at}; {} s a case; {} cores",
        options.seconds,
        std::thread::available_parallelism().unwrap()
    );
    let wants = |part: &str| options.only.as_deref().is_none_or(|only| only == part);
    let length = Duration::from_secs(options.seconds);
    if wants("plain") {
        plain(&subjects, length).await;
    }
    if wants("streams") {
        streams(&subjects, length).await;
    }
    if wants("memory") {
        memory(&[&pass, &proxy]).await;
    }
}

/// Requests and answers of a few hundred bytes, as fast as they go.
async fn plain(subjects: &[&Server], length: Duration) {
    println!("\nplain: requests as fast as they go");
    println!(
        "{:>5}  {:<10} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "conns", "subject", "req/s", "p50 µs", "p99 µs", "req/s ×", "p50 ×", "p99 ×"
    );
    for connections in [1, 64, 512] {
        let mut base: Option<Figures> = None;
        let mut all = Vec::new();
        for server in subjects {
            let found = load::run(server, Case::Plain, connections, length).await;
            // The pass-through is measured before the proxy.
            if server.name == "pass" {
                base = Some(found.clone());
            }
            let ratio = |of: fn(&Figures) -> f64| {
                base.as_ref().map_or(f64::NAN, |base| of(&found) / of(base))
            };
            println!(
                "{connections:>5}  {:<10} {:>10.0} {:>9.0} {:>9.0} {:>9.2} {:>9.2} {:>9.2}",
                server.name,
                found.per_second,
                found.p50,
                found.p99,
                ratio(|of| of.per_second),
                ratio(|of| of.p50),
                ratio(|of| of.p99),
            );
            all.push((server.name, found));
        }
        litellm::compare(connections, &all);
    }
}

/// Streams of twenty events, five milliseconds apart.
async fn streams(subjects: &[&Server], length: Duration) {
    println!(
        "\nstreams: 20 events, 5 ms apart; delays in µs from the upstream's sending to the client's reading"
    );
    println!(
        "{:>5}  {:<10} {:>10} {:>12} {:>12} {:>12} {:>12}",
        "conns", "subject", "streams/s", "ttfb p50", "ttfb p99", "event p50", "event p99"
    );
    for connections in [1, 64, 512] {
        for server in subjects {
            let found = load::run(server, Case::Stream, connections, length).await;
            println!(
                "{connections:>5}  {:<10} {:>10.1} {:>12.0} {:>12.0} {:>12.0} {:>12.0}",
                server.name,
                found.per_second,
                found.p50,
                found.p99,
                found.event_p50,
                found.event_p99,
            );
        }
    }
}

/// What 2,000 open streams take.
async fn memory(subjects: &[&Server]) {
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
