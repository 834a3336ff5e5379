//! What the host's threads, the worker and the shipper tell one another.
//!
//! Owns the one condition variable of a recorder: requests to flush and to stop, and how far worker and
//! shipper have come. No lock is held across I/O.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use callmeter_flight::FlightBuffer;

use crate::figures::Figures;
use crate::spool::MemorySpool;

#[derive(Debug, Default)]
pub(crate) struct Control {
    state: Mutex<State>,
    changed: Condvar,
}

/// Whether a thread rests, for a fork.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Parking {
    #[default]
    No,
    /// It is asked to.
    Asked,
    /// It does: its thread is no more, or will be at once.
    Rests,
}

impl Parking {
    pub(crate) fn ask(&mut self) {
        if *self == Self::No {
            *self = Self::Asked;
        }
    }

    /// Whether the thread, which can rest now, should: then it must.
    pub(crate) fn rest(&mut self) -> bool {
        let is_asked = *self == Self::Asked;
        if is_asked {
            *self = Self::Rests;
        }
        is_asked
    }

    /// Takes the request back, unless the thread rests already; says whether it does.
    pub(crate) fn settle(&mut self) -> bool {
        if *self == Self::Asked {
            *self = Self::No;
        }
        *self == Self::Rests
    }
}

/// How the store did when this process's shipper tried it last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LastTrial {
    /// It did not yet.
    #[default]
    None,
    Answered,
    Failed,
}

/// The shared state; see the fields.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// The number of the last flush asked for.
    pub(crate) flush_asked: u64,
    /// The number of the last flush after which the worker had spooled everything.
    pub(crate) flush_spooled: u64,
    /// How many flushes are waiting for the store's answer.
    pub(crate) waiting_flushes: u32,
    /// The last row of the own spool at that moment.
    pub(crate) spooled_seq: i64,
    /// The own spool, once there is one.
    pub(crate) spool: Option<PathBuf>,
    /// The spool in memory, once the disk took none.
    pub(crate) memory: Option<MemorySpool>,
    /// The figures of flight buffers that are no more, unless the spool has been told of them.
    pub(crate) past: Figures,
    /// The flight buffers of this process that are in use.
    pub(crate) buffers: Vec<Arc<FlightBuffer>>,
    /// The worker should write the last and end.
    pub(crate) stop_worker: bool,
    /// The shipper should end.
    pub(crate) stop_shipper: bool,
    /// Whether the worker rests.
    pub(crate) worker_parking: Parking,
    /// Whether the shipper rests.
    pub(crate) shipper_parking: Parking,
    /// Whether this process ships.
    pub(crate) is_shipping: bool,
    /// How the store did last.
    pub(crate) last_trial: LastTrial,
    /// Whether the store has failed ten times in a row.
    pub(crate) is_degraded: bool,
    /// Records that a store without the right to change rows left out.
    pub(crate) revision_not_applied: u64,
    /// Why the store or the spool last failed, scrubbed.
    pub(crate) last_error: Option<String>,
    /// Counts what the shipper got acknowledged; a waiting flush looks again when it changes.
    pub(crate) acknowledgements: u64,
}

impl Control {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of the state.
    pub(crate) fn snapshot(&self) -> State {
        self.lock().clone()
    }

    /// What `look` takes of the state.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// Whether the store has failed ten times in a row: who ships knows, others go by the home's mark.
    pub(crate) fn is_degraded(&self, is_marked: bool) -> bool {
        let state = self.lock();
        if state.is_shipping {
            state.is_degraded
        } else {
            is_marked
        }
    }

    /// Changes the state and wakes whoever waits.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits until `done` holds or `limit` has passed; says whether it held.
    pub(crate) fn wait_until(&self, limit: Duration, mut done: impl FnMut(&State) -> bool) -> bool {
        let deadline = Instant::now().checked_add(limit);
        let mut state = self.lock();
        loop {
            if done(&state) {
                return true;
            }
            let left = deadline.map_or(limit, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        }
    }
}
