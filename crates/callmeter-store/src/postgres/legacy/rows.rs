//! Rows of `ai_calls` as statements: inserted, updated and read, whatever the types of the columns.

use std::collections::HashMap;

use callmeter_core::{CallId, Timestamp};
use tokio_postgres::Row;

use super::shape::{COLUMNS, Clocked, ID_COLUMNS, Shape};
use super::statements::quoted;
use crate::legacy::{LegacyRow, StoredLegacyRow};
use crate::postgres::connect::{Tx, bools, int8s, text, texts};
use crate::{LegacyError, StoreError};

/// The arrays of a statement, a value for each row.
#[derive(Default)]
struct Arrays {
    caller: Vec<String>,
    provider: Vec<String>,
    model: Vec<String>,
    input_tokens: Vec<i64>,
    output_tokens: Vec<i64>,
    duration_ms: Vec<i64>,
    status: Vec<String>,
    fallback_to: Vec<Option<String>>,
    cost_usd: Vec<Option<String>>,
    cache_hit: Vec<bool>,
    rag_hit: Vec<bool>,
    request_id: Vec<Option<String>>,
    error: Vec<Option<String>>,
    meta: Vec<String>,
    at: Vec<i64>,
}

/// The names and types of [`Arrays`] in a statement.
const ARRAYS: &str = "unnest($1::text[], $2::text[], $3::text[], $4::int8[], $5::int8[], $6::int8[], $7::text[], \
    $8::text[], $9::text[], $10::bool[], $11::bool[], $12::text[], $13::text[], $14::text[], $15::int8[]";
const ARRAY_NAMES: &str = "caller, provider, model, input_tokens, output_tokens, duration_ms, status, fallback_to, \
    cost_usd, cache_hit, rag_hit, request_id, error, meta, at_us";

impl Arrays {
    fn of<'r>(rows: impl Iterator<Item = &'r LegacyRow>) -> Self {
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let mut arrays = Self::default();
        for row in rows {
            arrays.caller.push(row.caller.clone());
            arrays.provider.push(row.provider.clone());
            arrays.model.push(row.model.clone());
            arrays.input_tokens.push(count(row.input_tokens));
            arrays.output_tokens.push(count(row.output_tokens));
            arrays.duration_ms.push(count(row.duration_ms));
            arrays.status.push(row.status.clone());
            arrays.fallback_to.push(row.fallback_to.clone());
            arrays
                .cost_usd
                .push(row.cost_usd.map(|usd| usd.to_string()));
            arrays.cache_hit.push(row.cache_hit);
            arrays.rag_hit.push(row.rag_hit);
            arrays.request_id.push(row.request_id.clone());
            arrays.error.push(row.error.clone());
            arrays.meta.push(row.meta.clone());
            arrays.at.push(row.ended_at.as_micros());
        }
        arrays
    }

    fn params(&self) -> Vec<crate::postgres::connect::Param<'_>> {
        vec![
            texts(&self.caller),
            texts(&self.provider),
            texts(&self.model),
            int8s(&self.input_tokens),
            int8s(&self.output_tokens),
            int8s(&self.duration_ms),
            texts(&self.status),
            texts(&self.fallback_to),
            texts(&self.cost_usd),
            bools(&self.cache_hit),
            bools(&self.rag_hit),
            texts(&self.request_id),
            texts(&self.error),
            texts(&self.meta),
            int8s(&self.at),
        ]
    }
}

/// A value of an array as its column takes it.
fn casts(shape: &Shape) -> Vec<String> {
    COLUMNS
        .iter()
        .zip(&shape.types)
        .map(|(name, sql_type)| match *name {
            "cost_usd" => format!("CAST(g.cost_usd::numeric AS {sql_type})"),
            _ => format!("CAST(g.{name} AS {sql_type})"),
        })
        .collect()
}

