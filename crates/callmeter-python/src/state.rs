//! One call as the host sees it: its own context manager, with the attributes and methods of the module that
//! callmeter replaces.
//!
//! ```text
//! log_ai_call(…) ── enter ──▶ in flight ── attributes, setters ──▶ exit ──▶ one row
//! ```
//! What the host says is kept in Python's objects, which it sees again as it gave them, and told to the guard of
//! the SDK at the end: an attribute that was assigned counts as much as a setter. Whatever it is given, a setter
//! raises nothing, and recording loses no row to it. No Python code runs while a state is borrowed.

use std::time::{Duration, Instant};

use callmeter::binding::{self, CallSite, OpenedCall};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyInt, PyString, PyType};

use crate::classify::{Classified, classify};
use crate::kept::{Lasted, Tokens};
use crate::ready::Ready;
use crate::recorder::gate;
use crate::site::{self, Site};
use crate::text::{answered, cut, is_true, plain_text, with_encoded, with_text};
use crate::told::{self, Told};
use crate::{hooks, meta, switch};

/// The longest texts that a state keeps, in characters.
const PROVIDER: usize = 32;
const MODEL: usize = 128;
const FALLBACK: usize = 64;
const STATUS: usize = 16;
const ERROR: usize = 2_000;
const EXCEPTION: usize = 1_500;

/// What is known of one call.
#[pyclass(module = "callmeter", subclass, weakref)]
pub(crate) struct CallState {
    pub(crate) caller: Py<PyAny>,
    pub(crate) provider: Py<PyAny>,
    pub(crate) model: Py<PyAny>,
    pub(crate) request_id: Option<Py<PyAny>>,
    pub(crate) input: Tokens,
    pub(crate) output: Tokens,
    pub(crate) status: Option<Py<PyAny>>,
    pub(crate) fallback_to: Option<Py<PyAny>>,
    pub(crate) error: Option<Py<PyAny>>,
    pub(crate) cost_usd: Option<Py<PyAny>>,
    pub(crate) meta: Option<Py<PyDict>>,
    pub(crate) cache_hit: Option<bool>,
    pub(crate) rag_hit: Option<bool>,
    /// Whether provider and model are others than when the call was opened.
    pub(crate) is_caller_new: bool,
    pub(crate) is_provider_new: bool,
    pub(crate) is_model_new: bool,
    duration: Lasted,
    pub(crate) ttft_us: Option<u64>,
    /// Of a stream: whether it came to its end.
    pub(crate) stream_complete: Option<bool>,
    site: Option<&'static CallSite>,
    in_flight: Option<OpenedCall>,
    /// How often it was entered and not left yet.
    depth: u32,
    /// Whether `callmeter.compat` sees to it: somebody patched that module.
    is_by_compat: bool,
    /// Whether `error` is what an exception said, not the host.
    pub(crate) is_error_of_exception: bool,
}

/// Opens the state of one call; `with` records it.
#[pyfunction]
#[pyo3(signature = (caller, provider, model, request_id=None, meta=None))]
pub(crate) fn log_ai_call<'py>(
    py: Python<'py>,
    caller: Py<PyAny>,
    provider: Py<PyAny>,
    model: Py<PyAny>,
    request_id: Option<Py<PyAny>>,
    meta: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    if hooks::is_patched() {
        let names = (&caller, &provider, &model, &request_id, meta);
        if let Some(state) = hooks::call_compat(py, "_make_state", names) {
            return Ok(state);
        }
    }
    let state = CallState::make(caller, provider, model, request_id, meta);
    Ok(Bound::new(py, state)?.into_any())
}

/// Records a state that was filled by hand as a call that ends now.
#[pyfunction]
pub(crate) fn record(state: &Bound<'_, CallState>) -> bool {
    let py = state.py();
    if !gate::is_ready_or_made_so(py) || !switch::is_on(py) {
        return false;
    }
    let (names, told, ago) = {
        let state = state.borrow();
        let ago = state.duration.known_us(py).unwrap_or(0);
        (state.names(py), Told::of(py, &state), ago)
    };
    let Some(call) = open(py, &names, None, Duration::from_micros(ago)) else {
        return false;
    };
    let mut guard = call.into_guard();
    told.tell(py, &mut guard);
    guard.finish_lasting(ago).is_some()
}

