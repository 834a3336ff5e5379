//! Where the worker puts calls: the spool on disk, else the one in memory; and what bounds them.
//!
//! ```text
//! disk ──fails──▶ memory, shipped from this process ──full──▶ the flight buffer ──full──▶ dropped, counted
//!   ▲                │ once a second the disk is tried
//!   └──rows moved────┘
//! ```
//! A damaged file is set aside, and a fresh one goes on. At the ceiling (promise CM-8) either the new
//! calls are dropped or the oldest rows of the home.

use std::sync::Arc;
use std::time::Duration;

use callmeter_core::{CallRecord, Clock, DropReason};
use callmeter_flight::Drainer;

use super::{BATCH, passed};
use crate::control::Control;
use crate::figures::Figures;
use crate::logging::log_line;
use crate::recorder::Recorder;
use crate::settings::{SpoolSync, WhenFull};
use crate::spool::{Disk, FlightFigures, MemorySpool, SpoolError, SpoolInlet, SpoolOwner};
use crate::station::Station;

const SYNC_EVERY: Duration = Duration::from_secs(1);
const RETRY_DISK_EVERY: Duration = Duration::from_secs(1);
const LOOK_AT_CEILING_EVERY: Duration = Duration::from_secs(1);

/// The way into the spool.
pub(super) struct Spooling {
    recorder: Arc<Recorder>,
    control: Arc<Control>,
    disk: Arc<dyn Disk>,
    timer: Arc<dyn Clock>,
    spool: Option<Box<dyn SpoolInlet>>,
    memory: Option<MemorySpool>,
    unsynced: bool,
    last_sync: u64,
    /// Since when the disk takes nothing, when it was tried last, and why.
    disk_failed: Option<(u64, DropReason)>,
    /// Whether the last batch went nowhere.
    is_failing: bool,
    ceiling_seen: Option<(u64, bool)>,
}

impl std::fmt::Debug for Spooling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spooling")
            .field("spool", &self.spool)
            .field("disk_failed", &self.disk_failed)
            .finish_non_exhaustive()
    }
}

impl Spooling {
    pub(super) fn new(
        recorder: &Arc<Recorder>,
        control: &Arc<Control>,
        disk: Arc<dyn Disk>,
        timer: Arc<dyn Clock>,
    ) -> Self {
        Self {
            recorder: Arc::clone(recorder),
            control: Arc::clone(control),
            disk,
            last_sync: timer.monotonic_ns(),
            timer,
            spool: None,
            memory: None,
            unsynced: false,
            disk_failed: None,
            is_failing: false,
            ceiling_seen: None,
        }
    }

    /// Takes a batch, if there is something to do. `None` when nothing was taken; else what of it was
    /// dropped.
    pub(super) fn take(
        &mut self,
        batch: &[CallRecord],
        has_handed_out: bool,
        now: bool,
        drainers: &[Drainer],
    ) -> Option<Option<(DropReason, u64)>> {
        let at = self.timer.monotonic_ns();
        let is_synced_in_time = self.recorder.plan.spool.sync == SpoolSync::Power;
        let is_sync_due =
            self.unsynced && (now || is_synced_in_time && passed(self.last_sync, at) >= SYNC_EVERY);
        if !has_handed_out && !is_sync_due && !self.is_unready() && !self.is_retry_due(at) {
            return None;
        }
        if !batch.is_empty() && self.is_over_ceiling(at) && !self.make_room(batch.len()) {
            return Some(Some((DropReason::Ceiling, batch.len() as u64)));
        }
        let is_disk_due = self
            .disk_failed
            .is_none_or(|(tried, _)| now || passed(tried, at) >= RETRY_DISK_EVERY);
        let written = is_disk_due.then(|| self.write_to_disk(batch, is_sync_due, drainers));
        let taken = match written {
            Some(Ok(())) => {
                self.unsynced = !is_sync_due && (self.unsynced || !batch.is_empty());
                if is_sync_due {
                    self.last_sync = at;
                }
                self.disk_is_back(at);
                Ok(())
            }
            // Somebody holds the file for long: the calls are safer where they are.
            Some(Err(SpoolError::Busy)) => Err(SpoolError::Busy),
            Some(Err(error)) => {
                self.disk_failed(&error, at);
                self.write_to_memory(batch)
            }
            None => self.write_to_memory(batch),
        };
        self.is_failing = taken.is_err();
        taken.ok().map(|()| None)
    }

    /// Whether everything that was taken is where it shall be; with `now`, on the disk as well.
    pub(super) fn is_at_rest(&self, now: bool) -> bool {
        let is_done = !self.is_unready() && (!now || !self.unsynced);
        is_done && !self.is_failing
    }

    /// Whether the last batch went nowhere.
    pub(super) const fn is_failing(&self) -> bool {
        self.is_failing
    }

    /// Whether rows of the spool wait for a disk that takes nothing: to be synced, or to be freed for shippers.
    /// Asking again at once would not help, and a process that ends does not wait for it.
    pub(super) fn is_blocked(&self) -> bool {
        self.disk_failed.is_some() && (self.unsynced || self.is_unready())
    }

