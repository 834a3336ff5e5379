//! Addresses as users write them into variables: URLs, and the forms of `OLLAMA_HOST`.
//!
//! Only taken apart, never resolved. What a client would connect to is kept: scheme, host, port, path, and the user
//! in front of the host, which becomes part of what the child sends.

/// Where Ollama listens unless told otherwise.
const OLLAMA_PORT: &str = "11434";

/// An address in its parts. It may hold a password, so it has no `Debug`.
pub(super) struct Address {
    scheme: String,
    user: Option<String>,
    /// Host and port, as they were written.
    authority: String,
    /// From the first slash on; empty where there is none.
    pub(super) path: String,
}

impl Address {
    /// A URL of http or https, without query and fragment.
    pub(super) fn of_url(text: &str) -> Option<Self> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "http" | "https") {
            return None;
        }
        let is_fine =
            |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '\\' | '"' | '<' | '>');
        if !rest.chars().all(is_fine) {
            return None;
        }
        let (authority, path) = cut_at_slash(rest);
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user.to_owned()), host),
            None => (None, authority),
        };
        if authority.is_empty() || authority.starts_with(':') {
            return None;
        }
        Some(Self {
            scheme,
            user,
            authority: authority.to_owned(),
            path: path.to_owned(),
        })
    }

    /// As Ollama's own clients read `OLLAMA_HOST`: scheme, host, port and path may each be missing.
    pub(super) fn of_ollama_host(text: &str) -> Option<Self> {
        let text = text.trim().trim_matches(['"', '\'']);
        if text == "ollama.com" {
            return Self::of_url("https://ollama.com:443");
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let default_port = match scheme.to_ascii_lowercase().as_str() {
            "" => OLLAMA_PORT,
            "http" => "80",
            "https" => "443",
            _ => return None,
        };
        let (authority, path) = cut_at_slash(rest);
        let (host, port) = match authority.rsplit_once(':') {
            // An IPv6 address without brackets has no port.
            Some((host, _)) if host.contains(':') && !host.ends_with(']') => (authority, ""),
            Some((host, port)) => (host, port),
            None => (authority, ""),
        };
        let port = if port.parse::<u16>().is_ok() {
            port
        } else {
            default_port
        };
        let host = match host {
            "" => "127.0.0.1".to_owned(),
            host if host.contains(':') && !host.starts_with('[') => format!("[{host}]"),
            host => host.to_owned(),
        };
        let scheme = if scheme.is_empty() { "http" } else { scheme };
        Self::of_url(&format!("{scheme}://{host}:{port}{path}"))
    }

    /// Scheme, host and port.
    pub(super) fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }

    /// The user, and maybe a password.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Host and port to connect to, if it is plain HTTP on this machine.
    pub(super) fn on_loopback(&self) -> Option<String> {
        if self.scheme != "http" {
            return None;
        }
        let (host, port) = match self.authority.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => (host, port),
            _ => (self.authority.as_str(), "80"),
        };
        let is_loopback =
            host.eq_ignore_ascii_case("localhost") || host == "[::1]" || host.starts_with("127.");
        is_loopback.then(|| format!("{host}:{port}"))
    }
}

fn cut_at_slash(text: &str) -> (&str, &str) {
    text.split_at(text.find('/').unwrap_or(text.len()))
}

/// A text as a segment of a path.
pub(super) fn path_segment(text: &str) -> String {
    let mut segment = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("%{byte:02X}"));
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(address: Option<Address>) -> String {
        address.map_or_else(
            || "none".to_owned(),
            |address| format!("{} {}", address.origin(), address.path),
        )
    }

    #[test]
    fn an_ollama_host_is_read_as_ollama_reads_it() {
        for (text, origin) in [
            ("gpu-1", "http://gpu-1:11434 "),
            ("gpu-1:8080", "http://gpu-1:8080 "),
            (":8080", "http://127.0.0.1:8080 "),
            ("0.0.0.0", "http://0.0.0.0:11434 "),
            ("http://gpu-1", "http://gpu-1:80 "),
            ("https://gpu-1", "https://gpu-1:443 "),
            ("https://gpu-1:8443/team/", "https://gpu-1:8443 /team/"),
            ("[::1]", "http://[::1]:11434 "),
            ("[::1]:8080", "http://[::1]:8080 "),
            ("::1", "http://[::1]:11434 "),
            (" \"gpu-1:99999\" ", "http://gpu-1:11434 "),
            ("ollama.com", "https://ollama.com:443 "),
            ("ftp://gpu-1", "none"),
        ] {
            assert_eq!(shown(Address::of_ollama_host(text)), origin, "{text}");
        }
    }

    #[test]
    fn a_url_keeps_its_parts() {
        assert_eq!(
            shown(Address::of_url("HTTPS://Gateway:443/a/v1")),
            "https://Gateway:443 /a/v1"
        );
        for bad in [
            "gateway/v1",
            "ftp://a",
            "http://",
            "http://:80/",
            "http://a?b",
            "http://a b",
        ] {
            assert_eq!(shown(Address::of_url(bad)), "none", "{bad}");
        }
        let with_user = Address::of_url("https://me:pass@gateway/v1").unwrap();
        assert_eq!(
            (with_user.user(), with_user.origin().as_str()),
            (Some("me:pass"), "https://gateway")
        );
    }

    #[test]
    fn only_plain_http_on_this_machine_may_be_a_callmeter() {
        let at = |url| Address::of_url(url).and_then(|address| address.on_loopback());
        assert_eq!(
            at("http://localhost:2255/v1").as_deref(),
            Some("localhost:2255")
        );
        assert_eq!(at("http://127.0.0.1").as_deref(), Some("127.0.0.1:80"));
        assert_eq!(at("http://[::1]:1/").as_deref(), Some("[::1]:1"));
        assert_eq!(at("https://127.0.0.1:2255"), None);
        assert_eq!(at("http://10.0.0.1:2255"), None);
    }
}
