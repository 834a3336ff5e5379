//! The simulation as a test: some hundred seeds, the deliberate faults, ten years of counters.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod counters;
mod mutations;
mod seeds;
