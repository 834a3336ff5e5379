//! The README's first example: two calls, two rows, and the command that shows them.
//!
//! `cargo run -p callmeter --example quickstart`; a test holds this text and the README's together.
#![allow(clippy::print_stdout)]

use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A service writes `callmeter::init()?`: settings come from callmeter.toml and CALLMETER_*,
    // rows go to the user's home. This example keeps its rows apart.
    let home = std::env::temp_dir().join(format!("callmeter-quickstart-{}", std::process::id()));
    let callmeter = callmeter::builder().home(&home).init()?;

    // A guard around a call: whatever way the function is left, by `?` or by a panic, is one row.
    let mut call = callmeter::call("sales_copy", "openai", "gpt-5-mini");
    let (prompt_tokens, completion_tokens) = (1_200, 340); // … ask the model here …
    call.tokens(prompt_tokens, completion_tokens);
    call.finish();

    // Or hand the work over: an `Err` is an error row, and the value comes back untouched.
    let reply = callmeter::call("hermes_analyst", "ollama", "hermes3:latest")
        .run_blocking(|| "forty-two".parse::<u32>());
    assert!(reply.is_err());

    // Dropping `callmeter` flushes as well; this waits until the store has answered for both rows.
    assert!(callmeter.flush(Duration::from_secs(30)).is_complete());
    println!("CALLMETER_HOME={} callmeter calls", home.display());
    Ok(())
}
