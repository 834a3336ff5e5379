//! What the record promises: it survives its encoding, it merges in any order, it keeps its limits.

mod codec;
mod limits;
mod merge;
