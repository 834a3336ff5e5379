//! `callmeter version`: what this build is and which formats it knows.

use std::process::ExitCode;

use crate::args::GlobalArgs;
use crate::print;

/// The licences of the price lists that the built-in book was made of.
pub(crate) fn licences() -> anyhow::Result<ExitCode> {
    print::out(
        "callmeter is under MIT or Apache-2.0, as you choose. Its built-in prices are a merge of the price lists below.\n\n",
    )?;
    print::out(callmeter_price::LICENCES)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn run(global: &GlobalArgs) -> anyhow::Result<ExitCode> {
    let book = callmeter_price::Book::market();
    let versions = [
        ("callmeter", env!("CARGO_PKG_VERSION").to_owned()),
        ("record_format", callmeter_core::RECORD_FORMAT.to_string()),
        ("spool_format", callmeter::SPOOL_FORMAT.to_string()),
        ("store_format", callmeter_store::SQLITE_FORMAT.to_string()),
        ("market_book", book.version().to_owned()),
    ];
    let text = if global.json {
        let mut object = serde_json::Map::from_iter([("v".to_owned(), 1.into())]);
        object.extend(
            versions
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.into())),
        );
        format!("{}\n", serde_json::Value::Object(object))
    } else {
        versions
            .iter()
            .map(|(name, value)| format!("{:<14} {value}\n", name.replace('_', " ")))
            .collect()
    };
    print::out(&text)?;
    Ok(ExitCode::SUCCESS)
}
