//! The allow-list: every JSON path that is read from a response, for all formats in one tree.
//!
//! A path that is not here is skipped, whatever it holds: bodies echo prompts, instructions and
//! documents, and none of that is looked at. Of answers only their presence is seen
//! ([`Node::Content`]), for the time to the first token. Of an error's message the first bytes are
//! looked at to tell its kind, and dropped with the document.
//!
//! Shapes are told apart by their keys, so one tree serves plain bodies, stream events and
//! gateways that wrap one shape in another. Sources: the providers' published types and recorded
//! responses.

use super::scanner::{Allow, Want};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($item:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($item),+ }
        impl $name {
            #[allow(dead_code)] // not every list is stored by its numbers
            pub(crate) const COUNT: usize = [$(Self::$item),+].len();
        }
    };
}

words! {
    /// A count as a wire format names it.
    Key {
        // OpenAI's shapes
        Prompt, Completion, Total, Cached, CacheWrite, AudioIn, ImageIn, VideoIn, Reasoning, AudioOut,
        ImageOut, AcceptedPrediction, RejectedPrediction, TopCached, CacheHit, TopReasoning,
        // `input_tokens` and `output_tokens`: Responses and Anthropic
        Input, Output, AnthropicRead, AnthropicWrite, Write5m, Write1h, Write24h, Thinking,
        // Bedrock Converse
        ConverseInput, ConverseOutput, ConverseTotal, ConverseRead, ConverseWrite, Converse5m, Converse1h,
        // Gemini
        GeminiPrompt, GeminiCandidates, GeminiThoughts, GeminiToolUse, GeminiCached, GeminiTotal,
        GeminiAudioIn, GeminiImageIn, GeminiVideoIn, GeminiAudioOut, GeminiImageOut,
        // Gemini Interactions
        InteractionInput, InteractionOutput, InteractionThought, InteractionCached, InteractionToolUse,
        InteractionTotal, InteractionAudioIn,
        // Cohere
        CohereInput, CohereOutput, CohereCached, CohereReasoning, CohereImage, BilledInput, BilledOutput, BilledImage,
        // formats with two plain counts
        PlainInput, PlainOutput, PlainTotal, PlainReasoning,
        // Bedrock's invocation metrics
        MetricInput, MetricOutput, MetricRead, MetricWrite,
        // llama.cpp
        TimingCache, TimingPrompt, TimingPredicted,
        // other billed units
        SearchUnits, WebSearch, WebFetch, CodeRuns, FileSearch, ImageCalls, SecondsMilli, Pages, Images, Citations,
        // one element of a list of passes
        PassInput, PassOutput, PassRead, PassWrite,
        // one element of a list by modality or lifetime
        ElementCount,
    }
}

words! {
    /// A short text that is kept while its document lasts.
    Slot {
        Type, EventType, Object, Id, GenerationId, Model, ModelVersion, Status, Incomplete, Finish, DoneReason, Done,
        ServiceTier, TrafficType, BlockReason, ChoiceIndex, ChoiceFinish, ErrorType, ErrorCode, ErrorStatus,
        ErrorReason, ErrorInner, ErrorText, TopCode, TopMessage, TopErrorType, Fingerprint, RequestId, ByokFlag,
        PassType, Modality, Lifetime, OutputType, Speed, Geography,
    }
}

words! {
    /// An amount of money as a provider states it.
    CostKey { Cost, CostTotal, Upstream, Ticks, Estimate }
}

