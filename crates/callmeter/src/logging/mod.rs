//! Log lines: the name that they leave under, and how a host without `tracing` receives them.
//!
//! Owns the two styles. callmeter's own lines leave through `tracing`, target `callmeter`. In the style of the
//! replaced module they leave under the target `services.ai_call_logger` and begin with `[AICallLogger]`, and each
//! call that ends while the store is degraded is one line more that begins with `[AICall|killed]`
//! (`killed`): alerts grep for both. The style is one of the whole process, that of the recorder that was
//! set up last.
//!
//! A host in another language takes the lines over with [`receive`]: they wait in a bounded queue, nobody
//! waits for them, at most 100 leave in a second, and those that found no room are counted and told of.

pub(crate) mod killed;
mod queue;
mod subscriber;

use std::sync::atomic::{AtomicBool, Ordering};

pub use self::queue::{LogLevel, LogLine, LogLines};
use crate::settings::LogStyle;

/// The name of callmeter's own lines.
pub(crate) const LOGGER: &str = "callmeter";
/// The name of lines in the style of the replaced module.
pub(crate) const LEGACY_LOGGER: &str = "services.ai_call_logger";
/// What lines in the style of the replaced module begin with.
pub(crate) const LEGACY_MARK: &str = "[AICallLogger] ";

static IS_LEGACY: AtomicBool = AtomicBool::new(false);

/// Lines leave in this style from now on.
pub(crate) fn set_style(style: LogStyle) {
    IS_LEGACY.store(style == LogStyle::AiCallLogger, Ordering::Relaxed);
}

/// Whether lines leave in the style of the replaced module.
pub(crate) fn is_legacy() -> bool {
    IS_LEGACY.load(Ordering::Relaxed)
}

/// Takes the log lines of this process over: from now on they wait in a queue of at most `capacity`
/// lines, out of which the host takes them. `None` where the process has a `tracing` subscriber of its own,
/// which gets them. Called again, as in a forked child, it gives a fresh queue in place of the last.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// let lines = callmeter::logging::receive(1_024).expect("this process has no subscriber");
/// assert!(lines.next(Duration::ZERO).is_none());
/// ```
pub fn receive(capacity: usize) -> Option<LogLines> {
    let is_ours = subscriber::install();
    is_ours.then(|| queue::replace(capacity))
}

/// Lets a line go, in the style that is in force: `log_line!(warn: %error, "the text of {it}")`.
macro_rules! log_line {
    (@ $level:ident {$($field:tt)*} $text:literal $($args:tt)*) => {
        if $crate::logging::is_legacy() {
            tracing::$level!(
                target: "services.ai_call_logger",
                $($field)*
                "[AICallLogger] {}",
                format_args!($text $($args)*)
            );
        } else {
            tracing::$level!(target: "callmeter", $($field)* $text $($args)*);
        }
    };
    (@ $level:ident {$($field:tt)*} $next:tt $($rest:tt)*) => {
        $crate::logging::log_line!(@ $level {$($field)* $next} $($rest)*)
    };
    ($level:ident: $($all:tt)+) => {
        $crate::logging::log_line!(@ $level {} $($all)+)
    };
}
pub(crate) use log_line;
