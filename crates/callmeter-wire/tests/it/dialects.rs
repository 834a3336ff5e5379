//! Each dialect's own corners, from the providers' documents: what the recordings show seldom or never.

use callmeter_core::{Flags, UsageSource};
use callmeter_wire::{Finish, Reading, RequestFacts, ResponseReader};

use crate::support::{Exchange, failure, frame, tokens, unit};

const CHAT: &str = "/v1/chat/completions";
const FRAMES: &str = "application/vnd.amazon.eventstream";

/// An invoke stream of Bedrock's: each document in the base64 of a chunk.
fn chunks(documents: &[&str]) -> Vec<u8> {
    let event = [(":event-type", "chunk"), (":message-type", "event")];
    let payload = |document: &&str| format!("{{\"bytes\":\"{}\",\"p\":\"ab\"}}", base64(document));
    documents
        .iter()
        .flat_map(|document| frame(&event, payload(document).as_bytes()))
        .collect()
}

fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in text.as_bytes().chunks(3) {
        let at = |n: usize| u32::from(three.get(n).copied().unwrap_or(0));
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for sextet in 0..=three.len() {
            let shift = 18 - 6 * u32::try_from(sextet).unwrap();
            out.push(char::from(ALPHABET[(word >> shift & 63) as usize]));
        }
    }
    while !out.len().is_multiple_of(4) {
        out.push('=');
    }
    out
}

fn invoke(documents: &[&str]) -> Reading {
    let path = "/model/m/invoke-with-response-stream";
    Exchange::new(path, FRAMES, chunks(documents)).read()
}

#[test]
fn every_vendor_on_bedrock_streams_in_its_own_words() {
    let nova = invoke(&[
        "{\"messageStart\":{\"role\":\"assistant\"}}",
        "{\"contentBlockDelta\":{\"delta\":{\"text\":\"Hi\"},\"contentBlockIndex\":0}}",
        "{\"messageStop\":{\"stopReason\":\"end_turn\"}}",
        "{\"metadata\":{\"usage\":{\"inputTokens\":9,\"outputTokens\":4,\"cacheReadInputTokenCount\":3,\"cacheWriteInputTokenCount\":0}},\
          \"amazon-bedrock-invocationMetrics\":{\"inputTokenCount\":9,\"outputTokenCount\":4,\"cacheReadInputTokenCount\":3}}",
    ]);
    assert_eq!(tokens(&nova), (Some(12), Some(4)));
    assert_eq!(
        (nova.usage.cache_read_tokens, nova.finish()),
        (Some(3), Some(Finish::Stop))
    );
    let titan = invoke(&[
        "{\"outputText\":\"Hi\",\"index\":0,\"totalOutputTextTokenCount\":null,\"completionReason\":null,\"inputTextTokenCount\":5}",
        "{\"outputText\":\"!\",\"index\":0,\"totalOutputTextTokenCount\":8,\"completionReason\":\"FINISH\",\"inputTextTokenCount\":null,\
          \"amazon-bedrock-invocationMetrics\":{\"inputTokenCount\":5,\"outputTokenCount\":8}}",
    ]);
    assert_eq!(
        (tokens(&titan), titan.finish()),
        ((Some(5), Some(8)), Some(Finish::Stop))
    );
    let llama = invoke(&[
        "{\"generation\":\"Hi\",\"prompt_token_count\":7,\"generation_token_count\":1,\"stop_reason\":null}",
        "{\"generation\":\"\",\"prompt_token_count\":null,\"generation_token_count\":12,\"stop_reason\":\"length\"}",
    ]);
    assert_eq!(
        (tokens(&llama), llama.finish()),
        ((Some(7), Some(12)), Some(Finish::Length))
    );
    // Mistral's text models count nothing: the metrics are all there is.
    let mistral = invoke(&[
        "{\"outputs\":[{\"text\":\"Hi\",\"stop_reason\":null}]}",
        "{\"outputs\":[{\"text\":\"\",\"stop_reason\":\"stop\"}],\"amazon-bedrock-invocationMetrics\":{\"inputTokenCount\":11,\
          \"outputTokenCount\":6,\"cacheReadInputTokenCount\":4}}",
    ]);
    assert_eq!(tokens(&mistral), (Some(15), Some(6)));
    // Claude with tools: the vendor's own output comes before the metrics, which may be lower.
    let claude = invoke(&[
        "{\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"claude-x\",\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":2,\
          \"cache_creation_input_tokens\":0,\"output_tokens\":1}}}",
        "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":134}}",
        "{\"type\":\"message_stop\",\"amazon-bedrock-invocationMetrics\":{\"inputTokenCount\":10,\"outputTokenCount\":90}}",
    ]);
    assert_eq!(tokens(&claude), (Some(12), Some(134)));
    assert_eq!(claude.stream_complete, Some(true));
}

