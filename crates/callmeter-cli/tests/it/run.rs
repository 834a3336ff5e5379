//! `callmeter run`: the child is as without it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};

use callmeter_testkit::markers::SECRET;
use serde_json::Value;

use crate::support::Place;

/// A secret-looking argument: it must be told nowhere.
const PROMPT: &str = "tell-me-a-story-about-marker-4711";

fn run(place: &Place, command: &[&str]) -> Command {
    let mut run = place.command(&["run", "--"]);
    run.args(command)
        .env("PATH", std::env::var_os("PATH").unwrap());
    run
}

fn output(place: &Place, command: &[&str]) -> Output {
    run(place, command).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    let status = Command::new("kill").args([name, &id]).status().unwrap();
    assert!(status.success());
}

#[test]
fn the_exit_status_is_the_child_s() {
    let place = Place::new();
    for (script, code) in [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -TERM $$", 128 + 15),
        ("kill -KILL $$", 128 + 9),
    ] {
        assert_eq!(
            output(&place, &["sh", "-c", script]).status.code(),
            Some(code),
            "{script}"
        );
    }
}

#[test]
fn a_command_that_cannot_be_started_is_told_as_shells_tell_it() {
    let place = Place::new();
    let missing = output(&place, &["no-such-command-anywhere"]);
    assert_eq!(missing.status.code(), Some(127));
    let said = text(&missing.stderr);
    assert!(
        said.starts_with("error: cannot start no-such-command-anywhere: "),
        "{said}"
    );
    place.write("plain", "no program");
    assert_eq!(output(&place, &["./plain"]).status.code(), Some(126));
}

#[test]
fn standard_input_and_output_pass_byte_for_byte() {
    let place = Place::new();
    let bytes: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    let mut child = run(&place, &["cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            stdin.write_all(&bytes).unwrap();
            drop(stdin);
        });
        child.wait_with_output().unwrap()
    });
    assert!(output.stdout == bytes);
}

