//! The table `ai_calls` on PostgreSQL: its shape, the sink that writes it, the questions asked of it.
//!
//! The table is the user's: it is written as it is, never changed. What callmeter must remember of a call stands in
//! a side table of its own, `callmeter_ai_calls`: the call's id, the row's id and the record as merged so far,
//! written in the same transaction as the row and pruned at the dedup horizon.

mod admin;
mod catalogue;
mod judge;
mod reader;
mod rows;
mod shape;
mod side;
mod sink;
mod statements;

pub use self::admin::LegacyTable;
pub(super) use self::admin::make_side_table;
pub(super) use self::catalogue::Side;
pub use self::reader::LegacyReader;
pub(super) use self::rows::{joined, read, selected};
pub(super) use self::shape::{ID_COLUMNS, Purpose, Shape, TABLE};
pub use self::sink::LegacyStore;
pub(super) use self::statements::quoted;
use callmeter_core::Timestamp;

use super::connect::Tx;
use crate::{LegacyError, StoreError};

/// A table that can be written, and what is beside it.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) shape: Shape,
    pub(super) side: Side,
    /// Whether policies hide rows from this role.
    pub(super) row_security: bool,
}

/// Reads and judges the table.
pub(super) fn standing(
    tx: &mut Tx<'_>,
    time_column: Option<&str>,
    purpose: Purpose,
) -> Result<Standing, StoreError> {
    let Some(found) = catalogue::describe(tx)? else {
        return Err(LegacyError::NoTable {
            store: tx.shown().to_owned(),
        }
        .into());
    };
    match Shape::of(&found.table, time_column, purpose) {
        Ok(shape) => Ok(Standing {
            shape,
            side: found.side,
            row_security: found.table.row_security,
        }),
        Err(problems) => Err(LegacyError::Unfit {
            table: format!("{}.{TABLE}", statements::quoted(&found.table.schema)),
            problems: problems
                .into_iter()
                .map(|problem| format!("{} ({})", problem.what, problem.remedy))
                .collect(),
        }
        .into()),
    }
}

/// The shape of a table that a sink may write now.
pub(super) fn ready_shape(tx: &mut Tx<'_>, time_column: Option<&str>) -> Result<Shape, StoreError> {
    standing(tx, time_column, Purpose::Write)?.ready()
}

/// When the oldest row's call ended; a month earlier, for what took long.
pub(super) fn oldest(tx: &mut Tx<'_>, shape: &Shape) -> Result<Option<Timestamp>, StoreError> {
    const MONTH_US: i64 = 31 * 86_400_000_000;
    let oldest = format!("min({})", rows::zoned(shape, "t"));
    let sql = format!(
        "SELECT count(*) > 0, {} FROM {} t",
        rows::micros(&oldest),
        shape.table()
    );
    let row = tx.query_opt(&sql, &[])?;
    Ok(row
        .filter(|row| row.get(0))
        .map(|row| Timestamp::from_micros(row.get(1)).saturating_add_micros(-MONTH_US)))
}

/// The statements that make the side table and give `role` the rights that a sink needs.
///
/// # Errors
/// When the table cannot be written whatever is beside it.
fn side_statements(
    tx: &mut Tx<'_>,
    time_column: Option<&str>,
    role: Option<&str>,
) -> Result<Vec<String>, StoreError> {
    let Standing { shape, .. } = standing(tx, time_column, Purpose::Write)?;
    Ok(side::statements(&shape, role))
}
