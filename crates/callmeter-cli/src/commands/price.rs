//! `callmeter price --jsonl`: prices calls from standard input, a line each, in order.
//!
//! A line that cannot be read gives a line `{"error": …}` and the exit code 1 at the end.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::sync::Arc;

use callmeter_price::{Book, filter};

use crate::args::PriceArgs;
use crate::failure::Failure;

/// The longest line that is read, in bytes.
const MAX_LINE: usize = 1 << 20;

pub(crate) fn run(args: &PriceArgs) -> anyhow::Result<ExitCode> {
    let book = book_of(&args.book)?;
    let mut input = io::stdin().lock();
    let mut output = io::BufWriter::new(io::stdout().lock());
    let mut code = ExitCode::SUCCESS;
    let mut line = Vec::new();
    loop {
        line.clear();
        // One byte more than may be, so that a longer line shows.
        let read = io::Read::take(&mut input, MAX_LINE as u64 + 1).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        let answer = if line.len() > MAX_LINE && line.last() != Some(&b'\n') {
            skip_line(&mut input)?;
            Err(refused(&format!(
                "the line is longer than {MAX_LINE} bytes"
            )))
        } else {
            match std::str::from_utf8(&line) {
                Ok(text) if text.trim().is_empty() => continue,
                Ok(text) => filter::price_line(&book, text.trim()),
                Err(_) => Err(refused("the line is not UTF-8")),
            }
        };
        match answer {
            Ok(priced) => writeln!(output, "{priced}")?,
            Err(error) => {
                code = ExitCode::FAILURE;
                writeln!(output, "{error}")?;
            }
        }
    }
    output.flush()?;
    Ok(code)
}

fn refused(why: &str) -> String {
    serde_json::json!({ "error": why }).to_string()
}

fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let (length, is_end) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(length);
        if is_end {
            return Ok(());
        }
    }
}

fn book_of(name: &str) -> Result<Arc<Book>, Failure> {
    match name {
        "market" => Ok(Book::market()),
        "legacy" => Ok(Book::legacy()),
        path => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Failure::new(format!("cannot read the price book: {error}"))
                    .in_place(path)
                    .with_hint("give market, legacy, or the file of a book")
            })?;
            let book = Book::parse(&text)
                .map_err(|error| Failure::new(error.to_string()).in_place(path))?;
            Ok(Arc::new(book))
        }
    }
}
