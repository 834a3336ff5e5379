//! What a store promises: exact rows and rollups whatever the order and whatever breaks, honest answers, clear
//! errors, a format that stays readable.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod contract;
mod errors;
mod exactness;
mod faults;
mod format;
#[cfg(all(unix, feature = "postgres"))]
mod legacy;
mod limits;
mod lists;
mod oracle;
mod partitions;
mod processes;
mod questions;
mod refusals;
mod repricing;
mod retention;
mod support;
