//! `prices use`: the store's book, and those before it.

use std::process::ExitCode;

use serde_json::json;

use super::own_shelf;
use crate::context::Context;
use crate::{filter, print};

pub(super) fn take(context: &Context, name: &str) -> anyhow::Result<ExitCode> {
    let book = filter::book_of(name)?;
    let mut shelf = own_shelf(context)?;
    let (current, in_force) = shelf.current()?;
    // A new version of the user's own book leaves what was imported where it is.
    let book = book.with_imports_of(&in_force);
    let (number, is_new) = if in_force.content_id() == book.content_id() {
        (current.number, false)
    } else {
        (shelf.append(&book)?.number, true)
    };
    if context.json {
        let object = json!({
            "v": 1, "revision": number, "name": book.name(), "version": book.version(), "new": is_new,
        });
        print::out(&format!("{object}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    print::out(&if is_new {
        format!(
            "{} {} is revision {number} of the store's book, for the calls that come\n\
             next: `callmeter reprice --dry-run --all` says what it changes for those that are there\n",
            book.name(),
            book.version(),
        )
    } else {
        format!(
            "{} {} is the store's book already, revision {number}\n",
            book.name(),
            book.version(),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn list(context: &Context) -> anyhow::Result<ExitCode> {
    let mut shelf = own_shelf(context)?;
    let mut rows = Vec::new();
    for kept in shelf.revisions()? {
        let revision = &kept.revision;
        if context.json {
            let object = json!({
                "v": 1, "revision": revision.number, "name": revision.name, "version": revision.version,
                "content_id": kept.content_id, "made_at": kept.made_at.to_string(),
            });
            print::out(&format!("{object}\n"))?;
        }
        rows.push(vec![
            revision.number.to_string(),
            revision.name.clone(),
            revision.version.clone(),
            kept.content_id.clone(),
            kept.made_at.to_string(),
        ]);
    }
    if !context.json {
        let head = ["revision", "book", "version", "content", "since"];
        print::out(&print::table(&head, 5, rows))?;
    }
    Ok(ExitCode::SUCCESS)
}