/// A place in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Skip,
    Root,
    /// A document of an unknown dialect: known paths first, then usage objects wherever they stand.
    WildRoot,
    /// Anywhere else in such a document.
    Wild,
    /// A usage object that was found there.
    WildUsage,
    WildGeminiUsage,
    /// `response`, `message`, `interaction`, `result`: an answer inside an event.
    Envelope,
    Message,
    Delta,
    /// `delta.message`: Cohere's.
    DeltaMessage,
    DeltaContent,
    /// An error, or an object that holds one.
    ErrorLine,
    Error,
    ErrorDetail,
    InnerError,
    IncompleteDetails,
    /// `serviceTier`: Bedrock's object.
    Tier,
    Choices,
    Choice,
    ChoiceDelta,
    ChoiceMessage,
    FinishDetails,
    /// `messageStop`, `metadata`: Nova's events inside an invoke stream.
    MessageStop,
    Candidates,
    Candidate,
    CandidateContent,
    PromptFeedback,
    Outputs,
    Generations,
    Generation,
    GenerationReason,
    Items,
    Item,
    Predictions,
    Prediction,
    Embeddings,
    Statistics,
    PredictMetadata,
    TokenMetadata,
    TokenMetadataIn,
    TokenMetadataOut,
    Metrics,
    Timings,
    Groq,
    Usage,
    InDetails,
    OutDetails,
    CacheCreation,
    CacheDetails,
    CacheDetail,
    ServerTools,
    XaiTools,
    Passes,
    Pass,
    CostObject,
    CostDetails,
    PydanticGateway,
    Tokens,
    BilledUnits,
    GeminiUsage,
    ModalityIn,
    ModalityInOne,
    ModalityOut,
    ModalityOutOne,
    InteractionModalities,
    InteractionModality,
    Meta,
    Stats,
    TgiDetails,
    /// A part of the answer: only that it is there.
    Content,
    /// Base64 of another document.
    Bytes,
    Text(Slot),
    Count(Key),
    Cost(CostKey),
}

use Node::{Content, Cost, Count, Skip, Text};

macro_rules! tree {
    ($self:ident, $key:ident; $($node:ident { $($($name:literal)|+ => $child:expr),* $(,)? })*) => {
        match $self {
            $(Node::$node => match $key { $($($name)|+ => $child,)* _ => Skip },)*
            _ => Skip,
        }
    };
}

impl Allow for Node {
    const SKIP: Self = Skip;

