//! What stands before and behind the batches. Each step looks first whether it is done.

use std::time::Duration;

use callmeter_core::SinkErrorKind;

use super::{Adoption, AdoptionProgress, LOCK_LIMIT, patient, state};
use crate::door::MIN_RAW_DAYS;
use crate::postgres::connect::{Access, Limits, Tx, text};
use crate::postgres::legacy::{self, ID_COLUMNS, Purpose, Shape, quoted};
use crate::postgres::migrate::PostgresSchema;
use crate::postgres::partitions;
use crate::{LegacyError, StoreError};

/// How long a step waits between two tries for the table.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it tries.
const TRIES: u32 = 120;

pub(super) const PENDING_INDEX: &str = "callmeter_pending";
pub(super) const IDS_INDEX: &str = "callmeter_ids";

type Tell<'a> = &'a mut dyn FnMut(AdoptionProgress);

/// The statement that adds the columns; nothing is rewritten.
pub(super) fn add_columns(shape: &Shape) -> String {
    let [hi, lo] = ID_COLUMNS;
    format!(
        "ALTER TABLE {} ADD COLUMN IF NOT EXISTS {hi} bigint, ADD COLUMN IF NOT EXISTS {lo} bigint",
        shape.table()
    )
}

/// The statement that makes an index of a table while it is written.
pub(super) fn make_index(index: &str, table: &str, shape: &Shape) -> String {
    let [hi, lo] = ID_COLUMNS;
    if index.starts_with(PENDING_INDEX) {
        format!(
            "CREATE INDEX CONCURRENTLY {} ON {table} ({}) WHERE {lo} IS NULL",
            quoted(index),
            quoted(&shape.id)
        )
    } else {
        format!(
            "CREATE INDEX CONCURRENTLY {} ON {table} ({hi}, {lo})",
            quoted(index)
        )
    }
}

impl Adoption {
    /// Everything before the batches.
    pub(super) fn prepare(&mut self, tell: Tell<'_>) -> Result<(), StoreError> {
        let mut schema = PostgresSchema::new(&self.url, std::sync::Arc::clone(&self.clock))?;
        schema.migrate(&self.options)?;
        tell(AdoptionProgress::Step("callmeter's schema"));
        self.make_months()?;
        tell(AdoptionProgress::Step("the months of the rows"));

        let time_column = self.time_column.clone();
        let time_column = time_column.as_deref();
        self.session.set_limits(Limits::default());
        self.session.transaction(Access::Write, |tx| {
            legacy::make_side_table(tx, time_column)?;
            let shape = legacy::ready_shape(tx, time_column)?;
            let known = state::begin(tx, &shape.table())?;
            if known == shape.table() {
                return Ok(());
            }
            Err(LegacyError::Adoption {
                what: format!(
                    "this store has adopted {known} already, and a store adopts one table: name another database in store.url"
                ),
            }
            .into())
        })?;
        tell(AdoptionProgress::Step("the side table of ids"));

        self.add_columns(tell)?;
        tell(AdoptionProgress::Step("two columns of the table"));
        self.index(PENDING_INDEX)?;
        tell(AdoptionProgress::Step("the index of rows without an id"));
        self.session.set_limits(Limits::default());
        Ok(())
    }

    /// Makes the partitions that the rows belong to.
    fn make_months(&mut self) -> Result<(), StoreError> {
        let time_column = self.time_column.clone();
        let (now, raw_days) = (self.clock.now(), self.options.raw_days);
        self.session.set_limits(patient());
        self.session.transaction(Access::Write, |tx| {
            let shape = legacy::standing(tx, time_column.as_deref(), Purpose::Write)?.shape;
            if let Some(oldest) = legacy::oldest(tx, &shape)? {
                partitions::make_from(tx, oldest, now, raw_days.max(MIN_RAW_DAYS))?;
            }
            Ok(())
        })
    }

