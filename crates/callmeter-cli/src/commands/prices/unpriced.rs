//! `prices unpriced`: what is in the store without a price, the most calls first, with names that may have been meant
//! . Nothing is priced by a suggestion.

use std::process::ExitCode;

use callmeter_price::ProviderKinds;
use serde_json::json;

use super::looked;
use crate::args::FilterArgs;
use crate::commands::status;
use crate::context::{Context, filter_of};
use crate::print;

pub(super) fn run(context: &Context, filter: &FilterArgs) -> anyhow::Result<ExitCode> {
    let Some(mut store) = context.store()? else {
        return status::nothing_yet(context);
    };
    let filter = filter_of(filter, store.zone(), context.now)?;
    let all = store.unpriced(&filter)?;
    let looked = looked(context, None)?;
    let kinds = ProviderKinds::new(context.settings.providers.clone());
    let mut rows = Vec::with_capacity(all.len());
    let mut lines = String::new();
    let mut calls = 0_u64;
    for unpriced in &all {
        let near = match unpriced.reason.as_str() {
            "unknown_model" | "unknown_provider" => looked
                .book
                .near(kinds.resolve(&unpriced.provider), &unpriced.model),
            _ => Vec::new(),
        };
        let near: Vec<String> = near
            .iter()
            .map(|near| format!("{}/{}", near.provider, near.model))
            .collect();
        calls = calls.saturating_add(unpriced.calls);
        lines.push_str(&format!(
            "{}\n",
            json!({
                "v": 1, "provider": unpriced.provider, "model": unpriced.model, "reason": unpriced.reason,
                "calls": unpriced.calls, "near": near,
            })
        ));
        rows.push(vec![
            unpriced.provider.clone(),
            unpriced.model.clone(),
            unpriced.reason.clone(),
            near.first().cloned().unwrap_or_default(),
            print::count(unpriced.calls),
        ]);
    }
    if context.json {
        print::out(&lines)?;
        return Ok(ExitCode::SUCCESS);
    }
    if rows.is_empty() {
        print::out("every call has a price\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let head = ["provider", "model", "reason", "perhaps", "calls"];
    print::out(&format!(
        "{}\n{}\n{} without a price; a suggestion is never used: put the name, or its price, into a book of your own,\n\
         `callmeter prices use BOOK`, then `callmeter reprice`\n",
        looked.head(),
        print::table(&head, 4, rows),
        print::calls(calls),
    ))?;
    Ok(ExitCode::SUCCESS)
}
