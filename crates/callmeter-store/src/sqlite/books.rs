//! The store's own price book: numbered revisions, of which the newest counts.
//!
//! Settings choose the book when the store is made; after that it belongs to the store. A binary that
//! brings a newer version of the built-in book appends it as a revision, an older binary never does, and
//! none reprices by itself. A revision is kept as deflated text, so that any later build prices by it.

use std::io::{Read, Write};
use std::sync::Arc;

use callmeter_core::Timestamp;
use callmeter_price::Book;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use rusqlite::{Connection, Transaction};

use crate::StoreError;

/// The longest text of a book: a corrupt revision must not fill the memory.
const MAX_TEXT: u64 = 64 << 20;

/// A revision in force.
#[derive(Clone, Debug)]
pub(super) struct Revision {
    pub(super) number: u32,
    pub(super) book: Arc<Book>,
}

/// What a store says of its book without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BookRevision {
    /// The number of the revision, from 1.
    pub number: u32,
    /// The book's name.
    pub name: String,
    /// The book's version.
    pub version: String,
}

/// Appends `book` as a revision.
pub(super) fn append(tx: &Transaction<'_>, book: &Book, now: Timestamp) -> Result<(), StoreError> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    let body = encoder
        .write_all(book.to_text().as_bytes())
        .and_then(|()| encoder.finish())
        .map_err(|error| StoreError::Book {
            revision: 0,
            reason: error.to_string(),
        })?;
    tx.execute(
        "INSERT INTO book_revisions (rev, name, version, content_id, body, made_at)
         SELECT ifnull(max(rev), 0) + 1, ?1, ?2, ?3, ?4, ?5 FROM book_revisions",
        (
            book.name(),
            book.version(),
            book.content_id(),
            body,
            now.as_micros(),
        ),
    )?;
    Ok(())
}

/// Appends the built-in book if the store uses an older version of it.
pub(super) fn refresh(tx: &Transaction<'_>, now: Timestamp) -> Result<(), StoreError> {
    let current = newest(tx)?;
    let Some(built_in) = built_in(&current.name) else {
        return Ok(());
    };
    if *built_in.version() > *current.version {
        append(tx, &built_in, now)?;
    }
    Ok(())
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
    let (number, name, content_id, body): (u32, String, String, Vec<u8>) = conn
        .prepare_cached(
            "SELECT rev, name, content_id, body FROM book_revisions ORDER BY rev DESC LIMIT 1",
        )?
        .query_row([], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?;
    if let Some(book) = built_in(&name).filter(|book| book.content_id() == content_id) {
        return Ok(Revision { number, book });
    }
    let unreadable = |reason: String| StoreError::Book {
        revision: number,
        reason,
    };
    let mut text = String::new();
    DeflateDecoder::new(body.as_slice())
        .take(MAX_TEXT)
        .read_to_string(&mut text)
        .map_err(|error| unreadable(error.to_string()))?;
    let book = Book::parse(&text).map_err(|error| unreadable(error.to_string()))?;
    Ok(Revision {
        number,
        book: Arc::new(book),
    })
}

fn built_in(name: &str) -> Option<Arc<Book>> {
    match name {
        "market" => Some(Book::market()),
        "legacy" => Some(Book::legacy()),
        _ => None,
    }
}
