//! One machine: its processes and agents, its disk, its stores, and the one thread that gives them time.
//!
//! Time passes only in [`World::pass`]: whoever is due first gets its tick, the clock stands where it is
//! due. Between two ticks everything is at rest, and promise CM-3 is looked at.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use callmeter::CallGuard;
use callmeter::seams::{DrivenProcess, DrivenShipper, ShipperParts, SpoolOutlet};
use callmeter::settings::{Settings, SpoolSync, WhenFull};
use callmeter_core::{CallId, Clock, Conservation, HashKey};
use callmeter_flight::Options;

use crate::clock::{SimClock, nanos};
use crate::disk::{FileHome, Home, ModelHome, Where, forget_home};
use crate::gate::{Gate, GatedDisk, Killed};
use crate::oracle::{Oracle, Owed, Violation};
use crate::plan::{Config, Kind, Mutation, Plan};
use crate::store::{OLD, POISON, Store};

const MOST_ACTORS: usize = 6;
/// No tick takes less.
const SHORTEST_NS: u64 = 100_000;
/// When more time passes at once, whoever is idle looks less often.
const COARSE_FROM: Duration = Duration::from_secs(5);
const COARSE: u32 = 10;
const COARSE_UP_TO: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_millis(50);

enum Body {
    Process(Box<DrivenProcess>),
    Agent(Box<DrivenShipper>),
}

struct Actor {
    id: u32,
    store: usize,
    body: Body,
    ships: bool,
    worker_due: u64,
    shipper_due: u64,
    stalled_until: u64,
    guards: VecDeque<(CallGuard, CallId)>,
    was_unlinked: bool,
}

/// The machine.
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) gate: Gate,
    pub(crate) oracle: Oracle,
    pub(crate) stores: Vec<Store>,
    pub(crate) home: Home,
    fallback_home: PathBuf,
    mutation: Option<Mutation>,
    actors: Vec<Actor>,
    next_id: u32,
    /// What was in the memory of processes that are no more.
    pub(crate) gone_with_memory: Conservation,
    /// Rows in memory that were counted as dropped when their processes ended in order.
    pub(crate) given_up: u64,
    /// Whether the equation must meet the oracle's count to the call.
    pub(crate) is_exact: bool,
    pub(crate) has_damage: bool,
}

impl World {
    /// The machine of a plan; `root` is an empty directory.
    pub(crate) fn new(
        plan: &Plan,
        root: &Path,
        mutation: Option<Mutation>,
        is_traced: bool,
    ) -> Self {
        let config = plan.config.clone();
        let clock = Arc::new(SimClock::after(config.uptime));
        let oracle = Oracle::new(config.max_bytes);
        oracle.unsettle(clock.monotonic_ns());
        let gate = Gate::new(
            Arc::clone(&clock),
            oracle.clone(),
            plan.seed,
            mutation,
            is_traced,
        );
        let store = |number| Store::new(number, Arc::clone(&clock), oracle.clone(), mutation);
        Self {
            stores: (0..config.stores).map(store).collect(),
            home: if config.real_files {
                Home::Files(FileHome::new(root))
            } else {
                Home::Model(ModelHome::new(config.first_seq))
            },
            fallback_home: root.join("home"),
            config,
            clock,
            gate,
            oracle,
            mutation,
            actors: Vec::new(),
            next_id: 0,
            gone_with_memory: Conservation::default(),
            given_up: 0,
            is_exact: true,
            has_damage: false,
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.monotonic_ns()
    }

    // Who is there.

    fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        settings.spool.max_bytes = self.config.max_bytes;
        settings.spool.when_full = if self.config.drops_oldest {
            WhenFull::DropOldest
        } else {
            WhenFull::DropNewest
        };
        settings.spool.sync = if self.config.syncs {
            SpoolSync::Power
        } else {
            SpoolSync::Process
        };
        settings.shipper.batch_rows = self.config.batch_rows;
        settings.shipper.replay_rows_per_second = self.config.replay_rows_per_second;
        settings.privacy.hash_key = Some(HashKey::new(b"simulation"));
        settings
    }

