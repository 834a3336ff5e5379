//! The flight buffer: every call lies in shared memory from its opening until its row is in the spool.
//!
//! A process makes a [`FlightBuffer`]: a file of fixed slots, mapped. [`FlightBuffer::open`] takes a slot
//! and writes who, what and when; [`FlightBuffer::finish`] writes the outcome and sets the slot's state
//! with one store. A worker's [`Drainer`] takes finished calls to the spool. Should the process die, an
//! [`Adopter`] finds all of them: finished calls become rows, open ones aborted rows. Others look in
//! through [`InFlight`] and throw the [`Switch`].
//!
//! Promises its neighbours: no system call, no lock that is waited for, no allocation and no panic
//! between opening and finishing (CM-1, CM-2); a finished call survives `kill -9` from the moment
//! [`finish`](FlightBuffer::finish) returns (CM-4), as far as the [`Place`] does; each call is counted in
//! exactly one place (CM-3, [`Standing`]).
//!
//! Leaves to others: the wall clock and the ids, the spool, and when to do all this. A [`MonotonicClock`] is here because
//! it is read by an instruction.
//!
//! The only crate with `unsafe`: a mapping, a page that tells a forked child, the handlers of fork, and the
//! processor's counter (`region`, `fork`, `gate`, `tsc`). The
//! state machine and its memory ordering are in `slot`, the layout of format 1 in `layout`, the why in
//! `docs/internals/flight.md`.
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used
    )
)]

#[cfg(all(loom, not(test)))]
compile_error!("--cfg loom is for the models: cargo test -p callmeter-flight --lib");

#[cfg_attr(loom, allow(dead_code))]
mod layout;
mod sync;

#[cfg_attr(loom, allow(dead_code))]
mod block;
#[cfg_attr(loom, allow(dead_code))]
mod line;
#[cfg(all(loom, test))]
mod models;
#[cfg_attr(loom, allow(dead_code))]
mod slot;

#[cfg(not(loom))]
mod adopt;
#[cfg(not(loom))]
mod assembly;
#[cfg(not(loom))]
mod buffer;
#[cfg(not(loom))]
mod checksum;
#[cfg(not(loom))]
mod clock;
#[cfg(not(loom))]
mod drain;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod fields;
#[cfg(not(loom))]
mod file;
#[cfg(not(loom))]
mod file_system;
#[cfg(not(loom))]
mod fork;
#[cfg(not(loom))]
mod gate;
#[cfg(all(test, not(loom)))]
mod golden;
#[cfg(not(loom))]
mod header;
#[cfg(not(loom))]
mod lease;
#[cfg(not(loom))]
mod names;
#[cfg(not(loom))]
mod owner;
#[cfg(not(loom))]
mod place;
#[cfg(not(loom))]
mod random;
#[cfg(not(loom))]
mod read;
#[cfg(not(loom))]
mod record;
#[cfg(not(loom))]
mod region;
#[cfg(not(loom))]
mod slots;
#[cfg(not(loom))]
mod standing;
#[cfg(not(loom))]
mod tape;
#[cfg(not(loom))]
mod thread;
#[cfg(not(loom))]
mod told;
#[cfg(not(loom))]
mod tsc;
#[cfg(not(loom))]
mod view;
#[cfg(not(loom))]
mod words;

#[cfg(not(loom))]
mod exports {
    pub use crate::adopt::{Adopted, AdoptedCalls, Adopter};
    pub use crate::buffer::{FlightBuffer, Options};
    pub use crate::clock::MonotonicClock;
    pub use crate::drain::Drainer;
    pub use crate::error::FlightError;
    pub use crate::fields::{Fields, Value};
    pub use crate::file_system::{doubtful_file_system, network_file_system};
    pub use crate::fork::Process;
    pub use crate::gate::Busy;
    pub use crate::lease::Lease;
    pub use crate::place::{
        Place, PlaceKind, is_in_container, shared_memory_dir, shared_memory_root,
    };
    pub use crate::random::fill_random;
    pub use crate::record::{FlightSlot, Name, NameRef, Opening, Prepared, Refused};
    pub use crate::standing::Standing;
    pub use crate::told::OpenSlot;
    pub use crate::view::{InFlight, Switch};
}
#[cfg(not(loom))]
pub use exports::*;
