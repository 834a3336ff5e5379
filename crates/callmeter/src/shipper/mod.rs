//! The shipper: takes calls from the spools of a home to their store, and deletes what it answered for.
//!
//! One process a home and store is elected by a lock; the others stand by and take over when it dies. It
//! ships the spools of living and dead processes alike, and adopts what the dead left in their flight
//! files, whether the store answers or not. Fresh rows flow at once, a backlog beside them in a lane of its own ([`backlog`]). A batch that
//! fails is sent again with back-off and jitter ([`health`]); a batch that holds a row no store will take
//! is halved until that row stands alone and is set aside ([`sending`]). The spools themselves are the
//! business of [`spools`]. Rows of a newer record format stay
//! where they are and hold up nobody.
//!
//! [`Shipper::tick`] does what there is to do now and says when to come again; it never waits but for disk
//! and store, and takes every moment from the clock that it was given, so that a simulation can drive it.

mod backlog;
mod health;
mod sending;
mod spools;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use callmeter_core::{Clock, Sink, SinkError};
use callmeter_flight::Busy;

use self::backlog::{Allowance, Lane, Lanes};
use self::health::Health;
use self::sending::SendError;
use self::spools::LOOK_FOR_THE_DEAD_EVERY;
use crate::adoption::{Adopter, OpenSpool};
use crate::backoff::Backoff;
use crate::budget::BudgetWatch;
use crate::control::{Control, LastTrial, Parking, State};
use crate::crew::{Hand, Step};
use crate::spool::{Disk, Hold, StoreHealth};

const POLL: Duration = Duration::from_millis(50);
/// The same when nothing was sent for a while: a look at the spools costs more than the rows that it finds then.
const IDLE_POLL: Duration = Duration::from_millis(500);
const IDLE_AFTER: Duration = Duration::from_secs(2);
const STAND_BY: Duration = Duration::from_millis(500);
const FIRST_MAINTENANCE_AFTER: Duration = Duration::from_secs(60);

/// Opens the sink; tried again with back-off while it fails.
pub(crate) type MakeSink = Box<dyn FnMut() -> Result<Box<dyn Sink>, SinkError> + Send>;

/// How much is sent at a time, and how long it may wait for more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    pub(crate) rows: usize,
    pub(crate) age: Duration,
    /// How many rows of a backlog are sent in a second.
    pub(crate) replay_rows_per_second: u64,
}

/// What a shipper has sent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shipped {
    pub(crate) acknowledged: u64,
    pub(crate) rejected: u64,
}

impl Shipped {
    fn add(&mut self, other: Self) {
        self.acknowledged = self.acknowledged.saturating_add(other.acknowledged);
        self.rejected = self.rejected.saturating_add(other.rejected);
    }
}

/// Who ships for one home and store.
pub(crate) struct Shipper {
    disk: Arc<dyn Disk>,
    store: String,
    make_sink: MakeSink,
    limits: BatchLimits,
    control: Arc<Control>,
    /// When things are said to have happened.
    clock: Arc<dyn Clock>,
    /// How long things take: its monotonic half.
    timer: Arc<dyn Clock>,
    adopter: Adopter,
    office: Option<Hold>,
    sink: Option<Box<dyn Sink>>,
    spools: BTreeMap<String, OpenSpool>,
    lanes: BTreeMap<String, Lanes>,
    /// Spools that are left alone until then: for other stores, of a newer callmeter, or failing.
    foreign: BTreeMap<String, u64>,
    allowance: Allowance,
    health: Health,
    shipped: Shipped,
    /// Whether the store has taken anything from this shipper since it was elected.
    has_answered: bool,
    fresh_since: Option<u64>,
    looked_for_the_dead: Option<u64>,
    gave_back_space: Option<u64>,
    last_sent: u64,
    /// When the store's housekeeping goes on.
    next_maintenance: u64,
    /// Not before this moment of the timer is the next trial.
    not_before: u64,
    /// Who watches the home's budgets while this is its elected shipper.
    watch: Option<BudgetWatch>,
}

impl std::fmt::Debug for Shipper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shipper")
            .field("store", &self.store)
            .field("is_elected", &self.office.is_some())
            .field("spools", &self.spools.len())
            .finish_non_exhaustive()
    }
}

