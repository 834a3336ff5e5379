//! Rows of `calls` on PostgreSQL: many at once, as one array a column.

use callmeter_core::CallRecord;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::connect::{Param, Tx, byteas, int2s, int4s, int8s};
use super::names::Names;
use super::schema::get;
use crate::StoreError;
use crate::call::{self, COLUMNS, CallNumbers, NUMBERS, StoredCall, Words};

/// The type of a column before `ext`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    Two,
    Four,
    Eight,
}

fn width_of(column: &str) -> Width {
    match column {
        "given" | "cache_hit" | "rag_hit" | "error_kind" | "unpriced_reason" | "cost_source"
        | "price_match" => Width::Two,
        "scope" | "caller" | "provider" | "model" | "status" | "fallback_to" | "call_site"
        | "host_name" | "sdk" | "http_status" | "price" | "book_rev" => Width::Four,
        _ => Width::Eight,
    }
}

/// A column of several rows.
#[derive(Debug)]
enum Column {
    Two(Vec<Option<i16>>),
    Four(Vec<Option<i32>>),
    Eight(Vec<Option<i64>>),
}

impl Column {
    fn of(width: Width, rows: usize) -> Self {
        match width {
            Width::Two => Self::Two(Vec::with_capacity(rows)),
            Width::Four => Self::Four(Vec::with_capacity(rows)),
            Width::Eight => Self::Eight(Vec::with_capacity(rows)),
        }
    }

    fn push(&mut self, number: Option<i64>) -> Result<(), StoreError> {
        let too_large = |_| super::refused("a number is too large for its column");
        match self {
            Self::Two(column) => {
                column.push(number.map(i16::try_from).transpose().map_err(too_large)?);
            }
            Self::Four(column) => {
                column.push(number.map(i32::try_from).transpose().map_err(too_large)?);
            }
            Self::Eight(column) => column.push(number),
        }
        Ok(())
    }

    /// What it holds of a row.
    fn value(&self, row: usize) -> Option<&(dyn ToSql + Sync)> {
        fn of<T: ToSql + Sync>(column: &[T], row: usize) -> Option<&(dyn ToSql + Sync)> {
            column.get(row).map(|value| value as &(dyn ToSql + Sync))
        }
        match self {
            Self::Two(column) => of(column, row),
            Self::Four(column) => of(column, row),
            Self::Eight(column) => of(column, row),
        }
    }

    const fn element(&self) -> Type {
        match self {
            Self::Two(_) => Type::INT2,
            Self::Four(_) => Type::INT4,
            Self::Eight(_) => Type::INT8,
        }
    }

    fn param(&self) -> Param<'_> {
        match self {
            Self::Two(column) => int2s(column),
            Self::Four(column) => int4s(column),
            Self::Eight(column) => int8s(column),
        }
    }
}

/// Rows, column by column.
#[derive(Debug)]
pub(super) struct Rows {
    columns: Vec<Column>,
    ext: Vec<Vec<u8>>,
    /// The lowest and the highest `hi`, so that only the partitions between are looked at.
    range: Option<(i64, i64)>,
}

impl Rows {
    pub(super) fn with_capacity(rows: usize) -> Self {
        Self {
            columns: NUMBERS
                .iter()
                .map(|name| Column::of(width_of(name), rows))
                .collect(),
            ext: Vec::with_capacity(rows),
            range: None,
        }
    }

    pub(super) fn push(&mut self, numbers: &CallNumbers, ext: Vec<u8>) -> Result<(), StoreError> {
        for (column, number) in self.columns.iter_mut().zip(numbers) {
            column.push(*number)?;
        }
        if let [Some(hi), ..] = numbers {
            let (low, high) = self.range.unwrap_or((*hi, *hi));
            self.range = Some((low.min(*hi), high.max(*hi)));
        }
        self.ext.push(ext);
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ext.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.ext.len()
    }

    /// Copies the rows, all or none; one that is there is a unique violation.
    pub(super) fn copy(&self, tx: &mut Tx<'_>) -> Result<u64, StoreError> {
        let sql = format!(
            "COPY callmeter.calls ({}, ext) FROM STDIN (FORMAT binary)",
            NUMBERS.join(", ")
        );
        let types: Vec<Type> = self
            .columns
            .iter()
            .map(Column::element)
            .chain([Type::BYTEA])
            .collect();
        let values: Option<Vec<_>> = (0..self.len()).map(|row| self.values(row)).collect();
        let values = values.ok_or_else(|| super::broken("a row has not all of its columns"))?;
        Ok(tx.copy(&sql, &types, &values)?)
    }

    /// A row, `ext` last.
    fn values(&self, row: usize) -> Option<Vec<&(dyn ToSql + Sync)>> {
        let ext = self.ext.get(row).map(|ext| ext as &(dyn ToSql + Sync));
        let columns = self.columns.iter().map(|column| column.value(row));
        columns.chain([ext]).collect()
    }

