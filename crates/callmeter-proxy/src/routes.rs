//! Which upstream a path leads to: the built-in providers, the configured names, and the providers' native
//! paths on one port.
//!
//! ```text
//! /as/CALLER/…             who calls; what follows is any of the below
//! /PROVIDER/…              a built-in provider by its name: /openai/…, /anthropic/…, /ollama/…
//! /u/NAME/…                a configured route
//! /v1/chat/completions …   a provider's native path, with and without /v1
//! ```
//! What follows the name goes to the upstream byte for byte; only a version that the client left out
//! (`/chat/completions`) is put in, and one that both the base URL and the client give stands once.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::http::uri::{Authority, Scheme};

use crate::config::{ProxyConfig, Route, Upstream};
use crate::error::ProxyError;

/// A provider that is known without configuration.
struct Builtin {
    name: &'static str,
    url: &'static str,
    /// What its paths begin with.
    prefix: &'static str,
    /// Its name in rows.
    provider: &'static str,
}

const fn builtin(
    name: &'static str,
    url: &'static str,
    prefix: &'static str,
    provider: &'static str,
) -> Builtin {
    Builtin {
        name,
        url,
        prefix,
        provider,
    }
}

/// Base URLs of the providers' API references, November 2026.
const BUILTINS: &[Builtin] = &[
    builtin("openai", "https://api.openai.com", "/v1", "openai"),
    builtin("anthropic", "https://api.anthropic.com", "/v1", "anthropic"),
    builtin(
        "gemini",
        "https://generativelanguage.googleapis.com",
        "/v1beta",
        "gemini",
    ),
    builtin("ollama", "http://127.0.0.1:11434", "", "ollama"),
    builtin(
        "nim",
        "https://integrate.api.nvidia.com",
        "/v1",
        "nvidia_nim",
    ),
    builtin("groq", "https://api.groq.com", "/openai/v1", "groq"),
    builtin("mistral", "https://api.mistral.ai", "/v1", "mistral"),
    builtin("cohere", "https://api.cohere.com", "", "cohere"),
    builtin("deepseek", "https://api.deepseek.com", "", "deepseek"),
    builtin("xai", "https://api.x.ai", "/v1", "xai"),
    builtin(
        "openrouter",
        "https://openrouter.ai",
        "/api/v1",
        "openrouter",
    ),
    builtin("together", "https://api.together.xyz", "/v1", "together"),
    builtin(
        "fireworks",
        "https://api.fireworks.ai",
        "/inference/v1",
        "fireworks",
    ),
    builtin("perplexity", "https://api.perplexity.ai", "", "perplexity"),
    builtin("cerebras", "https://api.cerebras.ai", "/v1", "cerebras"),
];

/// First segments of paths that stand behind a version.
const VERSIONED: &[&str] = &[
    "assistants",
    "audio",
    "batches",
    "chat",
    "complete",
    "completions",
    "conversations",
    "embeddings",
    "files",
    "fine_tuning",
    "images",
    "messages",
    "models",
    "moderations",
    "realtime",
    "rerank",
    "responses",
    "threads",
    "uploads",
    "vector_stores",
];

/// All routes of a proxy.
#[derive(Debug)]
pub(crate) struct Routes {
    by_name: BTreeMap<String, Arc<Entry>>,
}

/// A route, ready for use.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) upstreams: Vec<Upstream>,
    /// The provider that was configured for it.
    pub(crate) stated: Option<String>,
    /// The provider that its built-in name means, unless the address says otherwise.
    pub(crate) usual: Option<&'static str>,
    prefix: &'static str,
}

/// Where a request goes.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) route: Arc<Entry>,
    /// Path and query behind the route's name.
    pub(crate) rest: String,
    pub(crate) caller: Option<String>,
}

impl Routes {
    /// The built-in providers and what was configured.
    pub(crate) fn new(config: &ProxyConfig) -> Result<Self, ProxyError> {
        let mut by_name = BTreeMap::new();
        for builtin in BUILTINS {
            let route = match config.routes.get(builtin.name) {
                Some(route) => route.clone(),
                None => match builtin.url.parse() {
                    Ok(url) => Route::to(url),
                    Err(_) => continue,
                },
            };
            let mut entry = Entry::new(builtin.name, route)?;
            entry.usual = Some(builtin.provider);
            entry.prefix = builtin.prefix;
            by_name.insert(entry.name.clone(), Arc::new(entry));
        }
        for (name, route) in &config.routes {
            if !by_name.contains_key(name) {
                by_name.insert(name.clone(), Arc::new(Entry::new(name, route.clone())?));
            }
        }
        Ok(Self { by_name })
    }

