//! The page of what the sources disagree about.

use std::fmt::Write;

use serde_json::Value;

use super::text_of;

const HEAD: &str = "\
# Prices that the sources disagree about

Written by `cargo xtask prices`; do not edit. The built-in book is a merge of eight public price lists of autumn 2026; `G` is genai-prices, `L` litellm, `M`
model-prices, `D` models.dev, `T` metergraph-core, `F` langfuse, `P` Portkey, `S` llm-prices, `O` the provider's own page. Amounts are USD per million tokens,
input / output / cached read.

";

/// The whole page.
pub(crate) fn disputed(records: &[Value]) -> String {
    let mut page = HEAD.to_owned();
    page.push_str(
        "## Left out\n\nNo majority: these names are known and have no price (`unknown_model`; `callmeter prices check` says \
         why). If you use one, look at the provider's page and put the price into a book of your own.\n\n\
         | provider | model | one source | others |\n| --- | --- | --- | --- |\n",
    );
    for record in records.iter().filter(|record| is_out(record)) {
        row(&mut page, record);
    }
    page.push_str(
        "\n## Left out for a time\n\nThe model has prices for other times; then, `no_price_at_time`.\n\n\
         | provider | model | from | until | what they say |\n| --- | --- | --- | --- | --- |\n",
    );
    for record in records {
        for period in periods(record) {
            if let Some(why) = period.get("disputed").and_then(Value::as_str) {
                let bound = |key| match text_of(period, key) {
                    "" => "–",
                    text => text.get(..10).unwrap_or(text),
                };
                let _ = writeln!(
                    page,
                    "| {} | `{}` | {} | {} | {} |",
                    text_of(record, "provider"),
                    text_of(record, "model"),
                    bound("from"),
                    bound("until"),
                    why.replace('|', "/")
                );
            }
        }
    }
    page.push_str(
        "\n## Taken by a majority\n\nThe book has what most of the newest lists say; others said this when they were read, mostly \
         because they are older.\n\n| provider | model | in the book | others |\n| --- | --- | --- | --- |\n",
    );
    for record in records {
        if record.get("differ").is_some() && !is_out(record) {
            row(&mut page, record);
        }
    }
    page
}

fn periods(record: &Value) -> impl Iterator<Item = &Value> {
    let periods = record.get("periods").and_then(Value::as_array);
    periods.into_iter().flatten()
}

/// Whether the whole record is left out.
fn is_out(record: &Value) -> bool {
    record.get("disputed").is_some()
        && !periods(record).any(|period| period.get("disputed").is_some())
}

fn row(page: &mut String, record: &Value) {
    let last = periods(record).last().unwrap_or(&Value::Null);
    let others: Vec<String> = record
        .get("differ")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(source, prices)| format!("{source} {}", amounts(prices)))
        .collect();
    let _ = writeln!(
        page,
        "| {} | `{}` | {} {} | {} |",
        text_of(record, "provider"),
        text_of(record, "model"),
        text_of(last, "agree"),
        amounts(last.get("prices").unwrap_or(&Value::Null)),
        others.join("; ")
    );
}

fn amounts(prices: &Value) -> String {
    let amount = |name: &str| match text_of(prices, name) {
        "" => "–".to_owned(),
        text => text.to_owned(),
    };
    format!(
        "{} / {} / {}",
        amount("input"),
        amount("output"),
        amount("cache_read")
    )
}
