//! `/healthz`: that a proxy lives, and that it is a callmeter.

use std::borrow::Cow;

use callmeter_proxy::AdminAnswer;

pub(crate) const PATH: &str = "/healthz";
/// What only a callmeter says of itself.
pub(crate) const SIGN: &str = "\"service\":\"callmeter\"";

/// Answers `/healthz` alone.
pub(crate) struct Admin;

impl callmeter_proxy::Admin for Admin {
    fn answer(&self, method: &str, path: &str) -> Option<AdminAnswer> {
        (path == PATH && matches!(method, "GET" | "HEAD")).then(answer)
    }
}

/// What `/healthz` answers.
pub(crate) fn answer() -> AdminAnswer {
    let version = env!("CARGO_PKG_VERSION");
    AdminAnswer {
        content_type: Cow::Borrowed("application/json"),
        ..AdminAnswer::text(format!(
            "{{{SIGN},\"status\":\"ok\",\"version\":\"{version}\"}}\n"
        ))
    }
}
