//! Routes with several upstreams: who is asked next, what each row says, and when no other is asked.

use callmeter_core::{CallRecord, ErrorKind, Status};

use crate::http::{Ending, Wire, ask, post};
use crate::rig::{Rig, route};
use crate::upstream::{Step, Upstream, json, send};

const CHAT: &str = "/ollama/api/chat";
const BODY: &str = r#"{ "model" : "big:70b", "messages":[{"role":"user","content":"\"model\":\"x\""}],"stream":false}"#;

fn answer() -> Vec<Step> {
    json(
        200,
        r#"{"model":"small:1b","done":true,"done_reason":"stop","prompt_eval_count":7,"eval_count":3}"#,
    )
}

/// Three hosts behind one URL: one that refuses, one that does `second`, one with a smaller model.
async fn three(second: Vec<Step>) -> (Rig, Upstream, Upstream) {
    let refusing = format!("http://{}", Upstream::nobody().await);
    let second = Upstream::always(second).await;
    let last = Upstream::always(answer()).await;
    let upstreams = [
        (refusing, None),
        (second.url(), None),
        (last.url(), Some("small:1b")),
    ];
    (Rig::of("ollama", route(upstreams)).await, second, last)
}

fn is_chain_of_three(
    rows: &[CallRecord],
    kinds: [ErrorKind; 2],
    second: &Upstream,
    last: &Upstream,
) {
    assert_eq!(rows.len(), 3);
    let statuses: Vec<_> = rows.iter().map(|row| row.status.clone().unwrap()).collect();
    assert_eq!(statuses, [Status::Fallback, Status::Fallback, Status::Ok]);
    let first = rows[0].call_id;
    for (at, row) in rows.iter().enumerate() {
        assert_eq!(row.chain_id, Some(first));
        assert_eq!(row.attempt, Some(at as u32 + 1));
        assert_eq!(row.provider.as_deref(), Some("ollama"));
    }
    assert_eq!(rows[0].error_kind, Some(kinds[0]));
    assert_eq!(rows[1].error_kind, Some(kinds[1]));
    assert_eq!(rows[0].fallback_to, Some(second.address.to_string()));
    assert_eq!(rows[1].fallback_to, Some(last.address.to_string()));
    assert_eq!(rows[0].model_requested.as_deref(), Some("big:70b"));
    assert_eq!(rows[2].model_requested.as_deref(), Some("small:1b"));
    assert_eq!(rows[2].model.as_deref(), Some("small:1b"));
    assert_eq!(
        (rows[0].usage.input_tokens, rows[2].usage.input_tokens),
        (None, Some(7))
    );
}

