//! The settings of the capture proxy: where it listens, and which upstreams its routes lead to.
//!
//! A route is named in the settings and nowhere else; no request can name an address (promise CM-11), and no file that
//! was merely found ([`found`](super::found)). Recording never looks at these settings, so a host application is not troubled by them.
//!
//! ```toml
//! [proxy]
//! listen = "127.0.0.1:2255"
//! [proxy.routes.ollama]
//! upstreams = [{ url = "http://gcp-a:11434" }, { url = "http://small:11434", model = "llama3.2:latest" }]
//! ```

mod keys;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub(super) use self::keys::KEYS;
use super::value::{self, Expected, Raw};

/// The port that is callmeter's unless told otherwise.
const PORT: u16 = 2255;

/// How `callmeter serve` and `callmeter run` pass calls on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxySettings {
    /// Where `callmeter serve` listens.
    pub listen: SocketAddr,
    /// Routes by their names; each with at least one upstream.
    pub routes: BTreeMap<String, Vec<UpstreamSetting>>,
    /// Whether usage is asked for, and hidden from the client, where a client streams without asking.
    pub ask_usage: bool,
    /// Whether `callmeter run` is a plain forward proxy as well, for hosts that stand in the code.
    pub http_proxy: bool,
    /// A file of certificates that upstreams are trusted by, besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The longest head of a request or response, in bytes.
    pub max_head_bytes: u64,
    /// The longest body of a request, in bytes.
    pub max_body_bytes: u64,
    /// The most connections of clients at once.
    pub max_connections: u64,
    /// Names besides those of loopback by which clients may address the proxy, without a port.
    pub host_names: Vec<String>,
    /// Who is the caller of a request that does not say: under `callmeter serve`.
    pub default_caller: String,
    /// How long things may take.
    pub timeouts: ProxyTimeouts,
}

/// How long things may take on their way through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyTimeouts {
    /// Until an upstream's connection stands, TLS included.
    pub connect: Duration,
    /// From the first byte of a request's head to its last.
    pub request_head: Duration,
    /// Between two pieces of a request's body.
    pub request_body: Duration,
    /// A client's connection without a request.
    pub idle_client: Duration,
    /// An upstream's connection without a request.
    pub idle_upstream: Duration,
    /// Until requests in flight have ended once the proxy is told to stop.
    pub drain: Duration,
}

impl Default for ProxyTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            request_head: Duration::from_secs(15),
            request_body: Duration::from_secs(60),
            idle_client: Duration::from_secs(15 * 60),
            idle_upstream: Duration::from_secs(60),
            drain: Duration::from_secs(25),
        }
    }
}

/// One of the upstreams of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpstreamSetting {
    /// Where it is: `http` or `https`, without a user, a query or a fragment.
    pub url: String,
    /// The model that is asked for there, instead of the client's.
    pub model: Option<String>,
}

impl Default for ProxySettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
            routes: BTreeMap::new(),
            ask_usage: true,
            http_proxy: false,
            ca_file: None,
            max_head_bytes: 64 << 10,
            max_body_bytes: 1 << 30,
            max_connections: 4_096,
            host_names: Vec::new(),
            default_caller: "proxy".to_owned(),
            timeouts: ProxyTimeouts::default(),
        }
    }
}

/// The prefix of every key of the proxy.
pub(super) const PROXY: &str = "proxy.";
/// The prefix of the keys of routes: `proxy.routes.NAME.upstreams`.
pub(super) const ROUTES: &str = "proxy.routes.";
/// What such a key ends in.
pub(super) const UPSTREAMS: &str = ".upstreams";
/// What such a key takes.
pub(super) const TAKES: &str =
    "a list of upstreams, the first to be tried first, such as [{ url = \"http://gcp-a:11434\" }]";
const LONGEST_NAME: usize = 32;
const LONGEST_URL: usize = 1_024;
/// The longest name that DNS has.
const LONGEST_HOST: usize = 253;

/// Whether a name is that of a route's upstreams; gives the route.
pub(super) fn route_of(name: &str) -> Option<&str> {
    let route = name.strip_prefix(ROUTES)?.strip_suffix(UPSTREAMS)?;
    is_route_name(route).then_some(route)
}

/// A route's name is a part of a path and a provider's name on rows.
fn is_route_name(name: &str) -> bool {
    let is_fine = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-'
    };
    !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(is_fine)
}

/// The upstreams of a route.
pub(super) fn upstreams(raw: &Raw) -> Result<Vec<UpstreamSetting>, Expected> {
    let upstreams = match raw {
        Raw::Tables(tables) => tables.iter().map(upstream_of).collect(),
        _ => value::list(raw)
            .map_err(|_| Expected(TAKES.to_owned()))?
            .iter()
            .map(|url| url_of(url).map(|url| UpstreamSetting { url, model: None }))
            .collect::<Result<Vec<_>, _>>(),
    }?;
    if upstreams.is_empty() {
        return Err(Expected(TAKES.to_owned()));
    }
    Ok(upstreams)
}

