//! One request and its tries: prepared once, sent to one upstream after the other until one answers.
//!
//! ```text
//! request ─ ours taken off ─ body held, where it may be changed or sent again ─┐
//!    ┌──────────────────────────────────────────────────────────────────────────┘
//!    ├─▶ upstream 1 ── no connection · 429 · 5xx · died before its first byte ──▶ upstream 2 ──▶ …
//!    └─▶ the last one's answer, or the first that is none of these, goes to the client as it is
//! ```
//! After the first byte of an answer there is no further try.

use std::sync::Arc;
use std::time::{Duration, Instant};

use callmeter_core::ErrorKind;
use callmeter_wire::{Api, RequestFacts, RequestReader};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue,
    TRANSFER_ENCODING,
};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Request, Response, StatusCode, Uri, Version};

use crate::answer::{Answer, Metered, Refusal};
use crate::attribution::Attribution;
use crate::body::{BodyError, Held, OutBody, Passing, SharedReader, Taken, hold};
use crate::budgets;
use crate::client_io::ClientState;
use crate::config::Upstream;
use crate::engine::Engine;
use crate::failure::{body_refusal, kind_of, refusal_of};
use crate::hop::{self, Keep};
use crate::kept::UpstreamBody;
use crate::outer::OuterGuard;
use crate::pool::Pool;
use crate::record::{Request as Recorded, Try};
use crate::rewrite::{Changes, is_asked, path_with_model, rewritten};
use crate::routes::Target;

/// A request as it came.
pub(crate) struct Incomer {
    client: Arc<ClientState>,
    parts: Parts,
    body: Incoming,
    on_upgrade: Option<OnUpgrade>,
    started: Instant,
}

impl Incomer {
    pub(crate) fn new(
        client: &Arc<ClientState>,
        mut request: Request<Incoming>,
        started: Instant,
    ) -> Self {
        let is_upgrade =
            request.version() == Version::HTTP_11 && hop::upgrade(request.headers()).is_some();
        let on_upgrade = is_upgrade.then(|| hyper::upgrade::on(&mut request));
        let (mut parts, body) = request.into_parts();
        parts.extensions.remove::<OnUpgrade>();
        Self {
            client: Arc::clone(client),
            parts,
            body,
            on_upgrade,
            started,
        }
    }
}

/// A request made ready for its tries.
struct Exchange<'a> {
    engine: &'a Arc<Engine>,
    client: Arc<ClientState>,
    pool: Pool,
    target: Target,
    parts: Parts,
    facts: RequestFacts,
    /// The reader of a body that passes.
    passing: Option<SharedReader>,
    /// Whether the answer is to be asked for usage.
    asks: bool,
    recorded: Option<Arc<Recorded>>,
    /// The proxy's own time so far.
    spent: Duration,
}

/// The body that is sent.
enum Load {
    /// Can be sent again.
    Held(Option<Held>),
    Passing(Option<Box<Passing>>),
}

