//! The attribute `#[callmeter::logged]` on every kind of function, with every kind of value.
//!
//! A binary of its own, because the attribute records through the recorder of the process.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
#[path = "it/host.rs"]
mod host;

use std::fmt::Display;
use std::future::Future;
use std::sync::LazyLock;

use callmeter::settings::Settings;
use callmeter::{Callmeter, ErrorClass, ErrorKind, ErrorReport, ReportsUsage, Usage};
use callmeter_core::{CallRecord, Status};
use callmeter_testkit::sink::MemorySink;

use crate::host::{Later, PATIENCE, block_on, opener, panic_with, panics, poll_once};

struct Process {
    callmeter: Callmeter,
    sink: MemorySink,
    _home: tempfile::TempDir,
}

static PROCESS: LazyLock<Process> = LazyLock::new(|| {
    let (home, sink) = (tempfile::tempdir().unwrap(), MemorySink::default());
    let callmeter = callmeter::builder()
        .settings(Settings::default())
        .home(home.path())
        .sink("memory", opener(&sink))
        .init()
        .unwrap();
    Process {
        callmeter,
        sink,
        _home: home,
    }
});

/// Every row of a caller, the oldest first.
fn rows_of(caller: &str) -> Vec<CallRecord> {
    assert!(PROCESS.callmeter.flush(PATIENCE).is_complete());
    let mut rows = PROCESS.sink.calls();
    rows.retain(|row| row.caller.as_deref() == Some(caller));
    rows
}

/// The only row of a caller.
fn row_of(caller: &str) -> CallRecord {
    let mut rows = rows_of(caller);
    assert_eq!(rows.len(), 1, "{caller}: {rows:?}");
    rows.remove(0)
}

fn start() {
    LazyLock::force(&PROCESS);
}

fn tokens(row: &CallRecord) -> (Option<u64>, Option<u64>) {
    (row.usage.input_tokens, row.usage.output_tokens)
}

/// An answer that knows its usage.
#[derive(Debug, PartialEq)]
struct Reply(u32);

impl ReportsUsage for Reply {
    fn usage(&self) -> Usage {
        Usage::of(self.0, self.0 * 2)
    }
}

/// An answer that knows nothing of usage.
#[derive(Debug, PartialEq)]
struct Plain(u32);

/// An error that knows its class.
#[derive(Debug, PartialEq)]
struct TooMany;

impl ErrorClass for TooMany {
    fn error_report(&self) -> ErrorReport {
        ErrorReport::of_http_status(429).code("rate_limit_exceeded")
    }
}

/// An error that knows nothing of itself.
#[derive(Debug, PartialEq)]
struct Opaque;

#[callmeter::logged(caller = "a plain fn", provider = "ollama", model = "llama3.1:8b")]
fn plain(n: u32) -> u32 {
    n + 1
}

#[test]
fn a_function_that_returns_no_result() {
    start();
    assert_eq!(plain(41), 42);
    let row = row_of("a plain fn");
    assert_eq!(
        (row.provider.as_deref(), row.model_requested.as_deref()),
        (Some("ollama"), Some("llama3.1:8b"))
    );
    assert_eq!((row.status, row.error_kind), (Some(Status::Ok), None));
}

#[callmeter::logged(caller = "a unit fn", provider = "ollama", model = "m")]
fn unit(seen: &mut Vec<u32>) {
    seen.push(1);
}

#[test]
fn a_function_that_returns_nothing() {
    start();
    let mut seen = Vec::new();
    unit(&mut seen);
    assert_eq!(seen, [1]);
    assert_eq!(row_of("a unit fn").status, Some(Status::Ok));
}

#[callmeter::logged(caller = "an async fn", provider = "ollama", model = "m")]
async fn later(n: u32) -> Reply {
    Later::default().await;
    Reply(n)
}

#[test]
fn an_async_function_is_measured_and_counted_to_its_end() {
    start();
    let mut call = Box::pin(later(7));
    // Nothing is called before the first poll.
    assert!(rows_of("an async fn").is_empty());
    assert!(poll_once(&mut call).is_pending());
    assert!(rows_of("an async fn").is_empty());
    assert_eq!(block_on(call), Reply(7));
    assert_eq!(tokens(&row_of("an async fn")), (Some(7), Some(14)));
}

#[callmeter::logged(caller = "a dropped async fn", provider = "ollama", model = "m")]
async fn never() -> Reply {
    std::future::pending().await
}

#[test]
fn an_async_function_that_is_given_up_is_cancelled() {
    start();
    let mut call = Box::pin(never());
    assert!(poll_once(&mut call).is_pending());
    drop(call);
    assert_eq!(row_of("a dropped async fn").status, Some(Status::Cancelled));
}