impl Shipper {
    pub(crate) fn new(parts: Parts, limits: BatchLimits, control: Arc<Control>) -> Self {
        let now = parts.timer.monotonic_ns();
        let most = limits.rows as u64;
        Self {
            adopter: Adopter::new(parts.home, parts.store.clone()),
            disk: parts.disk,
            store: parts.store,
            make_sink: parts.make_sink,
            limits,
            control,
            clock: parts.clock,
            timer: parts.timer,
            office: None,
            sink: None,
            spools: BTreeMap::new(),
            lanes: BTreeMap::new(),
            foreign: BTreeMap::new(),
            allowance: Allowance::new(limits.replay_rows_per_second, most, now),
            health: Health::new(parts.backoff),
            shipped: Shipped::default(),
            has_answered: false,
            fresh_since: None,
            looked_for_the_dead: None,
            gave_back_space: None,
            last_sent: now,
            next_maintenance: now.saturating_add(nanos(FIRST_MAINTENANCE_AFTER)),
            not_before: 0,
            watch: None,
        }
    }

    /// The same, which watches the home's budgets as well.
    pub(crate) fn watching(mut self, watch: Option<BudgetWatch>) -> Self {
        self.watch = watch;
        self
    }

    /// Does what there is to do; says how long to wait before the next time.
    pub(crate) fn tick(&mut self) -> Duration {
        let _busy = Busy::begin();
        let is_elected = self.is_elected();
        if !is_elected && self.disk.in_memory().is_empty() {
            return STAND_BY;
        }
        let now = self.timer.monotonic_ns();
        if let Err(error) = self.look_at_spools(is_elected, now) {
            self.tell_error(&error.to_string());
            return STAND_BY;
        }
        if now < self.not_before {
            return self.rest(now);
        }
        match self.ship_what_is_due(now) {
            Ok(Some(pause)) => {
                self.watch_budgets(now);
                pause
            }
            Ok(None) => {
                self.watch_budgets(now);
                self.tidy(now);
                self.poll(now)
            }
            Err(SendError::Sink(error)) => {
                self.store_failed(&error, now);
                self.rest(now)
            }
            Err(SendError::Spool(name, error)) => {
                self.spool_failed(&name, &error);
                POLL
            }
        }
    }

    /// When to look again where nothing was due.
    fn poll(&self, now: u64) -> Duration {
        let is_waiting = [Lane::Fresh, Lane::Backlog]
            .into_iter()
            .any(|lane| self.waiting(lane) > 0);
        if is_waiting || passed(self.last_sent, now) < IDLE_AFTER {
            POLL
        } else {
            IDLE_POLL
        }
    }

    /// Lets the budgets be looked at, unless the store is down.
    fn watch_budgets(&mut self, now: u64) {
        if self.office.is_some()
            && !self.health.is_failing()
            && let Some(watch) = &mut self.watch
        {
            watch.look(self.clock.now(), now, self.shipped.acknowledged);
        }
    }

    /// What was sent so far.
    pub(crate) const fn shipped(&self) -> Shipped {
        self.shipped
    }

    /// Whether this is the home's elected shipper to its store.
    pub(crate) const fn is_at_work(&self) -> bool {
        self.office.is_some()
    }

    /// Sends what is due of both lanes; `None` when nothing is, else when to come again.
    fn ship_what_is_due(&mut self, now: u64) -> Result<Option<Duration>, SendError> {
        if self.health.is_degraded() {
            return self.probe();
        }
        let state = self.control.snapshot();
        let is_urgent = state.waiting_flushes > 0 || state.stop_shipper || state.stop_worker;
        let waiting = self.waiting(Lane::Fresh);
        let mut sent_any = false;
        if waiting == 0 {
            self.fresh_since = None;
        } else {
            let since = *self.fresh_since.get_or_insert(now);
            let is_due = waiting >= self.limits.rows as u64
                || passed(since, now) >= self.limits.age
                || is_urgent;
            if is_due {
                self.ship(Lane::Fresh, self.limits.rows)?;
                self.fresh_since = None;
                sent_any = true;
            }
        }
        let backlog = self.waiting(Lane::Backlog);
        if backlog > 0 {
            let most = self.limits.rows as u64;
            let allowed = if is_urgent {
                most
            } else {
                self.allowance.rows(now)
            };
            // In batches worth their transaction, unless it is the last.
            let wanted = backlog.min(most);
            if allowed >= wanted {
                let sent = self.ship(Lane::Backlog, usize::try_from(wanted).unwrap_or(1))?;
                self.allowance.take(sent);
                sent_any = true;
            }
        }
        Ok(sent_any.then_some(Duration::ZERO))
    }

