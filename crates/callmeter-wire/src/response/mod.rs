//! Responses: status, headers and body → what was used, who answered, how it ended.
//!
//! [`ResponseReader`] takes the body in any pieces and yields a [`Reading`]. Formats are told apart by
//! their keys, not by the provider's name, so that a gateway's copy of a shape is read as that shape.

mod body;
mod draft;
mod error;
mod finish;
mod headers;
mod ledger;
mod reader;
mod reading;
mod usage;

pub use finish::Finish;
pub use reader::ResponseReader;
pub use reading::Reading;
