//! Fuzzing of the wire readers: one target for each format and framing.
//!
//! `cargo +nightly fuzz run json_body` (and `event_lines`, `event_stream`, `compressed`, `request`, `inspect`). The
//! corpus is also replayed by the stable tests of `callmeter-wire`.

pub mod harness;
