//! `callmeter migrate`: makes and keeps the schema of a store on a server; says how it stands; prints its SQL.
//!
//! The embedded store makes and changes itself. Nothing but this command changes the schema of a database.

use std::process::ExitCode;
use std::sync::Arc;

use callmeter_core::SystemClock;
use callmeter_store::{PostgresSchema, SchemaStatus, StoreOptions};

use super::adopt;
use crate::args::MigrateCommand;
use crate::context::Context;
use crate::failure::Failure;
use crate::print;

/// With fewer months ahead than this, `doctor` warns.
pub(crate) const FEW_MONTHS: i64 = 3;

pub(crate) fn run(context: &Context, command: Option<&MigrateCommand>) -> anyhow::Result<ExitCode> {
    let Some(url) = context.url.postgres() else {
        return Err(Failure::new("an embedded store makes and changes itself")
            .in_place(context.url.to_string())
            .with_hint("`callmeter migrate` is for a store on PostgreSQL: --store postgres://…")
            .into());
    };
    if adopt::is_meant(context) {
        return adopt::run(context, url, command);
    }
    let mut schema = PostgresSchema::new(url, Arc::new(SystemClock))?;
    match command {
        None => migrate(context, &mut schema),
        Some(MigrateCommand::Status) => status(context, &schema.status()?),
        Some(MigrateCommand::Print { .. }) => {
            print::out(&schema.print(&options(context)?))?;
            Ok(ExitCode::SUCCESS)
        }
        Some(MigrateCommand::Adopt(_)) => Err(Failure::new("what is adopted is a table ai_calls")
            .in_place("store.layout")
            .with_hint("set store.layout = \"ai_calls\", or CALLMETER_STORE__LAYOUT=ai_calls for this command")
            .into()),
    }
}

pub(crate) fn options(context: &Context) -> anyhow::Result<StoreOptions> {
    context
        .settings
        .store_options()
        .map_err(|error| Failure::of_sink(&error).into())
}

fn migrate(context: &Context, schema: &mut PostgresSchema) -> anyhow::Result<ExitCode> {
    let done = schema.migrate(&options(context)?)?;
    let partitions = &done.partitions;
    if context.json {
        let object = serde_json::json!({
            "v": 1,
            "store": context.url.to_string(),
            "made": done.is_made,
            "upgraded_from": done.upgraded_from,
            "partitions_made": partitions.made,
            "partitions_dropped": partitions.dropped,
            "rows_moved": partitions.moved,
        });
        print::out(&format!("{object}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = format!("store     {}\n", context.url);
    text.push_str(&match (done.is_made, done.upgraded_from) {
        (true, _) => "schema    made\n".to_owned(),
        (false, Some(format)) => format!("schema    brought up from format {format}\n"),
        (false, None) => "schema    as it should be\n".to_owned(),
    });
    text.push_str(&format!(
        "months    {} made, {} dropped, {} rows moved into theirs\n",
        partitions.made.len(),
        partitions.dropped.len(),
        print::count(partitions.moved)
    ));
    print::out(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn status(context: &Context, status: &SchemaStatus) -> anyhow::Result<ExitCode> {
    let code = if status.format.is_some() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };
    if context.json {
        let object = serde_json::json!({
            "v": 1,
            "store": context.url.to_string(),
            "server": status.server,
            "format": status.format,
            "known_format": status.known,
            "accounting_zone": status.accounting_zone,
            "months_ahead": status.months_ahead,
            "oldest_month": status.oldest_month,
            "rows_in_default": status.rows_in_default,
        });
        print::out(&format!("{object}\n"))?;
        return Ok(code);
    }
    let mut text = format!(
        "store     {}\nserver    PostgreSQL {}\n",
        context.url, status.server
    );
    match status.format {
        None => text.push_str("schema    none\nnext      callmeter migrate\n"),
        Some(format) => {
            text.push_str(&format!(
                "schema    format {format}, this callmeter knows {}\nzone      {}\nmonths    from {}, {} ahead, {} rows in none\n",
                status.known,
                status.accounting_zone.as_deref().unwrap_or("–"),
                status.oldest_month.as_deref().unwrap_or("–"),
                status.months_ahead,
                print::count(status.rows_in_default),
            ));
            if status.months_ahead < FEW_MONTHS
                || status.rows_in_default > 0
                || format < status.known
            {
                text.push_str("next      callmeter migrate\n");
            }
        }
    }
    print::out(&text)?;
    Ok(code)
}
