//! What the record promises: it survives its encoding, it merges in any order, it keeps its limits.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod codec;
mod limits;
mod merge;
