//! Which interface a path leads to, and what the path itself says: model, streaming, provider.
//!
//! Paths are compared by their segments from the end, so that prefixes of gateways and proxies
//! (`/openai/v1`, `/api/v1`, `/together/v1`, …) do not matter. Sources: the providers' API references.

use super::api::Api;

/// What a method and a path say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) api: Option<Api>,
    /// A provider that alone has such paths.
    pub(crate) provider: Option<&'static str>,
    pub(crate) model: Option<String>,
    pub(crate) streaming: Option<bool>,
    pub(crate) region: Option<String>,
}

impl Route {
    fn to(api: Api) -> Self {
        Self {
            api: Some(api),
            ..Self::default()
        }
    }

    fn at(mut self, provider: &'static str) -> Self {
        self.provider = Some(provider);
        self
    }

    fn model(mut self, model: &str) -> Self {
        self.model = Some(percent_decoded(model)).filter(|model| !model.is_empty());
        self
    }

    fn streaming(mut self, streaming: bool) -> Self {
        self.streaming = Some(streaming);
        self
    }
}

/// Reads a request line. `path` has no query and may be percent-encoded.
pub(crate) fn route(method: &str, path: &str) -> Route {
    let raw: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if let Some(found) = google(&raw).or_else(|| bedrock(path)) {
        return only_posts(method, found);
    }
    let mut found = plain(method, &raw).unwrap_or_else(|| Route::to(Api::Unknown));
    found.model = after(&raw, "deployments").map(percent_decoded);
    if found.model.is_some() && found.provider.is_none() {
        found.provider = Some("azure_openai");
    }
    only_posts(method, found)
}

/// What is fetched or deleted is no call, whatever its path.
fn only_posts(method: &str, mut found: Route) -> Route {
    let kept = matches!(found.api, Some(Api::ResponsesRetrieve | Api::AssistantsRun));
    if !method.eq_ignore_ascii_case("POST") && !kept {
        found.api = Some(Api::Other);
    }
    found
}

/// `…/models/MODEL:verb`, `…/interactions`.
fn google(parts: &[&str]) -> Option<Route> {
    let last = parts.last()?;
    let region = after(parts, "locations").map(percent_decoded);
    let vertex = parts.contains(&"publishers") || region.is_some();
    if *last == "interactions" && !vertex {
        return Some(Route::to(Api::Interactions).at("gemini"));
    }
    let (model, verb) = last
        .rsplit_once(':')
        .or_else(|| last.rsplit_once("%3A"))
        .filter(|_| {
            matches!(
                parts.iter().nth_back(1),
                Some(&"models" | &"endpoints" | &"tunedModels")
            )
        })?;
    let found = match verb {
        "generateContent" => Route::to(Api::GenerateContent).streaming(false),
        "streamGenerateContent" => Route::to(Api::GenerateContent).streaming(true),
        "countTokens" | "computeTokens" => Route::to(Api::CountTokens),
        "embedContent" | "batchEmbedContents" => Route::to(Api::EmbedContent).streaming(false),
        "embedText" | "batchEmbedText" => Route::to(Api::EmbedContent).streaming(false),
        "predict" | "predictLongRunning" => Route::to(Api::VertexPredict).streaming(false),
        "rawPredict" => Route::to(Api::Messages).streaming(false),
        "streamRawPredict" => Route::to(Api::Messages).streaming(true),
        _ => return None,
    };
    let mut found = found
        .at(if vertex { "vertex_ai" } else { "gemini" })
        .model(model);
    found.region = region.filter(|region| !region.contains('<'));
    // Mistral's and others' models on Vertex answer in OpenAI's shape through the same verb.
    let publisher = after(parts, "publishers").unwrap_or_default();
    if found.api == Some(Api::Messages) && !matches!(publisher, "anthropic" | "") {
        found.api = Some(Api::ChatCompletions);
    }
    Some(found)
}

