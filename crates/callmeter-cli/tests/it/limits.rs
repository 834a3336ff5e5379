//! The limit of open files: `serve` and `run` raise their own, and a child of `run` keeps the one it would have had.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use callmeter_testkit::provider::FakeProvider;
use serde_json::json;

use crate::service::{PATIENCE, Serve, ask, chat, wait_until};
use crate::support::Place;

/// The same command under other limits: `-Sn 256` or `-n 256`.
fn limited(command: &Command, limits: &str) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("ulimit {limits}; exec \"$@\""), "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(command.get_current_dir().unwrap())
        .env_clear();
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap());
    }
    shell
}

/// A connection that stays open after its answer.
fn kept_open(to: SocketAddr) -> TcpStream {
    let mut stream = begun(to);
    let mut answer = [0; 15];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    stream
}

fn begun(to: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    stream
}

#[test]
fn serve_holds_more_connections_than_the_soft_limit_of_files_that_it_was_started_with() {
    let (place, provider) = (Place::new(), FakeProvider::start().unwrap());
    let config = format!(
        "[proxy.routes.openai]\nupstreams = [\"{}\"]\n",
        provider.url()
    );
    let serve = Serve::of(limited(&Serve::command(&place, &config, &[]), "-Sn 256"));
    let open: Vec<_> = (0..300).map(|_| kept_open(serve.address())).collect();
    let url = format!("{}/v1", serve.base);
    assert_eq!(chat(&url, "gpt-4o", &json!({})).status, 200);
    drop(open);
    assert_eq!(serve.stop().0, Some(0));
}

#[test]
fn a_hard_limit_that_is_too_low_is_told_and_further_clients_wait() {
    let place = Place::new();
    let serve = Serve::of(limited(&Serve::command(&place, "", &[]), "-n 128"));
    // Room for sixteen: (128 - 96) / 2.
    let mut open: Vec<_> = (0..16).map(|_| kept_open(serve.address())).collect();
    let mut waiting = begun(serve.address());
    waiting.set_nonblocking(true).unwrap();
    let mut byte = [0; 1];
    let answered = waiting.read(&mut byte).map_err(|error| error.kind());
    assert_eq!(answered, Err(std::io::ErrorKind::WouldBlock));
    waiting.set_nonblocking(false).unwrap();
    open.pop();
    waiting.read_exact(&mut byte).unwrap();
    drop((open, waiting));
    let (code, said) = serve.stop();
    assert_eq!(code, Some(0));
    assert!(
        said.contains("files   128 may be open at once: 16 connections find room, not 4,096; further ones wait\nhint: raise the hard limit"),
        "{said}"
    );
    let doctor = limited(&place.command(&["doctor"]), "-n 128").output();
    let doctor = String::from_utf8(doctor.unwrap().stdout).unwrap();
    assert!(
        doctor.contains("files     note      of `callmeter serve` 128 may be open at once"),
        "{doctor}"
    );
}

#[test]
fn a_child_of_run_keeps_the_limits_that_it_would_have_had() {
    let place = Place::new();
    let script = "ulimit -Sn; ulimit -Hn; echo $PPID; read end";
    let mut command = place.command(&["run", "-q", "--", "sh", "-c", script]);
    command.env("PATH", std::env::var_os("PATH").unwrap());
    let mut run = limited(&command, "-Sn 200; ulimit -Hn 1000")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert_eq!((next(), next()), ("200".to_owned(), "1000".to_owned()));
    // The proxy beside it may open more.
    let limits = format!("/proc/{}/limits", next());
    wait_until("run has raised its own limit", || {
        let limits = std::fs::read_to_string(&limits).unwrap();
        let files = limits
            .lines()
            .find(|line| line.starts_with("Max open files"));
        let mut numbers = files.unwrap().split_whitespace().skip(3);
        (numbers.next(), numbers.next()) == (Some("1000"), Some("1000"))
    });
    drop(run.stdin.take());
    run.wait().unwrap();
}

#[test]
fn names_a_caller_and_time_limits_of_the_settings_are_in_force() {
    let (place, provider) = (Place::new(), FakeProvider::start().unwrap());
    let config = format!(
        "[proxy]\nhost_names = [\"callmeter.test\"]\ndefault_caller = \"shared\"\n[proxy.timeouts]\nrequest_head = \"50ms\"\n\
         [proxy.routes.openai]\nupstreams = [\"{}\"]\n",
        provider.url()
    );
    let serve = Serve::start(&place, &config);
    let status = |host: &str| {
        let mut stream = TcpStream::connect(serve.address()).unwrap();
        write!(
            stream,
            "GET /healthz HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.get(9..12).unwrap_or_default().to_owned()
    };
    assert_eq!(status("callmeter.test:2255"), "200");
    assert_eq!(status("collector.example"), "421");
    let mut slow = TcpStream::connect(serve.address()).unwrap();
    slow.write_all(b"GET /heal").unwrap();
    slow.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut rest = Vec::new();
    assert_eq!(slow.read_to_end(&mut rest).unwrap_or(0), 0, "it is left");
    let base = serve.base.clone();
    assert_eq!(
        chat(&format!("{base}/v1"), "gpt-4o", &json!({})).status,
        200
    );
    assert_eq!(ask("GET", &format!("{base}/healthz"), "").status, 200);
    assert_eq!(serve.stop().0, Some(0));
    assert_eq!(crate::service::rows(&place)[0]["caller"], "shared");
}
