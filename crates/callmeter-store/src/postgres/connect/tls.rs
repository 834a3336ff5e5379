//! TLS to the server: rustls with ring, verified as `sslmode` says.
//!
//! Authorities come from `sslrootcert` (`system` for those of the machine), else `~/.postgresql/root.crt`, else
//! those of the machine. A client's certificate comes from `sslcert` and `sslkey`. Without verification the
//! line is encrypted but not proven to lead to the server: that is what `require` means to libpq too.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::target::wrong;
use crate::ServerError;

/// What is verified of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verification {
    /// Nothing.
    None,
    /// That a known authority signed its certificate.
    Authority,
    /// That, and that the certificate is of the host that was named.
    Full,
}

/// What TLS is made of.
pub(super) struct Plan {
    pub(super) verification: Verification,
    pub(super) root: Option<PathBuf>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) is_off: bool,
}

/// TLS, ready for a connection.
#[derive(Clone)]
pub(crate) struct Tls {
    connector: TlsConnector,
    verification: Verification,
}

impl Tls {
    pub(super) fn new(plan: &Plan) -> Result<Self, ServerError> {
        let provider = Arc::new(ring::default_provider());
        let roots = if plan.verification == Verification::None || plan.is_off {
            RootCertStore::empty()
        } else {
            roots(plan.root.as_deref())?
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&format!("TLS cannot be set up: {error}")))?;
        let builder = if plan.verification == Verification::Full && !plan.is_off {
            builder.with_root_certificates(roots)
        } else {
            let authorities = if plan.verification == Verification::Authority {
                let verifier = WebPkiServerVerifier::builder_with_provider(
                    Arc::new(roots),
                    Arc::clone(&provider),
                )
                .build()
                .map_err(|error| wrong(&format!("TLS cannot be set up: {error}")))?;
                Some(verifier)
            } else {
                None
            };
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Lenient {
                    authorities,
                    provider,
                }))
        };
        let config = match (&plan.certificate, &plan.key) {
            (Some(certificate), Some(key)) if !plan.is_off => {
                let chain = certificates(certificate, "sslcert")?;
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|_| wrong("the key that sslkey names cannot be read"))?;
                builder.with_client_auth_cert(chain, key).map_err(|_| {
                    wrong("the certificate and key of sslcert and sslkey do not fit")
                })?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            verification: plan.verification,
        })
    }

    #[cfg(test)]
    pub(super) fn verification(&self) -> Verification {
        self.verification
    }
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, ServerError> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(file) if file != Path::new("system") => {
            for certificate in certificates(file, "sslrootcert")? {
                roots.add(certificate).map_err(|_| {
                    wrong("a certificate in the file of sslrootcert cannot be used")
                })?;
            }
        }
        _ => {
            // Some machines carry certificates that nothing can read; the others count.
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    Ok(roots)
}

fn certificates(file: &Path, option: &str) -> Result<Vec<CertificateDer<'static>>, ServerError> {
    let unreadable = || {
        wrong(&format!(
            "the file that {option} names cannot be read as certificates"
        ))
    };
    let found = CertificateDer::pem_file_iter(file).map_err(|_| unreadable())?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|_| unreadable())?;
    if found.is_empty() {
        return Err(unreadable());
    }
    Ok(found)
}

/// Verifies less than everything, as the mode that somebody named wants it.
#[derive(Debug)]
struct Lenient {
    authorities: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authorities) = &self.authorities else {
            return Ok(ServerCertVerified::assertion());
        };
        let verified = authorities.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl<S> MakeTlsConnect<S> for Tls
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type TlsConnect = Handshake;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Handshake> {
        let name = match ServerName::try_from(host.to_owned()) {
            Ok(name) => name,
            // A socket has no name; where nothing asks for it, none is needed.
            Err(_) if self.verification != Verification::Full => {
                ServerName::IpAddress(std::net::IpAddr::from([127, 0, 0, 1]).into())
            }
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidInput, error)),
        };
        Ok(Handshake {
            connector: self.connector.clone(),
            name,
        })
    }
}

/// A handshake to be made.
pub(crate) struct Handshake {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl<S> TlsConnect<S> for Handshake
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let stream = self.connector.connect(self.name, stream).await?;
            Ok(Stream(Box::new(stream)))
        })
    }
}

/// An encrypted line.
pub(crate) struct Stream<S>(Box<tokio_rustls::client::TlsStream<S>>);

impl<S> TlsStream for Stream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}
