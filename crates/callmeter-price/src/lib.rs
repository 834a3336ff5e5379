//! What an LLM call costs.
//!
//! Owns price books ([`Book`]): their format, the matching of a model's name to its price, the choice of
//! period, tier and variant, and the arithmetic. Three kinds of book: `market` (built in, from public
//! price lists), `legacy` (built in, the table of the module that callmeter replaces) and the user's own.
//!
//! Promises: every amount is exact to the pico-dollar (integers and fractions only; the `legacy` book
//! alone computes as its model did), an unknown name is never priced, and null comes with its reason.
//! Pure: no I/O, no clock. The rules are cited in comments by their numbers (R-1 …), which
//! `docs/reference/prices.md` lists.
//!
//! Leaves to others: when a call is priced and where its price is kept (`callmeter-store`).
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod amount;
mod book;
mod compile;
pub mod filter;
mod format;
mod legacy;
mod matching;
mod pricing;
mod providers;

pub use book::{Book, BookEntry};
pub use format::BookError;
pub use pricing::Priced;
pub use providers::{ProviderKinds, canonical_provider};
