//! What the load and the fake upstream know of HTTP/1.1: as little as they need.

use memchr::memmem;
use tokio::net::TcpListener;

/// Listens, and says where.
pub(crate) async fn listen() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    listener
}

/// The length that a head states, in either letter case.
pub(crate) fn content_length(head: &[u8]) -> Option<usize> {
    let at = memmem::find(head, b"ontent-Length: ")
        .or_else(|| memmem::find(head, b"ontent-length: "))?;
    let digits = head[at + 15..].split(|byte| *byte == b'\r').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Where the first chunk's bytes are, if all of them are there.
pub(crate) fn chunk(bytes: &[u8]) -> Option<(usize, usize)> {
    let line = memmem::find(bytes, b"\r\n")?;
    let size = std::str::from_utf8(&bytes[..line]).unwrap();
    let size = usize::from_str_radix(size.split(';').next().unwrap().trim(), 16).unwrap();
    let from = line + 2;
    (bytes.len() >= from + size + 2).then_some((from, from + size))
}
