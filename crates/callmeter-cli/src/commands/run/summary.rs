//! What `run` says at its end: calls, tokens, cost, what was slow, what failed, what was not seen, and why.
//!
//! On standard error for people, with `--summary FILE` or `--json` as one object. Of the command only its name is
//! told: its arguments may hold a prompt (promise CM-6).

use std::time::Duration;

use callmeter_core::Status;
use serde_json::{Value, json};

use super::child::Ended;
use super::unread;
use crate::print;
use crate::traffic::meter::{Key, Seen, Sums};

/// Models that a person reads.
const MODELS_SHOWN: usize = 8;

/// All that is told.
pub(super) struct Summary {
    /// The name of the command.
    pub(super) command: String,
    pub(super) ended: Ended,
    pub(super) took: Duration,
    pub(super) seen: Seen,
    /// Name and version of the price book.
    pub(super) book: String,
    /// Connections that were tunnelled, by host.
    pub(super) unread_hosts: Vec<(String, u64)>,
    /// What was left alone, and why.
    pub(super) left_alone: Vec<String>,
    /// Why calls are not in the store, where they are not.
    pub(super) not_stored: Option<&'static str>,
    /// What to do where nothing was recorded.
    pub(super) hints: Vec<String>,
}

impl Summary {
    /// A few lines.
    pub(super) fn text(&self) -> String {
        let total = self.seen.total();
        let mut lines = vec![self.headline(&total)];
        if total.calls > 0 {
            lines.push(self.table().trim_end().to_owned());
        }
        if total.plan_value.as_pico() != 0 {
            lines.push(format!(
                "plan usage {} by the token; it is no money and in no sum above",
                total.plan_value.to_short()
            ));
        }
        if let Some(slow) = self.seen.slowest.first() {
            let duration = print::duration_us(micros(slow.duration));
            lines.push(format!(
                "slowest {duration}: {} {} ({})",
                slow.provider, slow.model, slow.status
            ));
        }
        if !total.errors.is_empty() {
            let errors = total
                .errors
                .iter()
                .map(|(kind, count)| format!("{kind} {}", print::count(*count)));
            lines.push(format!("errors: {}", errors.collect::<Vec<_>>().join(", ")));
        }
        for (host, connections) in &self.unread_hosts {
            lines.push(unread::line(host, *connections));
        }
        lines.extend(
            self.left_alone
                .iter()
                .map(|what| format!("left alone: {what}")),
        );
        if let Some(why) = self.not_stored {
            lines.push(format!("not stored: {why}"));
        }
        lines.extend(self.hints.iter().map(|hint| format!("hint: {hint}")));
        lines.into_iter().map(|line| format!("{line}\n")).collect()
    }

    fn headline(&self, total: &Sums) -> String {
        let took = print::duration_us(micros(self.took));
        if total.calls == 0 {
            return format!("callmeter: no calls recorded of {} in {took}", self.command);
        }
        let mut parts = vec![
            format!(
                "callmeter: {} of {} in {took}",
                print::calls(total.calls),
                self.command
            ),
            money(total),
            format!(
                "{} tokens in, {} out",
                print::short_count(total.input_tokens),
                print::short_count(total.output_tokens)
            ),
        ];
        for (count, what) in [
            (total.with_status(&Status::Error), "error"),
            (total.with_status(&Status::Fallback), "fallback"),
        ] {
            if count > 0 {
                parts.push(print::plural(count, what));
            }
        }
        if total.with_status(&Status::Cancelled) > 0 {
            parts.push(format!(
                "{} cancelled",
                print::count(total.with_status(&Status::Cancelled))
            ));
        }
        if total.unpriced > 0 && total.unpriced < total.calls {
            parts.push(format!("{} unpriced", print::count(total.unpriced)));
        }
        parts.join(", ")
    }

    fn table(&self) -> String {
        let mut sums: Vec<(&Key, &Sums)> = self.seen.sums.iter().collect();
        sums.sort_by_key(|(_, sums)| std::cmp::Reverse((sums.cost, sums.calls)));
        let rows = sums.iter().take(MODELS_SHOWN).map(|(key, sums)| {
            vec![
                key.provider.clone(),
                key.model.clone(),
                key.operation.to_string(),
                print::count(sums.calls),
                print::count(sums.with_status(&Status::Error)),
                tokens(sums, sums.input_tokens),
                tokens(sums, sums.output_tokens),
                cost(sums),
            ]
        });
        let head = [
            "provider",
            "model",
            "operation",
            "calls",
            "errors",
            "in",
            "out",
            "cost",
        ];
        let mut table = print::table(&head, 3, rows.collect());
        if sums.len() > MODELS_SHOWN {
            table.push_str(&format!("and {} more\n", sums.len() - MODELS_SHOWN));
        }
        table
    }

