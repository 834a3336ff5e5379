//! One line for each call that ends while the store is degraded, in the style of the replaced module.
//!
//! ```text
//! [AICall|killed] caller=sales_copy provider=ollama model=llama3.1:8b status=ok tokens=26/112 duration=840ms
//! ```
//! The calls are spooled all the same (promise CM-10). At most 100 lines leave in a second; the next second says
//! how many did not. The names are the host's own words, cut as its rows are.

use std::time::Duration;

use callmeter_core::{CallRecord, Status};

use super::log_line;

const LINES_A_SECOND: u64 = 100;
const SECOND_NS: u64 = Duration::from_secs(1).as_nanos() as u64;

/// Writes the lines, and counts those that it does not.
#[derive(Debug, Default)]
pub(crate) struct KilledLines {
    /// The beginning of the second, and how many lines it has.
    second: Option<(u64, u64)>,
    left_out: u64,
}

impl KilledLines {
    /// Writes a line for each call, at the moment `now_ns` of a monotonic clock.
    pub(crate) fn write(&mut self, calls: &[CallRecord], now_ns: u64) {
        for call in calls {
            if self.may_write(now_ns) {
                tracing::info!(target: "services.ai_call_logger", "{}", line(call));
            } else {
                self.left_out = self.left_out.saturating_add(1);
            }
        }
    }

    fn may_write(&mut self, now_ns: u64) -> bool {
        let is_new = self
            .second
            .is_none_or(|(since, _)| now_ns.saturating_sub(since) >= SECOND_NS);
        if is_new {
            self.second = Some((now_ns, 0));
            let left_out = std::mem::take(&mut self.left_out);
            if left_out > 0 {
                log_line!(warn: "{left_out} more calls have no line of their own; they wait in the spool as well");
            }
        }
        let Some((_, count)) = &mut self.second else {
            return false;
        };
        *count = count.saturating_add(1);
        *count <= LINES_A_SECOND
    }
}

fn line(call: &CallRecord) -> String {
    let or_unknown = |name: Option<&str>| {
        let name = name.filter(|name| !name.is_empty()).unwrap_or("unknown");
        callmeter_core::clean_text(name, 128).0.into_owned()
    };
    let status = match call.status_or_ok() {
        Status::Cancelled | Status::Aborted => &Status::Error,
        other => other,
    };
    format!(
        "[AICall|killed] caller={} provider={} model={} status={} tokens={}/{} duration={}ms",
        or_unknown(call.caller.as_deref()),
        or_unknown(call.provider.as_deref()),
        or_unknown(Some(call.model_or_requested())),
        status.as_str(),
        call.usage.input_tokens.unwrap_or(0),
        call.usage.output_tokens.unwrap_or(0),
        call.duration_us.unwrap_or(0) / 1_000,
    )
}

#[cfg(test)]
mod tests {
    use callmeter_core::{CallId, Layer, Timestamp, Usage};

    use super::*;

    fn call() -> CallRecord {
        CallRecord::new(CallId::new(Timestamp::EPOCH, 1), Layer::Guard, 0)
    }

    #[test]
    fn a_line_has_the_words_that_alerts_look_for() {
        let mut call = call();
        call.caller = Some("sales_copy".to_owned());
        call.provider = Some("ollama".to_owned());
        call.model = Some("llama3.1:8b".to_owned());
        call.usage = Usage::of(26, 112);
        call.status = Some(Status::Cancelled);
        call.duration_us = Some(840_999);
        assert_eq!(
            line(&call),
            "[AICall|killed] caller=sales_copy provider=ollama model=llama3.1:8b status=error \
             tokens=26/112 duration=840ms"
        );
    }

    #[test]
    fn a_name_cannot_begin_a_line_of_its_own() {
        let mut call = call();
        call.caller = Some("a\n[AICallLogger] forged".to_owned());
        assert!(!line(&call).contains('\n'));
    }

    #[test]
    fn a_hundred_calls_have_a_line_in_a_second() {
        let mut lines = KilledLines::default();
        let passed = (0..130).filter(|_| lines.may_write(5)).count();
        assert_eq!(passed, 100);
        lines.left_out = 30;
        assert!(lines.may_write(5 + SECOND_NS));
        assert_eq!(lines.left_out, 0);
    }
}
