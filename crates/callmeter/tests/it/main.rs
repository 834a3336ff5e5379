//! The SDK as its hosts meet it: what a row holds, what comes back, and what happens when something fails.
//!
//! Tests that own something of the whole process (the recorder behind `callmeter::call`, the environment) have
//! binaries of their own beside this one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod adoption;
#[cfg(all(unix, feature = "postgres"))]
mod ai_calls;
mod bad_input;
mod batches;
mod bounds;
mod budgets;
mod clocks;
mod conservation;
mod contract;
mod errors;
mod exits;
mod faults;
mod flight;
mod format;
mod full_disk;
mod guards;
mod homes;
mod host;
mod locked;
mod logs;
mod model;
#[cfg(feature = "wire")]
mod observe;
mod outage;
mod readme;
mod recorders;
mod shipping;
mod support;
mod switch;
mod syncs;
mod transparent;
mod watched;
