//! One batch on its way: gathered from several spools, sent, answered for, cut where a row is poison.

use callmeter_core::{CallRecord, DecodeError, SinkError, SinkErrorKind};
use callmeter_flight::Busy;

use super::backlog::Lane;
use super::{Shipped, Shipper};
use crate::logging::log_line;
use crate::spool::{SpoolError, SpooledRow};

/// Rows of several spools, as they are sent.
#[derive(Debug, Default)]
pub(super) struct Batch {
    rows: Vec<(String, SpooledRow)>,
    records: Vec<CallRecord>,
    /// How far each spool was read.
    read_to: Vec<(String, i64)>,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
}

/// Why a batch was not sent, or not answered for.
#[derive(Debug)]
pub(super) enum SendError {
    /// The store took it not.
    Sink(SinkError),
    /// The named spool failed.
    Spool(String, SpoolError),
}

impl From<SinkError> for SendError {
    fn from(error: SinkError) -> Self {
        Self::Sink(error)
    }
}

impl Shipper {
    /// The oldest rows of a lane, of all spools up to the limit. Rows that are no records are set aside.
    pub(super) fn gather(&mut self, lane: Lane, limit: usize) -> Result<Batch, SendError> {
        let mut batch = Batch::default();
        for (name, spool) in &mut self.spools {
            let room = limit.saturating_sub(batch.rows.len());
            if room == 0 {
                break;
            }
            let lanes = self.lanes.entry(name.clone()).or_default();
            let (after, to) = lanes.range(lane);
            if after >= to {
                continue;
            }
            let failed = |error| SendError::Spool(name.clone(), error);
            let rows = spool.outlet.ready_rows(after, to, room).map_err(failed)?;
            // Rows that were left out wait for a newer callmeter.
            let is_all = rows.len() < room;
            let last = rows.last().map_or(after, |row| row.seq);
            batch
                .read_to
                .push((name.clone(), if is_all { to } else { last }));
            for row in rows {
                match &row.record {
                    Ok(record) => {
                        batch.records.push(record.clone());
                        batch.rows.push((name.clone(), row));
                    }
                    Err(DecodeError::NewerFormat(_)) => {}
                    Err(_) => {
                        let now = self.clock.now();
                        spool
                            .outlet
                            .reject(&row, "the record is corrupt", now)
                            .map_err(failed)?;
                        self.shipped.rejected = self.shipped.rejected.saturating_add(1);
                        log_line!(error: spool = name,
                            "a row is no record; it is kept in the spool's `rejected`"
                        );
                    }
                }
            }
        }
        Ok(batch)
    }

    /// Sends a batch and deletes it from the spools; halves it where a row in it is refused.
    pub(super) fn send(&mut self, lane: Lane, batch: &Batch) -> Result<(), SendError> {
        if !batch.rows.is_empty() {
            self.send_range(&batch.rows, &batch.records)?;
        }
        for (name, seq) in &batch.read_to {
            if let Some(lanes) = self.lanes.get_mut(name) {
                lanes.sent(lane, *seq);
            }
        }
        Ok(())
    }

    fn send_range(
        &mut self,
        rows: &[(String, SpooledRow)],
        records: &[CallRecord],
    ) -> Result<(), SendError> {
        if self.sink.is_none() {
            self.sink = Some((self.make_sink)()?);
        }
        let Some(sink) = &mut self.sink else {
            return Ok(());
        };
        let written = if sink.may_be_forked() {
            Busy::pause(|| sink.write(records))
        } else {
            sink.write(records)
        };
        match written {
            // Which ones expired the answer does not say: each spool's rows are sent alone, so that its own
            // figures are right even if another's cannot be changed now.
            Ok(ack) if ack.expired > 0 && first_spool(rows) < rows.len() => {
                let (left, right) = rows.split_at(first_spool(rows));
                let (left_records, right_records) = records
                    .split_at_checked(left.len())
                    .unwrap_or((records, &[]));
                self.send_range(left, left_records)?;
                self.send_range(right, right_records)
            }
            Ok(ack) => {
                if ack.revision_not_applied > 0 {
                    self.control.update(|state| {
                        let count = &mut state.revision_not_applied;
                        *count = count.saturating_add(ack.revision_not_applied);
                    });
                }
                self.acknowledge(rows, ack.expired)
            }
            Err(error) if error.kind() == SinkErrorKind::Reject => match rows {
                [] => Ok(()),
                [(name, row)] => self.reject(name, row, &error),
                _ => {
                    let middle = rows.len() / 2;
                    let (left, right) = rows.split_at(middle);
                    let (left_records, right_records) =
                        records.split_at_checked(middle).unwrap_or((records, &[]));
                    self.send_range(left, left_records)?;
                    self.send_range(right, right_records)
                }
            },
            Err(error) => Err(error.into()),
        }
    }

    fn acknowledge(
        &mut self,
        rows: &[(String, SpooledRow)],
        mut expired: u64,
    ) -> Result<(), SendError> {
        let sent = Shipped {
            acknowledged: (rows.len() as u64).saturating_sub(expired),
            rejected: expired,
        };
        let mut rest = rows;
        while let Some((name, _)) = rest.first() {
            let count = rest.iter().take_while(|(other, _)| other == name).count();
            let (mine, others) = rest.split_at(count);
            if let Some(spool) = self.spools.get_mut(name) {
                let here = expired.min(count as u64);
                let seqs: Vec<i64> = mine.iter().map(|(_, row)| row.seq).collect();
                spool
                    .outlet
                    .acknowledge(&seqs, here)
                    .map_err(|error| SendError::Spool(name.clone(), error))?;
                expired = expired.saturating_sub(here);
            }
            rest = others;
        }
        self.shipped.add(sent);
        self.control.update(|state| {
            state.acknowledgements = state.acknowledgements.saturating_add(rows.len() as u64);
        });
        Ok(())
    }

    fn reject(&mut self, name: &str, row: &SpooledRow, why: &SinkError) -> Result<(), SendError> {
        log_line!(error: reason = %why,
            "the store refuses a row for good; it is kept in the spool's `rejected`"
        );
        if let Some(spool) = self.spools.get_mut(name) {
            spool
                .outlet
                .reject(row, &why.to_string(), self.clock.now())
                .map_err(|error| SendError::Spool(name.to_owned(), error))?;
        }
        self.shipped.rejected = self.shipped.rejected.saturating_add(1);
        self.control.update(|state| {
            state.acknowledgements = state.acknowledgements.saturating_add(1);
        });
        Ok(())
    }
}

/// How many of the first rows are of one spool.
fn first_spool(rows: &[(String, SpooledRow)]) -> usize {
    let first = rows.first().map(|(name, _)| name);
    rows.iter()
        .take_while(|(name, _)| Some(name) == first)
        .count()
}
