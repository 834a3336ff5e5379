//! Sans-IO readers of LLM provider traffic: what a call used, who answered, how it ended.
//!
//! Two readers: [`RequestReader`] for what is asked of whom, [`ResponseReader`] for what came back, fed with
//! bytes in any pieces, plain or compressed, JSON, server-sent events, JSON lines or AWS event
//! streams. [`inspect()`] runs both over a recorded exchange.
//!
//! Promises: each byte is looked at once; memory is bounded whatever the body; no input panics; only
//! allow-listed paths are read and no byte of a prompt or an answer is kept (promise CM-6). A figure
//! that was not sent is absent, never 0 (CM-7), and the same bytes give the same reading however
//! they are cut.
//!
//! Leaves to others: sockets (`callmeter-proxy`), prices (`callmeter-price`), rows (`callmeter`).
//!
//! ```
//! use callmeter_wire::{RequestFacts, ResponseReader};
//! let facts = RequestFacts::from_line("POST", "/api/chat").with_host("localhost:11434");
//! let mut reader = ResponseReader::new(&facts, Some(200), [("content-type", "application/x-ndjson")]);
//! reader.push(b"{\"message\":{\"content\":\"Hi\"},\"done\":false}\n{\"done\":true,\"done_reason\"");
//! reader.push(b":\"stop\",\"prompt_eval_count\":26,\"eval_count\":298}\n");
//! let reading = reader.finish();
//! assert_eq!((reading.usage.input_tokens, reading.usage.output_tokens), (Some(26), Some(298)));
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod compression;
mod framing;
mod inspect;
mod json;
mod request;
mod response;
mod text;

pub use inspect::{InspectError, Inspection, inspect, inspect_line};
pub use request::{Api, RequestFacts, RequestReader};
pub use response::{Finish, Reading, ResponseReader};
