//! Who answers a host: the canonical names of providers by their addresses.
//!
//! A host is compared by its labels, never by a part of one, so that `openai.com.example` is nobody.
//! Facts are of November 2026, from the providers' documents and recorded exchanges.

use callmeter_core::Billing;

/// The end of a host, and whose it is. The first that fits counts.
const HOSTS: &[(&str, &str)] = &[
    ("api.openai.com", "openai"),
    ("openai.azure.com", "azure_openai"),
    ("cognitiveservices.azure.com", "azure_openai"),
    ("services.ai.azure.com", "azure_ai_foundry"),
    ("models.ai.azure.com", "azure_ai_foundry"),
    ("inference.ai.azure.com", "azure_ai_foundry"),
    ("api.anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "gemini"),
    ("aiplatform.googleapis.com", "vertex_ai"),
    ("api.mistral.ai", "mistral"),
    ("codestral.mistral.ai", "mistral"),
    ("api.cohere.com", "cohere"),
    ("api.cohere.ai", "cohere"),
    ("api.deepseek.com", "deepseek"),
    ("api.groq.com", "groq"),
    ("api.x.ai", "xai"),
    ("openrouter.ai", "openrouter"),
    ("api.together.xyz", "together"),
    ("api.together.ai", "together"),
    ("api.fireworks.ai", "fireworks"),
    ("api.perplexity.ai", "perplexity"),
    ("api.cerebras.ai", "cerebras"),
    ("integrate.api.nvidia.com", "nvidia_nim"),
    ("ai.api.nvidia.com", "nvidia_nim"),
    ("api.nvcf.nvidia.com", "nvidia_nim"),
    ("api.ai21.com", "ai21"),
    ("api.voyageai.com", "voyageai"),
    ("api.jina.ai", "jina"),
    ("api.writer.com", "writer"),
    ("api.avian.io", "avian"),
    ("api.venice.ai", "venice"),
    ("api.doubleword.ai", "doubleword"),
    ("api.z.ai", "zai"),
    ("open.bigmodel.cn", "zhipu"),
    ("api.moonshot.ai", "moonshot"),
    ("api.moonshot.cn", "moonshot"),
    ("api.minimax.io", "minimax"),
    ("api.minimax.chat", "minimax"),
    ("dashscope.aliyuncs.com", "alibaba"),
    ("dashscope-intl.aliyuncs.com", "alibaba"),
    ("api.studio.nebius.ai", "nebius"),
    ("api.studio.nebius.com", "nebius"),
    ("api.tokenfactory.nebius.com", "nebius"),
    ("api.hyperbolic.xyz", "hyperbolic"),
    ("api.sambanova.ai", "sambanova"),
    ("api.novita.ai", "novita"),
    ("api.deepinfra.com", "deepinfra"),
    ("api.replicate.com", "replicate"),
    ("api.inference.crusoecloud.com", "crusoe"),
    ("ai-gateway.vercel.sh", "vercel_gateway"),
    ("gateway.pydantic.dev", "pydantic_gateway"),
    ("api.portkey.ai", "portkey"),
    ("router.huggingface.co", "huggingface"),
    ("api-inference.huggingface.co", "huggingface"),
    ("huggingface.co", "huggingface"),
    ("api.cloudflare.com", "cloudflare"),
    ("gateway.ai.cloudflare.com", "cloudflare"),
    ("azuredatabricks.net", "databricks"),
    ("cloud.databricks.com", "databricks"),
    ("gcp.databricks.com", "databricks"),
    ("snowflakecomputing.com", "snowflake"),
    ("ml.cloud.ibm.com", "watsonx"),
    ("githubcopilot.com", "github_copilot"),
    ("models.github.ai", "github_models"),
    ("chatgpt.com", "chatgpt_backend"),
    ("ollama.com", "ollama"),
    ("api.stability.ai", "stability"),
];

/// The default ports of programs on one's own machines: the weakest evidence there is, so that any other
/// (a header, a configured provider) wins.
const PORTS: &[(&str, &str)] = &[
    ("11434", "ollama"),
    ("1234", "lmstudio"),
    ("8000", "vllm"),
    ("8080", "llamacpp"),
    ("8787", "pydantic_gateway"),
    ("4000", "litellm_proxy"),
];

/// Providers that run on one's own machines.
const SELF_HOSTED: &[&str] = &[
    "ollama",
    "llamacpp",
    "lmstudio",
    "vllm",
    "tgi",
    "mistralrs",
    "localai",
    "gpustack",
];

/// The provider whose host it is; a port may follow.
pub(crate) fn by_host(host: &str) -> Option<&'static str> {
    let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
    let name = if port.bytes().all(|byte| byte.is_ascii_digit()) {
        name
    } else {
        host
    };
    let known = HOSTS
        .iter()
        .find(|(end, _)| ends_with_labels(name, end))
        .map(|(_, provider)| *provider);
    known.or_else(|| amazon(name)).or_else(|| {
        // Regional Vertex hosts join the region with a hyphen.
        if ends_with(name, "-aiplatform.googleapis.com") {
            return Some("vertex_ai");
        }
        is_local(name)
            .then(|| PORTS.iter().find(|(known, _)| *known == port))
            .flatten()
            .map(|(_, provider)| *provider)
    })
}

