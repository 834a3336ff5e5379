//! Reading JSON as it arrives, along allow-listed paths only.
//!
//! [`Scanner`] walks the bytes once, keeps a value only where the [`Allow`] tree asks for it, and
//! skips everything else without buffering or allocating. The tree of wire paths is [`Node`].

mod counts;
mod number;
mod paths;
mod scanner;

pub(crate) use counts::Counts;
pub(crate) use number::{ReadCount, milli_from_decimal, read_count};
pub(crate) use paths::{CostKey, Key, Node, Slot};
pub(crate) use scanner::{Allow, Scalar, Scanner, Visit, Want};
