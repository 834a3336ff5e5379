//! Whether a table is an `ai_calls` that callmeter may write: its description, judged before the first row.
//!
//! Harmless differences are taken as they are: `text` for `varchar`, other lengths and precisions, `json` or
//! `text` for `jsonb`, further columns that fill themselves, any way in which the database numbers its rows. What
//! would make rows fail, vanish or change is a [`Problem`]: it names the column and the statement that mends it.
//! Nothing here talks to a database; see `catalogue`.

use super::judge::Judging;
use super::statements::quoted;
use crate::legacy::LegacyWidths;

/// The user's table.
pub(crate) const TABLE: &str = "ai_calls";
/// The ids of the calls that callmeter wrote.
pub(crate) const SIDE_TABLE: &str = "callmeter_ai_calls";
/// The columns that adoption adds to the user's table.
pub(crate) const ID_COLUMNS: [&str; 2] = ["callmeter_hi", "callmeter_lo"];
/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Text,
    Count,
    Cost,
    Flag,
    Json,
}

/// A column of the contract.
pub(super) struct Contract {
    pub(super) name: &'static str,
    pub(super) holds: Holds,
    /// Written as null where there is nothing to say.
    pub(super) nullable: bool,
    /// The type to add it with.
    pub(super) sql_type: &'static str,
}

macro_rules! contract {
    ($($name:literal $holds:ident $nullable:literal $sql:literal,)+) => {
        pub(super) const CONTRACT: &[Contract] = &[$(Contract {
            name: $name, holds: Holds::$holds, nullable: $nullable, sql_type: $sql,
        },)+];
        /// The columns of the contract, in the order in which they are written.
        pub(crate) const COLUMNS: &[&str] = &[$($name,)+];
    };
}

contract! {
    "caller" Text false "varchar(64)",
    "provider" Text false "varchar(32)",
    "model" Text false "varchar(128)",
    "input_tokens" Count false "integer",
    "output_tokens" Count false "integer",
    "duration_ms" Count false "integer",
    "status" Text false "varchar(16)",
    "fallback_to" Text true "varchar(64)",
    "cost_usd" Cost false "numeric(10,6)",
    "cache_hit" Flag false "boolean",
    "rag_hit" Flag false "boolean",
    "request_id" Text true "text",
    "error" Text true "text",
    "meta" Json false "jsonb",
}

/// A table as the catalogue describes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Description {
    pub(crate) schema: String,
    /// `pg_class.relkind`.
    pub(crate) kind: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) checks: Vec<Check>,
    pub(crate) triggers: Vec<Trigger>,
    /// Rules that rewrite an INSERT.
    pub(crate) insert_rules: Vec<String>,
    /// Whether policies hide or refuse rows for this role.
    pub(crate) row_security: bool,
    /// The columns of the primary key.
    pub(crate) primary_key: Vec<String>,
    pub(crate) role: String,
    /// The sequence of a serial id, which needs a right of its own.
    pub(crate) sequence: Option<String>,
    /// The same, if this role lacks the right.
    pub(crate) locked_sequence: Option<String>,
}

/// A column.
#[derive(Clone, Debug, Default)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// The base type's name in `pg_type`.
    pub(crate) type_name: String,
    /// The type as SQL writes it.
    pub(crate) sql_type: String,
    /// `pg_type.typtype` of the base type: `e` for an enum.
    pub(crate) type_kind: String,
    pub(crate) typmod: i32,
    pub(crate) labels: Vec<String>,
    pub(crate) not_null: bool,
    pub(crate) default: Option<String>,
    /// `a`, `d`, or nothing.
    pub(crate) identity: String,
    pub(crate) generated: bool,
    pub(crate) may_insert: bool,
    pub(crate) may_select: bool,
    pub(crate) may_update: bool,
}

/// A CHECK, and what it says of rows that callmeter would write.
#[derive(Clone, Debug, Default)]
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) expression: String,
    pub(crate) columns: Vec<String>,
    /// A row that it refuses, in words.
    pub(crate) refuses: Option<String>,
}

/// A trigger of the user's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trigger {
    pub(crate) name: String,
    pub(crate) is_before: bool,
    pub(crate) on_insert: bool,
    pub(crate) on_update: bool,
}

/// How a moment is written into the time column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clocked {
    /// With its zone.
    Zoned,
    /// Without, in the session's zone, as `now()` fills it.
    Session,
    /// Without, in UTC, as its default says.
    Utc,
}

