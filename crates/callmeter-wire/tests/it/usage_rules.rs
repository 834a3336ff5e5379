//! How counts are combined, rule by rule, from the providers' documents.

use callmeter_core::{Flags, PicoUsd, UsageSource};

use crate::support::{Exchange, tokens, unit};

const CHAT: &str = "/v1/chat/completions";

fn usage(path: &'static str, usage: &str) -> callmeter_wire::Reading {
    Exchange::json(path, &format!("{{\"usage\":{usage}}}")).read()
}

#[test]
fn absent_null_and_zero_are_three_things() {
    let absent = Exchange::json(CHAT, "{\"choices\":[]}").read();
    assert_eq!(
        (tokens(&absent), absent.usage_source()),
        ((None, None), UsageSource::None)
    );
    let null = Exchange::json(CHAT, "{\"usage\":null}").read();
    assert_eq!(
        (tokens(&null), null.usage_source()),
        ((None, None), UsageSource::None)
    );
    let details = usage(
        CHAT,
        "{\"prompt_tokens\":5,\"completion_tokens\":null,\"total_tokens\":5,\"prompt_tokens_details\":null}",
    );
    assert_eq!(
        (tokens(&details), details.usage.cache_read_tokens),
        ((Some(5), None), None)
    );
    let zero = usage(
        CHAT,
        "{\"prompt_tokens\":5,\"completion_tokens\":0,\"total_tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":0}}",
    );
    assert_eq!(
        (tokens(&zero), zero.usage.cache_read_tokens),
        ((Some(5), Some(0)), Some(0))
    );
}

#[test]
fn openai_counts_include_their_parts() {
    let reading = usage(
        CHAT,
        "{\"prompt_tokens\":100,\"completion_tokens\":50,\"total_tokens\":150,\"prompt_tokens_details\":{\"cached_tokens\":80,\
         \"audio_tokens\":4,\"image_tokens\":3,\"cache_write_tokens\":2},\"completion_tokens_details\":{\"reasoning_tokens\":30,\
         \"audio_tokens\":1,\"accepted_prediction_tokens\":6,\"rejected_prediction_tokens\":7}}",
    );
    assert_eq!(tokens(&reading), (Some(100), Some(50)));
    let counts = &reading.usage;
    assert_eq!(
        (counts.cache_read_tokens, counts.cache_write_tokens),
        (Some(80), Some(2))
    );
    assert_eq!(
        (counts.reasoning_tokens, counts.audio_input_tokens),
        (Some(30), Some(4))
    );
    assert_eq!(
        (counts.image_input_tokens, counts.audio_output_tokens),
        (Some(3), Some(1))
    );
    assert_eq!(unit(&reading, "rejected_prediction"), Some(7));
    assert_eq!(counts.usage_rule.as_deref(), Some("openai_chat"));
}

#[test]
fn anthropics_input_is_the_sum_of_three() {
    let reading = usage(
        "/v1/messages",
        "{\"input_tokens\":10,\"cache_read_input_tokens\":200,\"cache_creation_input_tokens\":30,\"output_tokens\":9,\
         \"cache_creation\":{\"ephemeral_5m_input_tokens\":10,\"ephemeral_1h_input_tokens\":20},\
         \"server_tool_use\":{\"web_search_requests\":2,\"web_fetch_requests\":1},\"service_tier\":\"priority\"}",
    );
    assert_eq!(tokens(&reading), (Some(240), Some(9)));
    let counts = &reading.usage;
    assert_eq!(
        (counts.cache_write_5m_tokens, counts.cache_write_1h_tokens),
        (Some(10), Some(20))
    );
    assert_eq!(
        (unit(&reading, "web_search"), unit(&reading, "web_fetch")),
        (Some(2), Some(1))
    );
    assert_eq!(reading.service_tier.as_deref(), Some("priority"));
}

#[test]
fn a_split_of_cache_writes_that_is_stale_is_dropped() {
    let reading = usage(
        "/v1/messages",
        "{\"input_tokens\":1,\"cache_read_input_tokens\":0,\"cache_creation_input_tokens\":30,\"output_tokens\":9,\
         \"cache_creation\":{\"ephemeral_5m_input_tokens\":0,\"ephemeral_1h_input_tokens\":0}}",
    );
    assert_eq!(reading.usage.cache_write_tokens, Some(30));
    assert_eq!(reading.usage.cache_write_5m_tokens, None);
}

