//! The audit's tables: the line of a reprice, its sums, and the runs of old revisions.

use callmeter_core::{CallId, Timestamp};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::StoreError;
use crate::postgres::connect::{Param, Tx, bools, int8, int8s, text, texts};
use crate::postgres::schema::get;
use crate::question::Filter;
use crate::reprice::{Reprice, RepriceError, SUMS, Tally};

/// The columns of `reprices`, in the order that [`read_line`] expects.
pub(super) const LINE: &str = "rev, undoes, is_all, since, until, caller, provider, model, status, project, team, \
     closed_until, asked_by, began_at, ended_at, at_hi, at_lo, looked_at, changed";

/// A run of calls with one old revision: where it begins.
pub(super) type Run = (CallId, u32);

pub(super) fn last_run(tx: &mut Tx<'_>, rev: u32) -> Result<Option<u32>, StoreError> {
    let row = tx.query_opt(
        &format!(
            "SELECT old_rev FROM callmeter.reprice_runs WHERE rev = {rev} ORDER BY hi DESC, lo DESC LIMIT 1"
        ),
        &[],
    )?;
    row.map(|row| Ok(number(get(&row, 0)?))).transpose()
}

pub(super) fn keep_runs(tx: &mut Tx<'_>, rev: u32, runs: &[Run]) -> Result<(), StoreError> {
    if runs.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&Run) -> i64| -> Vec<i64> { runs.iter().map(of).collect() };
    let his = column(|(id, _)| id.hi());
    let los = column(|(id, _)| id.lo());
    let revs = column(|(_, rev)| i64::from(*rev));
    tx.execute(
        &format!(
            "INSERT INTO callmeter.reprice_runs (rev, hi, lo, old_rev)
             SELECT {rev}, hi, lo, old_rev FROM unnest($1, $2, $3) AS new (hi, lo, old_rev)"
        ),
        &[int8s(&his), int8s(&los), int8s(&revs)],
    )?;
    Ok(())
}

/// Adds a slice's sums to the audit.
pub(super) fn keep(tx: &mut Tx<'_>, rev: u32, tally: &Tally) -> Result<(), StoreError> {
    if tally.groups.is_empty() {
        return Ok(());
    }
    let (mut days, mut plans, mut revs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut providers, mut models) = (Vec::new(), Vec::new());
    let mut sums = [const { Vec::new() }; SUMS];
    for ((day, is_plan, provider, model, old_rev), group) in &tally.groups {
        days.push(*day);
        plans.push(*is_plan);
        providers.push(provider.replace('\0', "\u{fffd}"));
        models.push(model.replace('\0', "\u{fffd}"));
        revs.push(i64::from(*old_rev));
        for (column, sum) in sums.iter_mut().zip(group.columns()?) {
            column.push(sum);
        }
    }
    let mut params: Vec<Param<'_>> = vec![
        int8s(&days),
        bools(&plans),
        texts(&providers),
        texts(&models),
        int8s(&revs),
    ];
    params.extend(sums.iter().map(int8s));
    const COLUMNS: &str = "n, changed, old_microusd, old_picousd, new_microusd, new_picousd, old_unpriced, new_unpriced";
    let marks: Vec<String> = (1..=params.len()).map(|at| format!("${at}")).collect();
    let added: Vec<String> = COLUMNS
        .split(", ")
        .map(|name| format!("{name} = old.{name} + excluded.{name}"))
        .collect();
    tx.execute(
        &format!(
            "INSERT INTO callmeter.reprice_sums AS old (rev, day, is_plan, provider, model, old_rev, {COLUMNS})
             SELECT {rev}, new.* FROM unnest({}) AS new
             ON CONFLICT (rev, day, is_plan, provider, model, old_rev) DO UPDATE SET {}",
            marks.join(", "),
            added.join(", ")
        ),
        &params,
    )?;
    Ok(())
}

pub(super) fn check_none_is_open(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let open = tx.query_opt(
        "SELECT rev FROM callmeter.reprices WHERE ended_at IS NULL",
        &[],
    )?;
    match open {
        Some(row) => {
            let rev = number(get(&row, 0)?);
            Err(RepriceError::Unfinished { rev }.into())
        }
        None => Ok(()),
    }
}

pub(super) fn line(tx: &mut Tx<'_>, rev: u32, how: &str) -> Result<Option<Reprice>, StoreError> {
    let sql = format!("SELECT {LINE} FROM callmeter.reprices WHERE rev = {rev} {how}");
    let row = tx.query_opt(&sql, &[])?;
    row.as_ref().map(read_line).transpose()
}

pub(super) fn number(rev: i64) -> u32 {
    u32::try_from(rev).unwrap_or(u32::MAX)
}

pub(super) fn read_line(row: &Row) -> Result<Reprice, StoreError> {
    let moment = |at: usize| -> Result<Option<Timestamp>, StoreError> {
        Ok(get::<Option<i64>>(row, at)?.map(Timestamp::from_micros))
    };
    Ok(Reprice {
        rev: number(get(row, 0)?),
        undoes: get::<Option<i64>>(row, 1)?.map(number),
        is_all: get(row, 2)?,
        filter: Filter {
            since: moment(3)?,
            until: moment(4)?,
            caller: get(row, 5)?,
            provider: get(row, 6)?,
            model: get(row, 7)?,
            status: get(row, 8)?,
            project: get(row, 9)?,
            team: get(row, 10)?,
            cost_source: None,
        },
        closed_until: get(row, 11)?,
        asked_by: get(row, 12)?,
        began_at: Timestamp::from_micros(get(row, 13)?),
        ended_at: moment(14)?,
        at: (get(row, 15)?, get(row, 16)?),
        looked_at: get::<i64>(row, 17)?.cast_unsigned(),
        changed: get::<i64>(row, 18)?.cast_unsigned(),
    })
}

pub(super) fn insert_line(tx: &mut Tx<'_>, reprice: &Reprice) -> Result<(), StoreError> {
    let filter = &reprice.filter;
    let undoes = reprice.undoes.map(i64::from);
    let rev = i64::from(reprice.rev);
    let since = filter.since.map(Timestamp::as_micros);
    let until = filter.until.map(Timestamp::as_micros);
    let began_at = reprice.began_at.as_micros();
    let word = |word: &Option<String>| word.as_deref().map(|word| word.replace('\0', "\u{fffd}"));
    let words = [
        word(&filter.caller),
        word(&filter.provider),
        word(&filter.model),
        word(&filter.status),
        word(&filter.project),
        word(&filter.team),
    ];
    let mut params: Vec<Param<'_>> = vec![
        int8(&rev),
        int8(&undoes),
        (&reprice.is_all, Type::BOOL),
        int8(&since),
        int8(&until),
    ];
    params.extend(words.iter().map(text));
    params.extend([
        int8(&reprice.closed_until),
        text(&reprice.asked_by),
        int8(&began_at),
        int8(&reprice.at.0),
        int8(&reprice.at.1),
    ]);
    tx.execute(
        &format!(
            "INSERT INTO callmeter.reprices ({LINE}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, \
             $14, NULL, $15, $16, 0, 0)"
        ),
        &params,
    )?;
    Ok(())
}
