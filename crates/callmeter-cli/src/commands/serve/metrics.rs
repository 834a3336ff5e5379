//! `/metrics`, in Prometheus' text format (0.0.4).
//!
//! Calls, tokens and money by provider, model and operation; durations in the buckets, and by the names, of OpenTelemetry's
//! conventions for GenAI; where every call of the home is (promise CM-3); what the proxy adds. No label holds a caller, a
//! user or a word of the traffic, and the number of models is bounded.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::sync::{PoisonError, Weak};

use callmeter_core::{Conservation, DropReason};
use callmeter_proxy::{AdminAnswer, Figures};

use super::Facts;
use crate::traffic::meter::{BOUNDS, Buckets, Key, Seen, Sums};

pub(super) const PATH: &str = "/metrics";
const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const DURATION: &str = "gen_ai_client_operation_duration_seconds";
const FIRST_TOKEN: &str = "gen_ai_client_operation_time_to_first_chunk_seconds";
const ADDED: &str = "callmeter_proxy_added_seconds";

/// The answer to `/metrics`.
pub(super) fn answer(facts: &Facts) -> AdminAnswer {
    let mut page = Page::default();
    page.traffic(&facts.meter.seen());
    if let Some(tally) = facts.tally.get() {
        page.proxy(&tally.figures());
    }
    page.home(&facts.home.lock().unwrap_or_else(PoisonError::into_inner));
    if let Some(recorder) = facts.recorder.get().and_then(Weak::upgrade) {
        let stats = recorder.stats();
        page.places(
            "callmeter_process_calls",
            "Finished calls of this process by where they are, those included that wait in its memory because the disk takes none (spooled).",
            &stats.conservation,
        );
        page.gauge(
            "callmeter_store_degraded",
            "Whether the store has failed ten times in a row.",
            u8::from(stats.is_degraded),
        );
        page.gauge(
            "callmeter_shipping",
            "Whether this process ships for its home.",
            u8::from(stats.is_shipping),
        );
        page.gauge(
            "callmeter_recording",
            "Whether calls are recorded.",
            u8::from(recorder.is_enabled()),
        );
    }
    AdminAnswer {
        content_type: Cow::Borrowed(TYPE),
        ..AdminAnswer::text(page.0)
    }
}

/// A page as it grows.
#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        if !labels.is_empty() {
            let labels = labels
                .iter()
                .map(|(label, text)| format!("{label}=\"{}\"", escaped(text)));
            let _ = write!(self.0, "{{{}}}", labels.collect::<Vec<_>>().join(","));
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        self.line(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "counter", help);
        self.line(name, &[], value);
    }

    fn traffic(&mut self, seen: &Seen) {
        self.head(
            "callmeter_calls_total",
            "counter",
            "Calls that passed, each try of a chain by itself.",
        );
        for (key, sums) in &seen.sums {
            for (status, count) in &sums.by_status {
                self.line(
                    "callmeter_calls_total",
                    &with(key, &[("status", status)]),
                    count,
                );
            }
        }
        self.head(
            "callmeter_call_errors_total",
            "counter",
            "Calls that failed or fell back, by kind.",
        );
        for (key, sums) in &seen.sums {
            for (kind, count) in &sums.errors {
                self.line(
                    "callmeter_call_errors_total",
                    &with(key, &[("kind", kind.as_str())]),
                    count,
                );
            }
        }
        self.head(
            "callmeter_tokens_total",
            "counter",
            "Tokens; input holds the cached ones, output the reasoning: do not add the types up.",
        );
        for (key, sums) in &seen.sums {
            for (kind, count) in tokens(sums) {
                self.line(
                    "callmeter_tokens_total",
                    &with(key, &[("type", kind)]),
                    count,
                );
            }
        }
        self.money(seen);
        self.histogram(DURATION, "How long calls took.", seen, |sums| {
            &sums.durations
        });
        self.histogram(
            FIRST_TOKEN,
            "The time to the first part of an answer.",
            seen,
            |sums| &sums.first_tokens,
        );
    }

    fn money(&mut self, seen: &Seen) {
        let name = "callmeter_cost_usd_total";
        self.head(
            name,
            "counter",
            "Metered cost, by the price book of the settings.",
        );
        for (key, sums) in &seen.sums {
            self.line(name, &with(key, &[]), sums.cost);
        }
        let name = "callmeter_plan_value_usd_total";
        self.head(
            name,
            "counter",
            "What plan usage would have cost by the token. It is no money.",
        );
        for (key, sums) in seen
            .sums
            .iter()
            .filter(|(_, sums)| sums.plan_value.as_pico() != 0)
        {
            self.line(name, &with(key, &[]), sums.plan_value);
        }
        let name = "callmeter_unpriced_calls_total";
        self.head(
            name,
            "counter",
            "Calls without a price; they are in no cost.",
        );
        for (key, sums) in &seen.sums {
            self.line(name, &with(key, &[]), sums.unpriced);
        }
    }

    fn histogram(&mut self, name: &str, help: &str, seen: &Seen, of: fn(&Sums) -> &Buckets) {
        self.head(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        for (key, sums) in &seen.sums {
            let buckets = of(sums);
            let labels = gen_ai(key);
            let bounds = BOUNDS
                .iter()
                .map(|bound| bound.to_string())
                .chain(["+Inf".to_owned()]);
            let mut count = 0;
            for (bound, up_to) in bounds.zip(buckets.cumulative()) {
                let mut labels = labels.to_vec();
                labels.push(("le", &bound));
                self.line(&bucket, &labels, up_to);
                count = up_to;
            }
            self.line(&format!("{name}_sum"), &labels, buckets.sum.as_secs_f64());
            self.line(&format!("{name}_count"), &labels, count);
        }
    }

    fn proxy(&mut self, figures: &Figures) {
        for (name, help, value) in [
            (
                "callmeter_proxy_requests_total",
                "Requests that came in.",
                figures.requests,
            ),
            (
                "callmeter_proxy_refused_total",
                "Requests that the proxy refused by itself.",
                figures.refused,
            ),
            (
                "callmeter_proxy_failed_total",
                "Requests that no upstream answered.",
                figures.failed,
            ),
            (
                "callmeter_proxy_fallbacks_total",
                "Tries that were followed by another.",
                figures.fallbacks,
            ),
        ] {
            self.counter(name, help, value);
        }
        self.gauge(
            "callmeter_proxy_requests_in_flight",
            "Requests in flight.",
            figures.in_flight,
        );
        self.gauge(
            "callmeter_proxy_connections",
            "Connections of clients.",
            figures.connections,
        );
        self.head(
            ADDED,
            "histogram",
            "What the proxy added before the first byte of the answer.",
        );
        let mut count = 0_u64;
        for (bound_us, in_bucket) in &figures.overhead_us {
            count = count.saturating_add(*in_bucket);
            let bound = match *bound_us {
                u64::MAX => "+Inf".to_owned(),
                bound_us => std::time::Duration::from_micros(bound_us)
                    .as_secs_f64()
                    .to_string(),
            };
            self.line(&format!("{ADDED}_bucket"), &[("le", &bound)], count);
        }
        self.line(
            &format!("{ADDED}_sum"),
            &[],
            figures.overhead_total.as_secs_f64(),
        );
        self.line(&format!("{ADDED}_count"), &[], count);
    }

    fn home(&mut self, home: &callmeter::HomeStanding) {
        self.places(
            "callmeter_home_calls",
            "Finished calls of the home by where they are: finished = buffered + spooled + acknowledged + rejected + dropped.",
            &home.conservation,
        );
        self.gauge(
            "callmeter_home_calls_in_flight",
            "Calls in flight in the home's processes.",
            home.in_flight,
        );
        self.gauge("callmeter_home_spools", "Spools of the home.", home.spools);
    }

    /// The equation of promise CM-3.
    fn places(&mut self, name: &str, help: &str, calls: &Conservation) {
        self.head(name, "gauge", help);
        for (place, count) in [
            ("finished", calls.finished),
            ("buffered", calls.buffered),
            ("spooled", calls.spooled),
            ("acknowledged", calls.acknowledged),
            ("rejected", calls.rejected),
        ] {
            self.line(name, &[("place", place)], count);
        }
        for reason in DropReason::ALL {
            let labels = [("place", "dropped"), ("reason", reason.as_str())];
            self.line(name, &labels, calls.dropped_for(*reason));
        }
    }
}

