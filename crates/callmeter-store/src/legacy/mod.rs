//! The table `ai_calls` of the module that callmeter replaces: what a call is in it, and what it tells of one.
//!
//! Owns the mapping both ways, without a database. The columns, their limits and their figures are a contract
//! with SQL that users have written: they change for nobody. Where the truth does not fit a column it goes into
//! `meta`, under a key that begins with `callmeter.`:
//!
//! ```text
//! callmeter.status     how the call really ended, where `status` says it in a word that reports know
//! callmeter.unpriced   why the call has no price, where `cost_usd` can only say 0
//! callmeter.input_tokens, callmeter.output_tokens, callmeter.duration_ms
//!                      the number, where it is beyond what its column holds
//! ```
//! Reading a shape, writing and adopting a table are left to `postgres::legacy` and `postgres::adopt`.

mod error;
#[cfg(any(test, feature = "postgres"))]
mod reading;
mod row;

#[cfg(test)]
mod tests;

pub use self::error::LegacyError;
#[cfg(any(test, feature = "postgres"))]
pub(crate) use self::reading::StoredLegacyRow;
pub use self::row::{LegacyRow, LegacyWidths};

/// The key of `meta` with the status that the column could not say.
pub(crate) const STATUS_MARK: &str = "callmeter.status";
/// The key of `meta` with the reason of a cost that is no price.
pub(crate) const UNPRICED_MARK: &str = "callmeter.unpriced";
/// The keys of `meta` with the numbers that their columns could not hold.
pub(crate) const INPUT_MARK: &str = "callmeter.input_tokens";
pub(crate) const OUTPUT_MARK: &str = "callmeter.output_tokens";
pub(crate) const DURATION_MARK: &str = "callmeter.duration_ms";
