//! The watch of a home's budgets: asks the store how they stand, tells thresholds, writes it down.
//!
//! Part of the elected shipper: so one process of a home does it, and only while the store answers.

use std::time::Duration;

use callmeter_core::{Timestamp, UsdTotal};
use callmeter_store::{StoreError, StoreOptions, StoreReader, StoreUrl};

use super::file::{self, Entries, Entry};
use super::standing::{BudgetStanding, budget_standings};
use crate::home::Home;
use crate::logging::log_line;
use crate::settings::Settings;

/// How long it takes at most until what was shipped counts.
const EVERY: Duration = Duration::from_secs(10);
/// The same while nothing is shipped from here: others may spend as well.
const EVERY_AT_REST: Duration = Duration::from_secs(60);

/// Who watches the budgets of a home.
pub(crate) struct BudgetWatch {
    settings: Settings,
    home: Home,
    url: StoreUrl,
    reader: Option<StoreReader>,
    entries: Option<Entries>,
    last: Option<(u64, u64)>,
    is_failing: bool,
}

impl BudgetWatch {
    /// A watch, if there are budgets.
    pub(crate) fn of_settings(settings: &Settings, home: &Home) -> Option<Self> {
        if settings.budgets.is_empty() {
            return None;
        }
        Some(Self {
            settings: settings.clone(),
            home: home.clone(),
            url: settings.store_url(home),
            reader: None,
            entries: None,
            last: None,
            is_failing: false,
        })
    }

    /// Does what is due. `now_ns` is of the shipper's timer, `shipped` how many calls it has shipped so far.
    pub(crate) fn look(&mut self, now: Timestamp, now_ns: u64, shipped: u64) {
        if let Some((at, before)) = self.last {
            let pause = if shipped == before {
                EVERY_AT_REST
            } else {
                EVERY
            };
            if Duration::from_nanos(now_ns.saturating_sub(at)) < pause {
                return;
            }
            if shipped == before {
                // No connection lies idle for the sake of a look now and then.
                self.reader = None;
            }
        }
        self.last = Some((now_ns, shipped));
        match self.standings(now) {
            Ok(standings) => {
                self.is_failing = false;
                self.take(standings);
            }
            Err(error) => {
                self.reader = None;
                if !self.is_failing {
                    log_line!(warn: %error, "the budgets cannot be looked up; their last figures stay");
                }
                self.is_failing = true;
            }
        }
    }

    fn standings(&mut self, now: Timestamp) -> Result<Vec<BudgetStanding>, StoreError> {
        if self.reader.is_none() {
            // A price book that cannot be read is in nobody's way here.
            let options = self.settings.store_options().unwrap_or_else(|_| {
                let mut options = StoreOptions::default();
                options.layout = self.settings.store.layout;
                options
            });
            match StoreReader::open_as(&self.url, &options) {
                Ok(reader) => self.reader = Some(reader),
                // Nothing was spent yet.
                Err(StoreError::NotFound(_)) => return Ok(Vec::new()),
                Err(error) => return Err(error),
            }
        }
        match &mut self.reader {
            Some(reader) => budget_standings(reader, &self.settings, now),
            None => Ok(Vec::new()),
        }
    }

    /// Tells thresholds that are reached for the first time in their period, then remembers them.
    fn take(&mut self, standings: Vec<BudgetStanding>) {
        let path = file::path_in(&self.home);
        let mut known = match self.entries.take() {
            Some(entries) => entries,
            None => file::read(&path).unwrap_or_default(),
        };
        let mut entries = Entries::new();
        for standing in standings {
            let before = known.remove(&standing.name).filter(|entry| {
                entry.period_start == standing.period_start && entry.limit == standing.budget.limit
            });
            let mut told = before.map(|entry| entry.told).unwrap_or_default();
            let percent = standing.percent();
            for threshold in &standing.budget.thresholds {
                if percent >= u64::from(*threshold) && !told.contains(threshold) {
                    tell(&standing, *threshold);
                    told.push(*threshold);
                }
            }
            let entry = Entry {
                limit: standing.budget.limit,
                period_start: standing.period_start,
                period_end: standing.period_end,
                spent: standing.spent,
                told,
            };
            entries.insert(standing.name, entry);
        }
        if let Err(error) = file::write(&path, &entries, self.home.rights()) {
            log_line!(debug: %error, "the standing of budgets cannot be written to the home");
        }
        self.entries = Some(entries);
    }
}

fn tell(standing: &BudgetStanding, threshold: u32) {
    let limit = UsdTotal::from_pico(i128::from(standing.budget.limit.as_pico())).to_short();
    let forecast = standing.forecast.map_or_else(String::new, |forecast| {
        format!(", on the way to {} by its end", forecast.to_short())
    });
    log_line!(
        warn: budget = standing.name.as_str(),
        threshold,
        "a budget has reached {threshold} %: {} of {limit} spent in the {} from {}{forecast}",
        standing.spent.to_short(),
        standing.budget.period.as_str(),
        standing.period_start
    );
}
