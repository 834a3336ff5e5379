//! What the guard of the SDK is told at the end of a call.
//!
//! Most calls say texts and numbers only, which are told as they lie ([`plain`]). Else all of it is taken out of the
//! state first: Python code may run while it is told (an object says its text, a number its value), and may look at
//! the state.

use callmeter::CallGuard;
use callmeter::binding::Outcome;
use callmeter_core::TokenCount;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::kept::Tokens;
use crate::meta;
use crate::state::CallState;
use crate::text::{count, plain_text, with_text};

/// What a state says, where that is but texts and numbers, and a call that ends well. `benches/` watches it.
pub(crate) fn plain<'a>(py: Python<'a>, state: &'a CallState) -> Option<Outcome<'a>> {
    let says_more = state.error.is_some()
        || state.fallback_to.is_some()
        || state.cost_usd.is_some()
        || state.meta.is_some()
        || state.ttft_us.is_some()
        || state.stream_complete.is_some();
    if says_more {
        return None;
    }
    let text =
        |said: Option<&'a Py<PyAny>>| said.map_or(Some(""), |said| plain_text(said.bind(py)));
    Some(Outcome {
        provider: text(state.is_provider_new.then_some(&state.provider))?,
        model: text(state.is_model_new.then_some(&state.model))?,
        request_id: text(state.request_id.as_ref())?,
        tokens: (state.input.recorded()?, state.output.recorded()?),
        cache_hit: state.cache_hit,
        rag_hit: state.rag_hit,
        status: text(state.status.as_ref())?,
    })
}

/// What a guard is to be told, taken out of a state, so that it is not borrowed while Python code runs.
pub(crate) struct Told<'py> {
    provider: Option<Bound<'py, PyAny>>,
    model: Option<Bound<'py, PyAny>>,
    request_id: Option<Bound<'py, PyAny>>,
    input: Figure<'py>,
    output: Figure<'py>,
    status: Option<Bound<'py, PyAny>>,
    fallback_to: Option<Bound<'py, PyAny>>,
    error: Option<Bound<'py, PyAny>>,
    cost_usd: Option<Bound<'py, PyAny>>,
    meta: Option<Bound<'py, PyDict>>,
    cache_hit: Option<bool>,
    rag_hit: Option<bool>,
    ttft_us: Option<u64>,
    stream_complete: Option<bool>,
}

enum Figure<'py> {
    Known(TokenCount),
    Of(Bound<'py, PyAny>),
}

impl<'py> Figure<'py> {
    fn of(py: Python<'py>, tokens: &Tokens) -> Self {
        match tokens {
            Tokens::Assigned(value) => Self::Of(value.bind(py).clone()),
            Tokens::Unsaid => Self::Known(TokenCount::Absent),
            Tokens::Count(count) => Self::Known(TokenCount::Known(*count)),
            Tokens::Said { recorded, .. } => Self::Known(*recorded),
        }
    }

    fn count(&self) -> TokenCount {
        match self {
            Self::Known(count) => *count,
            Self::Of(value) => count(value).recorded,
        }
    }
}

impl<'py> Told<'py> {
    #[inline]
    pub(crate) fn of(py: Python<'py>, state: &CallState) -> Self {
        let given = |value: &Option<Py<PyAny>>| value.as_ref().map(|value| value.bind(py).clone());
        Self {
            provider: state
                .is_provider_new
                .then(|| state.provider.bind(py).clone()),
            model: state.is_model_new.then(|| state.model.bind(py).clone()),
            request_id: given(&state.request_id),
            input: Figure::of(py, &state.input),
            output: Figure::of(py, &state.output),
            status: given(&state.status),
            fallback_to: given(&state.fallback_to),
            error: given(&state.error).filter(|_| !state.is_error_of_exception),
            cost_usd: given(&state.cost_usd),
            meta: state.meta.as_ref().map(|meta| meta.bind(py).clone()),
            cache_hit: state.cache_hit,
            rag_hit: state.rag_hit,
            ttft_us: state.ttft_us,
            stream_complete: state.stream_complete,
        }
    }

    /// Tells the guard. An exception, if there was one, is told by its end.
    pub(crate) fn tell(&self, py: Python<'py>, guard: &mut CallGuard) {
        if let Some(provider) = &self.provider {
            with_text(provider, |text| {
                guard.provider(text);
            });
        }
        if let Some(model) = &self.model {
            with_text(model, |text| {
                guard.model(text);
            });
        }
        if let Some(request_id) = &self.request_id {
            with_text(request_id, |text| {
                guard.request_id(text);
            });
        }
        let (input, output) = (self.input.count(), self.output.count());
        if input != TokenCount::Absent || output != TokenCount::Absent {
            guard.tokens(input, output);
        }
        if let Some(hit) = self.cache_hit {
            guard.cache_hit(hit);
        }
        if let Some(hit) = self.rag_hit {
            guard.rag_hit(hit);
        }
        if self.ttft_us.is_some() || self.stream_complete.is_some() {
            guard.first_token_at(self.ttft_us);
            guard.streaming(true);
        }
        if let Some(complete) = self.stream_complete {
            guard.stream_complete(complete);
        }
        if let Some(error) = &self.error {
            with_text(error, |text| {
                guard.error(text);
            });
        }
        if let Some(target) = &self.fallback_to {
            with_text(target, |text| {
                guard.fallback_to(text);
            });
        }
        // After what implies one: the status stands as the host sees it.
        if let Some(status) = &self.status {
            with_text(status, |text| {
                guard.status(text);
            });
        }
        if let Some(cost) = &self.cost_usd {
            meta::tell_cost(cost, guard);
        }
        if let Some(meta) = &self.meta {
            meta::tell(py, meta, guard);
        }
    }
}
