//! `callmeter inspect --jsonl`: reads recorded exchanges from standard input, a line each, in order.
//!
//! What a line holds and what is answered stands in `callmeter_wire::inspect`; here its price is added. A
//! call is priced at the moment that the response's `date` header names, else as of now, by the figures
//! that were read and no others.

use std::process::ExitCode;

use callmeter_core::{CallId, CallRecord, Clock, Layer, SystemClock, Timestamp};
use callmeter_price::{Book, ProviderKinds};
use callmeter_wire::{Inspection, inspect};
use serde_json::Value;

use crate::args::InspectArgs;
use crate::filter;

/// The longest line that is read, in bytes.
const MAX_LINE: u64 = 1 << 30;

pub(crate) fn run(args: &InspectArgs) -> anyhow::Result<ExitCode> {
    let book = filter::book_of(&args.book)?;
    let chunk = args.chunk.map(std::num::NonZeroUsize::get);
    let now = SystemClock.now();
    filter::run(MAX_LINE, |line| {
        let inspection =
            inspect(line, chunk).map_err(|error| filter::refused(&error.to_string()))?;
        Ok(answer(&book, &inspection, now))
    })
}

fn answer(book: &Book, inspection: &Inspection, now: Timestamp) -> String {
    let mut out = inspection.to_json();
    let at = inspection.answered_at.unwrap_or(now);
    let mut record = CallRecord::new(CallId::new(at, 0), Layer::Import, 0);
    inspection.facts.fill(&mut record);
    inspection.reading.fill(&mut record);
    // What makes no row costs nothing that anybody could ask for.
    let cost = inspection
        .reading
        .is_call
        .then(|| book.price(&record, &ProviderKinds::default()));
    let mut put = |name: &str, value: Option<String>| {
        out.insert(name.to_owned(), value.map_or(Value::Null, Value::String));
    };
    let priced = cost.as_ref();
    put(
        "cost_usd",
        priced
            .and_then(|priced| priced.cost.cost)
            .map(|cost| cost.to_string()),
    );
    put(
        "cost_source",
        priced
            .and_then(|priced| priced.cost.cost_source)
            .map(|source| source.as_str().to_owned()),
    );
    put(
        "price_id",
        priced.and_then(|priced| priced.cost.price_id.as_deref().map(str::to_owned)),
    );
    put(
        "price_match",
        priced
            .and_then(|priced| priced.cost.price_match)
            .map(|how| how.as_str().to_owned()),
    );
    put(
        "unpriced_reason",
        priced.and_then(callmeter_price::Priced::reason),
    );
    Value::Object(out).to_string()
}
