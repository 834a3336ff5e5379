//! A fake provider: answers a model call as OpenAI, Anthropic and Ollama do, plain and streaming, over real sockets.
//!
//! Deterministic: usage is always [`INPUT_TOKENS`] and [`OUTPUT_TOKENS`]. The model's name asks for trouble: `fails-429` is
//! answered by that status, `breaks` by an answer that is cut. A stream of chat completions carries usage only where the
//! request asks for it, as the real one's. What came in can be looked at; it is a test's own and holds no secret.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// Input tokens of every answer.
pub const INPUT_TOKENS: u64 = 1_200;
/// Output tokens of every answer.
pub const OUTPUT_TOKENS: u64 = 340;

/// A fake provider at work; it ends with the process.
#[derive(Debug)]
pub struct FakeProvider {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A request that came in.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Method and path, as in the request line.
    pub line: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Seen {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl FakeProvider {
    /// Starts one on a free port of this machine.
    ///
    /// # Errors
    /// When the system gives no port.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&all);
                std::thread::spawn(move || {
                    // A client that goes away is a test's own affair.
                    let _ = serve(&stream, &seen);
                });
            }
        });
        Ok(Self { address, seen })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request that came in so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn serve(stream: &TcpStream, seen: &Mutex<Vec<Seen>>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader)? {
        let answer = answer(&request);
        seen.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request);
        let mut out = stream;
        out.write_all(answer.as_bytes())?;
        if answer.contains("connection: close") {
            break;
        }
    }
    Ok(())
}

fn read(reader: &mut impl BufRead) -> io::Result<Option<Seen>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut headers = Vec::new();
    let mut length = 0_usize;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(':') else {
            break;
        };
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        if name == "content-length" {
            length = value.parse().map_err(io::Error::other)?;
        }
        headers.push((name, value));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Seen {
        line: line.trim_end().to_owned(),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    }))
}

fn answer(request: &Seen) -> String {
    let path = request.line.split(' ').nth(1).unwrap_or_default();
    let body: String = request
        .body
        .chars()
        .filter(|c| !c.is_whitespace())
        .collect();
    if body.contains("\"fails-429\"") {
        return whole(
            "429 Too Many Requests",
            "application/json",
            "{\"error\":{\"message\":\"slow down\",\"type\":\"rate_limit_exceeded\",\"code\":\"rate_limit_exceeded\"}}",
        );
    }
    if body.contains("\"breaks\"") {
        return "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9000\r\nconnection: close\r\n\r\n{\"id\":"
            .to_owned();
    }
    let streams = body.contains("\"stream\":true");
    let model = model_of(&body);
    if path.ends_with("/messages") {
        return messages(&model);
    }
    if path.ends_with("/api/chat") {
        return whole(
            "200 OK",
            "application/json",
            &format!(
                "{{\"model\":\"{model}\",\"message\":{{\"role\":\"assistant\",\"content\":\"Hi\"}},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":{INPUT_TOKENS},\"eval_count\":{OUTPUT_TOKENS}}}"
            ),
        );
    }
    if streams {
        chat_stream(&model, body.contains("\"include_usage\":true"))
    } else {
        chat(&model)
    }
}

fn model_of(body: &str) -> String {
    let name = body.split_once("\"model\":\"").map(|(_, rest)| rest);
    let name = name.and_then(|rest| rest.split('"').next());
    name.unwrap_or("gpt-4o").to_owned()
}

fn usage() -> String {
    let total = INPUT_TOKENS + OUTPUT_TOKENS;
    format!(
        "{{\"prompt_tokens\":{INPUT_TOKENS},\"completion_tokens\":{OUTPUT_TOKENS},\"total_tokens\":{total}}}"
    )
}

fn chat(model: &str) -> String {
    let usage = usage();
    whole(
        "200 OK",
        "application/json",
        &format!(
            "{{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"model\":\"{model}\",\"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"Hi\"}},\"finish_reason\":\"stop\"}}],\"usage\":{usage}}}"
        ),
    )
}

fn chat_stream(model: &str, asks_for_usage: bool) -> String {
    let head =
        format!("\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"model\":\"{model}\"");
    let mut events = vec![
        format!(
            "{{{head},\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"Hi\"}},\"finish_reason\":null}}]}}"
        ),
        format!(
            "{{{head},\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}"
        ),
    ];
    if asks_for_usage {
        let usage = usage();
        events.push(format!("{{{head},\"choices\":[],\"usage\":{usage}}}"));
    }
    events.push("[DONE]".to_owned());
    let pieces = events.iter().map(|event| format!("data: {event}\n\n"));
    chunked("text/event-stream", pieces)
}

fn messages(model: &str) -> String {
    whole(
        "200 OK",
        "application/json",
        &format!(
            "{{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"{model}\",\"content\":[{{\"type\":\"text\",\"text\":\"Hi\"}}],\"stop_reason\":\"end_turn\",\"usage\":{{\"input_tokens\":{INPUT_TOKENS},\"output_tokens\":{OUTPUT_TOKENS}}}}}"
        ),
    )
}

fn whole(status: &str, content_type: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

fn chunked(content_type: &str, pieces: impl Iterator<Item = String>) -> String {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    for piece in pieces {
        answer.push_str(&format!("{:x}\r\n{piece}\r\n", piece.len()));
    }
    answer + "0\r\n\r\n"
}
