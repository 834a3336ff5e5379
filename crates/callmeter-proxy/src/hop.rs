//! Headers that belong to one connection and not to the message: taken off in both directions.
//!
//! RFC 9110, 7.6.1. Order and letter case of the others stay as they were.

use hyper::HeaderMap;
use hyper::header::{
    CONNECTION, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// What a request or an answer keeps of its connection's headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Nothing.
    Nothing,
    /// What asks for another protocol, or grants it.
    Upgrade,
}

/// The protocol that a message asks for or grants.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let is_named = tokens(headers).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let protocol = headers.get(UPGRADE).filter(|_| is_named)?;
    // HTTP/2 is spoken by prior knowledge or not at all.
    (!protocol.as_bytes().eq_ignore_ascii_case(b"h2c")).then(|| protocol.clone())
}

/// Takes the connection's headers off.
pub(crate) fn strip(headers: &mut HeaderMap, keep: Keep) {
    if !headers.keys().any(is_of_a_connection) {
        return;
    }
    let named: Vec<HeaderName> = tokens(headers)
        .filter_map(|token| token.parse().ok())
        .collect();
    let protocol = match keep {
        Keep::Upgrade => upgrade(headers),
        Keep::Nothing => None,
    };
    let wants_trailers = headers
        .get_all(TE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"));
    let is_hop = |name: &HeaderName| is_of_a_connection(name) || named.contains(name);
    retain(headers, |name| !is_hop(name));
    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = protocol {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

/// Whether it is a connection's by its name; a connection may name others.
fn is_of_a_connection(name: &HeaderName) -> bool {
    *name == CONNECTION
        || *name == TRANSFER_ENCODING
        || *name == UPGRADE
        || *name == TE
        || *name == KEEP_ALIVE
        || *name == PROXY_CONNECTION
        || *name == PROXY_AUTHENTICATE
        || *name == PROXY_AUTHORIZATION
        || *name == HTTP2_SETTINGS
}

/// Keeps the headers that `is_kept` names, in their order, which a removal from the map would not.
pub(crate) fn retain(headers: &mut HeaderMap, is_kept: impl Fn(&HeaderName) -> bool) {
    if headers.keys().all(&is_kept) {
        return;
    }
    let mut kept = HeaderMap::with_capacity(headers.len());
    let mut is_wanted = false;
    let mut current = None;
    for (name, value) in headers.drain() {
        if let Some(name) = name {
            is_wanted = is_kept(&name);
            current = Some(name);
        }
        if let Some(name) = current.as_ref().filter(|_| is_wanted) {
            kept.append(name.clone(), value);
        }
    }
    *headers = kept;
}

fn tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
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

    fn names(map: &HeaderMap) -> Vec<&str> {
        map.keys().map(HeaderName::as_str).collect()
    }

    #[test]
    fn the_connection_s_own_headers_go_and_the_others_keep_their_order() {
        let mut map = headers(&[
            ("a", "1"),
            ("connection", "keep-alive, X-Hop"),
            ("b", "2"),
            ("transfer-encoding", "chunked"),
            ("x-hop", "3"),
            ("te", "gzip, trailers"),
            ("b", "4"),
            ("trailer", "x-sum"),
            ("proxy-authorization", "secret"),
            ("c", "5"),
        ]);
        strip(&mut map, Keep::Nothing);
        assert_eq!(names(&map), ["a", "b", "trailer", "c", "te"]);
        assert_eq!(map.get_all("b").iter().count(), 2);
        assert_eq!(map["te"], "trailers");
    }

    #[test]
    fn an_upgrade_is_kept_where_it_is_wanted_and_http_2_never() {
        let lines = [("connection", "Upgrade"), ("upgrade", "websocket")];
        let mut map = headers(&lines);
        strip(&mut map, Keep::Upgrade);
        assert_eq!(
            (&map["connection"], &map["upgrade"]),
            (&"Upgrade".parse().unwrap(), &"websocket".parse().unwrap())
        );
        let mut map = headers(&lines);
        strip(&mut map, Keep::Nothing);
        assert!(map.is_empty());
        assert_eq!(
            upgrade(&headers(&[("connection", "upgrade"), ("upgrade", "h2c")])),
            None
        );
        assert_eq!(upgrade(&headers(&[("upgrade", "websocket")])), None);
    }
}
