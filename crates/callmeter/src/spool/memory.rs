//! The spool of a process whose disk takes none: bounded, in memory, shipped from this process.
//!
//! For a read-only root, a full disk, a home on a network file system. What it holds dies with its process;
//! what it has no room for stays in the flight buffer, and is counted when that is full as well (promise
//! CM-8). When the disk is back the worker moves its rows there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callmeter_core::{CallRecord, Conservation, DropReason, Timestamp};
use callmeter_flight::AdoptedCalls;

use super::SpoolError;
use super::journal::{FlightFigures, SpoolInlet, SpoolOutlet, SpooledRow};

/// The most bytes of encoded rows.
const MOST_BYTES: usize = 16 << 20;

/// A spool in memory; clones share it.
#[derive(Clone, Debug)]
pub struct MemorySpool {
    name: Arc<str>,
    store: Arc<str>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    rows: VecDeque<(i64, Vec<u8>)>,
    bytes: usize,
    last_seq: i64,
    spooled: u64,
    acknowledged: u64,
    rejected: u64,
    given_up: u64,
}

impl MemorySpool {
    /// An empty spool for a store.
    pub fn new(name: &str, store: &str) -> Self {
        Self {
            name: name.into(),
            store: store.into(),
            state: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no row waits in it.
    pub fn is_empty(&self) -> bool {
        self.state().rows.is_empty()
    }

    /// The figures of what is, or was, in it.
    pub fn figures(&self) -> Conservation {
        let state = self.state();
        let mut figures = Conservation::default();
        figures.finished = state.spooled;
        figures.spooled = state.rows.len() as u64;
        figures.acknowledged = state.acknowledged;
        figures.rejected = state.rejected;
        figures
    }

    /// Moves at most `limit` rows elsewhere, the oldest first; those that `take` fails on stay.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn move_rows(
        &self,
        limit: usize,
        take: impl FnOnce(&[CallRecord]) -> Result<(), SpoolError>,
    ) -> Result<usize, SpoolError> {
        let mut state = self.state();
        let rows = state.rows.iter().take(limit);
        let records: Vec<CallRecord> = rows
            .filter_map(|(_, bytes)| CallRecord::decode(bytes).ok())
            .collect();
        take(&records)?;
        let count = records.len();
        for _ in 0..count {
            if let Some((_, bytes)) = state.rows.pop_front() {
                state.bytes = state.bytes.saturating_sub(bytes.len());
            }
        }
        state.spooled = state.spooled.saturating_sub(count as u64);
        Ok(count)
    }

    /// Lets go of every row; says how many there were.
    pub(crate) fn give_up(&self) -> u64 {
        let mut state = self.state();
        let lost = state.rows.len() as u64;
        state.rows.clear();
        state.bytes = 0;
        state.spooled = state.spooled.saturating_sub(lost);
        state.given_up = state.given_up.saturating_add(lost);
        lost
    }

    /// How many rows were let go because their process ended. A store may have taken some of them, and only its
    /// answer was lost.
    pub fn given_up(&self) -> u64 {
        self.state().given_up
    }

    fn remove(state: &mut State, seqs: &[i64]) -> u64 {
        let before = state.rows.len();
        let mut freed = 0_usize;
        // Nearly always they are the first ones.
        while let Some((seq, bytes)) = state.rows.front()
            && seqs.binary_search(seq).is_ok()
        {
            freed = freed.saturating_add(bytes.len());
            state.rows.pop_front();
        }
        if before.saturating_sub(state.rows.len()) < seqs.len() {
            state.rows.retain(|(seq, bytes)| {
                let is_gone = seqs.binary_search(seq).is_ok();
                if is_gone {
                    freed = freed.saturating_add(bytes.len());
                }
                !is_gone
            });
        }
        state.bytes = state.bytes.saturating_sub(freed);
        before.saturating_sub(state.rows.len()) as u64
    }
}

impl SpoolInlet for MemorySpool {
    fn name(&self) -> &str {
        &self.name
    }

