//! A layer of a book: entries, names, rules, discounts, ready for look-ups.

use std::sync::Arc;

use callmeter_core::Timestamp;
use sha2::{Digest, Sha256};

use crate::amount::{Factor, Rate};
use crate::currency::Currency;
use crate::entry::Entry;
use crate::format::BookError;
use crate::matching::Index;

/// Where a layer comes from; a later one is above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerKind {
    /// The book that this build brings.
    BuiltIn,
    /// Prices taken from another project's file.
    Import,
    /// A book of the user's own.
    Book,
}

impl LayerKind {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BuiltIn => "built-in",
            Self::Import => "import",
            Self::Book => "book",
        }
    }
}

/// What a provider's calls cost, whatever the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Basis {
    SelfHosted,
    FreeQuota,
    /// For a microsecond of the call.
    GpuHour(Rate),
}

impl Basis {
    /// The price entry that a row names.
    pub(crate) const fn price_id(self) -> &'static str {
        match self {
            Self::SelfHosted => "rule/self_hosted",
            Self::FreeQuota => "rule/free_quota",
            Self::GpuHour(_) => "rule/gpu_hour",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    pub(crate) provider: Box<str>,
    pub(crate) basis: Basis,
    pub(crate) except: Box<[Box<str>]>,
}

impl Rule {
    /// Whether it holds for a model: not for hosted tags such as `gpt-oss:120b-cloud`.
    pub(crate) fn holds_for(&self, model: &str) -> bool {
        !self.except.iter().any(|end| model.ends_with(&**end))
    }
}

/// A factor on what a provider, or a project, pays.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Discount {
    pub(crate) provider: Option<Box<str>>,
    pub(crate) project: Option<Box<str>>,
    pub(crate) from: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) factor: Factor,
}

/// A further name of a model, of this layer or one below.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Link {
    pub(crate) provider: Box<str>,
    pub(crate) name: Box<str>,
    pub(crate) model: Box<str>,
}

/// Where a layer's text is.
#[derive(Clone, Debug)]
pub(crate) enum LayerText {
    /// In this build.
    BuiltIn,
    Own(String),
}

/// A layer.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) kind: LayerKind,
    pub(crate) content_id: String,
    pub(crate) entries: Vec<Entry>,
    pub(crate) index: Index,
    pub(crate) rules: Vec<Rule>,
    pub(crate) rule_ids: Vec<Arc<str>>,
    pub(crate) links: Vec<Link>,
    pub(crate) discounts: Vec<Discount>,
    pub(crate) currency: Option<Currency>,
    /// Providers and names whose sources disagree: no price, but known.
    pub(crate) disputed: Vec<(Arc<str>, Box<str>)>,
    pub(crate) text: LayerText,
}

impl Layer {
    /// A layer without text, names, discounts.
    ///
    /// # Errors
    /// When a name stands twice.
    pub(crate) fn new(
        name: &str,
        version: &str,
        kind: LayerKind,
        entries: Vec<Entry>,
        rules: Vec<Rule>,
    ) -> Result<Self, BookError> {
        let index = Index::of(&entries, &rules)?;
        let rule_ids = rules.iter().map(|rule| rule.basis.price_id().into());
        Ok(Self {
            name: name.to_owned(),
            version: version.to_owned(),
            kind,
            content_id: String::new(),
            index,
            rule_ids: rule_ids.collect(),
            rules,
            entries,
            links: Vec::new(),
            discounts: Vec::new(),
            currency: None,
            disputed: Vec::new(),
            text: LayerText::BuiltIn,
        })
    }

    /// The layer of a book's own text.
    ///
    /// # Errors
    /// When a further name is a model of this layer.
    pub(crate) fn with_extras(
        mut self,
        links: Vec<Link>,
        discounts: Vec<Discount>,
        currency: Option<Currency>,
        text: String,
    ) -> Result<Self, BookError> {
        self.index.link(&links)?;
        self.links = links;
        self.discounts = discounts;
        self.currency = currency;
        self.content_id = id_of(&text);
        self.text = LayerText::Own(text);
        Ok(self)
    }

    /// The entry of a model by its own id.
    pub(crate) fn own(&self, provider: &str, model: &str) -> Option<&Entry> {
        let at = self.index.names(provider)?.own(model)?;
        self.entries.get(at)
    }
}

/// A hash of a text, in hex.
pub(crate) fn id_of(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
