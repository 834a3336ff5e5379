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
