//! Fuzzing of the wire readers, one target for each format and framing, and of the flight adopter.
//!
//! `cargo xtask fuzz` runs them all for a while. The corpus is also replayed by the stable tests of
//! `callmeter-wire` and `callmeter-flight`.

pub mod adopter;
pub mod harness;
