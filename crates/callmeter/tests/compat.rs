//! Log lines in the style of the replaced module, as a host without `tracing` receives them (promise CM-10).
//!
//! A binary of its own with a single test: style and lines are the whole process's.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
#[path = "it/host.rs"]
mod host;

use std::time::Duration;

use callmeter::logging::{LogLevel, LogLines};
use callmeter::settings::LogStyle;

use crate::host::{Host, PATIENCE};

const LOGGER: &str = "services.ai_call_logger";

/// Every line until one that begins so; that one is the last.
fn lines_until(lines: &LogLines, beginning: &str) -> Vec<(LogLevel, String)> {
    let mut seen = Vec::new();
    loop {
        let line = lines
            .next(PATIENCE)
            .unwrap_or_else(|| panic!("no line begins with {beginning}: {seen:?}"));
        assert_eq!(line.logger, LOGGER);
        let is_last = line.text.starts_with(beginning);
        seen.push((line.level, line.text));
        if is_last {
            return seen;
        }
    }
}

#[test]
fn a_store_that_is_down_is_one_error_then_a_line_a_call_and_silence_once_it_is_back() {
    let lines = callmeter::logging::receive(1_024).unwrap();
    let host = Host::built(
        |settings| settings.log.style = LogStyle::AiCallLogger,
        callmeter::Builder::impatient,
    );
    host.sink.set_down(true);
    host.call("first").finish();
    assert!(host.sink.wait_for_failures(10, PATIENCE));
    let seen = lines_until(
        &lines,
        "[AICallLogger] the store has failed 10 times in a row",
    );
    assert!(
        seen.iter()
            .all(|(_, text)| text.starts_with("[AICallLogger] "))
    );
    let errors = seen.iter().filter(|(level, _)| *level == LogLevel::Error);
    assert_eq!(errors.count(), 1, "{seen:?}");
    host::eventually("the store counts as degraded", || {
        host.callmeter.stats().is_degraded
    });

    let mut call = host.call("sales_copy");
    call.tokens(26, 112).model("llama3.1:8b");
    call.finish();
    host.call("quiet").fail_with("ConnectError", "secret");
    let seen = lines_until(&lines, "[AICall|killed] caller=quiet");
    let (level, text) = seen.first().unwrap();
    assert_eq!(*level, LogLevel::Info);
    assert_eq!(
        text,
        "[AICall|killed] caller=sales_copy provider=openai model=llama3.1:8b status=ok tokens=26/112 duration=0ms"
    );
    assert_eq!(
        seen.last().unwrap().1,
        "[AICall|killed] caller=quiet provider=openai model=gpt-5-mini status=error tokens=0/0 duration=0ms"
    );

    // They were spooled all the same, and are stored when the store is back.
    host.sink.set_down(false);
    assert_eq!(host.rows().len(), 3);
    lines_until(&lines, "[AICallLogger] the store takes calls again");
    host::eventually("the store counts as healthy", || {
        !host.callmeter.stats().is_degraded
    });
    host.call("after").finish();
    assert_eq!(host.rows().len(), 4);
    assert_eq!(lines.next(Duration::ZERO), None);
    assert_eq!(lines.dropped(), 0);
}
