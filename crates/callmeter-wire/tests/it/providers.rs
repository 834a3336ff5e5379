//! Formats and failures that the recordings lack, written from the providers' documents.

use callmeter_core::{Flags, UsageSource};
use callmeter_wire::Finish;

use crate::support::{Exchange, failure, frame, tokens, unit};

const CHAT: &str = "/v1/chat/completions";

#[test]
fn nim_streams_like_vllm_and_counts_its_reasoning() {
    let reading = Exchange::events(
        CHAT,
        &[
            "{\"id\":\"chat-1\",\"model\":\"nvidia/llama-3.3-nemotron\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"x\"},\"finish_reason\":null}],\"usage\":null}",
            "{\"id\":\"chat-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"y\"},\"finish_reason\":\"stop\"}],\"usage\":null}",
            "{\"id\":\"chat-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":30,\"completion_tokens\":60,\"total_tokens\":90,\"prompt_tokens_details\":null}}",
            "[DONE]",
        ],
    )
    .host("integrate.api.nvidia.com")
    .header("NVCF-REQID", "abc")
    .read();
    assert_eq!(
        (reading.provider, tokens(&reading)),
        (Some("nvidia_nim"), (Some(30), Some(60)))
    );
    assert_eq!(reading.provider_request_id.as_deref(), Some("abc"));
    let embedding = Exchange::json(
        "/v1/embeddings",
        "{\"model\":\"nv-embed\",\"usage\":{\"prompt_tokens\":6,\"total_tokens\":6}}",
    )
    .read();
    assert_eq!(tokens(&embedding), (Some(6), None));
    let pending = Exchange::json(CHAT, "{}").status(202).read();
    assert_eq!(
        (failure(&pending), pending.usage_source()),
        (None, UsageSource::None)
    );
}

#[test]
fn continuous_usage_takes_the_last_and_a_stream_without_usage_has_none() {
    let running = Exchange::events(
        CHAT,
        &[
            "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1,\"total_tokens\":6}}",
            "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"b\"},\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2,\"total_tokens\":7}}",
            "[DONE]",
        ],
    )
    .read();
    assert_eq!(tokens(&running), (Some(5), Some(2)));
    let silent = Exchange::events(CHAT, &["{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"b\"},\"finish_reason\":\"stop\"}]}", "[DONE]"]).read();
    assert_eq!(
        (silent.usage_source(), silent.stream_complete),
        (UsageSource::None, Some(true))
    );
}

#[test]
fn tgi_answers_in_its_own_words() {
    let plain = Exchange::json("/generate", "{\"generated_text\":\"x\",\"details\":{\"finish_reason\":\"eos_token\",\"generated_tokens\":12,\"prefill\":[{\"id\":1,\"text\":\"secret\"}]}}")
        .header("x-prompt-tokens", "9")
        .header("x-generated-tokens", "12")
        .header("x-total-time", "480")
        .read();
    assert_eq!(tokens(&plain), (Some(9), Some(12)));
    assert_eq!(
        (plain.finish(), unit(&plain, "compute_milli")),
        (Some(Finish::Stop), Some(480))
    );
    let busy = Exchange::json(
        "/generate",
        "{\"error\":\"Model is overloaded\",\"error_type\":\"overloaded\"}",
    )
    .status(429)
    .read();
    assert_eq!(failure(&busy), Some("overloaded"));
    let refused = Exchange::json(
        "/generate",
        "{\"error\":\"`inputs` must have less than 4096 tokens\",\"error_type\":\"validation\"}",
    )
    .status(422)
    .read();
    assert_eq!(failure(&refused), Some("context_length"));
    let stream = Exchange::events(
        "/generate_stream",
        &["{\"token\":{\"id\":1,\"text\":\"x\"},\"details\":null}", "{\"token\":{\"id\":2},\"generated_text\":\"xy\",\"details\":{\"finish_reason\":\"length\",\"generated_tokens\":2}}"],
    )
    .read();
    assert_eq!(
        (tokens(&stream), stream.finish()),
        ((None, Some(2)), Some(Finish::Length))
    );
}

