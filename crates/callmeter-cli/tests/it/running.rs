//! What the command sees of running processes and tells them: `top`, `off`, `on`.

use serde_json::Value;

use crate::support::Place;

fn recorder(place: &Place) -> callmeter::Callmeter {
    let mut settings = callmeter::settings::Settings::default();
    settings.scope.service = Some("shop".to_owned());
    let builder = callmeter::builder().settings(settings).home(place.home());
    builder.open().unwrap()
}

/// What `top` shows of the place's home.
fn top(place: &Place) -> Value {
    let output = place.run(&["top", "--json"]);
    assert!(output.status.success(), "{}", place.shown(&output));
    let picture: Value = serde_json::from_slice(&output.stdout).unwrap();
    let home = place.home().display().to_string();
    let mut processes = picture["processes"].as_array().unwrap().iter();
    let process = processes.find(|process| process["home"] == home.as_str());
    process.cloned().unwrap_or_default()
}

#[test]
fn top_shows_the_calls_in_flight_of_running_processes() {
    let place = Place::new();
    assert_eq!(top(&place), Value::Null);
    let callmeter = recorder(&place);
    let call = callmeter.call("sales_copy", "openai", "gpt-5-mini");
    callmeter.call("done", "openai", "gpt-5-mini").finish();
    let process = top(&place);
    assert_eq!(process["pid"], std::process::id());
    assert_eq!(
        (process["service"].as_str(), process["recording"].as_bool()),
        (Some("shop"), Some(true))
    );
    let calls = process["calls"].as_array().unwrap();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0]["call_id"], call.id().unwrap().to_string());
    assert_eq!(
        (
            calls[0]["caller"].as_str(),
            calls[0]["model_requested"].as_str()
        ),
        (Some("sales_copy"), Some("gpt-5-mini"))
    );
    // No terminal: one picture, of every process of the machine.
    let text = place.seen(&["top", "--limit", "100000"]);
    let pid = std::process::id().to_string();
    let mut lines = text.lines();
    let line = lines.find(|line| line.contains(&pid) && line.contains("sales_copy"));
    let line = line.unwrap_or(&text);
    assert!(line.contains("tests/it/running.rs:"), "{line}");
    call.finish();
    assert_eq!(top(&place)["calls"].as_array().unwrap().len(), 0);
}

#[test]
fn off_and_on_reach_a_running_process_and_say_so() {
    let place = Place::new();
    let callmeter = recorder(&place);
    let text = place.seen(&["off", "--for", "1h"]);
    assert!(text.contains("recording is off until 2"), "{text}");
    assert!(
        text.contains("[place]/home: told 1 running process"),
        "{text}"
    );
    assert!(callmeter.call("off", "openai", "gpt-5").id().is_none());
    assert_eq!(top(&place)["recording"], false);
    assert!(place.seen(&["status"]).contains("recording is off until 2"));
    assert!(place.seen(&["doctor"]).contains("recording is off until 2"));
    let text = place.seen(&["on"]);
    assert!(text.contains("recording is on"), "{text}");
    while !callmeter.is_enabled() {
        std::thread::yield_now();
    }
    assert!(callmeter.call("on", "openai", "gpt-5").id().is_some());
}

#[test]
fn a_time_that_is_none_is_an_error() {
    let place = Place::new();
    let text = place.seen(&["off", "--for", "soon"]);
    assert!(
        text.contains("--for does not take 'soon'") && text.contains("hint: write 30m"),
        "{text}"
    );
    assert!(!place.home().exists());
}

#[cfg(target_os = "linux")]
#[test]
fn off_names_a_few_of_the_other_homes_of_a_machine_and_takes_them_all_when_told() {
    use callmeter_testkit::container::Container;
    let place = Place::new();
    let homes = place.path().join("homes");
    std::fs::create_dir(&homes).unwrap();
    // A machine of its own, as far as homes find each other: by cards in its shared memory, which is the place of
    // flight files only where the homes are no volume of a container.
    let machine = Container::new()
        .tmpfs(std::path::Path::new("/dev/shm"), 64 << 20)
        .tmpfs(&homes, 64 << 20);
    let script = r#"
        for n in 1 2 3 4 5 6 7; do CALLMETER_HOME="$PLACE/$n" "$CALLMETER" run -- true || exit; done
        "$CALLMETER" off || exit
        echo "switched off: $(cd "$PLACE" && ls */switch | tr '\n' ' ')"
        "$CALLMETER" off --all || exit
        echo "switched off: $(cd "$PLACE" && ls */switch | wc -l)"
        "$CALLMETER" on --all --json
    "#;
    let output = machine
        .command(std::ffi::OsStr::new("sh"))
        .args(["-c", script])
        .current_dir(place.work())
        .env("PLACE", &homes)
        .env("CALLMETER", env!("CARGO_BIN_EXE_callmeter"))
        .env("CALLMETER_HOME", homes.join("home"))
        .env("HOME", place.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", place.shown(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let text = text.replace(&homes.display().to_string(), "[place]");
    let mut lines: Vec<&str> = text.lines().collect();
    let json: Value = serde_json::from_str(lines.pop().unwrap()).unwrap();
    assert_eq!(json["homes"].as_array().unwrap().len(), 8);
    assert_eq!(
        lines[..5],
        [
            "recording is off until `callmeter on`",
            "[place]/home: no process records there now",
            "not touched: [place]/1, [place]/2, [place]/3, [place]/4, [place]/5, and 2 more",
            "hint: --all takes every home of this machine that you may write",
            "switched off: home/switch ",
        ],
        "{text}"
    );
    assert_eq!(lines.last(), Some(&"switched off: 8"), "{text}");
}

#[cfg(unix)]
#[test]
fn doctor_names_whose_home_it_is_and_does_not_tell_to_open_it() {
    let place = Place::new().with_calls();
    if !rustix::process::geteuid().is_root() {
        // Nobody else can give a directory away; what is left is one that is there already, and root's.
        let output = place
            .command(&["doctor"])
            .env("CALLMETER_HOME", "/")
            .output();
        let said = place.shown(&output.unwrap());
        assert!(said.contains("/ belongs to user 0"), "{said}");
        return;
    }
    std::os::unix::fs::chown(place.home(), Some(61_001), None).unwrap();
    for mode in [0o700, 0o755] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(place.home(), mode).unwrap();
        let said = place.seen(&["doctor"]);
        assert!(said.starts_with("exit 1"), "{said}");
        assert!(
            said.contains("[place]/home belongs to user 61001"),
            "{said}"
        );
        assert!(!said.contains("chmod"), "{said}");
    }
}

#[cfg(unix)]
#[test]
fn doctor_says_why_there_is_no_home() {
    let place = Place::new();
    let user = rustix::process::geteuid().as_raw();
    let home = place.path().join(format!("callmeter-{user}"));
    std::os::unix::fs::symlink(place.work(), &home).unwrap();
    let mut command = place.command(&["doctor"]);
    command
        .env_remove("HOME")
        .env_remove("CALLMETER_HOME")
        .env("TMPDIR", place.path());
    let said = place.shown(&command.output().unwrap());
    assert!(said.starts_with("exit 1"), "{said}");
    let why =
        format!("none is named, and [place]/callmeter-{user} is a link: calls are kept in memory");
    assert!(said.contains(&why), "{said}");
    assert!(said.contains("CALLMETER_HOME"), "{said}");
}
