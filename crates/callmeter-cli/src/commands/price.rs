//! `callmeter price --jsonl`: prices calls from standard input, a line each, in order.

use std::process::ExitCode;

use callmeter_price::filter::price_line;

use crate::args::PriceArgs;
use crate::filter;

/// The longest line that is read, in bytes.
const MAX_LINE: u64 = 1 << 20;

pub(crate) fn run(args: &PriceArgs) -> anyhow::Result<ExitCode> {
    let book = filter::book_of(&args.book)?;
    filter::run(MAX_LINE, |line| price_line(&book, line))
}
