//! What a price book promises: exact amounts, honest nulls, no guessed name.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod arithmetic;
mod books;
mod filter;
mod imports;
mod legacy;
mod rules_catalogue;
mod rules_choice;
mod rules_names;
mod rules_tokens;
mod support;
