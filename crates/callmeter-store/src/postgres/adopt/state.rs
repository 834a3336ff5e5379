//! How far an adoption is: one row in the schema, counted in the transactions that do the work.

use crate::StoreError;
use crate::postgres::connect::{Tx, int8, text};
use crate::postgres::legacy::{self, ID_COLUMNS, Purpose, Shape};

/// How far an adoption is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdoptionStatus {
    /// The table.
    pub table: String,
    /// Whether its columns of ids are there: rows may have been taken over.
    pub is_begun: bool,
    /// Whether an adoption came to its end.
    pub is_finished: bool,
    /// Rows that have been taken over.
    pub adopted: u64,
    /// Rows that have not been: of an adopted table those that came since.
    pub waiting: u64,
}

pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS callmeter.adoption (
  id smallint PRIMARY KEY CHECK (id = 1),
  table_name text NOT NULL,
  adopted bigint NOT NULL,
  begun_at timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz
)";

fn is_there(tx: &mut Tx<'_>) -> Result<bool, StoreError> {
    let row = tx.query_opt("SELECT to_regclass('callmeter.adoption') IS NOT NULL", &[])?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// Writes down that an adoption of `table` began; another table's stays what it is.
pub(super) fn begin(tx: &mut Tx<'_>, table: &str) -> Result<String, StoreError> {
    tx.batch(TABLE)?;
    tx.execute(
        "INSERT INTO callmeter.adoption (id, table_name, adopted) VALUES (1, $1, 0) ON CONFLICT (id) DO NOTHING",
        &[text(&table)],
    )?;
    let row = tx.query_opt("SELECT table_name FROM callmeter.adoption", &[])?;
    Ok(row.map_or_else(String::new, |row| row.get(0)))
}

/// Adds to the rows that have been taken over.
pub(super) fn count(tx: &mut Tx<'_>, rows: usize) -> Result<(), StoreError> {
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    tx.execute(
        "UPDATE callmeter.adoption SET adopted = adopted + $1",
        &[int8(&rows)],
    )?;
    Ok(())
}

/// Writes down that it came to its end.
pub(super) fn finish(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    tx.batch("UPDATE callmeter.adoption SET finished_at = now() WHERE finished_at IS NULL")?;
    Ok(())
}

/// Whether an adoption came to its end.
pub(super) fn is_finished(tx: &mut Tx<'_>) -> Result<bool, StoreError> {
    if !is_there(tx)? {
        return Ok(false);
    }
    let row = tx.query_opt(
        "SELECT finished_at IS NOT NULL FROM callmeter.adoption",
        &[],
    )?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// Rows without an id.
pub(super) fn waiting(tx: &mut Tx<'_>, shape: &Shape) -> Result<u64, StoreError> {
    let [_, lo] = ID_COLUMNS;
    let filter = if shape.has_ids {
        format!(" WHERE {lo} IS NULL")
    } else {
        String::new()
    };
    let sql = format!("SELECT count(*) FROM {}{filter}", shape.table());
    let row = tx.query_opt(&sql, &[])?;
    Ok(row.map_or(0, |row| row.get::<_, i64>(0).cast_unsigned()))
}

pub(super) fn status(
    tx: &mut Tx<'_>,
    time_column: Option<&str>,
) -> Result<AdoptionStatus, StoreError> {
    let shape = legacy::standing(tx, time_column, Purpose::Read)?.shape;
    of_shape(tx, &shape)
}

/// How far the adoption of a table of this shape is.
pub(crate) fn of_shape(tx: &mut Tx<'_>, shape: &Shape) -> Result<AdoptionStatus, StoreError> {
    let adopted = if shape.has_ids && is_there(tx)? {
        tx.query_opt("SELECT adopted FROM callmeter.adoption", &[])?
            .map_or(0, |row| row.get::<_, i64>(0).cast_unsigned())
    } else {
        0
    };
    Ok(AdoptionStatus {
        table: shape.table(),
        is_begun: shape.has_ids,
        is_finished: shape.has_ids && is_finished(tx)?,
        adopted,
        waiting: waiting(tx, shape)?,
    })
}
