//! Asking whether a budget is spent: from memory, without I/O and without waiting.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, RwLock};
use std::time::SystemTime;

use callmeter_core::{Clock, SystemClock, Timestamp, UsdTotal};

use super::file::{self, Entries};
use crate::home::Home;
use crate::pipeline::Callmeter;
use crate::settings::BudgetSettings;

/// Whose call is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct BudgetScope<'a> {
    /// The caller.
    pub caller: &'a str,
    /// The model, as reports name it.
    pub model: &'a str,
    /// The team.
    pub team: Option<&'a str>,
    /// The project.
    pub project: Option<&'a str>,
}

impl<'a> BudgetScope<'a> {
    /// A call of `caller` to `model`.
    pub const fn of(caller: &'a str, model: &'a str) -> Self {
        Self {
            caller,
            model,
            team: None,
            project: None,
        }
    }
}

/// The budgets of a recorder, as they stood when they were last looked up: up to ten seconds ago, and longer while the
/// store is away.
#[derive(Clone)]
pub struct Budgets(Arc<Inner>);

struct Inner {
    budgets: BTreeMap<String, BudgetSettings>,
    clock: Arc<dyn Clock>,
    entries: RwLock<Arc<Entries>>,
    seen: Mutex<Option<(SystemTime, u64)>>,
}

impl fmt::Debug for Budgets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budgets")
            .field("budgets", &self.0.budgets.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Default for Budgets {
    /// None.
    fn default() -> Self {
        Self::new(BTreeMap::new(), Arc::new(SystemClock))
    }
}

impl Budgets {
    pub(crate) fn new(budgets: BTreeMap<String, BudgetSettings>, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner {
            budgets,
            clock,
            entries: RwLock::default(),
            seen: Mutex::default(),
        }))
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.0.budgets.is_empty()
    }

    /// Whether a hard one is of a model.
    pub fn refuses_models(&self) -> bool {
        let mut budgets = self.0.budgets.values();
        budgets.any(|budget| budget.is_hard && budget.model.is_some())
    }

    /// Whether every budget that covers a call has something left.
    ///
    /// # Errors
    /// The budget that is spent; a hard one before others.
    pub fn check(&self, call: &BudgetScope<'_>) -> Result<(), BudgetExceeded> {
        if self.is_empty() {
            return Ok(());
        }
        let now = self.0.clock.now();
        // Whoever asks never waits: figures that are being changed this moment are asked for the next time.
        let Ok(entries) = self
            .0
            .entries
            .try_read()
            .map(|entries| Arc::clone(&entries))
        else {
            return Ok(());
        };
        let mut spent: Option<BudgetExceeded> = None;
        for (name, budget) in &self.0.budgets {
            if !covers(budget, call) {
                continue;
            }
            let Some(entry) = entries.get(name) else {
                continue;
            };
            // Figures of another limit or of a period that is over say nothing.
            if entry.limit != budget.limit
                || entry.period_end <= now
                || entry.spent.as_pico() < i128::from(budget.limit.as_pico())
            {
                continue;
            }
            let exceeded = BudgetExceeded {
                budget: name.clone(),
                is_hard: budget.is_hard,
                limit: UsdTotal::from_pico(i128::from(budget.limit.as_pico())),
                spent: entry.spent,
                resets_at: entry.period_end,
                retry_after_s: seconds_until(entry.period_end, now),
            };
            if exceeded.is_hard {
                return Err(exceeded);
            }
            spent.get_or_insert(exceeded);
        }
        spent.map_or(Ok(()), Err)
    }

    /// Why a call must not be made: a hard budget that covers it is spent.
    pub fn refusal(&self, call: &BudgetScope<'_>) -> Option<BudgetExceeded> {
        self.check(call).err().filter(|exceeded| exceeded.is_hard)
    }

    /// Reads the home's file anew if it has changed; for the worker, never for a caller.
    pub(crate) fn refresh(&self, home: &Home) {
        let path = file::path_in(home);
        let seen = std::fs::metadata(&path)
            .ok()
            .and_then(|metadata| Some((metadata.modified().ok()?, metadata.len())));
        // A lock that a fork left held by nobody is not waited for either.
        let Ok(mut was_seen) = self.0.seen.try_lock() else {
            return;
        };
        if seen == *was_seen {
            return;
        }
        if let Ok(read) = file::read(&path)
            && let Ok(mut entries) = self.0.entries.try_write()
        {
            *entries = Arc::new(read);
            *was_seen = seen;
        }
    }
}