/// What `env` prints, sorted.
fn environment(output: &Output) -> BTreeMap<String, String> {
    let lines = text(&output.stdout);
    let pairs = lines.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn the_child_s_environment_leads_to_the_proxy_and_is_otherwise_the_same() {
    let place = Place::new();
    let mine = [
        ("OPENAI_API_KEY", "sk-mine"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:9/team/v1"),
        ("ANTHROPIC_AUTH_TOKEN", "token"),
        ("HTTPS_PROXY", "http://corp:3128"),
    ];
    let output = run(&place, &["env"]).envs(mine).output().unwrap();
    let child = environment(&output);
    let base = &child["CALLMETER_RUN_URL"];
    assert!(base.starts_with("http://127.0.0.1:"), "{base}");
    assert_eq!(
        child["OPENAI_BASE_URL"],
        format!("{base}/u/openai_base_url/team/v1")
    );
    assert_eq!(child["ANTHROPIC_BASE_URL"], format!("{base}/u/anthropic"));
    assert_eq!(child["OLLAMA_HOST"], format!("{base}/u/ollama"));
    for name in ["OPENAI_API_KEY", "ANTHROPIC_AUTH_TOKEN", "HTTPS_PROXY"] {
        let (_, value) = mine.iter().find(|(known, _)| *known == name).unwrap();
        assert_eq!(child[name], *value);
    }
    // Beyond these there is nothing new.
    let led = [
        "_BASE_URL",
        "_API_BASE",
        "_API_URL",
        "OLLAMA_HOST",
        "CALLMETER_RUN",
    ];
    let known = [
        "HOME",
        "PATH",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
        "CALLMETER_HOME",
        "LANG",
    ];
    for name in child.keys() {
        let is_mine = mine.iter().any(|(known, _)| known == name);
        let is_led = led.iter().any(|part| name.contains(part));
        assert!(
            is_mine || is_led || known.contains(&name.as_str()),
            "{name}"
        );
    }
}

#[test]
fn a_signal_that_is_sent_to_run_alone_reaches_the_child_once() {
    let place = Place::new();
    let script = "trap 'kill $!; echo got; exit 7' TERM; trap 'kill $!; echo int' INT; echo ready; \
                  while :; do sleep 1000 >/dev/null & wait $!; done";
    for (name, said, code) in [("-TERM", "got", 7), ("-INT", "int", 7)] {
        let mut child = run(&place, &["sh", "-c", script])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        signal(&child, name);
        assert_eq!(lines.next().unwrap().unwrap(), said);
        if name == "-INT" {
            // It goes on, as it would by itself.
            signal(&child, "-TERM");
            assert_eq!(lines.next().unwrap().unwrap(), "got");
        }
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert!(lines.next().is_none());
    }
}

#[test]
fn one_ctrl_c_at_a_terminal_is_one_for_the_child() {
    let place = Place::new();
    let script = "n=0; trap 'n=$((n+1)); echo int $n' INT; trap 'kill $!; exit $n' QUIT; echo ready; \
                  while :; do sleep 1000 >/dev/null & wait $!; done";
    let callmeter = env!("CARGO_BIN_EXE_callmeter");
    place.write("child.sh", script);
    let mut terminal = place.command(&[]);
    terminal = {
        let mut script = Command::new("script");
        script
            .args([
                "-qec",
                &format!("exec {callmeter} run -- sh child.sh"),
                "/dev/null",
            ])
            .current_dir(place.work())
            .env_clear()
            .envs(
                terminal
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .env("PATH", std::env::var_os("PATH").unwrap());
        script
    };
    let mut shell = terminal
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keys = shell.stdin.take().unwrap();
    let mut screen = BufReader::new(shell.stdout.take().unwrap());
    let mut await_line = |wanted: &str| {
        let mut line = String::new();
        while !line.trim_end().ends_with(wanted) {
            line.clear();
            assert_ne!(
                screen.read_line(&mut line).unwrap(),
                0,
                "the terminal closed before '{wanted}'"
            );
        }
    };
    await_line("ready");
    keys.write_all(b"\x03").unwrap();
    await_line("int 1");
    keys.write_all(b"\x03").unwrap();
    await_line("int 2");
    keys.write_all(b"\x1c").unwrap();
    drop(keys);
    assert_eq!(
        shell.wait().unwrap().code(),
        Some(2),
        "the child's own exit status, two interrupts"
    );
}

#[test]
fn what_was_ignored_stays_ignored_for_the_child() {
    let place = Place::new();
    let callmeter = env!("CARGO_BIN_EXE_callmeter");
    let ignored = |launch: &str| {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", launch])
            .current_dir(place.work())
            .env("CALLMETER_HOME", place.home());
        let output = shell.output().unwrap();
        let mask = text(&output.stdout);
        let mask = mask
            .trim()
            .strip_prefix("SigIgn:")
            .unwrap_or_default()
            .trim()
            .to_owned();
        u64::from_str_radix(&mask, 16).unwrap_or_else(|_| panic!("{output:?}")) & 0b1111
    };
    let child = "grep SigIgn /proc/self/status";
    for trap in ["trap '' HUP;", "trap '' HUP INT;", ""] {
        let without = ignored(&format!("{trap} {child}; true"));
        let with = ignored(&format!("{trap} {callmeter} run -q -- {child}; true"));
        assert_eq!(with, without, "{trap}");
    }
}

#[test]
fn a_run_within_another_leaves_the_calls_to_the_outer_one() {
    let place = Place::new();
    let callmeter = env!("CARGO_BIN_EXE_callmeter");
    let child = environment(&output(
        &place,
        &[callmeter, "run", "--caller", "night job", "--", "env"],
    ));
    let base = &child["CALLMETER_RUN_URL"];
    assert_eq!(
        child["OPENAI_BASE_URL"],
        format!("{base}/as/night%20job/u/openai/v1")
    );
    assert_eq!(
        child["GEMINI_API_BASE"],
        format!("{base}/as/night%20job/u/gemini/v1beta")
    );
}

#[test]
fn variables_that_an_ended_run_left_behind_lead_nowhere_and_are_led_anew() {
    let place = Place::new();
    let gone = "http://127.0.0.1:9";
    let mut command = run(&place, &["env"]);
    command
        .env("CALLMETER_RUN_URL", gone)
        .env("OPENAI_BASE_URL", format!("{gone}/u/openai/v1"))
        .env("HTTPS_PROXY", gone);
    let child = environment(&command.output().unwrap());
    assert_ne!(child["CALLMETER_RUN_URL"], gone);
    assert_eq!(
        child["OPENAI_BASE_URL"],
        format!("{}/u/openai/v1", child["CALLMETER_RUN_URL"])
    );
    assert!(!child.contains_key("HTTPS_PROXY"));
}

#[test]
fn a_variable_of_a_dotenv_file_is_left_to_the_program_and_that_is_told() {
    let place = Place::new();
    place.write(
        ".env",
        "OPENAI_BASE_URL=https://gateway.example/v1\nOPENAI_API_KEY=sk-marker-4711\n",
    );
    let output = output(&place, &["env"]);
    let child = environment(&output);
    assert!(!child.contains_key("OPENAI_BASE_URL") && child.contains_key("ANTHROPIC_BASE_URL"));
    let said = text(&output.stderr);
    assert!(
        said.contains("left alone: OPENAI_BASE_URL, OPENAI_API_BASE: not set, because it"),
        "{said}"
    );
    assert!(!said.contains("gateway.example") && !said.contains("sk-marker"));
}

#[test]
fn where_calls_cannot_be_recorded_the_command_runs_all_the_same() {
    let place = Place::new();
    std::fs::write(place.path().join("home"), "no directory").unwrap();
    let output = output(&place, &["sh", "-c", "echo works; exit 5"]);
    assert_eq!(
        (text(&output.stdout).as_str(), output.status.code()),
        ("works\n", Some(5))
    );
}

#[test]
fn a_summary_is_told_without_the_command_s_arguments() {
    let place = Place::new();
    let mut command = place.command(&["run", "--summary", "summary.json", "--", "sh", "-c"]);
    command.arg(format!("echo {PROMPT}"));
    let output = command
        .env("PATH", std::env::var_os("PATH").unwrap())
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), format!("{PROMPT}\n"));
    let said = text(&output.stderr);
    assert!(
        said.starts_with("callmeter: no calls recorded of sh in "),
        "{said}"
    );
    assert!(said.contains("hint: if it called a model"), "{said}");
    let summary = std::fs::read_to_string(place.work().join("summary.json")).unwrap();
    assert!(!said.contains(PROMPT) && !summary.contains(PROMPT));
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["calls"], 0);
    assert_eq!(
        (&summary["command"], &summary["exit_code"]),
        (&"sh".into(), &0.into())
    );
}

