//! The store: whether it answers, what it holds, and what a store on PostgreSQL needs beside.

use callmeter_store::{Filter, StoreError};

use super::{Findings, Verdict};
use crate::context::Context;
use crate::doubles::Doubles;
use crate::print;

pub(super) fn look_at_store(context: &Context, findings: &mut Findings) {
    let url = &context.url;
    let opened = context.existing_store().and_then(|mut store| {
        let doubles = Doubles::of(context, &mut store, &Filter::default())?;
        Ok((store.facts()?, doubles))
    });
    let (facts, doubles) = match opened {
        Ok(read) => read,
        Err(StoreError::NotFound(_)) => {
            findings.add(
                "store",
                Verdict::Note,
                format!("{url} is made with the first call"),
            );
            return;
        }
        Err(error) => {
            findings.add("store", Verdict::Trouble, format!("{url}: {error}"));
            if let Some(hint) = error.hint() {
                findings.hint(hint);
            }
            return;
        }
    };
    let says = format!(
        "{url}, {} calls, {}",
        print::count(facts.calls),
        print::size(facts.size_bytes)
    );
    findings.add("store", Verdict::Fine, says);
    let book = format!(
        "{} {}, revision {}",
        facts.book.name, facts.book.version, facts.book.number
    );
    findings.add("prices", Verdict::Fine, book);
    #[cfg(feature = "postgres")]
    if context.settings.store.layout == callmeter_store::StoreLayout::AiCalls {
        look_at_table(context, findings);
    } else {
        look_at_partitions(context, findings);
    }
    let wanted = &context.settings.store.accounting_zone;
    if *wanted != facts.accounting_zone {
        let says = format!(
            "the store counts days of {}, the settings say {wanted}",
            facts.accounting_zone
        );
        findings.add("zone", Verdict::Note, says);
        findings.hint("a store keeps the zone that it was made with");
    }
    if let Some(doubles) = doubles.in_words() {
        findings.add(
            "doubles",
            Verdict::Note,
            format!("possible doubles: {doubles}"),
        );
        findings.hint(
            "these are guards under `callmeter run` of providers that it did not lead; give the guard the name of the \
             provider that its call went to, or take the guard away",
        );
    }
    if facts.rejected > 0 {
        let says = format!(
            "{} records were beyond the horizon or too far ahead",
            print::count(facts.rejected)
        );
        findings.add("expired", Verdict::Note, says);
        findings
            .hint("check the clocks of the hosts; the records are in the store's table `rejected`");
    }
}

/// Whether the table `ai_calls` can be written: reading it asks for less.
#[cfg(feature = "postgres")]
fn look_at_table(context: &Context, findings: &mut Findings) {
    match crate::commands::adopt::check(context) {
        None => {}
        Some(Ok(notes)) => {
            findings.add(
                "table",
                Verdict::Fine,
                "ai_calls can be written as it is".to_owned(),
            );
            for note in notes {
                findings.add("table", Verdict::Note, note);
            }
        }
        Some(Err(error)) => {
            findings.add("table", Verdict::Trouble, error.to_string());
            if let Some(hint) = error.hint() {
                findings.hint(hint);
            }
        }
    }
}

#[cfg(feature = "postgres")]
fn look_at_partitions(context: &Context, findings: &mut Findings) {
    use crate::commands::migrate::FEW_MONTHS;
    let clock = std::sync::Arc::new(callmeter_core::SystemClock);
    let Some(url) = context.url.postgres() else {
        return;
    };
    let schema = callmeter_store::PostgresSchema::new(url, clock);
    let status = match schema.and_then(|mut schema| schema.status()) {
        Ok(status) => status,
        Err(error) => {
            findings.add("months", Verdict::Trouble, error.to_string());
            return;
        }
    };
    let is_short = status.months_ahead < FEW_MONTHS || status.rows_in_default > 0;
    let verdict = if is_short {
        Verdict::Trouble
    } else {
        Verdict::Fine
    };
    let says = format!(
        "partitions for {} months from now on, {} rows in none",
        status.months_ahead,
        print::count(status.rows_in_default)
    );
    findings.add("months", verdict, says);
    if is_short {
        findings.hint("run `callmeter migrate`");
    }
}
