//! LiteLLM's proxy as a subject, where it is asked for: installed once into a virtual environment of the target
//! directory, started with one model that leads to the bench's upstream.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Server;

const STARTS_WITHIN: Duration = Duration::from_secs(240);

/// Starts it; the first time that takes minutes.
pub(crate) fn start(upstream: SocketAddr) -> Server {
    let place = place();
    let program = place.join("bin/litellm");
    if !program.exists() {
        println!("installing litellm[proxy] into {}", place.display());
        run(Command::new("python3").args(["-m", "venv"]).arg(&place));
        run(Command::new(place.join("bin/pip")).args(["install", "--quiet", "litellm[proxy]"]));
    }
    let config = place.join("bench.yaml");
    let model = |name: &str| {
        format!(
            "  - model_name: {name}\n    litellm_params:\n      model: openai/{name}\n      api_base: http://{upstream}/v1\n      api_key: sk-bench\n"
        )
    };
    let text = format!("model_list:\n{}{}", model("bench-model"), model("open"));
    std::fs::write(&config, text).unwrap();
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let child = Command::new(program)
        .args([
            "--host",
            "127.0.0.1",
            "--port",
            &address.port().to_string(),
            "--config",
        ])
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let server = Server::of("litellm", address, "/v1/chat/completions", child);
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(started.elapsed() < STARTS_WITHIN, "litellm does not start");
        std::thread::sleep(Duration::from_millis(200));
    }
    server
}

fn place() -> PathBuf {
    // …/target/release/deps/proxy-HASH
    let program = std::env::current_exe().unwrap();
    let target = program
        .ancestors()
        .nth(3)
        .map_or_else(|| PathBuf::from("target"), Path::to_owned);
    target.join("bench-litellm")
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?} failed");
}
