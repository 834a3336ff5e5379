//! `cargo xtask prices`: makes the built-in price book from the merged price lists.
//!
//! The work is done by `crates/callmeter-price/examples/market_book`, which reads prices as the importers do and reads
//! the book back before it writes it; this crate depends on none of ours. The same input gives the same bytes.

use anyhow::Result;

use crate::shell;

/// Writes the market book and the page of what its sources disagree about; with `--print`, the book's text to
/// standard output.
pub(crate) fn build(args: &[&str]) -> Result<bool> {
    let mut cargo = shell::cargo();
    cargo.args([
        "run",
        "--quiet",
        "--locked",
        "--package",
        "callmeter-price",
        "--example",
        "market_book",
        "--",
    ]);
    cargo.args(args);
    Ok(cargo.status()?.success())
}