fn upstream_of(table: &BTreeMap<String, String>) -> Result<UpstreamSetting, Expected> {
    if let Some(unknown) = table
        .keys()
        .find(|key| !matches!(key.as_str(), "url" | "model"))
    {
        let (shown, _) = callmeter_core::clean_text(unknown, 40);
        return Err(Expected(format!(
            "upstreams of url and model; there is no '{shown}'"
        )));
    }
    let url = table
        .get("url")
        .ok_or_else(|| Expected("a url for every upstream".to_owned()))?;
    let model = table.get("model").map(|model| {
        let limit = callmeter_core::Field::Model.limit();
        let (clean, is_cut) = callmeter_core::clean_text(model.trim(), limit);
        if is_cut || clean.is_empty() {
            return Err(Expected(format!(
                "a model's name of 1 to {limit} characters"
            )));
        }
        Ok(clean.into_owned())
    });
    Ok(UpstreamSetting {
        url: url_of(url)?,
        model: model.transpose()?,
    })
}

/// An upstream's address. What is wrong with it is told without it: it may hold a password.
fn url_of(text: &str) -> Result<String, Expected> {
    let text = text.trim();
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let (start, rest) = text.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let rest =
        rest.ok_or_else(|| Expected("addresses that begin with http:// or https://".to_owned()))?;
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err(Expected(
            "addresses without user and password; keys come with the client's requests".to_owned(),
        ));
    }
    let is_plain =
        |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '\\' | '"' | '<' | '>');
    if authority.is_empty()
        || authority.starts_with(':')
        || !rest.chars().all(is_plain)
        || text.len() > LONGEST_URL
    {
        return Err(Expected(
            "addresses of a host, a port and a path, such as http://gcp-a:11434".to_owned(),
        ));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// A name by which clients may address the proxy: as it stands in `Host`, without its port.
fn host_name(text: &str) -> Result<String, Expected> {
    let name = text.trim();
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    if name.is_empty() || name.len() > LONGEST_HOST || !(is_address || name.bytes().all(is_fine)) {
        return Err(Expected(
            "names of hosts without scheme and port, such as callmeter.internal; `*` is none"
                .to_owned(),
        ));
    }
    Ok(name.to_ascii_lowercase())
}

/// How upstreams are shown.
pub(super) fn shown(upstreams: &[UpstreamSetting]) -> String {
    let each = upstreams.iter().map(|upstream| match &upstream.model {
        Some(model) => format!("{} as {model}", upstream.url),
        None => upstream.url.clone(),
    });
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(urls: &[&str]) -> Result<Vec<UpstreamSetting>, Expected> {
        upstreams(&Raw::List(
            urls.iter().map(|url| (*url).to_owned()).collect(),
        ))
    }

    #[test]
    fn an_upstream_is_a_scheme_a_host_and_a_path() {
        let found = list(&[
            "http://gcp-a:11434/",
            "HTTPS://api.openai.com/v1",
            "http://[::1]:8080",
        ]);
        let urls: Vec<_> = found
            .unwrap()
            .into_iter()
            .map(|upstream| upstream.url)
            .collect();
        assert_eq!(
            urls,
            [
                "http://gcp-a:11434",
                "HTTPS://api.openai.com/v1",
                "http://[::1]:8080"
            ]
        );
        for bad in [
            "gcp-a:11434",
            "ftp://a",
            "http://",
            "http://:80",
            "http:///path",
            "http://a b",
            "http://a?key=x",
            "http://a#b",
            "http://a\nb",
            "file:///etc/passwd",
            "http://a\\b",
        ] {
            assert!(list(&[bad]).is_err(), "{bad}");
        }
        assert!(list(&[]).is_err());
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_shown() {
        let told = list(&["https://me:SECRET@gateway/v1"]).unwrap_err();
        assert!(told.0.contains("without user and password") && !told.0.contains("SECRET"));
    }

    #[test]
    fn a_host_s_name_has_no_scheme_no_port_and_no_wildcard() {
        for (text, name) in [
            ("Callmeter.Internal", "callmeter.internal"),
            (" host_1-a ", "host_1-a"),
            ("172.17.0.1", "172.17.0.1"),
        ] {
            assert_eq!(host_name(text).as_deref(), Ok(name));
        }
        for bad in [
            "",
            "*",
            "*.internal",
            "a:80",
            "http://a",
            "a/b",
            "a b",
            "\u{e9}",
            "[::2]",
        ] {
            assert!(host_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_route_s_name_is_a_part_of_a_path() {
        assert_eq!(
            route_of("proxy.routes.gcp_ollama-2.upstreams"),
            Some("gcp_ollama-2")
        );
        for bad in [
            "",
            "a.b",
            "A",
            "a/b",
            "..",
            "a b",
            "a23456789012345678901234567890123",
        ] {
            assert_eq!(
                route_of(&format!("proxy.routes.{bad}.upstreams")),
                None,
                "{bad}"
            );
        }
    }
}
