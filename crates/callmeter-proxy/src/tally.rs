//! A proxy's own figures: what passed, what was refused, what could not be read, and what it cost in time.
//!
//! Counters are relaxed atomics; the names of hosts, which are a handful, lie behind a lock that no I/O is
//! done under.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The upper bounds of the overhead histogram, in microseconds; a last bucket has no bound.
pub(crate) const OVERHEAD_BOUNDS_US: [u64; 12] = [
    50, 100, 200, 300, 500, 750, 1_000, 2_000, 5_000, 10_000, 50_000, 250_000,
];

/// The running figures of a proxy: a handle, cheap to clone, good for as long as one likes.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Counters>);

/// Hosts remembered by name; further ones are counted together.
const MAX_HOSTS: usize = 64;
const OTHER_HOSTS: &str = "other hosts";

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    calls: AtomicU64,
    fallbacks: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    in_flight: AtomicI64,
    connections: AtomicI64,
    overhead: [AtomicU64; OVERHEAD_BOUNDS_US.len() + 1],
    overhead_us: AtomicU64,
    unread: Mutex<BTreeMap<String, u64>>,
    served: Mutex<BTreeMap<String, u64>>,
}

/// Figures at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// Requests that came in, those of the admin left out.
    pub requests: u64,
    /// Calls of models: tries that made a row, or would have while recording is off.
    pub calls: u64,
    /// Tries that were followed by another.
    pub fallbacks: u64,
    /// Requests that the proxy refused by itself.
    pub refused: u64,
    /// Requests that no upstream answered.
    pub failed: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Connections of clients.
    pub connections: u64,
    /// Requests by the time that the proxy added before the first byte of the answer: bucket bounds in
    /// microseconds, counts up to each (not cumulative); the last bound is `u64::MAX`.
    pub overhead_us: Vec<(u64, u64)>,
    /// The sum of those times.
    pub overhead_total: Duration,
    /// Connections that were tunnelled unread, by the host of a known provider.
    pub unread_hosts: Vec<(String, u64)>,
    /// Calls by the provider that was asked.
    pub providers: Vec<(String, u64)>,
}

impl Tally {
    /// The figures now.
    pub fn figures(&self) -> Figures {
        let counters = &*self.0;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let level = |counter: &AtomicI64| {
            let value = counter.load(Ordering::Relaxed);
            u64::try_from(value).unwrap_or(0)
        };
        let bounds = OVERHEAD_BOUNDS_US.iter().copied().chain([u64::MAX]);
        let names = |map: &Mutex<BTreeMap<String, u64>>| {
            let map = map.lock().unwrap_or_else(PoisonError::into_inner);
            map.iter()
                .map(|(name, count)| (name.clone(), *count))
                .collect()
        };
        Figures {
            requests: read(&counters.requests),
            calls: read(&counters.calls),
            fallbacks: read(&counters.fallbacks),
            refused: read(&counters.refused),
            failed: read(&counters.failed),
            in_flight: level(&counters.in_flight),
            connections: level(&counters.connections),
            overhead_us: bounds.zip(counters.overhead.iter().map(read)).collect(),
            overhead_total: Duration::from_micros(read(&counters.overhead_us)),
            unread_hosts: names(&counters.unread),
            providers: names(&counters.served),
        }
    }
}

impl Tally {
    pub(crate) fn begin(&self) {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        self.0.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn connected(&self) {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn disconnected(&self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn fell_back(&self) {
        self.0.fallbacks.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn call(&self, provider: &str) {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        count(&self.0.served, provider);
    }

    /// A connection that was tunnelled, and so could not be read.
    pub(crate) fn unread(&self, host: &str) {
        count(&self.0.unread, host);
    }

    /// The time that the proxy added to a request.
    pub(crate) fn added(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let at = OVERHEAD_BOUNDS_US.partition_point(|bound| us > *bound);
        if let Some(bucket) = self.0.overhead.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.0.overhead_us.fetch_add(us, Ordering::Relaxed);
    }
}

fn count(names: &Mutex<BTreeMap<String, u64>>, name: &str) {
    let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(count) = names.get_mut(name) {
        *count = count.saturating_add(1);
        return;
    }
    let name = if names.len() < MAX_HOSTS {
        name
    } else {
        OTHER_HOSTS
    };
    let count = names.entry(name.to_owned()).or_default();
    *count = count.saturating_add(1);
}
