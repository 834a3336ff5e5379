//! Whole calls: a future or a closure that a guard surrounds.
//!
//! Here the ending is known from the value: an `Err` is an error, a future dropped midway is
//! `cancelled`, a panic is a panic. The value itself goes through untouched (promise CM-1).

use std::future::Future;

use callmeter_core::Usage;

use crate::guard::{CallGuard, DropKind};

/// A guard that will read usage from the answer; made by [`CallGuard::observe`].
#[must_use = "an observed call does nothing until it is run"]
pub struct ObservedCall<O> {
    call: CallGuard,
    observe: O,
}

impl<O> std::fmt::Debug for ObservedCall<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObservedCall")
            .field("call", &self.call)
            .finish_non_exhaustive()
    }
}

impl CallGuard {
    /// Reads usage from the answer once there is one.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let callmeter = callmeter::builder().home(dir.path()).open()?;
    /// # struct Reply { usage: (u32, u32) }
    /// # fn ask() -> Result<Reply, std::io::Error> { Ok(Reply { usage: (12, 3) }) }
    /// let reply = callmeter
    ///     .call("sales_copy", "ollama", "llama3.1:8b")
    ///     .observe(|reply: &Reply| callmeter::Usage::of(reply.usage.0, reply.usage.1))
    ///     .run_blocking(ask)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn observe<T, O: FnOnce(&T) -> Usage>(self, observe: O) -> ObservedCall<O> {
        ObservedCall {
            call: self,
            observe,
        }
    }

    /// Runs `future` as this call: ok, error or cancelled by how it ends.
    pub fn run<T, E, F>(self, future: F) -> impl Future<Output = Result<T, E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        run_with(self, future, settle_result)
    }

    /// Runs `future`, whose value is no `Result`, as this call: ok or cancelled.
    pub fn run_value<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        run_with(self, future, |call, _| call.finish())
    }

    /// Runs `work` as this call: ok or error by how it ends.
    ///
    /// # Errors
    /// What `work` returns, unchanged.
    pub fn run_blocking<T, E>(self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        run_blocking_with(self, work, settle_result)
    }

    /// Runs `work`, whose value is no `Result`, as this call.
    pub fn run_blocking_value<T>(self, work: impl FnOnce() -> T) -> T {
        run_blocking_with(self, work, |call, _| call.finish())
    }
}

impl<O> ObservedCall<O> {
    /// As [`CallGuard::run`], and reads usage from an `Ok`.
    pub fn run<T, E, F>(self, future: F) -> impl Future<Output = Result<T, E>>
    where
        F: Future<Output = Result<T, E>>,
        O: FnOnce(&T) -> Usage,
    {
        let observe = self.observe;
        run_with(self.call, future, |call, result| {
            settle_observed(call, result, observe)
        })
    }

    /// As [`CallGuard::run_blocking`], and reads usage from an `Ok`.
    ///
    /// # Errors
    /// What `work` returns, unchanged.
    pub fn run_blocking<T, E>(self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E>
    where
        O: FnOnce(&T) -> Usage,
    {
        let observe = self.observe;
        run_blocking_with(self.call, work, |call, result| {
            settle_observed(call, result, observe)
        })
    }
}

fn settle_result<T, E>(call: CallGuard, result: &Result<T, E>) {
    match result {
        Ok(_) => call.finish(),
        Err(error) => call.fail(error),
    }
}

fn settle_observed<T, E>(
    mut call: CallGuard,
    result: &Result<T, E>,
    observe: impl FnOnce(&T) -> Usage,
) {
    if call.open_call().is_some()
        && let Ok(value) = result
        && let Some(usage) = guarded(|| observe(value))
    {
        call.usage(usage);
    }
    settle_result(call, result);
}

/// Runs a future under a guard and lets `settle` end the guard by the value.
///
/// The guard moves into the future at once: dropped before its first poll it is cancelled as well.
pub(crate) fn run_with<F: Future, S: FnOnce(CallGuard, &F::Output)>(
    mut call: CallGuard,
    future: F,
    settle: S,
) -> impl Future<Output = F::Output> + use<F, S> {
    call.set_on_drop(DropKind::Cancelled);
    async move {
        let value = future.await;
        call.set_on_drop(DropKind::Unfinished);
        settle(call, &value);
        value
    }
}

/// Runs a closure under a guard and lets `settle` end the guard by the value.
pub(crate) fn run_blocking_with<T>(
    call: CallGuard,
    work: impl FnOnce() -> T,
    settle: impl FnOnce(CallGuard, &T),
) -> T {
    let value = work();
    settle(call, &value);
    value
}

/// Runs the host's code that only telemetry asked for: if it panics, the call is none the worse.
pub(crate) fn guarded<T>(read: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).ok()
}