#[test]
fn every_exception_of_an_event_stream_has_its_kind() {
    for (name, kind) in [
        ("throttlingException", "rate_limit"),
        ("modelStreamErrorException", "server"),
        ("modelTimeoutException", "timeout"),
        ("validationException", "invalid_request"),
        ("internalServerException", "server"),
        ("serviceUnavailableException", "overloaded"),
    ] {
        let mut body = frame(
            &[(":message-type", "event"), (":event-type", "messageStart")],
            b"{\"role\":\"assistant\",\"p\":\"abc\"}",
        );
        body.extend(frame(
            &[(":message-type", "exception"), (":exception-type", name)],
            b"{\"message\":\"x\"}",
        ));
        let reading = Exchange::new("/model/m/converse-stream", FRAMES, body).read();
        assert_eq!(failure(&reading), Some(kind), "{name}");
        assert_eq!(reading.error_detail.as_deref(), Some(name));
        assert_eq!(reading.stream_complete, Some(false));
    }
    for (status, name, kind) in [
        (403, "AccessDeniedException", "auth"),
        (403, "UnrecognizedClientException", "auth"),
        (403, "ExpiredTokenException", "auth"),
        (404, "ResourceNotFoundException", "not_found"),
        (400, "ValidationException", "invalid_request"),
        (429, "ThrottlingException", "rate_limit"),
        (429, "ModelNotReadyException", "overloaded"),
        (408, "ModelTimeoutException", "timeout"),
        (424, "ModelErrorException", "server"),
        (500, "InternalServerException", "server"),
        (503, "ServiceUnavailableException", "overloaded"),
    ] {
        let header = format!("{name}:http://internal.amazon.com/coral/");
        let reading = Exchange::json("/model/m/converse", "{\"Message\":\"x\"}")
            .status(status)
            .header("x-amzn-errortype", &header)
            .read();
        assert_eq!(failure(&reading), Some(kind), "{name}");
    }
    let long = Exchange::json(
        "/model/m/converse",
        "{\"message\":\"The model returned the following errors: Input is too long for requested model.\"}",
    )
    .status(400)
    .header("x-amzn-errortype", "ValidationException")
    .read();
    assert_eq!(failure(&long), Some("context_length"));
}

#[test]
fn an_error_object_of_mistrals_and_vllms_shape_is_an_error_also_in_a_stream() {
    let mistral = Exchange::json(
        CHAT,
        "{\"object\":\"error\",\"message\":\"Prompt contains 40000 tokens, too large for model with 32768 maximum context length\",\
          \"type\":\"invalid_request_prompt\",\"param\":null,\"code\":\"3051\"}",
    )
    .status(400)
    .read();
    assert_eq!(
        (failure(&mistral), mistral.error_detail.as_deref()),
        (Some("context_length"), Some("3051"))
    );
    let vllm = Exchange::events(
        CHAT,
        &[
            "{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}",
            "{\"object\":\"error\",\"message\":\"boom\",\"type\":\"InternalServerError\",\"param\":null,\"code\":500}",
            "[DONE]",
        ],
    )
    .read();
    assert_eq!(
        (failure(&vllm), vllm.error_detail.as_deref()),
        (Some("server"), Some("InternalServerError"))
    );
    assert_eq!(vllm.stream_complete, Some(false));
    let limited = Exchange::json(
        CHAT,
        "{\"error_code\":\"REQUEST_LIMIT_EXCEEDED\",\"message\":\"x\"}",
    )
    .status(429)
    .read();
    assert_eq!(
        (failure(&limited), limited.error_detail.as_deref()),
        (Some("rate_limit"), Some("REQUEST_LIMIT_EXCEEDED"))
    );
}

