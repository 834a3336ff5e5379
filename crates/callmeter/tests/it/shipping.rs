//! What the shipper does with a store that fails, is busy, refuses rows, or comes back after a long time.

use std::time::Duration;

use callmeter_core::CallRecord;
use callmeter_testkit::sink::Fault;

use crate::homes::{TestHome, call, calls, place};

fn spooled(home: &TestHome, rows: &[CallRecord]) -> Box<dyn callmeter::seams::SpoolInlet> {
    let mut spool = home.spool();
    spool.append(rows, &[], false).unwrap();
    spool.append(&[], &[], false).unwrap();
    spool
}

#[test]
fn every_row_is_stored_once_whatever_way_batches_fail() {
    let home = place();
    let _spool = spooled(&home, &calls(0..250));
    home.sink.fail_next([
        Fault::BeforeCommit,
        Fault::AfterCommit,
        Fault::Busy,
        Fault::Fatal,
        Fault::AfterCommit,
    ]);
    home.ship_all();
    assert_eq!(home.stored(), (0..250).collect::<Vec<_>>());
    assert!(home.standing().holds());
}

#[test]
fn a_poison_row_is_set_aside_alone() {
    let home = place();
    let mut rows = calls(0..90);
    rows[37].caller = Some("poison".to_owned());
    home.sink.poison("poison");
    let _spool = spooled(&home, &rows);
    home.ship_all();
    assert_eq!(home.stored().len(), 89);
    let standing = home.standing();
    assert_eq!((standing.acknowledged, standing.rejected), (89, 1));
    assert!(standing.holds());
}

#[test]
fn a_busy_store_is_never_degraded() {
    let home = place();
    let _spool = spooled(&home, &[call(1)]);
    home.sink.fail_next([Fault::Busy; 50]);
    let mut shipper = home.shipper();
    home.drive(&mut shipper, Duration::from_secs(3));
    assert!(!shipper.is_degraded());
    assert_eq!(home.stored(), vec![1]);
}

#[test]
fn ten_failures_degrade_a_store_and_one_row_shows_that_it_is_back() {
    let home = place();
    let _spool = spooled(&home, &calls(0..50));
    home.sink.set_down(true);
    let mut shipper = home.shipper();
    home.drive(&mut shipper, Duration::from_secs(600));
    assert!(shipper.is_degraded());
    assert!(shipper.last_error().is_some());
    let marks = || {
        let entries = std::fs::read_dir(home.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.to_string_lossy().ends_with(".degraded"))
            .count()
    };
    assert_eq!(marks(), 1, "for the other processes of the home");
    home.sink.set_down(false);
    home.drive(&mut shipper, Duration::from_secs(61));
    assert!(!shipper.is_degraded());
    assert_eq!(marks(), 0);
    assert_eq!(home.stored().len(), 50);
    assert_eq!(home.sink.batches().first(), Some(&1), "the probe");
}

#[test]
fn fresh_rows_flow_at_once_while_a_backlog_is_replayed_at_its_rate() {
    let home = place();
    let mut spool = spooled(&home, &calls(0..20_000));
    let mut shipper = home.shipper();
    home.drive(&mut shipper, Duration::from_secs(1));
    let replayed = home.stored().len();
    assert!(
        (1_900..=2_200).contains(&replayed),
        "{replayed} in a second"
    );
    spool.append(&calls(50_000..50_010), &[], false).unwrap();
    spool.append(&[], &[], false).unwrap();
    home.drive(&mut shipper, Duration::from_millis(1_200));
    let stored = home.stored();
    assert!(stored.len() < 5_000, "the backlog is not through");
    assert_eq!(
        stored[stored.len() - 10..],
        (50_000..50_010).collect::<Vec<_>>()
    );
    // The oldest first.
    let backlog = &stored[..stored.len() - 10];
    assert_eq!(*backlog, (0..backlog.len() as u64).collect::<Vec<_>>());
    home.drive(&mut shipper, Duration::from_secs(10));
    assert_eq!(home.stored().len(), 20_010);
    assert!(home.standing().holds());
}

#[test]
fn nothing_is_held_back_when_somebody_waits() {
    let home = place();
    let _spool = spooled(&home, &calls(0..5_000));
    let mut shipper = home.shipper();
    shipper.set_urgent(true);
    home.drive(&mut shipper, Duration::from_millis(200));
    assert_eq!(home.stored().len(), 5_000);
}

#[test]
fn one_shipper_works_and_another_takes_over_when_it_is_gone() {
    let home = place();
    let mut spool = spooled(&home, &[call(1)]);
    let (mut first, mut second) = (home.shipper(), home.shipper());
    home.drive(&mut first, Duration::from_secs(2));
    home.drive(&mut second, Duration::from_secs(2));
    assert!(first.is_at_work() && !second.is_at_work());
    drop(first);
    spool.append(&[call(2)], &[], false).unwrap();
    spool.append(&[], &[], false).unwrap();
    home.drive(&mut second, Duration::from_secs(3));
    assert!(second.is_at_work());
    assert_eq!(home.stored(), vec![1, 2]);
}

#[test]
fn rows_that_may_not_leave_yet_do_not_leave() {
    let home = place();
    let mut spool = home.spool();
    spool.append(&[call(1)], &[], false).unwrap();
    home.ship_all();
    assert_eq!(home.stored(), Vec::<u64>::new());
    spool.append(&[], &[], false).unwrap();
    home.ship_all();
    assert_eq!(home.stored(), vec![1]);
}

#[test]
fn a_process_that_ends_while_another_one_s_store_is_down_waits_for_it_no_longer_than_50_ms() {
    let home = place();
    let _spool = spooled(&home, &calls(0..5));
    home.sink.set_down(true);
    // The elected shipper is another's; its store is down.
    let mut shipper = home.shipper();
    home.drive(&mut shipper, Duration::from_secs(600));
    assert!(shipper.is_degraded());
    let sink = home.sink.clone();
    let callmeter = callmeter::builder()
        .settings(callmeter::settings::Settings::default())
        .home(home.path())
        .sink(crate::homes::STORE, move || Ok(Box::new(sink.clone())))
        .open()
        .unwrap();
    callmeter
        .call("sales_copy", "openai", "gpt-5-mini")
        .finish();
    // With the patience of a day it would wait for ever.
    let flush = callmeter.shutdown(Duration::from_secs(86_400));
    assert!(!flush.is_complete());
}

#[test]
fn a_shipper_that_sent_nothing_for_a_while_looks_seldom_and_as_often_as_ever_once_a_row_waits() {
    const OFTEN: Duration = Duration::from_millis(50);
    const SELDOM: Duration = Duration::from_millis(500);
    let home = place();
    let mut spool = spooled(&home, &[call(1)]);
    let mut shipper = home.shipper();
    home.drive(&mut shipper, Duration::from_secs(2));
    assert_eq!(home.stored(), vec![1]);
    assert_eq!(shipper.tick(), OFTEN, "it has just sent one");
    home.clock.pass(3_000_000);
    assert_eq!(shipper.tick(), SELDOM);
    spool.append(&[call(2)], &[], false).unwrap();
    spool.append(&[], &[], false).unwrap();
    assert_eq!(shipper.tick(), OFTEN, "a row waits for its batch");
    home.drive(&mut shipper, Duration::from_secs(2));
    assert_eq!(home.stored(), vec![1, 2]);
}
