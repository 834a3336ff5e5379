//! Questions in SQL, asked of a store by its own users: read-only, the answer as JSON.
//!
//! A store keeps numbers in place of names. A question sees its calls under the name `recorded_calls` as well, with
//! names, moments and money in words; it may be any single `SELECT`, over that or over the tables. In a table
//! `ai_calls`, which is the user's own, there is nothing to be named.

use callmeter_core::ErrorKind;
use rusqlite::types::ValueRef;

use crate::StoreError;

/// What `recorded_calls` is, in a dialect: how a table is called, and a moment in words.
macro_rules! recorded_calls {
    ($schema:literal, $moment:literal, $usd:literal) => {
        concat!(
            "WITH recorded_calls AS (SELECT ",
            $moment,
            " AS started_at, caller.name AS caller, provider.name AS provider, model.name AS model, \
             status.name AS status, fallback.name AS fallback_to, c.duration_us, c.ttft_us, \
             c.input_tokens, c.output_tokens, c.cache_read_tokens, c.cache_write_tokens, \
             c.reasoning_tokens, c.cache_hit, c.rag_hit, c.http_status, ",
            $usd,
            " AS cost_usd, site.name AS call_site, host.name AS host_name, s.project, s.team, \
             s.cost_center, s.service, s.environment FROM ",
            $schema, "calls c LEFT JOIN ",
            $schema, "scopes s ON s.id = c.scope LEFT JOIN ",
            $schema, "names caller ON caller.id = c.caller LEFT JOIN ",
            $schema, "names provider ON provider.id = c.provider LEFT JOIN ",
            $schema, "names model ON model.id = c.model LEFT JOIN ",
            $schema, "names status ON status.id = c.status LEFT JOIN ",
            $schema, "names fallback ON fallback.id = c.fallback_to LEFT JOIN ",
            $schema, "names site ON site.id = c.call_site LEFT JOIN ",
            $schema, "names host ON host.id = c.host_name) "
        )
    };
}

const SQLITE: &str = recorded_calls!(
    "",
    "strftime('%Y-%m-%dT%H:%M:%fZ', (c.hi >> 12) / 1000.0, 'unixepoch')",
    "c.cost_picousd / 1e12"
);

#[cfg(feature = "postgres")]
const POSTGRES: &str = recorded_calls!(
    "callmeter.",
    "to_timestamp((c.hi >> 12) / 1000.0)",
    "c.cost_picousd / 1e12"
);

/// The words of an error's kind in place of its number.
fn with_kinds(names: &str) -> String {
    let kinds: String = ErrorKind::ALL
        .iter()
        .map(|kind| format!(" WHEN {} THEN '{kind}'", kind.code()))
        .collect();
    let named = format!("CASE c.error_kind{kinds} END AS error_kind, c.http_status, ");
    names.replacen("c.http_status, ", &named, 1)
}

/// A question without what may stand at its end.
fn bare(sql: &str) -> &str {
    sql.trim().trim_end_matches(';').trim_end()
}

/// Asks an embedded store; each row is a JSON object, its columns in the question's order.
pub(crate) fn ask_sqlite(
    conn: &rusqlite::Connection,
    sql: &str,
) -> Result<Vec<String>, StoreError> {
    let mut statement = conn.prepare(&format!(
        "{}SELECT * FROM ({})",
        with_kinds(SQLITE),
        bare(sql)
    ))?;
    let names = (0..statement.column_count())
        .map(|at| {
            let name = statement.column_name(at)?;
            Ok(serde_json::Value::from(name).to_string())
        })
        .collect::<Result<Vec<_>, rusqlite::Error>>()?;
    let mut rows = statement.query([])?;
    let mut answer = Vec::new();
    while let Some(row) = rows.next()? {
        let mut line = String::from("{");
        for (at, name) in names.iter().enumerate() {
            if at > 0 {
                line.push(',');
            }
            line.push_str(name);
            line.push(':');
            line.push_str(&json_of(row.get_ref(at)?).to_string());
        }
        line.push('}');
        answer.push(line);
    }
    Ok(answer)
}

fn json_of(value: ValueRef<'_>) -> serde_json::Value {
    match value {
        ValueRef::Null => serde_json::Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
            .into(),
    }
}

/// The question as PostgreSQL is asked it: each row as one JSON object. One statement only: more than one is an
/// error of the protocol, and nothing can be written in the transaction that it stands in.
#[cfg(feature = "postgres")]
pub(crate) fn of_postgres(sql: &str, has_names: bool) -> String {
    let names = if has_names {
        with_kinds(POSTGRES)
    } else {
        String::new()
    };
    format!(
        "{names}SELECT row_to_json(answer)::text FROM ({}) AS answer",
        bare(sql)
    )
}
