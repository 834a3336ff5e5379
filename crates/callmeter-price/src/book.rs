//! A price book: immutable, compiled for look-ups.

use std::sync::{Arc, OnceLock};

use callmeter_core::CallRecord;
use sha2::{Digest, Sha256};

use crate::compile::{Entry, compile};
use crate::format::{BookError, BookText};
use crate::legacy;
use crate::matching::Index;
use crate::pricing::{Priced, price_by_market};
use crate::providers::ProviderKinds;

const MARKET: &str = include_str!("../data/market.json");

/// A set of prices with its rules.
///
/// ```
/// use callmeter_price::Book;
/// let book = Book::parse(r#"
///     name = "acme"
///     version = "2026-11-01"
///     [[models]]
///     provider = "openai"
///     model = "gpt-5-mini"
///     periods = [{ rates = { input = "0.25", output = "2" } }]
/// "#)?;
/// assert_eq!((book.name(), book.version()), ("acme", "2026-11-01"));
/// # Ok::<(), callmeter_price::BookError>(())
/// ```
#[derive(Debug)]
pub struct Book {
    name: String,
    version: String,
    content_id: String,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Market {
        text: Box<BookText>,
        entries: Vec<Entry>,
        index: Index,
    },
    Legacy,
}

/// A price of a book, for listing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BookEntry<'a> {
    /// The provider's canonical name.
    pub provider: &'a str,
    /// The model's id.
    pub model: &'a str,
    /// Its other ids.
    pub aliases: &'a [String],
    /// How many periods its price has.
    pub periods: usize,
}

impl Book {
    /// The built-in book of public prices.
    pub fn market() -> Arc<Self> {
        static BOOK: OnceLock<Arc<Book>> = OnceLock::new();
        Arc::clone(BOOK.get_or_init(|| {
            // The file is made and checked by the build of the data; a test reads it.
            Arc::new(Self::parse(MARKET).unwrap_or_else(|_| Self::empty("market")))
        }))
    }

    /// The built-in book with the table of the module that callmeter replaces, for its users alone: it
    /// knows no dates and no cached tokens, and an unknown model costs 0.
    pub fn legacy() -> Arc<Self> {
        static BOOK: OnceLock<Arc<Book>> = OnceLock::new();
        Arc::clone(BOOK.get_or_init(|| {
            Arc::new(Self {
                name: "legacy".to_owned(),
                version: legacy::VERSION.to_owned(),
                content_id: id_of(legacy::BODY),
                body: Body::Legacy,
            })
        }))
    }

    fn empty(name: &str) -> Self {
        let text = BookText {
            name: name.to_owned(),
            version: "0".to_owned(),
            models: Vec::new(),
        };
        let content_id = id_of(&text.write());
        Self {
            name: text.name.clone(),
            version: text.version.clone(),
            content_id,
            body: Body::Market {
                text: Box::new(text),
                entries: Vec::new(),
                index: Index::default(),
            },
        }
    }

    /// Reads a book in the format of the reference, TOML or JSON, or what [`to_text`](Self::to_text)
    /// wrote.
    ///
    /// # Errors
    /// When the text is no book or breaks a rule; the error names the entry.
    pub fn parse(text: &str) -> Result<Self, BookError> {
        if text == legacy::BODY {
            return Ok(Self {
                name: "legacy".to_owned(),
                version: legacy::VERSION.to_owned(),
                content_id: id_of(legacy::BODY),
                body: Body::Legacy,
            });
        }
        let text = BookText::read(text)?;
        let entries = text
            .models
            .iter()
            .map(compile)
            .collect::<Result<Vec<_>, _>>()?;
        let index = Index::of(&entries)?;
        Ok(Self {
            name: text.name.clone(),
            version: text.version.clone(),
            content_id: id_of(&text.write()),
            body: Body::Market {
                text: Box::new(text),
                entries,
                index,
            },
        })
    }

    /// The book's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The book's version, a date; of two versions of a book the greater is newer.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// A hash of the book's content, in hex.
    pub fn content_id(&self) -> &str {
        &self.content_id
    }

    /// The book as text that [`parse`](Self::parse) reads back to the same book: what a store keeps of
    /// each revision.
    pub fn to_text(&self) -> String {
        match &self.body {
            Body::Market { text, .. } => text.write(),
            Body::Legacy => legacy::BODY.to_owned(),
        }
    }

    /// The models of the book, in its order.
    pub fn entries(&self) -> impl Iterator<Item = BookEntry<'_>> {
        let entries: &[Entry] = match &self.body {
            Body::Market { entries, .. } => entries,
            Body::Legacy => &[],
        };
        entries.iter().map(|entry| BookEntry {
            provider: &entry.provider,
            model: &entry.model,
            aliases: &entry.aliases,
            periods: entry.periods.len(),
        })
    }

    /// Prices a call. `kinds` says what the user's own provider names stand for.
    pub fn price(&self, record: &CallRecord, kinds: &ProviderKinds) -> Priced {
        match &self.body {
            Body::Market { entries, index, .. } => {
                let own = self.name != "market";
                price_by_market(entries, index, own, record, kinds)
            }
            Body::Legacy => legacy::price(record),
        }
    }
}

fn id_of(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