#[test]
fn watsonx_counts_its_input_in_the_first_line_alone() {
    let path = "/ml/v1/text/generation_stream";
    let stream = Exchange::events(
        path,
        &[
            "message|{\"results\":[{\"generated_text\":\"\",\"generated_token_count\":1,\"input_token_count\":36,\"stop_reason\":\"not_finished\"}]}",
            "message|{\"results\":[{\"generated_text\":\"4\",\"generated_token_count\":2,\"input_token_count\":0,\"stop_reason\":\"not_finished\"}]}",
            "message|{\"results\":[{\"generated_text\":\"2\",\"generated_token_count\":3,\"input_token_count\":0,\"stop_reason\":\"max_tokens\"}]}",
        ],
    )
    .read();
    assert_eq!(
        (tokens(&stream), stream.finish()),
        ((Some(36), Some(3)), Some(Finish::Length))
    );
    let plain = Exchange::json(
        "/ml/v1/text/generation",
        "{\"model_id\":\"ibm/granite\",\"results\":[{\"generated_text\":\"x\",\"generated_token_count\":5,\"input_token_count\":7,\"stop_reason\":\"eos_token\"}]}",
    )
    .read();
    assert_eq!(
        (tokens(&plain), plain.provider),
        ((Some(7), Some(5)), Some("watsonx"))
    );
}

#[test]
fn what_changes_the_price_is_read_from_the_answer() {
    let message = |usage: &str| {
        let body = format!(
            "{{\"type\":\"message\",\"usage\":{{\"input_tokens\":1,\"output_tokens\":2,{usage}}}}}"
        );
        Exchange::json("/v1/messages", &body).read()
    };
    let local = message("\"inference_geo\":\"us\",\"service_tier\":\"batch\"");
    assert_eq!(
        (local.region.as_deref(), local.service_tier.as_deref()),
        (Some("us"), Some("batch"))
    );
    assert_eq!(message("\"inference_geo\":\"global\"").region, None);
    assert_eq!(message("\"inference_geo\":\"not_available\"").region, None);
    assert_eq!(
        message("\"speed\":\"fast\",\"service_tier\":\"standard\"")
            .service_tier
            .as_deref(),
        Some("fast")
    );
    let converse = Exchange::json(
        "/model/m/converse",
        "{\"stopReason\":\"end_turn\",\"serviceTier\":{\"type\":\"priority\"},\"usage\":{\"inputTokens\":1,\"outputTokens\":1}}",
    )
    .read();
    assert_eq!(converse.service_tier.as_deref(), Some("priority"));
    let invoked = Exchange::json("/model/m/invoke", "{}")
        .header("X-Amzn-Bedrock-Service-Tier", "flex")
        .read();
    assert_eq!(invoked.service_tier.as_deref(), Some("flex"));
    let gemini = |usage: &str| {
        let body = format!(
            "{{\"usageMetadata\":{{\"promptTokenCount\":1,\"totalTokenCount\":1,{usage}}}}}"
        );
        Exchange::json("/v1beta/models/g:generateContent", &body)
            .read()
            .service_tier
    };
    assert_eq!(gemini("\"trafficType\":\"ON_DEMAND\""), None);
    assert_eq!(
        gemini("\"trafficType\":\"ON_DEMAND_FLEX\"").as_deref(),
        Some("flex")
    );
    assert_eq!(
        gemini("\"serviceTier\":\"priority\"").as_deref(),
        Some("priority")
    );
}

