//! `callmeter` and `callmeter status`: where calls go, how they stand, and one next step.

use std::process::ExitCode;

use callmeter::Switch;
use callmeter_core::Conservation;
use callmeter_store::{Filter, StoreError, StoreFacts, Totals};

use crate::commands::switch;
use crate::context::Context;
use crate::print;

pub(crate) fn run(context: &Context) -> anyhow::Result<ExitCode> {
    let standing = context.home.standing()?;
    // A server that is away hides nothing of what waits for it here.
    let (looked, away) = match look(context) {
        Ok(looked) => (looked, None),
        Err(error @ (StoreError::Server(_) | StoreError::NoSchema { .. })) => (None, Some(error)),
        Err(error) => return Err(error.into()),
    };
    let (facts, today) = looked.unzip();
    let today = today.unwrap_or_default();
    let calls = &standing.conservation;
    let off = match context.home.switch(context.now) {
        Ok(Switch::On) => None,
        Ok(off) => Some(format!("recording is {}", switch::in_words(off))),
        Err(error) => Some(format!("cannot be read: {error}")),
    };
    if context.json {
        let newest = facts.as_ref().and_then(|facts| facts.newest);
        #[cfg_attr(not(feature = "postgres"), allow(unused_mut))]
        let mut object = serde_json::json!({
            "v": 1,
            "home": context.home.path().display().to_string(),
            "store": context.url.to_string(),
            "store_exists": facts.is_some(),
            "store_error": away.as_ref().map(ToString::to_string),
            "calls": facts.as_ref().map_or(0, |facts| facts.calls),
            "newest": newest.map(|at| at.to_string()),
            "today": { "calls": today.calls, "cost_usd": today.cost.to_string(), "unpriced": today.unpriced },
            "recording": off.is_none(),
            "complete": complete_json(calls),
            "unreadable_spools": standing.unreadable.len(),
        });
        #[cfg(feature = "postgres")]
        if let Some(adoption) = super::adopt::standing(context) {
            object["adoption"] = serde_json::json!({
                "table": adoption.table,
                "begun": adoption.is_begun,
                "finished": adoption.is_finished,
                "adopted": adoption.adopted,
                "waiting": adoption.waiting,
            });
        }
        print::out(&format!("{object}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = format!(
        "{} {}\n",
        print::bold("callmeter", context.color),
        env!("CARGO_PKG_VERSION")
    );
    let mut line = |name: &str, value: String| text.push_str(&format!("{name:<9} {value}\n"));
    match &facts {
        None if away.is_some() => {
            let why = away.as_ref().map(ToString::to_string).unwrap_or_default();
            line("store", context.url.to_string());
            line("", why);
        }
        None => line("store", format!("{} (not made yet)", context.url)),
        Some(facts) => {
            line(
                "store",
                format!("{} ({})", context.url, print::size(facts.size_bytes)),
            );
            line(
                "prices",
                format!(
                    "{} {}, revision {}",
                    facts.book.name, facts.book.version, facts.book.number
                ),
            );
            line("calls", print::count(facts.calls));
            let plan = if today.plan_value.as_pico() == 0 {
                String::new()
            } else {
                format!(", {} of plan usage", today.plan_value.to_short())
            };
            line(
                "today",
                format!(
                    "{}, {}{plan} ({} day), {} unpriced",
                    print::calls(today.calls),
                    today.cost.to_short(),
                    facts.accounting_zone,
                    print::count(today.unpriced)
                ),
            );
            if let Some(newest) = facts.newest {
                let ago = print::ago(context.now.micros_since(newest));
                line("newest", format!("{newest}, {ago}"));
            }
        }
    }
    #[cfg(feature = "postgres")]
    if let Some(adoption) = super::adopt::standing(context) {
        line("adoption", super::adopt::shown(&adoption));
    }
    line("home", context.home.path().display().to_string());
    if let Some(off) = off {
        line("switch", off);
    }
    line(
        "pending",
        format!(
            "{} in {}, {} rejected, {} dropped",
            print::calls(calls.spooled + calls.buffered),
            print::plural(standing.spools, "spool"),
            print::count(calls.rejected),
            print::count(calls.dropped_total())
        ),
    );
    let hint = away.as_ref().map(|error| error.hint().unwrap_or_default());
    let next = if let Some(hint) = hint {
        hint.to_owned()
    } else if !standing.unreadable.is_empty() || calls.dropped_total() + calls.rejected > 0 {
        "callmeter doctor".to_owned()
    } else if facts.as_ref().is_none_or(|facts| facts.calls == 0) {
        FIRST_ROW.to_owned()
    } else if today.unpriced > 0 {
        "callmeter report: what is unpriced stands at its end".to_owned()
    } else {
        "callmeter report daily --since 7d".to_owned()
    };
    line("next", next);
    print::out(&text)?;
    Ok(ExitCode::SUCCESS)
}

const FIRST_ROW: &str = "`callmeter run -- COMMAND`, `callmeter demo`, or in your code a guard: callmeter::call(\"caller\", \"provider\", \"model\")";

/// Says how the first row comes, where a table would be empty.
pub(crate) fn nothing_yet(context: &Context) -> anyhow::Result<ExitCode> {
    if context.json {
        return Ok(ExitCode::SUCCESS);
    }
    print::out(&format!(
        "no calls yet: {} is made with the first one\nnext: {FIRST_ROW}\n",
        context.url
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// What the store says of itself, and of today; nothing when there is none yet.
fn look(context: &Context) -> Result<Option<(StoreFacts, Totals)>, StoreError> {
    let Some(mut store) = context.store()? else {
        return Ok(None);
    };
    let zone = store.zone();
    let since = Some(zone.day_start(zone.day_of(context.now)));
    let today = store.totals(&Filter {
        since,
        ..Filter::default()
    })?;
    Ok(Some((store.facts()?, today)))
}

/// The equation of promise CM-3 in JSON.
pub(crate) fn complete_json(calls: &Conservation) -> serde_json::Value {
    serde_json::json!({
        "made": calls.finished,
        "stored": calls.acknowledged,
        "pending": calls.spooled + calls.buffered,
        "rejected": calls.rejected,
        "dropped": calls.dropped_total(),
        "holds": calls.holds(),
    })
}

/// The equation of promise CM-3 in words.
pub(crate) fn complete_line(calls: &Conservation) -> String {
    format!(
        "complete: {} made = {} stored + {} pending + {} rejected + {} dropped{}",
        print::count(calls.finished),
        print::count(calls.acknowledged),
        print::count(calls.spooled + calls.buffered),
        print::count(calls.rejected),
        print::count(calls.dropped_total()),
        if calls.holds() {
            ""
        } else {
            "  (read while calls were moving)"
        }
    )
}
