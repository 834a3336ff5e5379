//! What passed through a proxy, summed while it passes: for the summary of `run` and the metrics of `serve`.
//!
//! The rows are the truth; these are the figures of one process, priced by the book of the settings, so that they
//! are there although the store may be away. Bounded: beyond [`MOST_KEYS`] models the rest is `~other`, because
//! a model's name comes from a request. Metered money and plan usage have sums of their own (promise CM-7).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callmeter_core::{
    Billing, CallId, CallRecord, Clock, ErrorKind, Layer, Operation, PicoUsd, Status, SystemClock,
    Usage, UsdTotal,
};
use callmeter_price::{Book, ProviderKinds};
use callmeter_proxy::{CallObserver, EndedCall};

/// How many combinations of provider, model, operation and billing are told apart.
const MOST_KEYS: usize = 500;
const OTHER: &str = "~other";
/// How many of the slowest calls are remembered.
const SLOWEST: usize = 3;

/// Upper bounds of durations, in seconds, as OpenTelemetry's conventions for GenAI name them.
pub(crate) const BOUNDS: [f64; 14] = [
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];

/// A meter that several hold.
pub(crate) type SharedMeter = Arc<Meter>;

/// Sums of what passed.
pub(crate) struct Meter {
    book: Arc<Book>,
    kinds: ProviderKinds,
    seen: Mutex<Seen>,
}

/// What passed so far.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) sums: BTreeMap<Key, Sums>,
    /// The slowest calls, the slowest first.
    pub(crate) slowest: Vec<Slow>,
}

/// What sums are of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) operation: Operation,
    pub(crate) billing: Billing,
}

/// Sums of calls.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sums {
    pub(crate) calls: u64,
    pub(crate) by_status: BTreeMap<&'static str, u64>,
    pub(crate) errors: BTreeMap<ErrorKind, u64>,
    pub(crate) with_usage: u64,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) cache_read_tokens: u64,
    pub(crate) cache_write_tokens: u64,
    pub(crate) reasoning_tokens: u64,
    /// Metered money.
    pub(crate) cost: UsdTotal,
    /// What plan usage would have cost by the token.
    pub(crate) plan_value: UsdTotal,
    pub(crate) unpriced: u64,
    pub(crate) durations: Buckets,
    pub(crate) first_tokens: Buckets,
}

/// A histogram by [`BOUNDS`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Buckets {
    /// Counts up to each bound, not cumulative; the last has no bound.
    counts: [u64; BOUNDS.len() + 1],
    pub(crate) sum: Duration,
}

/// One of the slowest calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slow {
    pub(crate) duration: Duration,
    pub(crate) caller: String,
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) status: &'static str,
}

/// A call that ended, as the meter takes it.
pub(crate) struct Call<'a> {
    pub(crate) caller: &'a str,
    pub(crate) provider: &'a str,
    pub(crate) model_requested: &'a str,
    pub(crate) model: Option<&'a str>,
    pub(crate) operation: Operation,
    pub(crate) billing: Billing,
    pub(crate) status: &'a Status,
    pub(crate) error_kind: Option<ErrorKind>,
    pub(crate) usage: &'a Usage,
    pub(crate) reported_cost: Option<PicoUsd>,
    pub(crate) duration: Duration,
    pub(crate) ttft: Option<Duration>,
}

/// Lets a meter see what a proxy sees.
pub(crate) struct Observer(pub(crate) SharedMeter);

impl CallObserver for Observer {
    fn ended(&self, call: &EndedCall<'_>) {
        self.0.count(&Call {
            caller: call.caller,
            provider: call.provider,
            model_requested: call.model_requested,
            model: call.model,
            operation: call.operation,
            billing: call.billing,
            status: call.status,
            error_kind: call.error_kind,
            usage: call.usage,
            reported_cost: call.reported_cost,
            duration: call.duration,
            ttft: call.ttft,
        });
    }
}

impl Meter {
    /// A meter that prices by `book`.
    pub(crate) fn new(book: Arc<Book>, kinds: ProviderKinds) -> Self {
        Self {
            book,
            kinds,
            seen: Mutex::default(),
        }
    }

