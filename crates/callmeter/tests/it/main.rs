//! The SDK from outside: guards and what becomes of them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod flight;
mod guards;
mod support;
