//! What a proxy is told when it starts: where it listens, whom it may ask, and its limits.
//!
//! Every upstream stands here or among the built-in providers ([`routes`](crate::routes)); a request can
//! only choose among them by name (promise CM-11).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::url::UpstreamUrl;

/// All that a proxy needs to know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProxyConfig {
    /// Where to listen: a loopback address; port 0 takes a free one. Default `127.0.0.1:2255`.
    pub listen: SocketAddr,
    /// Names besides `localhost`, `127.0.0.1` and `[::1]` by which clients may address the proxy, without a
    /// port: a page in a browser must not reach it by a name that leads here (DNS rebinding).
    pub host_names: Vec<String>,
    /// Upstreams by name. A name of a built-in provider (`openai`, `anthropic`, `gemini`, `ollama`, …) replaces
    /// its address; any other is reached under `/u/NAME/`.
    pub routes: BTreeMap<String, Route>,
    /// Who is the caller of a request that does not say: 64 characters. Default `proxy`.
    pub default_caller: String,
    /// Whether to ask for usage where an OpenAI chat stream did not, and to hide the event that answers it.
    /// Default true.
    pub ask_for_usage: bool,
    /// Whether to be a forward proxy as well: requests in absolute form, and CONNECT, which is tunnelled
    /// unread. Default false.
    pub is_forward_proxy: bool,
    /// A file of certificates (PEM) trusted besides those of this machine.
    pub ca_file: Option<PathBuf>,
    /// Whether upstreams are reached through a proxy of their own.
    pub outbound: Outbound,
    /// What a request may cost.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: Timeouts,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 2255)),
            host_names: Vec::new(),
            routes: BTreeMap::new(),
            default_caller: "proxy".to_owned(),
            ask_for_usage: true,
            is_forward_proxy: false,
            ca_file: None,
            outbound: Outbound::FromEnv,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// Whom a name leads to: upstreams in the order in which they are tried.
///
/// The next one is tried after a connection failure, an answer 429 or 5xx, or a connection that dies before its
/// first byte of an answer's body; never once a byte went to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route {
    /// The upstreams, at least one.
    pub upstreams: Vec<Upstream>,
    /// The provider that rows name, in callmeter's word, where neither address nor path tells: `vllm`.
    pub provider: Option<String>,
}

impl Route {
    /// A route with one upstream.
    pub fn to(url: UpstreamUrl) -> Self {
        Self::through([Upstream::at(url)])
    }

    /// A route with several, in order.
    pub fn through(upstreams: impl IntoIterator<Item = Upstream>) -> Self {
        Self {
            upstreams: upstreams.into_iter().collect(),
            provider: None,
        }
    }

    /// The same, its rows naming `provider`.
    #[must_use]
    pub fn of_provider(mut self, provider: impl Into<String>) -> Self {
        self.provider = Some(provider.into());
        self
    }
}

/// One upstream of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upstream {
    /// Its address.
    pub url: UpstreamUrl,
    /// The model to ask it for, instead of the one that the client named.
    pub model: Option<String>,
}

impl Upstream {
    /// An upstream that is asked for the client's own model.
    pub const fn at(url: UpstreamUrl) -> Self {
        Self { url, model: None }
    }

    /// The same, asked for another model.
    #[must_use]
    pub fn with_model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }
}

/// Whether upstreams are reached through a proxy of their own. Loopback is always reached directly.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Outbound {
    /// As `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say, in either case.
    #[default]
    FromEnv,
    /// Directly.
    Direct,
    /// Through the proxy at this URL, `http://[USER:PASSWORD@]HOST:PORT`.
    Through(String),
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may carry a password.
        f.write_str(match self {
            Self::FromEnv => "FromEnv",
            Self::Direct => "Direct",
            Self::Through(_) => "Through(…)",
        })
    }
}

/// What requests may cost. Sizes are in bytes.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Connections of clients at a time; further ones wait to be accepted. Default 4,096.
    pub connections: usize,
    /// A request's or an answer's head. Default 64 KiB for requests; answers get four times as much.
    pub head_bytes: usize,
    /// Headers of a request; answers may have twice as many. Default 256.
    pub headers: usize,
    /// A request's body; a longer one is refused with 413. Default 1 GiB.
    pub body_bytes: u64,
    /// How much of a request is held so that it can be changed, or sent again to the next upstream. A longer
    /// one passes unchanged and is tried once. Default 16 MiB.
    pub replay_bytes: usize,
    /// How much of all requests together is held so. Default 256 MiB.
    pub all_replay_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            head_bytes: 64 * 1024,
            headers: 256,
            body_bytes: 1 << 30,
            replay_bytes: 16 << 20,
            all_replay_bytes: 256 << 20,
        }
    }
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Timeouts {
    /// From the first byte of a request's head to its last. Default 15 s.
    pub request_head: Duration,
    /// Between two pieces of a request's body. Default 60 s.
    pub request_body: Duration,
    /// A client's connection without a request. Default 15 min.
    pub idle_client: Duration,
    /// Until an upstream's connection stands, TLS included. Default 15 s.
    pub connect: Duration,
    /// An upstream's connection without a request. Default 60 s.
    pub idle_upstream: Duration,
    /// How long requests in flight may take to end when the proxy is told to stop. Default 25 s.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            request_head: Duration::from_secs(15),
            request_body: Duration::from_secs(60),
            idle_client: Duration::from_secs(15 * 60),
            connect: Duration::from_secs(15),
            idle_upstream: Duration::from_secs(60),
            drain: Duration::from_secs(25),
        }
    }
}