    /// Starts a process; without a shipper it leaves its spool to others.
    pub(crate) fn start(&mut self, store: usize, ships: bool) {
        let Some((id, disk)) = self.next_actor() else {
            return;
        };
        let mut options = Options::default();
        options.slots = self.config.slots;
        options.names_bytes = 4_096;
        let sinks = self.stores.get(store).cloned();
        let name = sinks.as_ref().map(Store::name).unwrap_or_default();
        let gate = self.gate.clone();
        let builder = callmeter::builder()
            .settings(self.settings())
            .home(self.home.path(&self.fallback_home))
            .clock(Arc::clone(&self.clock) as Arc<dyn Clock>)
            .disk(Arc::new(disk))
            .flight(options)
            .sink(name, move || match &sinks {
                Some(store) => store.sink(id, &gate),
                None => Err(callmeter_core::SinkError::new(
                    callmeter_core::SinkErrorKind::Fatal,
                    "no such store",
                )),
            });
        match DrivenProcess::new(
            builder,
            Arc::clone(&self.clock) as Arc<dyn Clock>,
            id.into(),
        ) {
            Ok(process) => self.add(id, store, ships, Body::Process(Box::new(process))),
            Err(error) => self.oracle.broken("CM-1", format!("no process: {error}")),
        }
        self.tell_flights();
    }

    /// Starts an agent.
    pub(crate) fn start_agent(&mut self, store: usize) {
        let (Some((id, disk)), Some(sinks)) = (self.next_actor(), self.stores.get(store).cloned())
        else {
            return;
        };
        let (gate, name) = (self.gate.clone(), sinks.name());
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let mut parts = ShipperParts::new(Arc::new(disk), move || sinks.sink(id, &gate), clock);
        parts.store = name;
        parts.seed = id.into();
        let shipper = DrivenShipper::new(parts, self.config.batch_rows);
        self.add(id, store, true, Body::Agent(Box::new(shipper)));
    }

    fn next_actor(&mut self) -> Option<(u32, GatedDisk)> {
        if self.actors.len() >= MOST_ACTORS {
            return None;
        }
        self.next_id += 1;
        let id = self.next_id;
        let disk = GatedDisk {
            gate: self.gate.clone(),
            process: id,
            disk: self.home.disk(id),
        };
        Some((id, disk))
    }

    fn add(&mut self, id: u32, store: usize, ships: bool, body: Body) {
        let now = self.now();
        self.oracle.disturb(now);
        self.gate.tell(id, || "starts".to_owned());
        self.actors.push(Actor {
            id,
            store,
            body,
            ships,
            worker_due: now,
            shipper_due: now,
            stalled_until: 0,
            guards: VecDeque::new(),
            was_unlinked: false,
        });
    }

    /// Whether an agent or a shipping process for that store is there.
    pub(crate) fn has_shipper(&self, store: usize) -> bool {
        self.actors
            .iter()
            .any(|actor| actor.store == store && actor.ships)
    }

    /// The number of the nth process, counted round and round.
    pub(crate) fn process(&self, nth: usize) -> Option<u32> {
        let processes = self.actors.iter().filter(|actor| actor.is_process());
        let ids: Vec<u32> = processes.map(|actor| actor.id).collect();
        ids.get(nth % ids.len().max(1)).copied()
    }

    /// The number of the nth process or agent.
    pub(crate) fn actor(&self, nth: usize) -> Option<u32> {
        let at = nth % self.actors.len().max(1);
        self.actors.get(at).map(|actor| actor.id)
    }

    pub(crate) fn all(&self) -> Vec<u32> {
        self.actors.iter().map(|actor| actor.id).collect()
    }

    fn find(&mut self, id: u32) -> Option<&mut Actor> {
        self.actors.iter_mut().find(|actor| actor.id == id)
    }

    // What the hosts do.

    /// Opens a call; says whether it found a slot.
    fn open_one(&mut self, id: u32, kind: Kind) -> Option<(CallGuard, CallId)> {
        let number = self.oracle.next_number();
        let oracle = self.oracle.clone();
        let actor = self.find(id)?;
        let Body::Process(process) = &actor.body else {
            return None;
        };
        let caller = match kind {
            Kind::Usual => "sales_copy",
            Kind::Poison => POISON,
            Kind::Old => OLD,
        };
        let mut guard = process.call(caller, "openai", "gpt-5-mini");
        guard.tokens(number, 1_u64);
        let call = guard.id();
        oracle.opened(call, id, actor.store, kind, number);
        Some((guard, call?))
    }

