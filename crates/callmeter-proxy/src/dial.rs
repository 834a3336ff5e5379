//! Connections to upstreams: names, addresses, TLS, and a proxy in between where the environment names one.
//!
//! Where an address came with a request (`Reach::Guarded`), it is judged after its name is resolved, so that no
//! name leads to an address that is refused. Errors hold no address and no credentials.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::proxy::matcher::Matcher;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::admission::is_forbidden;
use crate::config::Outbound;
use crate::error::ProxyError;

/// Where a connection may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Wherever the configuration says.
    Configured,
    /// Where requests may lead.
    Guarded,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DialError {
    #[error("its name is not known")]
    Name,
    #[error("connection failed: {0}")]
    Io(io::ErrorKind),
    #[error("no connection in time")]
    Timeout,
    #[error("addresses of this kind are not reached through a request")]
    Forbidden,
    #[error("TLS failed: {0}")]
    Tls(&'static str),
    #[error("the outbound proxy refused")]
    Proxy,
}

/// Opens connections.
pub(crate) struct Dialer {
    matcher: Option<Matcher>,
    timeout: Duration,
    extra: Vec<CertificateDer<'static>>,
    tls: [OnceLock<Option<TlsConnector>>; 2],
}

impl Dialer {
    pub(crate) fn new(
        outbound: &Outbound,
        timeout: Duration,
        ca_file: Option<&Path>,
    ) -> Result<Self, ProxyError> {
        let extra = match ca_file {
            None => Vec::new(),
            Some(path) => certificates(path)?,
        };
        Ok(Self {
            matcher: match outbound {
                Outbound::FromEnv => Some(Matcher::from_env()),
                Outbound::Direct => None,
                Outbound::Through(url) => Some(Matcher::builder().all(url.clone()).build()),
            },
            timeout,
            extra,
            tls: [OnceLock::new(), OnceLock::new()],
        })
    }

    /// Opens a connection for requests to `uri`; with `offer_h2` TLS offers HTTP/2.
    pub(crate) async fn open(
        &self,
        uri: &Uri,
        reach: Reach,
        offer_h2: bool,
    ) -> Result<Link, DialError> {
        tokio::time::timeout(self.timeout, self.open_slowly(uri, reach, offer_h2))
            .await
            .unwrap_or(Err(DialError::Timeout))
    }

    async fn open_slowly(
        &self,
        uri: &Uri,
        reach: Reach,
        offer_h2: bool,
    ) -> Result<Link, DialError> {
        let is_https = uri.scheme_str() == Some("https");
        let host = uri.host().ok_or(DialError::Name)?;
        let (stream, is_proxied) = self.reach(uri, host, port_of(uri), is_https, reach).await?;
        let _ = stream.set_nodelay(true);
        if !is_https {
            return Ok(Link {
                stream: Stream::Plain(stream),
                is_proxied,
                is_h2: false,
            });
        }
        let name = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let name = ServerName::try_from(name).map_err(|_| DialError::Name)?;
        let connector = self.connector(offer_h2)?;
        let stream = connector
            .connect(name, stream)
            .await
            .map_err(|error| DialError::Tls(tls_reason(&error)))?;
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Link {
            stream: Stream::Tls(Box::new(stream)),
            is_proxied: false,
            is_h2,
        })
    }

    /// A byte stream to a host: for tunnels.
    pub(crate) async fn tunnel(&self, host: &str, port: u16) -> Result<TcpStream, DialError> {
        let uri: Uri = format!("https://{host}:{port}/")
            .parse()
            .map_err(|_| DialError::Name)?;
        let reaching = self.reach(&uri, host, port, true, Reach::Guarded);
        let (stream, _) = tokio::time::timeout(self.timeout, reaching)
            .await
            .unwrap_or(Err(DialError::Timeout))?;
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    /// A TCP connection to the host, or to the proxy that stands before it; whether requests on it must be in
    /// absolute form.
    async fn reach(
        &self,
        uri: &Uri,
        host: &str,
        port: u16,
        is_tunnel: bool,
        reach: Reach,
    ) -> Result<(TcpStream, bool), DialError> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if reach == Reach::Guarded && is_metadata_name(bare) {
            return Err(DialError::Forbidden);
        }
        let is_local = bare.eq_ignore_ascii_case("localhost")
            || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let matcher = self.matcher.as_ref().filter(|_| !is_local);
        let Some(proxy) = matcher.and_then(|matcher| matcher.intercept(uri)) else {
            return Ok((connect(bare, port, reach).await?, false));
        };
        if reach == Reach::Guarded && bare.parse().is_ok_and(is_forbidden) {
            return Err(DialError::Forbidden);
        }
        let proxy_uri = proxy.uri();
        let proxy_host = proxy_uri.host().ok_or(DialError::Proxy)?;
        if proxy_uri.scheme_str() != Some("http") {
            return Err(DialError::Proxy);
        }
        let mut stream = connect(
            proxy_host.trim_start_matches('[').trim_end_matches(']'),
            proxy_uri.port_u16().unwrap_or(80),
            Reach::Configured,
        )
        .await?;
        if is_tunnel {
            let auth = proxy.basic_auth().and_then(|auth| auth.to_str().ok());
            ask_for_tunnel(&mut stream, host, port, auth).await?;
        }
        Ok((stream, !is_tunnel))
    }

    fn connector(&self, offer_h2: bool) -> Result<&TlsConnector, DialError> {
        let [exact, framed] = &self.tls;
        let slot = if offer_h2 { framed } else { exact };
        slot.get_or_init(|| self.make_connector(offer_h2))
            .as_ref()
            .ok_or(DialError::Tls(
                "no certificate authorities are known; set SSL_CERT_FILE",
            ))
    }

    fn make_connector(&self, offer_h2: bool) -> Option<TlsConnector> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots.add_parsable_certificates(self.extra.iter().cloned());
        if roots.is_empty() {
            return None;
        }
        let provider = Arc::new(crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .ok()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = if offer_h2 {
            vec![b"h2".to_vec(), b"http/1.1".to_vec()]
        } else {
            vec![b"http/1.1".to_vec()]
        };
        Some(TlsConnector::from(Arc::new(config)))
    }
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ProxyError> {
    let failed = |reason: String| ProxyError::Certificates {
        path: path.to_owned(),
        reason,
    };
    let all = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(error.to_string()))?;
    if all.is_empty() {
        return Err(failed("it holds no certificate".to_owned()));
    }
    Ok(all)
}

