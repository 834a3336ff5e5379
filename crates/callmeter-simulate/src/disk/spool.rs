//! One spool of the model disk: what is in it, what of it would outlive a loss of power.
//!
//! Spool format 1 as a state and transactions on it, without SQL: the same rules as
//! `crates/callmeter/src/spool`, which runs itself on the seeds that use real files. A transaction that was
//! not synced waits in `unsynced`; a loss of power keeps the first few of them, as a write-ahead log does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use callmeter::seams::{FlightFigures, SpooledRow};
use callmeter_core::{CallId, CallRecord, Conservation, DropReason};

/// What makes two records the same record.
pub(crate) type Identity = (i64, i64, i64, i64);

/// What a log holds at most before it is brought into the file, which syncs it.
const MOST_UNSYNCED: usize = 1_000;

/// One row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) call: CallId,
    pub(crate) identity: Identity,
    pub(crate) bytes: Arc<[u8]>,
}

impl Row {
    /// The row of a record.
    pub(crate) fn of(record: &CallRecord) -> Self {
        Self {
            call: record.call_id,
            identity: (
                record.call_id.hi(),
                record.call_id.lo(),
                record.layer.code().into(),
                record.rev.into(),
            ),
            bytes: record.encode().into(),
        }
    }
}

/// What is in a spool.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) rows: BTreeMap<i64, Row>,
    pub(crate) next_seq: i64,
    pub(crate) ready_seq: i64,
    pub(crate) spooled: u64,
    pub(crate) acknowledged: u64,
    pub(crate) rejected: BTreeMap<i64, Row>,
    pub(crate) expired: u64,
    pub(crate) dropped: Conservation,
    /// Flight file → whether it is settled.
    pub(crate) flights: BTreeMap<String, bool>,
    pub(crate) losses: BTreeMap<(String, DropReason), u64>,
}

impl State {
    fn new(first_seq: i64) -> Self {
        Self {
            rows: BTreeMap::new(),
            next_seq: first_seq,
            ready_seq: first_seq - 1,
            spooled: 0,
            acknowledged: 0,
            rejected: BTreeMap::new(),
            expired: 0,
            dropped: Conservation::default(),
            flights: BTreeMap::new(),
            losses: BTreeMap::new(),
        }
    }

    /// Where every call of this spool is.
    pub(crate) fn standing(&self) -> Conservation {
        let mut standing = self.dropped;
        standing.spooled = self.rows.len() as u64;
        standing.acknowledged = self.acknowledged;
        standing.rejected = self.rejected.len() as u64 + self.expired;
        standing.finished = self.spooled + standing.dropped_total();
        standing
    }

    /// The rows that may leave, in a range.
    pub(crate) fn ready_rows(&self, after: i64, up_to: i64, limit: usize) -> Vec<SpooledRow> {
        let up_to = up_to.min(self.ready_seq);
        if after >= up_to {
            return Vec::new();
        }
        let rows = self.rows.range(after + 1..=up_to).take(limit);
        rows.map(|(seq, row)| SpooledRow {
            seq: *seq,
            bytes: row.bytes.to_vec(),
            record: CallRecord::decode(&row.bytes),
        })
        .collect()
    }

    fn note(&mut self, figures: &FlightFigures) {
        for (reason, count) in &figures.losses {
            let known = self
                .losses
                .entry((figures.flight.clone(), *reason))
                .or_insert(0);
            let new = count.saturating_sub(*known);
            *known = (*known).max(*count);
            self.dropped.add_dropped(*reason, new);
        }
    }

