//! The flight buffer as its users see it: recording, adopting, looking in, surviving.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod adoption;
mod corpus;
mod corruption;
mod process;
mod recording;
mod support;
mod threads;
mod told;
mod view;
