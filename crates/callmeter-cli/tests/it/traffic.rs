//! `callmeter run` and `callmeter serve` with calls that pass: what clients see, what rows say, what is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use callmeter_testkit::provider::{FakeProvider, INPUT_TOKENS, OUTPUT_TOKENS};
use serde_json::{Value, json};

use crate::support::Place;

/// The content of a prompt: it must be kept nowhere.
const PROMPT: &str = "marker-of-a-prompt-0815";
const KEY: &str = "sk-marker-of-a-key-0815";

/// On a machine that is busy the store may need longer than a process waits for it.
const PATIENT: (&str, &str) = ("CALLMETER_EXIT_FLUSH", "120s");

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

/// A `run` whose child waits until the test has called in its place.
struct Run {
    process: Child,
    stdin: Option<ChildStdin>,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Run {
    fn start(place: &Place, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = place.command(&["run"]);
        command
            .args(args)
            .args(["--", "sh", "-c", "env; echo ready; read end"])
            .env("PATH", std::env::var_os("PATH").unwrap())
            .envs([PATIENT])
            .envs(variables.iter().copied());
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self {
            stdin: process.stdin.take(),
            process,
            lines,
        }
    }

    /// The child's variables.
    fn variables(&mut self) -> std::collections::BTreeMap<String, String> {
        let lines = self.lines.by_ref().map(Result::unwrap);
        let lines = lines.take_while(|line| line != "ready");
        lines
            .filter_map(|line| {
                Some(line.split_once('=')?).map(|(name, value)| (name.to_owned(), value.to_owned()))
            })
            .collect()
    }

    fn end(mut self) -> Output {
        drop(self.stdin.take());
        self.process.wait_with_output().unwrap()
    }
}

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

fn summary(place: &Place) -> Value {
    let text = std::fs::read_to_string(place.work().join("summary.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn field<'a>(rows: &'a [Value], name: &str) -> Vec<&'a Value> {
    rows.iter().map(|row| &row[name]).collect()
}

#[test]
fn calls_of_a_child_are_recorded_summed_up_and_stored() {
    let (place, provider) = (Place::new(), FakeProvider::start().unwrap());
    let (openai, anthropic) = (format!("{}/v1", provider.url()), provider.url());
    let variables = [
        ("OPENAI_BASE_URL", openai.as_str()),
        ("ANTHROPIC_BASE_URL", &anthropic),
        ("OLLAMA_HOST", &anthropic),
    ];
    let mut run = Run::start(&place, &["--summary", "summary.json"], &variables);
    let led = run.variables();
    let openai = &led["OPENAI_BASE_URL"];
    assert_eq!(chat(openai, "gpt-4o", &json!({})).status, 200);
    let stream = chat(openai, "gpt-4o", &json!({ "stream": true }));
    assert!(stream.body.contains("[DONE]"));
    assert!(
        !stream.body.contains("usage"),
        "the client did not ask for it: {}",
        stream.body
    );
    let asked = json!({ "stream": true, "stream_options": { "include_usage": true } });
    assert!(chat(openai, "gpt-4o", &asked).body.contains("\"usage\""));
    assert_eq!(chat(openai, "fails-429", &json!({})).status, 429);
    let message =
        json!({ "model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [] }).to_string();
    let messages = format!("{}/v1/messages", led["ANTHROPIC_BASE_URL"]);
    assert_eq!(ask("POST", &messages, &message).status, 200);
    let local = json!({ "model": "llama3.2", "stream": false, "messages": [] }).to_string();
    assert_eq!(
        ask("POST", &format!("{}/api/chat", led["OLLAMA_HOST"]), &local).status,
        200
    );
    let output = run.end();
    assert_eq!(
        output.status.code(),
        Some(1),
        "`read` met the end of its input"
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.starts_with("callmeter: 6 calls of sh in "), "{said}");
    assert!(
        said.contains("1 error") && said.contains("errors: rate_limit 1"),
        "{said}"
    );

    let rows = rows(&place);
    assert_eq!(
        field(&rows, "status"),
        ["ok", "ok", "ok", "error", "ok", "ok"]
            .map(Value::from)
            .iter()
            .collect::<Vec<_>>()
    );
    let providers = [
        "openai",
        "openai",
        "openai",
        "openai",
        "anthropic",
        "ollama",
    ]
    .map(Value::from);
    assert_eq!(
        field(&rows, "provider"),
        providers.iter().collect::<Vec<_>>()
    );
    for row in rows.iter().filter(|row| row["status"] == "ok") {
        assert_eq!(
            (&row["input_tokens"], &row["output_tokens"]),
            (&INPUT_TOKENS.into(), &OUTPUT_TOKENS.into())
        );
        assert_eq!(
            (&row["layer"], &row["caller"]),
            (&"proxy".into(), &"sh".into())
        );
    }
    let summary = summary(&place);
    assert_eq!(
        (&summary["calls"], &summary["error"], &summary["stored"]),
        (&6.into(), &1.into(), &true.into())
    );
    assert_eq!(summary["input_tokens"], INPUT_TOKENS * 5);
    // The same money as in the store.
    let report = place.run(&["report", "--json", "--by", "project"]);
    let report = String::from_utf8(report.stdout).unwrap();
    let cost = summary["cost_usd"].as_str().unwrap();
    assert!(
        cost != "0" && report.contains(&format!("\"cost_usd\":\"{cost}\"")),
        "{cost}: {report}"
    );
    // What the provider got is what the client sent, and nothing of it is kept.
    let mut seen = provider.seen();
    // `run` asks what listens at an address of this machine whether it is a callmeter.
    seen.retain(|seen| !seen.line.contains("/healthz"));
    assert_eq!(seen.len(), 6);
    assert!(
        seen.iter()
            .all(|seen| seen.header("authorization") == Some(&format!("Bearer {KEY}")))
    );
    assert!(seen.iter().all(|seen| {
        !seen
            .headers
            .iter()
            .any(|(name, _)| name.starts_with("x-callmeter"))
    }));
    let told = format!("{said}{summary}{rows:?}");
    assert!(!told.contains(PROMPT) && !told.contains(KEY));
}

#[test]
fn a_caller_is_named_by_flag_path_or_header() {
    let (place, provider) = (Place::new(), FakeProvider::start().unwrap());
    let openai = format!("{}/v1", provider.url());
    let mut run = Run::start(
        &place,
        &["--caller", "night_job"],
        &[("OPENAI_BASE_URL", &openai)],
    );
    let led = run.variables();
    chat(&led["OPENAI_BASE_URL"], "gpt-4o", &json!({}));
    let base = &led["CALLMETER_RUN_URL"];
    chat(
        &format!("{base}/as/other/u/openai_base_url/v1"),
        "gpt-4o",
        &json!({}),
    );
    run.end();
    assert_eq!(
        field(&rows(&place), "caller"),
        [&json!("night_job"), &json!("other")]
    );
}

/// A `serve` that is at work.
pub(crate) struct Serve {
    process: Child,
    stderr: BufReader<std::process::ChildStderr>,
    pub(crate) base: String,
}

impl Serve {
    pub(crate) fn start(place: &Place, config: &str) -> Self {
        place.write("serve.toml", config);
        let mut command =
            place.command(&["--config", "serve.toml", "serve", "--listen", "127.0.0.1:0"]);
        let mut process = command
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let base = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap_or_else(|| panic!("{line}"))
            .to_owned();
        Self {
            process,
            stderr,
            base,
        }
    }

    /// Tells it to stop; gives its exit code and what it said.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        let id = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        (self.process.wait().unwrap().code(), said)
    }
}

/// A port of this machine where nobody listens.
pub(crate) fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn serve_passes_calls_on_by_its_routes_tells_figures_and_ends_with_everything_stored() {
    let (place, provider) = (Place::new(), FakeProvider::start().unwrap());
    let url = provider.url();
    let serve = Serve::start(
        &place,
        &format!(
            "[providers.gpu]\nkind = \"ollama\"\n[proxy.routes.gpu]\nupstreams = [\n  {{ url = \"http://127.0.0.1:{}\" }},\n  \
             {{ url = \"{url}\", model = \"llama3.2:small\" }},\n]\n[proxy.routes.openai]\nupstreams = [{{ url = \"{url}\" }}]\n",
            closed_port()
        ),
    );
    let base = serve.base.clone();
    assert_eq!(ask("GET", &format!("{base}/healthz"), "").status, 200);
    let body = json!({ "model": "llama3.2:big", "stream": false, "messages": [] }).to_string();
    let answer = ask("POST", &format!("{base}/u/gpu/api/chat"), &body);
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("llama3.2:small"));
    assert_eq!(
        chat(&format!("{base}/v1"), "gpt-4o", &json!({})).status,
        200
    );
    let metrics = ask("GET", &format!("{base}/metrics"), "").body;
    for sample in [
        "callmeter_calls_total{provider=\"openai\",model=\"gpt-4o\",operation=\"chat\",billing=\"metered\",status=\"ok\"} 1",
        "callmeter_tokens_total{provider=\"openai\",model=\"gpt-4o\",operation=\"chat\",billing=\"metered\",type=\"input\"} 1200",
        "status=\"fallback\"} 1",
        "gen_ai_client_operation_duration_seconds_count",
        "callmeter_proxy_added_seconds_count 2",
        "callmeter_recording 1",
    ] {
        assert!(metrics.contains(sample), "{sample}\n{metrics}");
    }
    let (code, said) = serve.stop();
    assert_eq!(code, Some(0), "{said}");
    let rows = rows(&place);
    let statuses = ["fallback", "ok", "ok"].map(Value::from);
    assert_eq!(field(&rows, "status"), statuses.iter().collect::<Vec<_>>());
    assert_eq!(rows[0]["error_kind"], "network");
    assert_eq!(rows[0]["provider"], "gpu");
    assert_eq!(
        (&rows[1]["chain_id"], &rows[1]["attempt"]),
        (&rows[0]["call_id"], &2.into())
    );
    assert_eq!(rows[1]["model"], "llama3.2:small");
}

#[test]
fn serve_ships_what_other_processes_of_the_home_left() {
    let place = Place::new();
    crate::ship::spool(&place, 5);
    let serve = Serve::start(&place, "");
    while crate::ship::stored(&place) < 5 {
        std::thread::yield_now();
    }
    assert_eq!(serve.stop().0, Some(0));
}

#[test]
fn serve_listens_on_this_machine_only() {
    let place = Place::new();
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let output = place.run(&["serve", "--listen", listen]);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("is not a loopback address"), "{said}");
    }
}

#[test]
fn a_second_serve_says_that_the_port_is_taken() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = place.run(&["serve", "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("hint: another `callmeter serve` may be at work"),
        "{said}"
    );
}

#[test]
fn a_run_in_front_of_serve_leaves_the_row_to_it() {
    let (place, provider) = (Place::new(), FakeProvider::start().unwrap());
    let serve = Serve::start(
        &place,
        &format!(
            "[proxy.routes.openai]\nupstreams = [\"{}\"]\n",
            provider.url()
        ),
    );
    let variable = format!("{}/v1", serve.base);
    let mut run = Run::start(&place, &[], &[("OPENAI_BASE_URL", &variable)]);
    let led = run.variables();
    assert_eq!(led["OPENAI_BASE_URL"], variable);
    chat(&led["OPENAI_BASE_URL"], "gpt-4o", &json!({}));
    let said = String::from_utf8_lossy(&run.end().stderr).into_owned();
    assert!(
        said.contains("OPENAI_BASE_URL: leads to a callmeter"),
        "{said}"
    );
    assert_eq!(serve.stop().0, Some(0));
    assert_eq!(rows(&place).len(), 1);
}

#[test]
fn a_forward_proxy_reads_plain_http_and_counts_what_it_cannot_read() {
    let (place, provider) = (Place::new(), FakeProvider::start().unwrap());
    // Behind a proxy of the user's that is not there: no connection leaves this machine.
    let nowhere = format!("http://127.0.0.1:{}", closed_port());
    let args = ["--http-proxy", "--summary", "summary.json"];
    let mut run = Run::start(&place, &args, &[("HTTPS_PROXY", &nowhere)]);
    let led = run.variables();
    let proxy = &led["http_proxy"];
    assert_eq!(
        (proxy, proxy),
        (&led["HTTPS_PROXY"], &led["CALLMETER_RUN_URL"])
    );
    let authority = proxy.strip_prefix("http://").unwrap();
    let tunnel = || {
        let mut stream = TcpStream::connect(authority).unwrap();
        stream
            .write_all(b"CONNECT api.mistral.ai:443 HTTP/1.1\r\nhost: api.mistral.ai:443\r\n\r\n")
            .unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    assert!(tunnel().starts_with("HTTP/1.1 50"));
    tunnel();
    let output = run.end();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("not readable: 2 connections to api.mistral.ai (set server_url="),
        "{said}"
    );
    assert_eq!(summary(&place)["not_readable"][0]["connections"], 2);

    let mut run = Run::start(&place, &["--http-proxy"], &[]);
    let led = run.variables();
    let authority = led["http_proxy"]
        .strip_prefix("http://")
        .unwrap()
        .to_owned();
    let host = provider.url();
    let body = json!({ "model": "llama3.2", "stream": false, "messages": [] }).to_string();
    let mut stream = TcpStream::connect(authority).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {host}/api/chat HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}",
        host.strip_prefix("http://").unwrap()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    run.end();
    let rows = rows(&place);
    assert_eq!((rows.len(), &rows[0]["provider"]), (1, &json!("ollama")));
    assert_eq!(rows[0]["input_tokens"], INPUT_TOKENS);
}

