//! The audit's tables: the line of a reprice, its sums, and the runs of old revisions.

use callmeter_core::{CallId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, Transaction};

use crate::StoreError;
use crate::question::Filter;
use crate::reprice::{Reprice, RepriceError, Tally};

/// The columns of `reprices`, in the order that [`read_line`] expects.
pub(super) const LINE: &str = "rev, undoes, is_all, since, until, caller, provider, model, status, project, team, \
     closed_until, asked_by, began_at, ended_at, at_hi, at_lo, looked_at, changed";

/// Runs of calls that had one old revision, as they are written.
pub(super) struct Runs {
    rev: u32,
    last: Option<u32>,
}

impl Runs {
    pub(super) fn after(tx: &Transaction<'_>, rev: u32) -> Result<Self, StoreError> {
        let last = tx
            .prepare_cached(
                "SELECT old_rev FROM reprice_runs WHERE rev = ?1 ORDER BY hi DESC, lo DESC LIMIT 1",
            )?
            .query_row([rev], |row| row.get(0))
            .optional()?;
        Ok(Self { rev, last })
    }

    pub(super) fn add(
        &mut self,
        tx: &Transaction<'_>,
        id: CallId,
        old_rev: u32,
    ) -> Result<(), StoreError> {
        if self.last == Some(old_rev) {
            return Ok(());
        }
        tx.prepare_cached(
            "INSERT INTO reprice_runs (rev, hi, lo, old_rev) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((self.rev, id.hi(), id.lo(), old_rev))?;
        self.last = Some(old_rev);
        Ok(())
    }
}

pub(super) fn check_none_is_open(tx: &Transaction<'_>) -> Result<(), StoreError> {
    let open: Option<u32> = tx
        .query_row(
            "SELECT rev FROM reprices WHERE ended_at IS NULL",
            [],
            |row| row.get(0),
        )
        .optional()?;
    match open {
        Some(rev) => Err(RepriceError::Unfinished { rev }.into()),
        None => Ok(()),
    }
}

pub(super) fn line(conn: &Connection, rev: u32) -> Result<Option<Reprice>, StoreError> {
    let sql = format!("SELECT {LINE} FROM reprices WHERE rev = ?1");
    Ok(conn
        .prepare_cached(&sql)?
        .query_row([rev], read_line)
        .optional()?)
}

pub(super) fn read_line(row: &Row<'_>) -> rusqlite::Result<Reprice> {
    let moment = |at: usize| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row.get::<_, Option<i64>>(at)?.map(Timestamp::from_micros))
    };
    Ok(Reprice {
        rev: row.get(0)?,
        undoes: row.get(1)?,
        is_all: row.get(2)?,
        filter: Filter {
            since: moment(3)?,
            until: moment(4)?,
            caller: row.get(5)?,
            provider: row.get(6)?,
            model: row.get(7)?,
            status: row.get(8)?,
            project: row.get(9)?,
            team: row.get(10)?,
            cost_source: None,
        },
        closed_until: row.get(11)?,
        asked_by: row.get(12)?,
        began_at: Timestamp::from_micros(row.get(13)?),
        ended_at: moment(14)?,
        at: (row.get(15)?, row.get(16)?),
        looked_at: row.get::<_, i64>(17)?.cast_unsigned(),
        changed: row.get::<_, i64>(18)?.cast_unsigned(),
    })
}

pub(super) fn insert_line(tx: &Transaction<'_>, reprice: &Reprice) -> Result<(), StoreError> {
    let filter = &reprice.filter;
    let sql = format!(
        "INSERT INTO reprices ({LINE}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, \
         NULL, ?15, ?16, 0, 0)"
    );
    tx.execute(
        &sql,
        rusqlite::params![
            reprice.rev,
            reprice.undoes,
            reprice.is_all,
            filter.since.map(Timestamp::as_micros),
            filter.until.map(Timestamp::as_micros),
            filter.caller,
            filter.provider,
            filter.model,
            filter.status,
            filter.project,
            filter.team,
            reprice.closed_until,
            reprice.asked_by,
            reprice.began_at.as_micros(),
            reprice.at.0,
            reprice.at.1,
        ],
    )?;
    Ok(())
}

/// Adds a slice's sums to the audit.
pub(super) fn keep(tx: &Transaction<'_>, rev: u32, tally: &Tally) -> Result<(), StoreError> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO reprice_sums (rev, day, is_plan, provider, model, old_rev, n, changed, old_microusd,
         old_picousd, new_microusd, new_picousd, old_unpriced, new_unpriced)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
         ON CONFLICT DO UPDATE SET n = n + excluded.n, changed = changed + excluded.changed,
         old_microusd = old_microusd + excluded.old_microusd, old_picousd = old_picousd + excluded.old_picousd,
         new_microusd = new_microusd + excluded.new_microusd, new_picousd = new_picousd + excluded.new_picousd,
         old_unpriced = old_unpriced + excluded.old_unpriced,
         new_unpriced = new_unpriced + excluded.new_unpriced",
    )?;
    for ((day, is_plan, provider, model, old_rev), sums) in &tally.groups {
        let [n, changed, a, b, c, d, e, f] = sums.columns()?;
        statement.execute(rusqlite::params![
            rev, day, is_plan, provider, model, old_rev, n, changed, a, b, c, d, e, f
        ])?;
    }
    Ok(())
}