#[test]
fn a_message_stream_takes_the_last_count_of_each_key() {
    // Kimi and Qwen send the whole prompt first and the true split at the end.
    let reading = Exchange::events(
        "/v1/messages",
        &[
            "{\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":1000,\"output_tokens\":7}}}",
            "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":null},\"usage\":{\"output_tokens\":20}}",
            "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"input_tokens\":100,\
              \"cache_read_input_tokens\":900,\"output_tokens\":40}}",
            "{\"type\":\"message_stop\"}",
        ],
    )
    .read();
    assert_eq!(tokens(&reading), (Some(1_000), Some(40)));
    assert_eq!(reading.usage.cache_read_tokens, Some(900));
    assert_eq!(reading.stream_complete, Some(true));
}

#[test]
fn passes_of_compaction_are_added_and_an_advisor_stays_apart() {
    let reading = usage(
        "/v1/messages",
        "{\"input_tokens\":162,\"output_tokens\":11,\"cache_read_input_tokens\":0,\"cache_creation_input_tokens\":0,\"iterations\":[\
         {\"type\":\"compaction\",\"input_tokens\":99195,\"output_tokens\":81},\
         {\"type\":\"message\",\"input_tokens\":162,\"output_tokens\":11},\
         {\"type\":\"advisor_message\",\"model\":\"other\",\"input_tokens\":5,\"output_tokens\":6}]}",
    );
    assert_eq!(tokens(&reading), (Some(99_357), Some(92)));
    assert_eq!(unit(&reading, "advisor_output"), Some(6));
    assert_eq!(
        reading.usage.usage_rule.as_deref(),
        Some("anthropic+passes")
    );
}

#[test]
fn geminis_thoughts_and_tool_results_stand_beside() {
    let body = "{\"candidates\":[{\"finishReason\":\"MAX_TOKENS\"}],\"modelVersion\":\"gemini-2.5-pro\",\"usageMetadata\":{\
                \"promptTokenCount\":10,\"toolUsePromptTokenCount\":5,\"thoughtsTokenCount\":90,\"totalTokenCount\":105,\
                \"cachedContentTokenCount\":4,\"trafficType\":\"PROVISIONED_THROUGHPUT\",\
                \"promptTokensDetails\":[{\"modality\":\"TEXT\",\"tokenCount\":7},{\"modality\":4,\"tokenCount\":3}]}}";
    let reading = Exchange::json("/v1beta/models/gemini-2.5-pro:generateContent", body).read();
    assert_eq!(tokens(&reading), (Some(15), Some(90)));
    assert_eq!(
        (
            reading.usage.reasoning_tokens,
            reading.usage.audio_input_tokens
        ),
        (Some(90), Some(3))
    );
    assert_eq!(reading.service_tier.as_deref(), Some("provisioned"));
    assert_eq!(reading.finish_reason.as_deref(), Some("MAX_TOKENS"));
}

#[test]
fn a_last_gemini_chunk_replaces_what_came_before() {
    let reading = Exchange::events(
        "/v1beta/models/g:streamGenerateContent",
        &[
            "{\"usageMetadata\":{\"promptTokenCount\":8,\"candidatesTokenCount\":30,\"totalTokenCount\":38}}",
            "{\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":8,\"thoughtsTokenCount\":2,\"totalTokenCount\":10}}",
        ],
    )
    .read();
    assert_eq!(tokens(&reading), (Some(8), Some(2)));
}

