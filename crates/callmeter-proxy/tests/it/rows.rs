//! What stands in the row of a call that passed: the recorded exchanges of real providers, attribution, and what makes
//! no row.

use std::io::Read;
use std::sync::atomic::{AtomicU32, Ordering};

use callmeter_core::{CallRecord, Layer, Status};
use callmeter_proxy::Route;
use serde_json::Value;

use crate::http::{ask, post};
use crate::rig::Rig;
use crate::upstream::{Upstream, json, send};

const EXCHANGES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../callmeter-wire/tests/fixtures/exchanges.jsonl.gz"
);

/// Every so many of the recorded exchanges with a text body: enough of each provider and format.
fn exchanges(each: usize) -> Vec<Value> {
    let file = std::fs::File::open(EXCHANGES).unwrap();
    let mut lines = String::new();
    flate2::read::GzDecoder::new(file)
        .read_to_string(&mut lines)
        .unwrap();
    let all = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let usable = all.filter(|exchange| {
        exchange["response"]["body_encoding"] == "utf8"
            && exchange["request"]["method"] == "POST"
            && exchange["request"]["path"].as_str().unwrap().is_ascii()
            // Names that were replaced by what no URI may hold.
            && !exchange["request"]["path"].as_str().unwrap().contains([' ', '<'])
    });
    usable.step_by(each).collect()
}

/// The answer as its provider gave it.
fn recorded(response: &Value) -> Vec<u8> {
    let body = response["body"].as_str().unwrap_or_default();
    let mut text = format!("HTTP/1.1 {} X\r\n", response["status"]);
    if let Some(kind) = response["content_type"].as_str() {
        text.push_str(&format!("content-type: {kind}\r\n"));
    }
    for (name, value) in response["headers"].as_object().unwrap() {
        if name != "content-length"
            && name != "transfer-encoding"
            && name != "content-encoding"
            && name != "connection"
        {
            text.push_str(&format!("{name}: {}\r\n", value.as_str().unwrap()));
        }
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    text.into_bytes()
}

fn is_as_expected(row: &CallRecord, expected: &Value, id: &str) {
    let is_open = |field: &str| !expected["undetermined"][field].is_null();
    for (name, count) in row.usage.tokens() {
        let known = &expected["expected"][name];
        if !known.is_null() && !is_open(name) {
            assert_eq!(count, known.as_u64(), "{id}: {name}");
        }
    }
    let texts = [
        ("provider", row.provider.as_deref()),
        ("model_answered", row.model.as_deref()),
        ("finish_reason", row.finish_reason.as_deref()),
        ("response_id", row.response_id.as_deref()),
        ("error_kind", row.error_kind.map(|kind| kind.as_str())),
    ];
    for (name, found) in texts {
        if !is_open(name) && !is_open("*") {
            assert_eq!(found, expected["expected"][name].as_str(), "{id}: {name}");
        }
    }
    let failed = expected["expected"]["error_kind"].is_string();
    if !is_open("error_kind") {
        assert_eq!(row.status == Some(Status::Error), failed, "{id}");
    }
}

#[tokio::test]
async fn rows_say_what_the_recorded_exchanges_of_real_providers_say() {
    let all = exchanges(12);
    assert!(all.len() > 150, "{}", all.len());
    let answers: Vec<Vec<u8>> = all
        .iter()
        .map(|exchange| recorded(&exchange["response"]))
        .collect();
    let upstream = Upstream::by(move |request| {
        let number: usize = request.header("x-number").unwrap().parse().unwrap();
        vec![send(&answers[number])]
    })
    .await;
    // Who answers is told by the route here, as no test can have the providers' hosts.
    let url = upstream.url();
    let rig = Rig::with(|config| {
        for exchange in &all {
            let provider = exchange["expected"]["provider"].as_str().unwrap();
            let route = Route::to(url.parse().unwrap()).of_provider(provider);
            config.routes.insert(provider.to_owned(), route);
        }
    })
    .await;
    let mut wire = crate::http::Wire::connect(rig.address).await;
    for (number, exchange) in all.iter().enumerate() {
        let request = &exchange["request"];
        let mut body = serde_json::Map::new();
        if request["model"].is_string() && !request["path"].as_str().unwrap().contains("/models/") {
            body.insert("model".into(), request["model"].clone());
        }
        if request["stream"].is_boolean() {
            body.insert("stream".into(), request["stream"].clone());
        }
        // As the client asked, so that nothing is asked or hidden.
        body.insert(
            "stream_options".into(),
            serde_json::json!({ "include_usage": request["include_usage"] == true }),
        );
        let provider = exchange["expected"]["provider"].as_str().unwrap();
        let path = format!("/u/{provider}{}", request["path"].as_str().unwrap());
        let number = number.to_string();
        let headers = [
            ("x-number", number.as_str()),
            ("x-callmeter-request-id", exchange["id"].as_str().unwrap()),
        ];
        wire.send(post(&path, &headers, &Value::Object(body).to_string()))
            .await;
        let got = wire.response("POST").await.unwrap();
        assert_eq!(
            got.text(),
            exchange["response"]["body"].as_str().unwrap_or_default()
        );
    }
    let rows = rig.rows_at_rest().await;
    let calls: Vec<&Value> = all
        .iter()
        .filter(|exchange| {
            exchange["expected"]["is_call"] == true && exchange["expected"]["api"] != "unknown"
        })
        .collect();
    for exchange in calls {
        let id = exchange["id"].as_str().unwrap();
        let row = rows
            .iter()
            .find(|row| row.request_id.as_deref() == Some(id));
        is_as_expected(
            row.unwrap_or_else(|| panic!("{id} has no row")),
            exchange,
            id,
        );
    }
}

const REPLY: &str = r#"{"id":"chatcmpl-1","model":"gpt-5-mini-2025","choices":[{"finish_reason":"stop"}],
    "usage":{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}}"#;

