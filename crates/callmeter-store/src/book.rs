//! The store's own price book: numbered revisions, of which the newest counts.
//!
//! Settings choose the book when the store is made; after that it belongs to the store. A binary that
//! brings a newer version of the built-in book appends it as a revision, an older binary never does, and
//! none reprices by itself. A revision is kept as deflated text, so that any later build prices by it.
//! Keeping revisions is left to the store's module.

use std::sync::Arc;

use callmeter_price::Book;
use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;

use crate::StoreError;

/// The longest text of a book: a corrupt revision must not fill the memory.
const MAX_TEXT: usize = 64 << 20;
/// How hard the text is compressed: a revision is written once.
const COMPRESSION: u8 = 9;

/// A revision in force.
#[derive(Clone, Debug)]
pub(crate) struct Revision {
    pub(crate) number: u32,
    pub(crate) book: Arc<Book>,
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

/// A book's text as a revision keeps it.
pub(crate) fn packed(book: &Book) -> Vec<u8> {
    compress_to_vec(book.to_text().as_bytes(), COMPRESSION)
}

/// Reads a revision: its number, its book's name and content id, and what [`packed`] made.
pub(crate) fn unpacked(
    number: u32,
    name: &str,
    content_id: &str,
    body: &[u8],
) -> Result<Revision, StoreError> {
    if let Some(book) = built_in(name).filter(|book| book.content_id() == content_id) {
        return Ok(Revision { number, book });
    }
    let unreadable = |reason: String| StoreError::Book {
        revision: number,
        reason,
    };
    let text = decompress_to_vec_with_limit(body, MAX_TEXT)
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

/// The built-in book that is newer than a store's newest revision of it, if there is one.
pub(crate) fn newer_than(current: &BookRevision) -> Option<Arc<Book>> {
    built_in(&current.name).filter(|built_in| *built_in.version() > *current.version)
}

/// Whether a revision is a built-in book by itself.
pub(crate) fn is_built_in(revision: &BookRevision) -> bool {
    built_in(&revision.name).is_some()
}

fn built_in(name: &str) -> Option<Arc<Book>> {
    match name {
        "market" => Some(Book::market()),
        "legacy" => Some(Book::legacy()),
        _ => None,
    }
}
