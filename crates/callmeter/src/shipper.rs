//! The shipper: takes calls from the spools of a home to their store, and deletes what it answered for.
//!
//! One process a home and store is elected by a lock; the others stand by and take over when it dies. It
//! ships the spools of living and dead processes alike. A batch that fails is sent again with back-off
//! and jitter; a batch that holds a row no store will take is halved until that row stands alone and is
//! set aside. After ten failures in a row the store counts as degraded (promise CM-10): one error is
//! logged, calls go on being spooled, and the trials go on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use callmeter_core::{CallRecord, Clock, DecodeError, Sink, SinkError, SinkErrorKind};

use crate::backoff::Backoff;
use crate::control::Control;
use crate::home::Home;
use crate::ledger::Ledger;
use crate::spool::{LEASE_EXTENSION, SpoolError, SpoolReader, SpooledRow};
use callmeter_flight::Lease;

const POLL: Duration = Duration::from_millis(50);
const STAND_BY: Duration = Duration::from_millis(500);
const LOOK_FOR_THE_DEAD_EVERY: Duration = Duration::from_secs(1);
const DEGRADED_AFTER: u32 = 10;

/// Opens the sink; tried again with back-off while it fails.
pub(crate) type MakeSink = Box<dyn FnMut() -> Result<Box<dyn Sink>, SinkError> + Send>;

/// How much is sent at a time, and how long it may wait for more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    pub(crate) rows: usize,
    pub(crate) age: Duration,
}

pub(crate) struct Shipper {
    home: Home,
    store: String,
    make_sink: MakeSink,
    limits: BatchLimits,
    control: Arc<Control>,
    clock: Arc<dyn Clock>,
    office: Option<Lease>,
    sink: Option<Box<dyn Sink>>,
    spools: BTreeMap<PathBuf, Spool>,
    waiting_since: Option<Instant>,
    looked_for_the_dead: Option<Instant>,
    failures: u32,
    backoff: Backoff,
}

/// A spool that is shipped.
struct Spool {
    reader: SpoolReader,
    /// Held once the owner is dead.
    lease: Option<Lease>,
}

/// Rows of several spools, as they are sent.
struct Batch {
    rows: Vec<(PathBuf, SpooledRow)>,
    records: Vec<CallRecord>,
}

