//! The store of a team: PostgreSQL, which many hosts write at once.
//!
//! Owns schema, sink and questions on PostgreSQL. One row for each call, rollups in the same transaction, prices
//! where the row enters, all as in the embedded store. The schema is made and changed by `callmeter migrate`
//! alone: a sink writes the columns that exist.

mod adopt;
mod books;
mod columns;
mod condition;
mod connect;
mod copying;
mod legacy;

pub use self::adopt::{
    Adopted, Adoption, AdoptionPlan, AdoptionProgress, AdoptionStatus, PlannedStep,
};
pub use self::legacy::{LegacyReader, LegacyStore, LegacyTable};
mod migrate;
mod names;
mod partitions;
mod reader;
mod reprice;
mod rollup;
mod schema;
mod writer;

use callmeter_core::SinkErrorKind;

pub use self::migrate::{Migrated, PostgresSchema, SchemaStatus};
pub use self::partitions::PartitionChanges;
pub use self::reader::PostgresReader;
pub(crate) use self::reprice::PostgresRepricer;
pub use self::schema::FORMAT as POSTGRES_FORMAT;
pub use self::writer::PostgresStore;
use crate::{ServerError, StoreError};

/// Something in the store is not as it must be; perhaps only for now.
fn broken(what: &str) -> StoreError {
    ServerError::new(SinkErrorKind::Retry, format!("postgres: {what}")).into()
}

/// A row can never be stored.
fn refused(what: &str) -> StoreError {
    ServerError::new(SinkErrorKind::Reject, format!("postgres: {what}")).into()
}