#[test]
fn the_first_token_is_the_first_that_is_there_in_every_dialect() {
    // What comes before the answer, and its first piece.
    let cases: &[(&str, &str, &str)] = &[
        (
            CHAT,
            "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[]}}]}",
            "{\"choices\":[{\"delta\":{\"reasoning_content\":\"x\"}}]}",
        ),
        (
            CHAT,
            "{\"choices\":[],\"prompt_filter_results\":[{}]}",
            "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0}]}}]}",
        ),
        (
            "/v1/completions",
            "{\"choices\":[{\"text\":\"\"}]}",
            "{\"choices\":[{\"text\":\"x\"}]}",
        ),
        (
            "/v1/responses",
            "{\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"output\":[]}}",
            "{\"type\":\"response.output_text.delta\",\"delta\":\"x\"}",
        ),
        (
            "/v1/responses",
            "{\"type\":\"response.output_item.added\",\"item\":{}}",
            "{\"type\":\"response.function_call_arguments.delta\",\"delta\":\"{\"}",
        ),
        (
            "/v1/messages",
            "{\"type\":\"message_start\",\"message\":{\"content\":[],\"usage\":{}}}",
            "{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"x\"}}",
        ),
        (
            "/v1/messages",
            "{\"type\":\"content_block_start\",\"content_block\":{\"type\":\"text\",\"text\":\"\"}}",
            "{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"x\"}}",
        ),
        (
            "/v1/messages",
            "{\"type\":\"ping\"}",
            "{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\"}}",
        ),
        (
            "/v1beta/models/g:streamGenerateContent",
            "{\"usageMetadata\":{\"promptTokenCount\":1}}",
            "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"x\"}]}}]}",
        ),
        (
            "/v2/chat",
            "{\"type\":\"message-start\",\"delta\":{\"message\":{\"role\":\"assistant\",\"content\":[],\"tool_calls\":[]}}}",
            "{\"type\":\"content-delta\",\"delta\":{\"message\":{\"content\":{\"text\":\"x\"}}}}",
        ),
        (
            "/v2/chat",
            "{\"type\":\"content-start\",\"delta\":{\"message\":{\"content\":{\"type\":\"text\",\"text\":\"\"}}}}",
            "{\"type\":\"tool-plan-delta\",\"delta\":{\"message\":{\"tool_plan\":\"x\"}}}",
        ),
        (
            "/api/chat",
            "{\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":false}",
            "{\"message\":{\"content\":\"x\"},\"done\":false}",
        ),
        (
            "/api/generate",
            "{\"response\":\"\",\"done\":false}",
            "{\"response\":\"x\",\"done\":false}",
        ),
        (
            "/completion",
            "{\"content\":\"\",\"stop\":false}",
            "{\"content\":\"x\",\"stop\":false}",
        ),
        (
            "/generate_stream",
            "{\"details\":null}",
            "{\"token\":{\"id\":1,\"text\":\"x\"}}",
        ),
    ];
    for (path, before, first) in cases {
        let facts = RequestFacts::from_line("POST", path);
        let head = [("content-type", "text/event-stream")];
        let mut reader = ResponseReader::new(&facts, Some(200), head);
        reader.push(format!("data: {before}\n\n").as_bytes());
        assert!(!reader.has_content(), "{path} {before}");
        reader.push(format!("data: {first}\n\n").as_bytes());
        assert!(reader.has_content(), "{path} {first}");
    }
    let facts = RequestFacts::from_line("POST", "/model/m/converse-stream");
    let mut reader = ResponseReader::new(&facts, Some(200), [("content-type", FRAMES)]);
    reader.push(&frame(
        &[(":event-type", "messageStart")],
        b"{\"role\":\"assistant\"}",
    ));
    assert!(!reader.has_content());
    reader.push(&frame(
        &[(":event-type", "contentBlockDelta")],
        b"{\"delta\":{\"toolUse\":{\"input\":\"{\"}}}",
    ));
    assert!(reader.has_content());
}

#[test]
fn usage_is_found_wherever_a_dialect_puts_it() {
    let counted = "{\"prompt_tokens\":9,\"completion_tokens\":4,\"total_tokens\":13}";
    let kimi = format!(
        "{{\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"stop\",\"usage\":{counted}}}]}}"
    );
    let cloudflare = format!(
        "{{\"result\":{{\"response\":\"x\",\"usage\":{counted}}},\"success\":true,\"errors\":[]}}"
    );
    let realtime = "{\"type\":\"response.done\",\"response\":{\"id\":\"r\",\"status\":\"completed\",\"usage\":{\"input_tokens\":9,\"output_tokens\":4,\
                    \"total_tokens\":13,\"input_token_details\":{\"cached_tokens\":6,\"audio_tokens\":5},\"output_token_details\":{\"audio_tokens\":3}}}}";
    assert_eq!(
        tokens(&Exchange::events(CHAT, &[&kimi]).read()),
        (Some(9), Some(4))
    );
    let native = Exchange::json("/client/v4/accounts/a/ai/run/@cf/meta/llama", &cloudflare)
        .host("api.cloudflare.com")
        .read();
    assert_eq!(
        (tokens(&native), native.provider, failure(&native)),
        ((Some(9), Some(4)), Some("cloudflare"), None)
    );
    let spoken = Exchange::events("/v1/realtime", &[realtime]).read();
    assert_eq!(tokens(&spoken), (Some(9), Some(4)));
    assert_eq!(
        (
            spoken.usage.audio_input_tokens,
            spoken.usage.audio_output_tokens,
            spoken.stream_complete
        ),
        (Some(5), Some(3), Some(true))
    );
    let xai = Exchange::json(CHAT, "{\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"total_tokens\":13,\"cached_prompt_text_tokens\":5}}").read();
    assert_eq!(xai.usage.cache_read_tokens, Some(5));
}

