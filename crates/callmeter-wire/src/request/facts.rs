//! What is known of a call from its request alone.

use std::collections::BTreeMap;

use callmeter_core::{Billing, CallRecord, Operation};

use super::{Api, provider};

/// The facts of a request that its reader and its row need.
///
/// ```
/// use callmeter_wire::{Api, RequestFacts};
/// let facts = RequestFacts::from_line("POST", "/v1/messages").with_host("api.anthropic.com");
/// assert_eq!((facts.api, facts.provider), (Api::Messages, Some("anthropic")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestFacts {
    /// The interface.
    pub api: Api,
    /// Who is asked, by the host, else by a path that only one provider has.
    pub provider: Option<&'static str>,
    /// The host as it was named, with a port if it had one.
    pub host: Option<String>,
    /// The region, where host or path name it.
    pub region: Option<String>,
    /// The model asked for: by the body, else by the path.
    pub model: Option<String>,
    /// Whether a stream was asked for; `None` when it was not said.
    pub streaming: Option<bool>,
    /// Whether usage was asked for in a stream (`stream_options.include_usage`); `None` when it was not said.
    pub asks_for_usage: Option<bool>,
    /// The service tier or speed asked for.
    pub service_tier: Option<String>,
    /// How the call is paid for, by the provider and the kind of credential.
    pub billing: Billing,
    /// A look at something stored or free: no row.
    pub is_call: bool,
    /// Billed units that only the request tells: `image` with its `n`, charged where the answer counts no tokens.
    pub units: BTreeMap<String, u64>,
}

impl RequestFacts {
    /// What a request line says. The target may carry a query and a scheme.
    pub fn from_line(method: &str, target: &str) -> Self {
        let (origin, target) = split_origin(target);
        let path = target.split(['?', '#']).next().unwrap_or_default();
        let route = super::route::route(method, path);
        let api = route.api.unwrap_or(Api::Unknown);
        // Looks at a run are no calls; only what starts or resumes one is.
        let is_call = api.is_call() && method.eq_ignore_ascii_case("POST");
        let facts = Self {
            api,
            provider: route.provider,
            host: None,
            region: route.region,
            model: route.model,
            streaming: route.streaming,
            asks_for_usage: None,
            service_tier: None,
            billing: Billing::Unknown,
            is_call,
            units: BTreeMap::new(),
        };
        match origin {
            Some(host) => facts.with_host(host),
            None => facts,
        }
    }

    /// The same with the host that is asked; a known one decides about the provider.
    #[must_use]
    pub fn with_host(mut self, host: &str) -> Self {
        if host.is_empty() {
            return self;
        }
        if let Some(found) = provider::by_host(host) {
            // One host, two interfaces: Google's copy of OpenAI's is told by its path.
            if self.provider != Some("gemini_openai_compat") {
                self.provider = Some(found);
            }
            if found == "azure_ai_foundry" && self.is_azure_openai() {
                self.provider = Some("azure_openai");
            }
        }
        if let Some(known) = self.provider {
            self.region = self.region.or_else(|| provider::region(known, host));
        }
        let end = host
            .char_indices()
            .nth(128)
            .map_or(host.len(), |(at, _)| at);
        self.host = host.get(..end).map(str::to_owned);
        self.settle();
        self
    }

    /// The same for a provider that the caller knows, such as a configured route's; a name that is not
    /// known changes nothing.
    #[must_use]
    pub fn with_provider(mut self, name: &str) -> Self {
        self.provider = provider::known(name).or(self.provider);
        self.settle();
        self
    }

    /// What the request asks the model to do.
    pub const fn operation(&self) -> Operation {
        self.api.operation()
    }

    /// Puts the facts into a record; fields that the record has already stay.
    pub fn fill(&self, record: &mut CallRecord) {
        fn put<T>(slot: &mut Option<T>, value: Option<T>) {
            if slot.is_none() {
                *slot = value;
            }
        }
        put(&mut record.operation, Some(self.operation()));
        put(&mut record.provider, self.provider.map(str::to_owned));
        put(&mut record.host, self.host.clone());
        put(&mut record.region, self.region.clone());
        put(&mut record.model_requested, self.model.clone());
        put(&mut record.service_tier, self.service_tier.clone());
        put(&mut record.streaming, self.streaming);
        if self.billing != Billing::Unknown {
            put(&mut record.billing, Some(self.billing));
        }
    }

    /// Foundry's hosts also serve OpenAI's own paths, then with deployments of Azure OpenAI.
    fn is_azure_openai(&self) -> bool {
        self.provider == Some("azure_openai")
            || matches!(self.api, Api::Responses | Api::Embeddings | Api::Images)
    }

    /// What follows from the provider.
    pub(crate) fn settle(&mut self) {
        if let Some(billing) = self.provider.and_then(provider::billing) {
            let cloud = self
                .host
                .as_deref()
                .is_some_and(|host| host.ends_with("ollama.com"));
            if billing != Billing::SelfHosted || !cloud {
                self.billing = billing;
            }
        }
        let cohere = self.provider == Some("cohere");
        self.api = match self.api {
            Api::CohereV1Chat if self.provider == Some("writer") => Api::ChatCompletions,
            Api::Rerank if cohere => Api::CohereV1Rerank,
            Api::TgiGenerate if cohere => Api::CohereV1Generate,
            other => other,
        };
    }
}

/// `https://host/path` → the host and the path.
fn split_origin(target: &str) -> (Option<&str>, &str) {
    match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => {
            let at = rest.find('/').unwrap_or(rest.len());
            let (host, path) = rest.split_at_checked(at).unwrap_or((rest, ""));
            // User and password of an address are never looked at.
            (host.rsplit('@').next(), path)
        }
        _ => (None, target),
    }
}
