//! A client of HTTP/2 that sends whatever frames it is told to, sound or not.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http::LIMIT;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// How a stream ended, or its connection with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With an answer that came to its end.
    Answered,
    /// By RST_STREAM.
    Reset(u32),
    /// By GOAWAY.
    Closed(u32),
    /// Without a word.
    Gone,
}

/// A frame's bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![len[1], len[2], len[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A length in front of a text, with seven bits in its first byte.
fn prefixed(text: &[u8], out: &mut Vec<u8>) {
    let mut len = text.len();
    if len < 127 {
        out.push(u8::try_from(len).unwrap());
    } else {
        out.push(127);
        len -= 127;
        while len >= 128 {
            out.push(u8::try_from(len % 128).unwrap() | 128);
            len /= 128;
        }
        out.push(u8::try_from(len).unwrap());
    }
    out.extend_from_slice(text);
}

/// A header as it is, in no table.
pub(crate) fn field(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = vec![0];
    prefixed(name.as_ref(), &mut out);
    prefixed(value.as_ref(), &mut out);
    out
}

/// A header that the table keeps.
pub(crate) fn kept_field(name: &str, value: &str) -> Vec<u8> {
    let mut out = field(name, value);
    out[0] = 0x40;
    out
}

/// The fields of a request, and more behind them.
pub(crate) fn request(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let own = [
        (":method", method),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
    ];
    own.iter()
        .chain(more)
        .flat_map(|(name, value)| field(name, value))
        .collect()
}

/// See the module.
pub(crate) struct Frames {
    stream: TcpStream,
}

impl Frames {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut frames = Self { stream };
        frames.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        frames.send(frame(SETTINGS, 0, 0, &[])).await;
        frames
    }

    /// Sends bytes; a connection that the other side has ended takes none.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Begins a request on a stream.
    pub(crate) async fn begin(&mut self, stream: u32, fields: &[u8], flags: u8) {
        self.send(frame(HEADERS, flags | END_HEADERS, stream, fields))
            .await;
    }

    async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        let read = self.stream.read_exact(&mut head);
        let read = tokio::time::timeout(LIMIT, read).await;
        read.expect("a frame in time").ok()?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        self.stream.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        Some((head[3], head[4], stream & (u32::MAX >> 1), payload))
    }

    /// How a stream ends. What the connection asks meanwhile is answered.
    pub(crate) async fn end_of(&mut self, wanted: u32) -> End {
        while let Some((kind, flags, stream, payload)) = self.next().await {
            let code = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
            match kind {
                SETTINGS if flags & ACK == 0 => self.send(frame(SETTINGS, ACK, 0, &[])).await,
                PING if flags & ACK == 0 => self.send(frame(PING, ACK, 0, &payload)).await,
                GOAWAY if code(4) != 0 => return End::Closed(code(4)),
                RST_STREAM if stream == wanted => return End::Reset(code(0)),
                DATA | HEADERS if stream == wanted && flags & END_STREAM != 0 => {
                    return End::Answered;
                }
                _ => {}
            }
        }
        End::Gone
    }
}