    /// Why calls go nowhere, if they do.
    pub(super) fn failure(&self) -> Option<DropReason> {
        let (_, reason) = self.disk_failed?;
        self.is_failing.then_some(reason)
    }

    /// The number of the last row in the spool on disk.
    pub(super) fn last_seq(&self) -> i64 {
        self.spool.as_ref().map_or(0, |spool| spool.last_seq())
    }

    /// Tells the spool that calls of a buffer will come to it.
    pub(super) fn attach(&mut self, drainer: &Drainer) {
        let at = self.recorder.clock.now();
        if let Some(spool) = &mut self.spool
            && let Err(error) = attach(&mut **spool, drainer, at)
        {
            let now = self.timer.monotonic_ns();
            self.disk_failed(&error, now);
        }
    }

    /// Ends a buffer in which no call is left: the spool is told what it lost, then the file goes. Says
    /// whether it ended; its figures go to `past`. One that cannot tell what it lost stays, and whoever
    /// adopts its file tells it.
    pub(super) fn retire(&mut self, drainer: &mut Drainer, past: &mut Figures) -> bool {
        // From now on no call can be opened in it.
        let is_over = drainer.retire_slots();
        let standing = drainer.buffer().standing();
        let mut figures = Figures::of(&standing);
        if !is_over || (!figures.losses().is_empty() && !self.tell(drainer, &figures)) {
            return false;
        }
        drainer.unlink();
        if let (Some(spool), Some((flight, _))) = (&mut self.spool, name_of(drainer)) {
            // An adopter would find out as well.
            let _ = spool.detach(&flight, self.recorder.clock.now());
        }
        Station::forget(drainer.buffer().id());
        figures.dropped = Default::default();
        past.add(&figures);
        true
    }

    /// Tells the spool what a buffer lost.
    fn tell(&mut self, drainer: &Drainer, figures: &Figures) -> bool {
        let sync = true;
        if self.spool.is_none() && self.write_to_disk(&[], sync, &[]).is_err() {
            return false;
        }
        let Some(spool) = &mut self.spool else {
            return false;
        };
        let told = match name_of(drainer) {
            Some((flight, place)) => spool
                .attach(&flight, &place, self.recorder.clock.now())
                .and_then(|()| {
                    spool.note(FlightFigures::of(&flight, &drainer.buffer().standing()));
                    spool.append(&[], &[], sync)
                }),
            None => spool.append(&[], &figures.losses(), sync),
        };
        told.is_ok()
    }

    fn write_to_disk(
        &mut self,
        batch: &[CallRecord],
        sync: bool,
        drainers: &[Drainer],
    ) -> Result<(), SpoolError> {
        if self.spool.is_none() {
            let mut spool = self.disk.create(&self.owner())?;
            // Before any of their rows is in it: an adopter finds the spool by the flight file.
            for drainer in drainers {
                attach(&mut *spool, drainer, self.recorder.clock.now())?;
            }
            let path = self.recorder.plan.home.spool_path(spool.name());
            self.control.update(|state| state.spool = Some(path));
            self.spool = Some(spool);
        }
        let Some(spool) = &mut self.spool else {
            return Ok(());
        };
        let appended = spool.append(batch, &[], sync);
        if let Err(error) = &appended
            && error.is_of_the_file()
        {
            self.set_aside(error);
        }
        appended
    }

    fn write_to_memory(&mut self, batch: &[CallRecord]) -> Result<(), SpoolError> {
        if batch.is_empty() {
            return Ok(());
        }
        if self.memory.is_none() {
            let memory = self.disk.create_in_memory(&self.owner());
            self.control
                .update(|state| state.memory = Some(memory.clone()));
            self.memory = Some(memory);
        }
        match &mut self.memory {
            Some(memory) => memory.append(batch, &[], false),
            None => Ok(()),
        }
    }

    fn owner(&self) -> SpoolOwner {
        let plan = &self.recorder.plan;
        SpoolOwner {
            home: plan.home.path().to_string_lossy().into_owned(),
            store: plan.store.clone(),
            made_at: self.recorder.clock.now(),
        }
    }

    /// The disk takes calls: what lies in memory goes there too. Where it takes those not, it is not back.
    fn disk_is_back(&mut self, at: u64) {
        if let Err(error) = self.move_to_disk(at) {
            self.disk_failed(&error, at);
            return;
        }
        if self.disk_failed.take().is_some() {
            log_line!(info: "the spool takes calls again");
            self.control.update(|state| state.last_error = None);
        }
    }

    /// Moves rows from memory to the disk, as far as the ceiling lets them.
    fn move_to_disk(&mut self, at: u64) -> Result<(), SpoolError> {
        let Some(memory) = self.memory.clone() else {
            return Ok(());
        };
        while !memory.is_empty() {
            // The ceiling holds for them as well; until there is room they are shipped from memory.
            let rows = memory.figures().spooled.min(BATCH as u64);
            let rows = usize::try_from(rows).unwrap_or(BATCH);
            if self.is_over_ceiling(at) && !self.make_room(rows) {
                return Ok(());
            }
            let Some(spool) = &mut self.spool else {
                return Ok(());
            };
            if memory.move_rows(BATCH, |rows| spool.append(rows, &[], false))? == 0 {
                return Ok(());
            }
            self.unsynced = true;
        }
        Ok(())
    }