#[test]
fn lm_studio_has_three_dialects() {
    let compatible = Exchange::json(CHAT, "{\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":3,\"total_tokens\":5}}").read();
    assert_eq!(tokens(&compatible), (Some(2), Some(3)));
    let zero = Exchange::json(
        "/api/v0/chat/completions",
        "{\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":3,\"total_tokens\":5},\"stats\":{\"tokens_per_second\":51.4,\"stop_reason\":\"eosFound\"}}",
    )
    .read();
    assert_eq!(
        (tokens(&zero), zero.finish()),
        ((Some(2), Some(3)), Some(Finish::Stop))
    );
    let native = Exchange::json(
        "/api/v1/chat",
        "{\"model_instance_id\":\"qwen\",\"output\":[],\"stats\":{\"input_tokens\":20,\"total_output_tokens\":30,\"reasoning_output_tokens\":10,\"tokens_per_second\":1.5}}",
    )
    .read();
    assert_eq!(
        (tokens(&native), native.usage.reasoning_tokens),
        ((Some(20), Some(30)), Some(10))
    );
    let stream = Exchange::events(
        "/api/v1/chat",
        &["message.delta|{\"type\":\"message.delta\",\"content\":\"x\"}", "chat.end|{\"type\":\"chat.end\",\"result\":{\"model_instance_id\":\"qwen\",\"stats\":{\"input_tokens\":20,\"total_output_tokens\":30}}}"],
    )
    .read();
    assert_eq!(
        (tokens(&stream), stream.stream_complete),
        ((Some(20), Some(30)), Some(true))
    );
}

#[test]
fn llama_cpp_counts_in_usage_or_in_timings() {
    let native = Exchange::json(
        "/completion",
        "{\"content\":\"x\",\"prompt\":\"y\",\"tokens_evaluated\":30,\"tokens_predicted\":8,\"tokens_cached\":25,\"stop_type\":\"eos\",\"timings\":{\"cache_n\":25,\"prompt_n\":5,\"predicted_n\":8}}",
    )
    .read();
    assert_eq!(
        (tokens(&native), native.usage.cache_read_tokens),
        ((Some(30), Some(8)), Some(25))
    );
    let old = Exchange::json(CHAT, "{\"choices\":[{\"finish_reason\":\"stop\"}],\"timings\":{\"cache_n\":25,\"prompt_n\":5,\"predicted_n\":8}}").read();
    assert_eq!(
        (tokens(&old), old.usage.cache_read_tokens),
        ((Some(30), Some(8)), Some(25))
    );
    let line = Exchange::new(CHAT, "text/event-stream", "data: {\"choices\":[]}\n\nerror: {\"code\":500,\"message\":\"context shift is disabled\",\"type\":\"server_error\"}\n\n").read();
    assert_eq!(
        (failure(&line), line.stream_complete),
        (Some("server"), Some(false))
    );
    let full = Exchange::json(CHAT, "{\"error\":{\"code\":400,\"message\":\"x\",\"type\":\"exceed_context_size_error\",\"n_prompt_tokens\":9,\"n_ctx\":4}}").status(400).read();
    assert_eq!(failure(&full), Some("context_length"));
    let loading = Exchange::json(
        CHAT,
        "{\"error\":{\"code\":503,\"message\":\"Loading model\",\"type\":\"unavailable_error\"}}",
    )
    .status(503)
    .read();
    assert_eq!(failure(&loading), Some("overloaded"));
}

#[test]
fn ollama_leaves_zeros_out_and_fails_in_the_middle() {
    let cached = Exchange::json(
        "/api/chat",
        "{\"done\":true,\"done_reason\":\"stop\",\"eval_count\":5}",
    )
    .read();
    assert_eq!(tokens(&cached), (None, Some(5)));
    let loaded = Exchange::json(
        "/api/chat",
        "{\"model\":\"m\",\"done\":true,\"done_reason\":\"load\"}",
    )
    .read();
    assert_eq!(
        (loaded.finish_reason.as_deref(), loaded.finish()),
        (Some("load"), Some(Finish::Other))
    );
    let torn = Exchange::new("/api/chat", "application/x-ndjson", "{\"message\":{\"content\":\"x\"},\"done\":false}\n{\"error\":\"llama runner terminated\"}\n").read();
    assert_eq!(
        (failure(&torn), torn.stream_complete),
        (Some("server"), Some(false))
    );
    let embedded = Exchange::json(
        "/api/embed",
        "{\"model\":\"m\",\"embeddings\":[[0.1]],\"prompt_eval_count\":8}",
    )
    .read();
    assert_eq!(tokens(&embedded), (Some(8), None));
}

