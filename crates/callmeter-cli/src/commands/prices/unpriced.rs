//! `prices unpriced`: what is in the store without a price, the most calls first, with names that may have been meant
//! . Nothing is priced by a suggestion.

use std::collections::BTreeMap;
use std::process::ExitCode;

use callmeter_price::ProviderKinds;
use callmeter_store::{Dimension, Filter, Period, ReportQuery, StoreError, StoreReader};
use serde_json::json;

use super::looked;
use crate::args::FilterArgs;
use crate::commands::status;
use crate::context::{Context, filter_of};
use crate::print;

/// Input and output tokens by provider and model.
type Tokens = BTreeMap<(String, String), (u64, u64)>;

/// Input and output tokens of every name, by provider and model: of all its calls, so that the largest bill shows.
fn tokens_of(store: &mut StoreReader, filter: &Filter) -> Result<Tokens, StoreError> {
    let rows = store.report(&ReportQuery {
        filter: filter.clone(),
        period: Period::Whole,
        by: vec![Dimension::Provider, Dimension::Model],
        zone: None,
    })?;
    let mut tokens = Tokens::new();
    for row in rows {
        if let [Some(provider), Some(model)] = row.key.as_slice() {
            let sums = (row.totals.input_tokens, row.totals.output_tokens);
            tokens.insert((provider.clone(), model.clone()), sums);
        }
    }
    Ok(tokens)
}

pub(super) fn run(context: &Context, filter: &FilterArgs) -> anyhow::Result<ExitCode> {
    let Some(mut store) = context.store()? else {
        return status::nothing_yet(context);
    };
    let filter = filter_of(filter, store.zone(), context.now)?;
    let all = store.unpriced(&filter)?;
    let tokens = tokens_of(&mut store, &filter)?;
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
        let key = (unpriced.provider.clone(), unpriced.model.clone());
        let (input, output) = tokens.get(&key).copied().unwrap_or_default();
        lines.push_str(&format!(
            "{}\n",
            json!({
                "v": 1, "provider": unpriced.provider, "model": unpriced.model, "reason": unpriced.reason,
                "calls": unpriced.calls, "input_tokens": input, "output_tokens": output, "near": near,
            })
        ));
        rows.push(vec![
            unpriced.provider.clone(),
            unpriced.model.clone(),
            unpriced.reason.clone(),
            near.first().cloned().unwrap_or_default(),
            print::count(unpriced.calls),
            print::short_count(input),
            print::short_count(output),
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
    let head = [
        "provider", "model", "reason", "perhaps", "calls", "in", "out",
    ];
    print::out(&format!(
        "{}\n{}\n{} without a price; a suggestion is never used: put the name, or its price, into a book of your own,\n\
         `callmeter prices use BOOK`, then `callmeter reprice`\n",
        looked.head(),
        print::table(&head, 4, rows),
        print::calls(calls),
    ))?;
    Ok(ExitCode::SUCCESS)
}