    /// Calls begin and end.
    pub(crate) fn call(&mut self, id: u32, count: u64, kind: Kind) {
        for _ in 0..count {
            if let Some((guard, call)) = self.open_one(id, kind) {
                guard.finish();
                self.oracle.finished(call, self.now());
            }
        }
    }

    /// Calls begin.
    pub(crate) fn open(&mut self, id: u32, count: u64) {
        for _ in 0..count {
            if let Some(open) = self.open_one(id, Kind::Usual)
                && let Some(actor) = self.find(id)
            {
                actor.guards.push_back(open);
            }
        }
    }

    /// The oldest calls in flight end.
    pub(crate) fn close(&mut self, id: u32, count: u64, drops: bool) {
        for _ in 0..count {
            let open = self.find(id).and_then(|actor| actor.guards.pop_front());
            let Some((guard, call)) = open else {
                return;
            };
            if drops {
                drop(guard);
            } else {
                guard.finish();
            }
            self.oracle.finished(call, self.now());
        }
    }

    pub(crate) fn driven(&mut self, id: u32) -> Option<&mut DrivenProcess> {
        match &mut self.find(id)?.body {
            Body::Process(process) => Some(process),
            Body::Agent(_) => None,
        }
    }

    /// It gets no time.
    pub(crate) fn stall(&mut self, id: u32, time: Duration) {
        let until = self.now() + nanos(time);
        if let Some(actor) = self.find(id) {
            actor.stalled_until = until;
        }
        self.oracle.unsettle(until);
    }

