//! The embedded store: one SQLite file, no server.
//!
//! Owns the schema, the sink that writes it and the questions that are asked of it. One row for each
//! call (promise CM-5), rollups in the same transaction, prices where the row enters. Several processes
//! may write one store; transactions are short and wait for each other up to five seconds. A host must not
//! open the file with a SQLite library of its own: two copies of the library in one process lose each
//! other's locks.

mod books;
mod columns;
mod condition;
mod names;
mod reader;
mod reprice;
mod retention;
mod rollup;
mod schema;
mod shelf;
mod writer;

pub use self::reader::SqliteReader;
pub(crate) use self::reprice::SqliteRepricer;
pub use self::schema::FORMAT as SQLITE_FORMAT;
pub(crate) use self::shelf::SqliteShelf;
pub use self::writer::SqliteStore;