    fn disk_failed(&mut self, error: &SpoolError, now: u64) {
        if self.disk_failed.is_none() {
            log_line!(error: %error,
                hint = error.hint(),
                "the spool takes no calls; they wait in memory, where a crash loses them; see `callmeter doctor`"
            );
        }
        self.disk_failed = Some((now, error.drop_reason()));
        self.control
            .update(|state| state.last_error = Some(error.to_string()));
    }

    /// A damaged file is nobody's any more; the next batch makes a fresh one.
    fn set_aside(&mut self, error: &SpoolError) {
        if let Some(spool) = self.spool.take() {
            log_line!(error: spool = spool.name(),
                %error,
                "the spool is damaged; it is set aside; see `callmeter doctor`"
            );
            if let Err(error) = self.disk.set_aside(spool.name()) {
                self.control
                    .update(|state| state.last_error = Some(error.to_string()));
            }
            self.unsynced = false;
        }
    }

    /// Whether the home's spools have reached their ceiling; looked at once a second.
    fn is_over_ceiling(&mut self, now: u64) -> bool {
        if let Some((at, over)) = self.ceiling_seen
            && passed(at, now) < LOOK_AT_CEILING_EVERY
        {
            return over;
        }
        let plan = &self.recorder.plan.spool;
        let in_log = self.spool.as_ref().map_or(0, |spool| spool.bytes_in_log());
        let used = self.disk.used_bytes().saturating_add_signed(in_log);
        let over = used >= plan.max_bytes;
        if over && self.ceiling_seen.is_none_or(|(_, was_over)| !was_over) {
            let what = match plan.when_full {
                WhenFull::DropNewest => "new calls",
                WhenFull::DropOldest => "the oldest rows",
            };
            log_line!(error: "the spool reached spool.max_bytes; {what} are dropped until the store takes some"
            );
        }
        self.ceiling_seen = Some((now, over));
        over
    }

    /// Drops as many of the oldest rows of the home, under the policy that says so; says whether it did.
    fn make_room(&mut self, rows: usize) -> bool {
        if self.recorder.plan.spool.when_full != WhenFull::DropOldest {
            return false;
        }
        let mut wanted = rows as u64;
        for name in self.disk.spools().unwrap_or_default() {
            let Ok(mut outlet) = self.disk.open(&name) else {
                continue;
            };
            let dropped = outlet.drop_oldest(wanted).unwrap_or(0);
            if dropped > 0 {
                // Pages of a file that is not ours make no room in ours.
                let _ = outlet.give_back_space();
            }
            wanted = wanted.saturating_sub(dropped);
            if wanted == 0 {
                return true;
            }
        }
        false
    }

    fn is_unready(&self) -> bool {
        self.spool.as_ref().is_some_and(|spool| spool.has_unready())
    }

    /// Whether something waits for the disk, or for room on it. At the ceiling rows in memory wait until the
    /// store has taken some, and cost no transaction meanwhile.
    fn is_retry_due(&mut self, at: u64) -> bool {
        let has_rows = self
            .memory
            .as_ref()
            .is_some_and(|memory| !memory.is_empty());
        let drops_newest = self.recorder.plan.spool.when_full == WhenFull::DropNewest;
        self.disk_failed.is_some() || has_rows && !(drops_newest && self.is_over_ceiling(at))
    }

    /// At the end: what lies in memory dies with the process. It is counted where it can be, in the spool or
    /// in a flight file that then stays for its adopter.
    pub(super) fn give_up_memory(&mut self, drainers: &[Drainer]) {
        let lost = self.memory.as_ref().map_or(0, MemorySpool::give_up);
        if lost == 0 {
            return;
        }
        let reason = self
            .disk_failed
            .map_or(DropReason::Ceiling, |(_, reason)| reason);
        log_line!(error: calls = lost,
            reason = reason.as_str(),
            "calls are lost with the memory of this process: neither the disk nor the store took them"
        );
        let sync = true;
        let spool = self.spool.as_mut();
        if spool.is_none_or(|spool| spool.append(&[], &[(reason, lost)], sync).is_err())
            && let Some(current) = drainers.first()
        {
            current.buffer().count_lost_after(reason, lost);
        }
    }
}

/// A flight file's name and the directory that it lies in.
fn name_of(drainer: &Drainer) -> Option<(String, String)> {
    let path = drainer.buffer().path()?;
    Some((
        path.file_stem()?.to_string_lossy().into_owned(),
        path.parent()?.to_string_lossy().into_owned(),
    ))
}

fn attach(
    spool: &mut dyn SpoolInlet,
    drainer: &Drainer,
    at: callmeter_core::Timestamp,
) -> Result<(), SpoolError> {
    match name_of(drainer) {
        Some((flight, place)) => spool.attach(&flight, &place, at),
        None => Ok(()),
    }
}
