//! What a shipper does about the spools of its home: the office, meeting them, the dead, the damaged, the spent.

use std::time::Duration;

use super::backlog::Lanes;
use super::{FIRST_MAINTENANCE_AFTER, Shipper, nanos, passed};
use crate::adoption::OpenSpool;
use crate::control::LastTrial;
use crate::logging::log_line;
use crate::spool::SpoolError;

pub(super) const LOOK_FOR_THE_DEAD_EVERY: Duration = Duration::from_secs(1);
const GIVE_BACK_SPACE_EVERY: Duration = Duration::from_secs(1);
/// How long a spool that failed is left alone.
const REST_OF_A_SPOOL: Duration = Duration::from_secs(1);
const MAINTAIN_EVERY: Duration = Duration::from_secs(3_600);
const CLOSE_IDLE_SINK_AFTER: Duration = Duration::from_secs(30);

impl Shipper {
    pub(super) fn is_elected(&mut self) -> bool {
        if self.office.is_none() {
            self.office = self.disk.hold_office(&self.store).unwrap_or_else(|error| {
                // No home yet means nothing to ship yet.
                let is_no_home = matches!(&error, SpoolError::Io(source)
                    if source.kind() == std::io::ErrorKind::NotFound);
                if !is_no_home {
                    self.tell_error(&format!("cannot take the shipper's office: {error}"));
                }
                None
            });
            let is_shipping = self.office.is_some();
            // Whoever had the office before may have left a mark.
            self.has_answered = false;
            self.control.update(|state| state.is_shipping = is_shipping);
        }
        self.office.is_some()
    }

    /// Lets another process of the home ship: this one rests.
    pub(super) fn lay_down_office(&mut self) {
        self.office = None;
        self.spools.clear();
        self.lanes.clear();
        self.control.update(|state| {
            state.is_shipping = false;
            state.last_trial = LastTrial::None;
        });
    }

    /// Opens new spools of this store, adopts what the dead left, and looks how far rows may leave.
    /// Without the office only this process's spools in memory are its own.
    pub(super) fn look_at_spools(&mut self, is_elected: bool, now: u64) -> Result<(), SpoolError> {
        let is_due = is_due(&mut self.looked_for_the_dead, LOOK_FOR_THE_DEAD_EVERY, now);
        if is_due {
            self.foreign.retain(|_, until| now < *until);
        }
        let mut names = self.disk.in_memory();
        if is_elected {
            names.extend(self.disk.spools()?);
        }
        for name in names {
            if !self.spools.contains_key(&name) && !self.foreign.contains_key(&name) {
                self.meet(&name, is_due)?;
            }
        }
        if is_due && is_elected {
            let adopted =
                self.adopter
                    .adopt_the_dead(&*self.disk, &mut self.spools, self.clock.now());
            if let Err(error) = adopted {
                self.tell_error(&error.to_string());
            }
        }
        let mut failed = Vec::new();
        for (name, spool) in &mut self.spools {
            let lanes = self.lanes.entry(name.clone()).or_default();
            if let Err(error) = lanes.look(&mut *spool.outlet) {
                failed.push((name.clone(), error));
            }
        }
        for (name, error) in failed {
            self.spool_failed(&name, &error);
        }
        Ok(())
    }

    /// Opens a spool that was not there before.
    fn meet(&mut self, name: &str, is_due: bool) -> Result<(), SpoolError> {
        let opened = self.disk.open(name).and_then(|mut outlet| {
            let lanes = Lanes::of(&mut *outlet, self.limits.rows)?;
            Ok((outlet, lanes))
        });
        match opened {
            Ok((outlet, lanes)) => {
                // Where settings cannot be read a process does not know its store.
                if outlet.store() == self.store || outlet.store().is_empty() {
                    self.lanes.insert(name.to_owned(), lanes);
                    let spool = OpenSpool {
                        outlet,
                        hold: None,
                        is_settled: false,
                    };
                    self.spools.insert(name.to_owned(), spool);
                } else {
                    self.foreign.insert(name.to_owned(), u64::MAX);
                }
            }
            Err(SpoolError::NewerFormat { .. }) => {
                self.foreign.insert(name.to_owned(), u64::MAX);
            }
            // A living owner may just be making it; a dead one's is what it is.
            Err(error) if is_due && error.is_of_the_file() => {
                if let Some(hold) = self.disk.hold_spool(name)? {
                    self.set_aside(name, &error);
                    drop(hold);
                }
            }
            // It cannot be read now: looked at again.
            Err(_) => {}
        }
        Ok(())
    }

