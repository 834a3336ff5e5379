//! `callmeter migrate` where the store is a table `ai_calls`: the side table, its SQL, and the adoption.
//!
//! Nothing of the table is changed but by `migrate adopt --apply`, and that only says what it would do until it is told to.

use std::process::ExitCode;
use std::sync::Arc;

use callmeter_core::SystemClock;
use callmeter_store::{
    Adopted, Adoption, AdoptionPlan, AdoptionProgress, AdoptionStatus, LegacyTable, PostgresUrl,
    StoreError, StoreLayout,
};

use super::migrate::options;
use crate::args::{AdoptArgs, MigrateCommand};
use crate::context::Context;
use crate::print;

/// A role's name where nobody named one.
const SOME_ROLE: &str = "your_application";
/// Batches between two lines of progress.
const TELL_EVERY: u64 = 25;

/// Whether the settings say that the store is such a table.
pub(crate) fn is_meant(context: &Context) -> bool {
    context.settings.store.layout == StoreLayout::AiCalls
}

pub(crate) fn run(
    context: &Context,
    url: &PostgresUrl,
    command: Option<&MigrateCommand>,
) -> anyhow::Result<ExitCode> {
    let time_column = context.settings.store.legacy_time_column.clone();
    let mut table = LegacyTable::new(url, time_column)?;
    match command {
        None => make(context, &mut table),
        Some(MigrateCommand::Status) => status(context, &adoption(context, url)?.status()?),
        Some(MigrateCommand::Print { role }) => {
            let role = role.as_deref().unwrap_or(SOME_ROLE);
            let mut text = String::from(
                "-- What a sink needs beside the table, and the rights of its role.\n",
            );
            for statement in table.statements(Some(role))? {
                text.push_str(&format!("{statement};\n"));
            }
            print::out(&text)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(MigrateCommand::Adopt(args)) => adopt(context, url, args),
    }
}

fn adoption(context: &Context, url: &PostgresUrl) -> anyhow::Result<Adoption> {
    let time_column = context.settings.store.legacy_time_column.clone();
    Ok(Adoption::new(
        url,
        options(context)?,
        time_column,
        Arc::new(SystemClock),
    )?)
}

fn make(context: &Context, table: &mut LegacyTable) -> anyhow::Result<ExitCode> {
    let is_made = table.make_side_table()?;
    if context.json {
        let object = serde_json::json!({
            "v": 1,
            "store": context.url.to_string(),
            "layout": "ai_calls",
            "made": is_made,
        });
        print::out(&format!("{object}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    print::out(&format!(
        "store     {}\ntable     ai_calls can be written as it is\nids       {}\nnext      record calls; or `callmeter migrate adopt`\n",
        context.url,
        if is_made {
            "side table made"
        } else {
            "as they should be"
        }
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// How an adoption stands, in words.
pub(crate) fn shown(status: &AdoptionStatus) -> String {
    let rows = |n: u64| {
        format!(
            "{} {}",
            print::count(n),
            if n == 1 { "row" } else { "rows" }
        )
    };
    match (status.is_begun, status.is_finished) {
        (false, _) => format!("not begun, {} in {}", rows(status.waiting), status.table),
        (true, false) => format!(
            "{} of {} taken over ({} %)",
            print::count(status.adopted),
            rows(status.adopted.saturating_add(status.waiting)),
            percent(status.adopted, status.waiting)
        ),
        (true, true) if status.waiting == 0 => {
            format!("done, {} taken over", rows(status.adopted))
        }
        (true, true) => format!(
            "done, {} taken over, {} came since",
            rows(status.adopted),
            rows(status.waiting)
        ),
    }
}

/// How much of all is done, never 100 before all is.
fn percent(done: u64, left: u64) -> u64 {
    let all = done.saturating_add(left).max(1);
    done.saturating_mul(100).checked_div(all).unwrap_or(0)
}

fn status(context: &Context, status: &AdoptionStatus) -> anyhow::Result<ExitCode> {
    if context.json {
        let object = serde_json::json!({
            "v": 1,
            "store": context.url.to_string(),
            "layout": "ai_calls",
            "table": status.table,
            "adoption": if status.is_finished { "done" } else if status.is_begun { "begun" } else { "none" },
            "adopted": status.adopted,
            "waiting": status.waiting,
        });
        print::out(&format!("{object}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let next = if status.is_begun && (!status.is_finished || status.waiting > 0) {
        "next      callmeter migrate adopt --apply\n"
    } else {
        ""
    };
    print::out(&format!(
        "store     {}\ntable     {}\nadoption  {}\n{next}",
        context.url,
        status.table,
        shown(status)
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn adopt(context: &Context, url: &PostgresUrl, args: &AdoptArgs) -> anyhow::Result<ExitCode> {
    let mut adoption = adoption(context, url)?;
    adoption.set_batch_rows(args.batch_rows);
    let plan = adoption.plan()?;
    if !args.apply {
        print_plan(context, &plan)?;
        return Ok(ExitCode::SUCCESS);
    }
    for warning in &plan.warnings {
        tracing::warn!(target: "callmeter", "{warning}");
    }
    let done = adoption.run(|progress| tell(&plan, &progress))?;
    let status = adoption.status()?;
    print_done(context, &done, &status)?;
    Ok(if done.skipped.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn tell(plan: &AdoptionPlan, progress: &AdoptionProgress) {
    match progress {
        AdoptionProgress::Batch(done) if done.batches % TELL_EVERY == 0 => {
            let left = plan.waiting.saturating_sub(done.rows);
            tracing::info!(
                target: "callmeter",
                "{} rows taken over, about {} left ({} %)",
                print::count(done.rows),
                print::count(left),
                percent(done.rows, left)
            );
        }
        AdoptionProgress::Step(what) => tracing::info!(target: "callmeter", "{what}: done"),
        AdoptionProgress::Waiting(why) => {
            tracing::info!(target: "callmeter", "{why}: tried again in a moment");
        }
        _ => {}
    }
}

fn print_plan(context: &Context, plan: &AdoptionPlan) -> anyhow::Result<()> {
    if context.json {
        let steps: Vec<_> = plan
            .steps
            .iter()
            .map(|step| serde_json::json!({ "what": step.what, "sql": step.sql, "done": step.is_done }))
            .collect();
        let object = serde_json::json!({
            "v": 1,
            "store": context.url.to_string(),
            "table": plan.table,
            "rows": plan.rows,
            "waiting": plan.waiting,
            "known": plan.known,
            "batches": plan.batches,
            "batch_rows": plan.batch_rows,
            "cost_usd": plan.cost_usd,
            "steps": steps,
            "warnings": plan.warnings,
        });
        print::out(&format!("{object}\n"))?;
        return Ok(());
    }
    let mut text = format!(
        "store     {}\ntable     {}, {} rows, ${}\nto do     {} rows in about {} batches of {}; {} of them are callmeter's own\n",
        context.url,
        plan.table,
        print::count(plan.rows),
        plan.cost_usd,
        print::count(plan.waiting),
        print::count(plan.batches),
        print::count(plan.batch_rows as u64),
        print::count(plan.known),
    );
    for (at, step) in plan.steps.iter().enumerate() {
        let done = if step.is_done { " (done)" } else { "" };
        text.push_str(&format!("{:>8}  {}{done}\n", at + 1, step.what));
        if let Some(sql) = step.sql.as_ref().filter(|_| !step.is_done) {
            text.push_str(&format!("          {sql}\n"));
        }
    }
    for warning in &plan.warnings {
        text.push_str(&format!("note      {warning}\n"));
    }
    text.push_str("nothing was changed\nnext      callmeter migrate adopt --apply\n");
    print::out(&text)?;
    Ok(())
}

fn print_done(context: &Context, done: &Adopted, status: &AdoptionStatus) -> anyhow::Result<()> {
    if context.json {
        let skipped: Vec<_> = done
            .skipped
            .iter()
            .map(|(row, why)| serde_json::json!({ "row": row, "why": why }))
            .collect();
        let object = serde_json::json!({
            "v": 1,
            "store": context.url.to_string(),
            "table": status.table,
            "rows": done.rows,
            "batches": done.batches,
            "refused": done.refused,
            "skipped": skipped,
            "adopted": status.adopted,
            "waiting": status.waiting,
        });
        print::out(&format!("{object}\n"))?;
        return Ok(());
    }
    let mut text = format!(
        "store     {}\ntable     {}\nthis run  {} rows in {} batches\nadoption  {}\n",
        context.url,
        status.table,
        print::count(done.rows),
        print::count(done.batches),
        shown(status)
    );
    if done.refused > 0 {
        text.push_str(&format!(
            "refused   {} rows lie more than a day ahead of the clock: callmeter.rejected keeps their calls\n",
            print::count(done.refused)
        ));
    }
    for (row, why) in &done.skipped {
        text.push_str(&format!("left      row {row}: {why}\n"));
    }
    print::out(&text)?;
    Ok(())
}

/// How the adoption of the table stands, for `callmeter status`; nothing where there is no such table.
pub(crate) fn standing(context: &Context) -> Option<AdoptionStatus> {
    let url = context.url.postgres().filter(|_| is_meant(context))?;
    adoption(context, url).ok()?.status().ok()
}

/// Whether a sink could write the table now; what somebody should know of it.
pub(crate) fn check(context: &Context) -> Option<Result<Vec<String>, StoreError>> {
    let url = context.url.postgres().filter(|_| is_meant(context))?;
    let time_column = context.settings.store.legacy_time_column.clone();
    Some(LegacyTable::new(url, time_column).and_then(|mut table| table.check()))
}