/// Answers a request by asking the target's upstreams.
pub(crate) async fn run(
    engine: &Arc<Engine>,
    incomer: Incomer,
    target: Target,
    pool: Pool,
) -> Result<Response<Answer>, Refusal> {
    let Incomer {
        client,
        mut parts,
        body,
        on_upgrade,
        started,
    } = incomer;
    refuse_too_long(&parts.headers, engine.config.limits.body_bytes)?;
    let attribution = Attribution::take(&mut parts.headers);
    let keep = if on_upgrade.is_some() {
        Keep::Upgrade
    } else {
        Keep::Nothing
    };
    hop::strip(&mut parts.headers, keep);
    let caller = [attribution.caller.clone(), target.caller.clone()];
    let caller = caller.into_iter().flatten().next();
    let caller = caller.unwrap_or_else(|| engine.config.default_caller.clone());

    let mut reader = reader_of(&parts, &target);
    let first = reader.facts();
    let may_ask = engine.config.ask_for_usage && first.api == Api::ChatCompletions && first.is_call;
    let upstreams = &target.route.upstreams;
    let is_chain = upstreams.len() > 1;
    let is_held = on_upgrade.is_none()
        && (is_chain
            || may_ask
            || budgets::name_models(&engine.recording)
            || upstreams.iter().any(|upstream| upstream.model.is_some()));
    let is_plain = !parts.headers.contains_key(CONTENT_ENCODING);

    let before = started.elapsed();
    let (load, facts, passing) = if body.is_end_stream() {
        (Load::Held(None), reader.finish(), None)
    } else {
        let limits = &engine.config.limits;
        let coming = Passing::new(body, limits.body_bytes, engine.config.timeouts.request_body);
        let taken = if is_held {
            hold(coming, &engine.budget).await.map_err(body_refusal)?
        } else {
            Taken::Beginning(coming)
        };
        match taken {
            Taken::Whole(held) => {
                if is_plain {
                    reader.push(&held.bytes);
                }
                (Load::Held(Some(held)), reader.finish(), None)
            }
            Taken::Beginning(mut coming) => {
                let facts = reader.facts().clone();
                let shared = (is_plain && facts.is_call).then(|| SharedReader::new(reader));
                if let Some(shared) = &shared {
                    coming.read_by(shared);
                }
                (Load::Passing(Some(coming)), facts, shared)
            }
        }
    };
    budgets::check(&engine.recording, &caller, &attribution, &facts)?;
    let asks = may_ask
        && is_plain
        && matches!(load, Load::Held(Some(_)))
        && facts.streaming == Some(true)
        && facts.asks_for_usage.is_none();
    let recorded = facts.is_call.then(|| {
        Arc::new(Recorded::new(
            &engine.recording,
            &target.route,
            caller,
            attribution,
        ))
    });
    let exchange = Exchange {
        engine,
        client,
        pool,
        target,
        parts,
        facts,
        passing,
        asks,
        recorded,
        spent: before,
    };
    exchange.run(load, on_upgrade).await
}

