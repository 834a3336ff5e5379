//! The SDK's log lines on their way into Python's `logging`.
//!
//! Lines come from threads that never take Python's lock; they wait in a bounded queue, from which one Python thread
//! takes them, at most a hundred a second. What has no room is counted, and the next line says how many there were.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Condvar, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

const ROOM: usize = 1_000;
const PER_SECOND: u32 = 100;

/// A line: its level by the numbers of Python's `logging`, and its text.
type Line = (u8, String);

struct Queue {
    lines: VecDeque<Line>,
    left_out: u64,
    /// Since when this second's lines are counted, and how many there were.
    second: Option<(Instant, u32)>,
    is_closed: bool,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue {
    lines: VecDeque::new(),
    left_out: 0,
    second: None,
    is_closed: false,
});
static CHANGED: Condvar = Condvar::new();

/// Locks the queue, unless this is a forked child and a thread that the fork did not take along holds it.
fn queue() -> Option<MutexGuard<'static, Queue>> {
    for _ in 0..10_000 {
        match QUEUE.try_lock() {
            Ok(queue) => return Some(queue),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    None
}

/// Sends what the SDK says into the queue.
pub(crate) fn listen() {
    // Only the first one of a process succeeds; this is it.
    let _ = tracing::subscriber::set_global_default(Listener);
}

/// Opens or closes the queue for its reader; a closed one gives no lines and does not wait.
pub(crate) fn set_closed(is_closed: bool) {
    if let Some(mut queue) = queue() {
        queue.is_closed = is_closed;
    }
    CHANGED.notify_all();
}

/// Lets the reader of the queue end.
#[pyfunction]
pub(crate) fn close_log() {
    set_closed(true);
}

/// Waits for lines, at most `wait_s` seconds; `None` when the reader should end.
#[pyfunction]
pub(crate) fn take_log_lines(py: Python<'_>, wait_s: f64) -> Option<Vec<Line>> {
    let wait = Duration::try_from_secs_f64(wait_s).unwrap_or_default();
    py.detach(|| take(wait))
}

fn take(wait: Duration) -> Option<Vec<Line>> {
    let mut queue = queue()?;
    if queue.lines.is_empty() && !queue.is_closed && !wait.is_zero() {
        queue = CHANGED
            .wait_timeout(queue, wait)
            .map_or_else(|poisoned| poisoned.into_inner().0, |(queue, _)| queue);
    }
    if queue.is_closed && !wait.is_zero() {
        return None;
    }
    let now = Instant::now();
    let (since, seen) = queue
        .second
        .filter(|(since, _)| now.duration_since(*since) < Duration::from_secs(1))
        .unwrap_or((now, 0));
    let allowed = PER_SECOND.saturating_sub(seen) as usize;
    let count = queue.lines.len().min(allowed);
    let mut taken: Vec<Line> = queue.lines.drain(..count).collect();
    if queue.left_out > 0 && count < allowed {
        let more = std::mem::take(&mut queue.left_out);
        taken.push((30, format!("callmeter: {more} further lines are left out")));
    }
    queue.second = Some((since, seen.saturating_add(taken.len() as u32)));
    Some(taken)
}

fn put(line: Line) {
    let Some(mut queue) = queue() else { return };
    if queue.lines.len() < ROOM {
        queue.lines.push_back(line);
    } else {
        queue.left_out = queue.left_out.saturating_add(1);
    }
    drop(queue);
    CHANGED.notify_one();
}

struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO && metadata.target().starts_with("callmeter")
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let level = match *event.metadata().level() {
            Level::ERROR => 40,
            Level::WARN => 30,
            _ => 20,
        };
        put((level, text.message + &text.fields));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        if !value.is_empty() {
            let _ = write!(self.fields, " {}={value}", field.name());
        }
    }
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            let _ = write!(self.fields, " {}={value:?}", field.name());
        }
    }
}
