//! Why a proxy does not start. Once it runs it has no errors: what goes wrong with a request is answered to
//! its client, and counted.

use std::net::SocketAddr;
use std::path::PathBuf;

/// A proxy could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The address is not this machine's own.
    #[error(
        "{0} is not a loopback address; a proxy that others reach would lend them your keys; listen on 127.0.0.1"
    )]
    NotLoopback(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A route has no upstream.
    #[error("route `{0}` has no upstream; give it at least one URL")]
    EmptyRoute(String),
    /// A route's name does not fit into a path.
    #[error(
        "route `{0}` has a name that is no path segment; use letters, digits, `-`, `_` and `.`"
    )]
    RouteName(String),
    /// The file of certificates cannot be read.
    #[error("cannot read certificates from {}: {reason}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}