/// Caller, provider and model.
type Names = (Py<PyAny>, Py<PyAny>, Py<PyAny>);

/// Takes a slot for a call that began `ago`; `None` while nothing is recorded.
#[inline]
fn open(
    py: Python<'_>,
    (caller, provider, model): &Names,
    site: Option<&'static CallSite>,
    ago: Duration,
) -> Option<OpenedCall> {
    with_name(caller.bind(py), |caller| {
        with_name(provider.bind(py), |provider| {
            with_name(model.bind(py), |model| {
                binding::open(caller, provider, model, site, ago)
            })
        })
    })
}

impl CallState {
    fn make(
        caller: Py<PyAny>,
        provider: Py<PyAny>,
        model: Py<PyAny>,
        request_id: Option<Py<PyAny>>,
        meta: Option<&Bound<'_, PyAny>>,
    ) -> Self {
        Self {
            caller,
            provider,
            model,
            request_id,
            input: Tokens::Unsaid,
            output: Tokens::Unsaid,
            status: None,
            fallback_to: None,
            error: None,
            cost_usd: None,
            meta: meta.and_then(meta::copied).map(Bound::unbind),
            cache_hit: None,
            rag_hit: None,
            is_caller_new: false,
            is_provider_new: false,
            is_model_new: false,
            duration: Lasted::NotYet,
            ttft_us: None,
            stream_complete: None,
            site: None,
            in_flight: None,
            depth: 0,
            is_by_compat: false,
            is_error_of_exception: false,
        }
    }

    /// Begins the call. `benches/` watches it.
    fn enter(slf: &Bound<'_, Self>) {
        let py = slf.py();
        let site = {
            let mut state = slf.borrow_mut();
            state.depth = state.depth.saturating_add(1);
            if state.depth > 1 {
                return;
            }
            state.site
        };
        let is_by_compat = hooks::is_patched();
        let is_on =
            !is_by_compat && switch::is_on(py) && gate::is_ready_or_made_so(py) && binding::is_on();
        if hooks::has_registry() {
            let caller = slf.borrow().caller.clone_ref(py);
            hooks::consult_registry(caller.bind(py));
        }
        let site = match site {
            None if is_on => site::of_caller(py),
            site => site,
        };
        let mut state = slf.borrow_mut();
        state.is_by_compat = is_by_compat;
        state.is_caller_new = false;
        (state.is_provider_new, state.is_model_new) = (false, false);
        if is_on {
            state.in_flight = match state.plain_names(py) {
                Some((caller, provider, model)) => {
                    binding::open(caller, provider, model, site, Duration::ZERO)
                }
                None => {
                    let names = state.names(py);
                    drop(state);
                    let call = open(py, &names, site, Duration::ZERO);
                    state = slf.borrow_mut();
                    call
                }
            };
        }
        if state.in_flight.is_none() {
            state.duration = Lasted::Since(Instant::now());
        }
    }

    /// Ends a call that went well and said but texts and numbers: no Python code runs for it. Says whether that was
    /// all there is to do. `benches/` watches it.
    fn leave_plainly(slf: &Bound<'_, Self>) -> bool {
        let py = slf.py();
        let mut state = slf.borrow_mut();
        if state.depth != 1 || state.is_by_compat || hooks::is_costed() || !gate::is_ready() {
            return false;
        }
        let lasted = match state.in_flight.take() {
            None => state.duration.since_us().unwrap_or(0),
            Some(call) => match told::plain(py, &state) {
                Some(outcome) => {
                    let start = call.start();
                    let lasted = call.into_guard().finish_as(&outcome);
                    // In a forked child the call is its parent's, which ends it; here it lasted as long as it did.
                    lasted.unwrap_or_else(|| start.elapsed_us())
                }
                None => {
                    state.in_flight = Some(call);
                    return false;
                }
            },
        };
        state.depth = 0;
        state.end(py, lasted);
        true
    }