    /// A spool could not be read or written: it is opened anew after a while, or set aside where it is
    /// damaged and its owner dead.
    pub(super) fn spool_failed(&mut self, name: &str, error: &SpoolError) {
        self.tell_error(&error.to_string());
        if matches!(error, SpoolError::Busy) {
            return;
        }
        self.lanes.remove(name);
        let failed = self.spools.remove(name);
        let until = self
            .timer
            .monotonic_ns()
            .saturating_add(nanos(REST_OF_A_SPOOL));
        self.foreign.insert(name.to_owned(), until);
        if let Some(OpenSpool { outlet, hold, .. }) = failed
            && error.is_of_the_file()
            && hold.is_some()
        {
            drop(outlet);
            self.set_aside(name, error);
        }
    }

    /// Puts a damaged spool aside; its lease must be held.
    fn set_aside(&self, name: &str, error: &SpoolError) {
        log_line!(error: spool = name,
            %error,
            "a spool is damaged; it is set aside; see `callmeter doctor`"
        );
        if let Err(error) = self.disk.set_aside(name) {
            self.tell_error(&error.to_string());
        }
    }

    /// What there is time for when nothing is due: spent spools, free pages, an idle connection.
    pub(super) fn tidy(&mut self, now: u64) {
        if is_due(&mut self.gave_back_space, GIVE_BACK_SPACE_EVERY, now) {
            for spool in self.spools.values_mut() {
                // Another second will do as well.
                let _ = spool.outlet.give_back_space();
            }
            self.retire_the_spent();
        }
        if now >= self.next_maintenance {
            self.maintain(now);
        } else if passed(self.last_sent, now) >= CLOSE_IDLE_SINK_AFTER {
            self.sink = None;
        }
    }

    /// Lets the store do a piece of its housekeeping, if it is open; says whether there is more.
    pub(crate) fn maintain(&mut self, now: u64) -> bool {
        let Some(sink) = &mut self.sink else {
            return false;
        };
        let (has_more, pause) = match sink.maintain() {
            Ok(true) => (true, Duration::ZERO),
            Ok(false) => (false, MAINTAIN_EVERY),
            Err(error) => {
                log_line!(debug: %error, "the store's housekeeping is put off");
                (false, FIRST_MAINTENANCE_AFTER)
            }
        };
        self.next_maintenance = now.saturating_add(nanos(pause));
        has_more
    }

    /// How many rows for this store wait in the home's spools, those that may not leave yet included, and
    /// how many flight files of dead processes wait to be adopted.
    pub(crate) fn left(&self) -> Result<u64, SpoolError> {
        let mut left = 0_u64;
        for name in self.disk.spools()? {
            match self.disk.open(&name) {
                Ok(mut outlet) if outlet.store() == self.store || outlet.store().is_empty() => {
                    left = left.saturating_add(outlet.standing()?.spooled);
                }
                // It is another's, a newer callmeter's, damaged, or was just removed.
                Ok(_) | Err(_) => {}
            }
        }
        Ok(left)
    }

    /// Removes spools of dead owners from which everything has left; their figures go to the ledger.
    fn retire_the_spent(&mut self) {
        let mut spent = Vec::new();
        for (name, spool) in &mut self.spools {
            if spool.is_settled && spool.outlet.is_spent().unwrap_or(false) {
                spent.push(name.clone());
            }
        }
        for name in spent {
            self.lanes.remove(&name);
            if let Some(spool) = self.spools.remove(&name)
                && let Some(hold) = spool.hold
                && let Err(error) = self.disk.retire(&name, spool.outlet, hold)
            {
                self.tell_error(&format!("cannot retire the spool {name}: {error}"));
            }
        }
    }
}

/// Whether it is time again; if so, the time is noted.
fn is_due(last: &mut Option<u64>, every: Duration, now: u64) -> bool {
    let is_due = last.is_none_or(|last| passed(last, now) >= every);
    if is_due {
        *last = Some(now);
    }
    is_due
}
