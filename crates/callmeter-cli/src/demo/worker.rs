//! A worker process of the demo: makes its share of the requests through the SDK, as a service would.
//!
//! It writes the number of each request that it finished to standard output, four bytes each, after the
//! guard returned: what the parent has read when it kills the process is what had been finished.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use callmeter::settings::Settings;
use callmeter::{CallGuard, Callmeter};
use callmeter_core::{Billing, CallerEntry, CallerRegistry, Clock, Operation};

use crate::demo::clock::FastClock;
use crate::demo::workload::{self, CALLERS, Outcome, Request};

/// How many threads make a worker's calls.
pub(crate) const THREADS: u32 = 2;
const LAST_FLUSH: Duration = Duration::from_secs(10);

/// What a worker is told, as one argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Orders {
    pub(crate) share: u32,
    pub(crate) of: u32,
    pub(crate) calls: u32,
    pub(crate) ends_us: i64,
    pub(crate) real_us: i64,
    pub(crate) home: PathBuf,
}

impl std::fmt::Display for Orders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            share,
            of,
            calls,
            ends_us,
            real_us,
            home,
        } = self;
        write!(
            f,
            "{share} {of} {calls} {ends_us} {real_us} {}",
            home.display()
        )
    }
}

impl FromStr for Orders {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let parts: Vec<&str> = text.splitn(6, ' ').collect();
        let [share, of, calls, ends_us, real_us, home] = parts.as_slice() else {
            anyhow::bail!("--worker is for the demo's own processes");
        };
        Ok(Self {
            share: share.parse()?,
            of: of.parse()?,
            calls: calls.parse()?,
            ends_us: ends_us.parse()?,
            real_us: real_us.parse()?,
            home: PathBuf::from(home),
        })
    }
}

/// Makes the calls of a worker; those whose numbers stand on standard input were made before.
pub(crate) fn run(orders: &str) -> anyhow::Result<ExitCode> {
    let orders: Orders = orders.parse()?;
    let mut made = Vec::new();
    std::io::stdin().lock().read_to_end(&mut made)?;
    let made: std::collections::HashSet<u32> = numbers_in(&made).collect();
    let requests = workload::requests(orders.calls)?;
    let clock = FastClock::new(orders.ends_us, orders.real_us, length_of(&requests));
    let callmeter = open(&orders.home, Arc::new(clock), true)?;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let own: Vec<&Request> = requests
                .iter()
                .filter(|request| request.number % orders.of == orders.share)
                .filter(|request| request.number / orders.of % THREADS == thread)
                .filter(|request| !made.contains(&request.number))
                .collect();
            scope.spawn(move || make_calls(&own, &clock));
        }
    });
    let flush = callmeter.shutdown(LAST_FLUSH);
    anyhow::ensure!(flush.is_spooled(), "the last calls could not be spooled");
    Ok(ExitCode::SUCCESS)
}

/// The recorder of the demo, with a home of its own; `is_process_wide` makes it that of `callmeter::call`.
pub(crate) fn open(
    home: &Path,
    clock: Arc<dyn Clock>,
    is_process_wide: bool,
) -> anyhow::Result<Callmeter> {
    let mut settings = Settings::default();
    settings.scope.project = Some("demo".to_owned());
    settings.scope.service = Some("backoffice".to_owned());
    settings.scope.environment = Some("demo".to_owned());
    settings.scope.billing = Some(Billing::Metered);
    settings
        .providers
        .insert("gcp_ollama".to_owned(), "ollama".to_owned());
    settings.registry = CallerRegistry::new(CALLERS.iter().map(|caller| {
        let mut entry = CallerEntry::default();
        entry.name = caller.name.to_owned();
        entry.team = Some(caller.team.to_owned());
        entry
    }));
    let builder = callmeter::builder()
        .settings(settings)
        .home(home)
        .clock(clock);
    let callmeter = if is_process_wide {
        builder.init()
    } else {
        builder.open()
    };
    callmeter.context("cannot start recording")
}

