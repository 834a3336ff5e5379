//! Prices from other projects' files, taken as a layer after a look at the differences (R-28 to R-30).
//!
//! ```text
//! read(text)          what a file says, in our terms, and what it says that is no price
//!   .compare(book, …) what would change, with what looks wrong
//!     .book(…)        the book with the import as a layer on top
//! ```
//!
//! Four formats, told apart by content: litellm's, genai-prices' (two forms), models.dev's, and our own. Numbers are read
//! as text. An import never rewrites the past: a changed price begins when the import does, unless it corrects.
//! Nothing here looks at a clock or a file.

mod compare;
mod genai;
mod litellm;
mod model;
mod models_dev;
mod node;

pub use compare::{Change, Comparison, ImportOptions, RateChange};

use crate::format::{BookError, BookText, ModelText, PeriodText};
use model::Found;
use node::Node;

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImportFormat {
    /// litellm's `model_prices_and_context_window.json`.
    LiteLlm,
    /// genai-prices' `data.json`.
    GenaiPrices,
    /// models.dev's `api.json`.
    ModelsDev,
    /// A book of our own format.
    Callmeter,
}

impl ImportFormat {
    /// Its word, which the layer takes as its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LiteLlm => "litellm",
            Self::GenaiPrices => "genai-prices",
            Self::ModelsDev => "models.dev",
            Self::Callmeter => "callmeter",
        }
    }
}

/// What a file says.
#[derive(Debug)]
#[non_exhaustive]
pub struct Imported {
    /// Whose file it is.
    pub format: ImportFormat,
    /// What was left out, and why: provider and model, then the reason.
    pub skipped: Vec<(String, String)>,
    models: Vec<ModelText>,
}

/// A file that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// It is no JSON.
    #[error("the file is no JSON: {0}")]
    Json(String),
    /// It is JSON of an unknown shape.
    #[error(
        "the file is neither litellm's, genai-prices' nor models.dev's prices, nor a book of callmeter"
    )]
    Unknown,
    /// It is a book of our own with a mistake.
    #[error(transparent)]
    Book(#[from] BookError),
}

/// Reads a file of prices.
///
/// # Errors
/// When it is of no known format.
///
/// ```
/// use callmeter_price::import::{ImportFormat, read};
/// let file = r#"{"xai/grok-9": {"litellm_provider": "xai", "input_cost_per_token": 2e-06}}"#;
/// assert_eq!(read(file)?.format, ImportFormat::LiteLlm);
/// # Ok::<(), callmeter_price::import::ImportError>(())
/// ```
pub fn read(text: &str) -> Result<Imported, ImportError> {
    let start = text.trim_start();
    if !start.starts_with(['{', '[']) {
        return own(text);
    }
    let file = Node::read(text).map_err(|error| ImportError::Json(error.to_string()))?;
    let any = |is: fn(&Node) -> bool| {
        let mut values: Box<dyn Iterator<Item = &Node>> = match &file {
            Node::Object(members) => Box::new(members.values()),
            other => Box::new(other.items()),
        };
        values.any(is)
    };
    match &file {
        Node::List(_)
            if any(|item| {
                item.get("models")
                    .is_some_and(|models| matches!(models, Node::List(_)))
            }) =>
        {
            Ok(genai::read(&file))
        }
        Node::Object(members)
            if members.contains_key("name") && members.contains_key("version") =>
        {
            own(text)
        }
        Node::Object(_) if any(|entry| entry.get("litellm_provider").is_some()) => {
            Ok(litellm::read(&file))
        }
        Node::Object(_)
            if any(|entry| {
                entry
                    .get("models")
                    .is_some_and(|models| models.object().is_some())
            }) =>
        {
            Ok(models_dev::read(&file))
        }
        _ => Err(ImportError::Unknown),
    }
}

fn own(text: &str) -> Result<Imported, ImportError> {
    // Every check of a book holds for it.
    crate::Book::parse(text)?;
    let mut imported = Imported::new(ImportFormat::Callmeter);
    imported.models = BookText::read(text)?.models;
    for model in &mut imported.models {
        model.provider = crate::canonical_provider(&model.provider).to_owned();
    }
    Ok(imported)
}

impl Imported {
    fn new(format: ImportFormat) -> Self {
        Self {
            format,
            skipped: Vec::new(),
            models: Vec::new(),
        }
    }

    /// How many models it prices.
    pub fn len(&self) -> usize {
        self.models.len()
    }

    /// Whether it prices none.
    pub fn is_empty(&self) -> bool {
        self.models.is_empty()
    }

    /// Makes a period of what was found, and notes what was not.
    fn period(&mut self, provider: &str, model: &str, mut found: Found) -> Option<PeriodText> {
        let period = found.period(self.format.as_str());
        for note in found.notes {
            self.skip(provider, model, note);
        }
        period
    }

    fn skip(&mut self, provider: &str, model: &str, why: impl Into<String>) {
        self.skipped
            .push((format!("{provider}/{model}"), why.into()));
    }
}

/// A price as its provider prints it: what floating-point arithmetic or a division left is taken back. `None` for what
/// is no price.
///
/// ```
/// use callmeter_price::import::printed;
/// assert_eq!(printed("2.9999900000000002").as_deref(), Some("3"));
/// assert_eq!(printed("0.0833333333333333").as_deref(), Some("0.25/3"));
/// ```
pub fn printed(text: &str) -> Option<String> {
    crate::amount::Decimal::parse(text).map(crate::amount::Decimal::printed)
}