    /// What passed so far.
    pub(crate) fn seen(&self) -> Seen {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call.
    pub(crate) fn count(&self, call: &Call<'_>) {
        let priced = self.book.price(&record_of(call), &self.kinds).cost.cost;
        let status = word_of(call.status);
        let named = |name: &str| if name.is_empty() { "unknown" } else { name }.to_owned();
        let mut key = Key {
            provider: named(call.provider),
            model: named(call.model.unwrap_or(call.model_requested)),
            operation: call.operation,
            billing: call.billing,
        };
        let mut seen = self.lock();
        seen.remember_slow(call, &key, status);
        if seen.sums.len() >= MOST_KEYS && !seen.sums.contains_key(&key) {
            OTHER.clone_into(&mut key.model);
            OTHER.clone_into(&mut key.provider);
        }
        let sums = seen.sums.entry(key).or_default();
        sums.add(call, status);
        match priced {
            Some(cost) if call.billing == Billing::Plan => sums.plan_value.add(cost),
            Some(cost) => sums.cost.add(cost),
            None => sums.unpriced += 1,
        }
    }
}

impl Seen {
    /// The sums of everything.
    pub(crate) fn total(&self) -> Sums {
        let mut total = Sums::default();
        self.sums.values().for_each(|sums| total.plus(sums));
        total
    }

    fn remember_slow(&mut self, call: &Call<'_>, key: &Key, status: &'static str) {
        if self.slowest.len() == SLOWEST
            && self
                .slowest
                .last()
                .is_some_and(|last| last.duration >= call.duration)
        {
            return;
        }
        self.slowest.push(Slow {
            duration: call.duration,
            caller: call.caller.to_owned(),
            provider: key.provider.clone(),
            model: key.model.clone(),
            status,
        });
        self.slowest
            .sort_by_key(|slow| std::cmp::Reverse(slow.duration));
        self.slowest.truncate(SLOWEST);
    }
}

impl Sums {
    fn add(&mut self, call: &Call<'_>, status: &'static str) {
        self.calls += 1;
        *self.by_status.entry(status).or_default() += 1;
        if let Some(kind) = call.error_kind {
            *self.errors.entry(kind).or_default() += 1;
        }
        let usage = call.usage;
        self.with_usage += u64::from(usage.input_tokens.is_some() || usage.output_tokens.is_some());
        for (sum, count) in [
            (&mut self.input_tokens, usage.input_tokens),
            (&mut self.output_tokens, usage.output_tokens),
            (&mut self.cache_read_tokens, usage.cache_read_tokens),
            (&mut self.cache_write_tokens, usage.cache_write_tokens),
            (&mut self.reasoning_tokens, usage.reasoning_tokens),
        ] {
            *sum = sum.saturating_add(count.unwrap_or(0));
        }
        self.durations.add(call.duration);
        if let Some(ttft) = call.ttft {
            self.first_tokens.add(ttft);
        }
    }

    fn plus(&mut self, other: &Self) {
        for (mine, theirs) in [
            (&mut self.calls, other.calls),
            (&mut self.with_usage, other.with_usage),
            (&mut self.input_tokens, other.input_tokens),
            (&mut self.output_tokens, other.output_tokens),
            (&mut self.cache_read_tokens, other.cache_read_tokens),
            (&mut self.cache_write_tokens, other.cache_write_tokens),
            (&mut self.reasoning_tokens, other.reasoning_tokens),
            (&mut self.unpriced, other.unpriced),
        ] {
            *mine = mine.saturating_add(theirs);
        }
        for (status, count) in &other.by_status {
            *self.by_status.entry(status).or_default() += count;
        }
        for (kind, count) in &other.errors {
            *self.errors.entry(*kind).or_default() += count;
        }
        self.cost = self.cost.plus(other.cost);
        self.plan_value = self.plan_value.plus(other.plan_value);
    }

    /// How many ended with this status.
    pub(crate) fn with_status(&self, status: &Status) -> u64 {
        self.by_status.get(word_of(status)).copied().unwrap_or(0)
    }
}

impl Buckets {
    fn add(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let at = BOUNDS
            .iter()
            .position(|bound| seconds <= *bound)
            .unwrap_or(BOUNDS.len());
        if let Some(count) = self.counts.get_mut(at) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(duration);
    }

