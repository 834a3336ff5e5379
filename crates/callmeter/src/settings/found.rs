//! What a configuration file may not say that nobody named.
//!
//! A `callmeter.toml` is found where a program happens to be started, and in a cloned repository somebody else
//! wrote it. Owns the settings that lead API keys away or open the proxy to others: in such a file they are an error
//! that says how to trust it (promise CM-11). A store on a server may stand there, as a service's own file names it;
//! it is marked ([`StoreUrl::of_found_file`](callmeter_store::StoreUrl::of_found_file)): the environment's password
//! is not sent to it unless the environment names that host too, and `callmeter run` refuses it (ADR 0031).

use super::proxy::ROUTES;

const KEYS_GO: &str = "calls, and the API keys in them, would go where it says";

/// Settings that may not stand in such a file, and why.
const REFUSED: [(&str, &str); 3] = [
    ("proxy.http_proxy", "only the user turns a forward proxy on"),
    ("proxy.ca_file", KEYS_GO),
    (
        "proxy.host_names",
        "pages in a browser could reach the proxy by the names that it lists",
    ),
];

/// Why a setting may not stand in such a file, if it may not.
pub(super) fn refusal(name: &str) -> Option<&'static str> {
    if name.starts_with(ROUTES) {
        return Some(KEYS_GO);
    }
    let (_, why) = REFUSED.iter().find(|(known, _)| *known == name)?;
    Some(why)
}

/// The lines of the reference: the setting, and why it is refused.
pub(super) fn refused() -> impl Iterator<Item = (String, &'static str)> {
    let routes = (format!("{ROUTES}NAME"), KEYS_GO);
    let keys = REFUSED.iter().map(|(name, why)| ((*name).to_owned(), *why));
    keys.chain(std::iter::once(routes))
}
