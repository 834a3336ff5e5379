//! How figures look, on a store with three calls and on none.

use crate::support::Place;

#[test]
fn an_empty_home_says_how_the_first_row_comes() {
    let place = Place::new();
    for args in [&["status"][..], &["report"], &["calls"]] {
        let text = place.seen(args);
        assert!(text.contains("callmeter::call("), "{args:?}: {text}");
    }
    insta::assert_snapshot!(place.seen(&[]));
    // Looking makes nothing.
    assert!(!place.home().exists());
}

#[test]
fn a_report_heads_with_its_range_and_ends_with_what_is_unpriced() {
    let place = Place::new().with_calls();
    insta::with_settings!({ filters => vec![(r"market [0-9-]+", "market [date]")] }, {
        insta::assert_snapshot!(place.seen(&["report"]));
    });
}

#[test]
fn a_report_by_day_and_team_fits_a_hundred_columns() {
    let place = Place::new().with_calls();
    let text = place.seen(&[
        "report",
        "daily",
        "--by",
        "team,provider",
        "--since",
        "2026-10-30",
    ]);
    assert!(
        text.lines()
            .filter(|line| !line.contains("[place]"))
            .all(|line| line.chars().count() <= 100),
        "{text}"
    );
    insta::with_settings!({ filters => vec![(r"market [0-9-]+", "market [date]")] }, {
        insta::assert_snapshot!(text);
    });
}

#[test]
fn a_csv_report_is_safe_for_a_spreadsheet() {
    let place = Place::new().with_calls();
    insta::assert_snapshot!(place.seen(&["report", "--csv", "--by", "caller"]));
}

#[test]
fn calls_are_listed_newest_first() {
    let place = Place::new().with_calls();
    insta::assert_snapshot!(place.seen(&["calls"]));
    insta::assert_snapshot!(place.seen(&["calls", "--status", "error", "--json"]));
}

#[test]
fn one_call_is_shown_whole() {
    let place = Place::new().with_calls();
    insta::assert_snapshot!(place.seen(&["show", "req-3"]));
    // By its id, and by the part of it that `calls` prints.
    let by_request = place.seen(&["show", "req-3"]);
    assert_eq!(place.seen(&["show", "01a1961f-67b8-7000"]), by_request);
    for id in ["01a1961f-67b8-7000-8000-000000000003", "01a1961f-67b8"] {
        assert_eq!(place.seen(&["show", id]), by_request);
    }
}

#[test]
fn a_report_in_json_has_a_version_and_decimal_money() {
    let place = Place::new().with_calls();
    let output = place.run(&["report", "--json", "--by", "provider"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["v"], 1);
    assert_eq!(report["rows"].as_array().unwrap().len(), 3);
    // gpt-4o: 2.50 USD a million input tokens, 10 USD a million output tokens.
    assert_eq!(report["totals"]["cost_usd"], "3.5");
    assert_eq!(report["unpriced"][0]["reason"], "unknown_provider");
}

#[test]
fn nobody_reading_is_no_failure() {
    let place = Place::new().with_calls();
    let mut child = place
        .command(&["calls", "--json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn config_show_says_where_each_value_comes_from() {
    let place = Place::new();
    place.write(
        "callmeter.toml",
        "[scope]\nteam = \"growth\"\n[providers.gcp_ollama]\nkind = \"ollama\"\n",
    );
    insta::assert_snapshot!(place.seen(&["config", "show", "--store", "sqlite:calls.db"]));
}

#[test]
fn doctor_is_content_with_a_healthy_home() {
    insta::with_settings!({ filters => vec![(r"\d+ KiB", "[size]"), (r"market [0-9-]+", "market [date]")] }, {
        insta::assert_snapshot!(Place::new().with_calls().seen(&["doctor"]));
    });
}

#[test]
fn what_is_piped_has_no_colour_and_no_progress() {
    let place = Place::new().with_calls();
    for args in [
        &[][..],
        &["report"],
        &["calls"],
        &["show", "req-3"],
        &["doctor"],
        &["config", "show"],
        &["reprot"],
    ] {
        let output = place
            .command(args)
            .env("TERM", "xterm-256color")
            .output()
            .unwrap();
        for bytes in [output.stdout, output.stderr] {
            assert!(!bytes.contains(&0x1b), "{args:?}");
        }
    }
}

#[test]
fn exit_codes_are_those_of_the_reference() {
    let place = Place::new().with_calls();
    for (args, code) in [
        (&["report"][..], 0),
        (&["doctor"], 0),
        (&["config", "check"], 0),
        (&["--help"], 0),
        (&["show", "nobody"], 1),
        (&["--config", "nowhere.toml", "doctor"], 1),
        (&["--config", "nowhere.toml", "config", "check"], 1),
        (&["report", "--since", "yesterday"], 1),
        (&["reprot"], 2),
        (&["report", "--colour"], 2),
        (&["report", "--json", "--csv"], 2),
        (&["calls", "--limit", "many"], 2),
        (&["show"], 2),
    ] {
        let output = place.run(args);
        assert_eq!(output.status.code(), Some(code), "{}", place.shown(&output));
    }
}

#[test]
fn doctor_tells_which_habits_of_the_replaced_module_are_in_force_and_where_they_come_from() {
    let place = Place::new();
    assert!(!place.seen(&["doctor"]).contains("compat"));
    place.write(
        "callmeter.toml",
        "compat = \"ai_call_logger\"\n[prices]\nbook = \"market\"\n",
    );
    let seen = place.seen(&["--config", "callmeter.toml", "doctor"]);
    for part in [
        "stands in for ai_call_logger, from callmeter.toml:1",
        "privacy.errors = scrubbed (default of compat)",
        "privacy.prompt_hash = sha256-12 (default of compat)",
        "prices.book = market (callmeter.toml:3)",
        "log.style = ai_call_logger (default of compat)",
        "short prompts can be guessed",
    ] {
        assert!(seen.contains(part), "{part}: {seen}");
    }
}