/// The variable by which this binary is told to be a child with guards.
const GUARDED: &str = "CALLMETER_TEST_GUARDED_CHILD";

/// As a child of `run`: calls the provider within a guard, and another one's within a guard that the proxy does not see.
/// By itself it has nothing to do.
#[test]
fn a_child_that_guards_its_calls() {
    let Ok(url) = std::env::var(GUARDED) else {
        return;
    };
    let callmeter = callmeter::builder().init().unwrap();
    for (provider, model) in [("openai", "gpt-4o"), ("mistral", "mistral-large-2411")] {
        let mut call = callmeter::call("guarded", provider, model);
        if provider == "openai" {
            let answer = chat(&url, "gpt-4o", &json!({}));
            assert_eq!(answer.status, 200);
        }
        call.tokens(INPUT_TOKENS, OUTPUT_TOKENS);
        call.finish();
    }
    assert!(
        callmeter
            .flush(std::time::Duration::from_secs(30))
            .is_complete()
    );
}

#[test]
fn a_guard_around_a_call_that_passes_leaves_the_money_to_the_proxy_s_row() {
    let (place, provider) = (Place::new(), FakeProvider::start().unwrap());
    let openai = format!("{}/v1", provider.url());
    let binary = std::env::current_exe().unwrap();
    let script = format!(
        "{GUARDED}=$OPENAI_BASE_URL exec \"$0\" --exact traffic::a_child_that_guards_its_calls"
    );
    let mut command = place.command(&["run", "--", "sh", "-c", &script]);
    let output = command
        .arg(binary)
        .envs([PATIENT, ("OPENAI_BASE_URL", &openai)])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let mut rows = rows(&place);
    rows.sort_by_key(|row| (row["layer"].to_string(), row["provider"].to_string()));
    let layers = ["guard", "guard", "proxy"].map(Value::from);
    assert_eq!(field(&rows, "layer"), layers.iter().collect::<Vec<_>>());
    // The other provider was not led through the proxy: its guard has its price, and may be a double.
    let price = rows[0]["cost_usd"].as_str().unwrap();
    assert_eq!(rows[0]["provider"], "mistral");
    assert_eq!(
        (&rows[1]["cost_usd"], &rows[1]["unpriced_reason"]),
        (&Value::Null, &json!("counted_elsewhere"))
    );
    assert!(rows[2]["cost_usd"].is_string(), "{}", rows[2]);
    let report = place.run(&["report", "--json"]);
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(
        report["possible_doubles"],
        json!({ "calls": 1, "cost_usd": price })
    );
    for command in ["report", "doctor"] {
        let output = place.run(&[command]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("possible doubles: 1 call, $"), "{said}");
    }
}

