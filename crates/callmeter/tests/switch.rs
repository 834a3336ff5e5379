//! The kill switch (promise CM-9) and the one recorder of a process, from `init` to `shutdown` and again.
//!
//! A binary of its own with a single test, because the switch and the recorder are the whole process's.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "it/host.rs"]
mod host;
#[allow(dead_code)]
#[path = "it/logs.rs"]
mod logs;

use callmeter::InitError;
use callmeter::settings::Settings;
use callmeter_testkit::sink::MemorySink;

use crate::host::{PATIENCE, opener};

fn callers(sink: &MemorySink) -> Vec<String> {
    let mut callers: Vec<_> = sink
        .calls()
        .iter()
        .map(|row| row.caller_or_unknown().to_owned())
        .collect();
    callers.sort();
    callers
}

fn call(caller: &str) -> callmeter::CallGuard {
    callmeter::call(caller, "openai", "gpt-5-mini")
}

#[test]
fn a_process_is_switched_on_and_off_as_often_as_it_likes() {
    logs::listen();
    let directory = tempfile::tempdir().unwrap();
    let sink = MemorySink::default();
    let builder = |settings: Settings| {
        callmeter::builder()
            .settings(settings)
            .home(directory.path())
            .sink("memory", opener(&sink))
    };

    // Before init: calls are made as ever, nothing is recorded, and that is said once.
    for _ in 0..3 {
        let mut early = call("early");
        early.tokens(1, 2);
        early.finish();
    }
    assert_eq!(call("early").run_blocking_value(|| 42), 42);
    assert_eq!(logs::with("init() was not called").len(), 1);
    callmeter::set_enabled(true);
    callmeter::refresh_env();

    // The environment said off when the process began.
    let mut off = Settings::default();
    off.enabled = false;
    let callmeter = builder(off).init().unwrap();
    assert!(!callmeter.is_enabled());
    call("while off").finish();
    // A host that wants it on cannot outvote the environment.
    callmeter::set_enabled(true);
    call("still off").finish();
    // Read anew, the environment of this test says nothing, and so yes.
    callmeter::refresh_env();
    assert!(callmeter.is_enabled());
    call("on").finish();

    // A second recorder of the process is refused, and the first goes on.
    assert!(matches!(
        builder(Settings::default()).init(),
        Err(InitError::AlreadyRunning)
    ));
    call("on after all").finish();

    // A guard that was opened while on finishes as it was opened; one opened while off stays off.
    let opened_on = call("opened on");
    callmeter::set_enabled(false);
    let opened_off = call("opened off");
    opened_on.finish();
    callmeter::set_enabled(true);
    opened_off.finish();
    callmeter.set_enabled(false);
    call("off by the handle").finish();
    callmeter.set_enabled(true);

    assert!(callmeter.shutdown(PATIENCE).is_complete());
    call("after the end").finish();
    assert_eq!(callers(&sink), ["on", "on after all", "opened on"]);

    // And again.
    let callmeter = builder(Settings::default()).init().unwrap();
    call("again").finish();
    assert!(callmeter.flush(PATIENCE).is_complete());
    drop(callmeter);
    assert_eq!(callers(&sink).len(), 4);
    assert_eq!(logs::with("init() was not called").len(), 1);
}
