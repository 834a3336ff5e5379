//! What callmeter's tests share. For development only.
//!
//! Owns strategies for records ([`records`]), a store in memory that can be told to fail ([`sink`]), a
//! clock that stands still ([`clock`]), and the fixed look-alikes of secrets and content that privacy
//! tests search for ([`markers`]). A suite that several crates must pass lives here, so that its test
//! names stand once.

pub mod clock;
pub mod markers;
pub mod records;
pub mod sink;
