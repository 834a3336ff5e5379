//! Requests: method, path, headers and body → who is asked for what.
//!
//! [`RequestReader`] takes the head at once and the body in any pieces, and yields [`RequestFacts`]. Of the
//! body only names and switches at the top are read; messages are skipped unseen.

mod api;
mod credential;
mod facts;
mod form;
mod paths;
mod provider;
mod reader;
mod route;

pub use api::Api;
pub use facts::RequestFacts;
pub use reader::RequestReader;