#[test]
fn failures_before_the_answer_have_their_kinds() {
    for (path, status, body, kind) in [
        (
            CHAT,
            429,
            "{\"error\":{\"message\":\"Rate limit reached for gpt-5\",\"type\":\"requests\",\"code\":\"rate_limit_exceeded\"}}",
            "rate_limit",
        ),
        (
            CHAT,
            429,
            "{\"error\":{\"message\":\"You exceeded your current quota\",\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\"}}",
            "rate_limit",
        ),
        (
            "/v1/messages",
            529,
            "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}",
            "overloaded",
        ),
        (
            "/v1/messages",
            413,
            "{\"type\":\"error\",\"error\":{\"type\":\"request_too_large\",\"message\":\"x\"}}",
            "invalid_request",
        ),
        (
            "/v1/messages",
            504,
            "{\"type\":\"error\",\"error\":{\"type\":\"timeout_error\",\"message\":\"x\"}}",
            "timeout",
        ),
        (
            "/v1/messages",
            400,
            "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"Your credit balance is too low\"}}",
            "rate_limit",
        ),
        (CHAT, 408, "", "timeout"),
        (CHAT, 504, "<html>gateway</html>", "timeout"),
        (CHAT, 502, "<html>bad gateway</html>", "server"),
        (
            CHAT,
            402,
            "{\"error\":{\"message\":\"Insufficient Balance\",\"type\":\"unknown_error\"}}",
            "rate_limit",
        ),
        (
            CHAT,
            400,
            "{\"error\":{\"code\":\"content_filter\",\"innererror\":{\"code\":\"ResponsibleAIPolicyViolation\"},\"status\":400}}",
            "content_filter",
        ),
        (
            "/v1/images/generations",
            400,
            "{\"error\":{\"code\":\"moderation_blocked\",\"type\":\"image_generation_user_error\"}}",
            "content_filter",
        ),
        (
            "/v1beta/models/g:generateContent",
            400,
            "{\"error\":{\"code\":400,\"message\":\"API key not valid.\",\"status\":\"INVALID_ARGUMENT\",\"details\":[{\"reason\":\"API_KEY_INVALID\"}]}}",
            "auth",
        ),
        (
            "/v1beta/models/g:streamGenerateContent",
            429,
            "[{\"error\":{\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\",\"message\":\"x\"}}]",
            "rate_limit",
        ),
        (
            "/v1beta/models/g:generateContent",
            503,
            "{\"error\":{\"code\":503,\"status\":\"UNAVAILABLE\",\"message\":\"x\"}}",
            "overloaded",
        ),
        (
            "/v1beta/models/g:generateContent",
            504,
            "{\"error\":{\"code\":504,\"status\":\"DEADLINE_EXCEEDED\"}}",
            "timeout",
        ),
        (
            CHAT,
            422,
            "{\"detail\":[{\"msg\":\"field required\"}]}",
            "invalid_request",
        ),
    ] {
        let reading = Exchange::json(path, body).status(status).read();
        assert_eq!(failure(&reading), Some(kind), "{path} {status} {body}");
        assert_eq!(reading.http_status, Some(status));
    }
    let bedrock = Exchange::json("/model/m/converse", "{\"message\":\"Too many requests\"}")
        .status(429)
        .header(
            "x-amzn-ErrorType",
            "ThrottlingException:http://internal.amazon.com/",
        )
        .read();
    assert_eq!(
        (failure(&bedrock), bedrock.error_detail.as_deref()),
        (Some("rate_limit"), Some("ThrottlingException"))
    );
}

