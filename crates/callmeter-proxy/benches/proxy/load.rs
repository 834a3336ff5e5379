//! The load: connections that each send one request after the other, and what they saw.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Server;
use crate::upstream;
use crate::wire::{chunk, content_length};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    Plain,
    /// A stream with so many milliseconds between its events.
    Stream(u64),
    /// A stream that does not end.
    Open,
}

impl Case {
    /// How long one answer takes at least.
    fn length(self) -> Duration {
        match self {
            Self::Plain | Self::Open => Duration::ZERO,
            Self::Stream(pace) => Duration::from_millis(pace) * (upstream::EVENTS - 1),
        }
    }
}

/// What came of it; times in microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// Answers, those before and after the time that counts included.
    pub(crate) answers: u64,
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
    answers: u64,
    times: Vec<f64>,
    events: Vec<f64>,
}

/// Loads a server with so many connections for so long, and a tenth of that or the first streams before, which are not
/// counted. Streams begin one after the other, so that their events do not come all at once.
pub(crate) async fn run(
    server: &Server,
    case: Case,
    connections: usize,
    length: Duration,
) -> Figures {
    let stream = case.length();
    let start = Instant::now() + (length / 10).max(stream);
    let end = start + length.max(stream * 2);
    let counted = end - start;
    let request = request(server, case);
    let tasks: Vec<_> = (0..connections)
        .map(|at| {
            let (address, request) = (server.address, request.clone());
            let delay = stream.mul_f64(at as f64 / connections as f64);
            tokio::spawn(async move {
                let mut seen = Seen::default();
                let mut wire = Wire::to(address).await;
                tokio::time::sleep(delay).await;
                while Instant::now() < end {
                    let sent = Instant::now();
                    wire.stream.write_all(&request).await.unwrap();
                    let mut events = Vec::new();
                    let first = wire.answer(&mut events).await;
                    seen.answers += 1;
                    // An answer counts when it came, or a slow server's, which take as long as the run, never would.
                    let now = Instant::now();
                    let (is_in_time, until) = if case == Case::Plain {
                        (now >= start && now <= end, now)
                    } else {
                        (sent >= start, first)
                    };
                    if is_in_time {
                        seen.times.push((until - sent).as_secs_f64() * 1e6);
                        seen.events.append(&mut events);
                    }
                }
                seen
            })
        })
        .collect();
    let (mut times, mut events) = (Vec::new(), Vec::new());
    let mut answers = 0;
    for task in tasks {
        let seen = task.await.unwrap();
        answers += seen.answers;
        times.extend(seen.times);
        events.extend(seen.events);
    }
    let per_second = times.len() as f64 / counted.as_secs_f64();
    Figures {
        answers,
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
        while memmem::find(&wire.ahead, b"data:").is_none() {
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
    let pace = if let Case::Stream(pace) = case {
        pace
    } else {
        0
    };
    let prompt = "Say something about the weather in a town by the sea. ".repeat(8);
    // Usage is asked for, so that every subject passes the same events.
    let body = format!(
        r#"{{"model":"{model}","user":"{pace}","messages":[{{"role":"user","content":"{prompt}"}}],"stream":{stream},"stream_options":{{"include_usage":{stream}}}}}"#
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
            match memmem::find(&self.ahead, b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.more().await,
            }
        };
        assert!(self.ahead.starts_with(b"HTTP/1.1 200"), "no answer");
        let length = content_length(&self.ahead[..head]);
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