    /// Everything behind them.
    pub(super) fn finish(&mut self, shape: &Shape, tell: Tell<'_>) -> Result<(), StoreError> {
        self.index(IDS_INDEX)?;
        tell(AdoptionProgress::Step("the index of ids"));
        self.session.set_limits(patient());
        self.session.transaction(Access::Write, |tx| {
            tx.batch(&format!(
                "COMMENT ON COLUMN {}.{} IS 'the call in callmeter.calls; null until it is taken over'",
                shape.table(),
                ID_COLUMNS[0]
            ))?;
            state::finish(tx)
        })?;
        tell(AdoptionProgress::Step("done"));
        Ok(())
    }

    /// Adds the columns. The statement needs the table for itself for a moment; while it waits for somebody who has
    /// it, writers wait behind it: so it waits no longer than a blink, and comes again.
    fn add_columns(&mut self, tell: Tell<'_>) -> Result<(), StoreError> {
        let time_column = self.time_column.clone();
        let time_column = time_column.as_deref();
        self.session.set_limits(Limits {
            lock: LOCK_LIMIT,
            ..Limits::default()
        });
        let mut tries = 0_u32;
        loop {
            let shape = self.session.transaction(Access::Snapshot, |tx| {
                Ok(legacy::standing(tx, time_column, Purpose::Write)?.shape)
            })?;
            if shape.has_ids {
                return Ok(());
            }
            let added = self
                .session
                .transaction(Access::Write, |tx| Ok(tx.batch(&add_columns(&shape))?));
            match added {
                Ok(()) => return Ok(()),
                Err(error) if error.sink_kind() == SinkErrorKind::Busy && tries < TRIES => {
                    tries += 1;
                    tell(AdoptionProgress::Waiting(
                        "another transaction has the table",
                    ));
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes an index of the table, or of each partition, that is not there; one that a killed run left unfinished
    /// is made anew.
    fn index(&mut self, index: &str) -> Result<(), StoreError> {
        let shape = self.shape()?;
        self.session.set_limits(Limits {
            statement: Duration::from_secs(24 * 3_600),
            ..Limits::default()
        });
        let tables = self
            .session
            .transaction(Access::Snapshot, |tx| parts(tx, &shape))?;
        for (schema, table, is_part) in tables {
            let qualified = format!("{}.{}", quoted(&schema), quoted(&table));
            let name = if is_part {
                // Names are unique in a schema.
                shortened(&format!("{index}_{table}"))
            } else {
                index.to_owned()
            };
            let found = self
                .session
                .transaction(Access::Snapshot, |tx| is_valid(tx, &schema, &name))?;
            match found {
                Some(true) => continue,
                Some(false) => self.session.alone(&format!(
                    "DROP INDEX CONCURRENTLY IF EXISTS {}.{}",
                    quoted(&schema),
                    quoted(&name)
                ))?,
                None => {}
            }
            self.session.alone(&make_index(&name, &qualified, &shape))?;
        }
        Ok(())
    }
}

/// The tables that hold the rows: the table itself, or its partitions.
fn parts(tx: &mut Tx<'_>, shape: &Shape) -> Result<Vec<(String, String, bool)>, StoreError> {
    let rows = tx.query(
        "SELECT n.nspname::text, c.relname::text, p.level > 0 FROM pg_partition_tree(to_regclass($1)) p
         JOIN pg_class c ON c.oid = p.relid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.isleaf",
        &[text(&shape.table())],
    )?;
    if rows.is_empty() {
        return Ok(vec![(
            shape.schema.clone(),
            legacy::TABLE.to_owned(),
            false,
        )]);
    }
    Ok(rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect())
}

/// Whether an index is whole; `None` when there is none.
fn is_valid(tx: &mut Tx<'_>, schema: &str, index: &str) -> Result<Option<bool>, StoreError> {
    let qualified = format!("{}.{}", quoted(schema), quoted(index));
    let row = tx.query_opt(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)",
        &[text(&qualified)],
    )?;
    Ok(row.map(|row| row.get(0)))
}

/// A name of at most 63 bytes.
fn shortened(name: &str) -> String {
    let mut end = name.len().min(63);
    while !name.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    name.get(..end).unwrap_or_default().to_owned()
}

/// Whether an index is there and whole.
pub(super) fn has_index(tx: &mut Tx<'_>, shape: &Shape, index: &str) -> Result<bool, StoreError> {
    Ok(is_valid(tx, &shape.schema, index)? == Some(true))
}
