//! Who calls, and what the call belongs to: read from headers that are ours, which go no further.
//!
//! ```text
//! x-callmeter-caller, -session, -user, -request-id, -project, -team, -cost-center, -environment
//! x-callmeter-call     the id of the outer call that this request is
//! x-callmeter-parent   the id of the call that this one is made within
//! baggage              members callmeter.caller, .session, .user, .request_id; the others pass on
//! traceparent          noted, and passed on
//! ```
//! A header wins over baggage, baggage over the path, the path over the configured default. Every `x-callmeter-`
//! header is taken off, known or not, and every `callmeter.` member of the baggage.

use callmeter::{CallGuard, CallId};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

const OURS: &str = "x-callmeter-";
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");
const MEMBER: &str = "callmeter.";
/// The longest value that is looked at; more of it no row would keep.
const MAX_VALUE: usize = 512;

/// What a request says of itself.
#[derive(Clone, Default)]
pub(crate) struct Attribution {
    pub(crate) caller: Option<String>,
    session: Option<String>,
    user: Option<String>,
    request_id: Option<String>,
    pub(crate) project: Option<String>,
    pub(crate) team: Option<String>,
    cost_center: Option<String>,
    environment: Option<String>,
    pub(crate) call: Option<CallId>,
    parent: Option<CallId>,
    trace: Option<(String, String)>,
}

impl Attribution {
    /// Reads the headers and takes off what is ours.
    pub(crate) fn take(headers: &mut HeaderMap) -> Self {
        let mut found = Self::default();
        let mut has_ours = false;
        for (name, value) in headers.iter() {
            if let Some(what) = name.as_str().strip_prefix(OURS) {
                has_ours = true;
                if let Some(text) = text(value) {
                    found.header(what, text);
                }
            }
        }
        if has_ours {
            crate::hop::retain(headers, |name| !name.as_str().starts_with(OURS));
        }
        if headers.contains_key(BAGGAGE) {
            found.baggage(headers);
        }
        found.trace = headers
            .get("traceparent")
            .and_then(text)
            .and_then(trace_parent);
        found
    }

    fn header(&mut self, what: &str, value: &str) {
        let slot = match what {
            "caller" => &mut self.caller,
            "session" => &mut self.session,
            "user" => &mut self.user,
            "request-id" => &mut self.request_id,
            "project" => &mut self.project,
            "team" => &mut self.team,
            "cost-center" => &mut self.cost_center,
            "environment" => &mut self.environment,
            "call" => return self.call = value.parse().ok(),
            "parent" => return self.parent = value.parse().ok(),
            _ => return,
        };
        *slot = Some(value.to_owned());
    }

    /// Reads our members and leaves the others as they were, their properties and spaces included.
    fn baggage(&mut self, headers: &mut HeaderMap) {
        let is_ours = |member: &&str| member.trim_start().starts_with(MEMBER);
        let values: Vec<HeaderValue> = headers.get_all(BAGGAGE).iter().cloned().collect();
        if !values
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|member| is_ours(&member)))
        {
            return;
        }
        let mut kept = Vec::new();
        for value in values {
            let Ok(list) = value.to_str() else {
                kept.push(value);
                continue;
            };
            for member in list.split(',').filter(is_ours) {
                self.member(member.trim());
            }
            let others: Vec<&str> = list.split(',').filter(|member| !is_ours(member)).collect();
            let others = others.join(",");
            if !others.trim().is_empty()
                && let Ok(value) = HeaderValue::from_str(others.trim_start())
            {
                kept.push(value);
            }
        }
        if kept.is_empty() {
            return crate::hop::retain(headers, |name| name != BAGGAGE);
        }
        let mut first = true;
        for value in kept {
            if std::mem::take(&mut first) {
                headers.insert(BAGGAGE, value);
            } else {
                headers.append(BAGGAGE, value);
            }
        }
    }

    fn member(&mut self, member: &str) {
        let pair = member.split(';').next().unwrap_or_default();
        let Some((key, value)) = pair.split_once('=') else {
            return;
        };
        let slot = match key.trim().strip_prefix(MEMBER) {
            Some("caller") => &mut self.caller,
            Some("session") => &mut self.session,
            Some("user") => &mut self.user,
            Some("request_id") => &mut self.request_id,
            _ => return,
        };
        // A header said it already.
        if slot.is_none() {
            *slot = decoded(value.trim());
        }
    }

    /// Tells a guard; caller and call it was opened with.
    pub(crate) fn tell(&self, guard: &mut CallGuard) {
        if guard.is_off() {
            return;
        }
        macro_rules! tell {
            ($($setter:ident)+) => { $(
                if let Some(text) = &self.$setter {
                    guard.$setter(text);
                }
            )+ };
        }
        tell!(session user request_id project team cost_center environment);
        if let Some((trace_id, span_id)) = &self.trace {
            guard.trace(trace_id, span_id);
        }
        if self.parent.is_some() {
            guard.parent(self.parent);
        }
    }
}

