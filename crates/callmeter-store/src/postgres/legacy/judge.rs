//! The judgement of a table: every difference from the contract that does harm, with the statement that mends it.
//!
//! A problem is found for writing or for reading ([`Purpose`]); all of them are told at once.

use super::shape::{
    COLUMNS, CONTRACT, Clocked, Column, Contract, Description, Holds, ID_COLUMNS, Problem, Purpose,
    TABLE, column,
};
use super::statements::{literal, quoted};
use crate::legacy::LegacyWidths;

/// What the default of a time column is made of.
const NOW: &[&str] = &[
    "now()",
    "current_timestamp",
    "localtimestamp",
    "transaction_timestamp()",
    "statement_timestamp()",
    "clock_timestamp()",
];
/// The most digits of an amount before the point: what a cost in pico-USD has.
const COST_DIGITS: u32 = 7;
/// No number is beyond this.
const MOST: u64 = i64::MAX.unsigned_abs();

/// How many digits a `numeric(p, s)` has before and behind the point.
fn digits(column: &Column) -> Option<(u32, u32)> {
    if column.type_name != "numeric" || column.typmod < 4 {
        return None;
    }
    // p << 16 | s, four more.
    let typmod = column.typmod.saturating_sub(4).cast_unsigned();
    let (precision, places) = (typmod >> 16, typmod & 0x7ff);
    Some((precision.saturating_sub(places), places))
}

/// The largest number that a column for counts holds.
fn most_of(column: &Column) -> u64 {
    match (column.type_name.as_str(), digits(column)) {
        ("int4", _) => u64::from(i32::MAX.unsigned_abs()),
        (_, Some((digits, _))) => 10_u64
            .checked_pow(digits)
            .map_or(MOST, |beyond| beyond.saturating_sub(1).min(MOST)),
        _ => MOST,
    }
}

fn is_text(column: &Column) -> bool {
    matches!(
        column.type_name.as_str(),
        "text" | "varchar" | "bpchar" | "citext"
    ) || column.type_kind == "e"
}

/// A table that is looked at.
pub(super) struct Judging<'t> {
    pub(super) table: &'t Description,
    pub(super) purpose: Purpose,
    pub(super) problems: Vec<Problem>,
}

impl<'t> Judging<'t> {
    fn problem(&mut self, what: String, remedy: String) {
        self.problems.push(Problem { what, remedy });
    }

    fn alter(&self, what: &str) -> String {
        format!("ALTER TABLE {}.{TABLE} {what}", quoted(&self.table.schema))
    }

    pub(super) fn kind(&mut self) {
        let what = match self.table.kind.as_str() {
            "r" | "p" => return,
            "v" | "m" => "a view",
            "f" => "a foreign table",
            _ => "no table",
        };
        self.problem(
            format!("{TABLE} is {what}, which keeps no rows"),
            "name the database and schema of the table itself in store.url (options search_path)"
                .to_owned(),
        );
    }

    /// The types and widths of the contract's columns.
    pub(super) fn contract(&mut self) -> (Vec<String>, LegacyWidths) {
        let mut widths = LegacyWidths::default();
        let mut types = Vec::with_capacity(CONTRACT.len());
        for expected in CONTRACT {
            let name = expected.name;
            let Some(found) = column(self.table, name) else {
                self.problem(
                    format!("column {name} is missing"),
                    self.alter(&format!("ADD COLUMN {name} {}", expected.sql_type)),
                );
                continue;
            };
            types.push(found.sql_type.clone());
            if found.generated && self.purpose == Purpose::Write {
                self.problem(
                    format!("column {name} is generated, so nobody can write it"),
                    self.alter(&format!("ALTER COLUMN {name} DROP EXPRESSION")),
                );
                continue;
            }
            let fits = match expected.holds {
                Holds::Text => is_text(found),
                Holds::Count => {
                    matches!(
                        found.type_name.as_str(),
                        "int4" | "int8" | "numeric" | "float8"
                    )
                }
                Holds::Cost => matches!(found.type_name.as_str(), "numeric" | "float8"),
                Holds::Flag => found.type_name == "bool",
                Holds::Json => matches!(found.type_name.as_str(), "jsonb" | "json" | "text"),
            };
            if !fits {
                self.problem(
                    format!(
                        "column {name} is {}, not {}",
                        found.sql_type, expected.sql_type
                    ),
                    self.alter(&format!(
                        "ALTER COLUMN {name} TYPE {0} USING {name}::{0}",
                        expected.sql_type
                    )),
                );
                continue;
            }
            if expected.nullable && found.not_null && self.purpose == Purpose::Write {
                self.problem(
                    format!("column {name} takes no null, which stands for nothing to say"),
                    self.alter(&format!("ALTER COLUMN {name} DROP NOT NULL")),
                );
            }
            self.width(&mut widths, expected, found);
        }
        (types, widths)
    }