/// The four kinds of `Result`, told apart by what its types can say.
mod results {
    use super::*;

    macro_rules! result_of {
        ($name:ident, $value:ty, $error:ty, $caller:literal) => {
            #[callmeter::logged(caller = $caller, provider = "openai", model = "m")]
            pub(super) fn $name(answer: Result<$value, $error>) -> Result<$value, $error> {
                answer
            }
        };
    }
    result_of!(both, Reply, TooMany, "usage and class");
    result_of!(usage, Reply, Opaque, "usage alone");
    result_of!(class, Plain, TooMany, "class alone");
    result_of!(neither, Plain, Opaque, "neither");
}

#[test]
fn a_result_tells_what_its_types_can_say() {
    start();
    assert_eq!(results::both(Ok(Reply(3))), Ok(Reply(3)));
    assert_eq!(results::both(Err(TooMany)), Err(TooMany));
    assert_eq!(results::usage(Ok(Reply(3))), Ok(Reply(3)));
    assert_eq!(results::usage(Err(Opaque)), Err(Opaque));
    assert_eq!(results::class(Ok(Plain(3))), Ok(Plain(3)));
    assert_eq!(results::class(Err(TooMany)), Err(TooMany));
    assert_eq!(results::neither(Ok(Plain(3))), Ok(Plain(3)));
    assert_eq!(results::neither(Err(Opaque)), Err(Opaque));
    for (caller, has_usage, has_class) in [
        ("usage and class", true, true),
        ("usage alone", true, false),
        ("class alone", false, true),
        ("neither", false, false),
    ] {
        let rows = rows_of(caller);
        let [good, bad] = rows.as_slice() else {
            panic!("{caller}: {rows:?}")
        };
        // Ids of one microsecond come in any order.
        let (good, bad) = if good.status == Some(Status::Ok) {
            (good, bad)
        } else {
            (bad, good)
        };
        assert_eq!(tokens(good).0, has_usage.then_some(3), "{caller}");
        let expected = if has_class {
            (Some(ErrorKind::RateLimit), Some(429))
        } else {
            (Some(ErrorKind::Other), None)
        };
        assert_eq!((bad.error_kind, bad.http_status), expected, "{caller}");
        let name = if has_class { "TooMany" } else { "Opaque" };
        assert_eq!(bad.error.as_deref(), Some(name), "{caller}");
    }
}

#[callmeter::logged(caller = "an option", provider = "openai", model = "m")]
fn maybe(reply: Option<Reply>) -> Option<Reply> {
    reply
}

#[test]
fn an_option_of_an_answer_has_its_usage() {
    start();
    assert_eq!(maybe(Some(Reply(5))), Some(Reply(5)));
    assert_eq!(tokens(&row_of("an option")), (Some(5), Some(10)));
}

#[callmeter::logged(caller = "a question mark", provider = "openai", model = "m")]
fn parsed(text: &str) -> Result<u32, Box<dyn std::error::Error>> {
    let n: u32 = text.parse()?;
    Ok(n)
}

#[callmeter::logged(caller = "an async question mark", provider = "openai", model = "m")]
async fn parsed_later(text: &str) -> Result<u32, std::num::ParseIntError> {
    Later::default().await;
    let n: u32 = text.parse()?;
    Ok(n)
}

#[callmeter::logged(caller = "a return", provider = "openai", model = "m")]
fn returned(n: u32) -> Result<u32, Opaque> {
    if n > 10 {
        return Err(Opaque);
    }
    Ok(n)
}

#[test]
fn an_early_return_ends_the_function_and_not_the_row() {
    start();
    assert!(parsed("x").is_err());
    assert!(block_on(parsed_later("x")).is_err());
    assert_eq!(returned(11), Err(Opaque));
    for (caller, error) in [
        ("a question mark", "Box<dyn Error>"),
        ("an async question mark", "ParseIntError"),
        ("a return", "Opaque"),
    ] {
        let row = row_of(caller);
        assert_eq!(row.error.as_deref(), Some(error), "{caller}");
        assert_eq!(row.error_kind, Some(ErrorKind::Other), "{caller}");
    }
}

/// A client with methods of every kind of receiver.
struct Client {
    model: String,
    asked: u32,
}

impl Client {
    #[callmeter::logged(caller = "a method", provider = "openai", model = &self.model)]
    fn ask(&self, n: u32) -> Reply {
        Reply(n + self.asked)
    }

    #[callmeter::logged(caller = "a mutable method", provider = "openai", model = self.model.clone())]
    fn ask_again(&mut self) -> Result<Reply, Opaque> {
        self.asked += 1;
        Ok(Reply(self.asked))
    }

