//! The store of a team: PostgreSQL, which many hosts write at once.
//!
//! Owns schema, sink and questions on PostgreSQL. One row for each call, rollups in the same transaction, prices
//! where the row enters, all as in the embedded store. The schema is made and changed by `callmeter migrate`
//! alone: a sink writes the columns that exist.

#![allow(dead_code)]
mod connect;