impl Callmeter {
    /// Whether every budget that covers a call of `caller` to `model` has something left, as of its last look-up: at
    /// most about twelve seconds ago, and longer while the store is away. Reads memory alone and never waits.
    ///
    /// ```
    /// # let home = tempfile::tempdir()?;
    /// let callmeter = callmeter::builder().home(home.path()).open()?;
    /// match callmeter.check_budget("sales_copy", "gpt-5-mini") {
    ///     Ok(()) => { /* make the call */ }
    ///     Err(spent) if spent.is_hard => eprintln!("{spent}"),
    ///     Err(spent) => { /* make it, and let somebody know */ }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The budget that is spent; a hard one before others.
    pub fn check_budget(&self, caller: &str, model: &str) -> Result<(), BudgetExceeded> {
        self.recorder.check_budget(&BudgetScope::of(caller, model))
    }

    /// Why a call must not be made: a hard budget that covers it is spent. For whoever answers for others, such as a
    /// proxy; team and project are those of the registry and the settings where `call` names none.
    pub fn budget_refusal(&self, call: &BudgetScope<'_>) -> Option<BudgetExceeded> {
        let exceeded = self.recorder.check_budget(call).err();
        exceeded.filter(|exceeded| exceeded.is_hard)
    }

    /// The budgets as they stand, for whoever asks often or for other teams and projects: a proxy.
    pub fn budgets(&self) -> Budgets {
        self.recorder.plan.budgets.clone()
    }
}

fn covers(budget: &BudgetSettings, call: &BudgetScope<'_>) -> bool {
    let is = |wanted: &Option<String>, word: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| word == Some(wanted))
    };
    is(&budget.caller, Some(call.caller))
        && is(&budget.model, Some(call.model))
        && is(&budget.team, call.team)
        && is(&budget.project, call.project)
}

fn seconds_until(end: Timestamp, now: Timestamp) -> u64 {
    let micros = end.micros_since(now).max(0).cast_unsigned();
    micros.div_ceil(1_000_000)
}

/// A budget is spent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetExceeded {
    /// Its name.
    pub budget: String,
    /// Whether calls are to be refused.
    pub is_hard: bool,
    /// How much may be spent.
    pub limit: UsdTotal,
    /// How much is spent.
    pub spent: UsdTotal,
    /// When the next period begins.
    pub resets_at: Timestamp,
    /// In how many seconds that is, for `Retry-After`.
    pub retry_after_s: u64,
}

impl BudgetExceeded {
    /// The body of an answer with status 429.
    pub fn to_json(&self) -> String {
        // Nothing in it but the name is anybody's own word, and that has no control characters.
        let name = self.budget.replace('\\', "\\\\").replace('"', "\\\"");
        format!(
            "{{\"error\":{{\"type\":\"budget_exceeded\",\"message\":\"the budget {name} is spent: {} of {}; \
             it begins anew at {}\",\"budget\":\"{name}\",\"limit_usd\":\"{}\",\"spent_usd\":\"{}\",\"resets_at\":\"{}\"}}}}",
            self.spent.to_short(),
            self.limit.to_short(),
            self.resets_at,
            self.limit,
            self.spent,
            self.resets_at
        )
    }
}

impl fmt::Display for BudgetExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the budget {} is spent: {} of {}; it begins anew at {}",
            self.budget,
            self.spent.to_short(),
            self.limit.to_short(),
            self.resets_at
        )
    }
}

