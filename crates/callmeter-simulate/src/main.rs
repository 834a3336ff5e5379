//! `cargo xtask simulate`: runs seeds, and says how to replay the first that breaks a promise.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use callmeter_simulate::outage::{Outage, outage};
use callmeter_simulate::plan::{Mutation, Plan};
use callmeter_simulate::{Outcome, run, shrink};

const HELP: &str = "\
cargo xtask simulate [--seeds N] [--from K] [--jobs N]   run N seeds from K on (500, 0)
cargo xtask simulate --seed K [--only 1,2,5-9]           run one seed, or some of its steps, and tell all
        --outage-hours H                                 and then a store that is down so long, 200 calls a second
        --mutation NAME                                  with a deliberate fault, to see that it is found
";

#[derive(Debug)]
struct Arguments {
    seeds: u64,
    from: u64,
    seed: Option<u64>,
    only: Option<Vec<usize>>,
    jobs: u64,
    mutation: Option<Mutation>,
    outage_hours: u64,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprint!("error: {error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let Some(root) = root() else {
        eprintln!("error: no temporary directory can be made");
        return ExitCode::FAILURE;
    };
    let is_well = match arguments.seed {
        Some(seed) => tell_one(seed, &arguments, root.path()),
        None => run_many(&arguments, root.path()),
    };
    let is_well = is_well && (arguments.outage_hours == 0 || run_outage(arguments.outage_hours));
    if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Real files lie in memory where there is such a place: they are for SQLite, not for the disk.
fn root() -> Option<tempfile::TempDir> {
    let shared = Path::new("/dev/shm");
    let made = tempfile::Builder::new()
        .prefix("callmeter-simulate-")
        .tempdir_in(shared);
    made.or_else(|_| tempfile::tempdir()).ok()
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        seeds: 500,
        from: 0,
        seed: None,
        only: None,
        jobs: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
        mutation: None,
        outage_hours: 0,
    };
    while let Some(word) = words.next() {
        let mut number = || -> Result<u64, String> {
            let value = words.next().ok_or(format!("{word} needs a value"))?;
            value
                .parse()
                .map_err(|_| format!("{word} needs a number, not '{value}'"))
        };
        match word.as_str() {
            "--seeds" => arguments.seeds = number()?,
            "--from" => arguments.from = number()?,
            "--seed" => arguments.seed = Some(number()?),
            "--outage-hours" => arguments.outage_hours = number()?,
            "--jobs" => arguments.jobs = number()?.max(1),
            "--only" => {
                let value = words.next().ok_or("--only needs numbers")?;
                arguments.only = Some(steps_of(&value).ok_or(format!("no steps: '{value}'"))?);
            }
            "--mutation" => {
                let value = words.next().unwrap_or_default();
                let found = Mutation::ALL
                    .iter()
                    .find(|known| format!("{known:?}") == value);
                arguments.mutation =
                    Some(*found.ok_or(format!("no mutation '{value}': {:?}", Mutation::ALL))?);
            }
            other => return Err(format!("what is '{other}'?")),
        }
    }
    Ok(arguments)
}

/// The numbers of a list such as `1,2,5-9`.
fn steps_of(list: &str) -> Option<Vec<usize>> {
    let mut steps = Vec::new();
    for part in list.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        steps.extend(first.parse::<usize>().ok()?..=last.parse().ok()?);
    }
    Some(steps)
}

/// A list of numbers as one would type it.
fn list_of(steps: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for step in steps {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *step => *last = *step,
            _ => parts.push((*step, *step)),
        }
    }
    let parts = parts.iter().map(|(first, last)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    });
    parts.collect::<Vec<_>>().join(",")
}

