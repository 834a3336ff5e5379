//! `prices check`: whether a name has a price, by which step, and what may have been meant; whether a book can be used.

use std::path::Path;
use std::process::ExitCode;

use callmeter_core::{CallId, CallRecord, Layer, Usage};
use callmeter_price::import::{ImportOptions, read};
use callmeter_price::{Book, Explanation, ProviderKinds};
use serde_json::json;

use super::{Looked, looked};
use crate::context::Context;
use crate::failure::Failure;
use crate::{filter, print};

pub(super) fn run(
    context: &Context,
    names: &[String],
    book: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let kinds = ProviderKinds::new(context.settings.providers.clone());
    let mut looked_at: Option<Looked> = None;
    let mut is_good = true;
    for name in names {
        if Path::new(name).is_file() {
            check_book(context, name)?;
            continue;
        }
        let (provider, model) = name.split_once('/').ok_or_else(|| {
            Failure::new(format!("'{name}' is neither a file nor PROVIDER/MODEL"))
                .with_hint("such as openai/gpt-5-mini")
        })?;
        let looked = match &mut looked_at {
            Some(looked) => looked,
            none => none.insert(looked(context, book)?),
        };
        let mut call = CallRecord::new(CallId::new(context.now, 0), Layer::Import, 0);
        call.provider = Some(provider.to_owned());
        call.model = Some(model.to_owned());
        call.usage = Usage::of(0_u64, 0_u64);
        let why = looked.book.explain(&call, &kinds);
        let has_price = why.priced.cost.unpriced_reason.is_none();
        is_good &= has_price;
        if context.json {
            print::out(&format!("{}\n", object(name, &why)))?;
        } else {
            print::out(&told(name, &why))?;
        }
    }
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn check_book(context: &Context, path: &str) -> anyhow::Result<()> {
    let book = filter::book_of(path)?;
    let count = book.entries().count();
    let layers = book.layer_names();
    let doubts = doubts(context, path);
    if context.json {
        let object = json!({
            "v": 1, "file": path, "name": book.name(), "version": book.version(),
            "content_id": book.content_id(), "layers": layers, "models": count,
            "doubts": doubts,
        });
        print::out(&format!("{object}\n"))?;
        return Ok(());
    }
    let count = print::plural(u64::try_from(count).unwrap_or(u64::MAX), "price");
    let mut text = format!(
        "{path}\n  can be used: {} {}, {count} in all\n",
        book.name(),
        book.version()
    );
    for layer in layers {
        text.push_str(&format!("  layer   {layer}\n"));
    }
    for doubt in doubts {
        text.push_str(&format!("  doubt   {doubt}\n"));
    }
    print::out(&text)?;
    Ok(())
}

/// Prices of a book that are far from the built-in ones: they may be meant, and are taken all the same.
fn doubts(context: &Context, path: &str) -> Vec<String> {
    let imported = std::fs::read_to_string(path)
        .ok()
        .and_then(|text| read(&text).ok());
    let Some(imported) = imported else {
        return Vec::new();
    };
    let comparison = imported.compare(&Book::market(), &ImportOptions::from(context.now));
    let changes = comparison.changes.iter();
    changes
        .flat_map(|change| {
            let name = format!("{}/{}", change.provider, change.model);
            let warnings = change.warnings.iter();
            warnings.map(move |warning| format!("{name}: {warning}"))
        })
        .collect()
}

/// What was found, in lines.
fn told(name: &str, why: &Explanation) -> String {
    let mut text = format!("{name}\n");
    let mut line = |key: &str, value: &str| text.push_str(&format!("  {key:<8}{value}\n"));
    let cost = &why.priced.cost;
    match (&cost.price_id, cost.price_match, why.priced.reason()) {
        (Some(id), Some(how), None) => {
            line("price", &format!("{id}, by {}", meaning(how.as_str())))
        }
        (_, _, reason) => line("none", &reason.unwrap_or_default()),
    }
    if let Some(layer) = &why.layer {
        line("layer", layer);
    }
    if let Some(source) = &why.source {
        line("source", source);
    }
    if let Some((from, until)) = &why.period {
        let bound = |bound: &Option<String>| bound.clone().unwrap_or_else(|| "…".to_owned());
        line("holds", &format!("{} to {}", bound(from), bound(until)));
    }
    if why.is_disputed {
        line(
            "why",
            "the public price lists disagree about it: docs/reference/prices-disputed.md",
        );
    }
    for near in &why.near {
        line("perhaps", &format!("{}/{}", near.provider, near.model));
    }
    text
}

/// A step of the match, in words.
fn meaning(how: &str) -> &str {
    match how {
        "exact" => "its own name",
        "alias" => "a listed name",
        "normalised" => "its name without prefix and case",
        "snapshot" => "its name without the date",
        "rule" => "a rule of the provider",
        other => other,
    }
}

fn object(name: &str, why: &Explanation) -> serde_json::Value {
    let cost = &why.priced.cost;
    let near: Vec<String> = why
        .near
        .iter()
        .map(|near| format!("{}/{}", near.provider, near.model))
        .collect();
    json!({
        "v": 1,
        "name": name,
        "provider": why.provider,
        "model": why.model,
        "price_id": cost.price_id.as_deref(),
        "match": cost.price_match.map(|how| how.as_str()),
        "reason": why.priced.reason(),
        "layer": why.layer,
        "source": why.source,
        "disputed": why.is_disputed,
        "near": near,
    })
}
