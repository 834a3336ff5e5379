//! The description of a table, read from the catalogue: columns, checks, triggers, rules, rights.
//!
//! Everything is read in one snapshot, at connect. Checks are not parsed but asked: the server evaluates them over
//! rows such as callmeter writes, without a table and without a row being stored.

use tokio_postgres::types::Type;

use super::shape::{COLUMNS, Check, Column, Description, SIDE_TABLE, TABLE, Trigger};
use super::statements::{literal, quoted};
use crate::StoreError;
use crate::postgres::connect::{Tx, text};

/// Rows such as callmeter writes: what they are, then the values of [`COLUMNS`] as SQL.
const PROBES: &[(&str, [&str; 14])] = &[
    (
        "a call of which little is known",
        [
            "'unknown'",
            "'unknown'",
            "'unknown'",
            "0",
            "0",
            "0",
            "'ok'",
            "NULL",
            "0",
            "false",
            "false",
            "NULL",
            "NULL",
            "'{}'",
        ],
    ),
    (
        "a call with status error",
        [
            "'sales_copy'",
            "'gemini'",
            "'gemini-2.5-pro'",
            "0",
            "0",
            "31",
            "'error'",
            "NULL",
            "0",
            "false",
            "false",
            "'r1'",
            "'TimeoutError'",
            "'{\"callmeter.status\": \"cancelled\"}'",
        ],
    ),
    (
        "a call with status fallback",
        [
            "'sales_copy'",
            "'gcp_ollama'",
            "'llama3.1:8b'",
            "7",
            "0",
            "31",
            "'fallback'",
            "'gemini_backup'",
            "0",
            "true",
            "true",
            "'r1'",
            "'TimeoutError'",
            "'{\"n\": 1}'",
        ],
    ),
    (
        "a call of an hour with a million tokens",
        [
            "'sales_copy'",
            "'claude'",
            "'claude-opus-4-7'",
            "1000000",
            "100000",
            "3600000",
            "'ok'",
            "NULL",
            "22.5",
            "true",
            "true",
            "'r1'",
            "NULL",
            "'{}'",
        ],
    ),
];

/// What the catalogue says of the tables.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) table: Description,
    pub(crate) side: Side,
}

/// The side table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Missing,
    /// It is there, but not as this version made it.
    Foreign,
    /// The role lacks a right to it.
    Locked,
    Ready,
}

/// Describes `ai_calls`, as the search path finds it; `None` when there is none.
pub(crate) fn describe(tx: &mut Tx<'_>) -> Result<Option<Found>, StoreError> {
    let row = tx.query_opt(
        "SELECT n.nspname::text, c.relkind::text, current_user::text, row_security_active(c.oid)
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)",
        &[text(&TABLE)],
    )?;
    let Some(row) = row else {
        return Ok(None);
    };
    let schema: String = row.get(0);
    let qualified = format!("{}.{TABLE}", quoted(&schema));
    let mut table = Description {
        kind: row.get(1),
        role: row.get(2),
        row_security: row.get(3),
        columns: columns(tx, &qualified)?,
        triggers: triggers(tx, &qualified)?,
        schema,
        ..Description::default()
    };
    table.primary_key = names(
        tx,
        "SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid
         AND a.attnum = ANY (i.indkey) WHERE i.indisprimary AND i.indrelid = to_regclass($1)",
        &qualified,
    )?;
    table.insert_rules = names(
        tx,
        "SELECT rulename::text FROM pg_rewrite WHERE ev_type = '3' AND ev_class = to_regclass($1)",
        &qualified,
    )?;
    let sequence = tx.query_opt(
        "SELECT s.oid::regclass::text, has_sequence_privilege(s.oid, 'USAGE, UPDATE') FROM pg_attrdef d
         JOIN pg_depend p ON p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass
         JOIN (SELECT oid FROM pg_class WHERE relkind = 'S' OFFSET 0) s ON s.oid = p.refobjid
         WHERE d.adrelid = to_regclass($1)",
        &[text(&qualified)],
    )?;
    if let Some(row) = sequence {
        let name: String = row.get(0);
        table.locked_sequence = (!row.get::<_, bool>(1)).then(|| name.clone());
        table.sequence = Some(name);
    }
    table.checks = checks(tx, &table, &qualified)?;
    let side = side(tx, &table.schema)?;
    Ok(Some(Found { table, side }))
}

fn names(tx: &mut Tx<'_>, sql: &str, table: &str) -> Result<Vec<String>, StoreError> {
    let rows = tx.query(sql, &[text(&table)])?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

fn columns(tx: &mut Tx<'_>, table: &str) -> Result<Vec<Column>, StoreError> {
    // A domain stands for its base type.
    let rows = tx.query(
        "SELECT a.attname::text, b.typname::text, format_type(a.atttypid, a.atttypmod), b.typtype::text,
                CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,
                a.attnotnull OR t.typnotnull, pg_get_expr(d.adbin, d.adrelid), a.attidentity::text,
                a.attgenerated <> '', has_column_privilege(a.attrelid, a.attnum, 'INSERT'),
                has_column_privilege(a.attrelid, a.attnum, 'SELECT'),
                has_column_privilege(a.attrelid, a.attnum, 'UPDATE'),
                ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = b.oid ORDER BY e.enumsortorder)
         FROM pg_attribute a
         JOIN pg_type t ON t.oid = a.atttypid
         JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
         LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        &[text(&table)],
    )?;
    let column = |row: &tokio_postgres::Row| Column {
        name: row.get(0),
        type_name: row.get(1),
        sql_type: row.get(2),
        type_kind: row.get(3),
        typmod: row.get(4),
        not_null: row.get(5),
        default: row.get(6),
        identity: row.get(7),
        generated: row.get(8),
        may_insert: row.get(9),
        may_select: row.get(10),
        may_update: row.get(11),
        labels: row.get(12),
    };
    Ok(rows.iter().map(column).collect())
}

