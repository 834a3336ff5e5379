//! Where rows live: schema, sink and queries.
//!
//! Owns the embedded SQLite store and, by the feature `postgres`, a team's store on PostgreSQL: one row for
//! each call, priced where it enters, merged when more is learnt of it, and rollups that always equal the rows.
//! What is the same in every store stands beside their modules; a module holds what its database needs. Leaves the record and the merge table to
//! `callmeter-core`, prices to `callmeter-price`, retries and batches to the shipper.

mod answer;
mod asked;
mod book;
mod call;
mod door;
mod error;
mod histogram;
mod legacy;
mod names;
mod open;
#[cfg(feature = "postgres")]
mod postgres;
mod postgres_url;
mod question;
mod reported;
mod reprice;
mod rollup;
mod sqlite;
mod url;
mod zone;

pub use self::book::BookRevision;
pub use self::call::StoredCall;
pub use self::door::{StoreLayout, StoreOptions};
pub use self::error::{ServerError, StoreError};
pub use self::histogram::Histogram;
pub use self::legacy::{LegacyError, LegacyRow, LegacyWidths};
pub use self::open::{StoreReader, open_sink};
#[cfg(feature = "postgres")]
pub use self::postgres::{
    Adopted, Adoption, AdoptionPlan, AdoptionProgress, AdoptionStatus, LegacyReader, LegacyStore,
    LegacyTable, Migrated, POSTGRES_FORMAT, PartitionChanges, PlannedStep, PostgresReader,
    PostgresSchema, PostgresStore, SchemaStatus,
};
pub use self::postgres_url::PostgresUrl;
pub use self::question::{
    CallsQuery, Dimension, Filter, Period, ReportQuery, ReportRow, StoreFacts, Totals, Unpriced,
};
pub use self::reported::Reported;
pub use self::reprice::{Reprice, RepriceError, RepriceQuery, RepricedGroup, Repricer};
pub use self::sqlite::{SQLITE_FORMAT, SqliteReader, SqliteStore};
pub use self::url::{StoreUrl, StoreUrlError};
pub use self::zone::{AccountingZone, UnknownZone};

/// What an embedded store is made with: the same as any other.
pub type SqliteOptions = StoreOptions;
