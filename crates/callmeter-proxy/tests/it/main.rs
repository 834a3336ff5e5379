//! The proxy as its clients and upstreams meet it: real sockets on both sides, bytes compared.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod cancelling;
mod fallback;
mod http;
mod rig;
mod rows;
mod transparency;
mod upstream;