#[test]
fn images_and_audio_are_parts_of_their_totals() {
    let image = Exchange::json(
        "/v1/images/generations",
        "{\"created\":1,\"data\":[{\"b64_json\":\"AAAA\"}],\"usage\":{\"input_tokens\":60,\"input_tokens_details\":{\"text_tokens\":10,\"image_tokens\":50},\
          \"output_tokens\":4160,\"output_tokens_details\":{\"image_tokens\":4160,\"text_tokens\":0},\"total_tokens\":4220}}",
    )
    .read();
    assert_eq!(tokens(&image), (Some(60), Some(4_160)));
    assert_eq!(
        (
            image.usage.image_input_tokens,
            image.usage.image_output_tokens
        ),
        (Some(50), Some(4_160))
    );
    let streamed = Exchange::events(
        "/v1/images/generations",
        &[
            "image_generation.partial_image|{\"type\":\"image_generation.partial_image\",\"b64_json\":\"AA\"}",
            "image_generation.completed|{\"type\":\"image_generation.completed\",\"usage\":{\"input_tokens\":6,\"output_tokens\":7,\"total_tokens\":13}}",
        ],
    )
    .read();
    assert_eq!(
        (tokens(&streamed), streamed.stream_complete),
        ((Some(6), Some(7)), Some(true))
    );
    let heard = Exchange::json(
        "/v1/audio/transcriptions",
        "{\"text\":\"x\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,\"input_token_details\":{\"text_tokens\":0,\"audio_tokens\":14},\"output_tokens\":45,\"total_tokens\":59}}",
    )
    .read();
    assert_eq!(
        (tokens(&heard), heard.usage.audio_input_tokens),
        ((Some(14), Some(45)), Some(14))
    );
    let speech = Exchange::events(
        "/v1/audio/speech",
        &[
            "{\"type\":\"speech.audio.delta\",\"audio\":\"AAAA\"}",
            "{\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":3,\"output_tokens\":80,\"total_tokens\":83}}",
        ],
    )
    .read();
    assert_eq!(
        (tokens(&speech), speech.stream_complete),
        ((Some(3), Some(80)), Some(true))
    );
    let text = Exchange::new(
        "/v1/audio/transcriptions",
        "text/plain; charset=utf-8",
        "1\n00:00:00 --> 00:00:01\nusage",
    )
    .read();
    assert_eq!(
        (text.usage_source(), failure(&text)),
        (UsageSource::None, None)
    );
    let sound = Exchange::new(
        "/v1/audio/speech",
        "audio/mpeg",
        &b"\x49\x44\x33{\"usage\":{}}"[..],
    )
    .read();
    assert_eq!(sound.usage_source(), UsageSource::None);
}

#[test]
fn a_responses_answer_says_how_it_stands() {
    let read = |body: &str| Exchange::json("/v1/responses", body).read();
    let queued = read(
        "{\"object\":\"response\",\"id\":\"resp_1\",\"status\":\"queued\",\"background\":true,\"error\":null,\"usage\":null}",
    );
    assert_eq!(
        (
            queued.finish_reason.as_deref(),
            queued.usage_source(),
            failure(&queued)
        ),
        (Some("queued"), UsageSource::None, None)
    );
    let incomplete = read(
        "{\"object\":\"response\",\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"max_output_tokens\"},\"usage\":{\"input_tokens\":5,\"output_tokens\":6,\"total_tokens\":11}}",
    );
    assert_eq!(
        (incomplete.finish_reason.as_deref(), incomplete.finish()),
        (Some("max_output_tokens"), Some(Finish::Length))
    );
    let failed = read(
        "{\"object\":\"response\",\"status\":\"failed\",\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"x\"},\"usage\":null}",
    );
    assert_eq!(failure(&failed), Some("rate_limit"));
    let ended = Exchange::events(
        "/v1/responses",
        &[
            "response.created|{\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"usage\":null}}",
            "error|{\"type\":\"error\",\"code\":\"server_error\",\"message\":\"x\"}",
        ],
    )
    .read();
    assert_eq!(
        (failure(&ended), ended.stream_complete),
        (Some("server"), Some(false))
    );
    let cut = Exchange::events(
        "/v1/responses",
        &["response.in_progress|{\"type\":\"response.in_progress\",\"response\":{\"id\":\"r\",\"model\":\"gpt-5\",\"usage\":null}}"],
    )
    .read();
    assert_eq!(
        (cut.usage_source(), cut.stream_complete),
        (UsageSource::None, Some(false))
    );
    assert!(cut.flags.contains(Flags::STREAM_CUT));
}

