//! Bad input, from the host and from the disk: a clear error or a sane row, nothing lost, nothing leaked.

use std::time::Duration;

use callmeter::settings::{Settings, Sources};
use callmeter_core::{Flags, Timestamp};
use callmeter_store::SqliteReader;

use crate::host::{Host, NOON, PATIENCE};

const DAY: i64 = 86_400_000_000;

#[test]
fn names_with_control_characters_come_out_printable() {
    let host = Host::new();
    let odd = "a\0b\nc\u{7f}\u{85}\u{202e}d\u{feff}";
    let mut call = host.callmeter.call(odd, odd, odd);
    call.request_id(odd)
        .finish_reason(odd)
        .status(odd)
        .meta(odd, odd)
        .fallback_to(odd)
        .trace(odd, odd);
    call.finish();
    let row = host.row();
    assert!(!row.to_json(None).chars().any(char::is_control));
    assert_eq!(
        row.caller.as_deref(),
        Some("a\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}\u{202e}d\u{feff}")
    );
}

#[test]
fn a_value_that_is_no_unicode_is_told_by_the_name_of_its_variable() {
    let mut sources = Sources::default();
    #[cfg(unix)]
    let value = std::os::unix::ffi::OsStringExt::from_vec(b"te\xffam".to_vec());
    #[cfg(not(unix))]
    let value = std::ffi::OsString::from("\u{0}");
    sources
        .environment
        .insert("CALLMETER_SCOPE__TEAM".to_owned(), value);
    let (resolved, errors) = Settings::resolve_what_can_be(&sources);
    let told = errors.unwrap().to_string();
    assert!(told.starts_with("CALLMETER_SCOPE__TEAM: "), "{told}");
    assert_eq!(resolved.settings.scope.team, None);
}

#[test]
fn absurd_counts_make_a_row_that_says_so() {
    let host = Host::new();
    let mut call = host.call("absurd");
    let mut usage = callmeter::Usage::of(10, 20);
    usage.cache_read_tokens = Some(u64::MAX);
    usage.usage_extra = Some(
        (0..100)
            .map(|n| (format!("unit_{n:03}"), n))
            .chain([("far_too_many".to_owned(), u64::MAX)])
            .collect(),
    );
    call.usage(usage).reported_cost("12,50 €");
    call.finish();
    let row = host.row();
    assert_eq!(
        (row.usage.input_tokens, row.usage.cache_read_tokens),
        (Some(10), None)
    );
    assert!(row.usage.usage_extra.unwrap().len() <= 32);
    assert!(row.flags.contains(Flags::USAGE_IMPLAUSIBLE));
    assert_eq!(row.reported_cost, None);
}

#[test]
fn a_clock_that_jumps_both_ways_leaves_sane_rows() {
    let host = Host::with_store(|_| {});
    let mut ids = Vec::new();
    for wall in [
        NOON,
        NOON.saturating_add_micros(-DAY),
        NOON.saturating_add_micros(3_600_000_000),
        NOON,
    ] {
        host.clock.jump_to(wall);
        let call = host.call("jumping");
        ids.push((call.id().unwrap(), wall));
        host.clock.pass(250);
        call.finish();
    }
    host.clock.jump_to(NOON);
    assert_eq!(host.at_rest().conservation.acknowledged, 4);
    let mut store = SqliteReader::open(&host.path("home/store.sqlite")).unwrap();
    for (id, wall) in ids {
        let row = store.find(id).unwrap().unwrap().record;
        assert_eq!(
            (row.started_at(), row.duration_us),
            (wall, Some(250)),
            "{wall}"
        );
        let is_ahead = wall > NOON.saturating_add_micros(600_000_000);
        assert_eq!(row.flags.contains(Flags::CLOCK_AHEAD), is_ahead, "{wall}");
    }
}

#[test]
fn a_call_from_a_clock_beyond_belief_is_refused_counted_and_kept() {
    let host = Host::with_store(|_| {});
    for wall in [
        Timestamp::from_micros(i64::MIN),
        Timestamp::from_micros(i64::MAX),
        NOON.saturating_add_micros(2 * DAY),
        NOON.saturating_add_micros(-500 * DAY),
    ] {
        host.clock.jump_to(wall);
        host.call("beyond").finish();
    }
    host.clock.jump_to(NOON);
    host.call("sane").finish();
    let calls = host.at_rest().conservation;
    assert!(calls.holds(), "{calls:?}");
    assert_eq!((calls.acknowledged, calls.rejected), (1, 4));
    let store = SqliteReader::open(&host.path("home/store.sqlite")).unwrap();
    let facts = store.facts().unwrap();
    assert_eq!((facts.calls, facts.rejected), (1, 4));
}

#[test]
fn a_store_of_a_newer_version_keeps_calls_waiting_and_loses_none() {
    let host = Host::with_store(|_| {});
    host.call("before").finish();
    host.at_rest();
    let path = host.path("home/store.sqlite");
    let format = |version: u32| {
        let raw = rusqlite::Connection::open(&path).unwrap();
        raw.execute_batch(&format!(
            "UPDATE about SET format = {version}, min_reader = {version}, min_writer = {version}"
        ))
        .unwrap();
    };
    let directory = path.parent().unwrap().to_owned();
    drop(host.callmeter);
    format(9);
    let open = || {
        callmeter::builder()
            .settings(Settings::default())
            .home(&directory)
            .clock(host.clock.clone())
            .open()
            .unwrap()
    };
    let old = open();
    old.call("meanwhile", "openai", "gpt-5-mini").finish();
    while old.stats().last_error.is_none() {
        assert!(!old.flush(Duration::from_millis(20)).is_complete());
    }
    let told = old.stats().last_error.unwrap();
    assert!(told.contains("newer"), "{told}");
    drop(old);
    format(2);
    let new = open();
    new.call("after", "openai", "gpt-5-mini").finish();
    assert!(new.flush(PATIENCE).is_complete());
    let stored = || SqliteReader::open(&path).unwrap().facts().unwrap().calls;
    // The spool of the recorder that is gone is shipped beside the own one.
    while stored() < 3 {
        assert!(new.flush(PATIENCE).is_complete());
    }
    assert_eq!(stored(), 3);
}

#[test]
fn a_file_that_is_no_store_is_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    let text = "no database, but a text of more than a hundred bytes, so that SQLite looks at it "
        .repeat(9);
    std::fs::write(&path, &text).unwrap();
    let mut settings = Settings::default();
    settings.store.url = Some(callmeter::StoreUrl::sqlite(&path));
    let callmeter = callmeter::builder()
        .settings(settings)
        .home(directory.path().join("home"))
        .open()
        .unwrap();
    callmeter.call("waiting", "openai", "gpt-5-mini").finish();
    while callmeter.stats().last_error.is_none() {
        assert!(!callmeter.flush(Duration::from_millis(20)).is_complete());
    }
    let flush = callmeter.shutdown(Duration::from_millis(20));
    assert!(flush.is_spooled() && !flush.is_complete());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_spool_that_is_none_is_named_and_left_as_it_is() {
    let host = Host::new();
    host.call("first").finish();
    host.at_rest();
    let stray = host.path("home/spool/stray.spool");
    std::fs::write(&stray, "no spool").unwrap();
    host.call("second").finish();
    host.at_rest();
    let standing = host.callmeter.home().standing().unwrap();
    assert!(standing.conservation.holds());
    let [(path, why)] = standing.unreadable.as_slice() else {
        panic!("{standing:?}")
    };
    assert_eq!((path, why.is_empty()), (&stray, false));
    assert_eq!(std::fs::read_to_string(&stray).unwrap(), "no spool");
}