    fn params(&self) -> Vec<Param<'_>> {
        let columns = self.columns.iter().map(Column::param);
        columns.chain([byteas(&self.ext)]).collect()
    }

    /// Inserts the rows that are not there; says which these are.
    pub(super) fn insert(&self, tx: &mut Tx<'_>) -> Result<Vec<(i64, i64)>, StoreError> {
        let names = NUMBERS.join(", ");
        let sql = format!(
            "INSERT INTO callmeter.calls ({names}, ext) SELECT * FROM unnest({}) ON CONFLICT DO NOTHING \
             RETURNING hi, lo",
            marks()
        );
        let rows = tx.query(&sql, &self.params())?;
        rows.iter()
            .map(|row| Ok((get(row, 0)?, get(row, 1)?)))
            .collect()
    }

    /// Replaces the rows that are there.
    pub(super) fn update(&self, tx: &mut Tx<'_>) -> Result<u64, StoreError> {
        let Some((low, high)) = self.range else {
            return Ok(0);
        };
        let names = NUMBERS.join(", ");
        let assignments: Vec<String> = NUMBERS
            .iter()
            .skip(2)
            .chain(&["ext"])
            .map(|name| format!("{name} = new.{name}"))
            .collect();
        let sql = format!(
            "UPDATE callmeter.calls AS old SET {} FROM unnest({}) AS new ({names}, ext) \
             WHERE old.hi = new.hi AND old.lo = new.lo AND old.hi BETWEEN {low} AND {high}",
            assignments.join(", "),
            marks()
        );
        Ok(tx.execute(&sql, &self.params())?)
    }
}

fn marks() -> String {
    let marks: Vec<String> = (1..=COLUMNS.saturating_add(1))
        .map(|at| format!("${at}"))
        .collect();
    marks.join(", ")
}

/// What [`read`] expects of `calls`, whose alias is `c`.
pub(super) fn select_list() -> String {
    let numbers: Vec<String> = NUMBERS
        .iter()
        .map(|name| format!("c.{name}::bigint"))
        .collect();
    format!("{}, c.ext", numbers.join(", "))
}

/// Locks stored calls and reads them, in the order of their ids.
pub(super) fn lock(
    tx: &mut Tx<'_>,
    names: &mut Names,
    ids: &[(i64, i64)],
) -> Result<Vec<StoredCall>, StoreError> {
    let (his, los): (Vec<i64>, Vec<i64>) = ids.iter().copied().unzip();
    let (Some(low), Some(high)) = (his.iter().min(), his.iter().max()) else {
        return Ok(Vec::new());
    };
    let sql = format!(
        "SELECT {} FROM callmeter.calls AS c JOIN unnest($1, $2) AS wanted (hi, lo) \
         ON c.hi = wanted.hi AND c.lo = wanted.lo WHERE c.hi BETWEEN {low} AND {high} \
         ORDER BY c.hi, c.lo FOR UPDATE OF c",
        select_list()
    );
    let rows = tx.query(&sql, &[(&his, Type::INT8_ARRAY), (&los, Type::INT8_ARRAY)])?;
    read_all(tx, names, &rows)
}

/// Reads calls from rows of [`select_list`].
pub(super) fn read_all(
    tx: &mut Tx<'_>,
    names: &mut Names,
    rows: &[Row],
) -> Result<Vec<StoredCall>, StoreError> {
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let mut numbers: CallNumbers = [None; COLUMNS];
        for (at, number) in numbers.iter_mut().enumerate() {
            *number = get(row, at)?;
        }
        all.push(numbers);
    }
    let words = |name: &&str| {
        matches!(
            *name,
            "caller"
                | "provider"
                | "model"
                | "status"
                | "fallback_to"
                | "call_site"
                | "host_name"
                | "sdk"
                | "price"
        )
    };
    let numbers = all.iter().flat_map(|row| {
        NUMBERS
            .iter()
            .zip(row)
            .filter(|(name, _)| words(name))
            .filter_map(|(_, number)| *number)
    });
    names.expect_words(tx, numbers)?;
    let mut calls = Vec::with_capacity(rows.len());
    for (row, numbers) in rows.iter().zip(&all) {
        let ext: &[u8] = get(row, COLUMNS)?;
        calls.push(call::from_columns(
            numbers,
            ext,
            &mut Dictionary { tx, names },
        )?);
    }
    Ok(calls)
}

/// The dictionaries in a transaction.
struct Dictionary<'a, 't> {
    tx: &'a mut Tx<'t>,
    names: &'a mut Names,
}

impl Words for Dictionary<'_, '_> {
    fn word(&mut self, number: i64) -> Result<String, StoreError> {
        Ok(self.names.word(self.tx, number)?.to_string())
    }

    fn put_scope(&mut self, scope: i64, record: &mut CallRecord) -> Result<(), StoreError> {
        let words = self.names.scope_words(self.tx, scope)?;
        call::put_scope(words.as_deref(), record);
        Ok(())
    }
}
