//! The equation of promise CM-3 for one process: its flight buffers and its spool together.
//!
//! ```text
//! finished = in the flight buffer + spooled + acknowledged + rejected + Σ dropped by reason
//! ```
//! Each figure is kept in one place, where a kill does not take it along: calls that found no free slot,
//! torn slots and losses on the way to the spool in the flight file's own counters, all else in the
//! spool. When a flight file ends, its losses move to the spool.

use callmeter_core::{Conservation, DropReason};
use callmeter_flight::{FlightBuffer, FlightError, Standing};

use crate::control::State;
use crate::logging::log_line;

/// What is to be known of flight buffers for the equation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// Calls whose guard has returned, those that found no slot included.
    pub(crate) finished: u64,
    /// Calls that wait for the worker.
    pub(crate) waiting: u64,
    /// Losses by reason, in the order of [`DropReason::ALL`].
    pub(crate) dropped: [u64; DropReason::ALL.len()],
}

impl Figures {
    pub(crate) fn of(standing: &Standing) -> Self {
        let mut dropped = standing.dropped_outside;
        // The worker noted why it could not keep up: of the calls that found no slot, these.
        let for_other_reasons = DropReason::ALL
            .iter()
            .zip(dropped)
            .filter(|(reason, _)| matches!(reason, DropReason::DiskFull | DropReason::MemoryFull))
            .fold(0_u64, |sum, (_, count)| sum.saturating_add(count))
            .saturating_sub(standing.lost_after);
        for (reason, count) in DropReason::ALL.iter().zip(&mut dropped) {
            *count = match reason {
                DropReason::FlightFull => {
                    count.saturating_add(standing.full.saturating_sub(for_other_reasons))
                }
                DropReason::Torn => count.saturating_add(standing.torn),
                _ => *count,
            };
        }
        Self {
            finished: standing.opened.saturating_sub(standing.open),
            waiting: standing.finished,
            dropped,
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.finished = self.finished.saturating_add(other.finished);
        self.waiting = self.waiting.saturating_add(other.waiting);
        for (mine, theirs) in self.dropped.iter_mut().zip(other.dropped) {
            *mine = mine.saturating_add(theirs);
        }
    }

    /// Adds slots that made no sense to whoever read them.
    pub(crate) fn add_torn(&mut self, count: u64) {
        for (reason, torn) in DropReason::ALL.iter().zip(&mut self.dropped) {
            if *reason == DropReason::Torn {
                *torn = torn.saturating_add(count);
            }
        }
    }

    /// The losses that there were.
    pub(crate) fn losses(&self) -> Vec<(DropReason, u64)> {
        let all = DropReason::ALL.iter().copied().zip(self.dropped);
        all.filter(|(_, count)| *count > 0).collect()
    }
}

/// The equation of a process, and how many calls were on their way from one place to the next while it was
/// read. `spool` was read before.
pub(crate) fn of_process(state: &State, spool: Conservation) -> (Conservation, u64) {
    let mut flight = state.past;
    for buffer in &state.buffers {
        flight.add(&Figures::of(&buffer.standing()));
    }
    let mut all = match &state.memory {
        Some(memory) => spool.plus(&memory.figures()),
        None => spool,
    };
    for (reason, count) in flight.losses() {
        all.add_dropped(reason, count);
    }
    // A buffer that is no more has told the spool what it lost.
    all.finished = flight.finished;
    let gone = all.accounted();
    all.buffered = flight.waiting.min(all.finished.saturating_sub(gone));
    let moving = all.finished.saturating_sub(all.accounted());
    (all, moving)
}

/// Says once where calls lie until they are in the spool, if that is not the best place there is.
pub(crate) fn tell_place(buffer: &FlightBuffer, passed_over: &[FlightError]) {
    let is_crash_safe = buffer.place().kind().is_crash_safe();
    if is_crash_safe && passed_over.is_empty() {
        return;
    }
    let reasons: Vec<String> = passed_over.iter().map(ToString::to_string).collect();
    let reasons = reasons.join("; ");
    if is_crash_safe {
        log_line!(warn: "calls that are not in the spool yet lie in a file of the home, where recording may wait for its disk: {reasons}");
    } else {
        log_line!(warn: "calls that are not in the spool yet lie in memory, where a crash of the process loses them: {reasons}");
    }
}
