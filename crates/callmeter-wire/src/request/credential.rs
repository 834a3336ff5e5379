//! What kind of credential a request carries: how it is paid, never the credential.
//!
//! Only prefixes are compared; no byte of a value is kept, logged or returned.

use callmeter_core::Billing;

/// What the name and the beginning of a header's value tell of the bill.
///
/// `sk-ant-oat` begins the OAuth tokens of Claude subscriptions; keys begin otherwise. Source: the
/// tokens' documented prefixes.
pub(crate) fn billing(name: &str, value: &str) -> Option<Billing> {
    let bearer = name.eq_ignore_ascii_case("authorization");
    if bearer {
        let token = strip_scheme(value);
        return Some(if token.starts_with("sk-ant-oat") {
            Billing::Plan
        } else if token.starts_with("sk-") || token.starts_with("AWS4-HMAC") || token.len() > 8 {
            Billing::Metered
        } else {
            return None;
        });
    }
    let key = [
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "ocp-apim-subscription-key",
    ]
    .iter()
    .any(|known| name.eq_ignore_ascii_case(known));
    (key && !value.is_empty()).then_some(Billing::Metered)
}

/// Whether a target's query carries a key, as Google's may: that there is one, never which.
pub(crate) fn is_in_query(target: &str) -> bool {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    query
        .split('&')
        .any(|part| part.strip_prefix("key=").is_some_and(|key| !key.is_empty()))
}

fn strip_scheme(value: &str) -> &str {
    let value = value.trim();
    match value.split_once(' ') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => rest.trim_start(),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_is_told_from_a_key() {
        assert_eq!(
            billing("Authorization", "Bearer sk-ant-oat01-x"),
            Some(Billing::Plan)
        );
        assert_eq!(
            billing("x-api-key", "sk-ant-api03-x"),
            Some(Billing::Metered)
        );
        assert_eq!(
            billing("authorization", "Bearer sk-proj-x"),
            Some(Billing::Metered)
        );
        assert_eq!(billing("authorization", "Bearer "), None);
        assert_eq!(billing("accept", "sk-x"), None);
        assert!(is_in_query(
            "/v1beta/models/g:generateContent?alt=sse&key=AIza"
        ));
        assert!(!is_in_query("/v1beta/models/key=g?keys=AIza&key="));
    }
}
