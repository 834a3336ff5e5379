//! Waiting for the store: how far a flush came, and how long the end of a process waits for one.
//!
//! ```text
//! what is known of the store                                the end of a process waits
//! it answered last, or nothing is known                     as long as it may: `exit_flush`
//! its last trial failed, here or by the home's mark         50 ms
//! a trial fails while the end waits                         50 ms from then on
//! it neither answers nor fails, as an address that          as long as it may, and leaves the mark
//! swallows what is sent to it                               for those that end after
//! ```
//! A flush that the host asks for waits as long as it was told to, whatever the store does. Nothing is lost by an
//! end that does not wait: what is not stored is in the spool. The mark is the business of [`FailingMark`].

use std::time::{Duration, Instant};

use callmeter_flight::Busy;

use crate::control::{Control, LastTrial, State};
use crate::home::FailingMark;
use crate::spool::SpoolReader;

/// How long the end of a process waits for a store that fails. The rest of an end takes some milliseconds more: together
/// they stay below 50.
const WAIT_FOR_A_FAILING_STORE: Duration = Duration::from_millis(40);
/// A wait this long without an answer says something of the store.
const TELLING_WAIT: Duration = Duration::from_secs(1);
/// How often to look whether another process has shipped.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a flush came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a flush may run out of time; look at is_complete()"]
pub struct Flush {
    spooled: bool,
    stored: bool,
}

impl Flush {
    /// There was nothing to flush.
    pub(crate) const NOTHING: Self = Self {
        spooled: true,
        stored: true,
    };

    /// Whether the store has answered for every call that was finished before.
    pub const fn is_complete(self) -> bool {
        self.stored
    }

    /// Whether every call that was finished before is at least in the spool, safe from a crash.
    pub const fn is_spooled(self) -> bool {
        self.spooled
    }

    /// The same, of which is known now that everything is in the spool.
    pub(crate) const fn or_spooled(self, is_spooled: bool) -> Self {
        Self {
            spooled: self.spooled || is_spooled,
            stored: self.stored,
        }
    }

    /// Asks for a flush and waits for it.
    pub(crate) fn within(control: &Control, patience: &mut Patience) -> Self {
        let asked = control.update(|state| {
            state.flush_asked = state.flush_asked.saturating_add(1);
            state.waiting_flushes = state.waiting_flushes.saturating_add(1);
            state.flush_asked
        });
        let left = patience.left(&control.snapshot());
        let spooled = control.wait_until(left, |state| state.flush_spooled >= asked);
        let stored = spooled && wait_for_the_store(control, patience);
        control.update(|state| {
            state.waiting_flushes = state.waiting_flushes.saturating_sub(1);
        });
        // What lies in memory alone is not safe from a crash.
        let is_safe = stored || !has_rows_in_memory(&control.snapshot());
        Self {
            spooled: spooled && is_safe,
            stored,
        }
    }
}

/// Waits until the store has answered for what the own spool holds now; says whether it did.
fn wait_for_the_store(control: &Control, patience: &mut Patience) -> bool {
    let asked_for = control.snapshot();
    loop {
        let seen = control.snapshot();
        if is_stored(&asked_for) {
            return true;
        }
        // Another process may be the one that ships: look at the spool now and then.
        let pause = patience.left(&seen).min(LOOK_EVERY);
        if pause.is_zero() {
            return false;
        }
        control.wait_until(pause, |state| {
            state.acknowledgements > seen.acknowledgements || state.last_trial != seen.last_trial
        });
    }
}

/// How much longer somebody waits.
#[derive(Debug)]
pub(crate) struct Patience {
    began: Instant,
    limit: Duration,
    /// At the end of a process: what else is known of the store.
    mark: Option<FailingMark>,
    is_shortened: bool,
}

impl Patience {
    /// That of a host, who knows why it waits.
    pub(crate) fn of(limit: Duration) -> Self {
        Self {
            began: Instant::now(),
            limit,
            mark: None,
            is_shortened: false,
        }
    }

    /// That of the end of a process.
    pub(crate) fn at_the_end(limit: Duration, mark: FailingMark) -> Self {
        Self {
            mark: Some(mark),
            ..Self::of(limit)
        }
    }

    /// How much is left, now that threads and store stand so.
    fn left(&mut self, state: &State) -> Duration {
        let waited = self.began.elapsed();
        if !self.is_shortened && self.is_known_to_fail(state) {
            self.is_shortened = true;
            let shortened = waited.saturating_add(WAIT_FOR_A_FAILING_STORE);
            self.limit = self.limit.min(shortened);
        }
        self.limit.saturating_sub(waited)
    }

    fn is_known_to_fail(&self, state: &State) -> bool {
        let Some(mark) = &self.mark else {
            return false;
        };
        match state.last_trial {
            LastTrial::Failed => true,
            // Who ships knows best; the mark may be older.
            LastTrial::Answered if state.is_shipping => false,
            LastTrial::Answered | LastTrial::None => mark.is_believed(),
        }
    }

    /// Leaves the home's mark where this waited long in vain: the next ends need not.
    pub(crate) fn tell_of_silence(&self, before: &State, after: &State) {
        let is_silent = after.is_shipping
            && !self.is_shortened
            && after.acknowledgements == before.acknowledgements
            && self.began.elapsed() >= TELLING_WAIT;
        if let Some(mark) = self.mark.as_ref().filter(|_| is_silent) {
            mark.leave();
        }
    }
}

fn has_rows_in_memory(state: &State) -> bool {
    let memory = state.memory.as_ref();
    memory.is_some_and(|memory| !memory.is_empty())
}

fn is_stored(state: &State) -> bool {
    if has_rows_in_memory(state) {
        return false;
    }
    let Some(path) = &state.spool else {
        return true;
    };
    let _busy = Busy::begin();
    match SpoolReader::open(path) {
        Ok(spool) => !spool.holds_up_to(state.spooled_seq).unwrap_or(true),
        Err(_) => !path.exists(),
    }
}