#[tokio::test]
async fn a_call_that_passes_is_one_row_of_the_layer_proxy() {
    let upstream = Upstream::always(json(200, REPLY)).await;
    let rig = Rig::of("openai", crate::rig::route([(upstream.url(), None)])).await;
    let headers = [
        ("Authorization", "Bearer sk-proj-secret"),
        ("X-Callmeter-Caller", "sales_copy"),
        ("x-callmeter-team", "growth"),
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
        ("baggage", "tenant=7,callmeter.session=s-1"),
    ];
    ask(
        rig.address,
        post(
            "/v1/chat/completions",
            &headers,
            r#"{"model":"gpt-5-mini"}"#,
        ),
    )
    .await;
    let sent = upstream.request().await;
    assert_eq!(sent.header("authorization"), Some("Bearer sk-proj-secret"));
    assert_eq!(sent.header("baggage"), Some("tenant=7"));
    assert!(sent.header("traceparent").is_some());
    assert!(
        sent.headers
            .iter()
            .all(|(name, _)| !name.to_ascii_lowercase().starts_with("x-callmeter"))
    );
    let rows = rig.rows_at_rest().await;
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!(row.layer, Layer::Proxy);
    assert_eq!(row.caller.as_deref(), Some("sales_copy"));
    assert_eq!(row.team.as_deref(), Some("growth"));
    assert_eq!(row.provider.as_deref(), Some("openai"));
    assert_eq!(
        (row.model_requested.as_deref(), row.model.as_deref()),
        (Some("gpt-5-mini"), Some("gpt-5-mini-2025"))
    );
    assert_eq!(
        (row.usage.input_tokens, row.usage.output_tokens),
        (Some(12), Some(3))
    );
    assert_eq!(
        (row.status.clone(), row.http_status),
        (Some(Status::Ok), Some(200))
    );
    assert_eq!(
        row.trace_id.as_deref(),
        Some("4bf92f3577b34da6a3ce929d0e0e4736")
    );
    assert!(
        row.session_hash
            .as_deref()
            .is_some_and(|hash| !hash.contains("s-1"))
    );
    assert!(row.sdk.as_deref().unwrap().starts_with("callmeter-proxy/"));
    assert!(row.duration_us.is_some() && row.call_site.is_none() && row.host.is_some());
}

#[tokio::test]
async fn a_caller_is_named_by_header_else_baggage_else_path_else_the_settings() {
    let upstream = Upstream::always(json(200, REPLY)).await;
    let url = upstream.url();
    let rig = Rig::with(|config| {
        config
            .routes
            .insert("openai".into(), Route::to(url.parse().unwrap()));
        config.default_caller = "notebook".into();
    })
    .await;
    let path = "/as/night%20job/openai/v1/chat/completions";
    let header = ("x-callmeter-caller", "h");
    let baggage = ("baggage", "callmeter.caller=b");
    ask(rig.address, post(path, &[header, baggage], "{}")).await;
    ask(rig.address, post(path, &[baggage], "{}")).await;
    ask(rig.address, post(path, &[], "{}")).await;
    ask(rig.address, post("/openai/v1/chat/completions", &[], "{}")).await;
    let rows = rig.rows_at_rest().await;
    let callers: Vec<_> = rows
        .iter()
        .map(|row| row.caller.as_deref().unwrap())
        .collect();
    assert_eq!(callers, ["h", "b", "night job", "notebook"]);
}

