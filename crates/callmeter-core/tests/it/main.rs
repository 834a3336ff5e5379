//! What the record promises: it survives its encoding, it merges in any order, it keeps its limits, and its
//! reference tells every field as it is.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod codec;
mod errors;
mod limits;
mod merge;
mod reference;