/// `/model/MODEL/verb`; the model may be an ARN with slashes of its own.
fn bedrock(path: &str) -> Option<Route> {
    let (_, rest) = path.split_once("/model/")?;
    let (model, verb) = rest.trim_end_matches('/').rsplit_once('/')?;
    let found = match verb {
        "converse" => Route::to(Api::Converse).streaming(false),
        "converse-stream" => Route::to(Api::Converse).streaming(true),
        "invoke" => Route::to(Api::InvokeModel).streaming(false),
        "invoke-with-response-stream" => Route::to(Api::InvokeModel).streaming(true),
        "count-tokens" => Route::to(Api::CountTokens),
        _ => return None,
    };
    Some(found.at("aws_bedrock").model(model))
}

fn plain(method: &str, parts: &[&str]) -> Option<Route> {
    let mut back = parts.iter().rev().copied();
    let last = back.next()?;
    let before = back.next().unwrap_or_default();
    let earlier = back.next().unwrap_or_default();
    let version = |name: &str| parts.contains(&name);
    let found = match (before, last) {
        ("chat", "completions") => {
            let found = Route::to(Api::ChatCompletions);
            if earlier == "openai" && version("v1beta") {
                found.at("gemini_openai_compat")
            } else if version("serving-endpoints") {
                found.at("databricks")
            } else {
                found
            }
        }
        (_, "invocations") if version("serving-endpoints") => Route::to(Api::ChatCompletions)
            .at("databricks")
            .model(before),
        ("models", _) if version("v1beta") => Route::to(Api::Other),
        (_, "completions") if version("prompts") => Route::to(Api::Completions),
        (_, "completions") => Route::to(Api::Completions),
        ("inference", "complete") if version("cortex") => {
            Route::to(Api::ChatCompletions).at("snowflake")
        }
        ("inference:complete", _) | (_, "inference:complete") => {
            Route::to(Api::ChatCompletions).at("snowflake")
        }
        ("codex", "responses") => Route::to(Api::Responses).at("chatgpt_backend"),
        ("responses", "compact") => Route::to(Api::ResponsesCompact),
        ("responses", "input_tokens") => Route::to(Api::ResponsesInputTokens),
        (_, "responses") if method.eq_ignore_ascii_case("POST") => Route::to(Api::Responses),
        ("responses", _) | (_, "cancel" | "input_items") if version("responses") => {
            Route::to(Api::ResponsesRetrieve)
        }
        (_, "runs") | ("runs", _) | (_, "submit_tool_outputs") if version("threads") => {
            Route::to(Api::AssistantsRun)
        }
        ("messages", "count_tokens") => Route::to(Api::CountTokens),
        (_, "messages") if version("threads") => Route::to(Api::Other),
        (_, "messages") => Route::to(Api::Messages),
        (_, "complete") => Route::to(Api::AnthropicComplete).at("anthropic"),
        ("audio", "transcriptions" | "translations") => Route::to(Api::AudioTranscriptions),
        ("audio", "speech") => Route::to(Api::AudioSpeech),
        ("images", "generations" | "edits" | "variations") => Route::to(Api::Images),
        (_, "moderations") => Route::to(Api::Moderations),
        (_, "ocr") => Route::to(Api::Ocr).at("mistral"),
        ("v2", "chat") => Route::to(Api::CohereV2Chat).at("cohere"),
        ("v2", "embed") => Route::to(Api::CohereV2Embed).at("cohere"),
        ("v2", "rerank") => Route::to(Api::CohereV2Rerank).at("cohere"),
        ("v1", "chat") if earlier == "api" => Route::to(Api::LmStudioChat).at("lmstudio"),
        ("v1", "chat") => Route::to(Api::CohereV1Chat).at("cohere"),
        ("v1", "generate") => Route::to(Api::CohereV1Generate).at("cohere"),
        ("v1", "embed") => Route::to(Api::CohereV1Embed).at("cohere"),
        ("api", "chat") => Route::to(Api::OllamaChat).at("ollama"),
        ("api", "generate") => Route::to(Api::OllamaGenerate).at("ollama"),
        ("api", "embed" | "embeddings") => Route::to(Api::OllamaEmbed).at("ollama"),
        (
            "api",
            "show" | "tags" | "ps" | "pull" | "push" | "copy" | "create" | "delete" | "version",
        ) => Route::to(Api::Other).at("ollama"),
        (_, "embeddings" | "embedding") => Route::to(Api::Embeddings),
        (_, "rerank" | "reranking") => Route::to(Api::Rerank),
        ("text", "generation") if version("ml") => {
            Route::to(Api::WatsonxText).at("watsonx").streaming(false)
        }
        ("text", "generation_stream") => Route::to(Api::WatsonxText).at("watsonx").streaming(true),
        ("text", "chat" | "chat_stream") if version("ml") => {
            Route::to(Api::ChatCompletions).at("watsonx")
        }
        (_, "generate_stream") => Route::to(Api::TgiGenerate).streaming(true),
        (_, "generate") => Route::to(Api::TgiGenerate),
        ("", "completion") => Route::to(Api::LlamaCompletion),
        ("", "tokenize" | "detokenize" | "apply-template" | "health" | "props" | "slots") => {
            Route::to(Api::Other)
        }
        _ if version("models") && version("api-inference") => Route::to(Api::HfInference),
        _ if parts.first() == Some(&"models") && method.eq_ignore_ascii_case("POST") => {
            Route::to(Api::HfInference).at("huggingface")
        }
        (_, "models" | "files" | "batches" | "uploads" | "vector_stores") => Route::to(Api::Other),
        ("models" | "files" | "batches" | "vector_stores" | "fine_tuning" | "threads", _) => {
            Route::to(Api::Other)
        }
        (_, "threads" | "assistants" | "jobs" | "content" | "results") => Route::to(Api::Other),
        _ => return None,
    };
    Some(found)
}

