//! What the expansion of `#[callmeter::logged]` calls. Not for direct use; may change at any time.
//!
//! The macro cannot know whether a function's value is a `Result`, reports usage or has a classified
//! error. Method resolution can: `settle` is looked for on ever fewer references, so that the most
//! telling implementation that the type allows is found first.

use std::future::Future;

use crate::guard::CallGuard;
use crate::report::{ErrorClass, ReportsUsage};
use crate::run::{guarded, run_blocking_with, run_with};

/// A value to be looked at.
#[derive(Debug)]
pub struct Probe<'a, T>(pub &'a T);

// Copied out of the last reference, where the method of the least telling implementation is found.
impl<T> Copy for Probe<'_, T> {}

impl<T> Clone for Probe<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

fn take_usage<T: ReportsUsage>(call: &mut CallGuard, value: &T) {
    if call.open_call().is_some()
        && let Some(usage) = guarded(|| value.usage())
    {
        call.usage(usage);
    }
}

macro_rules! settle {
    ($($trait:ident ($($reference:tt)*) <$($generic:ident $(: $bound:path)?),+> $value:ty =>
        |$call:ident, $settled:ident| $body:expr;)+) => { $(
        #[doc(hidden)]
        pub trait $trait {
            /// Ends the call by the value.
            fn settle(self, call: CallGuard);
        }
        impl<$($generic $(: $bound)?),+> $trait for $($reference)* Probe<'_, $value> {
            #[allow(unused_mut)]
            fn settle(self, mut $call: CallGuard) {
                let $settled = self.0;
                $body
            }
        }
    )+ };
}

settle! {
    SettleResultBoth (&&&&&) <T: ReportsUsage, E: ErrorClass> Result<T, E> => |call, value| match value {
        Ok(value) => { take_usage(&mut call, value); call.finish(); }
        Err(error) => call.fail_classified(error),
    };
    SettleResultClass (&&&&) <T, E: ErrorClass> Result<T, E> => |call, value| match value {
        Ok(_) => call.finish(),
        Err(error) => call.fail_classified(error),
    };
    SettleResultUsage (&&&) <T: ReportsUsage, E> Result<T, E> => |call, value| match value {
        Ok(value) => { take_usage(&mut call, value); call.finish(); }
        Err(error) => call.fail(error),
    };
    SettleResult (&&) <T, E> Result<T, E> => |call, value| match value {
        Ok(_) => call.finish(),
        Err(error) => call.fail(error),
    };
    SettleUsage (&) <T: ReportsUsage> T => |call, value| {
        take_usage(&mut call, value);
        call.finish();
    };
    SettleAny () <T> T => |call, value| {
        let _ = value;
        call.finish();
    };
}

/// Runs the body of an async function.
pub fn run<F: Future>(
    call: CallGuard,
    body: F,
    settle: impl FnOnce(CallGuard, &F::Output),
) -> impl Future<Output = F::Output> {
    run_with(call, body, settle)
}

/// Runs the body of a function.
pub fn run_blocking<T>(
    call: CallGuard,
    body: impl FnOnce() -> T,
    settle: impl FnOnce(CallGuard, &T),
) -> T {
    run_blocking_with(call, body, settle)
}
