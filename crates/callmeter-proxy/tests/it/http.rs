//! A client and a reader of HTTP/1.1 that change nothing: what came is kept as it came.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No test waits longer for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Whole,
    Cut,
}

/// A message as it came: request or response.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Heads of interim answers, their lines in lower case.
    pub(crate) interim: Vec<Vec<String>>,
    pub(crate) first_line: String,
    /// Names and values, in order, as they were written.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, Vec<u8>)>,
    pub(crate) ending: Ending,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |fields: &[(String, Vec<u8>)]| {
            let lines = fields
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.escape_ascii()));
            lines.collect::<Vec<_>>().join(" | ")
        };
        writeln!(
            f,
            "{:?} {} {:?}",
            self.interim, self.first_line, self.ending
        )?;
        writeln!(f, "  headers  {}", shown(&self.headers))?;
        let beginning = &self.body[..self.body.len().min(200)];
        writeln!(
            f,
            "  body     {} bytes: {}",
            self.body.len(),
            beginning.escape_ascii()
        )?;
        writeln!(f, "  trailers {}", shown(&self.trailers))
    }
}

/// Headers that belong to a connection.
const HOP: &[&str] = &["connection", "keep-alive", "transfer-encoding", "te"];

impl Message {
    pub(crate) fn status(&self) -> u16 {
        self.first_line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| std::str::from_utf8(value).unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The same without what belongs to the connection, and the names of trailers in lower case, as hyper writes
    /// them.
    pub(crate) fn end_to_end(mut self) -> Self {
        for (name, _) in &mut self.trailers {
            name.make_ascii_lowercase();
        }
        let is_hop = |name: &str| HOP.iter().any(|hop| name.eq_ignore_ascii_case(hop));
        self.headers.retain(|(name, _)| !is_hop(name));
        self
    }

    fn find(&self, name: &str) -> Option<String> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| String::from_utf8_lossy(value).to_ascii_lowercase())
    }
}

/// A connection whose bytes are read by need.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    ahead: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            ahead: Vec::new(),
        }
    }

    pub(crate) async fn connect(to: SocketAddr) -> Self {
        Self::new(TcpStream::connect(to).await.unwrap())
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// More bytes; `false` at the end, be it clean or not.
    pub(crate) async fn more(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        let read = self.stream.read(&mut piece);
        match tokio::time::timeout(LIMIT, read)
            .await
            .expect("bytes in time")
        {
            Ok(0) | Err(_) => false,
            Ok(len) => {
                self.ahead.extend_from_slice(&piece[..len]);
                true
            }
        }
    }

    /// Exactly so many bytes.
    pub(crate) async fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        while self.ahead.len() < len {
            if !self.more().await {
                return None;
            }
        }
        Some(self.ahead.drain(..len).collect())
    }

    /// Up to an end mark, which is included.
    pub(crate) async fn until(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        loop {
            let found = self.ahead.windows(mark.len()).position(|part| part == mark);
            if let Some(at) = found {
                return self.take(at + mark.len()).await;
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.ahead)
    }

    async fn head(&mut self) -> Option<(String, Vec<(String, Vec<u8>)>)> {
        let head = self.until(b"\r\n\r\n").await?;
        let mut lines = head.split(|byte| *byte == b'\n');
        let first = lines.next().unwrap().trim_ascii_end();
        let first = String::from_utf8_lossy(first).into_owned();
        Some((first, lines.filter_map(line).collect()))
    }

    /// A request, or `None` when the connection ended before one.
    pub(crate) async fn request(&mut self) -> Option<Message> {
        let (first_line, headers) = self.head().await?;
        let message = Message {
            interim: Vec::new(),
            first_line,
            headers,
            body: Vec::new(),
            trailers: Vec::new(),
            ending: Ending::Whole,
        };
        Some(self.body(message, false).await)
    }

    /// A response to a request of this method; `None` when the connection ended before its head.
    pub(crate) async fn response(&mut self, method: &str) -> Option<Message> {
        let message = self.response_head().await?;
        let status = message.status();
        if method == "HEAD" || status == 204 || status == 304 {
            return Some(message);
        }
        Some(self.body(message, true).await)
    }

    /// The head of a response, interim answers before it included.
    pub(crate) async fn response_head(&mut self) -> Option<Message> {
        let mut interim = Vec::new();
        loop {
            let (first_line, headers) = self.head().await?;
            if first_line.split(' ').nth(1)?.starts_with('1') && !first_line.contains(" 101 ") {
                let mut lines = vec![first_line];
                for (name, value) in headers {
                    let value = String::from_utf8_lossy(&value).into_owned();
                    lines.push(format!("{}: {value}", name.to_ascii_lowercase()));
                }
                interim.push(lines);
                continue;
            }
            return Some(Message {
                interim,
                first_line,
                headers,
                body: Vec::new(),
                trailers: Vec::new(),
                ending: Ending::Whole,
            });
        }
    }

    async fn body(&mut self, mut message: Message, to_the_end: bool) -> Message {
        if message
            .find("transfer-encoding")
            .is_some_and(|te| te.contains("chunked"))
        {
            loop {
                let Some(chunk) = self.chunk().await else {
                    message.ending = Ending::Cut;
                    return message;
                };
                if chunk.is_empty() {
                    break;
                }
                message.body.extend_from_slice(&chunk);
            }
            loop {
                let Some(found) = self.until(b"\r\n").await else {
                    message.ending = Ending::Cut;
                    return message;
                };
                match line(found.trim_ascii_end()) {
                    Some(trailer) => message.trailers.push(trailer),
                    None => return message,
                }
            }
        } else if let Some(len) = message.find("content-length") {
            let len: usize = len.parse().unwrap();
            match self.take(len).await {
                Some(body) => message.body = body,
                None => {
                    message.body = std::mem::take(&mut self.ahead);
                    message.ending = Ending::Cut;
                }
            }
        } else if to_the_end {
            message.body = self.rest().await;
        }
        message
    }

    /// The next chunk; empty for the last.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = self.until(b"\r\n").await?;
        let size = String::from_utf8(size).unwrap();
        let size = size.trim_end().split(';').next().unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return Some(Vec::new());
        }
        let mut chunk = self.take(size + 2).await?;
        chunk.truncate(size);
        Some(chunk)
    }
}

fn line(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let at = line.iter().position(|byte| *byte == b':')?;
    let name = String::from_utf8(line[..at].to_vec()).unwrap();
    Some((name, line[at + 1..].trim_ascii().to_vec()))
}

/// A POST of JSON, as a client writes it.
pub(crate) fn post(path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text =
        format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    text.into_bytes()
}

/// One request, one response, on a connection of their own.
pub(crate) async fn ask(to: SocketAddr, request: impl AsRef<[u8]>) -> Message {
    let mut wire = Wire::connect(to).await;
    let method = request
        .as_ref()
        .split(|byte| *byte == b' ')
        .next()
        .unwrap()
        .to_vec();
    wire.send(request).await;
    let method = String::from_utf8(method).unwrap();
    wire.response(&method).await.expect("an answer")
}
