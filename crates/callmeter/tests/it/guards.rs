//! Guards: every way out makes one row, and the row says what the guard was told.

use std::collections::BTreeMap;
use std::sync::Arc;

use callmeter::settings::Settings;
use callmeter::{Billing, ErrorKind, ErrorReport, Operation, Usage};
use callmeter_core::{CallerEntry, CallerRegistry, Flags, Status, Timestamp, UsageSource};
use callmeter_testkit::clock::ManualClock;

use crate::support::Place;

const START: Timestamp = Timestamp::from_micros(1_774_310_400_000_000);

#[test]
fn a_row_says_all_that_its_guard_was_told() {
    let clock = Arc::new(ManualClock::at(START));
    let place = Place::with_clock(Arc::clone(&clock) as _);
    let parent = place.callmeter.call("outer", "openai", "gpt-5");
    let mut call = place.callmeter.call("sales_copy", "openai", "gpt-5-mini");
    let line = line!() - 1;
    clock.pass(200_000);
    call.first_token().first_token();
    call.tokens(1_200, Some(340_u16))
        .provider("azure_openai")
        .model("gpt-5-mini-2026-01-01")
        .request_id("req_1")
        .response_id("resp_1")
        .provider_request_id("prov_1")
        .host("api.openai.com")
        .region("eu-west-1")
        .service_tier("flex")
        .finish_reason("stop")
        .project("shop")
        .team("growth")
        .cost_center("4711")
        .environment("production")
        .cache_hit(false)
        .rag_hit(true)
        .streaming(true)
        .stream_complete(true)
        .operation(Operation::Chat)
        .billing(Billing::Plan)
        .http_status(200)
        .parent(parent.id())
        .retry_of(parent.id(), 2)
        .trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
        .meta("retries", 3)
        .meta("variant", "b")
        .reported_cost("0.0012")
        .status("ok");
    clock.pass(1_000_000);
    call.finish();
    let outer = parent.id();
    parent.finish();

    let rows = place.rows();
    let row = rows
        .iter()
        .find(|row| row.caller.as_deref() == Some("sales_copy"))
        .unwrap();
    assert_eq!(
        (row.started_at(), row.duration_us),
        (START, Some(1_200_000))
    );
    assert_eq!(row.ttft_us, Some(200_000));
    let texts = [
        (&row.provider, "azure_openai"),
        (&row.model_requested, "gpt-5-mini"),
        (&row.model, "gpt-5-mini-2026-01-01"),
        (&row.request_id, "req_1"),
        (&row.response_id, "resp_1"),
        (&row.provider_request_id, "prov_1"),
        (&row.host, "api.openai.com"),
        (&row.region, "eu-west-1"),
        (&row.service_tier, "flex"),
        (&row.finish_reason, "stop"),
        (&row.project, "shop"),
        (&row.team, "growth"),
        (&row.cost_center, "4711"),
        (&row.environment, "production"),
        (&row.trace_id, "0af7651916cd43dd8448eb211c80319c"),
        (&row.span_id, "b7ad6b7169203331"),
        (&row.call_site, &format!("tests/it/guards.rs:{line}")),
        (
            &row.sdk,
            concat!("callmeter-rust/", env!("CARGO_PKG_VERSION")),
        ),
    ];
    for (value, expected) in texts {
        assert_eq!(value.as_deref(), Some(expected));
    }
    assert!(row.host_name.is_some());
    assert_eq!(
        (
            row.usage.input_tokens,
            row.usage.output_tokens,
            row.usage.usage_source
        ),
        (Some(1_200), Some(340), Some(UsageSource::Caller))
    );
    assert_eq!(
        (
            row.cache_hit,
            row.rag_hit,
            row.streaming,
            row.stream_complete
        ),
        (Some(false), Some(true), Some(true), Some(true))
    );
    assert_eq!(
        (row.operation, row.billing, row.http_status),
        (Some(Operation::Chat), Some(Billing::Plan), Some(200))
    );
    assert_eq!(
        (row.parent_id, row.chain_id, row.attempt),
        (outer, outer, Some(2))
    );
    assert_eq!(row.reported_cost.unwrap().as_pico(), 1_200_000_000);
    let meta = row.meta.as_ref().unwrap().to_json_text();
    assert_eq!(meta, r#"{"retries":3,"variant":"b"}"#);
    assert_eq!((&row.status, row.flags), (&Some(Status::Ok), Flags::NONE));
}

#[test]
fn every_way_out_makes_one_row_with_its_status() {
    let place = Place::new();
    let call = |caller: &str| place.callmeter.call(caller, "openai", "gpt-5-mini");
    call("ok").finish();
    call("error").fail(&std::fmt::Error);
    call("classified").fail_as(
        &std::fmt::Error,
        ErrorReport::of_http_status(429).code("rate_limit_exceeded"),
    );
    drop(call("left"));
    let mut taken_over = call("fallback");
    taken_over.fallback_to("gemini");
    taken_over.finish();
    let mut said = call("caller");
    said.error("the words of a prompt");
    assert_eq!(said.error_text(), Some("the words of a prompt"));
    said.finish();
    let mut own = call("own");
    own.status("fallback").status("half_an_answer_and_more");
    own.finish();
    let mut mended = call("mended");
    mended.status("odd").status("ok");
    mended.finish();
    drop(call("cancelled").run_value(std::future::ready(())));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _call = call("panic");
        std::panic::resume_unwind(Box::new(()));
    }));
    assert!(panicked.is_err());

    let rows = place.rows();
    let seen: BTreeMap<&str, String> = rows
        .iter()
        .map(|row| {
            let kind = row.error_kind.map_or("", ErrorKind::as_str);
            let error = row.error.as_deref().unwrap_or_default();
            let detail = row.error_detail.as_deref().unwrap_or_default();
            let shown = format!("{} {kind} {error} {detail}", row.status_or_ok());
            (row.caller_or_unknown(), shown.trim_end().to_owned())
        })
        .collect();
    let expected = [
        ("caller", "error caller"),
        ("cancelled", "cancelled cancelled"),
        ("classified", "error rate_limit Error rate_limit_exceeded"),
        ("error", "error other Error"),
        ("fallback", "fallback"),
        ("left", "error unfinished"),
        ("mended", "ok"),
        ("ok", "ok"),
        ("own", "half_an_answer_a"),
        ("panic", "error panic"),
    ];
    assert_eq!(
        seen,
        expected
            .map(|(caller, row)| (caller, row.to_owned()))
            .into()
    );
    assert!(rows.iter().all(|row| row.duration_us.is_some()));
    let everything = format!("{rows:?}");
    assert!(!everything.contains("the words of a prompt"));
}

