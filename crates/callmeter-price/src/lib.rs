//! What an LLM call costs.
//!
//! Owns price books ([`Book`]): their format, the matching of a model's name to its price, the choice of
//! period, tier and variant, and the arithmetic. Three kinds of book: `market` (built in, from public
//! price lists), `legacy` (built in, the table of the module that callmeter replaces) and the user's own, which lie
//! over the built-in one. Prices of other projects' files become layers by [`import`].
//!
//! Promises: every amount is exact to the pico-dollar (integers and fractions only; the `legacy` book
//! alone computes as its model did), an unknown name is never priced, and null comes with its reason. A look-up
//! allocates nothing. Pure: no I/O, no clock. The rules are cited in comments and tests by their numbers (R-1 …),
//! which `docs/reference/prices.md` lists.
//!
//! Leaves to others: when a call is priced and where its price is kept (`callmeter-store`).
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used
    )
)]

mod amount;
mod book;
mod charge;
mod compile;
mod currency;
mod entry;
mod explain;
pub mod filter;
mod format;
pub mod import;
mod layer;
mod legacy;
mod listing;
mod matching;
mod packed;
mod pricing;
mod providers;
mod rates;
mod suggest;

pub use book::Book;
pub use currency::Currency;
pub use explain::Explanation;
pub use format::BookError;
pub use layer::LayerKind;
pub use listing::{BookEntry, ListedPeriod, ListedRates};
pub use pricing::Priced;
pub use providers::{ProviderKinds, canonical_provider};
pub use suggest::Suggestion;

/// The licences of the sources of the built-in book, and whose they are.
pub const LICENCES: &str = include_str!("../data/LICENSES.txt");