impl Exchange<'_> {
    async fn run(
        mut self,
        mut load: Load,
        on_upgrade: Option<OnUpgrade>,
    ) -> Result<Response<Answer>, Refusal> {
        let route = Arc::clone(&self.target.route);
        let mut outer = None;
        let mut chain = None;
        for (at, upstream) in route.upstreams.iter().enumerate() {
            let ready = Instant::now();
            let is_sendable_again = matches!(load, Load::Held(_)) && on_upgrade.is_none();
            let next = route
                .upstreams
                .get(at.saturating_add(1))
                .filter(|_| is_sendable_again);
            self.refuse_loop(upstream)?;
            let is_last = next.is_none();
            let (request, asks, facts) = self.request(upstream, &mut load, is_last)?;
            let attempt = u32::try_from(at).unwrap_or(u32::MAX).saturating_add(1);
            if at == 0
                && let Some(recorded) = &self.recorded
            {
                outer = recorded.open_outer(&facts);
            }
            let mut call = self.open(facts, attempt, outer.as_ref());
            if let Some(call) = call.as_mut().filter(|_| route.upstreams.len() > 1) {
                chain = chain.or(call.id());
                call.join(chain);
            }
            self.spent = self.spent.saturating_add(ready.elapsed());
            let pools = &self.engine.pools;
            let sent = pools.send(self.pool, &upstream.url, request).await;
            let answered = Instant::now();
            let response = match sent {
                Ok(response) => response,
                Err(error) => {
                    match (call, next) {
                        (Some(call), Some(next)) => {
                            call.fall_back(Some(kind_of(error)), next.url.authority.as_str());
                        }
                        (Some(mut call), None) => {
                            call.complete(outer.take());
                            call.fail(kind_of(error));
                        }
                        (None, _) => {}
                    }
                    match next {
                        Some(_) => continue,
                        None => return Err(refusal_of(error, upstream)),
                    }
                }
            };
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                return self.switch(response, on_upgrade, call);
            }
            let (parts, body) = response.into_parts();
            if let Some(call) = &mut call {
                call.head(parts.status.as_u16(), &parts.headers);
            }
            if let Some(next) = next
                && is_worth_another_try(parts.status)
            {
                Box::pin(fall_back(Metered::new(body, call), next)).await;
                continue;
            }
            if next.is_none()
                && let Some(call) = &mut call
            {
                call.complete(outer.take());
            }
            let mut metered = Metered::new(body, call);
            if let Some(next) = next {
                if !metered.has_begun().await {
                    if let Some(call) = metered.take_call() {
                        call.fall_back(Some(ErrorKind::Network), next.url.authority.as_str());
                    }
                    continue;
                }
                metered.complete(outer.take());
            }
            self.spent = self.spent.saturating_add(answered.elapsed());
            self.engine.recording.tally.added(self.spent);
            return Ok(self.respond(parts, metered, asks));
        }
        Err(Refusal::new(
            StatusCode::BAD_GATEWAY,
            "no_upstream",
            "the route has no upstream",
        ))
    }

    /// Opens a try, where the request is a call.
    fn open(
        &self,
        facts: RequestFacts,
        attempt: u32,
        outer: Option<&OuterGuard>,
    ) -> Option<Box<Try>> {
        let recorded = self.recorded.as_ref()?;
        let passing = self.passing.clone();
        Some(Box::new(Try::open(
            recorded, facts, attempt, outer, passing,
        )))
    }

    /// The request for one upstream; whether it asks for usage; what is known of it there.
    fn request(
        &mut self,
        upstream: &Upstream,
        load: &mut Load,
        is_last: bool,
    ) -> Result<(Request<OutBody>, bool, RequestFacts), Refusal> {
        let facts = self.facts_at(upstream);
        let (mut headers, extensions) = if is_last {
            let parts = &mut self.parts;
            (
                std::mem::take(&mut parts.headers),
                std::mem::take(&mut parts.extensions),
            )
        } else {
            (self.parts.headers.clone(), self.parts.extensions.clone())
        };
        let mut path = self.target.route.path_at(upstream, &self.target.rest);
        if let Some(model) = &upstream.model {
            path = path_with_model(&path, model);
        }
        let mut asks = self.asks && is_asked(facts.provider);
        let body = match load {
            Load::Held(None) => OutBody::Empty,
            Load::Held(Some(held)) => {
                let changes = Changes {
                    model: upstream.model.as_deref(),
                    ask_for_usage: asks,
                };
                let is_changeable = asks || upstream.model.is_some();
                match is_changeable
                    .then(|| rewritten(&held.bytes, changes))
                    .flatten()
                {
                    Some(changed) => {
                        asks = changed.asks;
                        if headers.contains_key(CONTENT_LENGTH) {
                            let len = HeaderValue::from(changed.body.len());
                            headers.insert(CONTENT_LENGTH, len);
                        }
                        OutBody::Held(held.with(changed.body.into()))
                    }
                    None => {
                        asks = false;
                        OutBody::Held(held.clone())
                    }
                }
            }
            Load::Passing(passing) => match passing.take() {
                Some(passing) => OutBody::Passing(passing),
                None => OutBody::Empty,
            },
        };
        if self.pool != Pool::Framed && body.size_hint().exact().is_none() {
            // Of some methods hyper believes only so that they have a body.
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        if asks {
            // What is to be hidden must be readable.
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        let bad = || {
            Refusal::new(
                StatusCode::BAD_REQUEST,
                "bad_target",
                "the path does not fit into a request to the upstream",
            )
        };
        let authority = upstream.url.authority.as_str();
        headers.insert(HOST, HeaderValue::from_str(authority).map_err(|_| bad())?);
        let path = PathAndQuery::from_maybe_shared(Bytes::from(path)).map_err(|_| bad())?;
        let mut request = Request::new(body);
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = Uri::from(path);
        *request.headers_mut() = headers;
        *request.extensions_mut() = extensions;
        if self.parts.version == Version::HTTP_11 {
            crate::interim::forward(&mut request, &self.client);
        }
        Ok((request, asks, facts))
    }

    /// What is known of the request, asked of this upstream.
    fn facts_at(&self, upstream: &Upstream) -> RequestFacts {
        let route = &self.target.route;
        let mut facts = self
            .facts
            .clone()
            .with_host(upstream.url.authority.as_str());
        match (&route.stated, route.usual) {
            (Some(stated), _) => facts = facts.with_provider(stated),
            (None, Some(usual)) if facts.provider.is_none() => facts = facts.with_provider(usual),
            _ => {}
        }
        if let Some(model) = &upstream.model {
            facts.model = Some(model.clone());
        }
        facts
    }

    /// The answer for the client.
    fn respond(
        &self,
        mut parts: hyper::http::response::Parts,
        mut metered: Metered,
        asks: bool,
    ) -> Response<Answer> {
        if parts.headers.contains_key(TRANSFER_ENCODING) {
            // Of two framings the chunks count; the other must not reach a client that thinks otherwise.
            hop::retain(&mut parts.headers, |name| *name != CONTENT_LENGTH);
        }
        hop::strip(&mut parts.headers, Keep::Nothing);
        let header = |name| {
            parts
                .headers
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
        };
        let is_readable = header(CONTENT_ENCODING).is_none_or(|coding| coding == "identity");
        let is_events =
            header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/event-stream"));
        if asks && is_readable && is_events {
            hop::retain(&mut parts.headers, |name| *name != CONTENT_LENGTH);
            metered.hide_usage();
        }
        parts.version = Version::HTTP_11;
        Response::from_parts(parts, Answer::upstream(metered))
    }

    /// Lets client and upstream speak another protocol, unread.
    fn switch(
        self,
        mut response: Response<UpstreamBody>,
        on_client: Option<OnUpgrade>,
        call: Option<Box<Try>>,
    ) -> Result<Response<Answer>, Refusal> {
        if let Some(call) = call {
            call.end();
        }
        let on_upstream = hyper::upgrade::on(&mut response);
        let Some(on_client) = on_client else {
            return Err(Refusal::new(
                StatusCode::BAD_GATEWAY,
                "unasked_switch",
                "the upstream switched protocols without being asked",
            ));
        };
        self.client.leave();
        crate::tunnel::join(self.engine, on_client, on_upstream);
        let (mut parts, body) = response.into_parts();
        body.work_alone();
        hop::strip(&mut parts.headers, Keep::Upgrade);
        Ok(Response::from_parts(parts, Answer::own(None)))
    }

    /// An upstream that is this proxy would be asked for ever.
    fn refuse_loop(&self, upstream: &Upstream) -> Result<(), Refusal> {
        let authority = &upstream.url.authority;
        let port = authority.port_u16().unwrap_or(80);
        if port == self.engine.port
            && !upstream.url.is_https()
            && crate::admission::is_own_name(authority.host(), &[])
        {
            return Err(Refusal::new(
                StatusCode::LOOP_DETECTED,
                "loop",
                "the upstream is this proxy itself; give the route another URL",
            ));
        }
        Ok(())
    }
}

/// How much of a failed answer is read for its row, and how long that may take.
const ERROR_BYTES: usize = 16 * 1024;
const ERROR_TIME: Duration = Duration::from_secs(2);

async fn fall_back(mut metered: Metered, next: &Upstream) {
    let _ = tokio::time::timeout(ERROR_TIME, metered.read_error(ERROR_BYTES)).await;
    if let Some(call) = metered.take_call() {
        call.fall_back(None, next.url.authority.as_str());
    }
}

fn reader_of(parts: &Parts, target: &Target) -> RequestReader {
    let headers = parts.headers.iter().filter(|(name, _)| *name != HOST);
    let texts = headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    RequestReader::new(parts.method.as_str(), &target.rest, texts)
}

const fn is_worth_another_try(status: StatusCode) -> bool {
    status.as_u16() == 429 || status.as_u16() >= 500
}

fn refuse_too_long(headers: &HeaderMap, limit: u64) -> Result<(), Refusal> {
    let stated = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    let is_too_long = stated
        .and_then(|text| text.parse::<u64>().ok())
        .is_some_and(|len| len > limit);
    if is_too_long {
        return Err(body_refusal(BodyError::TooLong));
    }
    Ok(())
}
