//! A batch of rows that become calls: read, stored, marked.
//!
//! The calls are worked out from a first look at the rows. In the writing transaction the rows are locked and looked
//! at again: if somebody changed one in between, all of it starts over. So a call is never stored from a row that is
//! no longer so, and a row never marked whose call was not stored.

use std::sync::Arc;
use std::time::{Duration, Instant};

use callmeter_core::{CallRecord, Clock, SinkErrorKind};

use super::{Adopted, state};
use crate::postgres::connect::{Access, Session, Tx, int8s, text, texts};
use crate::postgres::legacy::{ID_COLUMNS, Shape, joined, quoted, read, selected};
use crate::postgres::writer::PostgresStore;
use crate::{LegacyError, PostgresUrl, StoreError, StoreOptions};

/// How often a batch starts over when somebody changes its rows meanwhile.
const ATTEMPTS: u32 = 20;
/// Rows that a sink takes over after a batch of its own.
const FOLLOW_ROWS: usize = 1_000;
/// How long a sink that cannot take rows over waits before it tries again.
const FOLLOW_PAUSE: Duration = Duration::from_secs(60);

/// A row and the call that it becomes.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    id: String,
    record: CallRecord,
}

/// Takes over every row without an id, from the first on, once.
pub(super) fn pass(
    session: &mut Session,
    store: &mut PostgresStore,
    shape: &Shape,
    batch_rows: usize,
    adopted: &mut Adopted,
    tell: &mut dyn FnMut(&Adopted),
) -> Result<(), StoreError> {
    let mut last: Option<String> = None;
    loop {
        let Some(done) = one(session, store, shape, last.as_deref(), batch_rows, adopted)? else {
            return Ok(());
        };
        tell(adopted);
        // What is written just now is for the next pass.
        if done.is_end {
            return Ok(());
        }
        last = Some(done.last);
    }
}

/// Rows that were dealt with.
struct Done {
    /// The id of the last of them.
    last: String,
    /// Whether there were no more behind it.
    is_end: bool,
}

/// Takes over the next rows behind `after`; `None` when there was none.
fn one(
    session: &mut Session,
    store: &mut PostgresStore,
    shape: &Shape,
    after: Option<&str>,
    limit: usize,
    adopted: &mut Adopted,
) -> Result<Option<Done>, StoreError> {
    let mut limit = limit;
    let mut attempt = 0_u32;
    loop {
        let rows = session.transaction(Access::Snapshot, |tx| pending(tx, shape, after, limit))?;
        let Some(last) = rows.last() else {
            return Ok(None);
        };
        let done = Done {
            last: last.id.clone(),
            is_end: rows.len() < limit,
        };
        let error = match take_over(store, shape, &rows) {
            Ok(refused) => {
                adopted.rows += rows.len() as u64;
                adopted.batches += 1;
                adopted.refused += refused;
                return Ok(Some(done));
            }
            Err(error) => error,
        };
        match error.sink_kind() {
            SinkErrorKind::Busy if attempt < ATTEMPTS => attempt += 1,
            // The row that can never be stored is found by halving.
            SinkErrorKind::Reject if rows.len() > 1 => limit = rows.len().div_ceil(2),
            SinkErrorKind::Reject => {
                adopted.skipped.push((done.last.clone(), error.to_string()));
                return Ok(Some(done));
            }
            _ => return Err(error),
        }
    }
}

/// Rows without an id behind `after`, and their calls.
fn pending(
    tx: &mut Tx<'_>,
    shape: &Shape,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    let id = quoted(&shape.id);
    let [_, lo] = ID_COLUMNS;
    let behind = match after {
        Some(_) => format!("AND t.{id} > CAST($1 AS {})", shape.id_type),
        None => "AND $1 = ''".to_owned(),
    };
    let sql = format!(
        "SELECT {} FROM {} WHERE t.{lo} IS NULL {behind} ORDER BY t.{id} LIMIT {limit}",
        selected(shape),
        joined(shape, true)
    );
    let rows = tx.query(&sql, &[text(&after.unwrap_or_default())])?;
    rows.iter().map(row_of).collect()
}

fn row_of(row: &tokio_postgres::Row) -> Result<Row, StoreError> {
    let (stored, record) = read(row);
    Ok(Row {
        record: match record {
            // callmeter wrote it: all that is known of the call is there.
            Some(bytes) => CallRecord::decode(&bytes)?,
            None => stored.to_record(),
        },
        id: stored.row_id,
    })
}

