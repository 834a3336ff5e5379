//! The proxy as its clients and upstreams meet it: real sockets on both sides, bytes compared.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod budgets;
mod cancelling;
mod environment;
mod failures;
mod fallback;
mod http;
mod kept;
mod oddities;
mod protocols;
mod rig;
mod rows;
mod security;
mod transparency;
mod tunnels;
mod upstream;
mod usage;
