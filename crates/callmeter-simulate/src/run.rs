//! One run: the plan's steps, then everything heals, and every obligation is looked at.

use std::path::Path;
use std::time::Duration;

use callmeter_core::Conservation;

use crate::clock::nanos;
use crate::disk::Where;
use crate::oracle::{Obligation, Owed, Violation};
use crate::plan::{Kind, Mutation, Plan, Step};
use crate::world::World;

/// How long everything may take to arrive once all is well: the longest pause between trials, and room.
const HEALED_WITHIN: Duration = Duration::from_secs(70);
/// How long the spools of dead processes may stay after that.
const RETIRED_WITHIN: Duration = Duration::from_secs(20);

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The first broken promise.
    pub violation: Option<Violation>,
    /// How many calls were made.
    pub calls: u64,
    /// How many steps on disk and store were taken.
    pub steps: u64,
    /// How much time passed.
    pub simulated: Duration,
    /// What happened, when it was to be told.
    pub trace: Vec<String>,
}

/// Runs a plan in a thread of its own, so that nothing of another run is left in its thread's memory.
pub fn run(plan: &Plan, root: &Path, mutation: Option<Mutation>, is_traced: bool) -> Outcome {
    std::thread::scope(|scope| {
        let runner = scope.spawn(|| run_here(plan, root, mutation, is_traced));
        runner.join().unwrap_or_else(|_| Outcome {
            violation: Some(Violation {
                promise: "CM-1",
                what: "a panic outside of any tick".to_owned(),
            }),
            calls: 0,
            steps: 0,
            simulated: Duration::ZERO,
            trace: Vec::new(),
        })
    })
}

fn run_here(plan: &Plan, root: &Path, mutation: Option<Mutation>, is_traced: bool) -> Outcome {
    let mut world = World::new(plan, root, mutation, is_traced);
    let began = world.now();
    for step in &plan.steps {
        world.gate.tell(0, || format!("── {step:?}"));
        take(&mut world, *step);
        if world.violation().is_some() {
            break;
        }
    }
    if world.violation().is_none() {
        heal(&mut world);
    }
    if world.violation().is_none() {
        look_at_everything(&mut world);
    }
    Outcome {
        violation: world.violation(),
        calls: world.oracle.made(),
        steps: world.gate.steps(),
        simulated: Duration::from_nanos(world.now() - began),
        trace: world.gate.trace(),
    }
}

/// Takes a step; one that finds nobody to do it is none.
fn take(world: &mut World, step: Step) {
    let until = |world: &World, ms: u64| world.now() + nanos(Duration::from_millis(ms));
    match step {
        Step::Pass { ms } => world.pass(Duration::from_millis(ms)),
        Step::Start { store, ships } => world.start(store, ships),
        Step::Agent { store } => world.start_agent(store),
        Step::Calls {
            process,
            count,
            kind,
        } => {
            if let Some(id) = world.process(process) {
                world.call(id, count, kind);
            }
        }
        Step::Open { process, count } => {
            if let Some(id) = world.process(process) {
                world.open(id, count);
            }
        }
        Step::Close {
            process,
            count,
            drops,
        } => {
            if let Some(id) = world.process(process) {
                world.close(id, count, drops);
            }
        }
        Step::Flush { process } => {
            if let Some(id) = world.process(process) {
                flush(world, id);
            }
        }
        Step::End { process } => {
            if let Some(id) = world.process(process) {
                world.end(id);
            }
        }
        Step::Kill { actor, at } => match (world.actor(actor), at) {
            (Some(id), Some((steps, after))) => world.gate.arm(id, steps, after),
            (Some(id), None) => world.kill(id),
            (None, _) => {}
        },
        Step::Stall { actor, ms } => {
            if let Some(id) = world.actor(actor) {
                world.stall(id, Duration::from_millis(ms));
            }
        }
        Step::PowerLoss { percent } => world.lose_power(percent),
        Step::Disk { fault, percent, ms } => {
            let until = until(world, ms);
            world.gate.break_disk(fault, percent, until);
        }
        Step::Sink {
            store,
            fault,
            batches,
        } => {
            if let Some(store) = world.stores.get(store) {
                store.fail_next(fault, batches);
            }
        }
        Step::Down { store, ms } => {
            let until = until(world, ms);
            if let Some(store) = world.stores.get(store) {
                store.down_until(until);
            }
        }
        Step::Redeliver { store } => {
            if let Some(store) = world.stores.get(store) {
                store.redeliver();
            }
        }
        Step::Jump { seconds } => world.clock.jump(seconds),
        Step::Damage { spool } => world.damage(spool),
        Step::Unlink { process } => {
            if let Some(id) = world.process(process) {
                world.unlink(id);
            }
        }
    }
}

/// A flush ends soon while the disk is well, and then what was finished before is safe.
fn flush(world: &mut World, id: u32) {
    let asked = world.now();
    if let Some(process) = world.driven(id) {
        process.ask_for_flush();
    }
    for _ in 0..40 {
        world.pass(Duration::from_millis(50));
        let Some(process) = world.driven(id) else {
            return;
        };
        if process.is_spooled() {
            let memory = world.gate.memory_of(id);
            let is_on_disk = memory.iter().all(callmeter::seams::MemorySpool::is_empty);
            if is_on_disk && world.oracle.steady_since() <= asked {
                world.oracle.flushed(id);
            }
            return;
        }
    }
    if world.oracle.steady_since() < asked {
        world
            .oracle
            .broken("CM-4", "a flush did not end within 2 s".to_owned());
    }
}