    /// Does a transaction; says how many rows it inserted or removed.
    fn apply(&mut self, transaction: &Transaction) -> u64 {
        match transaction {
            Transaction::Append {
                rows,
                ready_seq,
                dropped,
                noted,
            } => {
                for row in rows {
                    self.rows.insert(self.next_seq, row.clone());
                    self.next_seq += 1;
                }
                self.ready_seq = *ready_seq;
                self.spooled += rows.len() as u64;
                for (reason, count) in dropped {
                    self.dropped.add_dropped(*reason, *count);
                }
                if let Some(figures) = noted {
                    self.note(figures);
                }
                rows.len() as u64
            }
            Transaction::Acknowledge { seqs, expired } => {
                let before = self.rows.len();
                for seq in seqs {
                    self.rows.remove(seq);
                }
                let gone = (before - self.rows.len()) as u64;
                let expired = gone.min(*expired);
                self.expired += expired;
                self.acknowledged += gone - expired;
                gone
            }
            Transaction::Reject { seq } => {
                let Some(row) = self.rows.remove(seq) else {
                    return 0;
                };
                self.rejected.insert(*seq, row);
                1
            }
            Transaction::DropOldest { count } => {
                let ready = self.ready_seq;
                let oldest = self.rows.range(..=ready).take(*count as usize);
                let seqs: Vec<i64> = oldest.map(|(seq, _)| *seq).collect();
                for seq in &seqs {
                    self.rows.remove(seq);
                }
                let gone = seqs.len() as u64;
                self.dropped.add_dropped(DropReason::Ceiling, gone);
                self.spooled -= gone;
                gone
            }
            Transaction::Attach { flight } => {
                self.flights.entry(flight.clone()).or_insert(false);
                0
            }
            Transaction::Settle { flight } => {
                if let Some(is_settled) = self.flights.get_mut(flight) {
                    *is_settled = true;
                }
                0
            }
            Transaction::Adopt {
                flight,
                rows,
                figures,
            } => {
                self.flights.entry(flight.clone()).or_insert(false);
                let unready = self.rows.range(self.ready_seq + 1..);
                let mut here: BTreeSet<Identity> = unready.map(|(_, row)| row.identity).collect();
                let mut new = 0;
                for row in rows {
                    if here.insert(row.identity) {
                        self.rows.insert(self.next_seq, row.clone());
                        self.next_seq += 1;
                        new += 1;
                    }
                }
                self.spooled += new;
                self.note(figures);
                new
            }
            Transaction::ReleaseAll => {
                self.ready_seq = self.next_seq - 1;
                0
            }
        }
    }
}

/// One change, whole or not at all.
#[derive(Clone, Debug)]
pub(crate) enum Transaction {
    Append {
        rows: Vec<Row>,
        ready_seq: i64,
        dropped: Vec<(DropReason, u64)>,
        noted: Option<FlightFigures>,
    },
    Acknowledge {
        seqs: Vec<i64>,
        expired: u64,
    },
    Reject {
        seq: i64,
    },
    DropOldest {
        count: u64,
    },
    Attach {
        flight: String,
    },
    Settle {
        flight: String,
    },
    Adopt {
        flight: String,
        rows: Vec<Row>,
        figures: FlightFigures,
    },
    ReleaseAll,
}

/// A spool and its log.
#[derive(Debug)]
pub(crate) struct Spool {
    pub(crate) store: String,
    pub(crate) owner: u32,
    pub(crate) state: State,
    /// What outlives a loss of power; `None` while not even the file does.
    synced: Option<State>,
    unsynced: Vec<Transaction>,
    first_seq: i64,
    pub(crate) is_damaged: bool,
}

impl Spool {
    /// An empty spool.
    pub(crate) fn new(store: &str, owner: u32, first_seq: i64) -> Self {
        Self {
            store: store.to_owned(),
            owner,
            state: State::new(first_seq),
            synced: None,
            unsynced: Vec::new(),
            first_seq,
            is_damaged: false,
        }
    }

    /// Commits a transaction, and syncs the log when it says so.
    pub(crate) fn commit(&mut self, transaction: Transaction, sync: bool) -> u64 {
        let count = self.state.apply(&transaction);
        self.unsynced.push(transaction);
        if sync || self.unsynced.len() > MOST_UNSYNCED {
            self.keep(usize::MAX);
        }
        count
    }

    /// Brings the first transactions of the log where they outlive a loss of power.
    fn keep(&mut self, count: usize) {
        let count = count.min(self.unsynced.len());
        let first_seq = self.first_seq;
        let synced = self.synced.get_or_insert_with(|| State::new(first_seq));
        for transaction in self.unsynced.drain(..count) {
            synced.apply(&transaction);
        }
    }

    /// What a loss of power leaves, when the disk happened to have written that share of the log; `None`
    /// when not even the file.
    pub(crate) fn after_power_loss(mut self, percent: u64) -> Option<Self> {
        let count = self.unsynced.len() as u64 * percent / 100;
        if self.synced.is_some() || count > 0 {
            self.keep(usize::try_from(count).unwrap_or(usize::MAX));
        }
        self.unsynced.clear();
        self.state = self.synced.clone()?;
        self.owner = 0;
        Some(self)
    }
}
