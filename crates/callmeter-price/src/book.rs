//! A price book: immutable, in layers, compiled for look-ups.

use std::sync::{Arc, OnceLock};

use callmeter_core::CallRecord;
use miniz_oxide::inflate::decompress_to_vec_with_limit;
use serde::{Deserialize, Serialize};

use crate::charge::Tape;
use crate::compile;
use crate::currency::Currency;
use crate::format::{BookError, BookText};
use crate::layer::{Layer, LayerKind, LayerText, id_of};
use crate::legacy;
use crate::listing::BookEntry;
use crate::packed;
use crate::pricing::{self, Priced};
use crate::providers::ProviderKinds;

/// The built-in book, packed and deflated; `cargo xtask prices` makes it.
const MARKET: &[u8] = include_bytes!("../data/market.book.z");
/// More than its text will ever have.
const MAX_TEXT: usize = 64 << 20;

/// A set of prices with its rules.
///
/// A book of the user's own lies over the built-in one, unless it says `extends = "none"`: where it has no price, the
/// built-in one counts.
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
    /// The uppermost first.
    Layers(Vec<Arc<Layer>>),
    Legacy,
}

/// A book of several layers as a store keeps it, the lowest first.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct StackText {
    callmeter_stack: u32,
    layers: Vec<LayerOfStack>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct LayerOfStack {
    kind: String,
    text: String,
}

