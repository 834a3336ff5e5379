//! `callmeter serve` as a process, a client that speaks to it, and a provider that answers when the test lets it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::Place;

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The content of a prompt: it must be kept nowhere.
pub(crate) const PROMPT: &str = "marker-of-a-prompt-0815";
pub(crate) const KEY: &str = "sk-marker-of-a-key-0815";

/// An answer as a client sees it.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Sends one request to an address such as `http://127.0.0.1:1/u/openai/v1/chat/completions`.
pub(crate) fn ask(method: &str, url: &str, body: &str) -> Answer {
    let rest = url.strip_prefix("http://").unwrap();
    let (authority, path) = rest.split_at(rest.find('/').unwrap());
    let mut stream = TcpStream::connect(authority).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {authority}\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = Vec::new();
    // A connection that breaks off is an answer too.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Answer {
        status: head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0),
        body: body.to_owned(),
    }
}

pub(crate) fn chat(url: &str, model: &str, more: &Value) -> Answer {
    let mut body = json!({ "model": model, "messages": [{ "role": "user", "content": PROMPT }] });
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    ask(
        "POST",
        &format!("{url}/chat/completions"),
        &body.to_string(),
    )
}

/// The rows of a place, the oldest first.
pub(crate) fn rows(place: &Place) -> Vec<Value> {
    let output = place.run(&["calls", "--json", "--limit", "100"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let mut rows: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    // The newest come first.
    rows.reverse();
    rows
}

pub(crate) fn field<'a>(rows: &'a [Value], name: &str) -> Vec<&'a Value> {
    rows.iter().map(|row| &row[name]).collect()
}

/// A `serve` that is at work.
pub(crate) struct Serve {
    process: Child,
    id: u32,
    stderr: BufReader<ChildStderr>,
    pub(crate) stdout: BufReader<ChildStdout>,
    pub(crate) base: String,
}

impl Serve {
    /// With these settings in a file that is named.
    pub(crate) fn start(place: &Place, config: &str) -> Self {
        Self::with(place, config, &[])
    }

    /// The same, with further arguments.
    pub(crate) fn with(place: &Place, config: &str, args: &[&str]) -> Self {
        Self::of(Self::command(place, config, args))
    }

    /// The command that starts one.
    pub(crate) fn command(place: &Place, config: &str, args: &[&str]) -> Command {
        place.write("serve.toml", config);
        let mut command =
            place.command(&["--config", "serve.toml", "serve", "--listen", "127.0.0.1:0"]);
        command.args(args);
        command
    }

    /// One by a command of the test's, which becomes a `serve` itself.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut process = command
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        // What it logs before is the business of nobody here.
        let base = loop {
            let mut line = String::new();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it did not start");
            if let Some(base) = line.trim().strip_prefix("listening on ") {
                break base.to_owned();
            }
        };
        Self {
            id: process.id(),
            stdout: BufReader::new(process.stdout.take().unwrap()),
            process,
            stderr,
            base,
        }
    }

    /// One that a command of the test's starts; its process id is the first line that the command prints.
    pub(crate) fn started_by(command: Command) -> Self {
        let mut serve = Self::of(command);
        let mut line = String::new();
        serve.stdout.read_line(&mut line).unwrap();
        serve.id = line.trim().parse().unwrap();
        serve
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.base.strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// Tells it to stop.
    pub(crate) fn tell(&self) {
        let id = self.id.to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status();
        assert!(told.unwrap().success());
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// Waits until it takes no further connection.
    pub(crate) fn until_it_takes_no_more(&self) {
        let address = self.address();
        wait_until("it takes no further connection", || {
            TcpStream::connect(address).is_err()
        });
    }

    /// Its exit code and what it said since it began to listen.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        (self.process.wait().unwrap().code(), said)
    }

    /// Tells it to stop; gives its exit code and what it said.
    pub(crate) fn stop(self) -> (Option<i32>, String) {
        self.tell();
        self.ended()
    }
}

/// A test that fails leaves none behind.
impl Drop for Serve {
    fn drop(&mut self) {
        if self.is_alive() {
            let _ = Command::new("kill")
                .args(["-KILL", &self.id.to_string()])
                .status();
        }
    }
}

/// Waits for a condition.
pub(crate) fn wait_until(what: &str, is_met: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_met() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// A provider that has each request and answers the first half of a stream, and the rest when it is let go on.
pub(crate) struct HeldProvider {
    address: SocketAddr,
    arrived: Receiver<()>,
    /// Dropped, it lets every request go on.
    hold: Option<Sender<()>>,
}

impl HeldProvider {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, arrived) = channel();
        let (hold, held) = channel::<()>();
        let held = Arc::new(Mutex::new(held));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tell, held) = (tell.clone(), Arc::clone(&held));
                std::thread::spawn(move || hold_one(stream, &tell, &held));
            }
        });
        Self {
            address,
            arrived,
            hold: Some(hold),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for the next request.
    pub(crate) fn got_one(&self) {
        self.arrived.recv_timeout(PATIENCE).unwrap();
    }

    pub(crate) fn let_go(&mut self) {
        drop(self.hold.take());
    }
}

/// The halves of a stream of chat completions.
const FIRST: &str = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}]}\n\n";
const SECOND: &str = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-4o\",\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7,\"total_tokens\":18}}\n\ndata: [DONE]\n\n";

fn hold_one(mut stream: TcpStream, tell: &Sender<()>, held: &Mutex<Receiver<()>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut length = 0;
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    // Whoever is cut off by the end of a proxy is the test's own affair.
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{}",
        chunk(FIRST)
    );
    let _ = tell.send(());
    let _ = held.lock().unwrap().recv();
    let _ = write!(stream, "{}0\r\n\r\n", chunk(SECOND));
}

/// A port of this machine where nobody listens.
pub(crate) fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