/// A table that can be written.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) schema: String,
    pub(crate) id: String,
    pub(crate) id_type: String,
    /// The sequence of a serial id.
    pub(crate) sequence: Option<String>,
    pub(crate) time: String,
    pub(crate) clocked: Clocked,
    /// The type of each column of [`COLUMNS`], as SQL writes it.
    pub(crate) types: Vec<String>,
    pub(crate) widths: LegacyWidths,
    /// The only words that an enum takes.
    pub(crate) status_labels: Vec<String>,
    /// The conditions on the status alone.
    pub(crate) status_checks: Vec<String>,
    pub(crate) may_update: bool,
    /// Triggers that may change or drop a row before it is stored.
    pub(crate) triggers: Vec<String>,
    pub(crate) update_triggers: Vec<String>,
    /// Whether the columns of adoption are there.
    pub(crate) has_ids: bool,
    /// What somebody should know, though it does no harm.
    pub(crate) notes: Vec<String>,
}

/// What is to be done with a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Rows are looked at: whatever would be in the way of writing does not matter.
    Read,
    /// Rows are written.
    Write,
}

/// Why a table cannot be used, and what mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) what: String,
    pub(crate) remedy: String,
}

impl Shape {
    /// The table, qualified.
    pub(crate) fn table(&self) -> String {
        format!("{}.{TABLE}", quoted(&self.schema))
    }

    /// The side table, qualified.
    pub(crate) fn side_table(&self) -> String {
        format!("{}.{SIDE_TABLE}", quoted(&self.schema))
    }

    /// The type of the JSON column.
    pub(crate) fn meta_type(&self) -> &str {
        self.types.last().map_or("jsonb", String::as_str)
    }

    /// Judges a description; `time_column` is what the settings name.
    pub(crate) fn of(
        table: &Description,
        time_column: Option<&str>,
        purpose: Purpose,
    ) -> Result<Self, Vec<Problem>> {
        let mut judging = Judging {
            table,
            purpose,
            problems: Vec::new(),
        };
        let (types, widths) = judging.contract();
        let id = judging.id();
        let time = judging.time(time_column);
        if purpose == Purpose::Write {
            judging.kind();
            judging.further(&id, &time);
            judging.checks();
        }
        judging.rights(&id, &time);
        let problems = judging.problems;
        let (Some(id), Some((time, clocked))) = (id, time) else {
            return Err(problems);
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        let named = |pick: fn(&Trigger) -> bool| -> Vec<String> {
            let triggers = table.triggers.iter().filter(|trigger| pick(trigger));
            triggers.map(|trigger| trigger.name.clone()).collect()
        };
        let on_status = |check: &&Check| check.columns == ["status"];
        Ok(Self {
            schema: table.schema.clone(),
            id: id.name.clone(),
            id_type: id.sql_type.clone(),
            sequence: table.sequence.clone(),
            time: time.name.clone(),
            clocked,
            types,
            widths,
            status_labels: column(table, "status").map_or_else(Vec::new, |c| c.labels.clone()),
            status_checks: table
                .checks
                .iter()
                .filter(on_status)
                .map(|check| check.expression.clone())
                .collect(),
            may_update: COLUMNS
                .iter()
                .all(|name| column(table, name).is_some_and(|c| c.may_update))
                && ID_COLUMNS
                    .iter()
                    .all(|name| column(table, name).is_none_or(|c| c.may_update)),
            triggers: named(|trigger| trigger.is_before && trigger.on_insert),
            update_triggers: named(|trigger| trigger.on_update),
            has_ids: ID_COLUMNS.iter().all(|name| column(table, name).is_some()),
            notes: notes(table),
        })
    }
}

pub(super) fn column<'t>(table: &'t Description, name: &str) -> Option<&'t Column> {
    table.columns.iter().find(|column| column.name == name)
}

fn notes(table: &Description) -> Vec<String> {
    let mut notes = Vec::new();
    for trigger in table.triggers.iter().filter(|trigger| trigger.on_insert) {
        notes.push(format!("the trigger {} runs for every row", trigger.name));
    }
    let names = ["caller", "provider", "model"];
    for check in &table.checks {
        let on_names = check
            .columns
            .iter()
            .any(|column| names.contains(&column.as_str()));
        if on_names {
            notes.push(format!(
                "the check {} on {} is met by each call's own names: a call that it refuses is kept in the spool's rejected",
                check.name,
                check.columns.join(", ")
            ));
        }
    }
    if table.row_security {
        notes.push(
            "row level security applies to this role: what its policies hide, reports do not see"
                .to_owned(),
        );
    }
    notes
}