#[test]
fn a_total_is_the_referee_of_compatible_shapes() {
    for (body, expected, rule) in [
        (
            "{\"prompt_tokens\":288,\"completion_tokens\":27,\"total_tokens\":665,\"completion_tokens_details\":{\"reasoning_tokens\":350}}",
            (288, 377),
            "openai_chat+reasoning",
        ),
        (
            "{\"prompt_tokens\":9,\"completion_tokens\":201,\"total_tokens\":585,\"prompt_tokens_details\":{\"audio_tokens\":375}}",
            (384, 201),
            "openai_chat+audio",
        ),
        (
            "{\"prompt_tokens\":9,\"completion_tokens\":1,\"total_tokens\":20,\"prompt_tokens_details\":{\"cached_tokens\":10}}",
            (19, 1),
            "openai_chat+cache",
        ),
    ] {
        let reading = usage(CHAT, body);
        assert_eq!(
            tokens(&reading),
            (Some(expected.0), Some(expected.1)),
            "{body}"
        );
        assert_eq!(reading.usage.usage_rule.as_deref(), Some(rule));
    }
    let doubtful = usage(
        CHAT,
        "{\"prompt_tokens\":9,\"completion_tokens\":1,\"total_tokens\":77}",
    );
    assert_eq!(tokens(&doubtful), (Some(9), Some(1)));
    assert!(doubtful.flags.contains(Flags::USAGE_IMPLAUSIBLE));
    let hidden = Exchange::json(
        "/v1beta/openai/chat/completions",
        "{\"model\":\"gemini-2.5-pro\",\"usage\":{\"prompt_tokens\":66,\"completion_tokens\":6,\"total_tokens\":100}}",
    )
    .read();
    assert_eq!(tokens(&hidden), (Some(66), Some(34)));
}

#[test]
fn a_cache_larger_than_the_input_is_kept_and_marked() {
    let reading = usage(
        CHAT,
        "{\"prompt_tokens\":7,\"completion_tokens\":8,\"total_tokens\":15,\"prompt_tokens_details\":{\"cached_tokens\":161}}",
    );
    assert_eq!(
        (reading.usage.input_tokens, reading.usage.cache_read_tokens),
        (Some(7), Some(161))
    );
    assert!(reading.flags.contains(Flags::USAGE_IMPLAUSIBLE));
}

#[test]
fn converse_adds_its_cache_to_the_input() {
    let reading = Exchange::json(
        "/model/anthropic.claude/converse",
        "{\"stopReason\":\"end_turn\",\"usage\":{\"inputTokens\":4,\"outputTokens\":5,\"totalTokens\":119,\"cacheReadInputTokens\":100,\
         \"cacheReadInputTokenCount\":100,\"cacheWriteInputTokens\":10,\"cacheDetails\":[{\"ttl\":\"5m\",\"inputTokens\":7},{\"ttl\":\"1h\",\"inputTokens\":3}]}}",
    )
    .read();
    assert_eq!(tokens(&reading), (Some(114), Some(5)));
    assert_eq!(
        (
            reading.usage.cache_write_5m_tokens,
            reading.usage.cache_write_1h_tokens
        ),
        (Some(7), Some(3))
    );
}

#[test]
fn bedrocks_headers_fill_in_for_a_body_without_counts() {
    let reading = Exchange::json(
        "/model/mistral.mistral-7b/invoke",
        "{\"outputs\":[{\"text\":\"x\",\"stop_reason\":\"stop\"}]}",
    )
    .header("X-Amzn-Bedrock-Input-Token-Count", "11")
    .header("x-amzn-bedrock-output-token-count", "12")
    .header("x-amzn-bedrock-cache-read-input-token-count", "5")
    .read();
    assert_eq!(tokens(&reading), (Some(16), Some(12)));
    assert_eq!(reading.usage_source(), UsageSource::Header);
    assert_eq!(reading.finish_reason.as_deref(), Some("stop"));
}

#[test]
fn cohere_separates_what_was_read_from_what_is_billed() {
    let reading = Exchange::json(
        "/v2/chat",
        "{\"finish_reason\":\"COMPLETE\",\"usage\":{\"billed_units\":{\"input_tokens\":7.0,\"output_tokens\":12.0},\
         \"tokens\":{\"input_tokens\":73.0,\"output_tokens\":13.0},\"cached_tokens\":64}}",
    )
    .read();
    assert_eq!(tokens(&reading), (Some(73), Some(13)));
    assert_eq!(reading.usage.cache_read_tokens, Some(64));
    assert_eq!(
        (
            unit(&reading, "billed_input"),
            unit(&reading, "billed_output")
        ),
        (Some(7), Some(12))
    );
}