/// Nothing fails any more: every call in flight ends, and everything must arrive.
fn heal(world: &mut World) {
    world.gate.tell(0, || "── everything heals".to_owned());
    world.gate.mend();
    world.stores.iter().for_each(crate::store::Store::mend);
    for id in world.all() {
        world.close(id, u64::MAX, false);
    }
    for store in 0..world.stores.len() {
        if !world.has_shipper(store) {
            if world.all().len() >= 6
                && let Some(id) = world.actor(0)
            {
                world.kill(id);
            }
            world.start_agent(store);
        }
    }
    // The last stalls end as well.
    let rows = world.pending();
    let rate = world.config.replay_rows_per_second.max(1);
    let limit = HEALED_WITHIN + Duration::from_secs(rows.div_ceil(rate) * 2);
    if !passes_until(world, limit, |world| world.pending() == 0) {
        let pending = world.pending();
        world.oracle.broken(
            "CM-10",
            format!(
                "all has been well for {} s, and {pending} calls have not arrived",
                limit.as_secs()
            ),
        );
        return;
    }
    for id in world.all() {
        world.end(id);
    }
    for store in 0..world.stores.len() {
        world.start_agent(store);
    }
    if !passes_until(world, RETIRED_WITHIN, |world| world.pending() == 0) {
        let pending = world.pending();
        world.oracle.broken(
            "CM-5",
            format!("all processes have ended, and {pending} calls are not stored"),
        );
    }
}

/// Lets time pass until something is so; says whether it was within a limit.
fn passes_until(world: &mut World, limit: Duration, is_so: impl Fn(&mut World) -> bool) -> bool {
    let mut waited = Duration::ZERO;
    while waited < limit {
        if is_so(world) || world.violation().is_some() {
            return true;
        }
        let slice = if waited < Duration::from_secs(4) {
            Duration::from_millis(500)
        } else {
            Duration::from_secs(5)
        };
        world.pass(slice);
        waited += slice;
    }
    is_so(world)
}

/// Every call is where it must be, and the home's equation says the same.
fn look_at_everything(world: &mut World) {
    let places = world.places();
    let empty = std::collections::BTreeSet::new();
    let (mut missing, mut first_missing, mut stored) = (0_u64, None, 0_u64);
    for (id, call) in world.oracle.owed() {
        let here = places.get(&id).unwrap_or(&empty);
        let times: u32 = world.stores.iter().map(|store| store.inserted(id)).sum();
        let is_rejected = here.contains(&Where::Rejected) || world.oracle.is_rejected_in_memory(id);
        let has_expired = world.stores.iter().any(|store| store.has_expired(id));
        stored += u64::from(times > 0);
        if let Some(what) = wrong(&call, times, is_rejected, has_expired) {
            world.oracle.broken("CM-5", what);
        }
        let is_somewhere = times > 0 || is_rejected || has_expired || here.contains(&Where::Aside);
        let is_owed = matches!(call.owed, Owed::Row | Owed::AbortedRow);
        if !is_somewhere && is_owed {
            missing += 1;
            first_missing.get_or_insert(call.number);
        }
    }
    // A loss of power may cost counters as well.
    let refused = if world.is_exact {
        world.oracle.refused()
    } else {
        0
    };
    let figures = world.home.standing();
    let memory = world.gone_with_memory;
    let dropped = figures.dropped_total() + world.home.dropped_aside();
    if missing + refused > dropped {
        let first = first_missing.unwrap_or_default();
        world.oracle.broken(
            "CM-4",
            format!(
                "{missing} calls are nowhere, call {first} the first, {refused} found no slot; the home \
                 has counted {dropped} as dropped"
            ),
        );
    }
    look_at_figures(world, &figures, &memory, (missing + refused, stored));
}

/// The home's equation (promise CM-3) against what the oracle knows.
fn look_at_figures(
    world: &World,
    figures: &Conservation,
    memory: &Conservation,
    (lost, stored): (u64, u64),
) {
    let owed = world.oracle.accountable();
    let counted = figures.finished + memory.finished;
    let acknowledged = figures.acknowledged + memory.acknowledged;
    let may_drop_stored = world.config.drops_oldest && figures.dropped_total() > 0;
    // Of rows that were given up a store may have taken some, with its answer lost.
    let unsure = world.given_up;
    let must_be_stored = world.is_exact && !may_drop_stored && memory.spooled + unsure == 0;
    let wrong = if !figures.holds() {
        Some("does not hold".to_owned())
    } else if counted > owed || world.is_exact && counted != owed {
        Some(format!("begins with {counted}, and there were {owed}"))
    } else if acknowledged > stored || must_be_stored && acknowledged != stored {
        Some(format!(
            "has {acknowledged} acknowledged, and {stored} are stored"
        ))
    } else if world.is_exact
        && !may_drop_stored
        && !(lost..=lost + unsure).contains(&figures.dropped_total())
    {
        let dropped = figures.dropped_total();
        Some(format!("has {dropped} dropped, and {lost} are gone"))
    } else {
        None
    };
    if let Some(wrong) = wrong {
        world
            .oracle
            .broken("CM-3", format!("the home's equation {wrong}: {figures:?}"));
    }
}

/// What is wrong with where a call is.
fn wrong(call: &Obligation, times: u32, is_rejected: bool, has_expired: bool) -> Option<String> {
    let number = call.number;
    let what = match call.kind {
        _ if times > 1 => "is stored more than once",
        Kind::Usual if is_rejected => "was set aside, and nothing is wrong with it",
        Kind::Usual if has_expired => "was refused as old, and it is not",
        Kind::Poison if times > 0 => "is poison, and stored",
        Kind::Old if times > 0 => "is beyond the horizon, and stored",
        _ if call.owed == Owed::Nothing => "never ended",
        _ => return None,
    };
    Some(format!("call {number} {what}"))
}
