//! The revisions of a store's price book, to look at and to add to (`callmeter prices`).
//!
//! Adding one is a transaction of its own; batches that follow are priced by it, rows that are there keep their cost
//! until they are repriced.

use std::sync::Arc;

use callmeter_core::{Clock, Timestamp};
use callmeter_price::Book;

#[cfg(feature = "postgres")]
use crate::postgres::PostgresShelf;
use crate::sqlite::SqliteShelf;
use crate::{BookRevision, StoreError, StoreUrl};

/// A revision that a store keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeptRevision {
    /// Its number, and the book's name and version.
    pub revision: BookRevision,
    /// The hash of the book's content.
    pub content_id: String,
    /// When the store took it.
    pub made_at: Timestamp,
}

/// The books of a store of any kind.
///
/// ```
/// use std::sync::Arc;
/// use callmeter_core::SystemClock;
/// use callmeter_price::Book;
/// use callmeter_store::{BookShelf, SqliteStore, StoreOptions, StoreUrl};
///
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("store.sqlite");
/// SqliteStore::open(&path, StoreOptions::default(), Arc::new(SystemClock))?;
///
/// let mut shelf = BookShelf::open(&StoreUrl::sqlite(path), Arc::new(SystemClock))?;
/// let own = Book::parse("name = \"acme\"\nversion = \"1\"")?;
/// assert_eq!(shelf.append(&own)?.number, 2);
/// assert_eq!(shelf.current()?.1.name(), "acme");
/// assert_eq!(shelf.revisions()?.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BookShelf(Kind);

impl std::fmt::Debug for BookShelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BookShelf")
    }
}

enum Kind {
    Sqlite(SqliteShelf),
    #[cfg(feature = "postgres")]
    Postgres(Box<PostgresShelf>),
}

/// Asks whichever store it is.
macro_rules! ask {
    ($self:expr, $shelf:ident => $answer:expr) => {
        match &mut $self.0 {
            Kind::Sqlite($shelf) => $answer,
            #[cfg(feature = "postgres")]
            Kind::Postgres($shelf) => $answer,
        }
    };
}

impl BookShelf {
    /// Opens the books of the store at `url`, which must be there.
    ///
    /// # Errors
    /// When there is none, it cannot be reached, or this build has no store of that kind.
    pub fn open(url: &StoreUrl, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        if let Some(path) = url.path() {
            return Ok(Self(Kind::Sqlite(SqliteShelf::open(path, clock)?)));
        }
        #[cfg(feature = "postgres")]
        if let Some(url) = url.postgres() {
            let shelf = PostgresShelf::open(url, clock)?;
            return Ok(Self(Kind::Postgres(Box::new(shelf))));
        }
        Err(StoreError::NotBuilt {
            store: url.to_string(),
            feature: "postgres",
        })
    }

    /// The revision in force, and its book.
    ///
    /// # Errors
    /// When the store cannot be read, or the revision is unreadable.
    pub fn current(&mut self) -> Result<(BookRevision, Arc<Book>), StoreError> {
        ask!(self, shelf => shelf.current())
    }

    /// Every revision, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn revisions(&mut self) -> Result<Vec<KeptRevision>, StoreError> {
        ask!(self, shelf => shelf.revisions())
    }

    /// Adds a book as the revision in force.
    ///
    /// # Errors
    /// When the store cannot be written; it is unchanged then.
    pub fn append(&mut self, book: &Book) -> Result<BookRevision, StoreError> {
        ask!(self, shelf => shelf.append(book))
    }
}
