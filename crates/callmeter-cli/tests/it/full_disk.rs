//! A disk of the home that is full while traffic passes `callmeter serve`: it flows all the same, what the store takes reaches
//! it, and what nobody can keep is counted.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use callmeter_testkit::container::Container;
use callmeter_testkit::provider::FakeProvider;

use crate::service::{PATIENCE, Serve, ask, wait_until};
use crate::support::Place;

/// Makes `serve`, in a container with this disk, and lets `doctor` look at the home when it has ended.
fn serve(place: &Place, provider: &FakeProvider, store: &str, disk: &Container) -> Serve {
    let config = format!(
        "[proxy.routes.openai]\nupstreams = [\"{}\"]\n",
        provider.url()
    );
    let serve = Serve::command(place, &config, &["--store", store, "--drain", "5s"]);
    let script = "\"$@\" & echo $!; wait $!; echo exit $?; exec \"$1\" doctor";
    let mut command = disk.command("sh".as_ref());
    command
        .args(["-c", script, "sh"])
        .arg(serve.get_program())
        .args(serve.get_args())
        .current_dir(place.work())
        .env_clear();
    with_variables(&mut command, &serve);
    Serve::started_by(command)
}

fn with_variables(command: &mut Command, of: &Command) {
    for (name, value) in of.get_envs() {
        command.env(name, value.unwrap());
    }
    command.env("PATH", std::env::var_os("PATH").unwrap());
}

/// So many calls, one after the other, each answered as it should be.
fn calls(to: SocketAddr, count: u64) {
    let body = "{\"model\":\"gpt-4o\",\"messages\":[]}";
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    for _ in 0..count {
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let length = head.to_ascii_lowercase();
        let length = length.split("content-length: ").nth(1).unwrap();
        let length = length.split("\r\n").next().unwrap().parse().unwrap();
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer).unwrap();
    }
}

/// What `/metrics` says of the calls of the process in a place.
fn in_process(serve: &Serve, place: &str) -> u64 {
    let metrics = ask("GET", &format!("{}/metrics", serve.base), "").body;
    let sample = format!("callmeter_process_calls{{place=\"{place}\"");
    let samples = metrics
        .lines()
        .filter_map(|line| line.strip_prefix(&sample));
    let values = samples.map(|rest| rest.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
    values.sum()
}

#[test]
fn rows_reach_the_store_past_a_disk_that_is_full() {
    let (place, provider) = (Place::new(), FakeProvider::start().unwrap());
    std::fs::create_dir(place.home()).unwrap();
    let store = format!("sqlite:{}", place.path().join("store.sqlite").display());
    let disk = Container::new().tmpfs(&place.home(), 1 << 20);
    let disk = disk
        .fill(&place.home())
        .step(&format!("chmod 700 '{}'", place.home().display()));
    let mut serve = serve(&place, &provider, &store, &disk);
    calls(serve.address(), 40);
    serve.tell();
    let mut told = String::new();
    serve.stdout.read_to_string(&mut told).unwrap();
    assert!(told.starts_with("exit 0\n"), "{told}");
    let output = place.run(&["--store", &store, "calls", "--json", "--limit", "100"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 40);
}

#[test]
fn traffic_flows_while_neither_disk_nor_store_take_a_row_and_what_is_lost_is_counted() {
    const CALLS: u64 = 600;
    let (place, provider) = (Place::new(), FakeProvider::start().unwrap());
    std::fs::create_dir(place.home()).unwrap();
    let down = place.path().join("down.sqlite");
    std::fs::write(&down, "no store at all").unwrap();
    let store = format!("sqlite:{}", down.display());
    let disk = Container::new()
        .tmpfs(&place.home(), 640 << 10)
        .step(&format!("chmod 700 '{}'", place.home().display()));
    let mut serve = serve(&place, &provider, &store, &disk);
    calls(serve.address(), CALLS);
    wait_until("every call is on the disk or in memory", || {
        in_process(&serve, "spooled") == CALLS
    });
    serve.tell();
    let mut told = String::new();
    serve.stdout.read_to_string(&mut told).unwrap();
    let (_, said) = serve.ended();
    // One episode, told once.
    assert_eq!(
        said.matches("the spool takes no calls").count(),
        1,
        "{said}"
    );
    assert!(
        said.contains("neither the disk nor the store took them")
            && said.contains("reason=disk_full"),
        "{said}"
    );
    assert!(told.starts_with("exit 3\n"), "{told}");
    assert!(
        told.contains(
            "calls: disk_full\n                     hint: make room on the disk of the home"
        ),
        "{told}"
    );
    // Each is on the disk or counted.
    let complete = told.lines().find(|line| line.starts_with("complete "));
    let complete = complete.unwrap();
    assert!(
        complete.contains("ok") && complete.contains("600 made = 0 stored + "),
        "{complete}"
    );
}