/// Runs seeds side by side; says whether every promise was kept.
fn run_many(arguments: &Arguments, root: &Path) -> bool {
    let next = AtomicU64::new(arguments.from);
    let end = arguments.from.saturating_add(arguments.seeds);
    let broken: Mutex<Vec<(u64, Outcome)>> = Mutex::default();
    let totals = Mutex::new((0_u64, 0_u64, 0_u64, Duration::ZERO));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for job in 0..arguments.jobs {
            let (next, broken, totals) = (&next, &broken, &totals);
            let place = directory(root, &format!("job-{job}"));
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let outcome = run(&Plan::of_seed(seed), &place, arguments.mutation, false);
                    if let Ok(mut totals) = totals.lock() {
                        totals.0 += 1;
                        totals.1 += outcome.calls;
                        totals.2 += outcome.steps;
                        totals.3 += outcome.simulated;
                    }
                    if outcome.violation.is_some() {
                        if let Ok(mut broken) = broken.lock() {
                            broken.push((seed, outcome));
                        }
                        next.store(end, Ordering::Relaxed);
                        return;
                    }
                }
            });
        }
    });
    let (seeds, calls, steps, simulated) = totals.into_inner().unwrap_or_default();
    println!(
        "{seeds} seeds from {}: {calls} calls, {steps} steps on disks and stores, {} hours simulated, in {} s",
        arguments.from,
        simulated.as_secs() / 3_600,
        began.elapsed().as_secs()
    );
    let mut broken = broken.into_inner().unwrap_or_default();
    broken.sort_by_key(|(seed, _)| *seed);
    match broken.first() {
        None => {
            println!("every promise was kept");
            true
        }
        Some((seed, outcome)) => {
            tell_violation(*seed, outcome, arguments, root);
            false
        }
    }
}

/// A store that is down for hours, with real files on a real disk; says whether every promise was kept.
fn run_outage(hours: u64) -> bool {
    let began = Instant::now();
    let report = tempfile::tempdir().and_then(|root| {
        let what = Outage {
            down: Duration::from_secs(hours * 3_600),
            calls_per_second: 200,
            max_bytes: 2 << 30,
        };
        outage(root.path(), what)
    });
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            println!("the outage breaks CM-1: {error}");
            return false;
        }
    };
    println!(
        "{hours} hours of outage in {} s: {report:?}",
        began.elapsed().as_secs()
    );
    match report.verdict() {
        None => println!("every promise was kept"),
        Some((promise, what)) => println!("the outage breaks {promise}: {what}"),
    }
    report.verdict().is_none()
}

fn directory(root: &Path, name: &str) -> PathBuf {
    let path = root.join(name);
    let _ = std::fs::create_dir_all(&path);
    path
}

fn tell_violation(seed: u64, outcome: &Outcome, arguments: &Arguments, root: &Path) {
    let Some(violation) = &outcome.violation else {
        return;
    };
    println!(
        "seed {seed} breaks {}: {}",
        violation.promise, violation.what
    );
    let plan = Plan::of_seed(seed);
    let (steps, violation) = shrink(
        &plan,
        &directory(root, "shrink"),
        arguments.mutation,
        violation,
    );
    println!(
        "{} of its {} steps are enough: {}",
        steps.len(),
        plan.len(),
        violation.what
    );
    println!("{}", plan.describe_config());
    for step in &steps {
        println!("  {step:>4}  {}", plan.describe(*step));
    }
    let mutation = arguments.mutation.map_or(String::new(), |mutation| {
        format!(" --mutation {mutation:?}")
    });
    println!(
        "replay: cargo xtask simulate --seed {seed} --only {}{mutation}",
        list_of(&steps)
    );
}

/// Runs one seed and tells everything; says whether every promise was kept.
fn tell_one(seed: u64, arguments: &Arguments, root: &Path) -> bool {
    let plan = Plan::of_seed(seed);
    let all: Vec<usize> = (0..plan.len()).collect();
    let plan = plan.only(arguments.only.as_ref().unwrap_or(&all));
    println!("seed {seed}: {}", plan.describe_config());
    let outcome = run(&plan, &directory(root, "replay"), arguments.mutation, true);
    outcome.trace.iter().for_each(|line| println!("{line}"));
    println!(
        "{} calls, {} steps on disk and store, {} s simulated",
        outcome.calls,
        outcome.steps,
        outcome.simulated.as_secs()
    );
    match &outcome.violation {
        None => {
            println!("every promise was kept");
            true
        }
        Some(violation) if arguments.only.is_some() => {
            println!(
                "seed {seed} breaks {}: {}",
                violation.promise, violation.what
            );
            false
        }
        Some(_) => {
            tell_violation(seed, &outcome, arguments, root);
            false
        }
    }
}
