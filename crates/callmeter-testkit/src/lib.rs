//! What callmeter's tests share. For development only.
//!
//! Owns strategies for records ([`records`]). A suite that several crates must pass lives here, so that
//! its test names stand once.

pub mod records;