/// `bedrock-runtime.REGION.amazonaws.com`, `bedrock-mantle.REGION.api.aws` and their kin.
fn amazon(name: &str) -> Option<&'static str> {
    let is_amazon = ["amazonaws.com", "amazonaws.com.cn", "api.aws"]
        .iter()
        .any(|end| ends_with_labels(name, end));
    let is_bedrock = || {
        name.to_ascii_lowercase()
            .split('.')
            .any(|label| label.starts_with("bedrock"))
    };
    (is_amazon && is_bedrock()).then_some("aws_bedrock")
}

fn ends_with(name: &str, end: &str) -> bool {
    let at = name.len().checked_sub(end.len());
    let tail = at.and_then(|at| name.get(at..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

fn ends_with_labels(name: &str, end: &str) -> bool {
    let before = name.len().checked_sub(end.len());
    let before = before.and_then(|at| name.get(..at));
    let is_label = before.is_some_and(|before| before.is_empty() || before.ends_with('.'));
    is_label && ends_with(name, end)
}

/// Whether a host is one's own machine or network.
pub(crate) fn is_local(name: &str) -> bool {
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let private_172 = name
        .strip_prefix("172.")
        .and_then(|rest| rest.split('.').next())
        .and_then(|octet| octet.parse::<u8>().ok())
        .is_some_and(|octet| (16..32).contains(&octet));
    name == "localhost"
        || name == "::1"
        || name == "0.0.0.0"
        || name == "host.docker.internal"
        || name.starts_with("127.")
        || name.starts_with("10.")
        || name.starts_with("192.168.")
        || private_172
        || [
            ".local",
            ".localhost",
            ".internal",
            ".svc",
            ".svc.cluster.local",
        ]
        .iter()
        .any(|end| name.ends_with(end))
}

/// The region in a host's name, where the provider puts one there.
pub(crate) fn region(provider: &str, host: &str) -> Option<String> {
    let name = host.split(':').next().unwrap_or_default();
    let region = match provider {
        "aws_bedrock" => name.split('.').nth(1)?,
        "vertex_ai" => name.strip_suffix("-aiplatform.googleapis.com")?,
        _ => return None,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (!region.is_empty() && region.bytes().all(plain)).then(|| region.to_owned())
}

/// How a provider is paid, as far as its name says.
pub(crate) fn billing(provider: &str) -> Option<Billing> {
    match provider {
        "chatgpt_backend" | "github_copilot" => Some(Billing::Plan),
        _ if SELF_HOSTED.contains(&provider) => Some(Billing::SelfHosted),
        _ => None,
    }
}

/// The canonical name of a known provider, so that facts can hold it without allocating.
pub(crate) fn known(name: &str) -> Option<&'static str> {
    let same = |provider: &&'static str| *provider == name;
    HOSTS
        .iter()
        .chain(PORTS)
        .map(|(_, provider)| *provider)
        .chain(SELF_HOSTED.iter().copied())
        .chain(["aws_bedrock", "gemini_openai_compat"])
        .find(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_by_their_labels() {
        for (host, provider) in [
            ("api.openai.com", Some("openai")),
            ("API.OpenAI.com:443", Some("openai")),
            ("api.openai.com.example.net", None),
            ("notapi.x.ai", None),
            ("shop.openai.azure.com", Some("azure_openai")),
            (
                "bedrock-runtime.eu-west-1.amazonaws.com",
                Some("aws_bedrock"),
            ),
            ("bedrock-mantle.us-east-1.api.aws", Some("aws_bedrock")),
            ("s3.eu-west-1.amazonaws.com", None),
            ("us-east5-aiplatform.googleapis.com", Some("vertex_ai")),
            ("localhost:11434", Some("ollama")),
            ("example.net:11434", None),
            ("", None),
        ] {
            assert_eq!(by_host(host), provider, "{host}");
        }
        assert_eq!(
            region("aws_bedrock", "bedrock-runtime.eu-west-1.amazonaws.com").as_deref(),
            Some("eu-west-1")
        );
        assert_eq!(
            region("vertex_ai", "us-east5-aiplatform.googleapis.com").as_deref(),
            Some("us-east5")
        );
    }
}
