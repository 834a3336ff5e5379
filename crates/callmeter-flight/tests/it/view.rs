//! What other processes see, and the switch they throw.

use callmeter_core::Field;
use callmeter_flight::{Adopter, FlightError, InFlight, Refused, Switch, Value};

use crate::support::{START, call, id, in_file, open};

#[test]
fn calls_in_flight_are_seen_from_outside_with_what_was_known_when_they_were_opened() {
    let (_dir, buffer) = in_file(64);
    buffer.beat(START, 5);
    let second = open(&buffer, 2).unwrap();
    let _first = open(&buffer, 1).unwrap();
    call(&buffer, 3).unwrap();
    let (views, unreadable) = InFlight::view(buffer.place().dir()).unwrap();
    assert!(unreadable.is_empty());
    let view = &views[0];
    assert_eq!(
        (view.pid, view.service.as_str()),
        (std::process::id(), "shop")
    );
    assert!(view.is_alive);
    assert_eq!((view.last_seen, view.switch), (START, Switch::On));
    let ids: Vec<_> = view.calls.iter().map(|call| call.call_id).collect();
    assert_eq!(ids, [id(1), id(2)]);
    assert_eq!(view.calls[0].caller.as_deref(), Some("sales_copy"));
    assert_eq!((view.standing.open, view.standing.finished), (2, 1));
    buffer
        .finish(second, &[(Field::InputTokens, Value::from(1_u64))])
        .unwrap();
    assert_eq!(InFlight::of(buffer.path().unwrap()).unwrap().calls.len(), 1);
}

#[test]
fn a_switch_thrown_from_outside_takes_effect_on_the_next_call() {
    let (_dir, buffer) = in_file(16);
    let path = buffer.path().unwrap();
    Switch::Off.throw(path).unwrap();
    assert_eq!(call(&buffer, 1), Err(Refused::Off));
    let end = START.saturating_add_micros(60_000_000);
    Switch::OffUntil(end).throw(path).unwrap();
    assert_eq!(InFlight::of(path).unwrap().switch, Switch::OffUntil(end));
    buffer.beat(end, 0);
    call(&buffer, 2).unwrap();
    Switch::Off.throw(path).unwrap();
    Switch::On.throw(path).unwrap();
    call(&buffer, 3).unwrap();
}

#[test]
fn no_directory_is_no_calls_and_what_is_no_flight_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (views, unreadable) = InFlight::view(&dir.path().join("nothing")).unwrap();
    assert!(views.is_empty() && unreadable.is_empty());
    let path = dir.path().join("notes.flight");
    std::fs::write(&path, "dear diary").unwrap();
    let (views, unreadable) = InFlight::view(dir.path()).unwrap();
    assert!(views.is_empty());
    assert!(matches!(
        &unreadable[..],
        [FlightError::NotAFlightFile { .. }]
    ));
    assert!(matches!(
        Switch::Off.throw(&path),
        Err(FlightError::NotAFlightFile { .. })
    ));
    assert!(matches!(
        Adopter::adopt(&path),
        Err(FlightError::NotAFlightFile { .. })
    ));
    assert_eq!(std::fs::read(&path).unwrap(), b"dear diary");
}

#[cfg(unix)]
#[test]
fn files_are_their_owner_s_alone_and_links_are_not_followed() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, buffer) = in_file(16);
    let path = buffer.path().unwrap();
    for path in [path.to_owned(), path.with_extension("lease")] {
        assert_eq!(
            std::fs::metadata(path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    let mode = std::fs::metadata(buffer.place().dir())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    let link = dir.path().join("link.flight");
    std::os::unix::fs::symlink(path, &link).unwrap();
    assert!(InFlight::of(&link).is_err());
}