fn port_of(uri: &Uri) -> u16 {
    let usual = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    uri.port_u16().unwrap_or(usual)
}

/// Names that clouds resolve to the addresses of credentials, whatever resolves them.
fn is_metadata_name(host: &str) -> bool {
    let name = host.trim_end_matches('.');
    [
        "metadata",
        "metadata.google.internal",
        "instance-data",
        "metadata.tencentyun.com",
    ]
    .iter()
    .any(|known| name.eq_ignore_ascii_case(known))
}

/// How long one address is waited for before the next is tried beside the rest of the time.
const STAGGER: Duration = Duration::from_millis(300);

async fn connect(host: &str, port: u16, reach: Reach) -> Result<TcpStream, DialError> {
    let mut addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => tokio::net::lookup_host((host, port))
            .await
            .map_err(|_| DialError::Name)?
            .collect(),
    };
    if reach == Reach::Guarded {
        addresses.retain(|address| !is_forbidden(address.ip()));
        if addresses.is_empty() {
            return Err(DialError::Forbidden);
        }
    }
    let mut last = DialError::Name;
    let count = addresses.len();
    for (at, address) in addresses.into_iter().enumerate() {
        let connecting = TcpStream::connect(address);
        let is_last = at.saturating_add(1) == count;
        let connected = if is_last {
            connecting.await
        } else {
            match tokio::time::timeout(STAGGER, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            }
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => last = DialError::Io(error.kind()),
        }
    }
    Err(last)
}

/// The longest answer of an outbound proxy that is read.
const MAX_ANSWER: usize = 8 * 1024;

async fn ask_for_tunnel(
    stream: &mut TcpStream,
    host: &str,
    port: u16,
    auth: Option<&str>,
) -> Result<(), DialError> {
    let mut ask = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    if let Some(auth) = auth {
        ask.push_str("Proxy-Authorization: ");
        ask.push_str(auth);
        ask.push_str("\r\n");
    }
    ask.push_str("\r\n");
    let failed = |error: io::Error| DialError::Io(error.kind());
    stream.write_all(ask.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::new();
    // A byte at a time: what follows the head is the upstream's.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= MAX_ANSWER {
            return Err(DialError::Proxy);
        }
        answer.push(stream.read_u8().await.map_err(failed)?);
    }
    let is_granted = answer.starts_with(b"HTTP/1.1 2") || answer.starts_with(b"HTTP/1.0 2");
    is_granted.then_some(()).ok_or(DialError::Proxy)
}

fn tls_reason(error: &io::Error) -> &'static str {
    use tokio_rustls::rustls::{CertificateError, Error};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "the certificate's issuer is not trusted here"
        }
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "the certificate is for another name",
        Some(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "the certificate has expired",
        Some(Error::InvalidCertificate(_)) => "the certificate is not valid",
        _ => "the handshake was broken off",
    }
}

/// A connection to an upstream.
pub(crate) struct Link {
    stream: Stream,
    is_proxied: bool,
    is_h2: bool,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        let connected = Connected::new().proxy(self.is_proxied);
        if self.is_h2 {
            connected.negotiated_h2()
        } else {
            connected
        }
    }
}

macro_rules! forward {
    ($self:ident, $io:ident => $call:expr) => {
        match &mut $self.get_mut().stream {
            Stream::Plain($io) => {
                let $io = Pin::new($io);
                $call
            }
            Stream::Tls($io) => {
                let $io = Pin::new(&mut **$io);
                $call
            }
        }
    };
}

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        forward!(self, io => io.poll_read(cx, buf))
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        forward!(self, io => io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self, io => io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(io) => io.is_write_vectored(),
            Stream::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, io => io.poll_shutdown(cx))
    }
}
