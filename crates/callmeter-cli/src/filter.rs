//! Filters: a line from standard input in, a line on standard output out, in the same order.
//!
//! Promises: a line that cannot be read gives `{"error": …}` in its place and the exit code 1 at the end,
//! and the lines after it are read all the same; a line longer than its filter allows is passed over
//! without being held. Blank lines give nothing.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::sync::Arc;

use callmeter_price::Book;

use crate::failure::Failure;

/// Answers every line of standard input; `answer` gives a line, or the line of an error.
pub(crate) fn run(
    max_line: u64,
    mut answer: impl FnMut(&str) -> Result<String, String>,
) -> anyhow::Result<ExitCode> {
    let mut input = io::BufReader::with_capacity(1 << 16, io::stdin().lock());
    let mut output = io::BufWriter::new(io::stdout().lock());
    let mut code = ExitCode::SUCCESS;
    let mut line = Vec::new();
    loop {
        line.clear();
        // One byte more than may be, so that a longer line shows.
        let limit = max_line.saturating_add(1);
        let read = io::Read::take(&mut input, limit).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        let answered = if line.len() as u64 > max_line && line.last() != Some(&b'\n') {
            skip_line(&mut input)?;
            Err(refused(&format!(
                "the line is longer than {max_line} bytes"
            )))
        } else {
            match std::str::from_utf8(&line) {
                Ok(text) if text.trim().is_empty() => continue,
                Ok(text) => answer(text.trim()),
                Err(_) => Err(refused("the line is not UTF-8")),
            }
        };
        let text = answered.unwrap_or_else(|error| {
            code = ExitCode::FAILURE;
            error
        });
        writeln!(output, "{text}")?;
        // Whoever feeds lines one by one waits for each answer.
        if input.buffer().is_empty() {
            output.flush()?;
        }
    }
    output.flush()?;
    Ok(code)
}

/// The line of an error.
pub(crate) fn refused(why: &str) -> String {
    serde_json::json!({ "error": why }).to_string()
}

/// The book that is meant by `market`, `legacy` or the path of a file.
///
/// # Errors
/// When the file cannot be read or is no book.
pub(crate) fn book_of(name: &str) -> Result<Arc<Book>, Failure> {
    match name {
        "market" => Ok(Book::market()),
        "legacy" => Ok(Book::legacy()),
        path => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Failure::new(format!("cannot read the price book: {error}"))
                    .in_place(path)
                    .with_hint("give market, legacy, or the file of a book")
            })?;
            let book = Book::parse(&text).map_err(|error| Failure::of_book(&error, path))?;
            Ok(Arc::new(book))
        }
    }
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
