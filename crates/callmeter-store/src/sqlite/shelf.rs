//! The price book's revisions in the embedded store, for [`BookShelf`](crate::BookShelf).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use callmeter_core::{Clock, Timestamp};
use callmeter_price::Book;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{books, schema};
use crate::{BookRevision, KeptRevision, StoreError};

pub(crate) struct SqliteShelf {
    path: PathBuf,
    reader: Connection,
    clock: Arc<dyn Clock>,
}

impl SqliteShelf {
    pub(crate) fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        Ok(Self {
            path: path.to_owned(),
            reader: schema::open_reader(path)?,
            clock,
        })
    }

    pub(crate) fn current(&mut self) -> Result<(BookRevision, Arc<Book>), StoreError> {
        let tx = Transaction::new_unchecked(&self.reader, TransactionBehavior::Deferred)?;
        let revision = books::newest(&tx)?;
        Ok((revision, books::load(&tx)?.book))
    }

    pub(crate) fn revisions(&mut self) -> Result<Vec<KeptRevision>, StoreError> {
        let mut statement = self.reader.prepare(
            "SELECT rev, name, version, content_id, made_at FROM book_revisions ORDER BY rev DESC",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(KeptRevision {
                revision: BookRevision {
                    number: row.get(0)?,
                    name: row.get(1)?,
                    version: row.get(2)?,
                },
                content_id: row.get(3)?,
                made_at: Timestamp::from_micros(row.get(4)?),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(crate) fn append(&mut self, book: &Book) -> Result<BookRevision, StoreError> {
        let now = self.clock.now();
        // The store is there: its zone is its own, and no book of a new one is asked for.
        let writer = schema::open_writer(&self.path, false, "UTC", now, |_| Ok(()))?;
        let tx = Transaction::new_unchecked(&writer, TransactionBehavior::Immediate)?;
        schema::check_writable(&tx, &self.path)?;
        books::append(&tx, book, now)?;
        let revision = books::newest(&tx)?;
        tx.commit()?;
        Ok(revision)
    }
}