/// How long the trace is, its last answer included.
pub(crate) fn length_of(requests: &[Request]) -> i64 {
    let ends = requests
        .iter()
        .map(|request| request.arrives_us + request.takes_us);
    i64::try_from(ends.max().unwrap_or(1)).unwrap_or(i64::MAX)
}

/// The numbers that a worker wrote.
pub(crate) fn numbers_in(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|number| u32::from_le_bytes(*number))
}

/// What happens to a call in flight, and when.
struct InFlight<'a> {
    request: &'a Request,
    guard: CallGuard,
    is_streaming: bool,
}

/// Opens and finishes calls at their times.
fn make_calls(requests: &[&Request], clock: &FastClock) {
    let mut arrivals = requests.iter().peekable();
    // By the next moment and the place in `in_flight`.
    let mut moments: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut in_flight: Vec<Option<InFlight<'_>>> = Vec::with_capacity(requests.len());
    loop {
        let arrival = arrivals.peek().map(|request| request.arrives_us);
        let moment = moments.peek().map(|Reverse((at, _))| *at);
        let (at, is_arrival) = match (arrival, moment) {
            (None, None) => return,
            (Some(arrival), Some(moment)) if moment <= arrival => (moment, false),
            (Some(arrival), _) => (arrival, true),
            (None, Some(moment)) => (moment, false),
        };
        std::thread::sleep(clock.wait_until(at));
        if is_arrival {
            if let Some(request) = arrivals.next() {
                // A request that is made late takes its time from then on.
                let now = u64::try_from(clock.trace_now_us()).unwrap_or(at).max(at);
                moments.push(Reverse((now + request.first_token_us, in_flight.len())));
                in_flight.push(Some(begin(request)));
            }
        } else if let Some(Reverse((at, place))) = moments.pop() {
            let Some(mut call) = in_flight.get_mut(place).and_then(Option::take) else {
                continue;
            };
            if call.is_streaming {
                finish(call);
            } else {
                call.guard.first_token();
                call.is_streaming = true;
                let rest = call.request.takes_us - call.request.first_token_us;
                moments.push(Reverse((at + rest, place)));
                if let Some(slot) = in_flight.get_mut(place) {
                    *slot = Some(call);
                }
            }
        }
    }
}

fn begin(request: &Request) -> InFlight<'_> {
    let caller = request.caller;
    let mut guard = callmeter::call(caller.name, caller.provider, caller.model);
    guard
        .operation(Operation::Chat)
        .request_id(request_id(request.number))
        .cache_hit(request.cache_hit)
        .streaming(true);
    if caller.uses_documents {
        guard.rag_hit(true);
    }
    InFlight {
        request,
        guard,
        is_streaming: false,
    }
}

/// The request id of a request of the trace.
pub(crate) fn request_id(number: u32) -> String {
    format!("azure-{number:05}")
}

fn finish(call: InFlight<'_>) {
    let InFlight {
        request, mut guard, ..
    } = call;
    match request.outcome {
        Outcome::Failed(kind, status) => {
            guard.error_kind(kind).http_status(status);
        }
        Outcome::TakenOver => {
            guard.tokens(request.input_tokens, request.output_tokens);
            guard.fallback_to(request.caller.fallback);
        }
        Outcome::Answered => {
            guard
                .tokens(request.input_tokens, request.output_tokens)
                .stream_complete(true);
        }
    }
    guard.finish();
    // One write of four bytes to a pipe arrives whole or not at all.
    let mut out = std::io::stdout().lock();
    let written = out
        .write_all(&request.number.to_le_bytes())
        .and_then(|()| out.flush());
    if written.is_err() {
        tracing::debug!(target: "callmeter", "the demo's parent reads no more");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_the_way_through_an_argument() {
        let orders = Orders {
            share: 1,
            of: 4,
            calls: 500,
            ends_us: 1_790_000_000_000_000,
            real_us: 8_000_000,
            home: PathBuf::from("/tmp/a place/home"),
        };
        assert_eq!(orders.to_string().parse::<Orders>().unwrap(), orders);
        assert!("1 2".parse::<Orders>().is_err());
    }
}