    /// One object; fields are only ever added.
    pub(super) fn json(&self) -> Value {
        let total = self.seen.total();
        let models = self.seen.sums.iter().map(|(key, sums)| {
            let mut object = figures(sums);
            object["provider"] = json!(key.provider);
            object["model"] = json!(key.model);
            object["operation"] = json!(key.operation.as_str());
            object["billing"] = json!(key.billing.as_str());
            object
        });
        let slowest = self.seen.slowest.iter().map(|slow| {
            json!({
                "duration_us": micros(slow.duration), "caller": slow.caller, "provider": slow.provider,
                "model": slow.model, "status": slow.status,
            })
        });
        let unread = self.unread_hosts.iter().map(|(host, connections)| {
            json!({ "host": host, "connections": connections, "hint": unread::remedy(host) })
        });
        let mut object = figures(&total);
        let more = json!({
            "v": 1,
            "command": self.command,
            "exit_code": self.ended.code,
            "signal": self.ended.signal,
            "took_us": micros(self.took),
            "prices": self.book,
            "models": models.collect::<Vec<_>>(),
            "slowest": slowest.collect::<Vec<_>>(),
            "not_readable": unread.collect::<Vec<_>>(),
            "left_alone": self.left_alone,
            "stored": self.not_stored.is_none(),
            "not_stored_because": self.not_stored,
            "hints": self.hints,
        });
        if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
            object.extend(more);
        }
        object
    }
}

fn figures(sums: &Sums) -> Value {
    let status = |status| sums.with_status(&status);
    let errors: serde_json::Map<String, Value> = sums
        .errors
        .iter()
        .map(|(kind, count)| (kind.as_str().to_owned(), json!(count)))
        .collect();
    json!({
        "calls": sums.calls,
        "ok": status(Status::Ok),
        "error": status(Status::Error),
        "fallback": status(Status::Fallback),
        "cancelled": status(Status::Cancelled),
        "with_usage": sums.with_usage,
        "input_tokens": sums.input_tokens,
        "output_tokens": sums.output_tokens,
        "cache_read_tokens": sums.cache_read_tokens,
        "cache_write_tokens": sums.cache_write_tokens,
        "reasoning_tokens": sums.reasoning_tokens,
        "cost_usd": sums.cost.to_string(),
        "plan_value_usd": sums.plan_value.to_string(),
        "unpriced": sums.unpriced,
        "errors": errors,
    })
}

/// Metered cost in words: where nothing has a price there is none, not a zero (promise CM-7).
fn money(sums: &Sums) -> String {
    if sums.unpriced == sums.calls {
        "unpriced".to_owned()
    } else {
        sums.cost.to_short()
    }
}

fn tokens(sums: &Sums, count: u64) -> String {
    if sums.with_usage == 0 {
        "–".to_owned()
    } else {
        print::short_count(count)
    }
}

fn cost(sums: &Sums) -> String {
    if sums.plan_value.as_pico() != 0 {
        "plan".to_owned()
    } else {
        money(sums)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use callmeter_core::{Billing, ErrorKind};

    use crate::traffic::meter::tests::{count, meter};

    fn summary(seen: Seen) -> Summary {
        Summary {
            command: "python".to_owned(),
            ended: Ended {
                code: 0,
                signal: None,
            },
            took: Duration::from_millis(8_400),
            seen,
            book: "market 2026-11-01".to_owned(),
            unread_hosts: Vec::new(),
            left_alone: Vec::new(),
            not_stored: None,
            hints: Vec::new(),
        }
    }

    #[test]
    fn figures_errors_and_plan_usage_are_told_apart() {
        let meter = meter();
        count(&meter, "gpt-4o", |_| {});
        count(&meter, "gpt-4o", |call| call.billing = Billing::Plan);
        count(&meter, "gpt-4o", |call| {
            call.status = &Status::Error;
            call.error_kind = Some(ErrorKind::RateLimit);
            call.duration = Duration::from_secs(3);
        });
        insta::assert_snapshot!(summary(meter.seen()).text(), @r"
        callmeter: 3 calls of python in 8.4 s, $7.00, 3.0M tokens in, 300k out, 1 error
        provider  model   operation  calls  errors    in   out   cost
        openai    gpt-4o  chat           2       1  2.0M  200k  $7.00
        openai    gpt-4o  chat           1       0  1.0M  100k   plan
        plan usage $3.50 by the token; it is no money and in no sum above
        slowest 3.0 s: openai gpt-4o (error)
        errors: rate_limit 1
        ");
    }

    #[test]
    fn where_nothing_was_recorded_it_says_what_was_not_readable() {
        let mut summary = summary(Seen::default());
        summary.unread_hosts = vec![
            ("api.mistral.ai".to_owned(), 14),
            ("api.example.com".to_owned(), 1),
        ];
        summary.left_alone = vec!["codex: it is not signed in with an API key".to_owned()];
        insta::assert_snapshot!(summary.text(), @r#"
        callmeter: no calls recorded of python in 8.4 s
        not readable: 14 connections to api.mistral.ai (set server_url=os.environ["CALLMETER_RUN_URL"] + "/u/mistral")
        not readable: 1 connection to api.example.com (give its client the address of a route: docs/guides/run.md)
        left alone: codex: it is not signed in with an API key
        "#);
    }

    #[test]
    fn the_object_names_the_command_and_not_its_arguments() {
        let meter = meter();
        count(&meter, "gpt-4o", |_| {});
        let object = summary(meter.seen()).json();
        assert_eq!(object["command"], "python");
        assert_eq!(object["cost_usd"], "3.5");
        assert_eq!(object["models"][0]["input_tokens"], 1_000_000);
        assert_eq!(object["slowest"][0]["duration_us"], 500_000);
    }
}
