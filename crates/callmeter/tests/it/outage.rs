//! Promise CM-10: a store that fails is tried again, calls wait meanwhile, and all of them arrive.

use std::time::Duration;

use callmeter_core::ErrorKind;
use callmeter_testkit::sink::Fault;

use crate::homes::{calls, place};
use crate::host::{Host, PATIENCE, eventually, opener};
use crate::logs;

/// Lets so many trials fail.
fn let_fail(host: &Host, count: u64) {
    while !host.sink.wait_for_failures(count, Duration::ZERO) {
        assert!(!host.callmeter.flush(Duration::from_millis(5)).is_complete());
    }
}

#[test]
fn calls_go_on_while_a_store_is_down_and_all_arrive_when_it_is_back() {
    let host = Host::new();
    host.sink.set_down(true);
    for _ in 0..50 {
        host.call("patient").finish();
    }
    let_fail(&host, 3);
    assert!(host.callmeter.stats().last_error.is_some());
    for _ in 0..50 {
        host.call("patient").finish();
    }
    assert_eq!(host.callmeter.stats().conservation.finished, 100);
    assert!(host.sink.calls().is_empty());

    host.sink.set_down(false);
    let stats = host.at_rest();
    assert_eq!(
        (stats.conservation.acknowledged, host.sink.calls().len()),
        (100, 100)
    );
    eventually("the store counts as healthy", || {
        host.callmeter.stats().last_error.is_none()
    });
}

#[test]
fn an_hour_without_a_store_is_one_warning_one_error_and_one_line_when_it_is_back() {
    logs::listen();
    let home = place();
    let mut spool = home.spool();
    spool.append(&calls(0..500), &[], false).unwrap();
    spool.append(&[], &[], false).unwrap();
    home.sink.set_down(true);
    let mut shipper = home.shipper();
    home.drive(&mut shipper, Duration::from_secs(3_600));
    assert!(shipper.is_degraded());
    home.sink.set_down(false);
    home.drive(&mut shipper, Duration::from_secs(120));
    assert_eq!(home.stored().len(), 500);
    // The shipper was driven on this thread, and no other test is.
    let levels: Vec<String> = logs::of_this_thread()
        .iter()
        .filter_map(|line| line.split(' ').next().map(str::to_owned))
        .filter(|level| level != "DEBUG" && level != "TRACE")
        .collect();
    assert_eq!(
        levels,
        ["WARN", "ERROR", "INFO"],
        "{:?}",
        logs::of_this_thread()
    );
}

#[test]
fn a_success_between_failures_starts_the_count_anew() {
    let host = Host::new();
    for round in 1..=4 {
        host.sink.fail_next([Fault::BeforeCommit; 3]);
        host.call("now and then").finish();
        let_fail(&host, round * 3);
        host.at_rest();
        assert!(!host.callmeter.stats().is_degraded);
    }
    assert_eq!(host.sink.calls().len(), 4);
}

#[test]
fn a_busy_store_never_counts_as_failing() {
    let host = Host::new();
    host.sink.fail_next([Fault::Busy; 30]);
    host.call("busy").finish();
    let stats = host.at_rest();
    assert!(!stats.is_degraded, "{stats:?}");
    assert_eq!(host.sink.calls().len(), 1);
}

#[test]
fn a_row_that_no_store_takes_stands_aside_and_holds_nobody_up() {
    let host = Host::new();
    host.sink.poison("poison");
    for n in 0..40 {
        host.call(if n == 17 { "poison" } else { "good" }).finish();
    }
    let stats = host.at_rest();
    assert_eq!(host.sink.calls().len(), 39);
    assert_eq!(
        (stats.conservation.rejected, stats.conservation.acknowledged),
        (1, 39)
    );
}

#[test]
fn what_a_store_missed_is_brought_by_the_next_process_of_the_home() {
    let directory = tempfile::tempdir().unwrap();
    let sink = callmeter_testkit::sink::MemorySink::default();
    let open = || {
        callmeter::builder()
            .settings(callmeter::settings::Settings::default())
            .home(directory.path())
            .sink("memory", opener(&sink))
            .open()
            .unwrap()
    };
    sink.set_down(true);
    let first = open();
    let error = std::io::Error::other("…");
    first
        .call("left behind", "openai", "gpt-5-mini")
        .fail(&error);
    let flush = first.shutdown(Duration::from_millis(50));
    assert!(flush.is_spooled() && !flush.is_complete());

    sink.set_down(false);
    let second = open();
    let home = second.home().clone();
    while sink.calls().is_empty() {
        assert!(second.flush(PATIENCE).is_complete());
    }
    assert_eq!(sink.calls()[0].error_kind, Some(ErrorKind::Other));
    // The equation goes on where the first process left it.
    eventually("the call is acknowledged", || {
        home.standing().unwrap().conservation.acknowledged == 1
    });
    let calls = home.standing().unwrap().conservation;
    assert!(calls.holds() && calls.finished == 1, "{calls:?}");
}
