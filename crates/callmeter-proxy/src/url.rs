//! The address of an upstream: scheme, host, port and the path that stands before every request's.
//!
//! Carries no credentials: an address with a user or a password is refused, so that `Display` and `Debug`
//! cannot leak one.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;
use hyper::http::uri::{Authority, Scheme};

/// An upstream's base URL, such as `https://api.openai.com` or `http://gpu-1:8000/v1`.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamUrl {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    /// Begins with a slash and ends with none; empty for the root.
    pub(crate) path: String,
}

/// Why a text is no upstream's address. It holds nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It does not read as a URL.
    #[error("not a URL; expected one like https://api.openai.com or http://gpu-1:11434")]
    Malformed,
    /// The scheme is neither http nor https.
    #[error("the scheme must be http or https")]
    Scheme,
    /// It carries a user or a password.
    #[error("a user or password in the URL is not supported; let the client send its key")]
    Credentials,
    /// It carries a query or a fragment.
    #[error("a base URL has no query and no fragment")]
    Query,
}

impl UpstreamUrl {
    /// The host, without its port; an IPv6 address in its brackets.
    pub fn host(&self) -> &str {
        self.authority.host()
    }

    /// Whether it is spoken to over TLS.
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The path before every request's: empty, or `/v1`.
    pub fn base_path(&self) -> &str {
        &self.path
    }
}

impl FromStr for UpstreamUrl {
    type Err = UrlError;

    /// # Errors
    /// When the text is no such address.
    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text.contains('#') {
            return Err(UrlError::Query);
        }
        let uri: Uri = text.trim().parse().map_err(|_| UrlError::Malformed)?;
        let parts = uri.into_parts();
        let scheme = parts.scheme.ok_or(UrlError::Malformed)?;
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(UrlError::Scheme);
        }
        let authority = parts.authority.ok_or(UrlError::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(UrlError::Credentials);
        }
        if authority.host().is_empty() {
            return Err(UrlError::Malformed);
        }
        let path_and_query = parts.path_and_query.ok_or(UrlError::Malformed)?;
        if path_and_query.query().is_some() {
            return Err(UrlError::Query);
        }
        Ok(Self {
            scheme,
            authority,
            path: path_and_query.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

impl fmt::Debug for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpstreamUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_shown_alike() {
        for (text, shown) in [
            ("https://api.openai.com", "https://api.openai.com"),
            ("http://gpu-1:8000/v1/", "http://gpu-1:8000/v1"),
            ("http://[::1]:11434", "http://[::1]:11434"),
        ] {
            assert_eq!(text.parse::<UpstreamUrl>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        for (text, error) in [
            ("", UrlError::Malformed),
            ("localhost:11434", UrlError::Malformed),
            ("ftp://host/", UrlError::Scheme),
            ("https://user:secret@host/", UrlError::Credentials),
            ("https://host/v1?key=secret", UrlError::Query),
            ("https://host/v1#secret", UrlError::Query),
        ] {
            let found = text.parse::<UpstreamUrl>().unwrap_err();
            assert_eq!(found, error, "{text}");
            assert!(!found.to_string().contains("secret"));
        }
    }
}
