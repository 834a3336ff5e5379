//! `callmeter calls`: the newest calls, a line each.

use std::process::ExitCode;

use callmeter_core::{Billing, CostSource, PicoUsd, UsdTotal};
use callmeter_store::{CallsQuery, StoredCall};

use crate::args::CallsArgs;
use crate::commands::status;
use crate::context::{Context, filter_of};
use crate::print;

/// The part of an id that tells its moment to a quarter of a microsecond; `show` takes it for the whole.
const SHORT_ID: usize = 18;
/// The part that tells its millisecond, for a narrow terminal; `show` takes it as well.
const SHORTER_ID: usize = 13;
/// From this width on a terminal has room for the longer part.
const WIDE: usize = 120;
/// How many calls are read at a time.
const PAGE: usize = 500;

pub(crate) fn run(context: &Context, args: &CallsArgs) -> anyhow::Result<ExitCode> {
    let Some(mut store) = context.store()? else {
        return status::nothing_yet(context);
    };
    let mut filter = filter_of(&args.filter, store.zone(), context.now)?;
    filter.cost_source = args.reported.then_some(CostSource::Provider);
    let mut query = CallsQuery {
        filter,
        before: None,
        limit: 0,
    };
    let mut left = args.limit;
    let mut rows = Vec::new();
    while left > 0 {
        query.limit = left.min(PAGE);
        let page = store.calls(&query)?;
        left -= page.len();
        for call in &page {
            if context.json {
                print::out(&(call.to_json() + "\n"))?;
            } else {
                rows.push(if args.reported {
                    reported_row_of(call)
                } else {
                    row_of(call)
                });
            }
        }
        query.before = page.last().map(|call| call.record.call_id);
        if page.len() < query.limit {
            break;
        }
    }
    if context.json {
        return Ok(ExitCode::SUCCESS);
    }
    if rows.is_empty() {
        print::out("no calls match\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.reported {
        let head = [
            "started (UTC)",
            "caller",
            "provider",
            "model",
            "stated",
            "by the book",
            "difference",
            "id",
        ];
        print::out(&print::table(&head, 4, rows))?;
        return Ok(ExitCode::SUCCESS);
    }
    let head = [
        "started (UTC)",
        "caller",
        "model",
        "status",
        "in",
        "out",
        "time",
        "cost",
        "id",
    ];
    print::out(&print::table(&head, 4, rows))?;
    Ok(ExitCode::SUCCESS)
}

fn row_of(call: &StoredCall) -> Vec<String> {
    let record = &call.record;
    let tokens = |count: Option<u64>| count.map_or_else(|| "–".to_owned(), print::short_count);
    let started = record.started_at().to_string();
    let mut cost = amount(call.cost.cost, "unpriced");
    if record.billing == Some(Billing::Plan) && call.cost.cost.is_some() {
        cost.push_str(" plan");
    }
    let mut status = record.status_or_ok().as_str().to_owned();
    if let Some(kind) = record.error_kind {
        status = format!("{status} ({kind})");
    }
    if record.cache_hit == Some(true) {
        status.push_str(" cached");
    }
    vec![
        started.get(5..19).unwrap_or(&started).replace('T', " "),
        print::cut(record.caller_or_unknown(), 20),
        print::cut(record.model_or_requested(), 24),
        status,
        tokens(record.usage.input_tokens),
        tokens(record.usage.output_tokens),
        record
            .duration_us
            .map_or_else(|| "–".to_owned(), print::duration_us),
        cost,
        short_id(call),
    ]
}

/// What the provider stated, beside what the book says.
fn reported_row_of(call: &StoredCall) -> Vec<String> {
    let record = &call.record;
    let started = record.started_at().to_string();
    let (stated, computed) = (call.cost.cost, call.cost.computed_cost);
    let difference = stated.zip(computed).map(|(stated, computed)| {
        UsdTotal::from_pico(i128::from(stated.as_pico()) - i128::from(computed.as_pico()))
    });
    vec![
        started.get(5..19).unwrap_or(&started).replace('T', " "),
        print::cut(record.caller_or_unknown(), 20),
        print::cut(record.provider_or_unknown(), 16),
        print::cut(record.model_or_requested(), 24),
        amount(stated, "–"),
        amount(computed, "–"),
        difference.map_or_else(|| "–".to_owned(), print::difference),
        short_id(call),
    ]
}

fn amount(cost: Option<PicoUsd>, none: &str) -> String {
    cost.map_or_else(
        || none.to_owned(),
        |cost| UsdTotal::from_pico(i128::from(cost.as_pico())).to_short(),
    )
}

fn short_id(call: &StoredCall) -> String {
    let id = call.record.call_id.to_string();
    let is_narrow = print::terminal_width().is_some_and(|width| width < WIDE);
    let length = if is_narrow { SHORTER_ID } else { SHORT_ID };
    id.get(..length).unwrap_or(&id).to_owned()
}
