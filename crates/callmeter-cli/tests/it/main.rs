//! The command as its users meet it: the demo, the figures, the errors.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod demo;
mod errors;
mod filters;
mod inspect;
mod looks;
mod privacy;
mod ship;
mod support;
