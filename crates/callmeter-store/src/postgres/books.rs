//! The revisions of the price book on PostgreSQL.

use std::sync::Arc;

use callmeter_core::Timestamp;
use callmeter_price::Book;

use super::connect::{Tx, bytea, int8, text};
use super::schema::{Lock, get};
use crate::StoreError;
use crate::book::{self, BookRevision, Revision};

/// Appends `book` as a revision. Batches that began before finish by the old one first.
pub(super) fn append(tx: &mut Tx<'_>, book: &Book, now: Timestamp) -> Result<(), StoreError> {
    Lock::Book.take(tx)?;
    tx.execute(
        "INSERT INTO callmeter.book_revisions (rev, name, version, content_id, body, made_at)
         SELECT coalesce(max(rev), 0) + 1, $1, $2, $3, $4, $5 FROM callmeter.book_revisions",
        &[
            text(&book.name()),
            text(&book.version()),
            text(&book.content_id()),
            bytea(&book::packed(book)),
            int8(&now.as_micros()),
        ],
    )?;
    Ok(())
}

/// Appends another revision with the content of revision `rev`. Batches that began before finish by the old one first.
pub(super) fn append_again(tx: &mut Tx<'_>, rev: u32, now: Timestamp) -> Result<(), StoreError> {
    Lock::Book.take(tx)?;
    tx.execute(
        "INSERT INTO callmeter.book_revisions (rev, name, version, content_id, body, made_at)
         SELECT (SELECT max(rev) FROM callmeter.book_revisions) + 1, name, version, content_id, body, $2
         FROM callmeter.book_revisions WHERE rev = $1",
        &[int8(&i64::from(rev)), int8(&now.as_micros())],
    )?;
    Ok(())
}

/// The revision before `rev`; itself when it is the first.
pub(super) fn before(tx: &mut Tx<'_>, rev: u32) -> Result<u32, StoreError> {
    let row = tx.query_opt(
        "SELECT coalesce(max(rev), $1) FROM callmeter.book_revisions WHERE rev < $1",
        &[int8(&i64::from(rev))],
    )?;
    row.map_or(Ok(rev), |row| Ok(number(get(&row, 0)?)))
}

/// Appends the built-in book if the store uses an older version of it; says whether it did.
pub(super) fn refresh(tx: &mut Tx<'_>, now: Timestamp) -> Result<bool, StoreError> {
    if newer(tx)?.is_none() {
        return Ok(false);
    }
    Lock::Book.take(tx)?;
    match newer(tx)? {
        Some(book) => append(tx, &book, now).map(|()| true),
        None => Ok(false),
    }
}

/// The store's book with this build's prices in it, where it has older ones.
fn newer(tx: &mut Tx<'_>) -> Result<Option<Arc<Book>>, StoreError> {
    let current = newest(tx)?;
    if book::is_built_in(&current) {
        return Ok(book::newer_than(&current));
    }
    Ok(load(tx)?.book.refreshed().map(Arc::new))
}

/// What the newest revision is.
pub(super) fn newest(tx: &mut Tx<'_>) -> Result<BookRevision, StoreError> {
    let row = tx.query_opt(
        "SELECT rev, name, version FROM callmeter.book_revisions ORDER BY rev DESC LIMIT 1",
        &[],
    )?;
    let row = row.ok_or_else(|| super::broken("the store has no price book"))?;
    Ok(BookRevision {
        number: number(get(&row, 0)?),
        name: get(&row, 1)?,
        version: get(&row, 2)?,
    })
}

/// Reads the newest revision.
pub(super) fn load(tx: &mut Tx<'_>) -> Result<Revision, StoreError> {
    read(tx, "ORDER BY rev DESC LIMIT 1")
}

/// Reads a revision.
pub(super) fn load_revision(tx: &mut Tx<'_>, rev: u32) -> Result<Revision, StoreError> {
    read(tx, &format!("WHERE rev = {rev}"))
}

fn read(tx: &mut Tx<'_>, which: &str) -> Result<Revision, StoreError> {
    let sql = format!("SELECT rev, name, content_id, body FROM callmeter.book_revisions {which}");
    let row = tx.query_opt(&sql, &[])?;
    let row = row.ok_or_else(|| super::broken("the store has no price book"))?;
    let (name, content_id): (String, String) = (get(&row, 1)?, get(&row, 2)?);
    let body: &[u8] = get(&row, 3)?;
    book::unpacked(number(get(&row, 0)?), &name, &content_id, body)
}

pub(super) fn number(rev: i64) -> u32 {
    u32::try_from(rev).unwrap_or(u32::MAX)
}
