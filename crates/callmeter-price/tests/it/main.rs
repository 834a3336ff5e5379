//! What a price book promises: exact amounts, honest nulls, no guessed name.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod arithmetic;
mod books;
mod legacy;
mod rules;