#[test]
fn quiet_tells_nothing_and_json_tells_an_object() {
    let place = Place::new();
    let quiet = run(&place, &["true"]).arg("ignored").output().unwrap();
    assert!(!quiet.stderr.is_empty());
    let mut command = place.command(&["run", "-q", "--", "true"]);
    let quiet = command
        .env("PATH", std::env::var_os("PATH").unwrap())
        .output()
        .unwrap();
    assert_eq!(text(&quiet.stderr), "");
    let mut command = place.command(&["--json", "run", "--", "true"]);
    let json = command
        .env("PATH", std::env::var_os("PATH").unwrap())
        .output()
        .unwrap();
    let object: Value = serde_json::from_slice(&json.stderr).unwrap();
    assert_eq!(object["v"], 1);
}

#[test]
fn a_cloned_repository_s_file_stops_it_before_the_command_starts() {
    let place = Place::new();
    place.write(
        "callmeter.toml",
        "[proxy.routes.openai]\nupstreams = [{ url = \"https://collector.example\" }]\n",
    );
    for command in [
        &["run", "--", "touch", "started"][..],
        &["serve"],
        &["config", "check"],
    ] {
        let output = place.run(command);
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let said = text(&output.stderr);
        assert!(said.contains("in: callmeter.toml:2"), "{said}");
        assert!(
            said.contains("hint: if you trust it, name it: --config callmeter.toml"),
            "{said}"
        );
    }
    assert!(!place.work().join("started").exists());
    // A host application records all the same.
    let doctor = text(&place.run(&["doctor"]).stdout);
    assert!(
        doctor.contains("hint: processes record all the same"),
        "{doctor}"
    );
    let named = place.run(&["--config", "callmeter.toml", "config", "check"]);
    assert_eq!(named.status.code(), Some(0), "{named:?}");
}

/// A server of PostgreSQL's protocol that asks everyone for a password in clear text; what came is in the channel when
/// the connection ends.
fn curious_server() -> (std::net::SocketAddr, std::sync::mpsc::Receiver<Vec<u8>>) {
    use std::io::Read;
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let (heard, all) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for connection in server.incoming() {
            let mut connection = connection.unwrap();
            let mut bytes = vec![0; 4_096];
            let read = connection.read(&mut bytes).unwrap();
            bytes.truncate(read);
            // AuthenticationCleartextPassword.
            connection.write_all(b"R\0\0\0\x08\0\0\0\x03").unwrap();
            let _ = connection.read_to_end(&mut bytes);
            let _ = heard.send(bytes);
        }
    });
    (address, all)
}