    /// The attributes of a call that is over.
    fn end(&mut self, py: Python<'_>, lasted_us: u64) {
        self.duration = Lasted::Microseconds(lasted_us);
        let said = self
            .status
            .as_ref()
            .map(|status| plain_text(status.bind(py)));
        if matches!(said, None | Some(Some(""))) {
            self.status = Some(intern!(py, "ok").clone().into_any().unbind());
        }
    }

    /// Caller, provider and model, where no Python code has to run to know them.
    fn plain_names<'a>(&'a self, py: Python<'a>) -> Option<(&'a str, &'a str, &'a str)> {
        let name = |name: &'a Py<PyAny>| plain_text(name.bind(py)).map(named);
        Some((
            name(&self.caller)?,
            name(&self.provider)?,
            name(&self.model)?,
        ))
    }

    /// Ends the call.
    fn leave(slf: &Bound<'_, Self>, kind: &Bound<'_, PyAny>, exception: &Bound<'_, PyAny>) {
        if kind.is_none() && Self::leave_plainly(slf) {
            return;
        }
        let py = slf.py();
        let failure = if kind.is_none() {
            None
        } else {
            let kind = kind.cast::<PyType>().ok();
            kind.map(|kind| classify(kind, exception))
        };
        if slf.borrow().depth <= 1 {
            if let Some(failure) = &failure {
                Self::note_failure(slf, failure);
            }
            if hooks::is_costed() {
                hooks::call_compat(py, "_put_cost", (slf,));
            }
        }
        let call = {
            let mut state = slf.borrow_mut();
            state.depth = state.depth.saturating_sub(1);
            if state.depth > 0 {
                return;
            }
            state
                .in_flight
                .take()
                .map(|call| (call, Told::of(py, &state)))
        };
        let lasted = call.map(|(call, told)| {
            gate::make_ready(py);
            let start = call.start();
            let mut guard = call.into_guard();
            told.tell(py, &mut guard);
            let lasted = match &failure {
                Some(failure) => {
                    guard.fail_timed(&failure.type_name, &failure.text, &failure.report)
                }
                None => guard.finish_timed(),
            };
            // In a forked child the call is its parent's, which ends it; here it lasted as long as it did.
            lasted.unwrap_or_else(|| start.elapsed_us())
        });
        let mut state = slf.borrow_mut();
        let lasted = lasted.or_else(|| state.duration.since_us()).unwrap_or(0);
        state.end(py, lasted);
        let is_by_compat = std::mem::take(&mut state.is_by_compat);
        drop(state);
        if is_by_compat {
            hooks::call_compat(py, "_finish", (slf,));
        }
    }

    /// Caller, provider and model, as they are now.
    fn names(&self, py: Python<'_>) -> Names {
        (
            self.caller.clone_ref(py),
            self.provider.clone_ref(py),
            self.model.clone_ref(py),
        )
    }

    /// The attributes as an exception leaves them.
    #[cold]
    fn note_failure(slf: &Bound<'_, Self>, failure: &Classified) {
        let py = slf.py();
        let message: String = failure.text.chars().take(EXCEPTION).collect();
        let text = format!("{}: {message}", failure.type_name);
        let text = PyString::new(py, &text).into_any().unbind();
        let status = if failure.is_cancelled {
            intern!(py, "cancelled")
        } else {
            intern!(py, "error")
        };
        let mut state = slf.borrow_mut();
        state.status = Some(status.clone().into_any().unbind());
        if state.error.is_none() {
            state.error = Some(text);
            state.is_error_of_exception = true;
        }
    }
}

#[pymethods]
impl CallState {
    #[new]
    #[pyo3(signature = (caller, provider, model, request_id=None, meta=None, *, site=None))]
    fn new(
        caller: Py<PyAny>,
        provider: Py<PyAny>,
        model: Py<PyAny>,
        request_id: Option<Py<PyAny>>,
        meta: Option<&Bound<'_, PyAny>>,
        site: Option<&Bound<'_, Site>>,
    ) -> Self {
        let mut state = Self::make(caller, provider, model, request_id, meta);
        state.site = site.and_then(|site| site.get().0);
        state
    }

