//! Reads exchanges, one a line, and writes what the readers make of them: `inspect [CHUNK] < exchanges.jsonl`.
#![allow(clippy::print_stdout)]

use std::io::BufRead;

fn main() -> std::io::Result<()> {
    let chunk = std::env::args().nth(1).and_then(|size| size.parse().ok());
    for line in std::io::stdin().lock().lines() {
        match callmeter_wire::inspect_line(&line?, chunk) {
            Ok(read) => println!("{read}"),
            Err(error) => println!("{}", serde_json::json!({ "error": error.to_string() })),
        }
    }
    Ok(())
}