#[test]
fn a_reported_cost_counts_the_upstreams_share_only_under_an_own_key() {
    let body = |byok: bool| {
        format!(
            "{{\"prompt_tokens\":1,\"completion_tokens\":1,\"total_tokens\":2,\"cost\":0.00002,\"is_byok\":{byok},\
             \"cost_details\":{{\"upstream_inference_cost\":0.0004}}}}"
        )
    };
    let cost = |text: &str| Some(text.parse::<PicoUsd>().unwrap());
    assert_eq!(usage(CHAT, &body(true)).reported_cost, cost("0.00042"));
    assert_eq!(usage(CHAT, &body(false)).reported_cost, cost("0.00002"));
    assert_eq!(
        usage(
            CHAT,
            "{\"prompt_tokens\":1,\"cost_in_usd_ticks\":200000000}"
        )
        .reported_cost,
        cost("0.02")
    );
    assert_eq!(
        usage(
            CHAT,
            "{\"prompt_tokens\":1,\"cost\":{\"total_cost\":0.006,\"request_cost\":0.005}}"
        )
        .reported_cost,
        cost("0.006")
    );
    assert_eq!(
        usage(CHAT, "{\"prompt_tokens\":1,\"cost\":-1}").reported_cost,
        None
    );
}

#[test]
fn usage_that_is_sent_twice_is_counted_once() {
    let groq = Exchange::events(
        CHAT,
        &[
            "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"x_groq\":{\"id\":\"req_1\",\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"total_tokens\":13}}}",
            "{\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"total_tokens\":13}}",
            "[DONE]",
        ],
    )
    .read();
    assert_eq!(tokens(&groq), (Some(9), Some(4)));
    assert_eq!(groq.provider_request_id.as_deref(), Some("req_1"));
    let perplexity = Exchange::events(
        CHAT,
        &[
            "{\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1,\"total_tokens\":10}}",
            "{\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"total_tokens\":12,\"num_search_queries\":2}}",
        ],
    )
    .read();
    assert_eq!(
        (tokens(&perplexity), unit(&perplexity, "web_search")),
        ((Some(9), Some(3)), Some(2))
    );
}

#[test]
fn embeddings_with_a_total_alone_are_all_input() {
    let reading = Exchange::json(
        "/v1/embeddings",
        "{\"data\":[],\"usage\":{\"total_tokens\":42}}",
    )
    .read();
    assert_eq!(tokens(&reading), (Some(42), None));
}

#[test]
fn units_that_are_no_tokens_stand_beside() {
    let seconds = Exchange::json(
        "/v1/audio/transcriptions",
        "{\"text\":\"x\",\"usage\":{\"type\":\"duration\",\"seconds\":5.4899}}",
    )
    .read();
    assert_eq!(
        (tokens(&seconds), unit(&seconds, "seconds_milli")),
        ((None, None), Some(5_490))
    );
    let rerank = Exchange::json(
        "/v2/rerank",
        "{\"id\":\"r\",\"results\":[],\"meta\":{\"billed_units\":{\"search_units\":1}}}",
    )
    .read();
    assert_eq!(unit(&rerank, "search_units"), Some(1));
    let pages = Exchange::json(
        "/v1/ocr",
        "{\"model\":\"mistral-ocr\",\"usage_info\":{\"pages_processed\":3}}",
    )
    .read();
    assert_eq!(unit(&pages, "page"), Some(3));
    let tools = Exchange::json(
        "/v1/responses",
        "{\"object\":\"response\",\"status\":\"completed\",\"output\":[{\"type\":\"web_search_call\"},{\"type\":\"message\"},{\"type\":\"web_search_call\"}]}",
    )
    .read();
    assert_eq!(unit(&tools, "web_search"), Some(2));
}

#[test]
fn an_unknown_dialect_is_searched_and_marked_as_guessed() {
    let body = "{\"result_set\":{\"answers\":[{\"stats\":{\"usage\":{\"input_tokens\":12,\"output_tokens\":3,\"total_tokens\":15}}}]}}";
    let reading = Exchange::json("/generate-something", body).read();
    assert_eq!(
        (tokens(&reading), reading.usage_source()),
        ((Some(12), Some(3)), UsageSource::Guessed)
    );
    assert!(reading.flags.contains(Flags::FORMAT_UNKNOWN));
    // In a known dialect nothing is searched: what stands elsewhere may be the model's own words.
    let known = Exchange::json(
        CHAT,
        &format!("{{\"choices\":[{{\"message\":{{\"content\":{body}}}}}]}}"),
    )
    .read();
    assert_eq!(known.usage_source(), UsageSource::None);
}
