//! The readers against recorded exchanges, documents, cuts, compression and hostile bytes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod compression;
mod corpus;
mod cuts;
mod dialects;
mod exchanges;
mod hostile;
mod mutations;
mod privacy;
mod providers;
mod requests;
mod support;
mod usage_rules;
