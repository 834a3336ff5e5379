//! The queue between who says something and the host that writes it down.
//!
//! Promises that nobody waits: a line that finds the queue full or at work, or the hundredth of its second
//! gone, is counted instead. A forked child takes a queue of its own.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::{LEGACY_LOGGER, LEGACY_MARK, LOGGER};
use crate::station::lock_unless_stuck;

/// The most lines in a second.
const LINES_A_SECOND: u32 = 100;
/// How often a busy queue is tried, each time for as long as it takes to push a line.
const TRIES: usize = 64;

/// The queue that lines go to.
static CURRENT: Mutex<Option<Arc<Queue>>> = Mutex::new(None);

/// How grave a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LogLevel {
    /// Good to know.
    Info,
    /// Something is amiss; nothing is lost.
    Warning,
    /// Somebody should look.
    Error,
}

/// One line, on its way to the host's log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogLine {
    /// How grave it is.
    pub level: LogLevel,
    /// The name of the logger: `callmeter`, or `services.ai_call_logger` in the style of the replaced module.
    pub logger: &'static str,
    /// The text, with the values that belong to it.
    pub text: String,
}

/// The host's end of the queue; made by [`receive`](super::receive).
#[derive(Debug)]
pub struct LogLines {
    queue: Arc<Queue>,
}

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    has_lines: Condvar,
}

#[derive(Debug)]
struct State {
    lines: VecDeque<LogLine>,
    capacity: usize,
    /// Since when lines are counted, and how many there were.
    second: Option<(Instant, u32)>,
    /// Lines that found no room, since the last that did.
    untold: u64,
    dropped: u64,
    /// Whether whoever waits should go on without a line.
    is_let_go: bool,
}

impl LogLines {
    /// The next line, after at most `timeout`.
    pub fn next(&self, timeout: Duration) -> Option<LogLine> {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self
            .queue
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(line) = state.lines.pop_front() {
                return Some(line);
            }
            let left = deadline.map_or(timeout, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() || state.is_let_go {
                return None;
            }
            state = self
                .queue
                .has_lines
                .wait_timeout(state, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        }
    }

    /// Lets a thread that waits for a line go on without one, now and whenever it waits again.
    pub fn let_go(&self) {
        let state = self.queue.state.lock();
        state.unwrap_or_else(PoisonError::into_inner).is_let_go = true;
        self.queue.has_lines.notify_all();
    }

    /// How many lines were left out so far: the queue was full, or more than 100 came in a second.
    pub fn dropped(&self) -> u64 {
        let state = self.queue.state.lock();
        state.unwrap_or_else(PoisonError::into_inner).dropped
    }
}

impl State {
    /// Whether one more line may pass at `now`.
    fn may_pass(&mut self, now: Instant) -> bool {
        let second = match self.second {
            Some((since, count))
                if now.saturating_duration_since(since) < Duration::from_secs(1) =>
            {
                (since, count.saturating_add(1))
            }
            _ => (now, 1),
        };
        self.second = Some(second);
        second.1 <= LINES_A_SECOND && self.lines.len() < self.capacity
    }

    fn push(&mut self, line: LogLine, now: Instant) {
        if !self.may_pass(now) {
            self.untold = self.untold.saturating_add(1);
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let untold = std::mem::take(&mut self.untold);
        if untold > 0 {
            self.lines.push_back(told(untold));
        }
        self.lines.push_back(line);
    }
}

/// The line that says how many were left out.
fn told(untold: u64) -> LogLine {
    let (logger, mark) = if super::is_legacy() {
        (LEGACY_LOGGER, LEGACY_MARK)
    } else {
        (LOGGER, "")
    };
    LogLine {
        level: LogLevel::Warning,
        logger,
        text: format!("{mark}{untold} log lines were left out: more than the host takes"),
    }
}

/// Makes a fresh queue the one that lines go to.
pub(super) fn replace(capacity: usize) -> LogLines {
    let queue = Arc::new(Queue {
        state: Mutex::new(State {
            lines: VecDeque::new(),
            capacity: capacity.max(1),
            second: None,
            untold: 0,
            dropped: 0,
            is_let_go: false,
        }),
        has_lines: Condvar::new(),
    });
    if let Some(mut current) = lock_unless_stuck(&CURRENT) {
        *current = Some(Arc::clone(&queue));
    }
    LogLines { queue }
}

/// Puts a line into the queue, if there is one that is free within a moment.
pub(super) fn push(line: LogLine) {
    let Some(queue) = lock_unless_stuck(&CURRENT).and_then(|current| current.clone()) else {
        return;
    };
    for _ in 0..TRIES {
        match queue.state.try_lock() {
            Ok(mut state) => {
                state.push(line, Instant::now());
                break;
            }
            Err(TryLockError::Poisoned(poisoned)) => {
                poisoned.into_inner().push(line, Instant::now());
                break;
            }
            Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
        }
    }
    queue.has_lines.notify_one();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> LogLine {
        LogLine {
            level: LogLevel::Info,
            logger: LOGGER,
            text: text.to_owned(),
        }
    }

    fn state(capacity: usize) -> State {
        State {
            lines: VecDeque::new(),
            capacity,
            second: None,
            untold: 0,
            dropped: 0,
            is_let_go: false,
        }
    }

    #[test]
    fn a_hundred_lines_pass_in_a_second_and_the_next_second_tells_of_the_rest() {
        let mut state = state(1_000);
        let start = Instant::now();
        for _ in 0..130 {
            state.push(line("again"), start);
        }
        assert_eq!((state.lines.len(), state.dropped), (100, 30));
        state.push(line("later"), start + Duration::from_secs(1));
        let last: Vec<_> = state
            .lines
            .iter()
            .skip(100)
            .map(|line| &line.text)
            .collect();
        assert_eq!(
            last,
            [
                "30 log lines were left out: more than the host takes",
                "later"
            ]
        );
    }

    #[test]
    fn a_thread_that_waits_is_let_go() {
        let lines = replace(4);
        push(line("before"));
        lines.let_go();
        assert!(lines.next(Duration::from_secs(600)).is_some());
        assert!(lines.next(Duration::from_secs(600)).is_none());
    }

    #[test]
    fn a_full_queue_counts_what_it_does_not_take() {
        let mut state = state(2);
        for text in ["one", "two", "three"] {
            state.push(line(text), Instant::now());
        }
        assert_eq!((state.lines.len(), state.dropped), (2, 1));
    }
}
