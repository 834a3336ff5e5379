//! One request: admitted, led to its route, answered. What every connection of a proxy shares.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use hyper::http::uri::Scheme;
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio::sync::watch;

use crate::admin::{Admin, AdminAnswer};
use crate::admission::{is_foreign_page, is_own_name, without_port};
use crate::answer::{Answer, Live, Refusal};
use crate::body::Budget;
use crate::client_io::ClientState;
use crate::config::ProxyConfig;
use crate::dial::Dialer;
use crate::exchange::{self, Incomer};
use crate::pool::{Pool, Pools};
use crate::record::Recording;
use crate::routes::{Entry, Routes, Target};

/// What the connections of one thread share; all but the pools are shared by all threads.
pub(crate) struct Engine {
    pub(crate) config: Arc<ProxyConfig>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) pools: Pools,
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) recording: Arc<Recording>,
    pub(crate) admin: Option<Arc<dyn Admin>>,
    pub(crate) budget: Budget,
    /// The port that it listens on.
    pub(crate) port: u16,
    pub(crate) stage: watch::Receiver<Stage>,
}

/// How far a proxy's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Serving,
    /// Requests in flight end; no other begins.
    Draining,
    /// Everything ends.
    Stopped,
}

impl Engine {
    /// The same for another thread, with connections to upstreams of its own.
    pub(crate) fn beside(&self) -> Self {
        Self {
            config: Arc::clone(&self.config),
            routes: Arc::clone(&self.routes),
            pools: Pools::new(&self.config, &self.dialer),
            dialer: Arc::clone(&self.dialer),
            recording: Arc::clone(&self.recording),
            admin: self.admin.clone(),
            budget: self.budget.clone(),
            port: self.port,
            stage: self.stage.clone(),
        }
    }

    /// Answers a request. There always is an answer.
    pub(crate) async fn handle(
        self: Arc<Self>,
        client: Arc<ClientState>,
        request: Request<Incoming>,
    ) -> Response<Answer> {
        let started = Instant::now();
        client.begin(request.version() == Version::HTTP_2);
        let live = Live::new(Arc::clone(&client), self.recording.tally.clone());
        let mut response = match self.answer(&client, request, started).await {
            Ok(response) => response,
            Err(refusal) => {
                if refusal.status.is_server_error() {
                    self.recording.tally.failed();
                } else {
                    self.recording.tally.refused();
                }
                refusal.response()
            }
        };
        response.body_mut().keep(live);
        response
    }

    async fn answer(
        self: &Arc<Self>,
        client: &Arc<ClientState>,
        request: Request<Incoming>,
        started: Instant,
    ) -> Result<Response<Answer>, Refusal> {
        if request.method() == Method::CONNECT {
            return Box::pin(crate::tunnel::connect(self, client, request)).await;
        }
        let host = stated_host(&request)?;
        if self.is_for_another(&request) {
            let target = forward_target(&request)?;
            let incomer = Incomer::new(client, request, started);
            return self.exchange(incomer, target, Pool::Guarded).await;
        }
        if let Some(host) = host
            && !is_own_name(host, &self.config.host_names)
        {
            return Err(Refusal::new(
                StatusCode::MISDIRECTED_REQUEST,
                "host_not_allowed",
                "this Host is not a name of the proxy; address it as 127.0.0.1 or localhost",
            ));
        }
        if request
            .headers()
            .get(ORIGIN)
            .is_some_and(|origin| is_foreign_page(origin.as_bytes(), &self.config.host_names))
        {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "origin_not_allowed",
                "a page of another host may not ask by way of this proxy; serve the page from localhost",
            ));
        }
        let path = request.uri().path();
        if let Some(admin) = &self.admin
            && let Some(answer) = admin.answer(request.method().as_str(), path)
        {
            return own_answer(answer);
        }
        let path_and_query = request
            .uri()
            .path_and_query()
            .map_or("/", |whole| whole.as_str());
        let has_header = |name: &str| request.headers().contains_key(name);
        let Some(target) = self
            .routes
            .find(request.method().as_str(), path_and_query, has_header)
        else {
            return Err(Refusal::new(
                StatusCode::NOT_FOUND,
                "no_route",
                "no route leads from this path; begin it with /openai, /anthropic, /gemini, /ollama or another \
                 provider's name, or with /u/NAME for a configured route",
            ));
        };
        let pool = if request.version() == Version::HTTP_2 {
            Pool::Framed
        } else {
            Pool::Exact
        };
        let incomer = Incomer::new(client, request, started);
        self.exchange(incomer, target, pool).await
    }

    /// Boxed: what it needs while the upstream is asked is not every connection's for as long as it stands.
    fn exchange<'a>(
        self: &'a Arc<Self>,
        incomer: Incomer,
        target: Target,
        pool: Pool,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Answer>, Refusal>> + Send + 'a>> {
        Box::pin(exchange::run(self, incomer, target, pool))
    }

    /// Whether a request in absolute form asks for another host by way of this one.
    fn is_for_another(&self, request: &Request<Incoming>) -> bool {
        let uri = request.uri();
        let is_absolute = uri.scheme().is_some() && request.version() != Version::HTTP_2;
        let is_ours = || {
            let port = uri.port_u16().unwrap_or(80);
            let host = uri.host().unwrap_or_default();
            port == self.port && is_own_name(host, &self.config.host_names)
        };
        self.config.is_forward_proxy && is_absolute && !is_ours()
    }
}

/// The host that a request names; at most one may be.
fn stated_host(request: &Request<Incoming>) -> Result<Option<&str>, Refusal> {
    let bad = || {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "bad_host",
            "the request must name one host",
        )
    };
    let mut named = request.headers().get_all(HOST).iter();
    let header = named.next();
    if named.next().is_some() {
        return Err(bad());
    }
    let header = header.map(HeaderValue::to_str).transpose();
    let header = header.map_err(|_| bad())?;
    let authority = request
        .uri()
        .authority()
        .map(|authority| authority.as_str());
    match authority.or(header) {
        Some(host) => Ok(Some(host)),
        None if request.version() == Version::HTTP_10 => Ok(None),
        None => Err(bad()),
    }
}

fn forward_target(request: &Request<Incoming>) -> Result<Target, Refusal> {
    let uri = request.uri();
    let authority = uri.authority().filter(|authority| {
        !authority.as_str().contains('@') && !without_port(authority.as_str()).is_empty()
    });
    let (Some(scheme), Some(authority)) = (uri.scheme(), authority) else {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "bad_target",
            "the request names no host to forward to",
        ));
    };
    if *scheme != Scheme::HTTP {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "bad_target",
            "only http:// is forwarded; for https use CONNECT",
        ));
    }
    let path = uri.path_and_query().map_or("/", |whole| whole.as_str());
    Ok(Target {
        route: Arc::new(Entry::forward(scheme.clone(), authority.clone())),
        rest: path.to_owned(),
        caller: None,
    })
}

fn own_answer(answer: AdminAnswer) -> Result<Response<Answer>, Refusal> {
    let failed = || {
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "bad_answer",
            "the host's answer is no HTTP answer",
        )
    };
    let mut response = Response::new(Answer::own(Some(Bytes::from(answer.body))));
    *response.status_mut() = StatusCode::from_u16(answer.status).map_err(|_| failed())?;
    let content_type = HeaderValue::from_str(&answer.content_type).map_err(|_| failed())?;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    Ok(response)
}
