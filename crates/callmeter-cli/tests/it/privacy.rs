//! Promise CM-6 for what the command prints: content and secrets were given to the SDK and stand in settings and
//! environment, and no command tells them.

use std::time::Duration;

use callmeter::settings::Settings;
use callmeter_testkit::markers::{CONTENT, SECRET, found_in, realistic_errors};

use crate::support::Place;

/// Records calls with content and secrets in them into the place's home.
fn record(place: &Place) {
    let callmeter = callmeter::builder()
        .settings(Settings::default())
        .home(place.home())
        .open()
        .unwrap();
    for text in realistic_errors() {
        let open = || callmeter.call("leaky", "openai", "gpt-5-mini");
        open().fail(&std::io::Error::other(text.clone()));
        let mut call = open();
        call.error(&text)
            .prompt_hash(&text)
            .session(&text)
            .meta("prompt", text.as_str())
            .meta("note", text.repeat(20))
            .meta("api_key", text.as_str());
        call.request_id("req-1");
        call.finish();
    }
    assert!(callmeter.shutdown(Duration::from_secs(60)).is_complete());
}

#[test]
fn no_command_tells_content_or_a_secret() {
    let place = Place::new();
    record(&place);
    let key = format!("{SECRET}{SECRET}");
    let dsn = format!("postgres://app:{SECRET}@db/shop?password={SECRET}");
    let mut seen = Vec::new();
    let mut run = |args: &[&str], environment: &[(&str, &str)]| {
        let mut command = place.command(args);
        command
            .env("CALLMETER_HASH_KEY", &key)
            .env("OPENAI_API_KEY", &key);
        command.envs(environment.iter().copied());
        let output = command.output().unwrap();
        for bytes in [&output.stdout, &output.stderr] {
            assert_eq!(
                found_in(bytes),
                None,
                "{args:?}: {}",
                String::from_utf8_lossy(bytes)
            );
        }
        seen.extend(output.stdout);
    };
    for args in [
        &[][..],
        &["status", "--json"],
        &["report"],
        &["report", "--json", "--by", "caller,status,fallback_to"],
        &["report", "--csv"],
        &["calls"],
        &["calls", "--json", "--limit", "1000"],
        &["show", "req-1"],
        &["show", "req-1", "--json"],
        &["doctor"],
        &["doctor", "--json"],
        &["config", "show"],
        &["config", "show", "--json"],
        &["-v", "config", "check"],
        &["version"],
    ] {
        run(args, &[]);
        run(args, &[("CALLMETER_STORE__URL", &dsn)]);
    }
    for text in [
        format!("[store]\nurl = \"{dsn}\"\n"),
        format!("[store]\nurl = \"{dsn}\n"),
        format!("[store]\nulr = \"{dsn}\"\n"),
    ] {
        place.write("callmeter.toml", &text);
        for args in [
            &[][..],
            &["doctor"],
            &["config", "show"],
            &["config", "check"],
            &["report"],
        ] {
            run(args, &[]);
        }
    }
    run(&["--store", &dsn], &[]);
    run(&["--store", &dsn, "report"], &[]);
    // The commands did tell of the calls.
    let seen = String::from_utf8_lossy(&seen);
    assert!(
        seen.contains("leaky") && seen.contains("not stored"),
        "{seen}"
    );
    assert!(!seen.contains(CONTENT));
}
