//! LiteLLM's proxy as a subject, where it is asked for: installed once into a virtual environment of the target
//! directory, started with a model that leads to the bench's upstream and as many workers as there are cores, which is
//! what its documentation advises. It has no database and logs nothing: what it does without is to its advantage.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Server;
use crate::load::Figures;

const PACKAGE: &str = "litellm[proxy]==1.106.2";
const STARTS_WITHIN: Duration = Duration::from_secs(240);

/// Starts it; the first time that takes minutes.
pub(crate) fn start(upstream: SocketAddr) -> Server {
    let place = place();
    let program = place.join("bin/litellm");
    if !program.exists() {
        println!("installing litellm[proxy] into {}", place.display());
        run(Command::new("python3").args(["-m", "venv"]).arg(&place));
        run(Command::new(place.join("bin/pip")).args(["install", "--quiet", PACKAGE]));
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
    let log = place.join("bench.log");
    let workers = std::thread::available_parallelism().unwrap().to_string();
    let child = Command::new(program)
        .args(["--host", "127.0.0.1", "--port"])
        .args([&address.port().to_string(), "--num_workers", &workers])
        .arg("--config")
        .arg(&config)
        // Its list of prices is one that it fetches, unless it is told to take the one that it has.
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        // It does not start without a key of its own, and checking one would cost it time.
        .env(
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY",
            "true",
        )
        .env("LITELLM_LOG", "ERROR")
        .stdout(File::create(&log).unwrap())
        .stderr(File::options().append(true).open(&log).unwrap())
        .spawn()
        .unwrap();
    let server = Server::of("litellm", address, "/v1/chat/completions", child);
    let started = Instant::now();
    while !answers(address) {
        let log = log.display();
        assert!(
            started.elapsed() < STARTS_WITHIN,
            "litellm does not start; see {log}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    server
}

/// Whether it says that it lives.
fn answers(address: SocketAddr) -> bool {
    let asked = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(STARTS_WITHIN))?;
        stream.write_all(
            b"GET /health/liveliness HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    asked().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// What it answers a second and what it adds to the upstream's own time, against the proxy's.
pub(crate) fn compare(connections: usize, found: &[(&'static str, Figures)]) {
    let of = |name: &str| found.iter().find(|(known, _)| *known == name);
    let (Some((_, upstream)), Some((_, ours)), Some((_, theirs))) =
        (of("upstream"), of("callmeter"), of("litellm"))
    else {
        return;
    };
    let added = |figures: &Figures| figures.p50 - upstream.p50;
    println!(
        "{connections:>5}  callmeter answers {:.0} × the requests/s of litellm, and adds {:.0} µs at p50 where it adds {:.0}: 1/{:.0}",
        ours.per_second / theirs.per_second,
        added(ours),
        added(theirs),
        added(theirs) / added(ours),
    );
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