#[test]
fn failures_inside_a_success_are_failures() {
    let anthropic = Exchange::events(
        "/v1/messages",
        &["message_start|{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":3}}}", "error|{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}"],
    )
    .read();
    assert_eq!(
        (failure(&anthropic), tokens(&anthropic)),
        (Some("overloaded"), (Some(3), None))
    );
    let responses = Exchange::events(
        "/v1/responses",
        &["{\"type\":\"response.failed\",\"response\":{\"id\":\"r\",\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"x\"},\"usage\":null}}"],
    )
    .read();
    assert_eq!(
        (failure(&responses), responses.finish_reason.as_deref()),
        (Some("server"), Some("failed"))
    );
    let openrouter = Exchange::events(
        CHAT,
        &["{\"id\":\"gen-1\",\"error\":{\"code\":429,\"message\":\"x\"},\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}"],
    )
    .read();
    assert_eq!(failure(&openrouter), Some("rate_limit"));
    let azure = Exchange::json(
        CHAT,
        "{\"error\":{\"code\":\"content_filter\",\"status\":400,\"message\":\"x\"}}",
    )
    .read();
    assert_eq!(failure(&azure), Some("content_filter"));
    let mut body = frame(
        &[(":message-type", "event"), (":event-type", "messageStart")],
        b"{\"role\":\"assistant\"}",
    );
    body.extend(frame(
        &[
            (":message-type", "exception"),
            (":exception-type", "throttlingException"),
        ],
        b"{\"message\":\"slow down\"}",
    ));
    let bedrock = Exchange::new(
        "/model/m/converse-stream",
        "application/vnd.amazon.eventstream",
        body,
    )
    .read();
    assert_eq!(
        (failure(&bedrock), bedrock.stream_complete),
        (Some("rate_limit"), Some(false))
    );
}

#[test]
fn a_filter_that_ends_an_answer_is_a_finish_not_a_failure() {
    for (path, body, raw) in [
        (
            CHAT,
            "{\"choices\":[{\"index\":0,\"finish_reason\":\"content_filter\"}]}",
            "content_filter",
        ),
        (
            "/v1/messages",
            "{\"type\":\"message\",\"stop_reason\":\"refusal\",\"usage\":{\"input_tokens\":1,\"output_tokens\":0}}",
            "refusal",
        ),
        (
            "/v1beta/models/g:generateContent",
            "{\"promptFeedback\":{\"blockReason\":\"PROHIBITED_CONTENT\"},\"usageMetadata\":{\"promptTokenCount\":4,\"totalTokenCount\":4}}",
            "PROHIBITED_CONTENT",
        ),
        (
            "/model/m/converse",
            "{\"stopReason\":\"guardrail_intervened\",\"usage\":{\"inputTokens\":0,\"outputTokens\":0}}",
            "guardrail_intervened",
        ),
    ] {
        let reading = Exchange::json(path, body).read();
        assert_eq!(
            (failure(&reading), reading.finish_reason.as_deref()),
            (None, Some(raw)),
            "{path}"
        );
        assert_eq!(reading.finish(), Some(Finish::ContentFilter));
    }
}

#[test]
fn a_torn_frame_counts_for_nothing_and_marks_the_stream() {
    let mut body = frame(
        &[(":message-type", "event"), (":event-type", "metadata")],
        b"{\"usage\":{\"inputTokens\":5,\"outputTokens\":6,\"totalTokens\":11}}",
    );
    let last = body.len() - 20;
    body[last] ^= 1;
    let reading = Exchange::new(
        "/model/m/converse-stream",
        "application/vnd.amazon.eventstream",
        body,
    )
    .read();
    assert_eq!(tokens(&reading), (None, None));
    assert!(reading.flags.contains(Flags::STREAM_CUT));
}

#[test]
fn the_first_model_that_is_named_and_the_first_choice_count() {
    let reading = Exchange::events(
        CHAT,
        &[
            "{\"model\":\"\",\"choices\":[],\"prompt_filter_results\":[{\"content_filter_results\":{}}]}",
            "{\"model\":\"gpt-4o-2024-11-20\",\"choices\":[{\"index\":1,\"delta\":{},\"finish_reason\":\"length\"}]}",
            "{\"model\":\"gpt-4o-2024-11-20\",\"choices\":[{\"finish_reason\":\"stop\",\"index\":0}]}",
            "[DONE]",
        ],
    )
    .read();
    assert_eq!(reading.model.as_deref(), Some("gpt-4o-2024-11-20"));
    assert_eq!(reading.finish_reason.as_deref(), Some("stop"));
}

#[test]
fn content_is_announced_when_it_comes_and_not_before() {
    use callmeter_wire::{RequestFacts, ResponseReader};
    let facts = RequestFacts::from_line("POST", CHAT);
    let mut reader =
        ResponseReader::new(&facts, Some(200), [("content-type", "text/event-stream")]);
    reader.push(b"data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n");
    assert!(!reader.has_content());
    reader.push(b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"H\"}}]}\n\n");
    assert!(reader.has_content());
}
