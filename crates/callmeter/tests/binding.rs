//! What a binding for another language relies on: calls opened with places of its own, threads that rest for a fork.
//!
//! In a binary of its own: one test makes the recorder of the process.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use callmeter::binding::{self, CallSite};
use callmeter::{Callmeter, ErrorKind, ErrorReport};
use callmeter_store::{CallsQuery, Filter, SqliteReader, StoredCall};

const PATIENCE: Duration = Duration::from_secs(60);

fn rows(callmeter: &Callmeter) -> Vec<StoredCall> {
    assert!(callmeter.flush(PATIENCE).is_complete());
    let path = callmeter.home().default_store();
    let query = CallsQuery {
        filter: Filter::default(),
        before: None,
        limit: 1_000,
    };
    let mut rows = SqliteReader::open(&path).unwrap().calls(&query).unwrap();
    rows.sort_by_key(|row| row.record.call_id);
    rows
}

#[test]
fn a_binding_s_call_is_a_row_with_its_place_its_sdk_and_its_error() {
    let dir = tempfile::tempdir().unwrap();
    let builder = callmeter::builder().home(dir.path());
    let callmeter = builder.sdk("callmeter-test/1").init().unwrap();
    assert!(binding::is_on());
    let site = Some(CallSite::lasting("sales/copy.py", 42));
    let open = |caller: &str| binding::open(caller, "p", "m", site, Duration::ZERO).unwrap();

    let call = open("finished");
    let id = call.id();
    let mut guard = call.into_guard();
    assert_eq!(guard.id(), Some(id));
    guard.first_token_at(Some(7)).tokens(1, 2);
    assert!(guard.finish_timed().is_some());

    let report = ErrorReport::of_http_status(503).code("overloaded_error");
    open("failed")
        .into_guard()
        .fail_timed("ApiError", "the text may quote a prompt", &report);
    let cancelled = ErrorReport::new(ErrorKind::Cancelled);
    open("cancelled")
        .into_guard()
        .fail_timed("CancelledError", "", &cancelled);
    drop(open("dropped"));
    let told_later = binding::open("told later", "p", "m", None, Duration::from_secs(90)).unwrap();
    told_later.into_guard().finish_lasting(90_000_000);

    let rows = rows(&callmeter);
    let of = |caller: &str| {
        let mut found = rows.iter().map(|row| &row.record);
        found
            .find(|record| record.caller.as_deref() == Some(caller))
            .unwrap()
    };
    let finished = of("finished");
    assert_eq!(finished.call_id, id);
    assert_eq!(finished.call_site.as_deref(), Some("sales/copy.py:42"));
    assert_eq!(finished.sdk.as_deref(), Some("callmeter-test/1"));
    assert_eq!(
        (finished.ttft_us, finished.usage.input_tokens),
        (Some(7), Some(1))
    );
    let failed = of("failed");
    assert_eq!(failed.error.as_deref(), Some("ApiError"));
    assert_eq!(
        (failed.error_kind, failed.http_status),
        (Some(ErrorKind::Overloaded), Some(503))
    );
    assert_eq!(failed.error_detail.as_deref(), Some("overloaded_error"));
    assert_eq!(
        of("cancelled")
            .status
            .as_ref()
            .map(|status| status.as_str()),
        Some("cancelled")
    );
    assert_eq!(of("dropped").error_kind, Some(ErrorKind::Unfinished));
    let told_later = of("told later");
    assert_eq!(told_later.duration_us, Some(90_000_000));
    assert!(told_later.started_at() < finished.started_at());
}

#[test]
fn threads_rest_with_everything_spooled_and_another_process_of_the_home_may_ship() {
    let dir = tempfile::tempdir().unwrap();
    let open = || callmeter::builder().home(dir.path()).open().unwrap();
    let resting = open();
    resting.call("before", "p", "m").finish();
    assert!(resting.flush(PATIENCE).is_complete());
    assert!(resting.stats().is_shipping);
    resting.call("while it ends", "p", "m").finish();
    assert!(resting.park(PATIENCE));
    let figures = resting.stats().conservation;
    assert_eq!((figures.finished, figures.buffered), (2, 0), "{figures:?}");
    assert!(!resting.stats().is_shipping);
    assert!(resting.park(PATIENCE), "twice is as once");

    let other = open();
    other.call("other", "p", "m").finish();
    assert_eq!(rows(&other).len(), 3);
    drop(other);

    // In the buffer until the threads are back.
    resting.call("while it rests", "p", "m").finish();
    resting.resume();
    resting.resume();
    assert_eq!(rows(&resting).len(), 4);
    assert!(resting.park(PATIENCE));
    resting.call("last", "p", "m").finish();
    assert!(
        resting.shutdown(PATIENCE).is_complete(),
        "who ends need not resume"
    );
}
