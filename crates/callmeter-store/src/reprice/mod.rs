//! Repricing: what stored calls cost by another revision of the book, written down slice by slice.
//!
//! ```text
//! reprices      a line for each reprice: its revision, who asked for which calls, how far it is, when it ended
//! reprice_sums  what it changed, by day, provider, model and old revision, plan usage apart: the audit
//! reprice_runs  from which call on the calls that it looked at had which old revision: what an undo needs
//! ```
//! A reprice first commits a revision of the book of its own, n + 1; whatever enters the store from then on is
//! priced by it at the door. Then it walks the older calls in the order of their ids. A slice is one
//! transaction: calls, rollups, audit and how far it is, all or nothing. So it may be killed anywhere and goes
//! on where it was; several that run it take turns; writers write on. Every call that it looks at gets its
//! revision, so looking twice at one changes nothing.
//!
//! What a provider stated goes on counting (pricing rule R-18); a call without tokens keeps the cost that it
//! has (R-31). An undo walks every call that carries the reprice's revision, on open days: one that the reprice looked
//! at goes back to its old revision, and so does one that came in between those; any other that was priced by it at
//! the door goes to the revision of the undo.
//!
//! Leaves to others: which days are closed (settings), and what is printed.

mod error;
mod pace;
mod preview;
mod repricer;
mod tally;
mod target;

use std::sync::Arc;

use callmeter_core::{Cost, Flags, Timestamp, UnpricedReason, UsdTotal};
use callmeter_price::{Book, ProviderKinds};

use crate::question::Filter;
use crate::{AccountingZone, StoredCall};

pub use self::error::RepriceError;
pub(crate) use self::pace::Pace;
pub use self::repricer::Repricer;
pub(crate) use self::tally::{GroupSums, SUMS, Tally};
pub(crate) use self::target::{Before, Target};

/// Which calls a reprice looks at, and by which prices.
#[derive(Clone, Debug, Default)]
pub struct RepriceQuery {
    /// Which calls.
    pub filter: Filter,
    /// Calls that have a price as well, not only those without.
    pub is_all: bool,
    /// The last accounting day that is closed, in days from 1970-01-01: calls that started on it or before it
    /// stay as they are.
    pub closed_until: Option<i64>,
    /// The book of the new revision; `None` is the newest that the store has.
    pub book: Option<Arc<Book>>,
    /// Who asks, for the audit.
    pub asked_by: String,
}

impl RepriceQuery {
    /// The filter without closed days.
    pub(crate) fn open_days(&self, zone: &AccountingZone) -> Filter {
        let mut filter = self.filter.clone();
        filter.since = later(filter.since, first_open(self.closed_until, zone));
        filter
    }
}

/// When the first day begins that is not closed.
pub(crate) fn first_open(closed_until: Option<i64>, zone: &AccountingZone) -> Option<Timestamp> {
    closed_until.map(|day| zone.day_start(day.saturating_add(1)))
}

/// The later of two beginnings.
fn later(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

/// A reprice, as the store's audit keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reprice {
    /// The revision that it committed and that its calls carry.
    pub rev: u32,
    /// The reprice that it takes back.
    pub undoes: Option<u32>,
    /// Whether it looks at calls that have a price as well.
    pub is_all: bool,
    /// Which calls, closed days left out.
    pub filter: Filter,
    /// The last day that was closed when it began.
    pub closed_until: Option<i64>,
    /// Who asked for it.
    pub asked_by: String,
    /// When it began.
    pub began_at: Timestamp,
    /// When it ended; `None` while there is more to do.
    pub ended_at: Option<Timestamp>,
    /// How many calls it has looked at.
    pub looked_at: u64,
    /// How many of them cost something else than before.
    pub changed: u64,
    /// The last call that it looked at, by the halves of its id.
    pub(crate) at: (i64, i64),
}

/// Where a walk begins: before every id, whose halves are not negative.
pub(crate) const BEFORE_ALL: (i64, i64) = (-1, -1);

/// What a reprice changed for one day, model and old revision.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepricedGroup {
    /// The accounting day, from 1970-01-01.
    pub day: i64,
    /// Whether the calls are under a plan: their figures are no money.
    pub is_plan: bool,
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// The revision that they had been priced by.
    pub old_rev: Option<u32>,
    /// Calls that were looked at.
    pub calls: u64,
    /// Calls that cost something else than before.
    pub changed: u64,
    /// What they cost before.
    pub old_cost: UsdTotal,
    /// What they cost now.
    pub new_cost: UsdTotal,
    /// How many had no price before.
    pub old_unpriced: u64,
    /// How many have none now.
    pub new_unpriced: u64,
}

/// Prices a stored call by revision `rev`; gives its cost and marks for its row.
pub(crate) fn price_anew(
    book: &Book,
    kinds: &ProviderKinds,
    rev: u32,
    stored: &StoredCall,
) -> (Cost, Flags) {
    let priced = book.price(&stored.record, kinds);
    let mut cost = priced.cost;
    if cost.unpriced_reason == Some(UnpricedReason::NoUsage) && stored.cost.cost.is_some() {
        // R-31: without tokens there is nothing to compute it from.
        cost = stored.cost.clone();
    }
    cost.book_rev = Some(rev);
    (cost, priced.flags)
}
