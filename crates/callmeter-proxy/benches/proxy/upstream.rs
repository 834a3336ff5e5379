//! The fake upstream: answers without an HTTP library and on one thread, so that as little as can be of what is
//! measured is its own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wire::{content_length, listen};

const BODY: &str = r#"{"id":"chatcmpl-bench","object":"chat.completion","created":1790000000,"model":"bench-model","choices":[{"index":0,"message":{"role":"assistant","content":"The weather in a town by the sea is never the same for long: wind in the morning, sun at noon, rain when the boats come home."},"finish_reason":"stop"}],"usage":{"prompt_tokens":104,"completion_tokens":31,"total_tokens":135}}"#;
const STREAM_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const USAGE: &str = "data: {\"id\":\"chatcmpl-bench\",\"choices\":[],\"usage\":{\"prompt_tokens\":104,\"completion_tokens\":18,\"total_tokens\":122}}\n\n";
/// Events of a stream, usage and end included.
pub(crate) const EVENTS: u32 = 20;

/// Serves until it is killed.
pub(crate) async fn serve() {
    let listener = listen().await;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let answer: &'static str = answer.leak();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        // A connection that ends is the proxy's affair.
        tokio::spawn(async move { connection(stream, answer.as_bytes()).await });
    }
}

async fn connection(mut stream: TcpStream, answer: &[u8]) -> Option<()> {
    let mut ahead = Vec::with_capacity(4 * 1024);
    loop {
        let head = loop {
            match memmem::find(&ahead, b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => more(&mut stream, &mut ahead).await?,
            }
        };
        let end = head + content_length(&ahead[..head]).unwrap_or(0);
        while ahead.len() < end {
            more(&mut stream, &mut ahead).await?;
        }
        let body = &ahead[head..end];
        let has = |mark: &str| memmem::find(body, mark.as_bytes()).is_some();
        let pace = asked_pace(body);
        if has(r#""model":"open""#) {
            events(&mut stream, 1, Duration::ZERO).await?;
            // Open until the client goes away.
            more(&mut stream, &mut ahead).await?;
        } else if has(r#""stream":true"#) || has(r#""stream": true"#) {
            events(&mut stream, EVENTS, pace).await?;
            stream.write_all(b"0\r\n\r\n").await.ok()?;
        } else {
            stream.write_all(answer).await.ok()?;
        }
        ahead.drain(..end);
    }
}

/// How far apart the request wants its events: `"user":"MILLISECONDS"`.
fn asked_pace(body: &[u8]) -> Duration {
    let asked = memmem::find(body, br#""user":""#).and_then(|at| {
        let digits = body[at + 8..].split(|byte| *byte == b'"').next()?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    });
    Duration::from_millis(asked.unwrap_or(5))
}

async fn more(stream: &mut TcpStream, ahead: &mut Vec<u8>) -> Option<()> {
    (stream.read_buf(ahead).await.ok()? > 0).then_some(())
}

/// The head at once with the first event, then one event after the other; the last two are usage and the end.
async fn events(stream: &mut TcpStream, count: u32, pace: Duration) -> Option<()> {
    let mut bytes = STREAM_HEAD.to_vec();
    let mut next = tokio::time::Instant::now();
    for left in (1..=count).rev() {
        let text = match left {
            1 if count > 1 => "data: [DONE]\n\n".to_owned(),
            2 => USAGE.to_owned(),
            _ => token(),
        };
        bytes.extend_from_slice(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes());
        stream.write_all(&bytes).await.ok()?;
        bytes.clear();
        if left > 1 {
            next += pace;
            tokio::time::sleep_until(next).await;
        }
    }
    Some(())
}

/// An event with the time of its sending.
fn token() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = now.as_nanos();
    format!(
        "data: {{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\"model\":\"bench-model\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"@{now}@\"}},\"finish_reason\":null}}],\"usage\":null}}\n\n"
    )
}