#[test]
fn a_server_that_a_cloned_repository_s_file_names_gets_no_password_and_no_call_of_a_run() {
    let place = Place::new().with_calls();
    let (address, heard) = curious_server();
    let text = format!("[store]\nurl = \"postgres://x@{address}/db?sslmode=disable\"\n");
    place.write("callmeter.toml", &text);
    let passfile = place.path().join(".pgpass");
    std::fs::write(&passfile, format!("*:*:*:*:{SECRET}\n")).unwrap();
    std::fs::set_permissions(
        &passfile,
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let seen = |args: &[&str]| {
        let mut command = place.command(args);
        command.env("PATH", std::env::var_os("PATH").unwrap());
        let output = command.env("PGPASSWORD", SECRET).output().unwrap();
        let said = text_of_both(&output);
        assert!(!said.contains(SECRET), "{args:?} {said}");
        (output.status.code(), said)
    };
    for args in [&["report"][..], &["calls"], &["migrate"]] {
        let (code, said) = seen(args);
        assert_eq!(code, Some(1), "{args:?} {said}");
        assert!(
            said.contains("PGHOST must name its host too"),
            "{args:?} {said}"
        );
        let bytes = heard.recv().unwrap();
        let secret = SECRET.as_bytes();
        let is_told = bytes.windows(secret.len()).any(|part| part == secret);
        assert!(!is_told, "{args:?}");
    }
    let (code, said) = seen(&["run", "--", "touch", "started"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("a callmeter.toml that was merely found"),
        "{said}"
    );
    assert!(!place.work().join("started").exists());
    assert!(heard.try_recv().is_err(), "nobody spoke to it");
    // Once somebody has named the file, it is meant.
    let named = ["--config", "callmeter.toml", "report"];
    let (code, _) = seen(&named);
    assert_eq!(code, Some(1));
    let bytes = heard.recv().unwrap();
    let secret = SECRET.as_bytes();
    assert!(bytes.windows(secret.len()).any(|part| part == secret));
}

fn text_of_both(output: &std::process::Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

/// A program `codex` that prints its arguments.
fn codex(place: &Place) -> String {
    let path = place.work().join("codex");
    std::fs::write(
        &path,
        "#!/bin/sh\nfor arg in \"$@\"; do echo \"$arg\"; done\n",
    )
    .unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn codex_gets_flags_only_where_it_is_signed_in_with_a_key() {
    let place = Place::new();
    let codex = codex(&place);
    let run_codex = |auth: &str| {
        std::fs::write(place.work().join("auth.json"), auth).unwrap();
        let mut command = run(&place, &[&codex, "exec", "hi"]);
        command.env("CODEX_HOME", place.work()).output().unwrap()
    };
    let with_key = run_codex("{\"OPENAI_API_KEY\":\"sk-secret-4711\",\"tokens\":null}");
    let args = text(&with_key.stdout);
    assert!(
        args.starts_with("-c\nmodel_provider=\"callmeter\"\n-c\nmodel_providers.callmeter={"),
        "{args}"
    );
    assert!(args.ends_with("\nexec\nhi\n"), "{args}");
    let all = format!("{args}{}", text(&with_key.stderr));
    assert!(!all.contains("sk-secret-4711"));
    let signed_in = run_codex("{\"OPENAI_API_KEY\":null,\"tokens\":{\"access_token\":\"x\"}}");
    assert_eq!(text(&signed_in.stdout), "exec\nhi\n");
    assert!(
        text(&signed_in.stderr).contains("left alone: codex: it is not signed in with an API key")
    );
}

#[test]
fn marks_of_a_run_are_gone_when_it_ends() {
    let place = Place::new();
    let output = output(&place, &["sh", "-c", "ls -d \"$CALLMETER_RUN\""]);
    let marks = text(&output.stdout);
    assert!(
        marks.starts_with(&place.home().join("run").display().to_string()),
        "{output:?}"
    );
    assert!(!std::path::Path::new(marks.trim()).exists());
}
