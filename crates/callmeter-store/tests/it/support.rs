//! A store in a directory of its own, on a clock that stands still.

use std::path::PathBuf;
use std::sync::Arc;

use callmeter_core::{Ack, CallId, CallRecord, Layer, Sink, Timestamp};
use callmeter_price::Book;
use callmeter_store::{SqliteOptions, SqliteReader, SqliteStore};
use callmeter_testkit::clock::ManualClock;
use callmeter_testkit::records::FIRST_MOMENT;

/// A directory with a store in it.
pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) clock: Arc<ManualClock>,
}

impl Place {
    /// A place on the eleventh day: generated calls lie in the ten days before.
    pub(crate) fn new() -> Self {
        let now = FIRST_MOMENT.saturating_add_micros(10 * 86_400_000_000);
        Self {
            directory: tempfile::tempdir().unwrap(),
            clock: Arc::new(ManualClock::at(now)),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("store.sqlite")
    }

    pub(crate) fn store(&self) -> SqliteStore {
        self.store_with(SqliteOptions::default())
    }

    pub(crate) fn store_with(&self, options: SqliteOptions) -> SqliteStore {
        SqliteStore::open(&self.path(), options, self.clock.clone()).unwrap()
    }

    pub(crate) fn reader(&self) -> SqliteReader {
        SqliteReader::open(&self.path()).unwrap()
    }

    /// A connection of the test's own, to look at tables as they are.
    pub(crate) fn raw(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }
}

/// Options of a store in another zone, with the book of the replaced module.
pub(crate) fn berlin_legacy() -> SqliteOptions {
    let mut options = SqliteOptions::default();
    options.accounting_zone = "Europe/Berlin".to_owned();
    options.book = Book::legacy();
    options
}

/// A call that started so many microseconds after the first moment.
pub(crate) fn call(after_us: i64, random: u64) -> CallRecord {
    CallRecord::new(CallId::new(at(after_us), random), Layer::Guard, 0)
}

pub(crate) fn at(after_us: i64) -> Timestamp {
    FIRST_MOMENT.saturating_add_micros(after_us)
}

/// Writes a batch that must be taken.
pub(crate) fn write(store: &mut SqliteStore, batch: &[CallRecord]) -> Ack {
    let ack = store.write(batch).unwrap();
    let answered = ack.inserted + ack.merged + ack.unchanged + ack.expired;
    assert_eq!(answered, batch.len() as u64, "{ack:?}");
    ack
}