fn after<'a>(parts: &[&'a str], name: &str) -> Option<&'a str> {
    let at = parts.iter().position(|part| *part == name)?;
    parts.get(at.saturating_add(1)).copied()
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let digits = (byte == b'%')
            .then(|| Some((hex(ahead.next()?)?, hex(ahead.next()?)?)))
            .flatten();
        match digits {
            Some((high, low)) => {
                bytes.push((high << 4) | low);
                rest = ahead;
            }
            None => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_their_interfaces_whatever_stands_before_them() {
        for (path, api) in [
            ("/v1/chat/completions", Api::ChatCompletions),
            (
                "//openai/deployments/gpt4/chat/completions",
                Api::ChatCompletions,
            ),
            ("/openai/deployments/gpt4/embeddings", Api::Embeddings),
            ("/together/v1/completions", Api::Completions),
            ("/v1/responses", Api::Responses),
            ("/v1/responses/compact", Api::ResponsesCompact),
            ("/v1/responses/resp_1/cancel", Api::ResponsesRetrieve),
            ("/v1/messages/count_tokens", Api::CountTokens),
            ("/v1/threads/t/runs", Api::AssistantsRun),
            ("/v1/threads/t/messages", Api::Other),
            ("/api/show", Api::Other),
            ("/api/embed", Api::OllamaEmbed),
            ("/model/a/converse", Api::Converse),
            ("/completion", Api::LlamaCompletion),
            ("/api/v1/chat", Api::LmStudioChat),
            ("/v1/models/m/versions/7", Api::Unknown),
            ("/anything/else", Api::Unknown),
        ] {
            assert_eq!(route("POST", path).api, Some(api), "{path}");
        }
        assert_eq!(route("GET", "/v1/models").api, Some(Api::Other));
        assert_eq!(
            route("GET", "/v1/responses/r").api,
            Some(Api::ResponsesRetrieve)
        );
    }

    #[test]
    fn a_path_says_model_streaming_and_region() {
        let found = route(
            "POST",
            "/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-x:streamRawPredict",
        );
        assert_eq!(found.api, Some(Api::Messages));
        assert_eq!(found.model.as_deref(), Some("claude-x"));
        assert_eq!(found.streaming, Some(true));
        assert_eq!(found.region.as_deref(), Some("us-east5"));
        assert_eq!(found.provider, Some("vertex_ai"));
        let found = route(
            "POST",
            "/model/arn%3Aaws%3Abedrock%3A%2Fprofile%2Fus.x-v1%3A0/converse-stream",
        );
        assert_eq!(
            found.model.as_deref(),
            Some("arn:aws:bedrock:/profile/us.x-v1:0")
        );
        assert_eq!(percent_decoded("100%"), "100%");
    }
}
