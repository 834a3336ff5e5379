//! Who sells: the canonical names of providers, their other names, and what is known of their billing.
//!
//! Canonical are the names that callmeter's rows use. Other tools' names (OpenTelemetry, price lists) lead
//! to them; case does not count, and `-`, `.` and `_` are alike. Facts on billing are of November 2026,
//! from the providers' documents as collected in `data/`.

use std::collections::BTreeMap;

/// Canonical name, then its other names with `_` for every separator.
const NAMES: &[(&str, &[&str])] = &[
    ("openai", &["text_completion_openai"]),
    (
        "azure_openai",
        &["azure", "azure_ai_openai", "az_ai_openai"],
    ),
    (
        "azure_ai_foundry",
        &["azure_ai", "azure_ai_inference", "az_ai_inference"],
    ),
    ("anthropic", &["claude"]),
    (
        "gemini",
        &[
            "google",
            "gcp_gemini",
            "google_genai",
            "google_gla",
            "gemini_openai_compat",
        ],
    ),
    (
        "vertex_ai",
        &[
            "vertex",
            "gcp_vertex_ai",
            "vertexai",
            "google_vertex",
            "google_vertex_anthropic",
        ],
    ),
    (
        "aws_bedrock",
        &["bedrock", "bedrock_converse", "amazon_bedrock", "aws"],
    ),
    ("mistral", &["mistral_ai", "mistralai", "codestral"]),
    ("xai", &["x_ai", "grok"]),
    ("cohere", &["cohere_chat"]),
    ("deepseek", &[]),
    ("groq", &[]),
    ("perplexity", &["perplexity_ai"]),
    ("moonshot", &["moonshotai"]),
    ("zai", &["z_ai"]),
    ("zhipu", &["zhipuai", "bigmodel"]),
    ("minimax", &[]),
    ("meta", &["meta_llama", "llama"]),
    ("alibaba", &["dashscope", "qwen"]),
    ("fireworks", &["fireworks_ai"]),
    ("watsonx", &["ibm_watsonx_ai"]),
    ("together", &["together_ai", "togetherai"]),
    ("cerebras", &[]),
    ("openrouter", &[]),
    ("vercel_gateway", &["vercel", "vercel_ai_gateway"]),
    ("voyageai", &["voyage"]),
    ("ai21", &[]),
    ("amazon_nova", &[]),
    ("nvidia_nim", &["nvidia", "nim"]),
    ("ollama", &["ollama_chat"]),
    ("llamacpp", &["llama_cpp"]),
    ("lmstudio", &["lm_studio"]),
    ("vllm", &[]),
    ("tgi", &[]),
    ("mistralrs", &[]),
    ("localai", &[]),
    ("gpustack", &[]),
];

/// Providers that charge cache writes as plain input (R-10).
const CACHE_WRITE_IS_INPUT: &[&str] = &[
    "openai",
    "azure_openai",
    "gemini",
    "vertex_ai",
    "deepseek",
    "xai",
];

/// The canonical name of a provider; an unknown one stays as it is.
///
/// ```
/// assert_eq!(callmeter_price::canonical_provider("gcp.vertex_ai"), "vertex_ai");
/// assert_eq!(callmeter_price::canonical_provider("my_own"), "my_own");
/// ```
pub fn canonical_provider(name: &str) -> &str {
    let name = name.trim();
    NAMES
        .iter()
        .find(|(canonical, others)| {
            same_name(name, canonical) || others.iter().any(|other| same_name(name, other))
        })
        .map_or(name, |(canonical, _)| canonical)
}

pub(crate) fn same_name(name: &str, known: &str) -> bool {
    name.len() == known.len()
        && name.bytes().zip(known.bytes()).all(|(byte, known)| {
            let byte = if matches!(byte, b'-' | b'.' | b' ') {
                b'_'
            } else {
                byte
            };
            byte.eq_ignore_ascii_case(&known)
        })
}

/// Hosts whose ids are routes to a maker's model, which the answer may name by the maker's id (R-22).
pub(crate) fn sells_by_route(canonical: &str) -> bool {
    matches!(canonical, "aws_bedrock" | "vertex_ai")
}

pub(crate) fn charges_cache_writes_as_input(canonical: &str) -> bool {
    CACHE_WRITE_IS_INPUT.contains(&canonical)
}

/// The user's own provider names and what they are, as `[providers.NAME] kind = "…"` says.
#[derive(Clone, Debug, Default)]
pub struct ProviderKinds(BTreeMap<String, String>);

impl ProviderKinds {
    /// Takes pairs of the user's name and the provider it stands for.
    pub fn new(kinds: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(kinds.into_iter().collect())
    }

    /// The canonical provider behind a name.
    pub fn resolve<'a>(&'a self, name: &'a str) -> &'a str {
        canonical_provider(self.meant(name))
    }

    /// What a name of the user's own stands for; any other name is itself.
    pub(crate) fn meant<'a>(&'a self, name: &'a str) -> &'a str {
        if self.0.is_empty() {
            return name;
        }
        self.0.get(name).map_or(name, String::as_str)
    }
}
