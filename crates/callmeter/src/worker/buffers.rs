//! How the worker looks after the flight buffers: the heartbeat, a file that was unlinked, the end.

use std::sync::Arc;
use std::time::Duration;

use callmeter_core::DropReason;
use callmeter_flight::{Busy, Drainer, FlightBuffer};

use super::{INSPECT_EVERY, Worker, passed};
use crate::figures::{self, Figures};
use crate::logging::log_line;
use crate::settings::LogStyle;
use crate::station::Station;

/// A warning of lost calls is repeated after a time without any.
const EPISODE: Duration = Duration::from_secs(60);

impl Worker {
    /// Says that the process lives, and does what is due about buffers.
    pub(super) fn look_after_buffers(&mut self) {
        self.recorder.time.adjust();
        let moment = self.recorder.time.now();
        for drainer in &self.drainers {
            drainer.buffer().beat(moment.at, moment.ns);
        }
        self.keeper.look(&self.recorder, &self.drainers, moment);
        let now = self.timer.monotonic_ns();
        if passed(self.last_inspection, now) < INSPECT_EVERY {
            return;
        }
        self.last_inspection = now;
        self.account_for_losses();
        let plan = &self.recorder.plan;
        self.is_marked =
            plan.log == LogStyle::AiCallLogger && plan.home.degraded_mark(&plan.store).exists();
        if let Some(current) = self.drainers.first()
            && !current.buffer().is_linked()
        {
            self.replace_buffer();
        }
        self.retire_old_buffers();
    }

    /// Makes another buffer: a file that was unlinked is found by nobody, should the process die.
    fn replace_buffer(&mut self) {
        match Station::make(&self.recorder) {
            Ok((station, drainer, passed_over)) => {
                log_line!(warn: "the flight file was removed by somebody; another was made"
                );
                figures::tell_place(&station.buffer, &passed_over);
                // Before the first call is in it: an adopter finds the spool by the flight file.
                self.spooling.attach(&drainer);
                self.drainers.insert(0, drainer);
                self.tell_buffers();
                self.recorder.set_buffer(station.buffer.id());
            }
            Err(error) => {
                self.control
                    .update(|state| state.last_error = Some(error.to_string()));
            }
        }
    }

    /// Ends the buffers that were replaced, as soon as no call is in them.
    fn retire_old_buffers(&mut self) {
        let mut past = Figures::default();
        let mut at = 1;
        while let Some(drainer) = self.drainers.get_mut(at) {
            if self.spooling.retire(drainer, &mut past) {
                self.drainers.remove(at);
            } else {
                at = at.saturating_add(1);
            }
        }
        if past.finished > 0 {
            self.tell_past(past);
        }
    }

    /// Ends every buffer in which no call is in flight, and tells the spool what they lost. One with a
    /// call in flight, or with losses that no spool was told, stays and is adopted.
    pub(super) fn end(&mut self) {
        let _busy = Busy::begin();
        self.account_for_losses();
        let mut past = Figures::default();
        let spooling = &mut self.spooling;
        spooling.give_up_memory(&self.drainers);
        self.drainers
            .retain_mut(|drainer| !spooling.retire(drainer, &mut past));
        self.tell_past(past);
    }

    fn tell_past(&self, past: Figures) {
        let buffers = self.buffers();
        self.control.update(|state| {
            state.past.add(&past);
            state.buffers = buffers;
        });
    }

    pub(super) fn tell_buffers(&self) {
        self.tell_past(Figures::default());
    }

    fn buffers(&self) -> Vec<Arc<FlightBuffer>> {
        let buffers = self.drainers.iter().map(Drainer::buffer);
        buffers.map(Arc::clone).collect()
    }

    /// Says when calls begin to be dropped because the buffer is full, and notes why: the disk, if it is
    /// that which holds the worker up.
    fn account_for_losses(&mut self) {
        let buffers = self.drainers.iter().map(Drainer::buffer);
        let full = buffers.fold(0_u64, |sum, buffer| sum.saturating_add(buffer.full()));
        let new = full.saturating_sub(self.full_seen);
        self.full_seen = full;
        if new == 0 {
            return;
        }
        let reason = self.spooling.failure().unwrap_or(DropReason::FlightFull);
        if reason != DropReason::FlightFull
            && let Some(current) = self.drainers.first()
        {
            current.buffer().count_dropped(reason, new);
        }
        let now = self.timer.monotonic_ns();
        if self.last_full.is_none_or(|at| passed(at, now) >= EPISODE) {
            log_line!(warn: count = new,
                reason = reason.as_str(),
                "calls were dropped: the flight buffer is full, they come faster than the spool takes them"
            );
        }
        self.last_full = Some(now);
    }
}