    /// Counts up to each bound, those below included; the last is that of all.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = u64> {
        self.counts.iter().scan(0_u64, |sum, count| {
            *sum += count;
            Some(*sum)
        })
    }
}

/// The word of a status; the proxy has only these.
fn word_of(status: &Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Error => "error",
        Status::Fallback => "fallback",
        Status::Cancelled => "cancelled",
        Status::Aborted => "aborted",
        _ => "other",
    }
}

/// As much of a record as a price depends on.
fn record_of(call: &Call<'_>) -> CallRecord {
    let micros = i64::try_from(call.duration.as_micros()).unwrap_or(i64::MAX);
    let began = SystemClock
        .now()
        .saturating_add_micros(micros.saturating_neg());
    let mut record = CallRecord::new(CallId::new(began, 0), Layer::Proxy, 0);
    let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    record.provider = named(call.provider);
    record.model_requested = named(call.model_requested);
    record.model = call.model.and_then(named);
    record.operation = Some(call.operation);
    record.billing = Some(call.billing);
    record.duration_us = u64::try_from(micros).ok();
    record.usage = call.usage.clone();
    record.reported_cost = call.reported_cost;
    record
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn meter() -> Meter {
        Meter::new(Book::market(), ProviderKinds::default())
    }

    pub(crate) fn count(meter: &Meter, model: &str, change: impl FnOnce(&mut Call<'_>)) {
        let mut usage = Usage::default();
        (usage.input_tokens, usage.output_tokens) = (Some(1_000_000), Some(100_000));
        let mut call = Call {
            caller: "app.py",
            provider: "openai",
            model_requested: model,
            model: None,
            operation: Operation::Chat,
            billing: Billing::Metered,
            status: &Status::Ok,
            error_kind: None,
            usage: &usage,
            reported_cost: None,
            duration: Duration::from_millis(500),
            ttft: Some(Duration::from_millis(90)),
        };
        change(&mut call);
        meter.count(&call);
    }

    #[test]
    fn money_and_plan_usage_have_sums_of_their_own_and_what_has_no_price_is_counted() {
        let meter = meter();
        count(&meter, "gpt-4o", |_| {});
        count(&meter, "gpt-4o", |call| call.billing = Billing::Plan);
        count(&meter, "gpt-4o-made-up", |_| {});
        let total = meter.seen().total();
        assert_eq!(total.calls, 3);
        assert_eq!(total.cost.to_string(), "3.5");
        assert_eq!(total.plan_value.to_string(), "3.5");
        assert_eq!(total.unpriced, 1);
        assert_eq!(
            (total.input_tokens, total.output_tokens),
            (3_000_000, 300_000)
        );
    }

    #[test]
    fn the_slowest_calls_are_remembered_and_no_more() {
        let meter = meter();
        for seconds in [1, 5, 2, 4, 3] {
            count(&meter, "gpt-4o", |call| {
                call.duration = Duration::from_secs(seconds)
            });
        }
        let slowest: Vec<_> = meter
            .seen()
            .slowest
            .iter()
            .map(|slow| slow.duration.as_secs())
            .collect();
        assert_eq!(slowest, [5, 4, 3]);
    }

    #[test]
    fn names_from_requests_do_not_fill_the_memory() {
        let meter = meter();
        for n in 0..MOST_KEYS + 200 {
            count(&meter, &format!("made-up-{n}"), |_| {});
        }
        let seen = meter.seen();
        assert!(seen.sums.len() <= MOST_KEYS + 1, "{}", seen.sums.len());
        assert_eq!(seen.total().calls, MOST_KEYS as u64 + 200);
    }

    #[test]
    fn a_duration_at_a_bound_is_within_it() {
        let mut buckets = Buckets::default();
        for millis in [10, 11, 20, 90_000] {
            buckets.add(Duration::from_millis(millis));
        }
        let counts: Vec<u64> = buckets.cumulative().collect();
        assert_eq!(counts[..3], [1, 3, 3]);
        assert_eq!(counts[13..], [3, 4]);
        assert_eq!(buckets.sum, Duration::from_millis(90_041));
    }
}
