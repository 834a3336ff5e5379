//! The store's own price book: numbered revisions, of which the newest counts.
//!
//! Settings choose the book when the store is made; after that it belongs to the store. A binary that
//! brings a newer version of the built-in book appends it as a revision, an older binary never does, and
//! none reprices by itself. A revision is kept as deflated text, so that any later build prices by it.

use std::sync::Arc;

use callmeter_core::Timestamp;
use callmeter_price::Book;
use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;
use rusqlite::{Connection, Transaction};

use crate::StoreError;

/// The longest text of a book: a corrupt revision must not fill the memory.
const MAX_TEXT: usize = 64 << 20;
/// How hard the text is compressed: a revision is written once.
const COMPRESSION: u8 = 9;

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
    let body = compress_to_vec(book.to_text().as_bytes(), COMPRESSION);
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
    let text = decompress_to_vec_with_limit(&body, MAX_TEXT)
        .map_err(|error| unreadable(error.to_string()))
        .and_then(|bytes| {
            String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8".to_owned()))
        })?;
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