#[test]
fn googles_other_interfaces_count_in_their_own_ways() {
    let embedded = Exchange::json(
        "/v1/projects/p/locations/eu-west4/publishers/google/models/text-embedding-005:predict",
        "{\"predictions\":[{\"embeddings\":{\"values\":[0.1],\"statistics\":{\"token_count\":5,\"truncated\":false}}},\
          {\"embeddings\":{\"statistics\":{\"token_count\":7.0}}}],\"metadata\":{\"billableCharacterCount\":11}}",
    )
    .read();
    assert_eq!(tokens(&embedded), (Some(12), None));
    let predicted = Exchange::json(
        "/v1/projects/p/locations/l/publishers/google/models/text-bison:predict",
        "{\"predictions\":[{\"content\":\"x\"}],\"metadata\":{\"tokenMetadata\":{\"inputTokenCount\":{\"totalTokens\":4,\"totalBillableCharacters\":9},\"outputTokenCount\":{\"totalTokens\":6}}}}",
    )
    .read();
    assert_eq!(tokens(&predicted), (Some(4), Some(6)));
    let silent = Exchange::json(
        "/v1beta/models/e:embedContent",
        "{\"embedding\":{\"values\":[0.1]}}",
    )
    .read();
    assert_eq!(silent.usage_source(), UsageSource::None);
    let newer = Exchange::json(
        "/v1beta/models/e:embedContent",
        "{\"embedding\":{\"values\":[0.1]},\"usageMetadata\":{\"promptTokenCount\":3}}",
    )
    .read();
    assert_eq!(tokens(&newer), (Some(3), None));
    let interaction = Exchange::events(
        "/v1beta/interactions",
        &[
            "interaction.start|{\"event_type\":\"interaction.start\",\"interaction\":{\"id\":\"i\"}}",
            "interaction.completed|{\"event_type\":\"interaction.completed\",\"interaction\":{\"id\":\"i\",\"status\":\"completed\",\"usage\":{\"total_input_tokens\":10,\
              \"total_output_tokens\":5,\"total_thought_tokens\":20,\"total_tool_use_tokens\":3,\"total_cached_tokens\":4,\"total_tokens\":38,\
              \"input_tokens_by_modality\":[{\"modality\":\"audio\",\"tokens\":6}]}}}",
        ],
    )
    .read();
    assert_eq!(tokens(&interaction), (Some(13), Some(25)));
    assert_eq!(
        (
            interaction.usage.reasoning_tokens,
            interaction.usage.audio_input_tokens,
            unit(&interaction, "tool_use_prompt")
        ),
        (Some(20), Some(6), Some(3))
    );
    let refused = Exchange::new(
        "/v1beta/models/g:streamGenerateContent",
        "application/json",
        "[{\"error\":{\"code\":400,\"message\":\"The input token count (2) exceeds the maximum number of tokens allowed (1).\",\"status\":\"INVALID_ARGUMENT\"}}\n]",
    )
    .status(400)
    .read();
    assert_eq!(failure(&refused), Some("context_length"));
}