fn triggers(tx: &mut Tx<'_>, table: &str) -> Result<Vec<Trigger>, StoreError> {
    // tgtype: 1 for each row, 2 before, 4 insert, 16 update.
    let rows = tx.query(
        "SELECT tgname::text, tgtype & 3 = 3, tgtype & 4 <> 0, tgtype & 16 <> 0 FROM pg_trigger
         WHERE tgrelid = to_regclass($1) AND NOT tgisinternal AND tgenabled IN ('O', 'A') ORDER BY tgname",
        &[text(&table)],
    )?;
    let trigger = |row: &tokio_postgres::Row| Trigger {
        name: row.get(0),
        is_before: row.get(1),
        on_insert: row.get(2),
        on_update: row.get(3),
    };
    Ok(rows.iter().map(trigger).collect())
}

fn checks(tx: &mut Tx<'_>, table: &Description, qualified: &str) -> Result<Vec<Check>, StoreError> {
    let rows = tx.query(
        "SELECT conname::text, pg_get_expr(conbin, conrelid), ARRAY(SELECT a.attname::text FROM pg_attribute a
                WHERE a.attrelid = conrelid AND a.attnum = ANY (conkey) ORDER BY a.attnum)
         FROM pg_constraint WHERE contype = 'c' AND conrelid = to_regclass($1) ORDER BY conname",
        &[text(&qualified)],
    )?;
    let mut checks = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut check = Check {
            name: row.get(0),
            expression: row.get(1),
            columns: row.get(2),
            refuses: None,
        };
        // What hangs on the host's own names, or on columns that are not ours, is met row by row.
        let is_ours = |name: &String| {
            COLUMNS.contains(&name.as_str())
                && !matches!(name.as_str(), "caller" | "provider" | "model")
        };
        if check.columns.iter().all(is_ours) && is_complete(table) {
            check.refuses = refused_probe(tx, table, &check.expression)?;
        }
        checks.push(check);
    }
    Ok(checks)
}

fn is_complete(table: &Description) -> bool {
    let has = |name: &str| table.columns.iter().any(|column| column.name == name);
    COLUMNS.iter().all(|name| has(name))
}

/// The first of the probes that a check refuses.
fn refused_probe(
    tx: &mut Tx<'_>,
    table: &Description,
    expression: &str,
) -> Result<Option<String>, StoreError> {
    let types: Vec<&str> = COLUMNS
        .iter()
        .filter_map(|name| table.columns.iter().find(|column| column.name == *name))
        .map(|column| column.sql_type.as_str())
        .collect();
    let rows: Vec<String> = PROBES
        .iter()
        .map(|(what, values)| {
            let values = values.iter().zip(COLUMNS).zip(&types);
            let values = values.map(|((value, name), sql_type)| {
                format!("CAST({value} AS {sql_type}) AS {}", quoted(name))
            });
            let values: Vec<String> = values.collect();
            format!(
                "SELECT {} AS \"callmeter what\", {}",
                literal(what),
                values.join(", ")
            )
        })
        .collect();
    let sql = format!(
        "SELECT \"callmeter what\" FROM ({}) AS {TABLE} WHERE ({expression}) IS FALSE LIMIT 1",
        rows.join(" UNION ALL ")
    );
    // A check that cannot be asked (a function of the user's, a type without such a value) is met row by row.
    tx.batch("SAVEPOINT callmeter_probe")?;
    match tx.query_opt(&sql, &[]) {
        Ok(row) => {
            tx.batch("RELEASE SAVEPOINT callmeter_probe")?;
            Ok(row.map(|row| row.get(0)))
        }
        Err(error) if error.code().is_some() => {
            tx.batch("ROLLBACK TO SAVEPOINT callmeter_probe; RELEASE SAVEPOINT callmeter_probe")?;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn side(tx: &mut Tx<'_>, schema: &str) -> Result<Side, StoreError> {
    let qualified = format!("{}.{SIDE_TABLE}", quoted(schema));
    let row = tx.query_opt(
        "SELECT has_table_privilege(o, 'INSERT') AND has_table_privilege(o, 'SELECT')
                AND has_table_privilege(o, 'DELETE'),
                ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = o AND a.attnum > 0
                      AND NOT a.attisdropped ORDER BY a.attnum) @> $2
         FROM (SELECT to_regclass($1)::oid AS o) AS side WHERE o IS NOT NULL",
        &[
            text(&qualified),
            (&["hi", "lo", "row_id", "record"].as_slice(), Type::TEXT_ARRAY),
        ],
    )?;
    Ok(match row {
        None => Side::Missing,
        Some(row) if !row.get::<_, bool>(1) => Side::Foreign,
        Some(row) if !row.get::<_, bool>(0) => Side::Locked,
        Some(_) => Side::Ready,
    })
}