    #[callmeter::logged(caller = "an async method", provider = "openai", model = &self.model)]
    async fn ask_later(&self, prompt: &str) -> Result<Reply, TooMany> {
        Later::default().await;
        Ok(Reply(prompt.len() as u32 + self.asked))
    }

    #[callmeter::logged(caller = "a last method", provider = "openai", model = &self.model)]
    fn last(self) -> String {
        self.model
    }
}

trait Asks {
    fn ask_by_trait(&self) -> u32;
}

impl Asks for Client {
    #[callmeter::logged(caller = "a trait's method", provider = "openai", model = &self.model)]
    fn ask_by_trait(&self) -> u32 {
        self.asked
    }
}

#[test]
fn methods_may_use_their_receiver_for_the_model() {
    start();
    let mut client = Client {
        model: "gpt-5-mini".to_owned(),
        asked: 1,
    };
    assert_eq!(client.ask(2), Reply(3));
    assert_eq!(client.ask_again(), Ok(Reply(2)));
    assert_eq!(block_on(client.ask_later("four")), Ok(Reply(6)));
    assert_eq!(client.ask_by_trait(), 2);
    assert_eq!(client.last(), "gpt-5-mini");
    for caller in [
        "a method",
        "a mutable method",
        "an async method",
        "a trait's method",
        "a last method",
    ] {
        assert_eq!(
            row_of(caller).model_requested.as_deref(),
            Some("gpt-5-mini")
        );
    }
    assert_eq!(tokens(&row_of("an async method")).0, Some(6));
}

#[callmeter::logged(
    caller = format!("generic {name}"),
    provider = if local { "ollama" } else { "openai" },
    model = name.to_string(),
)]
fn generic<'a, T, const N: usize>(name: &'a T, values: [u32; N], local: bool) -> (&'a T, u32)
where
    T: Display + ?Sized,
{
    (name, values.iter().sum())
}

#[callmeter::logged(caller = "a generic value", provider = "openai", model = "m")]
async fn anything<F: Future>(work: F) -> Result<F::Output, Opaque> {
    Ok(work.await)
}

#[callmeter::logged(caller = "a generic answer", provider = "openai", model = "m")]
async fn answer<F: Future<Output: ReportsUsage>>(work: F) -> Result<F::Output, Opaque> {
    Ok(work.await)
}

#[test]
fn generics_lifetimes_and_any_expression() {
    start();
    assert_eq!(generic("hermes3", [1, 2, 3], true), ("hermes3", 6));
    let row = row_of("generic hermes3");
    assert_eq!(
        (row.provider.as_deref(), row.model_requested.as_deref()),
        (Some("ollama"), Some("hermes3"))
    );
    // A generic function knows of its types only what its bounds say.
    assert_eq!(block_on(anything(async { Reply(2) })), Ok(Reply(2)));
    assert_eq!(tokens(&row_of("a generic value")), (None, None));
    assert_eq!(block_on(answer(async { Reply(2) })), Ok(Reply(2)));
    assert_eq!(tokens(&row_of("a generic answer")), (Some(2), Some(4)));
}

#[callmeter::logged(caller = "an impl trait", provider = "openai", model = "m")]
fn numbers(n: u32) -> impl Iterator<Item = u32> {
    0..n
}

#[test]
fn a_value_of_an_unnamed_type_goes_through() {
    start();
    assert_eq!(numbers(3).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(row_of("an impl trait").status, Some(Status::Ok));
}

#[callmeter::logged(caller = "a recursion", provider = "openai", model = "m")]
fn factorial(n: u64) -> u64 {
    if n < 2 { 1 } else { n * factorial(n - 1) }
}

#[test]
fn every_call_of_a_recursion_is_a_row() {
    start();
    assert_eq!(factorial(5), 120);
    assert_eq!(rows_of("a recursion").len(), 5);
}

#[callmeter::logged(caller = "a panic", provider = "openai", model = "m")]
fn panicking(n: u32) -> u32 {
    if n > 0 { panic_with("a payload") } else { 0 }
}

#[test]
fn a_panic_is_the_host_s_and_its_row_says_so() {
    start();
    panics(|| {
        panicking(1);
    });
    assert_eq!(row_of("a panic").error_kind, Some(ErrorKind::Panic));
}

/// The attribute keeps what stands around a function.
#[must_use]
#[inline(never)]
#[callmeter::logged(caller = "attributes", provider = "openai", model = "m")]
pub(crate) fn with_attributes() -> u32 {
    7
}

#[test]
fn a_row_names_the_place_of_the_function() {
    start();
    assert_eq!(with_attributes(), 7);
    let site = row_of("attributes").call_site.unwrap();
    assert!(site.starts_with("tests/logged.rs:"), "{site}");
}