    fn width(&mut self, widths: &mut LegacyWidths, expected: &Contract, found: &Column) {
        let name = expected.name;
        if expected.holds == Holds::Cost {
            widths.null_cost = !found.not_null;
            widths.cost_digits = match digits(found) {
                Some((digits, places)) => (digits.min(COST_DIGITS), places),
                None => (COST_DIGITS, 12),
            };
        }
        if expected.holds == Holds::Count {
            let most = match name {
                "input_tokens" => &mut widths.input_tokens,
                "output_tokens" => &mut widths.output_tokens,
                _ => &mut widths.duration_ms,
            };
            *most = most_of(found);
        }
        if expected.holds != Holds::Text || found.type_kind == "e" || found.typmod < 4 {
            return;
        }
        let room = usize::try_from(found.typmod.saturating_sub(4)).unwrap_or(0);
        let width = match name {
            "caller" => &mut widths.caller,
            "provider" => &mut widths.provider,
            "model" => &mut widths.model,
            "status" => &mut widths.status,
            "fallback_to" => &mut widths.fallback_to,
            "request_id" => &mut widths.request_id,
            _ => &mut widths.error,
        };
        // `fallback` must fit, and `unknown`.
        if matches!(name, "caller" | "provider" | "model" | "status") && room < 8 {
            self.problem(
                format!("column {name} holds {room} characters, too few"),
                self.alter(&format!("ALTER COLUMN {name} TYPE {}", expected.sql_type)),
            );
        }
        *width = room.min(*width);
    }

    /// The column that the database numbers rows by.
    pub(super) fn id(&mut self) -> Option<&'t Column> {
        let table = self.table;
        let free = || {
            let columns = table.columns.iter();
            columns.filter(|column| !COLUMNS.contains(&column.name.as_str()))
        };
        let by_sequence = |column: &&Column| {
            let default = column.default.as_deref().unwrap_or_default();
            default.starts_with("nextval(")
        };
        let of_key = |column: &&Column| {
            table.primary_key == [column.name.clone()] && column.default.is_some()
        };
        let id = free()
            .find(|column| !column.identity.is_empty())
            .or_else(|| free().find(by_sequence))
            .or_else(|| free().find(of_key));
        if id.is_none() {
            self.problem(
                "no column is numbered by the database".to_owned(),
                self.alter("ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
            );
        }
        id
    }

    /// The column that says when.
    pub(super) fn time(&mut self, named: Option<&str>) -> Option<(&'t Column, Clocked)> {
        let table = self.table;
        let is_time =
            |column: &Column| matches!(column.type_name.as_str(), "timestamptz" | "timestamp");
        let default = |column: &Column| column.default.clone().unwrap_or_default().to_lowercase();
        let found: Vec<&Column> = match named {
            Some(name) => {
                let found = column(table, name).filter(|column| is_time(column));
                if found.is_none() {
                    self.problem(
                        format!("store.legacy.time_column names {name}, which is no timestamp of the table"),
                        "name a column of type timestamptz or timestamp".to_owned(),
                    );
                    return None;
                }
                found.into_iter().collect()
            }
            None => {
                let by_default: Vec<_> = table
                    .columns
                    .iter()
                    .filter(|column| {
                        is_time(column) && NOW.iter().any(|now| default(column).contains(now))
                    })
                    .collect();
                let created = by_default.iter().find(|column| column.name == "created_at");
                match (by_default.len(), created) {
                    (2.., Some(created)) => vec![*created],
                    _ => by_default,
                }
            }
        };
        match found.as_slice() {
            [one] => {
                let clocked = if one.type_name == "timestamptz" {
                    Clocked::Zoned
                } else if default(one).contains("utc") {
                    Clocked::Utc
                } else {
                    Clocked::Session
                };
                Some((*one, clocked))
            }
            [] => {
                self.problem(
                    "no column says when: none has the default now()".to_owned(),
                    format!(
                        "set store.legacy.time_column, or: {}",
                        self.alter("ADD COLUMN created_at timestamptz NOT NULL DEFAULT now()")
                    ),
                );
                None
            }
            several => {
                let names: Vec<&str> = several.iter().map(|column| column.name.as_str()).collect();
                self.problem(
                    format!(
                        "the columns {} all have the default now()",
                        names.join(", ")
                    ),
                    "set store.legacy.time_column to the one that says when the call was"
                        .to_owned(),
                );
                None
            }
        }
    }

