//! Rows of `calls` in the embedded store: bound, and read back.

use callmeter_core::{CallId, CallRecord, Cost};
use rusqlite::{Connection, Row, Transaction};

use super::names::Names;
use crate::StoreError;
use crate::call::{self, CallNumbers, StoredCall, WordNumbers, Words};
use crate::names::NameKind;

/// Looks every word of a record up; new ones are added in the connection's transaction.
pub(super) fn numbers_of(
    conn: &Connection,
    names: &mut Names,
    record: &CallRecord,
) -> Result<WordNumbers, StoreError> {
    let scope = names.scope(conn, record)?;
    WordNumbers::of(record, scope, |kind, word| names.number(conn, kind, word))
}

/// `SELECT`s the columns that [`read`] expects, in its order, with what follows the table's name.
macro_rules! select_calls {
    ($rest:literal) => {
        concat!(
            "SELECT hi, lo, scope, caller, provider, model, status, fallback_to, call_site, host_name, sdk, \
             given, duration_us, ttft_us, input_tokens, output_tokens, cache_read_tokens, \
             cache_write_tokens, reasoning_tokens, cache_hit, rag_hit, error_kind, http_status, \
             cost_picousd, computed_cost_picousd, unpriced_reason, cost_source, price, price_match, \
             book_rev, request_key, response_key, trace_key, ext FROM calls ",
            $rest
        )
    };
}
pub(super) use select_calls;

/// Writes a call; with `replace` over the one that is there. Says whether a row was written.
pub(super) fn write(
    tx: &Transaction<'_>,
    names: &mut Names,
    numbers: &WordNumbers,
    record: &CallRecord,
    cost: &Cost,
    replace: bool,
    ext: &mut Vec<u8>,
) -> Result<bool, StoreError> {
    let price = match &cost.price_id {
        Some(id) => Some(names.number(tx, NameKind::Price, id)?),
        None => None,
    };
    let row = call::to_columns(numbers, record, cost, price, ext);
    let sql = if replace { REPLACE } else { INSERT };
    let mut statement = tx.prepare_cached(sql)?;
    let mut at = 1;
    for number in row {
        statement.raw_bind_parameter(at, number)?;
        at += 1;
    }
    statement.raw_bind_parameter(at, ext.as_slice())?;
    Ok(statement.raw_execute()? > 0)
}

const INSERT: &str = "INSERT INTO calls VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,
     ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34)
     ON CONFLICT DO NOTHING";
const REPLACE: &str = "INSERT OR REPLACE INTO calls VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11,
     ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31,
     ?32, ?33, ?34)";

/// Writes what a stored call costs now, and the marks of its record, over what is there.
pub(super) fn write_cost(
    tx: &Transaction<'_>,
    names: &mut Names,
    numbers: &WordNumbers,
    record: &CallRecord,
    cost: &Cost,
    ext: &mut Vec<u8>,
) -> Result<(), StoreError> {
    let price = match &cost.price_id {
        Some(id) => Some(names.number(tx, NameKind::Price, id)?),
        None => None,
    };
    let row = call::to_columns(numbers, record, cost, price, ext);
    let mut statement = tx.prepare_cached(
        "UPDATE calls SET given = ?1, cost_picousd = ?2, computed_cost_picousd = ?3, unpriced_reason = ?4,
         cost_source = ?5, price = ?6, price_match = ?7, book_rev = ?8, ext = ?9 WHERE hi = ?10 AND lo = ?11",
    )?;
    let [
        hi,
        lo,
        ..,
        pico,
        computed,
        reason,
        source,
        price,
        found,
        rev,
        _,
        _,
        _,
    ] = row;
    let money = [pico, computed, reason, source, price, found, rev];
    statement.raw_bind_parameter(1, row[call::GIVEN])?;
    for (at, number) in (2..).zip(money) {
        statement.raw_bind_parameter(at, number)?;
    }
    statement.raw_bind_parameter(9, ext.as_slice())?;
    statement.raw_bind_parameter(10, hi)?;
    statement.raw_bind_parameter(11, lo)?;
    statement.raw_execute()?;
    Ok(())
}

/// Reads a call by its id.
pub(super) fn find(
    conn: &Connection,
    names: &mut Names,
    id: CallId,
) -> Result<Option<StoredCall>, StoreError> {
    let mut statement = conn.prepare_cached(select_calls!("WHERE hi = ?1 AND lo = ?2"))?;
    let mut rows = statement.query((id.hi(), id.lo()))?;
    rows.next()?.map(|row| read(conn, names, row)).transpose()
}

/// Reads a call from a row of [`select_calls`].
pub(super) fn read(
    conn: &Connection,
    names: &mut Names,
    row: &Row<'_>,
) -> Result<StoredCall, StoreError> {
    let mut numbers: CallNumbers = [None; call::COLUMNS];
    for (at, number) in numbers.iter_mut().enumerate() {
        *number = row.get(at)?;
    }
    let ext = row
        .get_ref(call::COLUMNS)?
        .as_blob()
        .map_err(|_| callmeter_core::DecodeError::Corrupt)?;
    call::from_columns(&numbers, ext, &mut Dictionary { conn, names })
}

/// The dictionaries on a connection.
struct Dictionary<'a> {
    conn: &'a Connection,
    names: &'a mut Names,
}

impl Words for Dictionary<'_> {
    fn word(&mut self, number: i64) -> Result<String, StoreError> {
        Ok(self.names.word(self.conn, number)?.to_string())
    }

    fn put_scope(&mut self, scope: i64, record: &mut CallRecord) -> Result<(), StoreError> {
        let words = self.names.scope_words(self.conn, scope)?;
        call::put_scope(words.as_deref(), record);
        Ok(())
    }
}
