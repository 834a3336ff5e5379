//! The side table: which calls callmeter wrote, in which row, and all that it knows of them.
//!
//! ```text
//! hi, lo   the call's id
//! row_id   the row of ai_calls; null for a call that another call's row stands for
//! record   the record as merged so far, encoded
//! ```
//! A role needs SELECT, INSERT and DELETE: a record that changes is taken out and put in again, which is also the
//! lock by which writers of the same call meet.

use callmeter_core::{CallId, CallRecord};

use super::shape::{SIDE_TABLE, Shape, TABLE};
use super::statements::quoted;
use crate::StoreError;
use crate::postgres::connect::{Tx, byteas, int8, int8s, text, texts};

/// The most rows that are pruned in one statement.
const PRUNE_ROWS: i64 = 5_000;

/// What the side table has of a call.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    pub(super) id: CallId,
    pub(super) row_id: Option<String>,
    pub(super) record: Vec<u8>,
}

/// An entry to be put in.
pub(super) struct Entry {
    pub(super) id: CallId,
    pub(super) row_id: Option<String>,
    pub(super) record: Vec<u8>,
}

/// The statements that make it, for the table's owner; with a role, its rights.
pub(super) fn statements(shape: &Shape, role: Option<&str>) -> Vec<String> {
    let side = shape.side_table();
    let table = shape.table();
    let mut statements = vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {side} (hi bigint NOT NULL, lo bigint NOT NULL, row_id {}, \
             record bytea NOT NULL, PRIMARY KEY (hi, lo))",
            shape.id_type
        ),
        format!("CREATE INDEX IF NOT EXISTS {SIDE_TABLE}_by_row ON {side} (row_id)"),
        format!(
            "COMMENT ON TABLE {side} IS 'the calls that callmeter wrote into {TABLE}; format 1'"
        ),
    ];
    if let Some(role) = role {
        let role = quoted(role);
        statements.push(format!("GRANT SELECT, INSERT ON {table} TO {role}"));
        if let Some(sequence) = &shape.sequence {
            statements.push(format!("GRANT USAGE ON SEQUENCE {sequence} TO {role}"));
        }
        statements.push(format!("GRANT SELECT, INSERT, DELETE ON {side} TO {role}"));
    }
    statements
}

fn halves(ids: &[CallId]) -> (Vec<i64>, Vec<i64>) {
    ids.iter().map(|id| (id.hi(), id.lo())).unzip()
}

/// What it has of `ids`.
pub(super) fn find(
    tx: &mut Tx<'_>,
    shape: &Shape,
    ids: &[CallId],
) -> Result<Vec<Known>, StoreError> {
    let (his, los) = halves(ids);
    let sql = format!(
        "SELECT s.hi, s.lo, s.row_id::text, s.record FROM unnest($1::int8[], $2::int8[]) AS g(hi, lo)
         JOIN {} s ON s.hi = g.hi AND s.lo = g.lo ORDER BY s.hi, s.lo",
        shape.side_table()
    );
    let rows = tx.query(&sql, &[int8s(&his), int8s(&los)])?;
    Ok(rows.iter().filter_map(known).collect())
}

/// Takes `ids` out; another writer that does the same waits, and finds them gone.
pub(super) fn take(
    tx: &mut Tx<'_>,
    shape: &Shape,
    ids: &[CallId],
) -> Result<Vec<Known>, StoreError> {
    let (his, los) = halves(ids);
    let sql = format!(
        "DELETE FROM {} s USING unnest($1::int8[], $2::int8[]) AS g(hi, lo)
         WHERE s.hi = g.hi AND s.lo = g.lo RETURNING s.hi, s.lo, s.row_id::text, s.record",
        shape.side_table()
    );
    let rows = tx.query(&sql, &[int8s(&his), int8s(&los)])?;
    let mut taken: Vec<Known> = rows.iter().filter_map(known).collect();
    taken.sort_by_key(|known| known.id);
    Ok(taken)
}

/// Puts calls in, in the order of their ids. A call that another writer put in meanwhile is an error, and all is undone.
pub(super) fn put(
    tx: &mut Tx<'_>,
    shape: &Shape,
    mut entries: Vec<Entry>,
) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    entries.sort_by_key(|entry| entry.id);
    let ids: Vec<CallId> = entries.iter().map(|entry| entry.id).collect();
    let (his, los) = halves(&ids);
    let row_ids: Vec<Option<&str>> = entries
        .iter()
        .map(|entry| entry.row_id.as_deref())
        .collect();
    let records: Vec<&[u8]> = entries
        .iter()
        .map(|entry| entry.record.as_slice())
        .collect();
    let sql = format!(
        "INSERT INTO {} (hi, lo, row_id, record)
         SELECT g.hi, g.lo, CAST(g.row_id AS {}), g.record
         FROM unnest($1::int8[], $2::int8[], $3::text[], $4::bytea[]) AS g(hi, lo, row_id, record)",
        shape.side_table(),
        shape.id_type
    );
    let params = [int8s(&his), int8s(&los), texts(&row_ids), byteas(&records)];
    tx.execute(&sql, &params)?;
    Ok(())
}

/// Whether it takes calls without a row. One that an older version made does once `callmeter migrate` has run.
pub(super) fn takes_calls_without_a_row(
    tx: &mut Tx<'_>,
    shape: &Shape,
) -> Result<bool, StoreError> {
    let row = tx.query_opt(
        "SELECT NOT attnotnull FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = 'row_id'",
        &[text(&shape.side_table())],
    )?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// Lets a table of an older version take calls without a row, for its owner.
pub(super) fn let_in_calls_without_a_row(tx: &mut Tx<'_>, shape: &Shape) -> Result<(), StoreError> {
    if !takes_calls_without_a_row(tx, shape)? {
        let side = shape.side_table();
        tx.batch(&format!(
            "ALTER TABLE {side} ALTER COLUMN row_id DROP NOT NULL"
        ))?;
    }
    Ok(())
}

/// Removes a slice of the calls that started before `hi`; says how many.
pub(super) fn prune(tx: &mut Tx<'_>, shape: &Shape, hi: i64) -> Result<u64, StoreError> {
    let side = shape.side_table();
    let sql = format!(
        "DELETE FROM {side} s USING (SELECT hi, lo FROM {side} WHERE hi < $1 ORDER BY hi, lo LIMIT {PRUNE_ROWS}) o
         WHERE s.hi = o.hi AND s.lo = o.lo"
    );
    Ok(tx.execute(&sql, &[int8(&hi)])?)
}

fn known(row: &tokio_postgres::Row) -> Option<Known> {
    Some(Known {
        id: CallId::from_halves(row.get(0), row.get(1))?,
        row_id: row.get(2),
        record: row.get(3),
    })
}

/// The record as it was merged; one that a newer version wrote otherwise is as far as it can be read.
pub(super) fn decoded(known: &Known) -> Result<CallRecord, StoreError> {
    Ok(CallRecord::decode(&known.record)?)
}