#[test]
fn the_same_in_a_table_ai_calls_is_one_row_of_the_call() {
    let database = callmeter_testkit::postgres::PostgresServer::shared().database();
    database.psql(crate::ai_calls::TABLE);
    let (place, provider) = (Place::new(), FakeProvider::start().unwrap());
    let store = database.url();
    place.configure(&format!(
        "[store]\nurl = \"{store}\"\nlayout = \"ai_calls\"\n[prices]\nbook = \"market\"\n"
    ));
    assert!(place.run(&["migrate"]).status.success());
    let openai = format!("{}/v1", provider.url());
    let script = format!(
        "{GUARDED}=$OPENAI_BASE_URL exec \"$0\" --exact traffic::a_child_that_guards_its_calls"
    );
    let mut command = place.command(&["run", "--", "sh", "-c", &script]);
    let output = command
        .arg(std::env::current_exe().unwrap())
        .envs([PATIENT, ("OPENAI_BASE_URL", &openai)])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shipped = place.run(&["ship", "--once"]);
    assert!(shipped.status.success(), "{shipped:?}");
    // The call that passed, and the guard of another provider, which did not.
    assert_eq!(
        database.psql("SELECT provider, count(*), sum(input_tokens), sum(output_tokens), sum(cost_usd) > 0 FROM ai_calls GROUP BY 1 ORDER BY 1"),
        format!("mistral|1|{INPUT_TOKENS}|{OUTPUT_TOKENS}|t\nopenai|1|{INPUT_TOKENS}|{OUTPUT_TOKENS}|t")
    );
}

