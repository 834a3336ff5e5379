//! Calls that may stand in two rows: guards under `callmeter run` of a provider that it did not lead.
//!
//! Whoever spooled such a guard noted its id in the home (`callmeter::Home::possible_doubles`); here those that the store
//! holds, and priced, are summed. What is in no list of this home, such as another machine's, is not known here.

use callmeter_core::UsdTotal;
use callmeter_store::{Filter, StoreError, StoreReader, StoredCall};

use crate::context::Context;
use crate::print;

/// How many of the newest are looked up: each is a question to the store.
const LOOKED_UP: usize = 1_000;

/// Calls that may be counted twice, and what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Doubles {
    pub(crate) calls: u64,
    pub(crate) cost: UsdTotal,
}

impl Doubles {
    /// Those of this home that a filter holds.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn of(
        context: &Context,
        store: &mut StoreReader,
        filter: &Filter,
    ) -> Result<Self, StoreError> {
        let mut doubles = Self::default();
        for id in context
            .home
            .possible_doubles()
            .into_iter()
            .rev()
            .take(LOOKED_UP)
        {
            if filter.since.is_some_and(|since| id.started_at() < since)
                || filter.until.is_some_and(|until| id.started_at() >= until)
            {
                continue;
            }
            let Some(call) = store.find(id)? else {
                continue;
            };
            if let Some(cost) = call.cost.cost.filter(|_| holds(filter, &call)) {
                doubles.calls += 1;
                doubles.cost.add(cost);
            }
        }
        Ok(doubles)
    }

    /// In words; `None` where there are none.
    pub(crate) fn in_words(self) -> Option<String> {
        (self.calls > 0).then(|| format!("{}, {}", print::calls(self.calls), self.cost.to_short()))
    }
}

/// Whether a filter holds a call, but for its range.
fn holds(filter: &Filter, call: &StoredCall) -> bool {
    let record = &call.record;
    let is = |wanted: &Option<String>, found: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
    };
    is(&filter.caller, Some(record.caller_or_unknown()))
        && is(&filter.provider, Some(record.provider_or_unknown()))
        && is(&filter.model, Some(record.model_or_requested()))
        && is(&filter.status, Some(record.status_or_ok().as_str()))
        && is(&filter.project, record.project.as_deref())
        && is(&filter.team, record.team.as_deref())
}
