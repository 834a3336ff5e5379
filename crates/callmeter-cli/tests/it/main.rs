//! The command as its users meet it: the demo, the figures, the errors.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod ai_calls;
mod demo;
#[cfg(unix)]
mod ending;
mod errors;
#[cfg(unix)]
mod exposition;
mod filters;
mod formats;
#[cfg(target_os = "linux")]
mod full_disk;
mod inspect;
mod kills;
#[cfg(target_os = "linux")]
mod limits;
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
#[cfg(unix)]
mod service;
mod ship;
mod support;
#[cfg(unix)]
mod traffic;