impl Shipper {
    pub(crate) fn new(
        home: Home,
        store: String,
        make_sink: MakeSink,
        limits: BatchLimits,
        control: Arc<Control>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            home,
            store,
            make_sink,
            limits,
            control,
            clock,
            office: None,
            sink: None,
            spools: BTreeMap::new(),
            waiting_since: None,
            looked_for_the_dead: None,
            failures: 0,
            backoff: Backoff::default(),
        }
    }

    /// One round; says whether it was the last.
    pub(crate) fn step(&mut self) -> bool {
        let pause = self.tick();
        let seen = self.control.snapshot();
        if seen.stop_shipper {
            return true;
        }
        self.control.wait_until(pause, |state| {
            state.stop_shipper || state.flush_spooled > seen.flush_spooled
        });
        false
    }

    /// Does what there is to do; says how long to wait before the next time.
    fn tick(&mut self) -> Duration {
        if !self.is_elected() {
            return STAND_BY;
        }
        if let Err(error) = self.look_at_spools() {
            self.tell_error(&error.to_string());
            return STAND_BY;
        }
        let batch = match self.gather() {
            Ok(batch) => batch,
            Err(error) => {
                self.tell_error(&error.to_string());
                return STAND_BY;
            }
        };
        if batch.rows.is_empty() {
            self.waiting_since = None;
            self.retire_the_spent();
            return POLL;
        }
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let state = self.control.snapshot();
        let is_urgent = state.waiting_flushes > 0 || state.stop_shipper || state.stop_worker;
        if batch.rows.len() < self.limits.rows && since.elapsed() < self.limits.age && !is_urgent {
            return POLL;
        }
        match self.send(&batch) {
            Ok(()) => {
                self.waiting_since = None;
                self.recovered();
                Duration::ZERO
            }
            Err(error) => self.failed(&error),
        }
    }

    fn is_elected(&mut self) -> bool {
        if self.office.is_none() {
            let path = self.home.shipper_lock(&self.store);
            self.office = Lease::try_take(&path).unwrap_or_else(|error| {
                // No home yet means nothing to ship yet.
                if error.kind() != std::io::ErrorKind::NotFound {
                    self.tell_error(&format!("cannot lock {}: {error}", path.display()));
                }
                None
            });
            let is_shipping = self.office.is_some();
            self.control.update(|state| state.is_shipping = is_shipping);
        }
        self.office.is_some()
    }

    /// Opens new spools of this store, and takes the leases of dead owners.
    fn look_at_spools(&mut self) -> Result<(), SpoolError> {
        for path in self.home.spools()? {
            if self.spools.contains_key(&path) {
                continue;
            }
            // One that cannot be opened now (just being made, or of a newer version) is looked at again.
            if let Ok(reader) = SpoolReader::open(&path)
                && (reader.store() == self.store || reader.store().is_empty())
            {
                self.spools.insert(
                    path,
                    Spool {
                        reader,
                        lease: None,
                    },
                );
            }
        }
        let is_due = |at: Instant| at.elapsed() >= LOOK_FOR_THE_DEAD_EVERY;
        if self.looked_for_the_dead.is_none_or(is_due) {
            self.looked_for_the_dead = Some(Instant::now());
            for (path, spool) in &mut self.spools {
                if spool.lease.is_none() {
                    spool.lease = Lease::try_take(&path.with_extension(LEASE_EXTENSION))?;
                    if spool.lease.is_some() {
                        spool.reader.release_all()?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The oldest rows of every spool, up to the limit in all. Rows that are no records are set aside.
    fn gather(&mut self) -> Result<Batch, SpoolError> {
        let mut batch = Batch {
            rows: Vec::new(),
            records: Vec::new(),
        };
        for (path, spool) in &mut self.spools {
            let room = self.limits.rows.saturating_sub(batch.rows.len());
            if room == 0 {
                break;
            }
            for row in spool.reader.ready_rows(room)? {
                match &row.record {
                    Ok(record) => {
                        batch.records.push(record.clone());
                        batch.rows.push((path.clone(), row));
                    }
                    Err(DecodeError::Corrupt) => {
                        spool
                            .reader
                            .reject(&row, "the record is corrupt", self.clock.now())?;
                    }
                    // A newer version's rows wait for a newer shipper.
                    Err(_) => {}
                }
            }
        }
        Ok(batch)
    }

    /// Sends a batch and deletes it from the spools; halves it where a row in it is refused.
    fn send(&mut self, batch: &Batch) -> Result<(), SinkError> {
        self.send_range(&batch.rows, &batch.records)
    }

    fn send_range(
        &mut self,
        rows: &[(PathBuf, SpooledRow)],
        records: &[CallRecord],
    ) -> Result<(), SinkError> {
        if self.sink.is_none() {
            self.sink = Some((self.make_sink)()?);
        }
        let Some(sink) = &mut self.sink else {
            return Ok(());
        };
        match sink.write(records) {
            Ok(ack) => self.acknowledge(rows, ack.expired).map_err(spool_failed),
            Err(error) if error.kind() == SinkErrorKind::Reject => match rows {
                [] => Ok(()),
                [(path, row)] => self.reject(path, row, &error).map_err(spool_failed),
                _ => {
                    let middle = rows.len() / 2;
                    let (left, right) = rows.split_at(middle);
                    let (left_records, right_records) =
                        records.split_at_checked(middle).unwrap_or((records, &[]));
                    self.send_range(left, left_records)?;
                    self.send_range(right, right_records)
                }
            },
            Err(error) => Err(error),
        }
    }

    fn acknowledge(
        &mut self,
        rows: &[(PathBuf, SpooledRow)],
        mut expired: u64,
    ) -> Result<(), SpoolError> {
        let mut rest = rows;
        while let Some((path, _)) = rest.first() {
            let count = rest.iter().take_while(|(other, _)| other == path).count();
            let (mine, others) = rest.split_at(count);
            if let Some(spool) = self.spools.get_mut(path) {
                let here = expired.min(count as u64);
                let keys: Vec<_> = mine.iter().map(|(_, row)| (row.lane, row.seq)).collect();
                spool.reader.acknowledge(&keys, here)?;
                expired = expired.saturating_sub(here);
            }
            rest = others;
        }
        self.control.update(|state| {
            state.acknowledgements = state.acknowledgements.saturating_add(rows.len() as u64);
        });
        Ok(())
    }

    fn reject(&mut self, path: &Path, row: &SpooledRow, why: &SinkError) -> Result<(), SpoolError> {
        tracing::error!(
            target: "callmeter",
            reason = %why,
            "the store refuses a row for good; it is kept in the spool's `rejected`"
        );
        if let Some(spool) = self.spools.get_mut(path) {
            spool
                .reader
                .reject(row, &why.to_string(), self.clock.now())?;
        }
        self.control.update(|state| {
            state.acknowledgements = state.acknowledgements.saturating_add(1);
        });
        Ok(())
    }

    /// Removes spools of dead owners from which everything has left; their figures go to the ledger.
    fn retire_the_spent(&mut self) {
        let spent: Vec<PathBuf> = self
            .spools
            .iter()
            .filter(|(_, spool)| spool.lease.is_some() && spool.reader.is_spent().unwrap_or(false))
            .map(|(path, _)| path.clone())
            .collect();
        for path in spent {
            if let Some(spool) = self.spools.remove(&path)
                && let Err(error) = retire(&self.home, &path, spool)
            {
                self.tell_error(&format!("cannot retire {}: {error}", path.display()));
            }
        }
    }

    fn recovered(&mut self) {
        if self.failures > 0 {
            tracing::info!(target: "callmeter", "the store takes calls again");
            self.control.update(|state| {
                state.is_degraded = false;
                state.last_error = None;
            });
        }
        self.failures = 0;
        self.backoff = Backoff::default();
    }

    fn failed(&mut self, error: &SinkError) -> Duration {
        if error.kind() == SinkErrorKind::Busy {
            return self.backoff.next_short();
        }
        // Whatever failed, a new connection is the next trial's best chance.
        self.sink = None;
        self.failures = self.failures.saturating_add(1);
        let hint = error.hint().unwrap_or_default();
        if self.failures == 1 {
            tracing::warn!(target: "callmeter", %error, hint, "the store takes no calls; they wait in the spool");
        }
        if self.failures == DEGRADED_AFTER {
            tracing::error!(
                target: "callmeter",
                %error,
                hint,
                "the store has failed 10 times in a row; calls wait in the spool until it is back"
            );
            self.control.update(|state| state.is_degraded = true);
        }
        self.tell_error(&error.to_string());
        self.backoff.next()
    }

    fn tell_error(&self, message: &str) {
        self.control
            .update(|state| state.last_error = Some(message.to_owned()));
    }
}

fn spool_failed(error: SpoolError) -> SinkError {
    SinkError::new(SinkErrorKind::Retry, error.to_string())
}

fn retire(home: &Home, path: &Path, spool: Spool) -> Result<(), SpoolError> {
    let figures = spool.reader.standing()?;
    let id = spool.reader.spool_id().to_owned();
    let mut ledger = Ledger::open(&home.ledger_path())?;
    ledger.take_over(&id, &figures)?;
    drop(spool.reader);
    for extension in ["spool", "spool-wal", "spool-shm"] {
        match fs::remove_file(path.with_extension(extension)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    ledger.forget(&id)?;
    fs::remove_file(path.with_extension(LEASE_EXTENSION))?;
    Ok(())
}