    fn child(self, key: &[u8]) -> Self {
        match self {
            Node::WildRoot => {
                return match Node::Root.child(key) {
                    Skip => Node::Wild.child(key),
                    known => known,
                };
            }
            Node::Wild => {
                return match key {
                    b"usage" | b"token_usage" | b"tokenUsage" | b"usage_info" => Node::WildUsage,
                    b"usageMetadata" | b"usage_metadata" => Node::WildGeminiUsage,
                    _ => Node::Wild,
                };
            }
            Node::ErrorLine => {
                return match key {
                    b"error" => Node::Error,
                    other => Node::Error.child(other),
                };
            }
            Node::WildUsage => return Node::Usage.child(key),
            Node::WildGeminiUsage => return Node::GeminiUsage.child(key),
            _ => {}
        }
        tree! { self, key;
            Root {
                b"id" => Text(Slot::Id), b"responseId" => Text(Slot::Id), b"generation_id" => Text(Slot::GenerationId),
                b"model" => Text(Slot::Model), b"modelVersion" => Text(Slot::ModelVersion),
                b"type" => Text(Slot::Type), b"event_type" => Text(Slot::EventType), b"object" => Text(Slot::Object),
                b"status" => Text(Slot::Status), b"finish_reason" => Text(Slot::Finish),
                b"stop_reason" | b"stopReason" | b"completionReason" => Text(Slot::Finish),
                b"stop_type" => Text(Slot::DoneReason),
                b"done_reason" => Text(Slot::DoneReason), b"done" => Text(Slot::Done),
                b"service_tier" => Text(Slot::ServiceTier), b"serviceTier" => Node::Tier,
                b"system_fingerprint" => Text(Slot::Fingerprint),
                b"request_id" => Text(Slot::RequestId),
                b"incomplete_details" => Node::IncompleteDetails,
                b"choices" => Node::Choices, b"candidates" => Node::Candidates, b"promptFeedback" => Node::PromptFeedback,
                b"outputs" => Node::Outputs, b"results" => Node::Generations, b"generations" => Node::Generations,
                b"completions" => Node::Generations, b"output" => Node::Items, b"predictions" => Node::Predictions,
                b"usage" | b"usage_info" => Node::Usage, b"usageMetadata" => Node::GeminiUsage, b"x_groq" => Node::Groq,
                b"timings" => Node::Timings, b"meta" => Node::Meta, b"stats" => Node::Stats,
                b"details" => Node::TgiDetails, b"metadata" => Node::PredictMetadata, b"messageStop" => Node::MessageStop,
                b"amazon-bedrock-invocationMetrics" => Node::Metrics,
                b"response" | b"interaction" | b"result" => Node::Envelope,
                b"last_error" => Node::Error,
                b"message" => Node::Message, b"delta" => Node::Delta, b"bytes" => Node::Bytes,
                b"content" | b"generated_text" | b"thinking" | b"text" | b"token" | b"completion" => Content,
                b"error" | b"errors" => Node::Error, b"code" => Text(Slot::TopCode), b"Message" => Text(Slot::TopMessage),
                b"detail" => Text(Slot::TopMessage), b"error_type" | b"__type" => Text(Slot::TopErrorType), b"error_code" => Text(Slot::TopCode),
                // formats whose counts stand at the top
                b"prompt_eval_count" | b"prompt_token_count" | b"inputTextTokenCount" | b"tokens_evaluated" => Count(Key::PlainInput),
                b"eval_count" | b"generation_token_count" | b"tokens_predicted" => Count(Key::PlainOutput),
                b"totalOutputTextTokenCount" => Count(Key::PlainOutput), b"tokens_cached" => Count(Key::TopCached),
                b"input_tokens" | b"inputTokens" | b"totalTokens" => Count(Key::PlainInput),
                b"cached_tokens" => Count(Key::TopCached),
            }
            Envelope {
                b"id" => Text(Slot::Id), b"model" => Text(Slot::Model), b"model_instance_id" => Text(Slot::Model),
                b"object" => Text(Slot::Object), b"response_id" => Text(Slot::Id),
                b"status" => Text(Slot::Status), b"finish_reason" => Text(Slot::Finish), b"stop_reason" => Text(Slot::Finish),
                b"service_tier" => Text(Slot::ServiceTier), b"incomplete_details" => Node::IncompleteDetails,
                b"usage" => Node::Usage, b"meta" => Node::Meta, b"stats" => Node::Stats, b"output" => Node::Items,
                b"error" => Node::Error, b"generations" => Node::Generations, b"response" => Content,
            }
            Message {
                b"id" => Text(Slot::Id), b"model" => Text(Slot::Model), b"usage" => Node::Usage,
                b"stop_reason" => Text(Slot::Finish), b"content" | b"thinking" | b"tool_calls" => Content,
            }
            Delta {
                b"stop_reason" | b"finish_reason" => Text(Slot::Finish), b"usage" => Node::Usage, b"error" => Node::Error,
                b"error_type" => Text(Slot::ErrorType),
                b"text" | b"content" | b"thinking" | b"partial_json" | b"toolUse" | b"reasoningContent" => Content,
                b"message" => Node::DeltaMessage,
            }
            DeltaMessage { b"content" => Node::DeltaContent, b"tool_plan" | b"tool_calls" => Content }
            DeltaContent { b"text" | b"thinking" => Content }
            Error {
                b"type" => Text(Slot::ErrorType), b"code" => Text(Slot::ErrorCode), b"status" => Text(Slot::ErrorStatus),
                b"status_code" => Text(Slot::ErrorStatus), b"message" => Text(Slot::ErrorText),
                b"reason" => Text(Slot::ErrorReason), b"details" => Node::ErrorDetail, b"innererror" => Node::InnerError,
            }
            Tier { b"type" => Text(Slot::ServiceTier) }
            ErrorDetail { b"reason" => Text(Slot::ErrorReason) }
            InnerError { b"code" => Text(Slot::ErrorInner) }
            IncompleteDetails { b"reason" => Text(Slot::Incomplete) }
            Choice {
                b"index" => Text(Slot::ChoiceIndex), b"finish_reason" => Text(Slot::ChoiceFinish),
                b"delta" => Node::ChoiceDelta, b"message" => Node::ChoiceMessage, b"text" => Content, b"error" => Node::Error,
                b"usage" => Node::Usage, b"finish_details" => Node::FinishDetails,
            }
            FinishDetails { b"type" => Text(Slot::ChoiceFinish) }
            MessageStop { b"stopReason" => Text(Slot::Finish) }
            ChoiceDelta {
                b"content" | b"reasoning_content" | b"reasoning" | b"refusal" | b"tool_calls" | b"function_call" | b"audio" => Content,
            }
            Candidate {
                b"index" => Text(Slot::ChoiceIndex), b"finishReason" => Text(Slot::ChoiceFinish), b"content" => Node::CandidateContent,
            }
            CandidateContent { b"parts" => Content }
            PromptFeedback { b"blockReason" => Text(Slot::BlockReason) }
            Generation {
                b"finish_reason" | b"stop_reason" | b"completionReason" | b"stopReason" => Text(Slot::ChoiceFinish), b"finishReason" => Node::GenerationReason,
                b"tokenCount" => Count(Key::ElementCount), b"index" => Text(Slot::ChoiceIndex), b"text" | b"outputText" => Content,
                b"generated_token_count" => Count(Key::PlainOutput), b"input_token_count" => Count(Key::PlainInput),
            }
            GenerationReason { b"reason" => Text(Slot::ChoiceFinish) }
            Item { b"type" => Text(Slot::OutputType) }
            Prediction { b"embeddings" => Node::Embeddings }
            Embeddings { b"statistics" => Node::Statistics }
            Statistics { b"token_count" => Count(Key::ElementCount) }
            PredictMetadata { b"tokenMetadata" => Node::TokenMetadata, b"usage" => Node::Usage }
            TokenMetadata { b"inputTokenCount" => Node::TokenMetadataIn, b"outputTokenCount" => Node::TokenMetadataOut }
            TokenMetadataIn { b"totalTokens" => Count(Key::PlainInput) }
            TokenMetadataOut { b"totalTokens" => Count(Key::PlainOutput) }
            Metrics {
                b"inputTokenCount" => Count(Key::MetricInput), b"outputTokenCount" => Count(Key::MetricOutput),
                b"cacheReadInputTokenCount" => Count(Key::MetricRead), b"cacheWriteInputTokenCount" => Count(Key::MetricWrite),
            }
            Timings {
                b"cache_n" => Count(Key::TimingCache), b"prompt_n" => Count(Key::TimingPrompt), b"predicted_n" => Count(Key::TimingPredicted),
            }
            Groq { b"usage" => Node::Usage, b"id" => Text(Slot::RequestId), b"error" => Node::Error }
            Usage {
                b"prompt_tokens" => Count(Key::Prompt), b"completion_tokens" => Count(Key::Completion), b"total_tokens" => Count(Key::Total),
                b"prompt_tokens_details" | b"prompt_token_details" | b"input_tokens_details" | b"input_token_details" => Node::InDetails,
                b"completion_tokens_details" | b"completion_token_details" | b"output_tokens_details" | b"output_token_details" => Node::OutDetails,
                b"cached_tokens" | b"num_cached_tokens" => Count(Key::TopCached), b"prompt_cache_hit_tokens" => Count(Key::CacheHit),
                b"reasoning_tokens" => Count(Key::TopReasoning),
                b"input_tokens" => Count(Key::Input), b"output_tokens" => Count(Key::Output),
                b"cache_read_input_tokens" => Count(Key::AnthropicRead), b"cache_creation_input_tokens" => Count(Key::AnthropicWrite),
                b"cache_creation" => Node::CacheCreation, b"server_tool_use" | b"server_tool_use_details" => Node::ServerTools,
                b"server_side_tool_usage_details" => Node::XaiTools,
                b"iterations" => Node::Passes, b"service_tier" => Text(Slot::ServiceTier), b"speed" => Text(Slot::Speed),
                b"inference_geo" => Text(Slot::Geography), b"cached_prompt_text_tokens" => Count(Key::TopCached),
                b"inputTokens" => Count(Key::ConverseInput), b"outputTokens" => Count(Key::ConverseOutput), b"totalTokens" => Count(Key::ConverseTotal),
                b"cacheReadInputTokens" | b"cacheReadInputTokenCount" => Count(Key::ConverseRead),
                b"cacheWriteInputTokens" | b"cacheWriteInputTokenCount" => Count(Key::ConverseWrite), b"cacheDetails" => Node::CacheDetails,
                b"total_input_tokens" => Count(Key::InteractionInput), b"total_output_tokens" => Count(Key::InteractionOutput),
                b"total_thought_tokens" => Count(Key::InteractionThought), b"total_cached_tokens" => Count(Key::InteractionCached),
                b"total_tool_use_tokens" => Count(Key::InteractionToolUse), b"input_tokens_by_modality" => Node::InteractionModalities,
                b"tokens" => Node::Tokens, b"billed_units" => Node::BilledUnits,
                b"cost" => Node::CostObject, b"cost_details" => Node::CostDetails, b"is_byok" => Text(Slot::ByokFlag),
                b"cost_in_usd_ticks" => Cost(CostKey::Ticks), b"pydantic_ai_gateway" => Node::PydanticGateway,
                b"seconds" => Count(Key::SecondsMilli), b"pages_processed" => Count(Key::Pages), b"num_search_queries" => Count(Key::WebSearch),
                b"citation_tokens" => Count(Key::Citations),
            }
            InDetails {
                b"cached_tokens" | b"cache_read_input_tokens" => Count(Key::Cached),
                b"cache_write_tokens" | b"cache_creation_tokens" => Count(Key::CacheWrite),
                b"audio_tokens" => Count(Key::AudioIn), b"image_tokens" => Count(Key::ImageIn), b"video_tokens" => Count(Key::VideoIn),
            }
            OutDetails {
                b"reasoning_tokens" => Count(Key::Reasoning), b"thinking_tokens" => Count(Key::Thinking), b"audio_tokens" => Count(Key::AudioOut),
                b"image_tokens" => Count(Key::ImageOut), b"accepted_prediction_tokens" => Count(Key::AcceptedPrediction),
                b"rejected_prediction_tokens" => Count(Key::RejectedPrediction),
            }
            CacheCreation {
                b"ephemeral_5m_input_tokens" => Count(Key::Write5m), b"ephemeral_1h_input_tokens" => Count(Key::Write1h),
                b"ephemeral_24h_input_tokens" => Count(Key::Write24h),
            }
            CacheDetail { b"ttl" => Text(Slot::Lifetime), b"inputTokens" => Count(Key::ElementCount) }
            ServerTools { b"web_search_requests" => Count(Key::WebSearch), b"web_fetch_requests" => Count(Key::WebFetch) }
            XaiTools {
                b"web_search_calls" => Count(Key::WebSearch), b"code_interpreter_calls" => Count(Key::CodeRuns),
                b"file_search_calls" | b"document_search_calls" => Count(Key::FileSearch),
            }
            Pass {
                b"type" => Text(Slot::PassType), b"input_tokens" => Count(Key::PassInput), b"output_tokens" => Count(Key::PassOutput),
                b"cache_read_input_tokens" => Count(Key::PassRead), b"cache_creation_input_tokens" => Count(Key::PassWrite),
            }
            CostObject { b"total_cost" => Cost(CostKey::CostTotal) }
            CostDetails { b"upstream_inference_cost" => Cost(CostKey::Upstream) }
            PydanticGateway { b"cost_estimate" => Cost(CostKey::Estimate) }
            Meta { b"tokens" => Node::Tokens, b"billed_units" => Node::BilledUnits, b"cached_tokens" => Count(Key::CohereCached) }
            Tokens {
                b"input_tokens" => Count(Key::CohereInput), b"output_tokens" => Count(Key::CohereOutput),
                b"reasoning_tokens" => Count(Key::CohereReasoning), b"image_tokens" => Count(Key::CohereImage),
            }
            BilledUnits {
                b"input_tokens" => Count(Key::BilledInput), b"output_tokens" => Count(Key::BilledOutput), b"image_tokens" => Count(Key::BilledImage),
                b"search_units" => Count(Key::SearchUnits), b"images" => Count(Key::Images),
            }
            GeminiUsage {
                b"promptTokenCount" => Count(Key::GeminiPrompt), b"candidatesTokenCount" | b"responseTokenCount" => Count(Key::GeminiCandidates),
                b"thoughtsTokenCount" => Count(Key::GeminiThoughts), b"toolUsePromptTokenCount" => Count(Key::GeminiToolUse),
                b"cachedContentTokenCount" => Count(Key::GeminiCached), b"totalTokenCount" => Count(Key::GeminiTotal),
                b"promptTokensDetails" | b"promptTokenDetails" => Node::ModalityIn,
                b"candidatesTokensDetails" | b"responseTokensDetails" => Node::ModalityOut,
                b"trafficType" => Text(Slot::TrafficType), b"serviceTier" => Text(Slot::ServiceTier),
            }
            ModalityInOne { b"modality" => Text(Slot::Modality), b"tokenCount" => Count(Key::ElementCount) }
            ModalityOutOne { b"modality" => Text(Slot::Modality), b"tokenCount" => Count(Key::ElementCount) }
            InteractionModality { b"modality" => Text(Slot::Modality), b"tokens" => Count(Key::ElementCount) }
            Stats {
                b"input_tokens" => Count(Key::PlainInput), b"total_output_tokens" => Count(Key::PlainOutput),
                b"reasoning_output_tokens" => Count(Key::PlainReasoning), b"stop_reason" => Text(Slot::DoneReason),
            }
            TgiDetails { b"generated_tokens" => Count(Key::PlainOutput), b"finish_reason" => Text(Slot::Finish) }
        }
    }

    fn element(self) -> Self {
        match self {
            Node::Wild => Node::Wild,
            Node::Choices => Node::Choice,
            Node::Candidates => Node::Candidate,
            Node::Outputs | Node::Generations => Node::Generation,
            Node::Items => Node::Item,
            Node::Predictions => Node::Prediction,
            Node::Passes => Node::Pass,
            Node::CacheDetails => Node::CacheDetail,
            Node::ModalityIn => Node::ModalityInOne,
            Node::ModalityOut => Node::ModalityOutOne,
            Node::InteractionModalities => Node::InteractionModality,
            Node::ErrorDetail => Node::ErrorDetail,
            // Vertex and Google wrap an error in an array.
            Node::Error => Node::Error,
            _ => Skip,
        }
    }

    fn want(self) -> Want {
        match self {
            Text(_) | Count(_) | Cost(_) => Want::Value,
            // Either an object or a text of its own: `error`, `cost`, and Ollama's `response`.
            Node::Error | Node::ErrorLine | Node::CostObject => Want::Value,
            Node::Message | Node::ErrorDetail => Want::Value,
            Content | Node::Envelope | Node::Delta => Want::Presence,
            Node::Bytes => Want::Bytes,
            _ => Want::Nothing,
        }
    }
}
