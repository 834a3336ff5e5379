//! A dead owner's flight file and its spool, brought together (promises CM-4 and CM-5).
//!
//! The owner frees a slot only after the row's commit, so a call may lie in both. Such rows are the last
//! ones: above `ready_seq`, where no shipper has been. Only there the adopter has to look, at what was committed in
//! the last moments, and no index is needed for it. Until `release_all` raises `ready_seq` every step can be
//! done again and changes nothing: rows that an adopter inserted before it died lie there as well.

use std::collections::HashSet;

use callmeter_core::{CallRecord, Timestamp};
use callmeter_flight::AdoptedCalls;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::journal::FlightFigures;
use super::{ADOPTED_LANE, SpoolError, writer};

/// What makes two records the same record: call id, layer, revision.
pub(crate) type Identity = (i64, i64, i64, i64);

/// The flight files that may still hold calls for this spool.
pub(super) fn unsettled(db: &Connection) -> Result<Vec<String>, SpoolError> {
    let mut query =
        db.prepare_cached("SELECT flight FROM flights WHERE settled_at IS NULL ORDER BY flight")?;
    let flights = query.query_map([], |row| row.get(0))?;
    Ok(flights.collect::<Result<_, _>>()?)
}

/// Inserts what a flight file held, but for what is here; says how many calls were new.
pub(super) fn adopt(
    db: &mut Connection,
    flight: &str,
    calls: &AdoptedCalls,
    at: Timestamp,
) -> Result<u64, SpoolError> {
    // An acknowledgement follows: what it lets go must hold through a power loss.
    db.pragma_update(None, "synchronous", "FULL")?;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    writer::attach(&transaction, flight, "", at)?;
    writer::catch_up(&transaction)?;
    let mut here = unready(&transaction)?;
    let first: i64 =
        transaction.query_row("SELECT next_seq FROM progress", [], |row| row.get(0))?;
    let (mut new_calls, mut aborted) = (Vec::new(), 0_u64);
    let marked = calls.finished.iter().map(|call| (call, 0));
    for (call, is_aborted) in marked.chain(calls.aborted.iter().map(|call| (call, 1))) {
        if here.insert(identity(call)) {
            new_calls.push(call);
            aborted = aborted.saturating_add(is_aborted);
        }
    }
    let mut encoded = Vec::with_capacity(512);
    let seq = writer::put_rows(&transaction, first, ADOPTED_LANE, &new_calls, &mut encoded)?;
    let new = seq.saturating_sub(first);
    transaction.execute(
        "UPDATE progress SET next_seq = ?1, spooled = spooled + ?2",
        params![seq, new],
    )?;
    transaction.execute(
        "UPDATE flights SET aborted = aborted + ?2 WHERE flight = ?1",
        params![flight, i64::try_from(aborted).unwrap_or(i64::MAX)],
    )?;
    writer::note(&transaction, &last_figures(flight, calls))?;
    transaction.commit()?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(u64::try_from(new).unwrap_or(0))
}

/// Notes that a flight file is gone.
pub(super) fn settle(db: &Connection, flight: &str, at: Timestamp) -> Result<(), SpoolError> {
    db.execute(
        "UPDATE flights SET settled_at = ?2 WHERE flight = ?1 AND settled_at IS NULL",
        params![flight, at.as_micros()],
    )?;
    Ok(())
}

/// What a flight file's counters say once and for all: slots that made no sense to the adopter are lost
/// as well.
fn last_figures(flight: &str, calls: &AdoptedCalls) -> FlightFigures {
    let mut standing = calls.standing;
    standing.torn = standing.torn.saturating_add(calls.torn);
    FlightFigures::of(flight, &standing)
}

pub(super) fn unready(transaction: &Transaction<'_>) -> Result<HashSet<Identity>, SpoolError> {
    let mut query = transaction.prepare_cached(
        "SELECT call_hi, call_lo, layer, rev FROM rows \
         WHERE seq > (SELECT ready_seq FROM progress)",
    )?;
    let rows = query.query_map([], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) fn identity(call: &CallRecord) -> Identity {
    (
        call.call_id.hi(),
        call.call_id.lo(),
        call.layer.code().into(),
        call.rev.into(),
    )
}