fn text(value: &HeaderValue) -> Option<&str> {
    let bytes = value.as_bytes().get(..MAX_VALUE.min(value.len()))?;
    std::str::from_utf8(bytes)
        .ok()
        .map(str::trim)
        .filter(|text| !text.is_empty())
}

/// `00-TRACE-SPAN-flags`.
fn trace_parent(value: &str) -> Option<(String, String)> {
    let mut parts = value.split('-').skip(1);
    let (trace, span) = (parts.next()?, parts.next()?);
    let is_hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let is_set = |part: &str| part.bytes().any(|byte| byte != b'0');
    (is_hex(trace, 32) && is_hex(span, 16) && is_set(trace) && is_set(span))
        .then(|| (trace.to_ascii_lowercase(), span.to_ascii_lowercase()))
}

fn decoded(value: &str) -> Option<String> {
    let bounded = value.get(..MAX_VALUE).unwrap_or(value);
    crate::routes::percent_decoded(bounded).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn our_headers_are_read_and_taken_off() {
        let mut map = headers(&[
            ("x-callmeter-caller", "sales_copy"),
            ("authorization", "Bearer x"),
            ("x-callmeter-unknown", "y"),
            ("x-callmeter-call", "017f22e2-79b0-7000-98c4-dc0c0c07398f"),
            ("accept", "z"),
        ]);
        let found = Attribution::take(&mut map);
        assert_eq!(found.caller.as_deref(), Some("sales_copy"));
        assert!(found.call.is_some());
        let names: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["authorization", "accept"]);
    }

    #[test]
    fn our_members_of_the_baggage_are_read_and_the_others_pass_on() {
        let mut map = headers(&[
            ("baggage", "a=1;p=q, callmeter.caller=night%20job;x=y,  b=2"),
            ("baggage", "callmeter.user=ada"),
        ]);
        let found = Attribution::take(&mut map);
        assert_eq!(found.caller.as_deref(), Some("night job"));
        assert_eq!(found.user.as_deref(), Some("ada"));
        assert_eq!(
            map.get_all(BAGGAGE).iter().collect::<Vec<_>>(),
            ["a=1;p=q,  b=2"]
        );
        let mut map = headers(&[("baggage", "callmeter.caller=x")]);
        Attribution::take(&mut map);
        assert!(map.is_empty());
        let mut map = headers(&[("baggage", " odd ,,=")]);
        Attribution::take(&mut map);
        assert_eq!(map[BAGGAGE], " odd ,,=");
    }

    #[test]
    fn a_header_wins_over_baggage() {
        let mut map = headers(&[
            ("baggage", "callmeter.caller=b"),
            ("x-callmeter-caller", "h"),
        ]);
        assert_eq!(Attribution::take(&mut map).caller.as_deref(), Some("h"));
    }

    #[test]
    fn a_trace_is_noted_where_it_is_one() {
        let trace = "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01";
        let (id, span) = trace_parent(trace).unwrap();
        assert_eq!(id, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(span, "00f067aa0ba902b7");
        for bad in [
            "",
            "00-0-0-0",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        ] {
            assert_eq!(trace_parent(bad), None);
        }
    }
}