#[tokio::test]
async fn the_next_is_asked_after_a_refusal_and_after_a_503() {
    let (rig, second, last) = three(json(503, r#"{"error":"overloaded"}"#)).await;
    let got = ask(rig.address, post(CHAT, &[], BODY)).await;
    assert_eq!(got.status(), 200);
    assert!(got.text().contains("small:1b"));
    // Only the model was changed, and only for the host that has another.
    assert_eq!(second.request().await.text(), BODY);
    assert_eq!(
        last.request().await.text(),
        BODY.replace("big:70b", "small:1b")
    );
    let rows = rig.rows_at_rest().await;
    is_chain_of_three(
        &rows,
        [ErrorKind::Network, ErrorKind::Overloaded],
        &second,
        &last,
    );
    assert_eq!(rows[1].http_status, Some(503));
    assert_eq!(rig.tally.figures().fallbacks, 2);
}

#[tokio::test]
async fn the_next_is_asked_when_one_dies_behind_its_head() {
    for death in [Step::Reset, Step::Finish] {
        let head =
            send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n");
        let (rig, second, last) = three(vec![head, death]).await;
        let got = ask(rig.address, post(CHAT, &[], BODY)).await;
        assert_eq!(got.status(), 200);
        assert!(got.text().contains("small:1b"));
        let rows = rig.rows_at_rest().await;
        is_chain_of_three(
            &rows,
            [ErrorKind::Network, ErrorKind::Network],
            &second,
            &last,
        );
    }
}

#[tokio::test]
async fn the_last_one_s_failure_is_the_client_s_answer() {
    let first = Upstream::always(json(500, r#"{"error":"first"}"#)).await;
    let last = Upstream::always(json(429, r#"{"error":"last"}"#)).await;
    let rig = Rig::of("ollama", route([(first.url(), None), (last.url(), None)])).await;
    let got = ask(rig.address, post(CHAT, &[], BODY)).await;
    assert_eq!((got.status(), got.text()), (429, r#"{"error":"last"}"#));
    let rows = rig.rows_at_rest().await;
    assert_eq!(rows[0].status, Some(Status::Fallback));
    assert_eq!(rows[0].error_kind, Some(ErrorKind::Server));
    assert_eq!(rows[1].status, Some(Status::Error));
    assert_eq!(rows[1].error_kind, Some(ErrorKind::RateLimit));
    assert_eq!(rows[1].chain_id, Some(rows[0].call_id));
}

#[tokio::test]
async fn nobody_else_is_asked_about_a_mistake_of_the_client() {
    let first = Upstream::always(json(400, r#"{"error":"mistake"}"#)).await;
    let next = Upstream::always(answer()).await;
    let rig = Rig::of("ollama", route([(first.url(), None), (next.url(), None)])).await;
    assert_eq!(ask(rig.address, post(CHAT, &[], BODY)).await.status(), 400);
    assert!(next.got_no_more().await);
    assert_eq!(rig.rows_at_rest().await[0].status, Some(Status::Error));
}

#[tokio::test]
async fn nobody_else_is_asked_once_a_byte_went_to_the_client() {
    let first = Upstream::always(vec![
        send("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"),
        Step::Gate,
        Step::Reset,
    ])
    .await;
    let next = Upstream::always(answer()).await;
    let rig = Rig::of("ollama", route([(first.url(), None), (next.url(), None)])).await;
    let mut wire = Wire::connect(rig.address).await;
    wire.send(post(CHAT, &[], r#"{"model":"m"}"#)).await;
    assert_eq!(wire.response_head().await.unwrap().status(), 200);
    assert_eq!(wire.chunk().await.unwrap(), b"{}");
    first.open_gate();
    assert_eq!(wire.chunk().await, None);
    assert!(next.got_no_more().await);
    let rows = rig.rows_at_rest().await;
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].status.clone(), rows[0].error_kind),
        (Some(Status::Error), Some(ErrorKind::Network))
    );
}

#[tokio::test]
async fn with_nobody_left_the_client_gets_an_error_of_the_proxy() {
    let nobody = |address| (format!("http://{address}"), None);
    let upstreams = [
        nobody(Upstream::nobody().await),
        nobody(Upstream::nobody().await),
    ];
    let rig = Rig::of("ollama", route(upstreams)).await;
    let got = ask(rig.address, post(CHAT, &[], BODY)).await;
    assert_eq!(
        (got.status(), got.header("x-callmeter-error")),
        (502, Some("upstream_unreachable"))
    );
    assert!(got.text().contains("cannot reach 127.0.0.1"));
    let rows = rig.rows_at_rest().await;
    let statuses: Vec<_> = rows.iter().map(|row| row.status.clone().unwrap()).collect();
    assert_eq!(statuses, [Status::Fallback, Status::Error]);
    assert_eq!(rig.tally.figures().failed, 1);
}

#[tokio::test]
async fn a_call_of_an_outer_layer_is_completed_by_the_try_that_answers() {
    let first = Upstream::always(json(503, "{}")).await;
    let last = Upstream::always(answer()).await;
    let rig = Rig::of(
        "ollama",
        route([(first.url(), None), (last.url(), Some("small:1b"))]),
    )
    .await;
    let recorder = rig.recorder.as_ref().unwrap();
    let guard = recorder.call("sales_copy", "ollama", "big:70b");
    let id = guard.id().unwrap();
    let headers = [("x-callmeter-call", id.to_string())];
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    ask(rig.address, post(CHAT, &headers, BODY)).await;
    guard.finish();
    let rows = rig.rows_at_rest().await;
    assert_eq!(rows.len(), 2);
    let outer = rows.iter().find(|row| row.call_id == id).unwrap();
    let failed = rows.iter().find(|row| row.call_id != id).unwrap();
    assert_eq!(outer.usage.input_tokens, Some(7));
    assert_eq!(
        (outer.caller.as_deref(), outer.http_status),
        (Some("sales_copy"), Some(200))
    );
    assert_eq!(
        (failed.status.clone(), failed.http_status),
        (Some(Status::Fallback), Some(503))
    );
    assert_eq!((failed.chain_id, failed.attempt), (Some(id), Some(1)));
    assert_eq!(failed.usage.input_tokens, None);
}

#[tokio::test]
async fn a_body_too_long_to_be_held_is_sent_once_and_unchanged() {
    let first = Upstream::always(json(503, "{}")).await;
    let next = Upstream::always(answer()).await;
    let upstreams = route([(first.url(), None), (next.url(), None)]);
    let rig = Rig::with(|config| {
        config.routes.insert("ollama".into(), upstreams);
        config.limits.replay_bytes = 100;
    })
    .await;
    let long = format!(r#"{{"model":"m","x":"{}"}}"#, "y".repeat(300));
    let got = ask(rig.address, post(CHAT, &[], &long)).await;
    assert_eq!((got.status(), got.ending), (503, Ending::Whole));
    assert_eq!(first.request().await.text(), long);
    assert!(next.got_no_more().await);
    let rows = rig.rows_at_rest().await;
    assert_eq!(rows[0].model_requested.as_deref(), Some("m"));
}