    fn __enter__<'py>(slf: Bound<'py, Self>) -> Bound<'py, Self> {
        Self::enter(&slf);
        slf
    }

    fn __exit__(
        slf: &Bound<'_, Self>,
        kind: &Bound<'_, PyAny>,
        exception: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> bool {
        Self::leave(slf, kind, exception);
        false
    }

    fn __aenter__(slf: Bound<'_, Self>) -> Ready {
        Self::enter(&slf);
        Ready(Some(slf.into_any().unbind()))
    }

    fn __aexit__(
        slf: &Bound<'_, Self>,
        kind: &Bound<'_, PyAny>,
        exception: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> Ready {
        Self::leave(slf, kind, exception);
        Ready(None)
    }

    /// As a decorator: each call of the function is recorded.
    fn __call__<'py>(
        slf: &Bound<'py, Self>,
        function: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let decorate = slf.py().import("callmeter._decorate")?;
        decorate.call_method1("decorated_by_state", (slf, function))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        let (caller, status) = {
            let state = slf.borrow();
            let status = state
                .status
                .as_ref()
                .map(|status| status.clone_ref(slf.py()));
            (state.caller.clone_ref(slf.py()), status)
        };
        let caller = with_text(caller.bind(slf.py()), str::to_owned);
        let status = status.map(|status| with_text(status.bind(slf.py()), str::to_owned));
        let status = status.as_deref().unwrap_or("open");
        format!("<CallState caller={caller:?} status={status:?}>")
    }

    #[pyo3(signature = (input=None, output=None), text_signature = "($self, input=0, output=0)")]
    fn set_tokens(
        slf: &Bound<'_, Self>,
        input: Option<&Bound<'_, PyAny>>,
        output: Option<&Bound<'_, PyAny>>,
    ) {
        let (input, output) = (Tokens::of(input), Tokens::of(output));
        let mut state = slf.borrow_mut();
        (state.input, state.output) = (input, output);
    }

    fn set_provider(slf: &Bound<'_, Self>, p: &Bound<'_, PyAny>) {
        if let Some(provider) = cut(p, PROVIDER) {
            let before = {
                let mut state = slf.borrow_mut();
                state.is_provider_new = true;
                std::mem::replace(&mut state.provider, provider.into_any().unbind())
            };
            before.drop_ref(slf.py());
        }
    }

    fn set_model(slf: &Bound<'_, Self>, m: &Bound<'_, PyAny>) {
        if let Some(model) = cut(m, MODEL) {
            let before = {
                let mut state = slf.borrow_mut();
                state.is_model_new = true;
                std::mem::replace(&mut state.model, model.into_any().unbind())
            };
            before.drop_ref(slf.py());
        }
    }

    #[pyo3(signature = (hit=None), text_signature = "($self, hit=True)")]
    fn set_cache_hit(slf: &Bound<'_, Self>, hit: Option<&Bound<'_, PyAny>>) {
        let hit = hit.is_none_or(is_true);
        slf.borrow_mut().cache_hit = Some(hit);
    }

    #[pyo3(signature = (hit=None), text_signature = "($self, hit=True)")]
    fn set_rag_hit(slf: &Bound<'_, Self>, hit: Option<&Bound<'_, PyAny>>) {
        let hit = hit.is_none_or(is_true);
        slf.borrow_mut().rag_hit = Some(hit);
    }

    fn fallback_to_caller(slf: &Bound<'_, Self>, target: &Bound<'_, PyAny>) {
        let py = slf.py();
        let target = cut(target, FALLBACK).unwrap_or_else(|| PyString::new(py, ""));
        let mut state = slf.borrow_mut();
        state.fallback_to = Some(target.into_any().unbind());
        state.status = Some(intern!(py, "fallback").clone().into_any().unbind());
    }

    fn fallback_to_target(slf: &Bound<'_, Self>, target: &Bound<'_, PyAny>) {
        Self::fallback_to_caller(slf, target);
    }

    fn set_error(slf: &Bound<'_, Self>, msg: &Bound<'_, PyAny>) {
        let py = slf.py();
        let text = cut(msg, ERROR).unwrap_or_else(|| PyString::new(py, ""));
        let mut state = slf.borrow_mut();
        state.error = Some(text.into_any().unbind());
        state.is_error_of_exception = false;
        state.status = Some(intern!(py, "error").clone().into_any().unbind());
    }

    fn set_status(slf: &Bound<'_, Self>, s: &Bound<'_, PyAny>) {
        if let Some(status) = cut(s, STATUS) {
            slf.borrow_mut().status = Some(status.into_any().unbind());
        }
    }

    fn set_prompt_hash(slf: &Bound<'_, Self>, prompt: &Bound<'_, PyAny>) {
        let py = slf.py();
        if !is_true(prompt) {
            return;
        }
        let hash = with_encoded(prompt, |prompt| crate::recorder::prompt_hash(py, prompt));
        if let Some(hash) = hash {
            let meta = Self::meta_of(slf);
            let _ = answered(py, meta.set_item(intern!(py, "prompt_hash"), hash));
        }
    }

    fn add_meta(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) {
        if is_true(key) {
            let _ = answered(slf.py(), Self::meta_of(slf).set_item(key, value));
        }
    }

    /// The first part of the answer has come: takes the time.
    fn first_token(slf: &Bound<'_, Self>) {
        let mut state = slf.borrow_mut();
        if state.ttft_us.is_none() {
            state.ttft_us = state
                .in_flight
                .as_ref()
                .map(|call| call.start().elapsed_us());
        }
    }

    /// Whether a stream came to its end.
    fn set_stream_complete(slf: &Bound<'_, Self>, complete: bool) {
        slf.borrow_mut().stream_complete = Some(complete);
    }

    /// A call with the same names and meta that has not begun.
    fn fresh<'py>(
        slf: &Bound<'py, Self>,
        site: Option<&Bound<'py, Site>>,
    ) -> PyResult<Bound<'py, Self>> {
        let py = slf.py();
        let state = {
            let state = slf.borrow();
            let names = (&state.caller, &state.provider, &state.model);
            let request_id = state.request_id.as_ref().map(|id| id.clone_ref(py));
            let meta = state.meta.as_ref().map(|meta| meta.bind(py).clone());
            let mut fresh = Self::make(
                names.0.clone_ref(py),
                names.1.clone_ref(py),
                names.2.clone_ref(py),
                request_id,
                meta.as_ref().map(|meta| meta.as_any()),
            );
            fresh.site = site.map_or(state.site, |site| site.get().0);
            fresh
        };
        Bound::new(py, state)
    }

    /// The id of the row, while the call is open and recorded.
    #[getter]
    fn call_id(slf: &Bound<'_, Self>) -> Option<String> {
        let state = slf.borrow();
        state.in_flight.as_ref().map(|call| call.id().to_string())
    }

    #[getter]
    fn caller(&self, py: Python<'_>) -> Py<PyAny> {
        self.caller.clone_ref(py)
    }
    #[setter(caller)]
    fn assign_caller(&mut self, value: Py<PyAny>) {
        self.caller = value;
        self.is_caller_new = true;
    }
    #[getter]
    fn provider(&self, py: Python<'_>) -> Py<PyAny> {
        self.provider.clone_ref(py)
    }
    #[setter(provider)]
    fn assign_provider(&mut self, value: Py<PyAny>) {
        self.provider = value;
        self.is_provider_new = true;
    }
    #[getter]
    fn model(&self, py: Python<'_>) -> Py<PyAny> {
        self.model.clone_ref(py)
    }
    #[setter(model)]
    fn assign_model(&mut self, value: Py<PyAny>) {
        self.model = value;
        self.is_model_new = true;
    }
    #[getter]
    fn request_id(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.request_id.as_ref().map(|id| id.clone_ref(py))
    }
    #[setter(request_id)]
    fn assign_request_id(&mut self, value: Option<Py<PyAny>>) {
        self.request_id = value;
    }
    #[getter]
    fn input_tokens(&self, py: Python<'_>) -> Py<PyAny> {
        self.input.seen(py)
    }
    #[setter(input_tokens)]
    fn assign_input_tokens(&mut self, value: Py<PyAny>) {
        self.input = Tokens::Assigned(value);
    }
    #[getter]
    fn output_tokens(&self, py: Python<'_>) -> Py<PyAny> {
        self.output.seen(py)
    }
    #[setter(output_tokens)]
    fn assign_output_tokens(&mut self, value: Py<PyAny>) {
        self.output = Tokens::Assigned(value);
    }
    #[getter]
    fn duration_ms(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        match &self.duration {
            Lasted::NotYet | Lasted::Since(_) => None,
            Lasted::Microseconds(us) => Some(PyInt::new(py, us / 1_000).into_any().unbind()),
            Lasted::Assigned(value) => Some(value.clone_ref(py)),
        }
    }
    #[setter(duration_ms)]
    fn assign_duration_ms(&mut self, value: Option<Py<PyAny>>) {
        self.duration = value.map_or(Lasted::NotYet, Lasted::Assigned);
    }
    #[getter]
    fn status(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.status.as_ref().map(|status| status.clone_ref(py))
    }
    #[setter(status)]
    fn assign_status(&mut self, value: Option<Py<PyAny>>) {
        self.status = value;
    }
    #[getter]
    fn fallback_to(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.fallback_to.as_ref().map(|to| to.clone_ref(py))
    }
    #[setter(fallback_to)]
    fn assign_fallback_to(&mut self, value: Option<Py<PyAny>>) {
        self.fallback_to = value;
    }
    #[getter]
    fn error(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.error.as_ref().map(|error| error.clone_ref(py))
    }
    #[setter(error)]
    fn assign_error(&mut self, value: Option<Py<PyAny>>) {
        self.error = value;
        self.is_error_of_exception = false;
    }
    #[getter]
    fn cost_usd<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyAny> {
        let py = slf.py();
        let (cost, is_over) = {
            let state = slf.borrow();
            let cost = state.cost_usd.as_ref().map(|cost| cost.bind(py).clone());
            (cost, state.duration.is_over())
        };
        // The replaced module worked it out when the call ended. Here the store does; a host that reads it gets the
        // same figure, and the row none.
        let asked = || {
            let is_asked = is_over && hooks::is_compat();
            is_asked.then(|| hooks::call_compat(py, "_cost_of", (slf,)))?
        };
        cost.or_else(asked)
            .unwrap_or_else(|| PyFloat::new(py, 0.0).into_any())
    }
    #[setter(cost_usd)]
    fn assign_cost_usd(&mut self, value: Option<Py<PyAny>>) {
        self.cost_usd = value;
    }
    #[getter]
    fn cache_hit(&self) -> bool {
        self.cache_hit.unwrap_or(false)
    }
    #[setter(cache_hit)]
    fn assign_cache_hit(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) {
        Self::set_cache_hit(slf, Some(value));
    }
    #[getter]
    fn rag_hit(&self) -> bool {
        self.rag_hit.unwrap_or(false)
    }
    #[setter(rag_hit)]
    fn assign_rag_hit(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) {
        Self::set_rag_hit(slf, Some(value));
    }
    #[getter]
    fn meta<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyDict> {
        Self::meta_of(slf)
    }
    #[setter(meta)]
    fn assign_meta(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) {
        let meta = match value.cast::<PyDict>() {
            Ok(meta) => Some(meta.clone()),
            Err(_) => meta::copied(value),
        };
        slf.borrow_mut().meta = meta.map(Bound::unbind);
    }
}

impl CallState {
    /// The state's meta, made when it is first asked for.
    fn meta_of<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyDict> {
        let py = slf.py();
        let mut state = slf.borrow_mut();
        let meta = state.meta.get_or_insert_with(|| PyDict::new(py).unbind());
        meta.bind(py).clone()
    }
}

/// Gives `use_it` a name; one that is falsy is `unknown`.
#[inline]
pub(crate) fn with_name<T>(name: &Bound<'_, PyAny>, use_it: impl FnOnce(&str) -> T) -> T {
    with_text(name, |text| use_it(named(text)))
}

#[inline]
fn named(text: &str) -> &str {
    match text {
        "" | "None" => "unknown",
        text => text,
    }
}