#[test]
fn coheres_streams_end_with_their_counts_or_their_error() {
    let failed = Exchange::events(
        "/v2/chat",
        &[
            "message-start|{\"id\":\"c\",\"type\":\"message-start\",\"delta\":{\"message\":{\"role\":\"assistant\"}}}",
            "message-end|{\"type\":\"message-end\",\"delta\":{\"error\":\"internal server error\",\"finish_reason\":\"ERROR\",\"usage\":{}}}",
        ],
    )
    .read();
    assert_eq!(
        (failure(&failed), tokens(&failed)),
        (Some("server"), (None, None))
    );
    let first = Exchange::new(
        "/v1/chat",
        "application/stream+json",
        "{\"is_finished\":false,\"event_type\":\"stream-start\",\"generation_id\":\"g\"}\n{\"is_finished\":false,\"event_type\":\"text-generation\",\"text\":\"x\"}\n\
         {\"is_finished\":true,\"event_type\":\"stream-end\",\"finish_reason\":\"MAX_TOKENS\",\"response\":{\"response_id\":\"r\",\"chat_history\":[{\"message\":\"x\"}],\
         \"meta\":{\"billed_units\":{\"input_tokens\":7,\"output_tokens\":8},\"tokens\":{\"input_tokens\":70,\"output_tokens\":8}}}}\n",
    )
    .read();
    assert_eq!(
        (tokens(&first), first.finish(), first.stream_complete),
        ((Some(70), Some(8)), Some(Finish::Length), Some(true))
    );
    assert_eq!(unit(&first, "billed_input"), Some(7));
}

#[test]
fn ollama_streams_unless_it_is_told_not_to() {
    let lines = "{\"model\":\"llama3.1:8b\",\"response\":\"H\",\"done\":false}\n{\"model\":\"llama3.1:8b\",\"response\":\"\",\"done\":true,\"done_reason\":\"length\",\
                 \"context\":[1,2],\"total_duration\":9,\"prompt_eval_count\":26,\"eval_count\":298}\n";
    let reading = Exchange::new("/api/generate", "application/x-ndjson", lines).read();
    assert_eq!(
        (tokens(&reading), reading.finish(), reading.model.as_deref()),
        (
            (Some(26), Some(298)),
            Some(Finish::Length),
            Some("llama3.1:8b")
        )
    );
    assert_eq!(
        (reading.streaming, reading.stream_complete),
        (true, Some(true))
    );
    let cut = Exchange::new(
        "/api/generate",
        "application/x-ndjson",
        "{\"model\":\"m\",\"response\":\"H\",\"done\":false}\n",
    )
    .read();
    assert_eq!(
        (tokens(&cut), cut.stream_complete),
        ((None, None), Some(false))
    );
    let unknown = Exchange::json(
        "/api/chat",
        "{\"error\":\"model \\\"x\\\" not found, try pulling it first\"}",
    )
    .status(404)
    .read();
    assert_eq!(
        (failure(&unknown), unknown.error_detail),
        (Some("not_found"), None)
    );
    let legacy = Exchange::json("/api/embeddings", "{\"embedding\":[0.1]}").read();
    assert_eq!(legacy.usage_source(), UsageSource::None);
}

#[test]
fn a_stream_without_usage_or_without_an_end_says_so_and_invents_nothing() {
    let cases: &[(&str, &[&str], Option<bool>)] = &[
        (
            CHAT,
            &[
                "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}],\"usage\":null}",
            ],
            Some(false),
        ),
        (
            CHAT,
            &["{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}"],
            Some(true),
        ),
        (
            "/v1/messages",
            &[
                "{\"type\":\"message_start\",\"message\":{}}",
                "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}",
            ],
            Some(false),
        ),
        (
            "/v1beta/models/g:streamGenerateContent",
            &["{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}"],
            Some(false),
        ),
    ];
    for (path, events, complete) in cases {
        let reading = Exchange::events(path, events).read();
        assert_eq!(tokens(&reading), (None, None), "{path}");
        assert_eq!(reading.usage_source(), UsageSource::None, "{path}");
        assert_eq!(reading.stream_complete, *complete, "{path}");
    }
}

#[test]
fn a_total_beside_absent_counts_is_not_shared_out() {
    let reading = Exchange::json(
        CHAT,
        "{\"usage\":{\"prompt_tokens\":null,\"completion_tokens\":null,\"total_tokens\":0}}",
    )
    .read();
    assert_eq!(reading.usage.output_tokens, None);
    let half = Exchange::json(
        CHAT,
        "{\"usage\":{\"completion_tokens\":4,\"total_tokens\":13}}",
    )
    .read();
    assert_eq!(tokens(&half), (None, Some(4)));
}
