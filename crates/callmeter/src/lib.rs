//! One durable row for every LLM call: who called, which provider and model answered, how many tokens,
//! how long, what it cost, whether it failed, fell back or hit a cache. No prompt and no response is kept.
//!
//! Three nouns:
//!
//! - a [`CallGuard`] surrounds one call. [`call`] opens it, setters tell it what happens, and every way
//!   out, an early return and a panic included, makes exactly one row;
//! - [`Callmeter`] is the running recorder behind the guards: a flight buffer in shared memory, which a kill
//!   of the process does not take along, a spool on disk, and a shipper that takes rows to the store;
//! - [`settings`] say where rows go and what they may keep.
//!
//! ```
//! # let home = tempfile::tempdir()?;
//! let callmeter = callmeter::builder().home(home.path()).init()?;
//!
//! let mut call = callmeter::call("sales_copy", "ollama", "llama3.1:8b");
//! let (prompt_tokens, reply_tokens) = (26, 112); // … ask the model here …
//! call.tokens(prompt_tokens, reply_tokens);
//! call.finish();
//!
//! assert!(callmeter.flush(std::time::Duration::from_secs(30)).is_complete());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A guard that is left by `?` still makes its row (`error`, kind `unfinished`). Whole calls need no
//! guard in hand: [`CallGuard::run`] surrounds a future, [`CallGuard::run_blocking`] a closure,
//! [`macro@logged`] a function.
//!
//! Recording cannot fail and cannot panic: whatever goes wrong is counted ([`Callmeter::stats`]) and
//! logged once an episode through `tracing`, target `callmeter`.
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod adoption;
mod backoff;
#[doc(hidden)]
pub mod binding;
mod budget;
mod builder;
mod card;
mod control;
mod crew;
mod figures;
mod flush;
mod global;
mod guard;
mod home;
mod identity;
mod keeper;
mod late;
mod ledger;
pub mod logging;
#[cfg(feature = "wire")]
mod observe;
#[cfg(feature = "wire")]
mod passing;
mod pipeline;
mod plain;
mod random {
    pub(crate) use callmeter_flight::fill_random as fill;
}
mod recorder;
mod report;
mod run;
#[doc(hidden)]
pub mod seams;
mod setters;
pub mod settings;
mod ship;
mod shipper;
mod sinks;
mod site;
mod spool;
mod standing;
mod station;
mod switch;
mod time;
mod under_run;
mod warned;
mod worker;

/// The README's examples, run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The guide's examples, compiled and, where they need no recorder of the process, run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/rust.md")]
struct Guide;

/// The examples of the guide on budgets.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/budgets.md")]
struct BudgetGuide;

/// The examples of the guide on observing.
#[cfg(all(doctest, feature = "wire"))]
#[doc = include_str!("../../../docs/guides/observing.md")]
struct Observing;

/// What the attribute refuses, with a word about it.
///
/// ```compile_fail
/// #[callmeter::logged(caller = "sales_copy", provider = "ollama")] // no model
/// fn ask() {}
/// ```
/// ```compile_fail
/// #[callmeter::logged(caller = "sales_copy", provider = "ollama", modle = "m")] // mistyped
/// fn ask() {}
/// ```
/// ```compile_fail
/// #[callmeter::logged(caller = "a", caller = "b", provider = "ollama", model = "m")] // twice
/// fn ask() {}
/// ```
/// ```compile_fail
/// #[callmeter::logged(caller = "sales_copy", provider = "ollama", model = "m")]
/// const fn ask() {} // makes no calls
/// ```
#[cfg(doctest)]
struct Refused;

use std::panic::Location;
use std::sync::atomic::Ordering;

pub use callmeter_core::{
    Billing, CallId, Conservation, DropReason, ErrorKind, ErrorPolicy, MetaValue, Operation,
    ScrubbedError, TokenCount, UnknownCaller, Usage, UsdTotal,
};
pub use callmeter_flight::Switch;
pub use callmeter_macros::logged;
pub use callmeter_store::StoreUrl;

pub use crate::budget::{BudgetExceeded, BudgetScope, BudgetStanding, Budgets, budget_standings};
pub use crate::builder::{Builder, InitError};
pub use crate::card::{HomeCard, homes};
pub use crate::flush::Flush;
pub use crate::guard::CallGuard;
pub use crate::home::Home;
#[cfg(feature = "wire")]
pub use crate::observe::{ObservedStream, ResponseHead};
#[cfg(feature = "wire")]
pub use crate::passing::PassingCall;
pub use crate::pipeline::{Callmeter, Stats};
pub use crate::report::{ErrorClass, ErrorReport, ReportsUsage};
pub use crate::run::ObservedCall;
pub use crate::ship::{Agent, Drained};
pub use crate::spool::SPOOL_FORMAT;
pub use crate::standing::{HomeStanding, ProcessStanding};
pub use crate::switch::Thrown;
pub use crate::under_run::RunMarks;

/// Starts recording for this process, by `callmeter.toml`, `CALLMETER_*` and the defaults: the embedded
/// store in the home. Keep what it returns until the process ends.
///
/// A setting that cannot be read does not stop the host: it is one error in the log, and calls wait in
/// the spool until a process that can read it ships them.
///
/// # Errors
/// When this process records already, or the system gives no threads.
pub fn init() -> Result<Callmeter, InitError> {
    builder().init()
}

/// Starts recording with settings given in code.
pub fn builder() -> Builder {
    Builder::default()
}

/// Opens a guard around one call, on the recorder that [`init`] started. Without one, or while recording
/// is off, the guard does nothing.
///
/// `caller` is cut at 64 characters, `provider` at 32, `model` at 128.
#[inline]
#[track_caller]
pub fn call(
    caller: impl AsRef<str>,
    provider: impl AsRef<str>,
    model: impl AsRef<str>,
) -> CallGuard {
    let current = global::current();
    if current.load(Ordering::Relaxed) == 0 {
        global::warn_if_never_started();
        return CallGuard::off();
    }
    let names = guard::Names {
        caller: caller.as_ref(),
        provider: provider.as_ref(),
        model: model.as_ref(),
    };
    CallGuard::open(current, &names, Location::caller())
}

/// Whether every budget that covers a call of `caller` to `model` has something left; see [`Callmeter::check_budget`].
/// Without a recorder every one has.
///
/// # Errors
/// The budget that is spent; a hard one before others.
pub fn check_budget(caller: &str, model: &str) -> Result<(), BudgetExceeded> {
    match global::recorder() {
        Some(recorder) => recorder.check_budget(&BudgetScope::of(caller, model)),
        None => Ok(()),
    }
}

/// Switches the process's recorder on or off from the next call on (promise CM-9). Calls are recorded while
/// this, both environment variables and the switch of the home (`callmeter off`) all say on.
pub fn set_enabled(enabled: bool) {
    if let Some(recorder) = global::recorder() {
        recorder.set_wanted(enabled);
    }
}

/// Reads `AI_CALL_LOGGING_ENABLED` and `CALLMETER_ENABLED` anew: if either is `false`, `0`, `no` or `off`,
/// recording is off. [`init`] reads them once; calls never do.
pub fn refresh_env() {
    if let Some(recorder) = global::recorder() {
        recorder.set_env_wanted(builder::enabled_by_env(|name| std::env::var(name).ok()));
    }
}
