//! What a row keeps of an error under each policy, by every way in which a guard is told of one.

use callmeter::ErrorPolicy;
use callmeter_core::{CallRecord, ErrorKind, Status};

use crate::host::Host;

const RATE_LIMIT: &str = "Error code: 429 - {'error': {'message': 'my secret plan', 'type': 'requests', 'code': 'rate_limit_exceeded'}}";
const REFUSED: &str = "[Errno 111] Connection refused";

fn host(policy: ErrorPolicy) -> Host {
    Host::with(|settings| settings.privacy.errors = policy)
}

fn told(row: &CallRecord) -> (Option<&str>, Option<ErrorKind>, Option<u16>, Option<&str>) {
    (
        row.error.as_deref(),
        row.error_kind,
        row.http_status,
        row.error_detail.as_deref(),
    )
}

#[test]
fn under_class_an_exception_is_its_type_its_kind_its_status_and_its_code() {
    let host = host(ErrorPolicy::Class);
    host.call("it").fail_with("RateLimitError", RATE_LIMIT);
    let row = host.row();
    assert_eq!(row.status, Some(Status::Error));
    assert_eq!(
        told(&row),
        (
            Some("RateLimitError"),
            Some(ErrorKind::RateLimit),
            Some(429),
            Some("rate_limit_exceeded")
        )
    );
}

#[test]
fn under_scrubbed_an_exception_keeps_what_is_known_of_its_text() {
    let host = host(ErrorPolicy::Scrubbed);
    host.call("known").fail_with("ConnectError", REFUSED);
    host.call("unknown")
        .fail_with("ValueError", "my secret plan");
    host.call("gave_up").fail_with("CancelledError", "");
    let rows = host.rows();
    let known = Some("ConnectError: [Errno 111] Connection refused");
    assert_eq!(
        told(&rows["known"]),
        (known, Some(ErrorKind::Network), None, None)
    );
    assert_eq!(
        told(&rows["unknown"]),
        (Some("ValueError"), Some(ErrorKind::Other), None, None)
    );
    assert_eq!(rows["gave_up"].status, Some(Status::Cancelled));
}

#[test]
fn what_the_caller_said_of_an_error_stands_when_an_exception_follows() {
    let host = host(ErrorPolicy::Scrubbed);
    let mut call = host.call("it");
    call.error(format!("httpx.ConnectError: {REFUSED}"));
    assert_eq!(
        call.error_text(),
        Some("httpx.ConnectError: [Errno 111] Connection refused")
    );
    call.fail_with("RuntimeError", "giving up");
    assert_eq!(
        told(&host.row()),
        (
            Some("httpx.ConnectError: [Errno 111] Connection refused"),
            Some(ErrorKind::Network),
            None,
            None
        )
    );
}

#[test]
fn the_caller_s_own_words_are_withheld_and_the_row_says_that_there_were_some() {
    for (policy, kept) in [
        (ErrorPolicy::Class, None),
        (ErrorPolicy::Scrubbed, Some("(error text withheld)")),
    ] {
        let host = host(policy);
        let mut call = host.call("it");
        call.error("the patient's name is Jane");
        assert_eq!(call.error_text(), Some("the patient's name is Jane"));
        call.finish();
        let row = host.row();
        assert_eq!(told(&row), (kept, Some(ErrorKind::Caller), None, None));
        assert_eq!(row.status, Some(Status::Error));
    }
}

#[test]
fn a_rust_error_is_its_type_under_either_policy() {
    for policy in ErrorPolicy::ALL {
        let host = host(*policy);
        host.call("it").fail(&std::io::Error::other(REFUSED));
        assert_eq!(host.row().error.as_deref(), Some("Error"));
    }
}
