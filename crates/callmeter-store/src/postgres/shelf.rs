//! The price book's revisions on PostgreSQL, for [`BookShelf`](crate::BookShelf).

use std::sync::Arc;

use callmeter_core::{Clock, Timestamp};
use callmeter_price::Book;

use super::books;
use super::connect::{Access, Session};
use super::schema::{About, get};
use crate::{BookRevision, KeptRevision, PostgresUrl, StoreError};

pub(crate) struct PostgresShelf {
    session: Session,
    clock: Arc<dyn Clock>,
}

impl PostgresShelf {
    pub(crate) fn open(url: &PostgresUrl, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let mut session = Session::of_process(url)?;
        session.transaction(Access::Snapshot, |tx| About::read(tx).map(drop))?;
        Ok(Self { session, clock })
    }

    pub(crate) fn current(&mut self) -> Result<(BookRevision, Arc<Book>), StoreError> {
        self.session.transaction(Access::Snapshot, |tx| {
            let revision = books::newest(tx)?;
            Ok((revision, books::load(tx)?.book))
        })
    }

    pub(crate) fn revisions(&mut self) -> Result<Vec<KeptRevision>, StoreError> {
        self.session.transaction(Access::Snapshot, |tx| {
            let rows = tx.query(
                "SELECT rev, name, version, content_id, made_at FROM callmeter.book_revisions ORDER BY rev DESC",
                &[],
            )?;
            rows.iter()
                .map(|row| {
                    Ok(KeptRevision {
                        revision: BookRevision {
                            number: books::number(get(row, 0)?),
                            name: get(row, 1)?,
                            version: get(row, 2)?,
                        },
                        content_id: get(row, 3)?,
                        made_at: Timestamp::from_micros(get(row, 4)?),
                    })
                })
                .collect()
        })
    }

    pub(crate) fn append(&mut self, book: &Book) -> Result<BookRevision, StoreError> {
        let now = self.clock.now();
        self.session.transaction(Access::Write, |tx| {
            About::read(tx)?.check_writable(tx)?;
            books::append(tx, book, now)?;
            books::newest(tx)
        })
    }
}