/// Stores the calls of `rows` and marks these, in one transaction; says how many calls the store refused for
/// their time.
fn take_over(store: &mut PostgresStore, shape: &Shape, rows: &[Row]) -> Result<u64, StoreError> {
    let records: Vec<CallRecord> = rows.iter().map(|row| row.record.clone()).collect();
    let ack = store.store_beside(&records, |tx| {
        if locked(tx, shape, rows)? != rows {
            return Err(LegacyError::Contended.into());
        }
        mark(tx, shape, rows)?;
        state::count(tx, rows.len())
    })?;
    Ok(ack.expired)
}

/// The same rows as they are now, which nobody else changes until the transaction ends.
fn locked(tx: &mut Tx<'_>, shape: &Shape, rows: &[Row]) -> Result<Vec<Row>, StoreError> {
    let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    let id = quoted(&shape.id);
    let [_, lo] = ID_COLUMNS;
    let these = format!(
        "t.{lo} IS NULL AND t.{id} = ANY (CAST($1::text[] AS {}[]))",
        shape.id_type
    );
    tx.query(
        &format!(
            "SELECT 1 FROM {} t WHERE {these} ORDER BY t.{id} FOR UPDATE",
            shape.table()
        ),
        &[texts(&ids)],
    )?;
    // Another statement, so that it sees what was committed while the first one waited.
    let sql = format!(
        "SELECT {} FROM {} WHERE {these} ORDER BY t.{id}",
        selected(shape),
        joined(shape, true)
    );
    let found = tx.query(&sql, &[texts(&ids)])?;
    found.iter().map(row_of).collect()
}

fn mark(tx: &mut Tx<'_>, shape: &Shape, rows: &[Row]) -> Result<(), StoreError> {
    let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    let (his, los): (Vec<i64>, Vec<i64>) = rows
        .iter()
        .map(|row| (row.record.call_id.hi(), row.record.call_id.lo()))
        .unzip();
    let [hi, lo] = ID_COLUMNS;
    let sql = format!(
        "UPDATE {} AS t SET {hi} = g.hi, {lo} = g.lo
         FROM unnest($1::text[], $2::int8[], $3::int8[]) AS g(row_id, hi, lo)
         WHERE t.{} = CAST(g.row_id AS {})",
        shape.table(),
        quoted(&shape.id),
        shape.id_type
    );
    let marked = tx.execute(&sql, &[texts(&ids), int8s(&his), int8s(&los)])?;
    if marked == rows.len() as u64 {
        Ok(())
    } else {
        Err(LegacyError::Adoption {
            what: "a row cannot be marked: a trigger or rule of the table keeps updates out"
                .to_owned(),
        }
        .into())
    }
}

/// A sink of an adopted table takes over what was added, by itself and by others, after each batch.
pub(crate) struct Follower {
    url: PostgresUrl,
    options: StoreOptions,
    clock: Arc<dyn Clock>,
    store: Option<PostgresStore>,
    tried: Option<Instant>,
}

impl Follower {
    pub(crate) fn new(url: &PostgresUrl, options: StoreOptions, clock: Arc<dyn Clock>) -> Self {
        Self {
            url: url.clone(),
            options,
            clock,
            store: None,
            tried: None,
        }
    }

    /// Takes over some rows, if the table is adopted and the role may. What fails is tried again later: the rows
    /// are in the table, which is what the sink was asked for.
    pub(crate) fn follow(&mut self, session: &mut Session, shape: &Shape) {
        if self.tried.is_some_and(|at| at.elapsed() < FOLLOW_PAUSE) {
            return;
        }
        self.tried = None;
        if let Err(error) = self.try_follow(session, shape) {
            tracing::info!(
                target: "callmeter",
                %error,
                "rows of ai_calls are not taken over into callmeter's tables for now; `callmeter migrate adopt` does it"
            );
            self.store = None;
            self.tried = Some(Instant::now());
        }
    }

    fn try_follow(&mut self, session: &mut Session, shape: &Shape) -> Result<(), StoreError> {
        let is_finished = session.transaction(Access::Snapshot, state::is_finished)?;
        if !is_finished {
            return Ok(());
        }
        let store = match &mut self.store {
            Some(store) => store,
            None => {
                let (options, clock) = (self.options.clone(), Arc::clone(&self.clock));
                let mut opened = PostgresStore::open(&self.url, options, clock)?;
                opened.take_any_age();
                self.store.insert(opened)
            }
        };
        one(
            session,
            store,
            shape,
            None,
            FOLLOW_ROWS,
            &mut Adopted::default(),
        )?;
        Ok(())
    }
}
