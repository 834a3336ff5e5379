//! What PostgreSQL's errors mean for the shipper, and what of them may be shown.
//!
//! A server's DETAIL, HINT, CONTEXT and, in many classes, its message carry values of rows: nothing of them is
//! kept. Shown are the server's words where they name only objects and roles, else words of our own with the
//! names of table, column and constraint; and always the SQLSTATE, which any search engine knows.

use std::error::Error as _;

use callmeter_core::SinkErrorKind;
use tokio_postgres::Error;
use tokio_postgres::error::DbError;

use crate::ServerError;

/// The longest text that is taken over from a server.
const MAX_SHOWN: usize = 300;

/// What happened, scrubbed.
pub(crate) fn server_error(error: &Error) -> ServerError {
    match error.as_db_error() {
        Some(db) => of_server(db),
        None => of_connection(error),
    }
}

/// The server did not answer within the limit.
pub(crate) fn timed_out(what: &str) -> ServerError {
    ServerError::new(
        SinkErrorKind::Retry,
        format!("postgres: no answer within the limit while {what}"),
    )
    .with_hint("check the server and the network to it; calls wait in the spool")
}

fn of_server(db: &DbError) -> ServerError {
    let code = db.code().code();
    let (kind, hint) = meaning(code);
    let words = if is_free_of_values(code) {
        let (text, _) = callmeter_core::clean_text(db.message(), MAX_SHOWN);
        text.into_owned()
    } else {
        own_words(code, db)
    };
    let error =
        ServerError::new(kind, format!("postgres: {words} (SQLSTATE {code})")).with_code(code);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// Classes whose messages name objects, roles and states of the server, never values.
fn is_free_of_values(code: &str) -> bool {
    matches!(
        code.get(..2),
        Some("08" | "25" | "28" | "3D" | "40" | "42" | "53" | "55" | "57" | "58")
    )
}

/// What a code means, and where.
fn own_words(code: &str, db: &DbError) -> String {
    let what = match code {
        "22001" => "a text is too long for its column",
        "22003" => "a number is too large for its column",
        "22021" => "a text holds characters that the database's encoding does not have",
        "22P05" => "a text holds characters that the database's encoding does not have",
        "23502" => "a column does not take null",
        "23503" => "a foreign key is violated",
        "23505" => "a unique constraint is violated",
        "23514" => "a check constraint is violated",
        "P0001" => "a trigger or function of the database raised an error",
        _ => match code.get(..2) {
            Some("22") => "a value is not right for its column",
            Some("23") => "a constraint is violated",
            Some("54") => "a limit of the server is exceeded",
            Some("P0" | "38" | "39") => "a function of the database failed",
            Some("XX") => "the server has an internal error",
            _ => "the server refused a statement",
        },
    };
    let mut words = what.to_owned();
    for (name, is) in [
        ("table", db.table()),
        ("column", db.column()),
        ("constraint", db.constraint()),
    ] {
        if let Some(is) = is {
            let (is, _) = callmeter_core::clean_text(is, 63);
            words.push_str(&format!(", {name} {is}"));
        }
    }
    words
}

/// What the shipper and somebody else should do.
fn meaning(code: &str) -> (SinkErrorKind, Option<&'static str>) {
    use SinkErrorKind::{Busy, Fatal, Reject, Retry};
    match code {
        // Deadlock, serialisation, a lock that is held: another writer is at work.
        "40001" | "40P01" | "55P03" => (Busy, None),
        "28P01" | "28000" => (
            Fatal,
            Some(
                "check user and password: store.url, CALLMETER_STORE__URL_FILE, PGPASSWORD and .pgpass (of a store in a \
                 callmeter.toml that nobody named: with PGHOST), and the server's pg_hba.conf",
            ),
        ),
        "3D000" => (
            Fatal,
            Some("create the database, or name another in store.url"),
        ),
        "42501" => (
            Fatal,
            Some("grant the role what `callmeter migrate print` lists; calls wait in the spool"),
        ),
        "42P01" | "42703" | "3F000" | "42883" => (
            Fatal,
            Some("run `callmeter migrate`; calls wait in the spool"),
        ),
        "25006" => (
            Retry,
            Some(
                "the server is a standby or read-only: name the primary, or several hosts with target_session_attrs=read-write",
            ),
        ),
        "53100" => (
            Retry,
            Some("make room on the server's disk; calls wait in the spool"),
        ),
        "53300" => (
            Retry,
            Some("raise max_connections, or connect through a pooler"),
        ),
        "57014" => (
            Retry,
            Some("the server is slow or locked: see pg_stat_activity"),
        ),
        _ => match code.get(..2) {
            Some("22" | "23" | "54" | "P0") => (Reject, None),
            Some("42" | "0A") => (Fatal, None),
            _ => (Retry, None),
        },
    }
}

/// A failure on the way to or from the server.
fn of_connection(error: &Error) -> ServerError {
    // The library's own words name the step; those of its source an operating system's or TLS error.
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words.push_str(&format!(": {cause_words}"));
        }
        source = cause.source();
    }
    let is_certificate = words.contains("certificate");
    let is_password = words.contains("password");
    let (words, _) = callmeter_core::clean_text(&words, MAX_SHOWN);
    let error = ServerError::new(SinkErrorKind::Retry, format!("postgres: {words}"));
    if is_certificate {
        error.with_hint(
            "name the authority that signed the server's certificate in sslrootcert, or choose another sslmode",
        )
    } else if is_password {
        error.with_hint(
            "give a password in store.url, PGPASSWORD or .pgpass; for a store that stands in a callmeter.toml that nobody named, \
             PGHOST must name its host too (or name the file: CALLMETER_CONFIG)",
        )
    } else {
        error.with_hint("check host, port and network; calls wait in the spool")
    }
}
