//! Where rows live: schema, sink and queries.
//!
//! Owns the embedded SQLite store: one row for each call, priced where it enters, merged when more is
//! learnt of it, and rollups that always equal the rows. Leaves the record and the merge table to
//! `callmeter-core`, prices to `callmeter-price`, retries and batches to the shipper.

mod error;
mod histogram;
#[cfg(feature = "postgres")]
mod postgres;
mod postgres_url;
mod question;
mod sqlite;
mod url;
mod zone;

pub use self::error::{ServerError, StoreError};
pub use self::histogram::Histogram;
pub use self::postgres_url::PostgresUrl;
pub use self::question::{
    CallsQuery, Dimension, Filter, Period, ReportQuery, ReportRow, Totals, Unpriced,
};
pub use self::sqlite::{
    BookRevision, SQLITE_FORMAT, SqliteOptions, SqliteReader, SqliteStore, StoreFacts, StoredCall,
};
pub use self::url::{StoreUrl, StoreUrlError};
pub use self::zone::{AccountingZone, UnknownZone};
