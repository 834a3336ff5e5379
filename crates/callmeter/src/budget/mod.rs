//! Budgets: what is spent of each in its period, told once a threshold, and asked without waiting.
//!
//! ```text
//! the elected shipper of a home ── one question a budget to the rollups, every 10 s ──▶ HOME/budgets
//!                                  └▶ one warning for each threshold that was reached
//! every process of the home ── its worker reads HOME/budgets once a second ──▶ `check_budget`, in memory
//! ```
//! Nothing is done per call. `HOME/budgets` remembers which thresholds were told, so that a restart tells none twice;
//! it is written after the warning, so that a kill between the two tells one twice rather than never.
//! Money alone counts: usage under a plan is in no budget.
//!
//! Leaves to others: refusing a call (the host, the proxy), and what a budget covers (settings).

mod file;
mod handle;
mod standing;
mod watch;

pub use self::handle::{BudgetExceeded, BudgetScope, Budgets};
pub use self::standing::{BudgetStanding, budget_standings};
pub(crate) use self::watch::BudgetWatch;
