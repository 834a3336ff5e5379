//! `callmeter prices`: what the book says, what it lacks, and how it changes.
//!
//! The book looked at is the one that `--book` names, else the store's, else, before a store was made, the one of the
//! settings. Only `import --yes` and `use` write, each one revision; no row changes its cost by them.

mod check;
mod import;
mod list;
mod revisions;
mod unpriced;

use std::process::ExitCode;
use std::sync::Arc;

use callmeter_core::{SystemClock, Timestamp};
use callmeter_price::Book;
use callmeter_store::{AccountingZone, BookRevision, BookShelf, StoreError, StoreLayout};

use crate::args::PricesCommand;
use crate::context::Context;
use crate::failure::Failure;
use crate::{filter, span};

/// The book that is looked at, and where it is from.
struct Looked {
    book: Arc<Book>,
    revision: Option<BookRevision>,
}

pub(crate) fn run(context: &Context, command: &PricesCommand) -> anyhow::Result<ExitCode> {
    match command {
        PricesCommand::List(args) => list::list(context, args),
        PricesCommand::Show { model, book } => list::show(context, model, book.as_deref()),
        PricesCommand::Unpriced(filter) => unpriced::run(context, filter),
        PricesCommand::Check { names, book } => check::run(context, names, book.as_deref()),
        PricesCommand::Import(args) => import::run(context, args),
        PricesCommand::Use { book: Some(book) } => revisions::take(context, book),
        PricesCommand::Use { book: None } => revisions::list(context),
    }
}

/// The store's books; `None` when no store was made yet, or it is a table that keeps none.
fn shelf(context: &Context) -> Result<Option<BookShelf>, StoreError> {
    if context.settings.store.layout == StoreLayout::AiCalls {
        return Ok(None);
    }
    match BookShelf::open(&context.url, Arc::new(SystemClock)) {
        Ok(shelf) => Ok(Some(shelf)),
        Err(StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The store's books, to write to.
fn own_shelf(context: &Context) -> anyhow::Result<BookShelf> {
    match shelf(context)? {
        Some(shelf) => Ok(shelf),
        None if context.settings.store.layout == StoreLayout::AiCalls => {
            Err(Failure::new("a table ai_calls keeps no price book")
                .in_place(context.url.to_string())
                .with_hint("set prices.book to the file of a book, or bring the table into callmeter's own: callmeter migrate adopt")
                .into())
        }
        None => Err(Failure::new("there is no store yet, and the book is kept in the store")
            .in_place(context.url.to_string())
            .with_hint("set prices.book to the file of a book: the store is made with it; `import --out FILE` writes one")
            .into()),
    }
}

fn looked(context: &Context, named: Option<&str>) -> anyhow::Result<Looked> {
    if let Some(name) = named {
        let book = filter::book_of(name)?;
        return Ok(Looked {
            book,
            revision: None,
        });
    }
    if let Some(mut shelf) = shelf(context)? {
        let (revision, book) = shelf.current()?;
        return Ok(Looked {
            book,
            revision: Some(revision),
        });
    }
    let name = match context.settings.prices.book.as_str() {
        "" => "market",
        name => name,
    };
    let book = filter::book_of(name)?;
    Ok(Looked {
        book,
        revision: None,
    })
}

impl Looked {
    /// The book in words, with the layers that it has.
    fn head(&self) -> String {
        let revision = match &self.revision {
            Some(revision) => format!(", revision {} of the store", revision.number),
            None => String::new(),
        };
        let layers = self.book.layer_names();
        let over = match layers.split_first() {
            Some((_, below)) if !below.is_empty() => format!(", over {}", below.join(", ")),
            _ => String::new(),
        };
        format!(
            "book      {} {}{revision}{over}\n",
            self.book.name(),
            self.book.version()
        )
    }
}

/// A moment that an argument names, days in UTC.
fn moment(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    let utc = AccountingZone::named("UTC")?;
    Ok(span::since(text, &utc, now)?)
}
