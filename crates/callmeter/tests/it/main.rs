//! The SDK from outside: guards and what becomes of them, when processes die and stores fail too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod adoption;
mod bounds;
mod faults;
mod flight;
mod format;
mod guards;
mod homes;
mod model;
#[cfg(feature = "wire")]
mod observe;
mod shipping;
mod support;
