//! The vocabulary of callmeter: what one LLM call is, and what may be said of it.
//!
//! Owns the [`CallRecord`] with its limits, its encoding and its merge table, the identity of a call
//! ([`CallId`]), integer money ([`PicoUsd`]), the closed lists ([`Status`], [`ErrorKind`],
//! [`DropReason`], …), privacy (error policy, meta rules, keyed hashes), the caller registry, the
//! promises by their ids, and the two traits every other crate meets at: [`Sink`] and [`Clock`].
//!
//! Promises its neighbours: no I/O, no async, no clock of its own, no panic on any input.
//!
//! Leaves to others: reading provider traffic (`callmeter-wire`), prices (`callmeter-price`),
//! persistence (`callmeter-store`), and everything that runs (`callmeter`).
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod clock;
mod codec;
mod conservation;
mod count;
mod env;
mod field_value;
mod flags;
mod hash;
mod id;
mod limits;
mod merge;
mod meta;
mod money;
mod policy;
mod promise;
mod record;
mod registry;
mod scrub;
mod sink;
mod timestamp;
mod usage;
mod vocabulary;

pub use clock::{Clock, SystemClock};
pub use codec::{DecodeError, RECORD_FORMAT};
pub use conservation::Conservation;
pub use count::{MAX_COUNT, TokenCount};
pub use env::{EnvVar, is_off_word};
pub use flags::Flags;
pub use hash::{HashKey, legacy_prompt_hash};
pub use id::{CallId, ParseCallIdError};
pub use limits::{MAX_DURATION_US, clean_text};
pub use meta::{Meta, MetaPolicy, MetaRefusal, MetaValue};
pub use money::{ParseMoneyError, PicoUsd, UsdTotal};
pub use policy::ErrorPolicy;
pub use promise::Promise;
pub use record::{CallRecord, Cost, Field, FieldSet, Owner};
pub use registry::{CallerEntry, CallerRegistry, UnknownCaller};
pub use scrub::ScrubbedError;
pub use sink::{Ack, Sink, SinkError, SinkErrorKind};
pub use timestamp::{ParseTimestampError, Timestamp};
pub use usage::Usage;
pub use vocabulary::{
    Billing, CostSource, DropReason, ErrorKind, Layer, Operation, PriceMatch, Status,
    UnpricedReason, UsageSource,
};
