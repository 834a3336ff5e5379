//! The kill switch of a home: running recorders obey, later ones do, and calls in flight are not touched.

use callmeter::{Callmeter, Switch};
use callmeter_core::{Clock, SystemClock, Timestamp};

use crate::support::{Place, builder};

/// Waits until the worker has looked at the switch.
fn wait_until(callmeter: &Callmeter, is_enabled: bool) {
    while callmeter.is_enabled() != is_enabled {
        std::thread::yield_now();
    }
}

#[test]
fn off_is_obeyed_from_the_next_call_on_and_by_later_recorders_until_it_is_on_again() {
    let place = Place::new();
    let home = place.callmeter.home().clone();
    let in_flight = place.callmeter.call("before", "openai", "gpt-5");
    let thrown = home.throw_switch(Switch::Off).unwrap();
    assert_eq!(thrown.processes, [std::process::id()]);
    assert!(thrown.untold.is_empty());
    // The flag in the flight file: nobody waits for the worker.
    assert!(
        place
            .callmeter
            .call("off", "openai", "gpt-5")
            .id()
            .is_none()
    );
    wait_until(&place.callmeter, false);
    in_flight.finish();

    let later = builder(home.path(), &place.sink).open().unwrap();
    assert!(!later.is_enabled());
    assert!(later.call("later", "openai", "gpt-5").id().is_none());
    // The host alone cannot switch it on.
    place.callmeter.set_enabled(true);
    assert!(!place.callmeter.is_enabled());

    home.throw_switch(Switch::On).unwrap();
    wait_until(&place.callmeter, true);
    wait_until(&later, true);
    place.callmeter.call("after", "openai", "gpt-5").finish();
    let callers: Vec<_> = place
        .rows()
        .into_iter()
        .filter_map(|row| row.caller)
        .collect();
    assert_eq!(callers, ["before", "after"]);
}

#[test]
fn off_for_a_while_ends_by_itself() {
    let place = Place::new();
    let home = place.callmeter.home().clone();
    let soon = SystemClock.now().saturating_add_micros(300_000);
    home.throw_switch(Switch::OffUntil(soon)).unwrap();
    wait_until(&place.callmeter, false);
    wait_until(&place.callmeter, true);
    assert!(SystemClock.now() >= soon);
    assert!(
        place
            .callmeter
            .call("after", "openai", "gpt-5")
            .id()
            .is_some()
    );
}

#[test]
fn a_file_that_somebody_put_there_by_hand_is_obeyed() {
    let dir = tempfile::tempdir().unwrap();
    let sink = callmeter_testkit::sink::MemorySink::default();
    let callmeter = builder(dir.path(), &sink).open().unwrap();
    // Written by hand: no flag in a flight file says it.
    std::fs::write(dir.path().join("switch"), "off\n").unwrap();
    wait_until(&callmeter, false);
    std::fs::remove_file(dir.path().join("switch")).unwrap();
    wait_until(&callmeter, true);
}

#[test]
fn a_switch_whose_time_is_over_says_on() {
    let place = Place::new();
    let home = place.callmeter.home();
    let long_ago = Timestamp::from_micros(1);
    home.throw_switch(Switch::OffUntil(long_ago)).unwrap();
    assert_eq!(home.switch(SystemClock.now()).unwrap(), Switch::On);
}
