//! The load: connections that each send one request after the other, and what they saw.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Server;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    Plain,
    Stream,
    /// A stream that does not end.
    Open,
}

/// What came of it; times in microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) per_second: f64,
    /// To the end of a plain answer, to the first byte of a stream's body.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) event_p50: f64,
    pub(crate) event_p99: f64,
}

/// One connection's view.
#[derive(Default)]
struct Seen {
    times: Vec<f64>,
    events: Vec<f64>,
}

/// Loads a server with so many connections for so long; a tenth of that before is not counted.
pub(crate) async fn run(
    server: &Server,
    case: Case,
    connections: usize,
    length: Duration,
) -> Figures {
    let start = Instant::now() + length / 10;
    let end = start + length;
    let request = request(server, case);
    let tasks: Vec<_> = (0..connections)
        .map(|_| {
            let (address, request) = (server.address, request.clone());
            tokio::spawn(async move {
                let mut seen = Seen::default();
                let mut wire = Wire::to(address).await;
                while Instant::now() < end {
                    let sent = Instant::now();
                    wire.stream.write_all(&request).await.unwrap();
                    let mut events = Vec::new();
                    let first = wire.answer(&mut events).await;
                    // An answer counts when it came, or a slow server's, which take as long as the run, never would.
                    let now = Instant::now();
                    if now >= start && now <= end {
                        let until = if case == Case::Plain { now } else { first };
                        seen.times.push((until - sent).as_secs_f64() * 1e6);
                        seen.events.append(&mut events);
                    }
                }
                seen
            })
        })
        .collect();
    let (mut times, mut events) = (Vec::new(), Vec::new());
    for task in tasks {
        let seen = task.await.unwrap();
        times.extend(seen.times);
        events.extend(seen.events);
    }
    let per_second = times.len() as f64 / length.as_secs_f64();
    Figures {
        per_second,
        p50: percentile(&mut times, 0.50),
        p99: percentile(&mut times, 0.99),
        event_p50: percentile(&mut events, 0.50),
        event_p99: percentile(&mut events, 0.99),
    }
}

/// Opens streams and reads their first event; they stay open until what it gives is dropped.
pub(crate) async fn hold_open(server: &Server, count: u64) -> Vec<TcpStream> {
    let request = request(server, Case::Open);
    let mut open = Vec::new();
    for _ in 0..count {
        let mut wire = Wire::to(server.address).await;
        wire.stream.write_all(&request).await.unwrap();
        while !wire.ahead.windows(5).any(|part| part == b"data:") {
            wire.more().await;
        }
        open.push(wire.stream);
    }
    open
}

fn request(server: &Server, case: Case) -> Vec<u8> {
    let stream = case != Case::Plain;
    let model = if case == Case::Open {
        "open"
    } else {
        "bench-model"
    };
    let prompt = "Say something about the weather in a town by the sea. ".repeat(8);
    // Usage is asked for, so that every subject passes the same events.
    let body = format!(
        r#"{{"model":"{model}","messages":[{{"role":"user","content":"{prompt}"}}],"stream":{stream},"stream_options":{{"include_usage":{stream}}}}}"#
    );
    format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer sk-bench\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        server.path,
        server.address,
        body.len()
    )
    .into_bytes()
}

/// The value at rank ceil(p·n).
fn percentile(values: &mut [f64], p: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    values.sort_by(f64::total_cmp);
    let rank = (p * values.len() as f64).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}

/// A client as small as can be, so that what is measured is the server.
struct Wire {
    stream: TcpStream,
    ahead: Vec<u8>,
}

impl Wire {
    async fn to(address: std::net::SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            ahead: Vec::with_capacity(16 * 1024),
        }
    }

    async fn more(&mut self) {
        let read = self.stream.read_buf(&mut self.ahead).await.unwrap();
        assert!(read > 0, "the connection ended");
    }

    /// Reads an answer; says when its body's first byte came. Events carry the time of their sending.
    async fn answer(&mut self, events: &mut Vec<f64>) -> Instant {
        let head = loop {
            match find(&self.ahead, b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.more().await,
            }
        };
        let text = String::from_utf8_lossy(&self.ahead[..head]).to_ascii_lowercase();
        assert!(text.starts_with("http/1.1 200"), "{text}");
        let length = text
            .split("content-length: ")
            .nth(1)
            .map(|rest| rest.split("\r\n").next().unwrap().parse::<usize>().unwrap());
        self.ahead.drain(..head);
        if let Some(length) = length {
            while self.ahead.is_empty() {
                self.more().await;
            }
            let first = Instant::now();
            while self.ahead.len() < length {
                self.more().await;
            }
            self.ahead.drain(..length);
            return first;
        }
        while self.ahead.is_empty() {
            self.more().await;
        }
        let first = Instant::now();
        loop {
            // Whole chunks alone are looked at; the last has no length.
            while let Some((from, to)) = chunk(&self.ahead) {
                let is_last = from == to;
                note_events(&self.ahead[from..to], events);
                self.ahead.drain(..to + 2);
                if is_last {
                    return first;
                }
            }
            self.more().await;
        }
    }
}

/// Where the first chunk's bytes are, if all of them are there.
fn chunk(bytes: &[u8]) -> Option<(usize, usize)> {
    let line = find(bytes, b"\r\n")?;
    let size = std::str::from_utf8(&bytes[..line]).unwrap();
    let size = usize::from_str_radix(size.split(';').next().unwrap().trim(), 16).unwrap();
    let from = line + 2;
    (bytes.len() >= from + size + 2).then_some((from, from + size))
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|part| part == mark)
}

/// How long ago each event in a chunk was sent.
fn note_events(chunk: &[u8], events: &mut Vec<f64>) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    let text = String::from_utf8_lossy(chunk);
    for stamp in text.split("@").skip(1).step_by(2) {
        if let Ok(sent) = stamp.parse::<u128>() {
            events.push(now.saturating_sub(sent) as f64 / 1e3);
        }
    }
}
