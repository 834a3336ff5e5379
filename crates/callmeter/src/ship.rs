//! Shipping without recording: what `callmeter ship` runs, beside processes that only fill their spools or
//! are no more.
//!
//! Owns a shipper of its own for one home and store. It adopts what dead processes left, ships the spools of
//! living and dead ones, and stands by while another process is the home's elected shipper.

use std::sync::Arc;
use std::time::Duration;

use callmeter_core::{Clock, SystemClock};

use crate::backoff::Backoff;
use crate::budget::BudgetWatch;
use crate::control::Control;
use crate::home::Home;
use crate::settings::Settings;
use crate::shipper::{BatchLimits, Parts, Shipper};
use crate::spool::HomeDisk;

/// The longest time that passes without looking whether to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Who ships for a home without recording.
#[derive(Debug)]
pub struct Agent {
    shipper: Shipper,
    control: Arc<Control>,
    timer: SystemClock,
}

/// What a drain came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "a drain may run out of time; look at `left`"]
pub struct Drained {
    /// Calls that the store has answered for since the agent began.
    pub shipped: u64,
    /// Calls that no store took, kept in `rejected`.
    pub rejected: u64,
    /// Calls that still wait in the spools of this store.
    pub left: u64,
    /// Why, if that is known.
    pub error: Option<String>,
}

impl Agent {
    /// An agent for the home and the store of these settings.
    pub fn new(settings: &Settings, home: &Home) -> Self {
        let home = &home.clone().settled();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let parts = Parts {
            disk: Arc::new(HomeDisk::new(home.clone())),
            home: home.path().to_string_lossy().into_owned(),
            store: settings.store_url(home).to_string(),
            make_sink: crate::sinks::of_settings(settings, home, Arc::clone(&clock)),
            clock,
            timer: Arc::new(SystemClock),
            backoff: Backoff::default(),
        };
        let limits = BatchLimits {
            rows: settings.shipper.batch_rows,
            age: settings.shipper.batch_age,
            replay_rows_per_second: settings.shipper.replay_rows_per_second,
        };
        let control = Arc::new(Control::default());
        Self {
            shipper: Shipper::new(parts, limits, Arc::clone(&control))
                .watching(BudgetWatch::of_settings(settings, home)),
            control,
            timer: SystemClock,
        }
    }

    /// Ships until `stop` says so.
    pub fn run(&mut self, mut stop: impl FnMut() -> bool) {
        while !stop() {
            let pause = self.shipper.tick();
            self.wait(pause);
        }
    }

    /// Ships all that waits, as fast as the store takes it, for at most `limit` or until `stop` says so.
    /// Where another process is the elected shipper it is given that time.
    pub fn drain(&mut self, limit: Duration, mut stop: impl FnMut() -> bool) -> Drained {
        let began = self.timer.monotonic_ns();
        self.ship_all(|now, _| passed(began, now) >= limit || stop())
    }

    /// Ships all that waits, as fast as the store takes it, and lets the store do its housekeeping. Gives
    /// up when for as long as `patience` nothing was shipped, or when `stop` says so.
    pub fn once(&mut self, patience: Duration, mut stop: impl FnMut() -> bool) -> Drained {
        let mut last = (u64::MAX, 0);
        let drained = self.ship_all(|now, left| {
            if left < last.0 || last.1 == 0 {
                last = (left, now);
            }
            passed(last.1, now) >= patience || stop()
        });
        while drained.left == 0 && self.shipper.maintain(self.timer.monotonic_ns()) && !stop() {}
        drained
    }

    /// Ships until nothing is left or `is_over`, which is told the moment and how much is left.
    fn ship_all(&mut self, mut is_over: impl FnMut(u64, u64) -> bool) -> Drained {
        self.control.update(|state| state.waiting_flushes = 1);
        let left = loop {
            let pause = self.shipper.tick();
            // What cannot be counted cannot be shipped either.
            let left = self.shipper.left().unwrap_or(u64::MAX);
            if left == 0 || is_over(self.timer.monotonic_ns(), left) {
                break left;
            }
            self.wait(pause);
        };
        self.control.update(|state| state.waiting_flushes = 0);
        let shipped = self.shipper.shipped();
        Drained {
            shipped: shipped.acknowledged,
            rejected: shipped.rejected,
            left,
            error: (left > 0).then(|| self.why()).flatten(),
        }
    }

    /// What is to be said of a drain that was not waited for.
    pub fn given_up(settings: &Settings, home: &Home) -> Drained {
        Drained {
            shipped: 0,
            rejected: 0,
            left: Self::new(settings, home).shipper.left().unwrap_or(u64::MAX),
            error: Some("the store did not answer in time".to_owned()),
        }
    }

    fn why(&self) -> Option<String> {
        let error = self.control.snapshot().last_error;
        let is_other = || "another process ships this home".to_owned();
        error.or_else(|| (!self.shipper.is_at_work()).then(is_other))
    }

    fn wait(&self, pause: Duration) {
        self.control.wait_until(pause.min(LOOK_EVERY), |_| false);
    }
}

fn passed(since_ns: u64, now_ns: u64) -> Duration {
    Duration::from_nanos(now_ns.saturating_sub(since_ns))
}
