//! Requests: line, headers and body → who is asked for what, and how it is paid.

use callmeter_core::{Billing, Operation};
use callmeter_wire::{Api, RequestFacts, RequestReader, inspect};
use serde_json::Value;

use crate::support::{exchanges, text};

fn read(target: &str, headers: &[(&str, &str)], body: &str) -> RequestFacts {
    let mut reader = RequestReader::new("POST", target, headers.iter().copied());
    for byte in body.bytes() {
        reader.push(&[byte]);
    }
    reader.finish()
}

#[test]
fn a_streamed_chat_says_what_it_wants() {
    let facts = read(
        "/v1/chat/completions?x=1",
        &[("Host", "api.groq.com")],
        "{\"messages\":[{\"content\":\"{\\\"model\\\":\\\"no\\\"}\"}],\"stream\":true,\"stream_options\":{\"include_usage\":true},\
         \"model\":\"llama-3.3-70b\",\"service_tier\":\"flex\"} trailing",
    );
    assert_eq!(
        (facts.api, facts.provider),
        (Api::ChatCompletions, Some("groq"))
    );
    assert_eq!(facts.model.as_deref(), Some("llama-3.3-70b"));
    assert_eq!(
        (facts.streaming, facts.asks_for_usage),
        (Some(true), Some(true))
    );
    assert_eq!(facts.service_tier.as_deref(), Some("flex"));
}

#[test]
fn a_model_in_the_path_is_used_where_the_body_names_none() {
    let facts = read(
        "/openai/deployments/my-gpt/chat/completions?api-version=1",
        &[("host", "x.openai.azure.com")],
        "{}",
    );
    assert_eq!(
        (facts.provider, facts.model.as_deref()),
        (Some("azure_openai"), Some("my-gpt"))
    );
    let facts = read(
        "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
        &[],
        "{\"contents\":[]}",
    );
    assert_eq!(
        (facts.provider, facts.model.as_deref()),
        (Some("gemini"), Some("gemini-2.5-pro"))
    );
    assert_eq!(facts.streaming, Some(true));
}

#[test]
fn the_kind_of_credential_tells_how_a_call_is_paid() {
    let plan = read(
        "/v1/messages",
        &[
            ("host", "api.anthropic.com"),
            ("authorization", "Bearer sk-ant-oat01-abc"),
        ],
        "{}",
    );
    assert_eq!(plan.billing, Billing::Plan);
    let key = read(
        "/v1/messages",
        &[
            ("x-api-key", "sk-ant-api03-abc"),
            ("host", "api.anthropic.com"),
        ],
        "{}",
    );
    assert_eq!(key.billing, Billing::Metered);
    let own = read("/api/chat", &[("host", "localhost:11434")], "{}");
    assert_eq!(own.billing, Billing::SelfHosted);
    let cloud = read(
        "/api/chat",
        &[
            ("authorization", "Bearer 0123456789"),
            ("host", "ollama.com"),
        ],
        "{}",
    );
    assert_eq!(cloud.billing, Billing::Metered);
    let copilot = read(
        "/chat/completions",
        &[("host", "api.githubcopilot.com")],
        "{}",
    );
    assert_eq!(copilot.billing, Billing::Plan);
}

#[test]
fn a_form_names_its_model_beside_a_file() {
    let head = [
        ("content-type", "multipart/form-data; boundary=b"),
        ("host", "api.openai.com"),
    ];
    let facts = read(
        "/v1/audio/transcriptions",
        &head,
        "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b--\r\n",
    );
    assert_eq!(
        (facts.model.as_deref(), facts.operation()),
        (Some("whisper-1"), Operation::Audio)
    );
}

#[test]
fn images_are_counted_by_the_request() {
    let facts = read("/v1/images/generations", &[], "{\"prompt\":\"x\",\"n\":3}");
    assert_eq!(facts.units.get("image"), Some(&3));
}

#[test]
fn a_configured_provider_wins_over_a_host_that_says_nothing() {
    let facts = RequestFacts::from_line("POST", "/v1/chat/completions")
        .with_host("llm.internal")
        .with_provider("vllm");
    assert_eq!(
        (facts.provider, facts.billing),
        (Some("vllm"), Billing::SelfHosted)
    );
    assert_eq!(facts.with_provider("nobody").provider, Some("vllm"));
}

#[test]
fn an_absolute_target_gives_up_its_host_but_no_password() {
    let facts = RequestFacts::from_line(
        "POST",
        "https://user:secret@api.x.ai/v1/responses?key=secret",
    );
    assert_eq!((facts.provider, facts.api), (Some("xai"), Api::Responses));
    assert!(!format!("{facts:?}").contains("secret"));
}

#[test]
fn every_recorded_request_line_leads_to_its_interface() {
    for line in exchanges() {
        let exchange: Value = serde_json::from_str(&line).unwrap();
        let facts = inspect(&line, None).unwrap().facts;
        assert_eq!(
            facts.api.as_str(),
            text(&exchange, "/expected/api"),
            "{}",
            text(&exchange, "/id")
        );
        assert_eq!(
            Some(facts.is_call),
            exchange["expected"]["is_call"].as_bool()
        );
    }
}
