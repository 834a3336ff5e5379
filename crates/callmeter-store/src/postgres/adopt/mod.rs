//! `callmeter migrate adopt`: the full schema for a table `ai_calls`, in place, while it is written.
//!
//! The table stays what it is, with its name, columns and rows; it gets two columns, which say which call a row is.
//! Rows are taken over in batches: a batch reads rows without an id, stores their calls as any sink does (so that
//! nothing is doubled and the rollups agree), and marks the rows, all in one transaction. Whoever goes on writing the
//! table, the replaced module or callmeter, adds rows without an id: they are next.
//!
//! ```text
//! callmeter.*            the schema, if it is not there
//! callmeter_ai_calls     the side table, if it is not there
//! callmeter.adoption     how far it is
//! callmeter_hi, _lo      two columns of ai_calls; adding them rewrites nothing
//! callmeter_pending      an index of the rows that have no id yet, made while rows are written
//! batches                until none is left
//! callmeter_ids          an index of the ids, to find the row of a call
//! ```
//! Each step looks first whether it is done: a run that was killed anywhere goes on when it is started again. No
//! step holds a lock for which writers would wait longer than [`LOCK_LIMIT`].

mod batch;
mod plan;
mod state;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use callmeter_core::Clock;

pub(crate) use self::batch::Follower;
pub use self::plan::{AdoptionPlan, PlannedStep};
pub use self::state::AdoptionStatus;
pub(crate) use self::state::of_shape;
use super::connect::{Access, Limits, Session};
use super::legacy::{self, Shape};
use super::writer::PostgresStore;
use crate::{PostgresUrl, StoreError, StoreOptions};

/// How long a step that needs the table for itself waits for it; writers wait behind it as long.
const LOCK_LIMIT: Duration = Duration::from_millis(500);
/// The rows of a batch, unless told.
const BATCH_ROWS: usize = 1_000;

/// What an adoption did, as it goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Adopted {
    /// Rows that were taken over, by this run.
    pub rows: u64,
    /// Batches, by this run.
    pub batches: u64,
    /// Rows whose call the store refuses for its time; it keeps them in `rejected`.
    pub refused: u64,
    /// Rows that cannot be stored at all, by their ids, and why; they stay without an id.
    pub skipped: Vec<(String, String)>,
}

/// A step, or a batch, that an adoption just did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdoptionProgress {
    /// A step before or after the batches.
    Step(&'static str),
    /// Another one holds the table; it is tried again.
    Waiting(&'static str),
    /// A batch.
    Batch(Adopted),
}

/// The adoption of a table `ai_calls`.
pub struct Adoption {
    url: PostgresUrl,
    session: Session,
    options: StoreOptions,
    time_column: Option<String>,
    clock: Arc<dyn Clock>,
    batch_rows: usize,
}

impl std::fmt::Debug for Adoption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Adoption")
            .field("store", &self.session.shown())
            .finish_non_exhaustive()
    }
}

impl Adoption {
    /// Prepares; nothing is connected yet. `options` are those of the store that is made, if there is none.
    ///
    /// # Errors
    /// When the address cannot be worked out.
    pub fn new(
        url: &PostgresUrl,
        options: StoreOptions,
        time_column: Option<String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            url: url.clone(),
            session: Session::of_process(url)?,
            options,
            time_column,
            clock,
            batch_rows: BATCH_ROWS,
        })
    }

    /// Sets how many rows a batch has; small ones hold their locks shorter.
    pub fn set_batch_rows(&mut self, rows: usize) {
        self.batch_rows = rows.clamp(1, 10_000);
    }

    /// What an adoption would do. Changes nothing.
    ///
    /// # Errors
    /// When the table cannot be read, or cannot be adopted, with what is in the way.
    pub fn plan(&mut self) -> Result<AdoptionPlan, StoreError> {
        let (time_column, batch_rows) = (self.time_column.as_deref(), self.batch_rows);
        self.session.set_limits(patient());
        self.session.transaction(Access::Snapshot, |tx| {
            plan::plan(tx, time_column, batch_rows)
        })
    }

    /// How far the adoption is.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn status(&mut self) -> Result<AdoptionStatus, StoreError> {
        let time_column = self.time_column.as_deref();
        self.session
            .transaction(Access::Snapshot, |tx| state::status(tx, time_column))
    }

    /// Adopts the table: does what is left to do, and returns when it has caught up with whoever writes.
    ///
    /// # Errors
    /// When a step fails; what was done stays done, and the next run goes on from there.
    pub fn run(&mut self, mut tell: impl FnMut(AdoptionProgress)) -> Result<Adopted, StoreError> {
        // Whatever is in the way is found before anything is changed.
        self.plan()?;
        self.prepare(&mut tell)?;
        let shape = self.shape()?;
        let mut store = self.store()?;
        let mut adopted = Adopted::default();
        // Rows that came meanwhile, or whose transaction ended late, are found by another pass. While somebody writes
        // there is always one more: whoever needs no full batch for them has caught up.
        loop {
            let before = adopted.rows;
            self.pass(&mut store, &shape, &mut adopted, &mut tell)?;
            if adopted.rows.saturating_sub(before) < self.batch_rows as u64 {
                break;
            }
        }
        self.finish(&shape, &mut tell)?;
        self.pass(&mut store, &shape, &mut adopted, &mut tell)?;
        Ok(adopted)
    }

    /// Takes over every row that there is without an id, once.
    fn pass(
        &mut self,
        store: &mut PostgresStore,
        shape: &Shape,
        adopted: &mut Adopted,
        tell: &mut impl FnMut(AdoptionProgress),
    ) -> Result<(), StoreError> {
        batch::pass(
            &mut self.session,
            store,
            shape,
            self.batch_rows,
            adopted,
            &mut |adopted| tell(AdoptionProgress::Batch(adopted.clone())),
        )
    }

    fn shape(&mut self) -> Result<Shape, StoreError> {
        let time_column = self.time_column.as_deref();
        self.session
            .transaction(Access::Snapshot, |tx| legacy::ready_shape(tx, time_column))
    }

    fn store(&self) -> Result<PostgresStore, StoreError> {
        let (options, clock) = (self.options.clone(), Arc::clone(&self.clock));
        let mut store = PostgresStore::open(&self.url, options, clock)?;
        store.take_any_age();
        Ok(store)
    }
}

/// Limits of statements that may read a whole table.
fn patient() -> Limits {
    Limits {
        statement: Duration::from_secs(3_600),
        ..Limits::default()
    }
}
