//! `callmeter serve`: the capture proxy of a machine, which records what passes and ships for its home.
//!
//! ```text
//! clients ─▶ http://127.0.0.1:2255 ─▶ routes of a named configuration, built-in providers
//!                │ /healthz  /metrics           └▶ recorder ─▶ spool ─▶ the elected shipper ─▶ store
//! ```
//! First form: on this machine only (promise CM-11). Told to stop it takes no further connection, lets requests in
//! flight end, stores what waits, and ends: 0 all is stored, 3 some calls wait in the spools, where a later shipper finds
//! them. A second signal ends it at once, with 3.

mod metrics;

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use callmeter::{Callmeter, Home, HomeStanding};
use callmeter_proxy::{AdminAnswer, Tally};

use crate::args::ServeArgs;
use crate::commands::ship;
use crate::context::Context;
use crate::print;
use crate::traffic::files::{self, Room};
use crate::traffic::meter::{Observer, SharedMeter};
use crate::traffic::{self, Traffic, health};

/// How old figures of the home may be: they are read from its files.
const HOME_FIGURES: Duration = Duration::from_secs(5);
/// How soon a signal is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The least that is left for the last calls to be stored when requests took all the time to end.
const LEAST_FLUSH: Duration = Duration::from_millis(500);

pub(crate) fn run(context: &Context, args: &ServeArgs, is_quiet: bool) -> anyhow::Result<ExitCode> {
    let told = ship::stop_when_told().context("cannot listen for signals")?;
    let mut config = traffic::of_settings(&context.settings)?;
    if let Some(listen) = args.listen {
        config.listen = listen;
    }
    if let Some(drain) = args.drain {
        config.timeouts.drain = drain;
    }
    let drain = config.timeouts.drain;
    files::raise();
    let names: Vec<String> = config.routes.keys().cloned().collect();
    let (meter, book) = traffic::meter_of(&context.settings)?;
    let facts = Arc::new(Facts::new(SharedMeter::clone(&meter)));
    let recorder = traffic::recorder_of(&context.settings);
    let admin = Admin(Arc::clone(&facts));
    let traffic = Traffic::start(config, recorder, Observer(meter), admin)?;
    facts.begin(&traffic, &context.home);
    #[cfg(feature = "postgres")]
    ship::partitions::keep(context, false);
    if !is_quiet {
        eprintln!("listening on http://{}", traffic.address());
        eprintln!(
            "routes  {}",
            if names.is_empty() {
                "built-in providers".to_owned()
            } else {
                names.join(", ")
            }
        );
        eprintln!("store   {}, prices {book}", context.url);
        tell_room(context);
    }
    while !told.load(Ordering::SeqCst) {
        std::thread::park_timeout(LOOK_EVERY);
    }
    end(context, drain, traffic, is_quiet)
}

/// Says so where the limit of open files lets fewer clients in than the settings.
fn tell_room(context: &Context) {
    let room = Room::for_connections(context.settings.proxy.max_connections);
    if room.is_short() {
        eprintln!("files   {}", room.in_words());
        eprintln!("hint: {}", files::HINT);
    }
}

fn end(
    context: &Context,
    drain: Duration,
    traffic: Traffic,
    is_quiet: bool,
) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let drained = traffic.drain();
    let left = drain.saturating_sub(began.elapsed()).max(LEAST_FLUSH);
    let stopped = drained.stop(left);
    if let Some(summary) = &stopped.summary
        && !is_quiet
    {
        eprintln!(
            "passed {}, {} of them recorded{}",
            print::plural(summary.figures.requests, "request"),
            print::count(summary.figures.calls),
            if summary.is_drained {
                ""
            } else {
                "; some had not ended in time"
            }
        );
    }
    if stopped.is_stored != Some(false) {
        return Ok(ExitCode::SUCCESS);
    }
    let calls = context.home.standing()?.conservation;
    eprintln!(
        "{} left in the spools",
        print::calls(calls.spooled.saturating_add(calls.buffered))
    );
    Ok(ExitCode::from(ship::LEFT))
}

/// What `/metrics` tells, beside what the meter has seen.
pub(crate) struct Facts {
    meter: SharedMeter,
    tally: OnceLock<Tally>,
    recorder: OnceLock<Weak<Callmeter>>,
    home: Mutex<HomeStanding>,
}

impl Facts {
    fn new(meter: SharedMeter) -> Self {
        Self {
            meter,
            tally: OnceLock::new(),
            recorder: OnceLock::new(),
            home: Mutex::default(),
        }
    }

    /// Looks at the home from now on, in a thread of its own: an answer must not wait for its files.
    fn begin(self: &Arc<Self>, traffic: &Traffic, home: &Home) {
        let _ = self.tally.set(traffic.tally());
        if let Some(recorder) = traffic.recorder() {
            let _ = self.recorder.set(recorder);
        }
        let (facts, home) = (Arc::downgrade(self), home.clone());
        std::thread::spawn(move || {
            while let Some(facts) = facts.upgrade() {
                if let Ok(standing) = home.standing() {
                    *facts.home.lock().unwrap_or_else(PoisonError::into_inner) = standing;
                }
                drop(facts);
                std::thread::park_timeout(HOME_FIGURES);
            }
        });
    }
}

/// Answers what is asked of the proxy itself.
struct Admin(Arc<Facts>);

impl callmeter_proxy::Admin for Admin {
    fn answer(&self, method: &str, path: &str) -> Option<AdminAnswer> {
        if !matches!(method, "GET" | "HEAD") {
            return None;
        }
        match path {
            health::PATH => Some(health::answer()),
            metrics::PATH => Some(metrics::answer(&self.0)),
            _ => None,
        }
    }
}