/// A moment in microseconds as the time column takes it.
pub(crate) fn moment(shape: &Shape, micros: &str) -> String {
    let zoned = format!("(timestamptz 'epoch' + interval '1 microsecond' * {micros})");
    match shape.clocked {
        Clocked::Zoned => zoned,
        Clocked::Session => format!("{zoned}::timestamp"),
        Clocked::Utc => format!("({zoned} AT TIME ZONE 'UTC')"),
    }
}

/// The time column as a moment.
pub(crate) fn zoned(shape: &Shape, of: &str) -> String {
    let column = format!("{of}.{}", quoted(&shape.time));
    match shape.clocked {
        Clocked::Zoned => column,
        Clocked::Session => format!("({column}::timestamptz)"),
        Clocked::Utc => format!("({column} AT TIME ZONE 'UTC')"),
    }
}

/// A moment of the database in microseconds.
pub(crate) fn micros(moment: &str) -> String {
    format!("coalesce((extract(epoch FROM {moment}) * 1000000)::int8, 0)")
}

/// Whether the columns of adoption are there by now, and stay away until this transaction ends otherwise.
pub(crate) fn has_ids(tx: &mut Tx<'_>, shape: &Shape) -> Result<bool, StoreError> {
    // Whoever adds them waits for this lock, which lasts to the end.
    tx.batch(&format!("SELECT FROM {} LIMIT 0", shape.table()))?;
    let row = tx.query_opt(
        "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND NOT attisdropped)",
        &[text(&shape.table()), text(&ID_COLUMNS[1])],
    )?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// Inserts rows; gives the ids that the database gave them, in their order.
pub(crate) fn insert(
    tx: &mut Tx<'_>,
    shape: &Shape,
    rows: &[LegacyRow],
) -> Result<Vec<String>, StoreError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let arrays = Arrays::of(rows.iter());
    let params = arrays.params();
    // In the order of the batch: the ids that come back belong to its rows one by one.
    let sql = format!(
        "INSERT INTO {} AS t ({}, {}) SELECT {}, {} FROM {ARRAYS}) WITH ORDINALITY AS g({ARRAY_NAMES}, n)
         ORDER BY g.n RETURNING t.{}::text",
        shape.table(),
        COLUMNS.join(", "),
        quoted(&shape.time),
        casts(shape).join(", "),
        moment(shape, "g.at_us"),
        quoted(&shape.id),
    );
    let inserted = tx.query(&sql, &params)?;
    if inserted.len() != rows.len() {
        return Err(LegacyError::Suppressed {
            table: shape.table(),
            sent: rows.len(),
            taken: inserted.len(),
            triggers: shape.triggers.clone(),
        }
        .into());
    }
    Ok(inserted.iter().map(|row| row.get(0)).collect())
}

/// Writes rows over those that are there; one that is gone is gone.
pub(crate) fn update(
    tx: &mut Tx<'_>,
    shape: &Shape,
    rows: &[(String, LegacyRow)],
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    // A row that was taken over is to be so again.
    let unmarked: &[&str] = if shape.has_ids { &ID_COLUMNS } else { &[] };
    let arrays = Arrays::of(rows.iter().map(|(_, row)| row));
    let row_ids: Vec<&str> = rows.iter().map(|(id, _)| id.as_str()).collect();
    let mut params = arrays.params();
    params.push(texts(&row_ids));
    let sets: Vec<String> = COLUMNS
        .iter()
        .zip(casts(shape))
        .map(|(name, value)| format!("{name} = {value}"))
        .chain(unmarked.iter().map(|name| format!("{name} = NULL")))
        .collect();
    let sql = format!(
        "UPDATE {} AS t SET {}, {} = {} FROM {ARRAYS}, $16::text[]) AS g({ARRAY_NAMES}, row_id)
         WHERE t.{} = CAST(g.row_id AS {})",
        shape.table(),
        sets.join(", "),
        quoted(&shape.time),
        moment(shape, "g.at_us"),
        quoted(&shape.id),
        shape.id_type,
    );
    tx.execute(&sql, &params)?;
    Ok(())
}