fn with<'a>(key: &'a Key, more: &[(&'static str, &'a str)]) -> Vec<(&'static str, &'a str)> {
    let mut labels = vec![
        ("provider", key.provider.as_str()),
        ("model", key.model.as_str()),
        ("operation", key.operation.as_str()),
        ("billing", key.billing.as_str()),
    ];
    labels.extend_from_slice(more);
    labels
}

/// The labels that the conventions name.
fn gen_ai(key: &Key) -> [(&'static str, &str); 4] {
    [
        ("gen_ai_operation_name", key.operation.as_str()),
        ("gen_ai_provider_name", &key.provider),
        ("gen_ai_response_model", &key.model),
        ("billing", key.billing.as_str()),
    ]
}

fn tokens(sums: &Sums) -> [(&'static str, u64); 5] {
    [
        ("input", sums.input_tokens),
        ("output", sums.output_tokens),
        ("cache_read", sums.cache_read_tokens),
        ("cache_write", sums.cache_write_tokens),
        ("reasoning", sums.reasoning_tokens),
    ]
}

/// A label's value. Names came from requests: what could end the value is escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use callmeter_core::{ErrorKind, Status};

    use crate::traffic::meter::tests::{count, meter};

    fn page(fill: impl FnOnce(&crate::traffic::meter::Meter)) -> String {
        let meter = Arc::new(meter());
        fill(&meter);
        let facts = Facts::new(meter);
        let _ = facts.tally.set(callmeter_proxy::Tally::default());
        answer(&facts).body
    }

    #[test]
    fn every_line_is_a_comment_or_a_sample_and_histograms_grow() {
        let page = page(|meter| {
            count(meter, "gpt-4o", |_| {});
            count(meter, "gpt-4o", |call| {
                (call.status, call.error_kind) = (&Status::Error, Some(ErrorKind::RateLimit));
            });
        });
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(
                name.starts_with("callmeter_") || name.starts_with("gen_ai_"),
                "{line}"
            );
        }
        for sample in [
            "callmeter_calls_total{provider=\"openai\",model=\"gpt-4o\",operation=\"chat\",billing=\"metered\",status=\"ok\"} 1",
            "callmeter_cost_usd_total{provider=\"openai\",model=\"gpt-4o\",operation=\"chat\",billing=\"metered\"} 7",
            "le=\"0.32\"} 0",
            "le=\"0.64\"} 2",
            "callmeter_home_calls{place=\"dropped\",reason=\"disk_full\"} 0",
            "callmeter_proxy_added_seconds_bucket{le=\"+Inf\"} 0",
        ] {
            assert!(page.contains(sample), "{sample}\n{page}");
        }
    }

    #[test]
    fn a_name_from_a_request_cannot_end_its_label() {
        let page = page(|meter| count(meter, "x\"} 1\nevil 2\\", |_| {}));
        assert!(page.contains("model=\"x\\\"} 1\\nevil 2\\\\\""), "{page}");
        assert!(!page.lines().any(|line| line.starts_with("evil")));
    }
}
