//! Hard budgets: a call that a spent one covers is answered by the proxy, with 429, and makes no row.
//!
//! Asked of memory, once a request. A budget of a model needs to know the model before anything is sent, so where there
//! is one the body is held; of a body too long to be held the model is not known, and such a budget lets it pass.

use callmeter::BudgetScope;
use callmeter_wire::RequestFacts;
use hyper::StatusCode;

use crate::answer::Refusal;
use crate::attribution::Attribution;
use crate::record::Recording;

/// Whether a budget may refuse a call for its model.
pub(crate) fn name_models(recording: &Recording) -> bool {
    let recorder = recording.callmeter.as_ref();
    recorder.is_some_and(|recorder| recorder.budgets().refuses_models())
}

/// Refuses a call that a spent hard budget covers.
pub(crate) fn check(
    recording: &Recording,
    caller: &str,
    attribution: &Attribution,
    facts: &RequestFacts,
) -> Result<(), Refusal> {
    let Some(recorder) = recording.callmeter.as_ref().filter(|_| facts.is_call) else {
        return Ok(());
    };
    let exceeded = recorder.budget_refusal(&BudgetScope {
        caller,
        model: facts.model.as_deref().unwrap_or_default(),
        team: attribution.team.as_deref(),
        project: attribution.project.as_deref(),
    });
    match exceeded {
        None => Ok(()),
        Some(exceeded) => Err(Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            "budget_exceeded",
            exceeded.to_string(),
        )
        .until(exceeded.retry_after_s)),
    }
}