    /// Somebody removes a process's flight file.
    pub(crate) fn unlink(&mut self, id: u32) {
        self.is_exact = false;
        if let Some(actor) = self.find(id)
            && let Body::Process(process) = &actor.body
        {
            actor.was_unlinked = true;
            if let Some(path) = process.flights().first() {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    // Time.

    /// Lets time pass; everybody does what is due.
    pub(crate) fn pass(&mut self, time: Duration) {
        let is_coarse = time > COARSE_FROM;
        let end = self.now() + nanos(time);
        loop {
            let due = self.actors.iter().flat_map(Actor::due).min();
            let Some((due, id, is_worker)) = due.filter(|(due, ..)| *due <= end) else {
                break;
            };
            self.clock.pass_to(due);
            self.tick(id, is_worker, is_coarse);
            if self.oracle.violation().is_some() {
                return;
            }
        }
        self.clock.pass_to(end);
        if is_coarse {
            self.oracle.unsettle(self.now());
        }
        self.look_at_fresh();
    }

    fn tick(&mut self, id: u32, is_worker: bool, is_coarse: bool) {
        let oracle = self.oracle.clone();
        let Some(actor) = self.actors.iter_mut().find(|actor| actor.id == id) else {
            return;
        };
        if !is_worker {
            oracle.tick_begins(id, actor.is_degraded());
        }
        self.gate.tick_begins(is_worker);
        let body = &mut actor.body;
        let ticked = catch_unwind(AssertUnwindSafe(|| match body {
            Body::Process(process) if is_worker => process.tick_worker(),
            Body::Process(process) => process.tick_shipper(),
            Body::Agent(shipper) => shipper.tick(),
        }));
        let now = self.clock.monotonic_ns();
        match ticked {
            Ok(pause) => {
                let pause = if is_coarse && (IDLE..=COARSE_UP_TO).contains(&pause) {
                    pause * COARSE
                } else {
                    pause
                };
                let due = now.saturating_add(nanos(pause).max(SHORTEST_NS));
                if is_worker {
                    actor.worker_due = due;
                } else {
                    actor.shipper_due = due;
                    oracle.tick_ended(id, actor.is_degraded(), now);
                }
                if actor.was_unlinked {
                    self.tell_flights();
                }
                if is_worker {
                    self.look_at_equation(id);
                }
            }
            Err(reason) if reason.is::<Killed>() => self.kill(id),
            Err(reason) => {
                let text = reason.downcast_ref::<String>().cloned();
                let text =
                    text.or_else(|| reason.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                let text = text.unwrap_or_else(|| "no text".to_owned());
                oracle.broken("CM-1", format!("a panic: {text}"));
            }
        }
        for spool in self.gate.take_synced() {
            self.home.synced(&spool);
        }
        for store in 0..self.stores.len() {
            let mut actors = self.actors.iter();
            if !actors.any(|actor| actor.store == store && actor.is_at_work()) {
                self.oracle.disturb(now);
            }
        }
    }

    fn look_at_fresh(&self) {
        let mut at_work = self.actors.iter().filter(|actor| actor.is_at_work());
        if at_work.any(|actor| self.oracle.is_failing(actor.id)) {
            self.oracle.disturb(self.now());
        }
        let stores = &self.stores;
        self.oracle.look_at_fresh(self.now(), |call| {
            stores.iter().any(|store| store.has(call))
        });
    }

    /// Promise CM-3 of one process, at rest.
    fn look_at_equation(&mut self, id: u32) {
        if self.has_damage {
            return;
        }
        let spool = match self.gate.own_spool(id) {
            Some(name) => self.home.standing_of(&name),
            None => Some(Conservation::default()),
        };
        let Some(spool) = spool else {
            return;
        };
        let Some(process) = self.driven(id) else {
            return;
        };
        let (figures, moving) = process.figures(spool);
        let finished = self.oracle.finished_of(id);
        if !figures.holds() || moving > 0 || figures.finished != finished {
            self.oracle.broken(
                "CM-3",
                format!(
                    "process {id} has finished {finished} calls and accounts for them so, {moving} moving: \
                     {figures:?}"
                ),
            );
        }
    }

    fn tell_flights(&self) {
        for actor in &self.actors {
            if let Body::Process(process) = &actor.body {
                for path in process.flights() {
                    let name = path.file_stem().unwrap_or_default().to_string_lossy();
                    self.home.flight_lives(&name, actor.id);
                }
            }
        }
    }

    // How processes end.

    /// Kills a process or an agent.
    pub(crate) fn kill(&mut self, id: u32) {
        self.end_of(id, true);
    }

    fn end_of(&mut self, id: u32, has_flights: bool) {
        let Some(at) = self.actors.iter().position(|actor| actor.id == id) else {
            return;
        };
        let actor = self.actors.remove(at);
        let now = self.now();
        self.gate.tell(id, || "is dead".to_owned());
        self.oracle.unsettle(now);
        let left = match actor.body {
            Body::Process(process) => process.kill(),
            Body::Agent(_) => Vec::new(),
        };
        let left = if self.mutation == Some(Mutation::LostFlight) {
            Vec::new()
        } else {
            left
        };
        self.home.died(id, &left);
        self.oracle
            .died(id, now, has_flights && !actor.was_unlinked);
        self.lose_memory(id);
        if actor.was_unlinked {
            let here = self.located();
            let lost = self
                .oracle
                .owed()
                .into_iter()
                .filter(|(call, owed)| owed.process == id && !here.contains(call));
            let lost: Vec<CallId> = lost.map(|(call, _)| call).collect();
            self.oracle
                .excuse(lost, "its flight file was removed by somebody");
        }
        // Its guards find no buffer any more.
        drop(actor.guards);
    }

    fn lose_memory(&mut self, id: u32) {
        for mut spool in self.gate.forget(id) {
            let mut figures = spool.figures();
            let rows = spool
                .ready_rows(0, i64::MAX, usize::MAX)
                .unwrap_or_default();
            let calls = rows.iter().filter_map(|row| row.record.as_ref().ok());
            let calls: BTreeSet<CallId> = calls.map(|record| record.call_id).collect();
            // It died between the commit and the moment that it would have let go of them.
            let mut moved = 0;
            if !calls.is_empty() {
                self.home
                    .visit(|call, _| moved += u64::from(calls.contains(&call)));
            }
            figures.finished = figures.finished.saturating_sub(moved);
            figures.spooled = figures.spooled.saturating_sub(moved);
            self.gone_with_memory = self.gone_with_memory.plus(&figures);
            let count = figures.spooled + spool.given_up();
            self.given_up += spool.given_up();
            if count > 0 && !self.oracle.has_disk_failed() && !self.has_damage {
                self.oracle.broken(
                    "CM-4",
                    format!("{count} calls were in memory alone, and the disk never failed"),
                );
            }
            if figures.spooled > 0 {
                self.oracle
                    .excuse(calls, "the disk took nothing, and its process died");
            }
        }
    }

    /// A process ends in order.
    pub(crate) fn end(&mut self, id: u32) {
        let Some(process) = self.driven(id) else {
            return;
        };
        process.ask_to_end();
        for _ in 0..200 {
            match self.driven(id) {
                Some(process) if !process.has_ended() => self.pass(Duration::from_millis(10)),
                _ => break,
            }
        }
        self.end_of(id, true);
    }

    /// Power is lost.
    pub(crate) fn lose_power(&mut self, percent: u64) {
        self.is_exact = false;
        let now = self.now();
        self.gate
            .tell(0, || format!("power is lost, {percent} % of the logs stay"));
        self.home.before_power_loss(percent);
        for id in self.all() {
            self.end_of(id, false);
        }
        let before = self.located();
        self.home.lose_power(percent);
        let after = self.located();
        let lost: Vec<CallId> = before.difference(&after).copied().collect();
        // What was nowhere was dropped before; its counters may be lost now.
        let nowhere = self.oracle.owed().into_iter().filter(|(call, owed)| {
            !before.contains(call) && matches!(owed.owed, Owed::Row | Owed::AbortedRow)
        });
        let nowhere: Vec<CallId> = nowhere.map(|(call, _)| call).collect();
        if !nowhere.is_empty() && !self.oracle.has_disk_failed() && self.config.max_bytes == 1 << 30
        {
            let count = nowhere.len();
            self.oracle.broken(
                "CM-4",
                format!("before the loss of power {count} calls were nowhere"),
            );
        }
        self.oracle.excuse(nowhere, "dropped before power was lost");
        self.oracle.lost_to_power(&lost, now, self.config.syncs);
        self.oracle.unsettle(now);
    }

    /// Damages a spool.
    pub(crate) fn damage(&mut self, nth: usize) {
        if self.home.damage(nth) {
            self.has_damage = true;
            self.is_exact = false;
            self.oracle.unsettle(self.now());
        }
    }

    /// Every call that is on the disk or in a store.
    pub(crate) fn located(&self) -> BTreeSet<CallId> {
        let mut located = BTreeSet::new();
        self.home.visit(|call, _| {
            located.insert(call);
        });
        for (call, _) in self.oracle.owed() {
            let is_stored = self.stores.iter().any(|store| store.has(call));
            if is_stored || self.oracle.is_rejected_in_memory(call) {
                located.insert(call);
            }
        }
        located
    }

    /// Where each call is on the disk.
    pub(crate) fn places(&self) -> BTreeMap<CallId, BTreeSet<Where>> {
        let mut places: BTreeMap<CallId, BTreeSet<Where>> = BTreeMap::new();
        self.home.visit(|call, place| {
            places.entry(call).or_default().insert(place);
        });
        places
    }

    /// How much is on its way: rows in spools and memory, calls in flight buffers, dead flight files.
    pub(crate) fn pending(&mut self) -> u64 {
        let mut pending = u64::from(self.home.has_dead_flights());
        pending += self.home.standing().spooled;
        for id in self.all() {
            let memory = self.gate.memory_of(id);
            pending += memory
                .iter()
                .map(|spool| spool.figures().spooled)
                .sum::<u64>();
            if let Some(process) = self.driven(id) {
                pending += process.figures(Conservation::default()).0.buffered;
            }
        }
        pending
    }

    /// The first broken promise.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.oracle.violation()
    }
}

impl Actor {
    fn is_process(&self) -> bool {
        matches!(self.body, Body::Process(_))
    }

    fn is_at_work(&self) -> bool {
        match &self.body {
            Body::Process(process) => process.is_at_work(),
            Body::Agent(shipper) => shipper.is_at_work(),
        }
    }

    fn is_degraded(&self) -> bool {
        match &self.body {
            Body::Process(process) => process.is_degraded(),
            Body::Agent(shipper) => shipper.is_degraded(),
        }
    }

    /// When its worker and its shipper are due.
    fn due(&self) -> Vec<(u64, u32, bool)> {
        let at = |due: u64| due.max(self.stalled_until);
        let mut due = Vec::with_capacity(2);
        if self.is_process() {
            due.push((at(self.worker_due), self.id, true));
        }
        if self.ships {
            due.push((at(self.shipper_due), self.id, false));
        }
        due
    }
}

impl Drop for World {
    /// Flight files are real: none stays.
    fn drop(&mut self) {
        for actor in self.actors.drain(..) {
            if let Body::Process(process) = actor.body {
                drop(process.kill());
            }
        }
        forget_home(&self.fallback_home);
    }
}
