//! Calls that pass by: recorded by a way in that sees the traffic, as the capture proxy does, not by a guard
//! around it.
//!
//! Such a call is a row of the layer `proxy`. Where the request says which call it belongs to, both are one row:
//! the wire owns its usage, the guard all that only the host knows. Everything else is as for any
//! [guard](crate::CallGuard), and the same promises hold.

use std::time::Duration;

use callmeter_core::{CallId, Field};
use callmeter_wire::{Reading, RequestFacts};

use crate::guard::{CallGuard, open_by};
use crate::pipeline::Callmeter;

/// What is known of a call that passes by when it is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct PassingCall<'a> {
    /// Who calls.
    pub caller: &'a str,
    /// Who is asked.
    pub provider: &'a str,
    /// Which model is asked for; empty when not known yet.
    pub model: &'a str,
    /// The call of an outer layer whose row this one completes.
    pub completes: Option<CallId>,
    /// Which of the requests that complete it this is, from 0: of what several say the last word counts.
    pub rev: u32,
    /// How long it has been in flight already.
    pub open_for: Duration,
}

impl Callmeter {
    /// Opens a guard for a call that passes by.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let callmeter = callmeter::builder().home(dir.path()).open()?;
    /// use callmeter::PassingCall;
    /// let call = callmeter.passing_call(&PassingCall {
    ///     caller: "notebook", provider: "ollama", model: "llama3.1:8b", ..PassingCall::default()
    /// });
    /// call.cancel(); // the client went away
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn passing_call(&self, call: &PassingCall<'_>) -> CallGuard {
        if !self.recorder.is_on() {
            return CallGuard::off();
        }
        let slot = open_by(self.recorder.current(), |station| {
            station.open_passing(call)
        });
        let mut guard = slot.map_or(CallGuard::off(), CallGuard::of);
        if let Some(open) = guard.open_call_mut() {
            open.put_text(Field::Sdk, SDK);
        }
        guard
    }
}

impl CallGuard {
    /// Whether nothing is recorded of the call.
    pub fn is_off(&self) -> bool {
        self.open_call().is_none()
    }

    /// The model that was asked for, where it became known only after the opening.
    pub fn model_requested(&mut self, model: impl AsRef<str>) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            open.put_text(Field::ModelRequested, model.as_ref());
        }
        self
    }

    /// Takes over what readers of [`callmeter_wire`] made of the exchange. The status becomes `error` where the
    /// response tells of a failure and nobody said otherwise before.
    pub fn observed(&mut self, facts: &RequestFacts, reading: Reading) -> &mut Self {
        if let Some(open) = self.open_call_mut() {
            open.take_over(facts, reading);
        }
        self
    }
}

/// What recorded such a row.
const SDK: &str = concat!("callmeter-proxy/", env!("CARGO_PKG_VERSION"));