impl Book {
    /// The built-in book of public prices. It is unpacked at its first use.
    pub fn market() -> Arc<Self> {
        static BOOK: OnceLock<Arc<Book>> = OnceLock::new();
        Arc::clone(BOOK.get_or_init(|| {
            // The file is made and checked by the build of the data; a test reads it.
            let text = market_text();
            let layer = packed::read(&text, LayerKind::BuiltIn, true)
                .or_else(|_| Layer::new("market", "0", LayerKind::BuiltIn, Vec::new(), Vec::new()));
            Arc::new(Self::of(layer.into_iter().map(Arc::new).collect()))
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

    /// A book of layers, the uppermost first.
    fn of(layers: Vec<Arc<Layer>>) -> Self {
        // A book of the user's own gives its name; imports add theirs to the book below.
        let is_named = |layer: &&Arc<Layer>| layer.kind != LayerKind::Import;
        let named = layers.iter().position(|layer| is_named(&layer));
        let parts = layers
            .iter()
            .take(named.map_or(layers.len(), |at| at.saturating_add(1)));
        let joined = |part: fn(&Layer) -> &str| {
            let parts: Vec<&str> = parts.clone().rev().map(|layer| part(layer)).collect();
            parts.join("+")
        };
        let content_id = match layers.as_slice() {
            [layer] => layer.content_id.clone(),
            all => {
                let ids: Vec<&str> = all.iter().map(|layer| layer.content_id.as_str()).collect();
                id_of(&ids.join("\n"))
            }
        };
        Self {
            name: joined(|layer| &layer.name),
            version: joined(|layer| &layer.version),
            content_id,
            body: Body::Layers(layers),
        }
    }

    /// Reads a book in the format of the reference, TOML or JSON, or what [`to_text`](Self::to_text)
    /// wrote.
    ///
    /// # Errors
    /// When the text is no book or breaks a rule; the error names the entry, its key, and of TOML the line.
    pub fn parse(text: &str) -> Result<Self, BookError> {
        if text == legacy::BODY {
            return Ok(Self {
                name: "legacy".to_owned(),
                version: legacy::VERSION.to_owned(),
                content_id: id_of(legacy::BODY),
                body: Body::Legacy,
            });
        }
        if let Ok(stack) = serde_json::from_str::<StackText>(text) {
            return Self::of_stack(&stack);
        }
        if text.starts_with(packed::MAGIC) {
            let layer = packed::read(text, LayerKind::BuiltIn, false)?;
            return Ok(Self::of(vec![Arc::new(layer)]));
        }
        let read = BookText::read(text)?;
        let below = match read.extends.as_deref() {
            // What stores of the first version keep of the built-in book.
            None if read.name == "market" => {
                let layer = compile::layer(&read, LayerKind::BuiltIn)?;
                return Ok(Self::of(vec![Arc::new(layer)]));
            }
            None | Some("market") => Self::market().layers().cloned().collect(),
            Some("none") => Vec::new(),
            Some(other) => {
                let problem = format!("'{other}' is no book to extend: market or none");
                return Err(crate::format::Problem::new("extends", problem)
                    .of_entry("extends")
                    .located(text));
            }
        };
        let layer = compile::layer(&read, LayerKind::Book).map_err(|error| error.located(text))?;
        Ok(Self::of(
            std::iter::once(Arc::new(layer)).chain(below).collect(),
        ))
    }

    fn of_stack(stack: &StackText) -> Result<Self, BookError> {
        let mut layers: Vec<Arc<Layer>> = Vec::with_capacity(stack.layers.len());
        for layer in stack.layers.iter().rev() {
            let kind = match layer.kind.as_str() {
                "built-in" => LayerKind::BuiltIn,
                "import" => LayerKind::Import,
                "book" => LayerKind::Book,
                other => {
                    return Err(BookError::Syntax(format!("'{other}' is no kind of layer")));
                }
            };
            // The layer of this build need not be read again.
            let market = Self::market();
            let built_in = market.layers().next();
            let is_ours = built_in.is_some_and(|ours| {
                let head = layer.text.lines().next().unwrap_or_default();
                head.ends_with(ours.content_id.as_str()) && head.starts_with(packed::MAGIC)
            });
            layers.push(match built_in {
                Some(ours) if is_ours => Arc::clone(ours),
                _ if layer.text.starts_with(packed::MAGIC) => {
                    Arc::new(packed::read(&layer.text, kind, false)?)
                }
                _ => Arc::new(compile::layer(&BookText::read(&layer.text)?, kind)?),
            });
        }
        Ok(Self::of(layers))
    }

    /// This book with a layer on top; a layer of the user's own stays above imports.
    pub(crate) fn with_layer(&self, layer: Layer) -> Self {
        let mut layers: Vec<Arc<Layer>> = self.layers().cloned().collect();
        let at = match layer.kind {
            LayerKind::Import => layers
                .iter()
                .position(|other| other.kind != LayerKind::Book)
                .unwrap_or(layers.len()),
            _ => 0,
        };
        layers.insert(at, Arc::new(layer));
        Self::of(layers)
    }

    /// This book over the built-in one of this build, where it lies over an older one; `None` when it lies over
    /// none, or over one that is as new. A store that is opened by a newer build takes it in as a revision.
    pub fn refreshed(&self) -> Option<Self> {
        let market = Self::market();
        let newest = market.layers().next()?;
        let mut layers: Vec<Arc<Layer>> = self.layers().cloned().collect();
        let lowest = layers.last_mut()?;
        let is_older = lowest.kind == LayerKind::BuiltIn && lowest.version < newest.version;
        if !is_older {
            return None;
        }
        *lowest = Arc::clone(newest);
        Some(Self::of(layers))
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
        let layers = match &self.body {
            Body::Layers(layers) => layers,
            Body::Legacy => return legacy::BODY.to_owned(),
        };
        let text_of = |layer: &Layer| match &layer.text {
            LayerText::BuiltIn => market_text(),
            LayerText::Own(text) => text.clone(),
        };
        if let [layer] = layers.as_slice()
            && layer.kind != LayerKind::Import
        {
            return text_of(layer);
        }
        let layers = layers.iter().rev().map(|layer| LayerOfStack {
            kind: layer.kind.as_str().to_owned(),
            text: text_of(layer),
        });
        let stack = StackText {
            callmeter_stack: 1,
            layers: layers.collect(),
        };
        serde_json::to_string(&stack).unwrap_or_default()
    }

    /// The models of the book, the uppermost layer first, each layer in its order.
    pub fn entries(&self) -> impl Iterator<Item = BookEntry<'_>> {
        self.layers().flat_map(|layer| {
            let entries = layer.entries.iter();
            entries.map(move |entry| BookEntry::new(layer, entry))
        })
    }

    /// The currency that amounts are shown in beside USD.
    pub fn currency(&self) -> Option<&Currency> {
        self.layers().find_map(|layer| layer.currency.as_ref())
    }

    /// The layers in words, the uppermost first: kind, name, version.
    pub fn layer_names(&self) -> Vec<String> {
        self.layers()
            .map(|layer| crate::explain::named(layer))
            .collect()
    }

    pub(crate) fn layers(&self) -> std::slice::Iter<'_, Arc<Layer>> {
        match &self.body {
            Body::Layers(layers) => layers.iter(),
            Body::Legacy => [].iter(),
        }
    }

    /// Prices a call. `kinds` says what the user's own provider names stand for.
    pub fn price(&self, record: &CallRecord, kinds: &ProviderKinds) -> Priced {
        self.price_noting(record, kinds, &mut ())
    }

    pub(crate) fn price_noting<T: Tape>(
        &self,
        record: &CallRecord,
        kinds: &ProviderKinds,
        tape: &mut T,
    ) -> Priced {
        match &self.body {
            Body::Layers(layers) => pricing::price(layers, record, kinds, tape),
            Body::Legacy => legacy::price(record),
        }
    }
}

fn market_text() -> String {
    let bytes = decompress_to_vec_with_limit(MARKET, MAX_TEXT).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}