    /// Columns that are not of the contract must fill themselves.
    pub(super) fn further(&mut self, id: &Option<&Column>, time: &Option<(&Column, Clocked)>) {
        for found in &self.table.columns {
            let name = found.name.as_str();
            let is_known = COLUMNS.contains(&name)
                || ID_COLUMNS.contains(&name)
                || id.is_some_and(|id| id.name == name)
                || time.is_some_and(|(time, _)| time.name == name);
            let fills_itself =
                found.default.is_some() || !found.identity.is_empty() || found.generated;
            if !is_known && found.not_null && !fills_itself {
                self.problem(
                    format!("column {name} takes no null and has no default"),
                    self.alter(&format!("ALTER COLUMN {} DROP NOT NULL", quoted(name))),
                );
            }
        }
        if let Some((time, _)) = time
            && (time.generated || !time.identity.is_empty())
        {
            self.problem(
                format!("column {} is generated, so nobody can write it", time.name),
                "set store.legacy.time_column to another".to_owned(),
            );
        }
    }

    pub(super) fn checks(&mut self) {
        for check in &self.table.checks {
            if let Some(refused) = &check.refuses {
                self.problem(
                    format!(
                        "the check {} on {} refuses {refused}",
                        check.name,
                        check.columns.join(", ")
                    ),
                    format!(
                        "widen it, or: {}",
                        self.alter(&format!("DROP CONSTRAINT {}", quoted(&check.name)))
                    ),
                );
            }
        }
        let labels = column(self.table, "status").map_or(&[][..], |status| &status.labels);
        for word in ["ok", "error", "fallback"] {
            if !labels.is_empty() && !labels.iter().any(|label| label == word) {
                self.problem(
                    format!("column status is an enum without {word}"),
                    format!(
                        "ALTER TYPE {} ADD VALUE {}",
                        column(self.table, "status").map_or("", |status| status.sql_type.as_str()),
                        literal(word)
                    ),
                );
            }
        }
        for rule in &self.table.insert_rules {
            self.problem(
                format!("the rule {rule} rewrites every INSERT"),
                format!(
                    "DROP RULE {} ON {}.{TABLE}",
                    quoted(rule),
                    quoted(&self.table.schema)
                ),
            );
        }
    }

    pub(super) fn rights(&mut self, id: &Option<&Column>, time: &Option<(&Column, Clocked)>) {
        let table = self.table;
        let written = COLUMNS.iter().filter_map(|name| column(table, name));
        let written = written.chain(time.map(|(time, _)| time));
        let is_writing = self.purpose == Purpose::Write;
        let needs_insert = is_writing && written.clone().any(|column| !column.may_insert);
        let read = written.chain(*id);
        let needs_select = read.clone().any(|column| !column.may_select);
        for (is_missing, right) in [(needs_insert, "INSERT"), (needs_select, "SELECT")] {
            if is_missing {
                self.problem(
                    format!("the role {} has no right to {right}", table.role),
                    format!(
                        "GRANT {right} ON {}.{TABLE} TO {}",
                        quoted(&table.schema),
                        quoted(&table.role)
                    ),
                );
            }
        }
        if let Some(sequence) = table.locked_sequence.as_ref().filter(|_| is_writing) {
            self.problem(
                format!(
                    "the role {} may not use the sequence {sequence}",
                    table.role
                ),
                format!(
                    "GRANT USAGE ON SEQUENCE {sequence} TO {}",
                    quoted(&table.role)
                ),
            );
        }
    }
}