#[tokio::test]
async fn an_outer_call_and_its_traffic_are_one_row() {
    let upstream = Upstream::always(json(200, REPLY)).await;
    let rig = Rig::of("openai", crate::rig::route([(upstream.url(), None)])).await;
    let mut guard = rig
        .recorder
        .as_ref()
        .unwrap()
        .call("sales_copy", "openai", "gpt-5-mini");
    guard.tokens(1, 1).cache_hit(false);
    let id = guard.id().unwrap().to_string();
    ask(
        rig.address,
        post(
            "/v1/chat/completions",
            &[("x-callmeter-call", &id)],
            r#"{"model":"gpt-5-mini"}"#,
        ),
    )
    .await;
    guard.finish();
    let rows = rig.rows_at_rest().await;
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].usage.input_tokens, rows[0].caller.as_deref()),
        (Some(12), Some("sales_copy"))
    );
    assert_eq!(
        (rows[0].layer, rows[0].cache_hit),
        (Layer::Guard, Some(false))
    );
}

#[tokio::test]
async fn a_client_that_tries_again_within_one_call_has_one_row_with_the_last_word() {
    let refusals = AtomicU32::new(1);
    let upstream = Upstream::by(move |_| match refusals.fetch_sub(1, Ordering::SeqCst) {
        1 => json(429, r#"{"error":{"type":"rate_limit_error"}}"#),
        _ => json(200, REPLY),
    })
    .await;
    let rig = Rig::of("openai", crate::rig::route([(upstream.url(), None)])).await;
    let guard = rig
        .recorder
        .as_ref()
        .unwrap()
        .call("sales_copy", "openai", "gpt-5-mini");
    let id = guard.id().unwrap().to_string();
    for status in [429, 200] {
        let request = post(
            "/v1/chat/completions",
            &[("x-callmeter-call", &id)],
            r#"{"model":"gpt-5-mini"}"#,
        );
        assert_eq!(ask(rig.address, request).await.status(), status);
    }
    guard.finish();
    let rows = rig.rows_at_rest().await;
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].status.clone(), rows[0].http_status),
        (Some(Status::Ok), Some(200))
    );
    assert_eq!(rows[0].usage.input_tokens, Some(12));
}

#[tokio::test]
async fn further_requests_within_one_call_are_rows_of_their_own() {
    let upstream = Upstream::always(json(200, REPLY)).await;
    let rig = Rig::of("openai", crate::rig::route([(upstream.url(), None)])).await;
    let guard = rig
        .recorder
        .as_ref()
        .unwrap()
        .call("agent", "openai", "gpt-5-mini");
    let call = guard.id().unwrap();
    let id = call.to_string();
    for _ in 0..3 {
        let request = post(
            "/v1/chat/completions",
            &[("x-callmeter-call", &id)],
            r#"{"model":"gpt-5-mini"}"#,
        );
        ask(rig.address, request).await;
    }
    guard.finish();
    let rows = rig.rows_at_rest().await;
    assert_eq!(rows.len(), 3);
    let within = rows
        .iter()
        .filter(|row| row.parent_id == Some(call))
        .count();
    assert_eq!(
        (
            within,
            rows.iter().filter(|row| row.call_id == call).count()
        ),
        (2, 1)
    );
    assert!(rows.iter().all(|row| row.usage.input_tokens == Some(12)));
}

#[tokio::test]
async fn free_look_ups_make_no_row() {
    let upstream = Upstream::always(json(200, r#"{"input_tokens":26}"#)).await;
    let rig = Rig::to(&upstream.url()).await;
    for request in [
        post("/u/fake/v1/messages/count_tokens", &[], "{}"),
        post("/u/fake/api/show", &[], "{}"),
        post("/u/fake/v1/files", &[], "{}"),
        b"GET /u/fake/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"GET /u/fake/v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
    ] {
        assert_eq!(ask(rig.address, request).await.status(), 200);
    }
    assert!(rig.rows_at_rest().await.is_empty());
    assert_eq!(rig.tally.figures().calls, 0);
}

#[tokio::test]
async fn an_unknown_dialect_is_a_row_if_its_answer_counts_tokens() {
    let upstream = Upstream::always(json(
        200,
        r#"{"usage":{"input_tokens":5,"output_tokens":2}}"#,
    ))
    .await;
    let rig = Rig::to(&upstream.url()).await;
    ask(
        rig.address,
        post("/u/fake/who/knows", &[], r#"{"model":"odd"}"#),
    )
    .await;
    let rows = rig.rows_at_rest().await;
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].usage.input_tokens, rows[0].provider.as_deref()),
        (Some(5), Some("fake"))
    );
    assert_eq!(rows[0].model_requested.as_deref(), Some("odd"));
}
