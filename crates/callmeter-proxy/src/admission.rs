//! Which requests and addresses are refused: names that lead here from a page in a browser, and addresses that
//! no request may reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether a client may address the proxy by this `Host`: loopback by its names, and what was configured.
///
/// A page in a browser can be made to ask this port by a name of its own that resolves to 127.0.0.1; its `Host` then
/// is that name.
pub(crate) fn is_own_name(host: &str, configured: &[String]) -> bool {
    let name = without_port(host);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        || configured
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
}

/// Whether an `Origin` is a page of another host: in a browser it could make this machine ask upstreams that only
/// this machine reaches. Programs send no origin, and applications one of a scheme of their own.
pub(crate) fn is_foreign_page(origin: &[u8], configured: &[String]) -> bool {
    let Ok(origin) = std::str::from_utf8(origin) else {
        return true;
    };
    if origin.eq_ignore_ascii_case("null") {
        return true;
    }
    match origin.split_once("://") {
        Some((scheme, host))
            if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") =>
        {
            !is_own_name(host, configured)
        }
        _ => false,
    }
}

/// A host without its port; an IPv6 address keeps its brackets.
pub(crate) fn without_port(host: &str) -> &str {
    if host.starts_with('[') {
        let end = host.find(']').map_or(host.len(), |at| at.saturating_add(1));
        return host.get(..end).unwrap_or(host);
    }
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether an address that came with a request, or that a name of a request led to, is refused: link-local
/// ones, where clouds keep the credentials of a machine, and those that are no host's.
pub(crate) fn is_forbidden(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_forbidden_v4(ip),
        IpAddr::V6(ip) => {
            let mapped = ip.to_ipv4_mapped().or_else(|| embedded(ip));
            mapped.is_some_and(is_forbidden_v4)
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_unicast_link_local()
                // The metadata service of Amazon's machines.
                || ip == Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254)
        }
    }
}

fn is_forbidden_v4(ip: Ipv4Addr) -> bool {
    // Alibaba's and Oracle's metadata services have addresses that are not link-local.
    ip.is_link_local()
        || ip.is_unspecified()
        || ip.is_broadcast()
        || ip.is_multicast()
        || ip.octets().first() == Some(&0)
        || ip == Ipv4Addr::new(100, 100, 100, 200)
        || ip == Ipv4Addr::new(192, 0, 0, 192)
}

/// An IPv4 address within one of NAT64's or 6to4's.
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, _, _, _, g, h] = ip.segments();
    let of = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match (a, b) {
        (0x64, 0xff9b) => Some(of(g, h)),
        (0x2002, high) => Some(of(high, c)),
        (0, 0) if g != 0 => Some(of(g, h)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_answers_to_loopback_and_to_configured_names_alone() {
        let configured = ["callmeter.test".to_owned()];
        for host in [
            "localhost",
            "LOCALHOST:2255",
            "127.0.0.1:2255",
            "127.8.0.1",
            "[::1]:2255",
            "callmeter.test:1",
        ] {
            assert!(is_own_name(host, &configured), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:2255",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "[::2]",
            "localhost@evil.example",
            "127.0.0.1:80@evil.example",
            "localhost:1:2",
        ] {
            assert!(!is_own_name(host, &configured), "{host}");
        }
    }

    #[test]
    fn pages_of_other_hosts_are_foreign_and_applications_are_not() {
        let configured = ["callmeter.test".to_owned()];
        for (origin, is_foreign) in [
            ("http://localhost:3000", false),
            ("https://callmeter.test", false),
            ("vscode-webview://x", false),
            ("app://y", false),
            ("https://evil.example", true),
            ("http://127.0.0.1.evil.example:80", true),
            ("null", true),
        ] {
            assert_eq!(
                is_foreign_page(origin.as_bytes(), &configured),
                is_foreign,
                "{origin}"
            );
        }
        assert!(is_foreign_page(b"\xff", &configured));
    }

    #[test]
    fn addresses_of_credentials_and_of_nobody_are_forbidden() {
        for ip in [
            "169.254.169.254",
            "169.254.170.2",
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "224.0.0.1",
            "100.100.100.200",
            "192.0.0.192",
            "::",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::",
            "::169.254.169.254",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
        ] {
            assert!(is_forbidden(ip.parse().unwrap()), "{ip}");
        }
        for ip in [
            "127.0.0.1",
            "10.0.0.1",
            "192.168.1.2",
            "1.1.1.1",
            "::1",
            "fd00::1",
            "2606:4700::1",
        ] {
            assert!(!is_forbidden(ip.parse().unwrap()), "{ip}");
        }
    }
}
