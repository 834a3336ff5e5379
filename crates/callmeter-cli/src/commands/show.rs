//! `callmeter show ID`: everything about one call.

use std::process::ExitCode;

use callmeter_core::CallId;
use callmeter_store::{CallsQuery, Filter, StoredCall};

use crate::context::Context;
use crate::failure::Failure;
use crate::print;

pub(crate) fn run(context: &Context, id: &str) -> anyhow::Result<ExitCode> {
    let mut store = context.existing_store()?;
    let found = match id.parse::<CallId>() {
        Ok(id) => store.find(id)?.into_iter().collect(),
        Err(_) => match (moment_of(id), millisecond_of(id)) {
            (Some(hi), _) => store.find_by_moment(hi)?,
            (None, Some(millisecond)) => store.calls(&millisecond)?,
            (None, None) => Vec::new(),
        },
    };
    let found = if found.is_empty() {
        store.find_by_foreign_id(id)?
    } else {
        found
    };
    if found.is_empty() {
        let (shown, _) = callmeter_core::clean_text(id, 60);
        return Err(Failure::new(format!("no call has the id '{shown}'"))
            .in_place(context.url.to_string())
            .with_hint("give a call id, request id, response id or trace id; see `callmeter calls`")
            .into());
    }
    for call in &found {
        print::out(&if context.json {
            call.to_json() + "\n"
        } else {
            shown(call)?
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The calls of the millisecond that the beginning of an id tells, as `callmeter calls` prints it on a
/// narrow terminal.
fn millisecond_of(id: &str) -> Option<CallsQuery> {
    let first: CallId = format!("{id}-7000-8000-000000000000").parse().ok()?;
    let since = first.started_at();
    Some(CallsQuery {
        filter: Filter {
            since: Some(since),
            until: Some(since.saturating_add_micros(1_000)),
            ..Filter::default()
        },
        before: None,
        limit: 100,
    })
}

/// The time half of an id of which only that half is given, as `callmeter calls` prints it.
fn moment_of(id: &str) -> Option<i64> {
    let whole = format!("{id}-8000-000000000000");
    whole.parse().ok().map(CallId::hi)
}

/// The fields that are known, a line each, in the order of the record.
fn shown(call: &StoredCall) -> anyhow::Result<String> {
    let json = call.to_json();
    let value: serde_json::Value = serde_json::from_str(&json)?;
    let mut lines = String::new();
    // The map of the JSON reader is sorted; the text has the record's order.
    for name in names_in_order(&json) {
        match value.get(&name) {
            None | Some(serde_json::Value::Null) => {}
            Some(serde_json::Value::Array(items)) if items.is_empty() => {}
            Some(serde_json::Value::String(text)) => {
                lines.push_str(&format!("{name:<22} {text}\n"))
            }
            Some(other) => lines.push_str(&format!("{name:<22} {other}\n")),
        }
    }
    Ok(lines + "\n")
}

/// The keys of an object's text at its first level.
fn names_in_order(json: &str) -> Vec<String> {
    let (mut names, mut depth, mut in_string, mut is_escaped) = (Vec::new(), 0_u32, false, false);
    let mut text = String::new();
    let mut last = String::new();
    for c in json.chars() {
        if in_string {
            match c {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = true,
                '"' => {
                    in_string = false;
                    last = std::mem::take(&mut text);
                }
                _ => text.push(c),
            }
            continue;
        }
        match c {
            '"' => in_string = true,
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            ':' if depth == 1 => names.push(std::mem::take(&mut last)),
            _ => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_an_object_come_in_its_order() {
        let names = names_in_order(r#"{"b":1,"a":{"x":":"},"c":["d","e\"f:"],"g":null}"#);
        assert_eq!(names, ["b", "a", "c", "g"]);
    }
}
