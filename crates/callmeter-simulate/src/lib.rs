//! The fault simulation: recorder, spool, shipper and adopter as they ship, on one thread, under faults that
//! a seed chooses.
//!
//! ```text
//! seed ──▶ plan: steps ──▶ world: processes, agents, clock, disk, stores ──▶ everything heals
//!                               │ guards, batches, commits                        │
//!                               └──────────────▶ oracle: obligations ◀────────────┘
//! ```
//! Real are the guard, the flight buffer, the worker, the shipper, the adopter and, on every tenth seed, the
//! spool's files with SQLite. Simulated are the clock, the disk of the other seeds, the store, and how
//! processes die (`gate`). The same seed takes the same steps on every machine.
//!
//! For development only: `cargo xtask simulate`. `docs/internals/simulation.md` says what it shows.

mod clock;
mod disk;
mod gate;
mod oracle;
pub mod outage;
pub mod plan;
mod random;
mod run;
mod shrink;
mod store;
mod world;

pub use oracle::Violation;
pub use run::{Outcome, run};
pub use shrink::shrink;
