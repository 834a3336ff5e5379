//! The hand-off between the caller's thread and the worker: a bounded queue in memory.
//!
//! Promises the caller (CM-2): no I/O, no wait; a full queue refuses, and the refusal is counted. What
//! it holds dies with its process; the worker empties it every few milliseconds.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use callmeter_core::CallRecord;

/// How many finished calls may wait for the worker.
const CAPACITY: usize = 16_384;

/// The queue, and what went through it.
#[derive(Debug, Default)]
pub(crate) struct Handoff {
    queue: Mutex<VecDeque<CallRecord>>,
    finished: AtomicU64,
    refused: AtomicU64,
}

impl Handoff {
    /// Hands a finished call over; a full queue drops it and counts that.
    pub(crate) fn push(&self, record: CallRecord) {
        self.finished.fetch_add(1, Ordering::Relaxed);
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() < CAPACITY {
            queue.push_back(record);
        } else {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Moves at most `max` calls, the oldest first, behind what `batch` holds.
    pub(crate) fn drain_into(&self, batch: &mut Vec<CallRecord>, max: usize) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let count = queue.len().min(max);
        batch.extend(queue.drain(..count));
    }

    /// How many calls wait for the worker.
    pub(crate) fn waiting(&self) -> u64 {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len() as u64
    }

    /// How many calls were finished.
    pub(crate) fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// How many of them found the queue full.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}
