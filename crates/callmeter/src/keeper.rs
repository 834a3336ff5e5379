//! What a worker does for its home beside moving calls: obeys the switch, leaves the card, reads how budgets stand.
//!
//! Nothing here is urgent and nothing fails loudly: what cannot be read or written now is tried again.

use std::time::{Duration, Instant};

use callmeter_core::Timestamp;
use callmeter_flight::{Drainer, Switch};

use crate::card;
use crate::logging::log_line;
use crate::recorder::Recorder;
use crate::time::Moment;

/// A process whose buffer is a file is told at once by its header; the others obey within that time.
const SWITCH_EVERY: Duration = Duration::from_millis(250);
const CARD_EVERY: Duration = Duration::from_secs(60);
const BUDGETS_EVERY: Duration = Duration::from_secs(1);

/// The keeper of a home, one in each process that records.
#[derive(Debug)]
pub(crate) struct Keeper {
    switch: Switch,
    /// When the switch was looked at, on the recorder's monotonic clock.
    last_switch_ns: Option<u64>,
    last_card: Option<Instant>,
    last_budgets: Option<Instant>,
}

impl Default for Keeper {
    fn default() -> Self {
        Self {
            switch: Switch::On,
            last_switch_ns: None,
            last_card: None,
            last_budgets: None,
        }
    }
}

impl Keeper {
    /// Does what is due.
    pub(crate) fn look(&mut self, recorder: &Recorder, drainers: &[Drainer], now: Moment) {
        let since = |last: u64| Duration::from_nanos(now.ns.saturating_sub(last));
        if self
            .last_switch_ns
            .is_none_or(|last| since(last) >= SWITCH_EVERY)
        {
            self.obey(recorder, drainers, now.at);
            self.last_switch_ns = Some(now.ns);
        }
        if self.last_card.is_none_or(|at| at.elapsed() >= CARD_EVERY) {
            let plan = &recorder.plan;
            let service = recorder.scope.service.as_deref().unwrap_or_default();
            if matches!(card::leave(&plan.home, service, &plan.store), Ok(true)) {
                card::sweep();
            }
            self.last_card = Some(Instant::now());
        }
        let budgets = &recorder.plan.budgets;
        if !budgets.is_empty()
            && self
                .last_budgets
                .is_none_or(|at| at.elapsed() >= BUDGETS_EVERY)
        {
            budgets.refresh(&recorder.plan.home);
            self.last_budgets = Some(Instant::now());
        }
    }

    /// Lets the recorder and the flags in the flight files say what the home's file says.
    fn obey(&mut self, recorder: &Recorder, drainers: &[Drainer], now: Timestamp) {
        let Ok(switch) = recorder.plan.home.switch(now) else {
            return;
        };
        for buffer in drainers.iter().map(Drainer::buffer) {
            match switch {
                Switch::On if !buffer.is_on() => buffer.switch_on(),
                Switch::Off if buffer.is_on() => buffer.switch_off(None),
                Switch::OffUntil(until) if buffer.is_on() => buffer.switch_off(Some(until)),
                _ => {}
            }
        }
        recorder.set_home_wanted(switch == Switch::On);
        if switch != self.switch {
            self.switch = switch;
            log_line!(info: "recording was switched {} by the home's switch",
                if switch == Switch::On { "on" } else { "off" }
            );
        }
    }
}
