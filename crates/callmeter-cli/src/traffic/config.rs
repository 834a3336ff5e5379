//! From the settings `[proxy]` to what the proxy is told.

use callmeter::settings::{ProxyTimeouts, Settings, UpstreamSetting};
use callmeter_proxy::{ProxyConfig, Route, Timeouts, Upstream};

use super::files::Room;
use crate::failure::Failure;

/// The proxy of these settings.
///
/// # Errors
/// When a route's address cannot be used.
pub(crate) fn of_settings(settings: &Settings) -> Result<ProxyConfig, Failure> {
    let proxy = &settings.proxy;
    let mut config = ProxyConfig::default();
    config.listen = proxy.listen;
    config.host_names.clone_from(&proxy.host_names);
    config.default_caller.clone_from(&proxy.default_caller);
    config.ask_for_usage = proxy.ask_usage;
    config.ca_file.clone_from(&proxy.ca_file);
    config.limits.head_bytes = usize::try_from(proxy.max_head_bytes).unwrap_or(usize::MAX);
    config.limits.body_bytes = proxy.max_body_bytes;
    config.limits.connections = usize::try_from(proxy.max_connections).unwrap_or(usize::MAX);
    Room::for_connections(proxy.max_connections).hold(&mut config);
    config.timeouts = timeouts_of(&proxy.timeouts);
    for (name, upstreams) in &proxy.routes {
        let upstreams = upstreams
            .iter()
            .map(|upstream| upstream_of(name, upstream))
            .collect::<Result<Vec<_>, _>>()?;
        let mut route = Route::through(upstreams);
        // A provider name of the user's own, whose kind the settings know.
        if settings.providers.contains_key(name) {
            route = route.of_provider(name);
        }
        config.routes.insert(name.clone(), route);
    }
    Ok(config)
}

fn timeouts_of(limits: &ProxyTimeouts) -> Timeouts {
    let mut timeouts = Timeouts::default();
    timeouts.connect = limits.connect;
    timeouts.request_head = limits.request_head;
    timeouts.request_body = limits.request_body;
    timeouts.idle_client = limits.idle_client;
    timeouts.idle_upstream = limits.idle_upstream;
    timeouts.drain = limits.drain;
    timeouts
}

fn upstream_of(route: &str, upstream: &UpstreamSetting) -> Result<Upstream, Failure> {
    let url = upstream.url.parse().map_err(|error| {
        Failure::new(format!("an upstream cannot be used: {error}"))
            .in_place(format!("proxy.routes.{route}.upstreams"))
    })?;
    let found = Upstream::at(url);
    Ok(match &upstream.model {
        Some(model) => found.with_model(model),
        None => found,
    })
}
