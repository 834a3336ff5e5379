//! Several recorders of a process and a home, and the registry of callers.

use std::collections::BTreeSet;

use callmeter::settings::{Settings, Sources};
use callmeter_core::{CallerEntry, CallerRegistry};
use callmeter_testkit::sink::MemorySink;

use crate::host::{Host, PATIENCE, opener};
use crate::logs;

#[test]
fn two_recorders_of_a_home_ship_every_call_once_and_one_of_them_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let sink = MemorySink::default();
    let open = || {
        callmeter::builder()
            .settings(Settings::default())
            .home(directory.path())
            .sink("memory", opener(&sink))
            .open()
            .unwrap()
    };
    let (first, second) = (open(), open());
    for _ in 0..100 {
        first.call("first", "openai", "gpt-5-mini").finish();
        second.call("second", "openai", "gpt-5-mini").finish();
    }
    assert!(first.flush(PATIENCE).is_complete() && second.flush(PATIENCE).is_complete());
    assert_eq!(sink.calls().len(), 200);
    assert!(!(first.stats().is_shipping && second.stats().is_shipping));
    let calls = first.home().standing().unwrap().conservation;
    assert_eq!((calls.finished, calls.acknowledged), (200, 200));
    drop(first);
    // Whoever is left takes the office over.
    second.call("second", "openai", "gpt-5-mini").finish();
    assert!(second.flush(PATIENCE).is_complete());
    assert_eq!(sink.calls().len(), 201);
}

#[test]
fn a_recorder_ships_to_its_own_store_only() {
    let directory = tempfile::tempdir().unwrap();
    let (here, there) = (MemorySink::default(), MemorySink::default());
    let open = |name: &str, sink: &MemorySink| {
        callmeter::builder()
            .settings(Settings::default())
            .home(directory.path())
            .sink(name, opener(sink))
            .open()
            .unwrap()
    };
    let (first, second) = (open("here", &here), open("there", &there));
    first.call("first", "openai", "gpt-5-mini").finish();
    second.call("second", "openai", "gpt-5-mini").finish();
    assert!(first.flush(PATIENCE).is_complete() && second.flush(PATIENCE).is_complete());
    assert_eq!(here.calls()[0].caller_or_unknown(), "first");
    assert_eq!(there.calls()[0].caller_or_unknown(), "second");
    assert_eq!((here.calls().len(), there.calls().len()), (1, 1));
}

/// A registry of one caller.
fn one_caller() -> CallerRegistry {
    let mut entry = CallerEntry::default();
    entry.name = "sales_copy".to_owned();
    entry.team = Some("marketing".to_owned());
    entry.cost_center = Some("4711".to_owned());
    CallerRegistry::new([entry])
}

#[test]
fn a_known_caller_brings_its_team_and_a_setter_has_the_last_word() {
    let host = Host::with(|settings| {
        settings.registry = one_caller();
        settings.scope.team = Some("everybody".to_owned());
    });
    host.call("sales_copy").finish();
    let row = host.row();
    assert_eq!(
        (row.team.as_deref(), row.cost_center.as_deref()),
        (Some("marketing"), Some("4711"))
    );
    let mut call = host.call("sales_copy");
    call.team("guests");
    call.finish();
    host.at_rest();
    let teams: BTreeSet<_> = host.sink.calls().into_iter().map(|row| row.team).collect();
    assert!(teams.contains(&Some("guests".to_owned())));
}

#[test]
fn an_unknown_caller_is_warned_of_once_a_name_and_recorded_every_time() {
    logs::listen();
    let host = Host::with(|settings| settings.registry = one_caller());
    for _ in 0..5 {
        host.call("nobody_listed_this_one").finish();
        host.call("nor_listed_this_one").finish();
    }
    let stats = host.at_rest();
    assert_eq!((host.sink.calls().len(), stats.unknown_callers), (10, 10));
    for name in ["nobody_listed_this_one", "nor_listed_this_one"] {
        let lines = logs::with(name);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("WARN callmeter") && lines[0].contains("callers.toml"));
    }
}

#[test]
fn a_strict_host_asks_and_recording_never_does() {
    let host = Host::with(|settings| settings.registry = one_caller());
    assert_eq!(
        host.callmeter.check_caller("sales_copy").unwrap().name,
        "sales_copy"
    );
    let error = host.callmeter.check_caller("sales\ncopy").unwrap_err();
    assert_eq!(error.name(), "sales\u{fffd}copy");
    assert!(error.to_string().contains("callers.toml"), "{error}");
    assert_eq!(host.callmeter.stats().unknown_callers, 0);
}

#[test]
fn without_a_registry_everybody_may_call_and_nobody_is_warned_of() {
    logs::listen();
    let host = Host::new();
    host.call("anybody_at_all").finish();
    assert_eq!(host.at_rest().unknown_callers, 0);
    assert!(logs::with("anybody_at_all").is_empty());
}

#[test]
fn callers_are_read_from_the_file_that_the_settings_name() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("callmeter.toml"),
        "[registry]\ncallers = \"callers.toml\"\n",
    )
    .unwrap();
    std::fs::write(
        directory.path().join("callers.toml"),
        "[[caller]]\nname = \"rag\"\nowner = \"ada\"\nteam = \"search\"\ndescription = \"answers\"\n",
    )
    .unwrap();
    let sources = Sources {
        directory: directory.path().to_owned(),
        ..Sources::default()
    };
    let registry = Settings::resolve(&sources).unwrap().settings.registry;
    let host = Host::with(|settings| settings.registry = registry);
    host.call("rag").finish();
    assert_eq!(host.row().team.as_deref(), Some("search"));
}

#[test]
fn a_server_of_a_found_file_gets_no_row_and_one_of_a_named_file_is_meant() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("callmeter.toml");
    std::fs::write(&config, "[store]\nurl = \"postgres://x@127.0.0.1:1/db\"\n").unwrap();
    let sources = Sources {
        directory: directory.path().to_owned(),
        ..Sources::default()
    };
    logs::listen();
    let waiting = |builder: callmeter::Builder| {
        let home = directory.path().join("home");
        let host = builder.home(home).open().unwrap();
        host.call("agent", "openai", "gpt-4o").finish();
        let end = host.shutdown(std::time::Duration::from_millis(50));
        assert!(!end.is_complete(), "nothing took the call");
    };
    waiting(callmeter::builder().sources(sources.clone()));
    let refused = "store.url may not stand in a file that was merely found";
    assert_eq!(logs::with(refused).len(), 1);
    // The calls wait: they went to no other store either.
    assert!(!directory.path().join("home/store.sqlite").exists());
    waiting(callmeter::builder().sources(sources).config(&config));
    assert_eq!(logs::with(refused).len(), 1);
}

#[test]
fn scope_comes_from_guard_then_settings() {
    let host = Host::with(|settings| {
        settings.scope.project = Some("shop".to_owned());
        settings.scope.service = Some("backoffice".to_owned());
        settings.scope.environment = Some("staging".to_owned());
        settings.scope.billing = Some(callmeter::Billing::Metered);
    });
    let mut call = host.call("scoped");
    call.environment("canary");
    call.finish();
    let row = host.row();
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    assert_eq!(
        [
            text(&row.project),
            text(&row.service),
            text(&row.environment)
        ],
        ["shop", "backoffice", "canary"]
    );
    assert_eq!(row.billing, Some(callmeter::Billing::Metered));
    assert!(text(&row.sdk).starts_with("callmeter-rust/"));
    assert!(text(&row.call_site).starts_with("tests/it/recorders.rs:"));
}