impl std::error::Error for BudgetExceeded {}

#[cfg(test)]
mod tests {
    use callmeter_core::PicoUsd;
    use callmeter_testkit::clock::ManualClock;

    use super::super::file::Entry;
    use super::*;
    use crate::spool::Rights;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn usd(amount: i64) -> PicoUsd {
        PicoUsd::from_pico(amount * 1_000_000_000_000)
    }

    /// A soft budget of a team, a hard one of a model in it, of 10 USD each.
    fn budgets(spent: i64) -> (Budgets, tempfile::TempDir, Arc<ManualClock>) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let soft = BudgetSettings {
            limit: usd(10),
            team: Some("shop".to_owned()),
            ..BudgetSettings::default()
        };
        let hard = BudgetSettings {
            model: Some("gpt-4o".to_owned()),
            is_hard: true,
            ..soft.clone()
        };
        let clock = Arc::new(ManualClock::at(at("2026-11-26T12:00:00Z")));
        let names = BTreeMap::from([
            ("a \"soft\" one".to_owned(), soft),
            ("hard".to_owned(), hard),
        ]);
        let budgets = Budgets::new(names.clone(), clock.clone());
        let entry = Entry {
            limit: usd(10),
            period_start: at("2026-11-01T00:00:00Z"),
            period_end: at("2026-12-01T00:00:00Z"),
            spent: UsdTotal::from_pico(i128::from(usd(spent).as_pico())),
            told: Vec::new(),
        };
        let entries = names
            .into_keys()
            .map(|name| (name, entry.clone()))
            .collect();
        file::write(&file::path_in(&home), &entries, Rights::User).unwrap();
        budgets.refresh(&home);
        (budgets, dir, clock)
    }

    fn scope(model: &'static str, team: Option<&'static str>) -> BudgetScope<'static> {
        BudgetScope {
            caller: "sales_copy",
            model,
            team,
            project: None,
        }
    }

    #[test]
    fn a_call_is_checked_against_every_budget_that_covers_it() {
        let (budgets, _dir, clock) = budgets(10);
        assert_eq!(budgets.check(&scope("gpt-4o", None)), Ok(()));
        let soft = budgets
            .check(&scope("gpt-5-mini", Some("shop")))
            .unwrap_err();
        assert!(!soft.is_hard && soft.budget.contains("soft"));
        assert_eq!(budgets.refusal(&scope("gpt-5-mini", Some("shop"))), None);
        let hard = budgets.refusal(&scope("gpt-4o", Some("shop"))).unwrap();
        assert_eq!(
            (hard.budget.as_str(), hard.retry_after_s),
            ("hard", 388_800)
        );
        // The next period begins with nothing spent.
        clock.jump_to(at("2026-12-01T00:00:00Z"));
        assert_eq!(budgets.check(&scope("gpt-4o", Some("shop"))), Ok(()));
    }

    #[test]
    fn what_is_left_lets_a_call_through() {
        let (budgets, _dir, _clock) = budgets(9);
        assert_eq!(budgets.check(&scope("gpt-4o", Some("shop"))), Ok(()));
        assert_eq!(
            Budgets::default().check(&scope("gpt-4o", Some("shop"))),
            Ok(())
        );
    }

    #[test]
    fn a_refusal_is_json_whatever_the_budget_is_called() {
        let (budgets, _dir, _clock) = budgets(12);
        let exceeded = budgets
            .check(&scope("gpt-5-mini", Some("shop")))
            .unwrap_err();
        let body: serde_json::Value = serde_json::from_str(&exceeded.to_json()).unwrap();
        let error = &body["error"];
        assert_eq!(error["type"], "budget_exceeded");
        assert_eq!(error["budget"], "a \"soft\" one");
        assert_eq!(
            (error["limit_usd"].as_str(), error["spent_usd"].as_str()),
            (Some("10"), Some("12"))
        );
        assert_eq!(error["resets_at"], "2026-12-01T00:00:00.000000Z");
    }
}
