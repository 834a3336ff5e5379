//! Why a call costs what it costs: the same computation as [`Book::price`], written down on the way.

use callmeter_core::CallRecord;

use crate::amount::{Factor, Rate, factor_text};
use crate::book::Book;
use crate::charge::Tape;
use crate::entry::{Entry, Period};
use crate::layer::{Layer, Rule};
use crate::pricing::Priced;
use crate::providers::ProviderKinds;
use crate::suggest::Suggestion;

/// How a cost came about, or why there is none.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Explanation {
    /// The cost, or the reason for none.
    pub priced: Priced,
    /// The provider's canonical name.
    pub provider: String,
    /// The model's own id in the book.
    pub model: Option<String>,
    /// The layer that the price is of: its kind, name and version.
    pub layer: Option<String>,
    /// Whose figures they are, and when they were looked at.
    pub source: Option<String>,
    /// From when and until when the price holds.
    pub period: Option<(Option<String>, Option<String>)>,
    /// The service tier that changed the price.
    pub service_tier: Option<String>,
    /// The number of input tokens that the call is above, where the price has tiers.
    pub over: Option<u64>,
    /// What was charged: the name of the rate, the count, and USD for one as text.
    pub lines: Vec<(String, u64, String)>,
    /// Factors on the sum, in their order.
    pub factors: Vec<(String, String)>,
    /// The sources of the public prices disagree about this name, so it has none.
    pub is_disputed: bool,
    /// Names that may have been meant, where this one is unknown.
    pub near: Vec<Suggestion>,
}

impl Book {
    /// Prices a call and says how.
    ///
    /// ```
    /// use callmeter_core::{CallId, CallRecord, Layer};
    /// use callmeter_price::{Book, ProviderKinds};
    /// let mut call = CallRecord::new(CallId::new("2026-11-01".parse().unwrap(), 1), Layer::Guard, 0);
    /// call.provider = Some("openai".into());
    /// call.model = Some("gpt-5-mni".into());
    /// let why = Book::market().explain(&call, &ProviderKinds::default());
    /// assert_eq!(why.priced.reason().as_deref(), Some("unknown_model"));
    /// assert_eq!(why.near[0].model, "gpt-5-mini");
    /// ```
    pub fn explain(&self, record: &CallRecord, kinds: &ProviderKinds) -> Explanation {
        let mut told = Explanation::default();
        told.priced = self.price_noting(record, kinds, &mut told);
        told.provider = kinds
            .resolve(record.provider.as_deref().unwrap_or_default())
            .to_owned();
        let model = record.model_or_requested();
        if told.model.is_none() && told.priced.cost.unpriced_reason.is_some() {
            let mut disputed = self.layers().flat_map(|layer| &layer.disputed);
            told.is_disputed =
                disputed.any(|(provider, name)| **provider == *told.provider && **name == *model);
            told.near = self.near(&told.provider, model);
        }
        told
    }
}

impl Tape for Explanation {
    fn line(&mut self, what: &str, count: u64, rate: Rate) {
        self.lines.push((what.to_owned(), count, rate.to_text(1)));
    }

    fn factor(&mut self, what: &'static str, factor: Factor) {
        self.factors.push((what.to_owned(), factor_text(factor)));
    }

    fn found(&mut self, _: &Layer, entry: &Entry) {
        self.model = Some(entry.model.to_string());
    }

    fn period(&mut self, layer: &Layer, period: &Period, tier: Option<&str>, over: Option<u64>) {
        self.layer = Some(named(layer));
        self.source = Some(source(layer, period));
        let moment = |moment: Option<callmeter_core::Timestamp>| moment.map(|at| at.to_string());
        self.period = Some((moment(period.from), moment(period.until)));
        self.service_tier = tier.map(str::to_owned);
        self.over = over;
    }

    fn rule(&mut self, layer: &Layer, rule: &Rule) {
        self.layer = Some(named(layer));
        self.model = Some(format!("any model of {}", rule.provider));
    }
}

/// A layer in words.
pub(crate) fn named(layer: &Layer) -> String {
    format!("{} {} {}", layer.kind.as_str(), layer.name, layer.version)
}

/// Whose figures a period has, and when they were looked at.
pub(crate) fn source(layer: &Layer, period: &Period) -> String {
    let looked_at = if period.verified_at.is_empty() {
        &layer.version
    } else {
        &*period.verified_at
    };
    match &*period.source {
        "" => looked_at.to_owned(),
        source => format!("{source}, {looked_at}"),
    }
}
