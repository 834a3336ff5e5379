//! The sink that writes `ai_calls`.
//!
//! A batch is one transaction: rows sorted by id; what the side table knows of them is merged, where the role may
//! update rows, and counted otherwise; what is new becomes a row and an entry of the side table. Two writers that
//! bring the same call meet at the side table's key: one of them starts over and finds the call there. Sending a
//! batch again, cut otherwise or in another order, changes nothing more (promise CM-5). A guard's call that the proxy's
//! row stands for gets no row, and an entry of the side table alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callmeter_core::{Ack, CallId, CallRecord, Clock, Sink, SinkError, Timestamp};

use super::rows::{self, StatusWords};
use super::shape::Shape;
use super::{Standing, side};
use crate::book::Revision;
use crate::door::{Door, MICROS_PER_DAY, MIN_RAW_DAYS, Seen, sort_out};
use crate::legacy::LegacyRow;
use crate::postgres::adopt::Follower;
use crate::postgres::connect::{Access, Session, Tx};
use crate::{LegacyError, PostgresUrl, StoreError, StoreOptions};

/// How often entries beyond the horizon are removed.
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);
/// How often a batch starts over when another writer was faster, before the shipper is told.
const ATTEMPTS: u32 = 3;
/// The code of a unique constraint that is violated.
const UNIQUE_VIOLATION: &str = "23505";

/// A table `ai_calls`, opened for writing.
pub struct LegacyStore {
    session: Session,
    raw_days: u32,
    time_column: Option<String>,
    door: Door,
    clock: Arc<dyn Clock>,
    shape: Option<Shape>,
    words: StatusWords,
    follower: Follower,
    pruned: Option<Instant>,
    tells_of_revisions: bool,
}

impl std::fmt::Debug for LegacyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LegacyStore")
            .field("store", &self.session.shown())
            .finish_non_exhaustive()
    }
}

impl LegacyStore {
    /// Connects, reads the table's shape and judges it. Rows are priced by the book of `options`.
    ///
    /// # Errors
    /// When the server cannot be reached, or the table cannot be written: every problem, with the column and the
    /// statement that mends it. Nothing was changed.
    pub fn open(
        url: &PostgresUrl,
        options: StoreOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let revision = Revision {
            number: 1,
            book: Arc::clone(&options.book),
        };
        let mut store = Self {
            session: Session::of_process(url)?,
            raw_days: options.raw_days.max(MIN_RAW_DAYS),
            time_column: options.time_column.clone(),
            door: Door::new(revision, options.providers.clone()),
            follower: Follower::new(url, options, Arc::clone(&clock)),
            clock,
            shape: None,
            words: StatusWords::default(),
            pruned: None,
            tells_of_revisions: true,
        };
        store.look()?;
        Ok(store)
    }

    /// Reads the shape, if it is not known.
    fn look(&mut self) -> Result<Shape, StoreError> {
        if let Some(shape) = &self.shape {
            return Ok(shape.clone());
        }
        let time_column = self.time_column.as_deref();
        let shape = self
            .session
            .transaction(Access::Snapshot, |tx| super::ready_shape(tx, time_column))?;
        for note in &shape.notes {
            tracing::info!(target: "callmeter", table = shape.table(), "{note}");
        }
        self.words = StatusWords::default();
        self.shape = Some(shape.clone());
        Ok(shape)
    }