    /// Half open: one row, the oldest of whichever lane has one, shows whether the store is back.
    fn probe(&mut self) -> Result<Option<Duration>, SendError> {
        for lane in [Lane::Backlog, Lane::Fresh] {
            if self.waiting(lane) > 0 && self.ship(lane, 1)? > 0 {
                return Ok(Some(Duration::ZERO));
            }
        }
        Ok(None)
    }

    /// Sends at most `limit` rows of a lane; says how many there were.
    fn ship(&mut self, lane: Lane, limit: usize) -> Result<u64, SendError> {
        let batch = self.gather(lane, limit)?;
        self.send(lane, &batch)?;
        if batch.len() > 0 {
            self.last_sent = self.timer.monotonic_ns();
            self.store_answered();
        }
        Ok(batch.len() as u64)
    }

    /// About how many rows of a lane wait, in all spools.
    fn waiting(&self, lane: Lane) -> u64 {
        self.lanes
            .values()
            .fold(0, |sum, lanes| sum.saturating_add(lanes.waiting(lane)))
    }

    fn store_answered(&mut self) {
        let was_failing = self.health.succeeded();
        if was_failing || !self.has_answered {
            // A mark may be that of a shipper that is no more.
            self.disk.note_health(&self.store, StoreHealth::Answers);
            self.has_answered = true;
            self.control
                .update(|state| state.last_trial = LastTrial::Answered);
        }
        if !was_failing {
            return;
        }
        for lanes in self.lanes.values_mut() {
            lanes.mark(self.limits.rows);
        }
        self.allowance = Allowance::new(
            self.limits.replay_rows_per_second,
            self.limits.rows as u64,
            self.timer.monotonic_ns(),
        );
        self.control.update(|state| {
            state.is_degraded = false;
            state.last_error = None;
        });
    }

    /// How long to wait while the store is given its time: the dead are looked for meanwhile.
    fn rest(&self, now: u64) -> Duration {
        passed(now, self.not_before).min(LOOK_FOR_THE_DEAD_EVERY)
    }

    fn store_failed(&mut self, error: &SinkError, now: u64) {
        let is_awaited = self.control.snapshot().waiting_flushes > 0;
        let pause = self.health.failed(error, is_awaited);
        if self.health.is_failing() {
            // Whatever failed, a new connection is the next trial's best chance.
            self.sink = None;
            let is_degraded = self.health.is_degraded();
            let health = if is_degraded {
                StoreHealth::Degraded
            } else {
                StoreHealth::Fails
            };
            self.disk.note_health(&self.store, health);
            self.control.update(|state| {
                state.last_trial = LastTrial::Failed;
                state.is_degraded = is_degraded;
            });
            self.tell_error(&error.to_string());
        }
        self.not_before = now.saturating_add(nanos(pause));
    }

    fn tell_error(&self, message: &str) {
        self.control
            .update(|state| state.last_error = Some(message.to_owned()));
    }
}

impl Hand for Shipper {
    const NAME: &'static str = "callmeter-ship";

    fn step(&mut self) -> Step {
        // Before: what is spooled during the tick may have come too late for it.
        let spooled = self.control.read(|state| state.flush_spooled);
        let pause = self.tick();
        let told = |state: &State| (state.stop_shipper, state.shipper_parking);
        let (is_last, parking) = self.control.read(told);
        if is_last {
            return Step::Last;
        }
        if parking == Parking::Asked {
            self.lay_down_office();
            return Step::AtRest;
        }
        self.control.wait_until(pause, |state| {
            state.stop_shipper || state.flush_spooled > spooled || state.shipper_parking != parking
        });
        Step::Again
    }

    fn parking(state: &mut State) -> &mut Parking {
        &mut state.shipper_parking
    }
}

/// What a shipper is made of.
pub(crate) struct Parts {
    pub(crate) disk: Arc<dyn Disk>,
    /// The home's path.
    pub(crate) home: String,
    pub(crate) store: String,
    pub(crate) make_sink: MakeSink,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) timer: Arc<dyn Clock>,
    pub(crate) backoff: Backoff,
}

fn passed(since_ns: u64, now_ns: u64) -> Duration {
    Duration::from_nanos(now_ns.saturating_sub(since_ns))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
