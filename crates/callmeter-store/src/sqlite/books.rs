//! The revisions of the price book in the embedded store.

use std::sync::Arc;

use callmeter_core::Timestamp;
use callmeter_price::Book;
use rusqlite::{Connection, Transaction};

use crate::StoreError;
use crate::book::{self, BookRevision, Revision};

/// Appends `book` as a revision.
pub(super) fn append(tx: &Transaction<'_>, book: &Book, now: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO book_revisions (rev, name, version, content_id, body, made_at)
         SELECT ifnull(max(rev), 0) + 1, ?1, ?2, ?3, ?4, ?5 FROM book_revisions",
        (
            book.name(),
            book.version(),
            book.content_id(),
            book::packed(book),
            now.as_micros(),
        ),
    )?;
    Ok(())
}

/// Appends another revision with the content of revision `rev`.
pub(super) fn append_again(
    tx: &Transaction<'_>,
    rev: u32,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO book_revisions (rev, name, version, content_id, body, made_at)
         SELECT (SELECT max(rev) FROM book_revisions) + 1, name, version, content_id, body, ?2
         FROM book_revisions WHERE rev = ?1",
        (rev, now.as_micros()),
    )?;
    Ok(())
}

/// The revision before `rev`; itself when it is the first.
pub(super) fn before(conn: &Connection, rev: u32) -> Result<u32, StoreError> {
    Ok(conn.query_row(
        "SELECT ifnull(max(rev), ?1) FROM book_revisions WHERE rev < ?1",
        [rev],
        |row| row.get(0),
    )?)
}

/// Appends the built-in book if the store uses an older version of it.
pub(super) fn refresh(tx: &Transaction<'_>, now: Timestamp) -> Result<(), StoreError> {
    let current = newest(tx)?;
    let newer = if book::is_built_in(&current) {
        book::newer_than(&current)
    } else {
        // A book of layers has the built-in one below it.
        load(tx)?.book.refreshed().map(Arc::new)
    };
    match newer {
        Some(book) => append(tx, &book, now),
        None => Ok(()),
    }
}

/// What the newest revision is.
pub(super) fn newest(conn: &Connection) -> Result<BookRevision, StoreError> {
    let revision = conn
        .prepare_cached("SELECT rev, name, version FROM book_revisions ORDER BY rev DESC LIMIT 1")?
        .query_row([], |row| {
            Ok(BookRevision {
                number: row.get(0)?,
                name: row.get(1)?,
                version: row.get(2)?,
            })
        })?;
    Ok(revision)
}

/// The number of the newest revision.
pub(super) fn newest_number(conn: &Connection) -> Result<u32, StoreError> {
    let number = conn
        .prepare_cached("SELECT max(rev) FROM book_revisions")?
        .query_row([], |row| row.get(0))?;
    Ok(number)
}

/// Reads the newest revision.
pub(super) fn load(conn: &Connection) -> Result<Revision, StoreError> {
    load_revision(conn, newest_number(conn)?)
}

/// Reads a revision.
pub(super) fn load_revision(conn: &Connection, rev: u32) -> Result<Revision, StoreError> {
    let (number, name, content_id, body): (u32, String, String, Vec<u8>) = conn
        .prepare_cached("SELECT rev, name, content_id, body FROM book_revisions WHERE rev = ?1")?
        .query_row([rev], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?;
    book::unpacked(number, &name, &content_id, &body)
}