    fn store(&mut self, batch: &[CallRecord]) -> Result<Ack, StoreError> {
        let now = self.clock.now();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let shape = self.look()?;
            let mut ack = Ack::default();
            let (calls, refused) = sort_out(batch, now, self.raw_days, &mut ack);
            if let Some(refused) = refused.first() {
                // Among others the batch is to be halved until it stands alone, so that the spool keeps it.
                let reason = refused.reason;
                return Err(LegacyError::Refused { reason }.into());
            }
            let Self {
                session,
                door,
                words,
                ..
            } = self;
            let written = session.transaction(Access::Write, |tx| {
                let mut writing = Writing {
                    tx,
                    shape: &shape,
                    door,
                    words,
                    ack: &mut ack,
                };
                writing.write(&calls)
            });
            match written {
                Ok(()) => {
                    self.tell_of_revisions(&ack);
                    self.prune(&shape, now);
                    if shape.has_ids {
                        self.follower.follow(&mut self.session, &shape);
                    }
                    return Ok(ack);
                }
                Err(error) => {
                    let error = as_contended(error);
                    let is_contended = matches!(error, StoreError::Legacy(LegacyError::Contended));
                    // The table may have changed under our feet: it is looked at anew.
                    if is_contended || sqlstate(&error).is_some_and(|code| code.starts_with("42")) {
                        self.shape = None;
                    }
                    if !is_contended || attempt >= ATTEMPTS {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn tell_of_revisions(&mut self, ack: &Ack) {
        if ack.revision_not_applied > 0 && self.tells_of_revisions {
            self.tells_of_revisions = false;
            tracing::warn!(
                target: "callmeter",
                "the role may not update ai_calls: of each call the first record stands, later ones are counted as revision_not_applied"
            );
        }
    }

    /// Removes entries beyond the horizon, a slice at a time. What fails is tried again an hour later: the batch
    /// is stored, and that is what the caller asked for.
    fn prune(&mut self, shape: &Shape, now: Timestamp) {
        if self.pruned.is_some_and(|at| at.elapsed() < PRUNE_EVERY) {
            return;
        }
        let horizon = now.saturating_add_micros(
            i64::from(self.raw_days)
                .saturating_mul(MICROS_PER_DAY)
                .saturating_neg(),
        );
        let pruned = self.session.transaction(Access::Write, |tx| {
            side::prune(tx, shape, CallId::hi_at(horizon))
        });
        match pruned {
            // There may be more: the next batch goes on.
            Ok(1..) => {}
            Ok(0) => self.pruned = Some(Instant::now()),
            Err(error) => {
                tracing::info!(target: "callmeter", %error, "old entries of the side table stay for now");
                self.pruned = Some(Instant::now());
            }
        }
    }
}

impl Sink for LegacyStore {
    fn write(&mut self, batch: &[CallRecord]) -> Result<Ack, SinkError> {
        self.store(batch).map_err(SinkError::from)
    }

    /// As of the full layout: see there.
    fn may_be_forked(&self) -> bool {
        self.session.is_open()
    }
}

/// What one transaction works with.
struct Writing<'a, 's> {
    tx: &'a mut Tx<'s>,
    shape: &'a Shape,
    door: &'a mut Door,
    words: &'a mut StatusWords,
    ack: &'a mut Ack,
}

impl Writing<'_, '_> {
    fn write(&mut self, calls: &[Seen<'_>]) -> Result<(), StoreError> {
        if !self.shape.has_ids && rows::has_ids(self.tx, self.shape)? {
            return Err(LegacyError::Contended.into());
        }
        let ids: Vec<CallId> = calls.iter().map(|call| call.call_id).collect();
        let known: BTreeMap<CallId, side::Known> = side::find(self.tx, self.shape, &ids)?
            .into_iter()
            .map(|known| (known.id, known))
            .collect();
        let mut fresh = Vec::new();
        let mut changed = Vec::new();
        let mut without_row = Vec::new();
        let mut appearing = Vec::new();
        for call in calls {
            let Some(known) = known.get(&call.call_id) else {
                if another_row_stands_for(call) {
                    without_row.push(&**call);
                } else {
                    fresh.push(&**call);
                }
                continue;
            };
            let stored = side::decoded(known)?;
            let merged = stored.clone().merge(call);
            if merged == stored {
                self.ack.unchanged += 1;
            } else if known.row_id.is_none() {
                appearing.push((known.clone(), merged));
            } else if self.shape.may_update {
                changed.push((known.clone(), merged));
            } else {
                self.ack.revision_not_applied += 1;
            }
        }
        self.ack.inserted += fresh.len() as u64;
        self.ack.unchanged += without_row.len() as u64;
        self.ack.merged += (changed.len() + appearing.len()) as u64;
        self.take(appearing.iter().chain(&changed).map(|(known, _)| known))?;
        let still_without;
        (still_without, appearing) = appearing
            .into_iter()
            .partition(|(_, merged)| another_row_stands_for(merged));
        fresh.extend(appearing.iter().map(|(_, merged)| merged));
        without_row.extend(still_without.iter().map(|(_, merged)| merged));
        let mut entries = self.insert(&fresh)?;
        entries.extend(self.update(&changed)?);
        entries.extend(self.leave_out(&without_row)?);
        side::put(self.tx, self.shape, entries)
    }

    /// Takes entries out that will be put in anew.
    fn take<'k>(&mut self, known: impl Iterator<Item = &'k side::Known>) -> Result<(), StoreError> {
        let mut known: Vec<_> = known.collect();
        if known.is_empty() {
            return Ok(());
        }
        known.sort_by_key(|known| known.id);
        let ids: Vec<CallId> = known.iter().map(|known| known.id).collect();
        let taken = side::take(self.tx, self.shape, &ids)?;
        if taken.iter().eq(known) {
            Ok(())
        } else {
            Err(LegacyError::Contended.into())
        }
    }

    fn insert(&mut self, calls: &[&CallRecord]) -> Result<Vec<side::Entry>, StoreError> {
        let mut rows = Vec::with_capacity(calls.len());
        for call in calls {
            rows.push(self.row_of(call)?);
        }
        let row_ids = rows::insert(self.tx, self.shape, &rows)?;
        let entries = calls.iter().zip(row_ids);
        Ok(entries
            .map(|(call, row_id)| entry(call, Some(row_id)))
            .collect())
    }

    fn update(
        &mut self,
        calls: &[(side::Known, CallRecord)],
    ) -> Result<Vec<side::Entry>, StoreError> {
        let mut changes = Vec::with_capacity(calls.len());
        for (known, merged) in calls {
            if let Some(row_id) = &known.row_id {
                changes.push((row_id.clone(), self.row_of(merged)?));
            }
        }
        rows::update(self.tx, self.shape, &changes)?;
        let entries = calls.iter();
        Ok(entries
            .map(|(known, merged)| entry(merged, known.row_id.clone()))
            .collect())
    }

    /// Calls that get no row. What is known of them is kept beside the table, for a record that gives them one.
    fn leave_out(&mut self, calls: &[&CallRecord]) -> Result<Vec<side::Entry>, StoreError> {
        if calls.is_empty() || !side::takes_calls_without_a_row(self.tx, self.shape)? {
            return Ok(Vec::new());
        }
        Ok(calls.iter().map(|call| entry(call, None)).collect())
    }

    fn row_of(&mut self, call: &CallRecord) -> Result<LegacyRow, StoreError> {
        let (call, priced) = self.door.price(Seen::Borrowed(call));
        let mut row = LegacyRow::of(&call, &priced.cost, &self.shape.widths);
        if !self.words.takes(self.tx, self.shape, &row.status)? {
            let failed = call.error_kind.is_some() || call.error.is_some();
            row.replace_status(if failed { "error" } else { "ok" });
        }
        Ok(row)
    }
}

fn entry(call: &CallRecord, row_id: Option<String>) -> side::Entry {
    side::Entry {
        id: call.call_id,
        row_id,
        record: call.encode(),
    }
}

/// Whether the row of another call carries this one: a guard's around a call whose row the proxy made. Whoever counts
/// rows or adds tokens up in a table without layers would count such a call twice (promise CM-5). An answer out of a
/// cache passed no proxy and has no other row.
fn another_row_stands_for(call: &CallRecord) -> bool {
    call.is_counted_elsewhere() && call.cache_hit != Some(true)
}

fn sqlstate(error: &StoreError) -> Option<&str> {
    match error {
        StoreError::Server(error) => error.code(),
        _ => None,
    }
}

/// A call that another writer put in between looking and writing is there now: starting over finds it.
fn as_contended(error: StoreError) -> StoreError {
    let is_side = |text: &str| text.contains(super::shape::SIDE_TABLE);
    if sqlstate(&error) == Some(UNIQUE_VIOLATION) && is_side(&error.to_string()) {
        LegacyError::Contended.into()
    } else {
        error
    }
}

impl Standing {
    /// Whether rows can be written as the tables are.
    pub(super) fn ready(self) -> Result<Shape, StoreError> {
        let side = self.shape.side_table();
        let error = match self.side {
            super::catalogue::Side::Ready => return Ok(self.shape),
            super::catalogue::Side::Missing => LegacyError::NoSideTable {
                table: self.shape.table(),
                side,
            },
            super::catalogue::Side::Foreign => LegacyError::ForeignSideTable { side },
            super::catalogue::Side::Locked => LegacyError::SideRights { side },
        };
        Err(error.into())
    }
}
