//! The SDK from outside: guards and what becomes of them, when processes die and stores fail too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod adoption;
#[cfg(all(unix, feature = "postgres"))]
mod ai_calls;
mod flight;
mod format;
mod guards;
mod homes;
#[cfg(feature = "wire")]
mod observe;
mod shipping;
mod support;