    fn attach(&mut self, _: &str, _: &str, _: Timestamp) -> Result<(), SpoolError> {
        Ok(())
    }

    fn detach(&mut self, _: &str, _: Timestamp) -> Result<(), SpoolError> {
        Ok(())
    }

    fn note(&mut self, _: FlightFigures) {}

    fn append(
        &mut self,
        batch: &[CallRecord],
        _: &[(DropReason, u64)],
        _: bool,
    ) -> Result<(), SpoolError> {
        let encoded: Vec<Vec<u8>> = batch.iter().map(CallRecord::encode).collect();
        let bytes = encoded
            .iter()
            .fold(0_usize, |sum, row| sum.saturating_add(row.len()));
        let mut state = self.state();
        if state.bytes.saturating_add(bytes) > MOST_BYTES {
            return Err(SpoolError::MemoryFull);
        }
        state.bytes = state.bytes.saturating_add(bytes);
        state.spooled = state.spooled.saturating_add(batch.len() as u64);
        for row in encoded {
            state.last_seq = state.last_seq.saturating_add(1);
            let seq = state.last_seq;
            state.rows.push_back((seq, row));
        }
        Ok(())
    }

    fn has_unready(&self) -> bool {
        false
    }

    fn last_seq(&self) -> i64 {
        self.state().last_seq
    }
}

impl SpoolOutlet for MemorySpool {
    fn store(&self) -> &str {
        &self.store
    }

    fn ready_seq(&mut self) -> Result<i64, SpoolError> {
        Ok(self.state().last_seq)
    }

    fn ready_rows(
        &mut self,
        after: i64,
        up_to: i64,
        limit: usize,
    ) -> Result<Vec<SpooledRow>, SpoolError> {
        let state = self.state();
        let first = state.rows.partition_point(|(seq, _)| *seq <= after);
        let rows = state.rows.iter().skip(first);
        Ok(rows
            .take_while(|(seq, _)| *seq <= up_to)
            .take(limit)
            .map(|(seq, bytes)| SpooledRow {
                seq: *seq,
                bytes: bytes.clone(),
                record: CallRecord::decode(bytes),
            })
            .collect())
    }

    fn acknowledge(&mut self, seqs: &[i64], expired: u64) -> Result<(), SpoolError> {
        let mut state = self.state();
        let removed = Self::remove(&mut state, seqs);
        let expired = expired.min(removed);
        state.rejected = state.rejected.saturating_add(expired);
        state.acknowledged = state
            .acknowledged
            .saturating_add(removed.saturating_sub(expired));
        Ok(())
    }

    fn reject(&mut self, row: &SpooledRow, _: &str, _: Timestamp) -> Result<(), SpoolError> {
        let mut state = self.state();
        let removed = Self::remove(&mut state, &[row.seq]);
        state.rejected = state.rejected.saturating_add(removed);
        Ok(())
    }

    fn drop_oldest(&mut self, _: u64) -> Result<u64, SpoolError> {
        Ok(0)
    }

    fn give_back_space(&mut self) -> Result<(), SpoolError> {
        Ok(())
    }

    fn is_spent(&mut self) -> Result<bool, SpoolError> {
        Ok(false)
    }

    fn standing(&mut self) -> Result<Conservation, SpoolError> {
        Ok(self.figures())
    }

    fn flights(&mut self) -> Result<Vec<String>, SpoolError> {
        Ok(Vec::new())
    }

    fn adopt(&mut self, _: &str, _: &AdoptedCalls, _: Timestamp) -> Result<u64, SpoolError> {
        Ok(0)
    }

    fn settle(&mut self, _: &str, _: Timestamp) -> Result<(), SpoolError> {
        Ok(())
    }

    fn release_all(&mut self) -> Result<(), SpoolError> {
        Ok(())
    }
}
