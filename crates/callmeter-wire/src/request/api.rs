//! The wire formats by name: which provider interface a request went to.
//!
//! The names are those of the reference page and of `callmeter inspect`. Which of them are calls of a
//! model, and what they ask for, stands here; how a path leads to one is `route`.

use callmeter_core::Operation;

macro_rules! apis {
    ($($(#[$doc:meta])* $item:ident $word:literal $operation:ident $call:literal,)+) => {
        /// A provider's interface.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Api { $($(#[$doc])* $item,)+ }

        impl Api {
            /// Every interface.
            pub const ALL: &'static [Self] = &[$(Self::$item,)+];

            /// The name that `callmeter inspect` shows.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$item => $word,)+ }
            }

            /// What a request to it asks the model to do.
            pub const fn operation(self) -> Operation {
                match self { $(Self::$item => Operation::$operation,)+ }
            }

            /// Whether it is a model call that deserves a row; free look-ups are none.
            pub const fn is_call(self) -> bool {
                match self { $(Self::$item => $call,)+ }
            }
        }
    };
}

apis! {
    /// OpenAI's chat completions, and everyone's who copies them.
    ChatCompletions "chat_completions" Chat true,
    /// OpenAI's legacy completions.
    Completions "completions" Completion true,
    /// OpenAI's Responses.
    Responses "responses" Chat true,
    /// A compaction of a conversation, a call of its own.
    ResponsesCompact "responses_compact" Chat true,
    /// A look at a stored response.
    ResponsesRetrieve "responses_retrieve" Chat false,
    /// Tokens counted by OpenAI.
    ResponsesInputTokens "responses_input_tokens" Other false,
    /// A run of an assistant; only the request that starts it is a call.
    AssistantsRun "assistants_run" Chat true,
    /// Embeddings.
    Embeddings "embeddings" Embedding true,
    /// Images made or edited.
    Images "images" Image true,
    /// Speech from text.
    AudioSpeech "audio_speech" Audio true,
    /// Text from speech.
    AudioTranscriptions "audio_transcriptions" Audio true,
    /// Content judged.
    Moderations "moderations" Moderation true,
    /// Documents ranked.
    Rerank "rerank" Rerank true,
    /// Anthropic's Messages.
    Messages "messages" Chat true,
    /// Anthropic's legacy completions.
    AnthropicComplete "anthropic_complete" Completion true,
    /// Tokens counted by Anthropic, Google or Amazon.
    CountTokens "count_tokens" Other false,
    /// Gemini's and Vertex AI's content generation.
    GenerateContent "generate_content" Chat true,
    /// Gemini's embeddings.
    EmbedContent "embed_content" Embedding true,
    /// Gemini's Interactions.
    Interactions "interactions" Chat true,
    /// Vertex AI's predictions: embeddings, images, older text models.
    VertexPredict "vertex_predict" Other true,
    /// Bedrock's Converse.
    Converse "converse" Chat true,
    /// Bedrock's InvokeModel, in the vendor's own format.
    InvokeModel "invoke_model" Chat true,
    /// Ollama's chat.
    OllamaChat "ollama_chat" Chat true,
    /// Ollama's generation.
    OllamaGenerate "ollama_generate" Completion true,
    /// Ollama's embeddings.
    OllamaEmbed "ollama_embed" Embedding true,
    /// Cohere's first chat.
    CohereV1Chat "cohere_v1_chat" Chat true,
    /// Cohere's first generation.
    CohereV1Generate "cohere_v1_generate" Completion true,
    /// Cohere's first embeddings.
    CohereV1Embed "cohere_v1_embed" Embedding true,
    /// Cohere's first ranking.
    CohereV1Rerank "cohere_v1_rerank" Rerank true,
    /// Cohere's second chat.
    CohereV2Chat "cohere_v2_chat" Chat true,
    /// Cohere's second embeddings.
    CohereV2Embed "cohere_v2_embed" Embedding true,
    /// Cohere's second ranking.
    CohereV2Rerank "cohere_v2_rerank" Rerank true,
    /// llama.cpp's native completion.
    LlamaCompletion "llama_completion" Completion true,
    /// Text Generation Inference's native generation.
    TgiGenerate "tgi_generate" Completion true,
    /// LM Studio's native chat.
    LmStudioChat "lmstudio_chat" Chat true,
    /// watsonx's generation.
    WatsonxText "watsonx_text" Completion true,
    /// Mistral's document reading, billed by the page.
    Ocr "ocr" Other true,
    /// Hugging Face's legacy inference.
    HfInference "hf_inference" Other true,
    /// A path that is not known, with a body: perhaps a call of an unknown dialect.
    Unknown "unknown" Other true,
    /// No model call: lists, files, batches, look-ups.
    Other "other" Other false,
}

impl std::fmt::Display for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
