//! What an adoption would do, worked out without changing anything.

use super::state;
use super::steps::{self, IDS_INDEX, PENDING_INDEX};
use crate::postgres::connect::{Tx, text};
use crate::postgres::legacy::{self, Purpose, Side, quoted};
use crate::{LegacyError, StoreError};

/// What an adoption would do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdoptionPlan {
    /// The table.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// Those that would be taken over.
    pub waiting: u64,
    /// Of these, those that callmeter wrote: all that it knows of them is kept.
    pub known: u64,
    /// In how many batches.
    pub batches: u64,
    /// How many rows each has.
    pub batch_rows: usize,
    /// The sum of `cost_usd` over all rows: the same before and after.
    pub cost_usd: String,
    /// The steps, in their order.
    pub steps: Vec<PlannedStep>,
    /// What somebody should know before.
    pub warnings: Vec<String>,
}

/// A step of an adoption.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedStep {
    /// What it is.
    pub what: String,
    /// The statement, where it is one.
    pub sql: Option<String>,
    /// Whether it is done already.
    pub is_done: bool,
}

pub(super) fn plan(
    tx: &mut Tx<'_>,
    time_column: Option<&str>,
    batch_rows: usize,
) -> Result<AdoptionPlan, StoreError> {
    let standing = legacy::standing(tx, time_column, Purpose::Write)?;
    let (shape, has_side) = (&standing.shape, standing.side == Side::Ready);
    refuse_what_cannot_be(tx, &standing)?;
    let waiting = state::waiting(tx, shape)?;
    let counts = tx.query_opt(
        &format!(
            "SELECT count(*), coalesce(sum(cost_usd), 0)::text FROM {}",
            shape.table()
        ),
        &[],
    )?;
    let (rows, cost_usd) = counts.map_or((0, String::new()), |row| {
        (row.get::<_, i64>(0).cast_unsigned(), row.get(1))
    });
    let known = if has_side {
        let pending = if shape.has_ids {
            format!(" WHERE t.{} IS NULL", legacy::ID_COLUMNS[1])
        } else {
            String::new()
        };
        let sql = format!(
            "SELECT count(*) FROM {} t JOIN {} s ON s.row_id = t.{}{pending}",
            shape.table(),
            shape.side_table(),
            quoted(&shape.id)
        );
        tx.query_opt(&sql, &[])?
            .map_or(0, |row| row.get::<_, i64>(0).cast_unsigned())
    } else {
        0
    };
    let has_schema = tx
        .query_opt("SELECT to_regclass('callmeter.about') IS NOT NULL", &[])?
        .is_some_and(|row| row.get(0));
    let is_finished = state::is_finished(tx)?;
    let step = |what: &str, sql: Option<String>, is_done: bool| PlannedStep {
        what: what.to_owned(),
        sql,
        is_done,
    };
    let batches = waiting.div_ceil(batch_rows.max(1) as u64);
    let table = shape.table();
    Ok(AdoptionPlan {
        rows,
        waiting,
        known,
        batches,
        batch_rows,
        cost_usd,
        steps: vec![
            step(
                "make callmeter's schema, as `callmeter migrate` does",
                None,
                has_schema,
            ),
            step("make the side table of ids", None, has_side),
            step(
                "add two columns, which rewrites nothing",
                Some(steps::add_columns(shape)),
                shape.has_ids,
            ),
            step(
                "index the rows without an id, while rows are written",
                Some(steps::make_index(PENDING_INDEX, &table, shape)),
                steps::has_index(tx, shape, PENDING_INDEX)?,
            ),
            step(
                &format!("take over {waiting} rows in about {batches} transactions"),
                None,
                shape.has_ids && waiting == 0,
            ),
            step(
                "index the ids, while rows are written",
                Some(steps::make_index(IDS_INDEX, &table, shape)),
                steps::has_index(tx, shape, IDS_INDEX)?,
            ),
            step("write down that it is done", None, is_finished),
        ],
        warnings: warnings(tx, &standing)?,
        table,
    })
}

/// What would make an adoption fail or miss rows.
fn refuse_what_cannot_be(tx: &mut Tx<'_>, standing: &legacy::Standing) -> Result<(), StoreError> {
    let what = if standing.side == Side::Foreign {
        return Err(LegacyError::ForeignSideTable {
            side: standing.shape.side_table(),
        }
        .into());
    } else if standing.row_security {
        "row level security hides rows from this role: adopt as the table's owner, or as a role with BYPASSRLS"
    } else if !is_owner(tx, &standing.shape)? {
        "this role does not own the table: adopt as its owner, who may add columns"
    } else {
        return Ok(());
    };
    Err(LegacyError::Adoption {
        what: format!("{} cannot be adopted: {what}", standing.shape.table()),
    }
    .into())
}

fn is_owner(tx: &mut Tx<'_>, shape: &legacy::Shape) -> Result<bool, StoreError> {
    let row = tx.query_opt(
        "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass($1)",
        &[text(&shape.table())],
    )?;
    Ok(row.is_some_and(|row| row.get(0)))
}

fn warnings(tx: &mut Tx<'_>, standing: &legacy::Standing) -> Result<Vec<String>, StoreError> {
    let shape = &standing.shape;
    let mut warnings = Vec::new();
    for trigger in &shape.update_triggers {
        warnings.push(format!(
            "the trigger {trigger} runs for every row that gets its id: disable it meanwhile if it should not"
        ));
    }
    // Whoever writes the table may go on; callmeter among them takes rows over only if it may.
    let writers = tx.query(
        "SELECT DISTINCT g.grantee::regrole::text FROM pg_class c, aclexplode(c.relacl) g
         WHERE c.oid = to_regclass($1) AND g.privilege_type = 'INSERT' AND g.grantee <> 0 AND g.grantee <> c.relowner
         ORDER BY 1",
        &[text(&shape.table())],
    )?;
    for row in &writers {
        let role: String = row.get(0);
        warnings.push(format!(
            "the role {role} writes the table: what it adds is taken over by the next `callmeter migrate adopt --apply`, or by itself once it \
             has the rights on callmeter's schema that `callmeter migrate print` shows"
        ));
    }
    if let Some(book) = book_of_store(tx)?.filter(|book| book != "legacy") {
        warnings.push(format!(
            "the store that is there prices by the book {book}: a row keeps its cost, but one of 0 is priced anew where the book knows its model"
        ));
    }
    if shape.widths.cost_digits.1 < 6 {
        warnings.push(
            "cost_usd has fewer than six decimals: small costs are rounded away in it".to_owned(),
        );
    }
    Ok(warnings)
}

/// The book of a store that is there already.
fn book_of_store(tx: &mut Tx<'_>) -> Result<Option<String>, StoreError> {
    let is_there = tx
        .query_opt(
            "SELECT to_regclass('callmeter.book_revisions') IS NOT NULL",
            &[],
        )?
        .is_some_and(|row| row.get(0));
    if !is_there {
        return Ok(None);
    }
    let row = tx.query_opt(
        "SELECT name FROM callmeter.book_revisions ORDER BY rev DESC LIMIT 1",
        &[],
    )?;
    Ok(row.map(|row| row.get(0)))
}
