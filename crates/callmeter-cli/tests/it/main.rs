//! The command as its users meet it: the demo, the figures, the errors.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod ai_calls;
mod demo;
mod errors;
#[cfg(unix)]
mod exposition;
mod filters;
mod formats;
mod inspect;
mod kills;
mod looks;
mod money;
mod outage;
mod postgres;
mod prices;
mod privacy;
mod reconcile;
#[cfg(unix)]
mod run;
#[cfg(unix)]
mod running;
mod ship;
mod support;
#[cfg(unix)]
mod traffic;
