//! Whether a table is an `ai_calls` that callmeter may write: its description, judged before the first row.
//!
//! Harmless differences are taken as they are: `text` for `varchar`, other lengths and precisions, `json` or
//! `text` for `jsonb`, further columns that fill themselves, any way in which the database numbers its rows. What
//! would make rows fail, vanish or change is a [`Problem`]: it names the column and the statement that mends it.
//! Nothing here talks to a database; see `catalogue`.

use super::statements::{literal, quoted};
use crate::legacy::LegacyWidths;

/// The user's table.
pub(crate) const TABLE: &str = "ai_calls";
/// The ids of the calls that callmeter wrote.
pub(crate) const SIDE_TABLE: &str = "callmeter_ai_calls";
/// The columns that adoption adds to the user's table.
pub(crate) const ID_COLUMNS: [&str; 2] = ["callmeter_hi", "callmeter_lo"];
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

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Text,
    Count,
    Cost,
    Flag,
    Json,
}

/// A column of the contract.
struct Contract {
    name: &'static str,
    holds: Holds,
    /// Written as null where there is nothing to say.
    nullable: bool,
    /// The type to add it with.
    sql_type: &'static str,
}

macro_rules! contract {
    ($($name:literal $holds:ident $nullable:literal $sql:literal,)+) => {
        const CONTRACT: &[Contract] = &[$(Contract {
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
    /// The sequence of the id, if it needs a right of its own that this role lacks.
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

fn column<'t>(table: &'t Description, name: &str) -> Option<&'t Column> {
    table.columns.iter().find(|column| column.name == name)
}

fn is_text(column: &Column) -> bool {
    matches!(
        column.type_name.as_str(),
        "text" | "varchar" | "bpchar" | "citext"
    ) || column.type_kind == "e"
}

struct Judging<'t> {
    table: &'t Description,
    purpose: Purpose,
    problems: Vec<Problem>,
}

impl<'t> Judging<'t> {
    fn problem(&mut self, what: String, remedy: String) {
        self.problems.push(Problem { what, remedy });
    }

    fn alter(&self, what: &str) -> String {
        format!("ALTER TABLE {}.{TABLE} {what}", quoted(&self.table.schema))
    }

    fn kind(&mut self) {
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
    fn contract(&mut self) -> (Vec<String>, LegacyWidths) {
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
            if found.type_name == "numeric" && found.typmod >= 4 {
                // numeric(p, s): p << 16 | s, four more.
                let typmod = found.typmod.saturating_sub(4).cast_unsigned();
                let (precision, scale) = (typmod >> 16, typmod & 0x7ff);
                widths.cost_digits = (precision.saturating_sub(scale).min(COST_DIGITS), scale);
            } else {
                widths.cost_digits = (COST_DIGITS, 12);
            }
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
    fn id(&mut self) -> Option<&'t Column> {
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
    fn time(&mut self, named: Option<&str>) -> Option<(&'t Column, Clocked)> {
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
    fn further(&mut self, id: &Option<&Column>, time: &Option<(&Column, Clocked)>) {
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

    fn checks(&mut self) {
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

    fn rights(&mut self, id: &Option<&Column>, time: &Option<(&Column, Clocked)>) {
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