    /// Where a path leads; `None` when nowhere. `has_header` tells of the request's headers.
    pub(crate) fn find(
        &self,
        method: &str,
        path_and_query: &str,
        has_header: impl Fn(&str) -> bool,
    ) -> Option<Target> {
        let (caller, rest) = match path_and_query.strip_prefix("/as/") {
            Some(named) => {
                let (name, rest) = split_segment(named);
                let name = percent_decoded(name).filter(|name| !name.is_empty())?;
                (Some(name), rest)
            }
            None => (None, path_and_query),
        };
        let (first, behind) = split_segment(rest.strip_prefix('/')?);
        let (route, rest) = if first == "u" {
            let (name, behind) = split_segment(behind.strip_prefix('/')?);
            (self.by_name.get(name)?, behind)
        } else if let Some(route) = self
            .by_name
            .get(first)
            .filter(|route| route.usual.is_some())
        {
            (route, behind)
        } else {
            (self.by_name.get(native(method, rest, has_header)?)?, rest)
        };
        Some(Target {
            route: Arc::clone(route),
            rest: if rest.starts_with('/') {
                rest.to_owned()
            } else {
                format!("/{rest}")
            },
            caller,
        })
    }
}

impl Entry {
    fn new(name: &str, route: Route) -> Result<Self, ProxyError> {
        let is_of_a_name =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(is_of_a_name) {
            return Err(ProxyError::RouteName(name.to_owned()));
        }
        if route.upstreams.is_empty() {
            return Err(ProxyError::EmptyRoute(name.to_owned()));
        }
        Ok(Self {
            name: name.to_owned(),
            upstreams: route.upstreams,
            stated: route.provider,
            usual: None,
            prefix: "",
        })
    }

    /// The route of a forward proxy's request: its address came with the request, and is guarded.
    pub(crate) fn forward(scheme: Scheme, authority: Authority) -> Self {
        Self {
            name: "forward".to_owned(),
            upstreams: vec![Upstream::at(crate::url::UpstreamUrl {
                scheme,
                authority,
                path: String::new(),
            })],
            stated: None,
            usual: None,
            prefix: "",
        }
    }

    /// The path that an upstream is asked for.
    pub(crate) fn path_at(&self, upstream: &Upstream, rest: &str) -> String {
        let base = upstream.url.base_path();
        if base.is_empty() {
            return completed(self.prefix, rest);
        }
        join(base, rest)
    }
}

/// A path with the version that its client left out.
fn completed(prefix: &str, rest: &str) -> String {
    let (first, _) = split_segment(rest.trim_start_matches('/'));
    let is_bare = VERSIONED.contains(&first);
    // A part of the prefix: `/v1/chat/completions` for Groq's `/openai/v1`.
    let is_part = !first.is_empty()
        && !rest.starts_with(prefix)
        && prefix.split('/').skip(2).any(|part| part == first);
    if prefix.is_empty() || !(is_bare || is_part) {
        return rest.to_owned();
    }
    join(prefix, rest)
}

/// A base path and a path, a version that both give standing once.
fn join(base: &str, rest: &str) -> String {
    let starts = base.match_indices('/').map(|(at, _)| at);
    for at in starts {
        let end = base.get(at..).unwrap_or_default();
        let tail = rest.strip_prefix(end);
        let is_whole = tail.is_some_and(|tail| tail.is_empty() || tail.starts_with(['/', '?']));
        if is_whole && end.split('/').any(is_version) {
            return format!("{}{rest}", base.get(..at).unwrap_or_default());
        }
    }
    format!("{base}{rest}")
}

fn is_version(segment: &str) -> bool {
    let mut letters = segment.bytes();
    letters.next() == Some(b'v') && letters.next().is_some_and(|byte| byte.is_ascii_digit())
}

/// A segment and what follows it, the slash or question mark included.
fn split_segment(text: &str) -> (&str, &str) {
    let at = text.find(['/', '?']).unwrap_or(text.len());
    text.split_at_checked(at).unwrap_or((text, ""))
}

/// Whose native path it is. Headers decide only where two providers have the same path, and never a header
/// that carries a key: clients of one provider send those of another.
fn native(
    method: &str,
    path_and_query: &str,
    has_header: impl Fn(&str) -> bool,
) -> Option<&'static str> {
    let path = path_and_query.split('?').next().unwrap_or_default();
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let Some(first) = segments.next() else {
        // How Ollama's command asks whether there is a server.
        return (method == "HEAD").then_some("ollama");
    };
    let (version, first) = if is_version(first) {
        (Some(first), segments.next()?)
    } else {
        (None, first)
    };
    let second = segments.next();
    let asks_gemini =
        (path.contains("/models/") && path.contains(':')) || has_header("x-goog-api-key");
    match (version, first) {
        (Some("v1beta" | "v1alpha"), _) => Some("gemini"),
        (Some("v1") | None, "models") if asks_gemini => Some("gemini"),
        (None, "upload" | "download") => Some("gemini"),
        (Some("v1") | None, "messages" | "complete") => Some("anthropic"),
        (Some("v1"), _) if has_header("anthropic-version") => Some("anthropic"),
        (Some("v2"), "chat" | "embed" | "rerank") => Some("cohere"),
        (Some("v1"), "chat") if second.is_none() => Some("cohere"),
        (Some("v1"), "embed" | "generate" | "rerank") => Some("cohere"),
        (Some("v1") | None, known) if VERSIONED.contains(&known) => Some("openai"),
        (Some("v1"), _) => Some("openai"),
        (None, "api") if second.is_some_and(|second| !is_version(second)) => Some("ollama"),
        _ => None,
    }
}

pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high << 4 | low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes {
        let mut config = ProxyConfig::default();
        let to = |url: &str| Route::to(url.parse().unwrap());
        config
            .routes
            .insert("gpu".into(), to("http://gpu-1:8000/v1"));
        config
            .routes
            .insert("anthropic".into(), to("https://gateway.example/claude"));
        Routes::new(&config).unwrap()
    }

    /// The URL that a path leads to.
    fn leads_to(path: &str) -> Option<String> {
        let target = routes().find("POST", path, |_| false)?;
        let upstream = &target.route.upstreams[0];
        let path = target.route.path_at(upstream, &target.rest);
        Some(format!(
            "{}://{}{path}",
            upstream.url.scheme, upstream.url.authority
        ))
    }

    #[test]
    fn paths_lead_to_their_upstreams() {
        for (path, url) in [
            (
                "/openai/v1/chat/completions?a=b",
                "https://api.openai.com/v1/chat/completions?a=b",
            ),
            (
                "/openai/chat/completions",
                "https://api.openai.com/v1/chat/completions",
            ),
            (
                "/v1/chat/completions",
                "https://api.openai.com/v1/chat/completions",
            ),
            (
                "/chat/completions",
                "https://api.openai.com/v1/chat/completions",
            ),
            ("/responses", "https://api.openai.com/v1/responses"),
            (
                "/v1/realtime?model=x",
                "https://api.openai.com/v1/realtime?model=x",
            ),
            ("/messages", "https://gateway.example/claude/messages"),
            (
                "/v1/messages?beta=true",
                "https://gateway.example/claude/v1/messages?beta=true",
            ),
            (
                "/v1beta/models/g:generateContent",
                "https://generativelanguage.googleapis.com/v1beta/models/g:generateContent",
            ),
            (
                "/models/g:streamGenerateContent?alt=sse",
                "https://generativelanguage.googleapis.com/v1beta/models/g:streamGenerateContent?alt=sse",
            ),
            ("/api/chat", "http://127.0.0.1:11434/api/chat"),
            (
                "/ollama/v1/chat/completions",
                "http://127.0.0.1:11434/v1/chat/completions",
            ),
            (
                "/groq/openai/v1/chat/completions",
                "https://api.groq.com/openai/v1/chat/completions",
            ),
            (
                "/groq/v1/chat/completions",
                "https://api.groq.com/openai/v1/chat/completions",
            ),
            (
                "/groq/chat/completions",
                "https://api.groq.com/openai/v1/chat/completions",
            ),
            (
                "/nim/v1/embeddings",
                "https://integrate.api.nvidia.com/v1/embeddings",
            ),
            ("/v2/chat", "https://api.cohere.com/v2/chat"),
            (
                "/u/gpu/v1/chat/completions",
                "http://gpu-1:8000/v1/chat/completions",
            ),
            (
                "/u/gpu/chat/completions",
                "http://gpu-1:8000/v1/chat/completions",
            ),
            ("/u/gpu/v10/x", "http://gpu-1:8000/v1/v10/x"),
            ("/u/gpu", "http://gpu-1:8000/v1/"),
            ("/u/gpu?x", "http://gpu-1:8000/v1/?x"),
            (
                "/as/night%20job/openai//odd/%2e",
                "https://api.openai.com//odd/%2e",
            ),
        ] {
            assert_eq!(leads_to(path).as_deref(), Some(url), "{path}");
        }
    }

    #[test]
    fn what_is_no_configured_name_leads_nowhere() {
        for path in [
            "/",
            "/u/",
            "/u/http://169.254.169.254/latest",
            "/u/169.254.169.254/latest",
            "/u/nobody/v1/chat/completions",
            "/u/%67pu/v1",
            "/gpu/v1/chat/completions",
            "/as//openai/v1",
            "/as/%zz/openai/v1",
            "/latest/meta-data",
            "*",
            "http://169.254.169.254/",
        ] {
            assert_eq!(leads_to(path), None, "{path}");
        }
    }

    #[test]
    fn the_root_is_ollama_s_for_the_look_that_its_command_takes() {
        let name = |method: &str| {
            let target = routes().find(method, "/", |_| false);
            target.map(|target| target.route.name.clone())
        };
        assert_eq!(name("HEAD").as_deref(), Some("ollama"));
        assert_eq!(name("GET"), None);
    }

    #[test]
    fn a_caller_in_the_path_is_decoded() {
        let target = routes()
            .find("GET", "/as/night%20job/v1/models", |_| false)
            .unwrap();
        assert_eq!(target.caller.as_deref(), Some("night job"));
        assert_eq!(target.rest, "/v1/models");
    }

    #[test]
    fn a_list_of_models_goes_to_whom_its_headers_name() {
        let name = |header: &'static str| {
            let target = routes()
                .find("GET", "/v1/models", |name| name == header)
                .unwrap();
            target.route.name.clone()
        };
        assert_eq!(name("anthropic-version"), "anthropic");
        assert_eq!(name("x-goog-api-key"), "gemini");
        assert_eq!(name("authorization"), "openai");
    }
}