#[test]
fn calls_pass_while_recording_is_off_and_the_summary_says_so() {
    let (place, provider) = (Place::new(), FakeProvider::start().unwrap());
    let openai = format!("{}/v1", provider.url());
    let variables = [
        ("OPENAI_BASE_URL", openai.as_str()),
        ("AI_CALL_LOGGING_ENABLED", "false"),
    ];
    let mut run = Run::start(&place, &[], &variables);
    let led = run.variables();
    assert_eq!(
        chat(&led["OPENAI_BASE_URL"], "gpt-4o", &json!({})).status,
        200
    );
    let said = String::from_utf8_lossy(&run.end().stderr).into_owned();
    assert!(said.contains("not stored: recording is off"), "{said}");
    assert_eq!(rows(&place).len(), 0);
}

#[test]
fn calls_pass_while_the_store_is_down_and_are_stored_by_whoever_comes_later() {
    let (place, provider) = (Place::new(), FakeProvider::start().unwrap());
    let openai = format!("{}/v1", provider.url());
    std::fs::write(place.path().join("down.sqlite"), "no store at all").unwrap();
    let store = format!("sqlite:{}", place.path().join("down.sqlite").display());
    let variables = [
        ("OPENAI_BASE_URL", openai.as_str()),
        ("CALLMETER_STORE_URL", &store),
        ("CALLMETER_EXIT_FLUSH", "100ms"),
    ];
    let mut run = Run::start(&place, &[], &variables);
    let led = run.variables();
    assert_eq!(
        chat(&led["OPENAI_BASE_URL"], "gpt-4o", &json!({})).status,
        200
    );
    let said = String::from_utf8_lossy(&run.end().stderr).into_owned();
    assert!(
        said.contains("not stored: the store has not answered yet"),
        "{said}"
    );
    std::fs::remove_file(place.path().join("down.sqlite")).unwrap();
    let shipped = place.run(&["--store", &store, "ship", "--once"]);
    assert_eq!(String::from_utf8_lossy(&shipped.stdout), "shipped 1 call\n");
}