/// What [`read`] expects of table `t` and side table `s`, in its order.
pub(crate) fn selected(shape: &Shape) -> String {
    format!(
        "t.{}::text, {}, t.caller::text, t.provider::text, t.model::text, t.input_tokens::int8, t.output_tokens::int8,
         t.duration_ms::int8, t.status::text, t.fallback_to::text, t.cost_usd::text, t.cache_hit, t.rag_hit,
         t.request_id::text, t.error::text, t.meta::text, s.hi, s.lo, s.record",
        quoted(&shape.id),
        micros(&zoned(shape, "t")),
    )
}

/// The table and what the side table, if it can be read, knows of its rows.
pub(crate) fn joined(shape: &Shape, has_side: bool) -> String {
    let table = shape.table();
    if has_side {
        let side = shape.side_table();
        format!(
            "{table} t LEFT JOIN {side} s ON s.row_id = t.{}",
            quoted(&shape.id)
        )
    } else {
        format!(
            "{table} t LEFT JOIN (SELECT NULL::int8 AS hi, NULL::int8 AS lo, NULL::bytea AS record) s ON false"
        )
    }
}

/// A row of [`selected`]; the record of the side table beside it.
pub(crate) fn read(row: &Row) -> (StoredLegacyRow, Option<Vec<u8>>) {
    let (hi, lo): (Option<i64>, Option<i64>) = (row.get(16), row.get(17));
    let stored = StoredLegacyRow {
        row_id: row.get::<_, Option<String>>(0).unwrap_or_default(),
        at: Timestamp::from_micros(row.get::<_, Option<i64>>(1).unwrap_or(0)),
        caller: row.get(2),
        provider: row.get(3),
        model: row.get(4),
        input_tokens: row.get(5),
        output_tokens: row.get(6),
        duration_ms: row.get(7),
        status: row.get(8),
        fallback_to: row.get(9),
        cost_usd: row.get(10),
        cache_hit: row.get(11),
        rag_hit: row.get(12),
        request_id: row.get(13),
        error: row.get(14),
        meta: row.get(15),
        known_id: hi.zip(lo).and_then(|(hi, lo)| CallId::from_halves(hi, lo)),
    };
    (stored, row.get(18))
}

/// Which status words a table takes, as far as was asked.
#[derive(Debug, Default)]
pub(crate) struct StatusWords(HashMap<String, bool>);

/// How many words are remembered.
const REMEMBERED: usize = 200;

impl StatusWords {
    /// Whether the table takes `word`.
    pub(crate) fn takes(
        &mut self,
        tx: &mut Tx<'_>,
        shape: &Shape,
        word: &str,
    ) -> Result<bool, StoreError> {
        if matches!(word, "ok" | "error" | "fallback") {
            return Ok(true);
        }
        if !shape.status_labels.is_empty() {
            return Ok(shape.status_labels.iter().any(|label| label == word));
        }
        if shape.status_checks.is_empty() {
            return Ok(true);
        }
        if let Some(known) = self.0.get(word) {
            return Ok(*known);
        }
        let at = COLUMNS.iter().position(|name| *name == "status");
        let sql_type = at
            .and_then(|at| shape.types.get(at))
            .map_or("text", String::as_str);
        let sql = format!(
            "SELECT (({}) IS NOT FALSE) FROM (SELECT CAST($1 AS {sql_type}) AS status) AS ai_calls",
            shape.status_checks.join(") IS NOT FALSE AND (")
        );
        let takes = tx
            .query_opt(&sql, &[text(&word)])?
            .is_none_or(|row| row.get(0));
        if self.0.len() >= REMEMBERED {
            self.0.clear();
        }
        self.0.insert(word.to_owned(), takes);
        Ok(takes)
    }
}
