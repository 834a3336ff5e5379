//! `prices import`: the differences first; with `--yes`, the prices as a layer of the book.

use std::process::ExitCode;

use callmeter_price::import::{Change, Comparison, ImportOptions, Imported, read};
use serde_json::json;

use super::{looked, moment, own_shelf};
use crate::args::PricesImportArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::print;

/// Changes that look wrong were left out.
const LEFT_OUT: u8 = 3;
/// So many lines of the table are shown, and so many reasons of prices left out.
const SHOWN: usize = 200;
const REASONS: usize = 20;

pub(super) fn run(context: &Context, args: &PricesImportArgs) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(&args.file).map_err(|error| {
        Failure::new(format!("cannot read the prices: {error}")).in_place(args.file.as_str())
    })?;
    let imported = read(&text).map_err(|error| {
        Failure::new(error.to_string())
            .in_place(args.file.as_str())
            .with_hint("litellm's model_prices_and_context_window.json, genai-prices' data.json, models.dev's api.json, or a book of callmeter")
    })?;
    let looked = looked(context, args.book.as_deref())?;
    if looked.book.layer_names().is_empty() {
        return Err(Failure::new("the legacy book takes no prices")
            .with_hint("give --book market, or change the store's: callmeter prices use market")
            .into());
    }
    let mut options = ImportOptions::from(match &args.effective {
        Some(text) => moment(text, context.now)?,
        None => context.now,
    });
    options.corrects = args.correct;
    let comparison = imported.compare(&looked.book, &options);
    if context.json {
        print::out(&lines(&comparison))?;
    } else {
        print::out(&format!(
            "{}import    {} of {}\n{}",
            looked.head(),
            args.file,
            imported.format.as_str(),
            table(&imported, &comparison)
        ))?;
    }
    let left_out = if args.accept {
        0
    } else {
        comparison.suspicious()
    };
    let count = comparison.changes.len().saturating_sub(left_out);
    let taken = if comparison.is_empty() || !(args.yes || args.out.is_some()) || count == 0 {
        None
    } else {
        let day = context.now.to_string();
        let version = day.get(..10).unwrap_or(&day);
        let book = comparison.book(&looked.book, version, args.accept)?;
        Some(match &args.out {
            Some(path) => {
                std::fs::write(path, book.to_text()).map_err(|error| {
                    Failure::new(format!("cannot write the book: {error}")).in_place(path.as_str())
                })?;
                path.clone()
            }
            None => {
                let revision = own_shelf(context)?.append(&book)?;
                format!("revision {} of the store's book", revision.number)
            }
        })
    };
    let text = match (&taken, count) {
        (Some(place), _) => format!("taken     {} into {place}\n", changes(count)),
        (None, 0) => String::new(),
        (None, _) => format!(
            "nothing was taken: --yes takes {}, --out FILE writes a book with them\n",
            changes(count)
        ),
    };
    if !context.json {
        print::out(&text)?;
        if left_out > 0 {
            print::out(&format!(
                "{} that look wrong: --accept takes them too\n",
                changes(left_out)
            ))?;
        }
    }
    Ok(if taken.is_some() && left_out > 0 {
        ExitCode::from(LEFT_OUT)
    } else {
        ExitCode::SUCCESS
    })
}

fn changes(count: usize) -> String {
    print::plural(u64::try_from(count).unwrap_or(u64::MAX), "change")
}

fn table(imported: &Imported, comparison: &Comparison) -> String {
    let mut text = format!(
        "models    {} in the file: {} as in the book, {} change\n",
        imported.len(),
        comparison.unchanged,
        comparison.changes.len()
    );
    let rows: Vec<Vec<String>> = comparison.changes.iter().flat_map(rows_of).collect();
    let more = rows.len().saturating_sub(SHOWN);
    if !rows.is_empty() {
        let head = ["provider", "model", "rate", "book", "file", ""];
        let rows = rows.into_iter().take(SHOWN).collect();
        text.push_str(&format!("\n{}", print::table(&head, 6, rows)));
    }
    if more > 0 {
        text.push_str(&format!(
            "… and {more} more lines; --json prints them all\n"
        ));
    }
    text.push('\n');
    for (name, why) in imported.skipped.iter().take(REASONS) {
        text.push_str(&format!("left out  {name}: {why}\n"));
    }
    if let Some(more) = imported
        .skipped
        .len()
        .checked_sub(REASONS)
        .filter(|more| *more > 0)
    {
        text.push_str(&format!("left out  … and {more} more\n"));
    }
    text
}

fn rows_of(change: &Change) -> Vec<Vec<String>> {
    let warning = |name: &str| {
        let warns = change
            .warnings
            .iter()
            .any(|warning| warning.starts_with(&format!("{name} from")));
        if warns { "looks wrong" } else { "" }
    };
    // A model that is new is one line: what it costs in and out.
    let is_shown = |name: &str| !change.is_new || matches!(name, "input" | "output");
    let rates = change.rates.iter().filter(|rate| is_shown(&rate.name));
    rates
        .map(|rate| {
            vec![
                change.provider.clone(),
                change.model.clone(),
                rate.name.clone(),
                rate.old.clone().unwrap_or_else(|| "–".to_owned()),
                rate.new.clone(),
                warning(&rate.name).to_owned(),
            ]
        })
        .collect()
}

fn lines(comparison: &Comparison) -> String {
    let changes = comparison.changes.iter().map(|change| {
        let rates: Vec<serde_json::Value> = change
            .rates
            .iter()
            .map(|rate| json!({ "rate": rate.name, "old": rate.old, "new": rate.new }))
            .collect();
        let object = json!({
            "v": 1, "provider": change.provider, "model": change.model, "new": change.is_new,
            "rates": rates, "warnings": change.warnings,
        });
        format!("{object}\n")
    });
    changes.collect()
}
