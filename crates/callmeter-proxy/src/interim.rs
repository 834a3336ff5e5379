//! Interim answers (1xx) of an upstream, passed on to a client of HTTP/1.1.
//!
//! Names are in lower case: hyper does not tell how they were written. `100 Continue` is not passed on, as hyper sends
//! its own when the body is wanted; `101` is an answer.

use std::sync::Arc;

use hyper::Request;

use crate::client_io::ClientState;

/// Lets interim answers to `request` go to the client.
pub(crate) fn forward<B>(request: &mut Request<B>, client: &Arc<ClientState>) {
    let client = Arc::clone(client);
    hyper::ext::on_informational(request, move |interim| {
        let status = interim.status();
        if matches!(status.as_u16(), 100 | 101) {
            return;
        }
        let reason = status.canonical_reason().unwrap_or_default();
        let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
        for (name, value) in interim.headers() {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        client.send_interim(&bytes);
    });
}