#[test]
fn a_whole_usage_replaces_what_was_said_and_more_tokens_add_to_it() {
    let place = Place::new();
    let mut call = place
        .callmeter
        .call("reader", "anthropic", "claude-sonnet-4-6");
    call.tokens(1, 2);
    let mut usage = Usage::of(100, 20);
    usage.cache_read_tokens = Some(64);
    usage.reasoning_tokens = Some(7);
    usage.usage_rule = Some("anthropic".to_owned());
    usage.usage_extra = Some(BTreeMap::from([("web_search".to_owned(), 2)]));
    usage.usage_source = Some(UsageSource::Body);
    call.usage(Usage::default()).usage(usage.clone());
    call.tokens(None::<u32>, 21).meta("a", 1);
    call.finish();
    usage.output_tokens = Some(21);
    usage.usage_source = Some(UsageSource::Caller);
    let row = place.row();
    assert_eq!(row.usage, usage);
    assert_eq!(row.meta.unwrap().to_json_text(), r#"{"a":1}"#);
}

#[test]
fn texts_that_are_too_long_are_cut_and_absurd_counts_left_out_and_the_row_says_so() {
    let place = Place::new();
    let mut call = place
        .callmeter
        .call("c".repeat(300), "p".repeat(3_000), "ä".repeat(129));
    call.request_id("r".repeat(9_999))
        .trace("t".repeat(200), "s".repeat(200))
        .tokens(-1, 5)
        .status("");
    call.finish();
    let row = place.row();
    let lengths = [
        &row.caller,
        &row.provider,
        &row.model_requested,
        &row.request_id,
        &row.trace_id,
    ]
    .map(|text| text.as_deref().unwrap_or_default().chars().count());
    assert_eq!(lengths, [64, 32, 128, 128, 64]);
    assert!(
        row.flags
            .contains(Flags::CUT.union(Flags::USAGE_IMPLAUSIBLE))
    );
    assert_eq!(
        (row.usage.input_tokens, row.usage.output_tokens),
        (None, Some(5))
    );
}

#[test]
fn a_listed_caller_s_rows_carry_its_team_and_others_are_counted() {
    let mut settings = Settings::default();
    settings.scope.team = Some("everybody".to_owned());
    settings.scope.project = Some("shop".to_owned());
    let mut entry = CallerEntry::default();
    entry.name = "sales_copy".to_owned();
    entry.team = Some("growth".to_owned());
    settings.registry = CallerRegistry::new([entry]);
    let place = Place::with(|builder| builder.settings(settings));
    let home = place.home.path();
    assert_eq!(place.callmeter.home().path(), home);
    for caller in ["sales_copy", "hermes", "hermes"] {
        place.callmeter.call(caller, "openai", "gpt-5").finish();
    }
    let teams: Vec<_> = place
        .rows()
        .into_iter()
        .map(|row| (row.caller, row.team, row.project))
        .collect();
    let row = |caller: &str, team: &str| {
        (
            Some(caller.to_owned()),
            Some(team.to_owned()),
            Some("shop".to_owned()),
        )
    };
    assert_eq!(teams.len(), 3);
    assert!(
        teams.contains(&row("sales_copy", "growth")) && teams.contains(&row("hermes", "everybody"))
    );
    assert_eq!(place.callmeter.stats().unknown_callers, 2);
}

#[test]
fn nothing_is_recorded_while_off_and_what_was_opened_before_finishes_as_it_was_opened() {
    let place = Place::new();
    let open = place.callmeter.call("before", "openai", "gpt-5");
    place.callmeter.set_enabled(false);
    assert!(!place.callmeter.is_enabled());
    let mut off = place.callmeter.call("while_off", "openai", "gpt-5");
    off.tokens(1, 1).error("no").meta("a", 1);
    assert_eq!((off.id(), off.error_text()), (None, None));
    off.finish();
    open.finish();
    place.callmeter.set_enabled(true);
    place.callmeter.call("after", "openai", "gpt-5").finish();
    let callers: Vec<_> = place
        .rows()
        .into_iter()
        .filter_map(|row| row.caller)
        .collect();
    assert_eq!(callers, ["before", "after"]);
}
