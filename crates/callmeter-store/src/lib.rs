//! Where rows live: schema, sink and queries.
//!
//! Owns the embedded SQLite store: one row for each call, priced where it enters, merged when more is
//! learnt of it, and rollups that always equal the rows. Leaves the record and the merge table to
//! `callmeter-core`, prices to `callmeter-price`, retries and batches to the shipper.

mod url;

pub use self::url::{StoreUrl, StoreUrlError};
